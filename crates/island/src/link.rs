//! One connection's life, from the welcome to its end.
//!
//! Guarantees: a coordinator that reads slowly holds back the attempts but never this loop, so that
//! cancellations and heartbeats get through; a coordinator that says what cannot be, or more than anybody
//! could mean, is left.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Fuse, FusedFuture};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Error as SocketError, Message};
use types::island_protocol::{FromIsland, MAX_OFFERS, RefusedOffer, ToIsland};

use crate::catalog::{Catalog, describe};
use crate::connection::{Lost, Socket, Welcome, closed};
use crate::outbox::Outbox;
use crate::reporter::frame;
use crate::runner::Order;
use crate::session::Session;
use crate::tally::Tally;
use crate::words::plain;

/// How many of the connection's own messages wait for the writer; more, and the coordinator is not reading.
const CONTROL_QUEUED: usize = 256;
/// How many messages are written before they are flushed.
const BATCH: usize = 256;
/// A coordinator silent for this many heartbeats is dead.
const SILENT_BEATS: u32 = 3;
/// How long the end of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// As wanted: everything was finished.
    Drained,
    /// The connection is gone.
    Lost(Lost),
    /// The coordinator cannot be believed, so the session is given up with the connection.
    Broken(String),
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// Serves a connection, on which `catalog` has been offered, until it ends, or until `shutdown` comes and the
/// last attempt is finished. The session is left as it is then.
pub(crate) async fn run<S: Future<Output = ()>>(
    (socket, welcome): (Socket, Welcome),
    session: &Session,
    tally: &Tally,
    (catalog, mut catalogs): (Arc<Catalog>, watch::Receiver<Arc<Catalog>>),
    mut shutdown: Pin<&mut Fuse<S>>,
) -> End {
    let (sink, mut stream) = socket.split();
    let draining = shutdown.is_terminated();
    let (mut link, mut writer) = Link::new(sink, session, tally, catalog);
    link.announce(&welcome, draining);
    if draining && let Err(end) = link.drain() {
        return end;
    }
    let mut beat = interval(welcome.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let step = tokio::select! {
            heard = stream.next() => link.hear(heard),
            _ = beat.tick() => link.beat(),
            Ok(()) = catalogs.changed() => {
                let catalog = Arc::clone(&catalogs.borrow_and_update());
                link.serve(catalog)
            }
            () = shutdown.as_mut(), if !shutdown.is_terminated() => link.drain(),
            () = session.running.wait_until_empty(), if link.draining => {
                return link.close(stream, &mut writer.0).await;
            }
            written = &mut writer.0 => Err(not_written(written).into()),
        };
        if let Err(end) = step {
            return end;
        }
    }
}

/// Stops the writer when the connection is over, however it ends.
struct Writer(JoinHandle<Result<(), SocketError>>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Link<'a> {
    session: &'a Session,
    tally: &'a Tally,
    catalog: Arc<Catalog>,
    /// The connection's own way to the writer, which it never waits for.
    control: mpsc::Sender<Message>,
    draining: bool,
    silent_beats: u32,
    /// Messages since the last heartbeat that were not understood.
    strange: u32,
    /// Offers that the coordinator has not answered yet.
    unanswered_offers: u32,
}

