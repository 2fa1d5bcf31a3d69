//! One connection of an Island: its introduction, a reader, a writer. What is said goes to the [`Session`].
//!
//! Fairness: each connection is a task of its own, which gives way after every message and pauses when its Island sends more
//! than it may, so that the sender feels it and nobody else.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use types::id::AttemptId;
use types::island_protocol::{
    Capabilities, FromIsland, OLDEST_PROTOCOL, Offer, PROTOCOL_VERSION, RefusedOffer, ToIsland,
};

use super::reader::Reader;
use super::session::{Link, Session, Terms};
use super::{Island, offers, shorten, standing, upkeep};
use crate::app::App;
use crate::secrets;

/// How long an Island may take to introduce itself.
const HELLO: Duration = Duration::from_secs(10);
/// How long a message may take to be sent before the Island counts as gone.
const SEND: Duration = Duration::from_secs(30);
/// Longest name of a region, in characters.
const MAX_REGION: usize = 64;
/// Most attempts of an interrupted session that are looked at.
const MAX_LISTED: usize = 100_000;

type Sink = SplitSink<WebSocket, Message>;
pub(super) type Source = SplitStream<WebSocket>;

/// How an Island introduced itself.
struct Hello {
    protocol: u32,
    about: About,
    offers: Vec<Offer>,
    session: Option<String>,
    running: Vec<AttemptId>,
}

/// What an Island says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// The agent's version.
    pub version: String,
    /// The machine.
    pub capabilities: Capabilities,
}

/// Serves an Island until its connection ends.
pub async fn serve(app: Arc<App>, island: Island, socket: WebSocket) {
    let (mut sink, mut source) = socket.split();
    let hello = match introduce(&app, &island, &mut source).await {
        Ok(hello) => hello,
        Err((code, text)) => return refuse(&mut sink, code, &text).await,
    };
    let (link, outbox) = Link::new();
    let Some(session) = begin(&app, island, &link, &hello).await else {
        return refuse(&mut sink, "unavailable", "The coordinator cannot read its database right now.").await;
    };
    let (id, name) = (session.island.id, Arc::clone(&session.island.name));
    tracing::info!(island = %id, "Island {name} connected");
    offers::put_in_book(&app, &session);
    upkeep::note_seen(&app, &session, &hello.about, true).await;
    let writer = tokio::spawn(write(sink, outbox, Arc::clone(&link)));
    Reader::new(&app, &session, &link, hello.about).run(&mut source).await;

    let went = app.islands.broke(&session, &link, || offers::leave_the_book(&app, id));
    if went && !(session.can_resume() && !app.is_stopping()) {
        session.end();
        app.islands.remove(&session, || {});
    }
    link.closing.notify_one();
    if went {
        app.market_moved();
        app.islands.went(id, app.clock.now());
        upkeep::note_gone(&app, &session).await;
        wait_for_return(&app, session);
    }
    drop(writer.await);
    tracing::info!(island = %id, "Island {name} disconnected");
}

/// Hears who is there: a hello, or a code and a sentence why not.
async fn introduce(app: &App, island: &Island, source: &mut Source) -> Result<Hello, (&'static str, String)> {
    let hello = timeout(HELLO, next(source)).await;
    // After the hello, so that whoever connects in a loop has to wait for an answer in each round.
    if !app.islands.may_connect(island.id, app.config.islands.connects_per_minute, app.clock.now()) {
        let text = "This Island connects too often; wait a minute. Does it run twice with one token?";
        return Err(("too_many_connections", text.to_owned()));
    }
    match hello {
        Ok(Some(Ok((FromIsland::Hello { protocol, .. }, _)))) if protocol < OLDEST_PROTOCOL => {
            let text = format!(
                "This coordinator speaks the versions {OLDEST_PROTOCOL} to {PROTOCOL_VERSION}; please update the agent."
            );
            Err(("unsupported_protocol", text))
        }
        Ok(Some(Ok((
            FromIsland::Hello { protocol, agent_version, capabilities, offers, session, mut running },
            _,
        )))) => {
            running.truncate(MAX_LISTED);
            let region = capabilities.region.as_deref().map(|region| shorten(region, MAX_REGION));
            let about = About {
                version: shorten(&agent_version, 32),
                capabilities: Capabilities {
                    gpu_model: capabilities.gpu_model.as_deref().map(|text| shorten(text, 100)),
                    region,
                    ..capabilities
                },
            };
            Ok(Hello { protocol: protocol.min(PROTOCOL_VERSION), about, offers, session, running })
        }
        _ => Err(("bad_message", "The first message must be hello.".to_owned())),
    }
}

