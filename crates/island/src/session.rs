//! One connection's life, from the welcome to its end.
//!
//! Guarantees: a coordinator that reads slowly holds back the attempts but never this loop, so that
//! cancellations and heartbeats get through; when the session ends, so does everything that ran on it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Fuse, FusedFuture};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Error as SocketError, Message};
use types::id::AttemptId;
use types::island_protocol::{FromIsland, RefusedOffer, ToIsland};

use crate::catalog::{Catalog, describe};
use crate::connection::{Connection, Lost, Socket, Welcome, closed};
use crate::reporter::{Reporter, frame};
use crate::runner::Running;

/// How many messages of attempts wait for the writer; then the attempts wait.
const FRAMES_QUEUED: usize = 1024;
/// How many of the session's own messages wait for the writer; more, and the coordinator is not reading.
const CONTROL_QUEUED: usize = 16 * 1024;
/// How many messages are written before they are flushed.
const BATCH: usize = 256;
/// A coordinator silent for this many heartbeats is dead.
const SILENT_BEATS: u32 = 3;
/// How long the end of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// As wanted: everything was finished.
    Drained,
    /// The connection is gone.
    Lost(Lost),
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// Serves a connection, on which `catalog` has been offered, until it ends, or until `shutdown` comes and the
/// last attempt is finished.
pub(crate) async fn run<S: Future<Output = ()>>(
    connection: Connection,
    catalog: Arc<Catalog>,
    mut catalogs: watch::Receiver<Arc<Catalog>>,
    mut shutdown: Pin<&mut Fuse<S>>,
) -> End {
    let Connection { socket, welcome } = connection;
    let (sink, mut stream) = socket.split();
    let (mut session, mut writer) = Session::new(sink, catalog);
    session.announce(&welcome);
    let mut beat = interval(welcome.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let step = tokio::select! {
            heard = stream.next() => session.hear(heard),
            _ = beat.tick() => session.beat(),
            Ok(()) = catalogs.changed() => {
                let catalog = Arc::clone(&catalogs.borrow_and_update());
                session.serve(catalog)
            }
            () = shutdown.as_mut(), if !shutdown.is_terminated() => session.drain(),
            () = session.running.wait_until_empty(), if session.draining => {
                return session.close(stream, &mut writer.0).await;
            }
            written = &mut writer.0 => Err(not_written(written)),
        };
        if let Err(lost) = step {
            return lost.into();
        }
    }
}

/// Stops the writer when the session is over, however it ends.
struct Writer(JoinHandle<Result<(), SocketError>>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Session {
    catalog: Arc<Catalog>,
    running: Arc<Running>,
    /// The attempts' way to the writer.
    frames: mpsc::Sender<Message>,
    /// The session's own way to the writer, which it never waits for.
    control: mpsc::Sender<Message>,
    draining: bool,
    silent_beats: u32,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.running.abandon();
    }
}