impl<'a> Link<'a> {
    fn new(
        sink: SplitSink<Socket, Message>,
        session: &'a Session,
        tally: &'a Tally,
        catalog: Arc<Catalog>,
    ) -> (Self, Writer) {
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUED);
        let writer = Writer(tokio::spawn(write(sink, control_queue, Arc::clone(&session.outbox))));
        (
            Self {
                session,
                tally,
                catalog,
                control,
                draining: false,
                silent_beats: 0,
                strange: 0,
                unanswered_offers: 0,
            },
            writer,
        )
    }

    fn announce(&self, welcome: &Welcome, draining: bool) {
        let Welcome { island_id, name, refused_offers, .. } = welcome;
        tracing::info!(%island_id, "Connected as {name} ({island_id}).");
        let offered =
            if draining { 0 } else { self.catalog.offers().len().saturating_sub(refused_offers.len()) };
        self.tally.connected(name.clone(), welcome.session.is_some(), offered);
        if draining || welcome.resumed {
            return;
        }
        for offer in self.catalog.offers() {
            if refused_offers.iter().all(|refused| refused.workload != offer.workload) {
                tracing::info!(
                    workload = offer.workload,
                    "Offered: {}, {}.",
                    offer.workload,
                    describe(offer)
                );
            }
        }
        for (workload, why) in self.catalog.withheld() {
            tracing::info!(workload, "Not offered at present: {workload}, because {why}.");
        }
        warn_of_refused(refused_offers);
    }

    /// A frame, or the end of all frames.
    fn hear(&mut self, heard: Option<Result<Message, SocketError>>) -> Result<(), End> {
        self.silent_beats = 0;
        match heard {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(message) => self.obey(message),
                Err(error) => {
                    // Said once: a coordinator must not be able to fill the owner's log.
                    if self.strange == 0 {
                        let error = plain(&error.to_string());
                        tracing::warn!(
                            "A message of the coordinator was not understood and is ignored: {error}"
                        );
                    }
                    self.strange = self.strange.saturating_add(1);
                    Ok(())
                }
            },
            Some(Ok(Message::Close(reason))) => Err(closed(reason.as_ref()).into()),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(Lost::Broken(error.to_string()).into()),
            None => Err(closed(None).into()),
        }
    }

    fn obey(&mut self, message: ToIsland) -> Result<(), End> {
        match message {
            ToIsland::Assign { attempt_id, workload, input, earns, model, .. } => {
                self.assign(&workload, Order { attempt_id, input, model, earns })
            }
            ToIsland::Cancel { attempt_id } => {
                self.session.running.cancel(attempt_id);
                Ok(())
            }
            // What was not asked for is not worth a line in the log.
            ToIsland::OffersTaken { .. } if self.unanswered_offers == 0 => Ok(()),
            ToIsland::OffersTaken { refused_offers } => {
                self.unanswered_offers -= 1;
                tracing::info!("The coordinator has taken the new offers.");
                self.tally.offered(self.catalog.offers().len().saturating_sub(refused_offers.len()));
                warn_of_refused(&refused_offers);
                Ok(())
            }
            ToIsland::Refused { code, message, retry } => {
                Err(Lost::Refused { code: plain(&code), message: plain(&message), retry }.into())
            }
            ToIsland::Received { messages, today } => {
                if let Some(today) = today {
                    self.tally.today(today);
                }
                let acknowledged = self.session.outbox.acknowledge(messages);
                acknowledged
                    .map_err(|_| End::Broken("the coordinator acknowledges what was never sent".to_owned()))
            }
            ToIsland::Welcome { .. } => Ok(()),
        }
    }

    fn assign(&self, workload: &str, order: Order) -> Result<(), End> {
        let (running, attempt_id) = (&self.session.running, order.attempt_id);
        if running.has(attempt_id) {
            tracing::debug!(%attempt_id, "Attempt {attempt_id} was assigned a second time; that is ignored.");
            return Ok(());
        }
        let reason = match self.catalog.served(workload) {
            _ if self.draining => "This Island is going offline.",
            None => "This Island does not serve this Cargo.",
            Some(served) => match running.begin(order, served) {
                Ok(begun) => {
                    tokio::spawn(begun.run(Arc::clone(&self.session.outbox), self.session.protocol));
                    return Ok(());
                }
                Err(reason) => reason,
            },
        };
        tracing::debug!(%attempt_id, "Attempt {attempt_id} was rejected: {reason}");
        self.tally.rejected();
        let rejected = self.session.outbox.reject(attempt_id, reason);
        rejected
            .map_err(|_| End::Broken("the coordinator assigns without listening to the answers".to_owned()))
    }

    /// Renews the leases of what runs, and asks whether anybody is there.
    fn beat(&mut self) -> Result<(), End> {
        if self.silent_beats >= SILENT_BEATS {
            return Err(
                Lost::Broken(format!("the coordinator was silent for {SILENT_BEATS} heartbeats")).into()
            );
        }
        self.silent_beats += 1;
        self.strange = 0;
        if let Some((failures, last)) = self.session.running.take_failures() {
            tracing::warn!(
                failures,
                "{failures} attempts failed since the last heartbeat, the last one: {last}"
            );
        }
        let running = self.session.in_work();
        if self.draining {
            tracing::info!(running = running.len(), "Finishing: {} attempts left.", running.len());
        }
        self.say(&FromIsland::Heartbeat { running })?;
        self.send(Message::Ping(Bytes::new()))
    }

    /// Serves something else from now on. What runs goes on.
    fn serve(&mut self, catalog: Arc<Catalog>) -> Result<(), End> {
        let changed = catalog.offers() != self.catalog.offers();
        self.catalog = catalog;
        if !changed || self.draining {
            return Ok(());
        }
        self.unanswered_offers = self.unanswered_offers.saturating_add(1);
        self.say(&FromIsland::Offers { offers: self.catalog.offers().to_vec() })
    }

    /// Takes nothing new from now on.
    fn drain(&mut self) -> Result<(), End> {
        self.draining = true;
        self.tally.offered(0);
        let running = self.session.running.count();
        tracing::info!(running, "No new work is taken; {running} attempts are finished first.");
        self.say(&FromIsland::Draining {})
    }

    fn say(&self, message: &FromIsland) -> Result<(), End> {
        self.send(frame(message))
    }

    /// Never waits: a coordinator that does not read must not keep this Island from reading.
    fn send(&self, message: Message) -> Result<(), End> {
        self.control
            .try_send(message)
            .map_err(|_| Lost::Broken("the coordinator does not read what it is sent".to_owned()).into())
    }

    /// Lets everything be written, says good-bye, and waits for the same from the other side.
    async fn close(
        self,
        mut stream: SplitStream<Socket>,
        writer: &mut JoinHandle<Result<(), SocketError>>,
    ) -> End {
        let outbox = Arc::clone(&self.session.outbox);
        // With its last sender gone the writer writes what is left and closes.
        drop(self);
        let good_bye = async {
            if let Err(lost) = writer.await.map_or_else(
                |error| Err(not_written(Err(error))),
                |written| written.map_err(|error| not_written(Ok(Err(error)))),
            ) {
                return End::Lost(lost);
            }
            // What comes now comes too late; the coordinator gives it to others.
            while let Some(Ok(heard)) = stream.next().await {
                match heard {
                    Message::Close(_) => return End::Drained,
                    Message::Text(text) => {
                        if let Ok(ToIsland::Received { messages, .. }) = serde_json::from_str(&text) {
                            // Only to know what is left.
                            let _ = outbox.acknowledge(messages);
                        }
                    }
                    _ => {}
                }
            }
            // It broke off before it said that it had read everything.
            if outbox.is_empty() { End::Drained } else { closed(None).into() }
        };
        // What was to be said has been written; whether the other side closes in time is its affair.
        timeout(CLOSE_TIMEOUT, good_bye).await.unwrap_or(End::Drained)
    }
}

