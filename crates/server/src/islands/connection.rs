//! One Island's connection: a reader, a writer, and what the Island may say.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use market::Ask;
use tokio::sync::mpsc;
use tokio::time::timeout;
use types::id::{Id, IslandId};
use types::island_protocol::{
    Capabilities, FromIsland, MAX_OFFERS, MAX_SLOTS, OLDEST_PROTOCOL, Offer, PROTOCOL_VERSION, RefusedOffer,
    ToIsland,
};
use types::money::MicroCredits;

use super::registry::{Connection, End};
use super::{Island, store};
use crate::app::App;
use crate::islands;
use crate::jobs::{Image, Usage};
use crate::limits::Kind;
use crate::marketplace::Market;

/// How long an Island may take to introduce itself.
const HELLO: Duration = Duration::from_secs(10);
/// How long a message may take to be sent before the Island counts as gone.
const SEND: Duration = Duration::from_secs(30);
/// Longest name of a region, in characters.
const MAX_REGION: usize = 64;
/// Longest text an Island may say about itself or an error, in characters.
const MAX_TEXT: usize = 500;

type Sink = SplitSink<WebSocket, Message>;
type Source = SplitStream<WebSocket>;

/// Serves an Island until it goes.
pub async fn serve(app: Arc<App>, island: Island, socket: WebSocket) {
    let (mut sink, mut source) = socket.split();
    let hello = timeout(HELLO, next(&mut source)).await;
    let (version, capabilities, offers) = match hello {
        Ok(Some(Ok(FromIsland::Hello { protocol, agent_version, capabilities, offers, .. }))) => {
            if protocol < OLDEST_PROTOCOL {
                let text = format!(
                    "This coordinator speaks the versions {OLDEST_PROTOCOL} to {PROTOCOL_VERSION}; please update the agent."
                );
                return refuse(&mut sink, "unsupported_protocol", &text).await;
            }
            (agent_version, capabilities, offers)
        }
        _ => return refuse(&mut sink, "bad_message", "The first message must be hello.").await,
    };
    let (connection, outbox) = Connection::new(
        island,
        capabilities.region.as_deref().map(|region| shorten(region, MAX_REGION)),
        app.config.islands.lease_secs,
        app.config.jobs.output_bytes,
    );
    let id = connection.island.id;
    if let Some(replaced) = app.islands.insert(&connection, || leave_the_book(&app, id)) {
        replaced.lost();
        replaced.close("replaced", "Another agent connected with the token of this Island.");
    }
    // It may have been revoked between the handshake and now, when there was no connection to close yet.
    if !matches!(islands::find(&app, id).await, Ok(Some(_))) {
        connection.close("revoked", "The token of this Island was revoked.");
    }
    tracing::info!(island = %id, "Island {} connected", connection.island.name);
    metrics::gauge!("archipelago_islands_connected").increment(1);

    let (taken, refused_offers) = check_offers(&app, offers);
    // Before the offers are in the book: the first assignment must not come before the welcome.
    connection.send(ToIsland::Welcome {
        protocol: OLDEST_PROTOCOL,
        island_id: id,
        name: connection.island.name.to_string(),
        heartbeat_secs: app.config.islands.heartbeat_secs,
        lease_secs: app.config.islands.lease_secs,
        refused_offers,
        session: None,
        resumed: false,
        received: 0,
    });
    put_in_book(&app, &connection, taken);
    note_seen(&app, &connection, &version, &capabilities).await;
    let writer = tokio::spawn(write(sink, outbox, Arc::clone(&connection)));
    read(&app, &connection, &mut source, (&version, &capabilities)).await;

    app.islands.remove(&connection, || leave_the_book(&app, id));
    connection.lost();
    connection.closing.notify_one();
    drop(writer.await);
    metrics::gauge!("archipelago_islands_connected").decrement(1);
    tracing::info!(island = %id, "Island {} disconnected", connection.island.name);
    app.market_moved();
}

/// The next message that says something; an error for one that cannot be read; nothing when the connection has ended.
async fn next(source: &mut Source) -> Option<Result<FromIsland, String>> {
    match source.next().await? {
        Ok(Message::Text(text)) => Some(serde_json::from_str(&text).map_err(|error| error.to_string())),
        // A sign of life, and nothing else.
        Ok(Message::Ping(_) | Message::Pong(_)) => Some(Ok(FromIsland::Heartbeat { running: Vec::new() })),
        Ok(Message::Binary(_)) => Some(Err("messages are text".to_owned())),
        Ok(Message::Close(_)) | Err(_) => None,
    }
}