/// Lets an interrupted session go on, or begins one. Nothing when the database does not say how the Island stands.
async fn begin(app: &Arc<App>, island: Island, link: &Arc<Link>, hello: &Hello) -> Option<Arc<Session>> {
    let id = island.id;
    let profile = standing::profile(app, id).await.ok()?;
    let (taken, mut refused) = offers::check(app, &hello.about.capabilities, hello.offers.clone());
    if let Some((_, reason)) = profile.standing().hindrance(app.config.islands.approval) {
        let refuse =
            |offer: &Offer| RefusedOffer { workload: offer.workload.clone(), reason: reason.to_owned() };
        refused.extend(taken.iter().map(|checked| refuse(&checked.offer)));
    }
    let name = (hello.protocol >= 2).then(|| secrets::new(&*app.random, "is_"));
    let welcome = |session: Option<String>, resumed, received| ToIsland::Welcome {
        protocol: hello.protocol,
        island_id: id,
        name: island.name.to_string(),
        heartbeat_secs: app.config.islands.heartbeat_secs,
        lease_secs: app.config.islands.lease_secs,
        refused_offers: refused.clone(),
        session,
        resumed,
        received,
    };
    let now = app.clock.now();
    let old = hello.session.as_ref().and_then(|asked| {
        let session = app.islands.session(id)?;
        (hello.protocol >= 2 && session.is_called(asked)).then_some((session, asked.clone()))
    });
    let resumed = old.filter(|(session, asked)| {
        // While no session comes or goes: a link that breaks now is the old one.
        app.islands.undisturbed(|| {
            let told = |received| welcome(Some(asked.clone()), true, received);
            session.resume(link, &hello.running, now, told)
        })
    });
    let session = if let Some((session, _)) = resumed {
        metrics::counter!("archipelago_island_sessions_total", "how" => "resumed").increment(1);
        session
    } else {
        metrics::counter!("archipelago_island_sessions_total", "how" => "begun").increment(1);
        // The first message of all.
        link.send(welcome(name.clone(), false, 0));
        let terms =
            Terms { lease_secs: app.config.islands.lease_secs, output_bytes: app.config.jobs.output_bytes };
        let region = hello.about.capabilities.region.clone();
        let session = Session::new(island, profile, (name, region), (link, now), terms);
        if let Some(replaced) = app.islands.insert(&session, || offers::leave_the_book(app, id)) {
            replaced.dismiss("replaced", "Another agent connected with the token of this Island.");
        }
        session
    };
    session.set_offered(taken);
    app.islands.came(id, now);
    // It may have been revoked or suspended between the handshake and now, when there was no session to tell.
    standing::look_again(app, &session).await;
    Some(session)
}

/// A session that nobody comes back to is over when the leases of what runs in it are.
fn wait_for_return(app: &Arc<App>, session: Arc<Session>) {
    if !session.can_resume() {
        return;
    }
    let app = Arc::clone(app);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(session.lease_ms().unsigned_abs())).await;
        if session.end_if_broken() {
            app.islands.remove(&session, || {});
        }
    });
}

/// The next message that says something, with its size; an error for one that cannot be read; nothing when the connection has
/// ended.
pub(super) async fn next(source: &mut Source) -> Option<Result<(FromIsland, usize), String>> {
    match source.next().await? {
        Ok(Message::Text(text)) => {
            let said = serde_json::from_str(&text).map_err(|error| error.to_string());
            Some(said.map(|message| (message, text.len())))
        }
        // A sign of life, and nothing else.
        Ok(Message::Ping(_) | Message::Pong(_)) => {
            Some(Ok((FromIsland::Heartbeat { running: Vec::new() }, 0)))
        }
        Ok(Message::Binary(_)) => Some(Err("messages are text".to_owned())),
        Ok(Message::Close(_)) | Err(_) => None,
    }
}

async fn refuse(sink: &mut Sink, code: &str, message: &str) {
    let retry = matches!(code, "too_many_connections" | "unavailable");
    let refused = ToIsland::Refused { code: code.to_owned(), message: message.to_owned(), retry };
    if let Some(text) = encode(&refused) {
        drop(timeout(SEND, sink.send(text)).await);
    }
    drop(timeout(SEND, sink.close()).await);
}

/// Sends what is in the outbox, as much at once as there is.
async fn write(mut sink: Sink, mut outbox: mpsc::Receiver<ToIsland>, link: Arc<Link>) {
    let mut batch = Vec::new();
    loop {
        let count = tokio::select! {
            count = outbox.recv_many(&mut batch, 256) => count,
            () = link.closing.notified() => 0,
        };
        if count == 0 {
            break;
        }
        for message in batch.drain(..) {
            let Some(text) = encode(&message) else { continue };
            if !matches!(timeout(SEND, sink.feed(text)).await, Ok(Ok(()))) {
                link.closing.notify_one();
                return;
            }
        }
        if !matches!(timeout(SEND, sink.flush()).await, Ok(Ok(()))) {
            break;
        }
    }
    if let Some(text) = link.take_refusal().as_ref().and_then(encode) {
        drop(timeout(SEND, sink.send(text)).await);
    }
    // Whoever reads is told too.
    link.closing.notify_one();
    drop(timeout(SEND, sink.close()).await);
}

fn encode(message: &ToIsland) -> Option<Message> {
    serde_json::to_string(message).ok().map(|text| Message::Text(Utf8Bytes::from(text)))
}