/// Writes all that is queued, the connection's own messages first, and flushes once for each batch. Closes the
/// socket when nobody is left who could send and the outbox is empty.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut control: mpsc::Receiver<Message>,
    outbox: Arc<Outbox>,
) -> Result<(), SocketError> {
    loop {
        let queued = control.try_recv().ok().or_else(|| outbox.next());
        let first = match queued {
            Some(message) => message,
            None => tokio::select! {
                biased;
                message = control.recv() => match message {
                    Some(message) => message,
                    None => break,
                },
                () = outbox.ready() => continue,
            },
        };
        sink.feed(first).await?;
        for _ in 1..BATCH {
            let Some(message) = control.try_recv().ok().or_else(|| outbox.next()) else {
                break;
            };
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
    sink.close().await
}

fn not_written(written: Result<Result<(), SocketError>, tokio::task::JoinError>) -> Lost {
    Lost::Broken(match written {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(())) => "the connection was closed".to_owned(),
        Err(_) => "the connection could not be written to".to_owned(),
    })
}

fn warn_of_refused(offers: &[RefusedOffer]) {
    for RefusedOffer { workload, reason } in offers.iter().take(MAX_OFFERS) {
        let (workload, reason) = (plain(workload), plain(reason));
        tracing::warn!(workload, "Not offered: {workload}. The coordinator says: {reason}");
    }
}