async fn refuse(sink: &mut Sink, code: &str, message: &str) {
    let refused = ToIsland::Refused { code: code.to_owned(), message: message.to_owned(), retry: false };
    if let Some(text) = encode(&refused) {
        drop(timeout(SEND, sink.send(text)).await);
    }
    drop(timeout(SEND, sink.close()).await);
}

async fn read(
    app: &Arc<App>,
    connection: &Arc<Connection>,
    source: &mut Source,
    (version, capabilities): (&str, &Capabilities),
) {
    // Three beats missed, and the Island is gone (incident 96).
    let patience = Duration::from_secs(u64::from(app.config.islands.heartbeat_secs) * 3);
    loop {
        let message = tokio::select! {
            message = timeout(patience, next(source)) => message,
            () = connection.closing.notified() => return,
        };
        match message {
            Ok(Some(Ok(FromIsland::Offers { offers }))) => {
                let flood =
                    app.limiter.take(connection.island.id.get(), Kind::Write, app.clock.now()).is_err();
                if flood {
                    connection.close("too_many_messages", "Offers changed too often; please wait a minute.");
                    return;
                }
                let (taken, refused_offers) = check_offers(app, offers);
                put_in_book(app, connection, taken);
                connection.send(ToIsland::OffersTaken { refused_offers });
                note_seen(app, connection, version, capabilities).await;
            }
            Ok(Some(Ok(FromIsland::Draining {}))) => {
                put_in_book(app, connection, Vec::new());
            }
            Ok(Some(Ok(message))) => take(app, connection, message),
            Ok(Some(Err(error))) => {
                tracing::warn!(island = %connection.island.id, error, "Island {} sent nonsense", connection.island.name);
                connection.close("bad_message", "A message could not be read.");
                return;
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// What an Island says about its attempts.
fn take(app: &App, connection: &Connection, message: FromIsland) {
    let now = app.clock.now();
    match message {
        FromIsland::Heartbeat { running } => connection.heartbeat(&running, now),
        FromIsland::Output { attempt_id, seq, chunk } => connection.output(attempt_id, seq, &chunk, now),
        FromIsland::Progress { attempt_id, step, total } => connection.progress(attempt_id, step, total, now),
        FromIsland::Image { attempt_id, image_data, format, width, height, seed } => {
            match check_image(image_data, &format, (width, height), seed) {
                Some(image) => connection.image(attempt_id, image),
                None => connection.ended(attempt_id, End::Malformed),
            }
        }
        FromIsland::Done { attempt_id, usage, finish_reason } => {
            let reported = usage.unwrap_or_default();
            let count = |tokens: Option<u64>| tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX));
            let usage = Usage {
                prompt_tokens: count(reported.prompt_tokens),
                completion_tokens: count(reported.completion_tokens),
            };
            let finish_reason = finish_reason.map(|reason| shorten(&reason, 32));
            connection.ended(attempt_id, End::Done { usage, finish_reason });
        }
        FromIsland::Failed { attempt_id, error, retryable } => {
            connection.ended(attempt_id, End::Failed { error: shorten(&error, MAX_TEXT), retryable });
        }
        FromIsland::Rejected { attempt_id, .. } => connection.ended(attempt_id, End::Rejected),
        // A second introduction changes nothing.
        FromIsland::Hello { .. } | FromIsland::Offers { .. } | FromIsland::Draining {} => {}
    }
}

/// A picture that pages may show: of a known kind, of a possible size, in base64.
fn check_image(data: String, format: &str, (width, height): (u32, u32), seed: Option<u64>) -> Option<Image> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(&data).ok()?;
    let begins = |magic: &[u8]| decoded.starts_with(magic);
    let genuine = match format {
        "png" => begins(b"\x89PNG\r\n\x1a\n"),
        "jpeg" => begins(b"\xff\xd8\xff"),
        "webp" => begins(b"RIFF") && decoded.get(8..12) == Some(b"WEBP"),
        _ => false,
    };
    let size = 1..=16_384;
    let fine = genuine && size.contains(&width) && size.contains(&height);
    fine.then(|| Image { data, format: format.to_owned(), width, height, seed })
}

/// An offer that can go into the book.
struct Checked {
    offer: Offer,
    market: Arc<Market>,
    ask: MicroCredits,
}

/// Sorts an Island's offers into those that can be taken and those that cannot, and why.
fn check_offers(app: &App, offers: Vec<Offer>) -> (Vec<Checked>, Vec<RefusedOffer>) {
    let mut refused = Vec::new();
    let mut taken: Vec<Checked> = Vec::new();
    for (index, offer) in offers.into_iter().enumerate() {
        let checked = if index >= MAX_OFFERS {
            Err(format!("an Island may offer {MAX_OFFERS} Cargos"))
        } else if taken.iter().any(|other| other.offer.workload == offer.workload) {
            Err("it was offered twice".to_owned())
        } else {
            check_offer(app, &offer)
        };
        match checked {
            Ok((market, ask)) => taken.push(Checked { offer, market, ask }),
            Err(reason) => refused.push(RefusedOffer { workload: shorten(&offer.workload, 64), reason }),
        }
    }
    (taken, refused)
}

fn check_offer(app: &App, offer: &Offer) -> Result<(Arc<Market>, MicroCredits), String> {
    let market = app.market.get(&offer.workload).ok_or("this network has no such Cargo")?;
    let ask: MicroCredits = offer.ask.parse().map_err(|error| format!("ask {error}"))?;
    if ask < MicroCredits::ZERO {
        return Err("ask must not be negative".to_owned());
    }
    if offer.slots == 0 || offer.slots > MAX_SLOTS {
        return Err(format!("slots must be from 1 to {MAX_SLOTS}"));
    }
    Ok((Arc::clone(market), ask))
}

/// Makes these the Island's asks, and no others.
fn put_in_book(app: &App, connection: &Arc<Connection>, offers: Vec<Checked>) {
    app.islands.if_current(connection, || {
        fill_book(app, connection, &offers);
        connection.set_offers(offers.into_iter().map(|checked| checked.offer).collect());
    });
    app.market_moved();
}

/// Puts an Island's offers into the book again, if it is connected: what its owner set here has changed.
pub fn put_again(app: &App, island: IslandId) {
    let Some(connection) = app.islands.get(island) else { return };
    app.islands.if_current(&connection, || {
        let (offers, _) = check_offers(app, connection.offers());
        fill_book(app, &connection, &offers);
    });
    app.market_moved();
}

/// Fills the book. What the owner set stands in place of what the agent says. Only while the connection is the Island's.
fn fill_book(app: &App, connection: &Connection, offers: &[Checked]) {
    let id = connection.island.id;
    for market in app.market.all() {
        match offers.iter().find(|checked| Arc::ptr_eq(&checked.market, market)) {
            Some(checked) => {
                let set = app.market.overrides.get(id, market.workload.id);
                let price = set.map_or(checked.ask, |(ask, _)| ask);
                let ask = Ask {
                    region: connection.region.clone(),
                    models: checked.offer.models.clone(),
                    ..Ask::new(id, price, checked.offer.slots)
                };
                if !market.set_ask(ask) {
                    tracing::warn!(island = %id, "the book of {} is full", market.workload.slug);
                }
            }
            None => market.remove_ask(id),
        }
    }
}

fn leave_the_book(app: &App, island: IslandId) {
    for market in app.market.all() {
        market.remove_ask(island);
    }
}

async fn note_seen(app: &App, connection: &Connection, version: &str, capabilities: &Capabilities) {
    let (id, now) = (connection.island.id, app.clock.now());
    let capabilities = Capabilities {
        gpu_model: capabilities.gpu_model.as_deref().map(|text| shorten(text, 100)),
        region: connection.region.clone(),
        ..capabilities.clone()
    };
    let rows = (
        shorten(version, 32),
        serde_json::to_string(&capabilities).unwrap_or_default(),
        serde_json::to_string(&connection.offers()).unwrap_or_default(),
    );
    let noted = app
        .db
        .tx("island_seen", async move |tx| store::seen(tx, id, now, &rows.0, (&rows.1, &rows.2)).await)
        .await;
    if let Err(error) = noted {
        tracing::error!(%error, "an Island's offers could not be noted");
    }
}

/// Sends what is in the outbox, as much at once as there is.
async fn write(mut sink: Sink, mut outbox: mpsc::Receiver<ToIsland>, connection: Arc<Connection>) {
    let mut batch = Vec::new();
    loop {
        let count = tokio::select! {
            count = outbox.recv_many(&mut batch, 256) => count,
            () = connection.closing.notified() => 0,
        };
        if count == 0 {
            break;
        }
        for message in batch.drain(..) {
            let Some(text) = encode(&message) else { continue };
            if !matches!(timeout(SEND, sink.feed(text)).await, Ok(Ok(()))) {
                connection.closing.notify_one();
                return;
            }
        }
        if !matches!(timeout(SEND, sink.flush()).await, Ok(Ok(()))) {
            break;
        }
    }
    if let Some(text) = connection.take_refusal().as_ref().and_then(encode) {
        drop(timeout(SEND, sink.send(text)).await);
    }
    // Whoever reads is told too.
    connection.closing.notify_one();
    drop(timeout(SEND, sink.close()).await);
}

fn encode(message: &ToIsland) -> Option<Message> {
    serde_json::to_string(message).ok().map(|text| Message::Text(Utf8Bytes::from(text)))
}

fn shorten(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}