impl Session {
    fn new(sink: SplitSink<Socket, Message>, catalog: Arc<Catalog>) -> (Self, Writer) {
        let (frames, frames_queue) = mpsc::channel(FRAMES_QUEUED);
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUED);
        let writer = Writer(tokio::spawn(write(sink, control_queue, frames_queue)));
        let running = Arc::new(Running::default());
        (Self { catalog, running, frames, control, draining: false, silent_beats: 0 }, writer)
    }

    fn announce(&self, welcome: &Welcome) {
        let Welcome { island_id, name, refused_offers, .. } = welcome;
        tracing::info!(%island_id, "Connected as {name} ({island_id}).");
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
        warn_of_refused(refused_offers);
    }

    /// A frame, or the end of all frames.
    fn hear(&mut self, heard: Option<Result<Message, SocketError>>) -> Result<(), Lost> {
        self.silent_beats = 0;
        match heard {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(message) => self.obey(message),
                Err(error) => {
                    tracing::warn!("A message of the coordinator was not understood and is ignored: {error}");
                    Ok(())
                }
            },
            Some(Ok(Message::Close(reason))) => Err(closed(reason.as_ref())),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(Lost::Broken(error.to_string())),
            None => Err(closed(None)),
        }
    }

    fn obey(&self, message: ToIsland) -> Result<(), Lost> {
        match message {
            ToIsland::Assign { attempt_id, workload, input, .. } => self.assign(attempt_id, &workload, input),
            ToIsland::Cancel { attempt_id } => {
                self.running.cancel(attempt_id);
                Ok(())
            }
            ToIsland::OffersTaken { refused_offers } => {
                tracing::info!("The coordinator has taken the new offers.");
                warn_of_refused(&refused_offers);
                Ok(())
            }
            ToIsland::Refused { code, message, retry } => Err(Lost::Refused { code, message, retry }),
            ToIsland::Welcome { .. } | ToIsland::Received { .. } => Ok(()),
        }
    }

    fn assign(&self, attempt_id: AttemptId, workload: &str, input: Box<RawValue>) -> Result<(), Lost> {
        if self.running.has(attempt_id) {
            tracing::warn!(%attempt_id, "Attempt {attempt_id} was assigned a second time; that is ignored.");
            return Ok(());
        }
        let reason = match self.catalog.served(workload) {
            _ if self.draining => "This Island is going offline.",
            None => "This Island does not serve this Cargo.",
            Some(served) => match self.running.begin(attempt_id, served) {
                Some(begun) => {
                    tokio::spawn(begun.run(input, Reporter::new(attempt_id, self.frames.clone())));
                    return Ok(());
                }
                None => "All slots of this Island are in use.",
            },
        };
        tracing::debug!(%attempt_id, "Attempt {attempt_id} was rejected: {reason}");
        self.say(&FromIsland::Rejected { attempt_id, reason: reason.to_owned() })
    }

    /// Renews the leases of what runs, and asks whether anybody is there.
    fn beat(&mut self) -> Result<(), Lost> {
        if self.silent_beats >= SILENT_BEATS {
            return Err(Lost::Broken(format!("the coordinator was silent for {SILENT_BEATS} heartbeats")));
        }
        self.silent_beats += 1;
        if let Some((failures, last)) = self.running.take_failures() {
            tracing::warn!(
                failures,
                "{failures} attempts failed since the last heartbeat, the last one: {last}"
            );
        }
        let running = self.running.list();
        if self.draining {
            tracing::info!(running = running.len(), "Finishing: {} attempts left.", running.len());
        }
        self.say(&FromIsland::Heartbeat { running })?;
        self.send(Message::Ping(Bytes::new()))
    }

    /// Serves something else from now on. What runs goes on.
    fn serve(&mut self, catalog: Arc<Catalog>) -> Result<(), Lost> {
        let changed = catalog.offers() != self.catalog.offers();
        self.catalog = catalog;
        if !changed || self.draining {
            return Ok(());
        }
        self.say(&FromIsland::Offers { offers: self.catalog.offers().to_vec() })
    }

    /// Takes nothing new from now on.
    fn drain(&mut self) -> Result<(), Lost> {
        self.draining = true;
        let running = self.running.count();
        tracing::info!(running, "No new work is taken; {running} attempts are finished first.");
        self.say(&FromIsland::Draining {})
    }

    fn say(&self, message: &FromIsland) -> Result<(), Lost> {
        self.send(frame(message))
    }

    /// Never waits: a coordinator that does not read must not keep this Island from reading.
    fn send(&self, message: Message) -> Result<(), Lost> {
        self.control
            .try_send(message)
            .map_err(|_| Lost::Broken("the coordinator does not read what it is sent".to_owned()))
    }

    /// Lets everything be written, says good-bye, and waits for the same from the other side.
    async fn close(
        self,
        mut stream: SplitStream<Socket>,
        writer: &mut JoinHandle<Result<(), SocketError>>,
    ) -> End {
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
                if heard.is_close() {
                    break;
                }
            }
            End::Drained
        };
        // What was to be said has been written; whether the other side closes in time is its affair.
        timeout(CLOSE_TIMEOUT, good_bye).await.unwrap_or(End::Drained)
    }
}

/// Writes all that is queued, the session's own messages first, and flushes once for each batch. Closes the
/// socket when nobody is left who could send.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut control: mpsc::Receiver<Message>,
    mut frames: mpsc::Receiver<Message>,
) -> Result<(), SocketError> {
    loop {
        let first = tokio::select! {
            biased;
            Some(message) = control.recv() => message,
            Some(message) = frames.recv() => message,
            else => break,
        };
        sink.feed(first).await?;
        for _ in 1..BATCH {
            let Ok(message) = control.try_recv().or_else(|_| frames.try_recv()) else {
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
    for RefusedOffer { workload, reason } in offers {
        tracing::warn!(workload, "Not offered: {workload}. The coordinator says: {reason}");
    }
}
