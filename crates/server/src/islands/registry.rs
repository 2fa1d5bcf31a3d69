//! Which Islands are connected, and the attempts they work on.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};
use types::id::{AttemptId, IslandId, UserId};
use types::island_protocol::{Offer, ToIsland};
use types::money::MicroCredits;
use types::time::{SECOND_MS, Timestamp};

use super::Island;
use crate::config::WorkloadKind;
use crate::jobs::live::{LiveJob, TooMuch};
use crate::jobs::{Image, Usage};

/// Messages that may wait for an Island that does not read. Beyond that it is given up.
const OUTBOX: usize = 8192;

/// How an attempt ended, as the Island (or its absence) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Done.
    Done {
        /// What the backend counted.
        usage: Usage,
        /// Why the text ended.
        finish_reason: Option<String>,
    },
    /// Not done.
    Failed {
        /// A sentence for the consumer.
        error: String,
        /// Whether another Island could do better.
        retryable: bool,
    },
    /// Not begun.
    Rejected,
    /// More output than a job may give.
    TooMuch,
    /// Output out of order, or of the wrong form.
    Malformed,
    /// The connection is gone.
    Lost,
}

/// Work for an Island.
#[derive(Debug)]
pub struct Assignment {
    /// The attempt.
    pub attempt: AttemptId,
    /// Where its output goes.
    pub live: Arc<LiveJob>,
    /// What is asked, as JSON.
    pub input: Arc<str>,
    /// The model the consumer wants.
    pub model: Option<String>,
    /// What the owner earns at most.
    pub earns: MicroCredits,
}

/// Until when an attempt is the Island's. Moved by heartbeats and output.
#[derive(Clone, Debug)]
pub struct Lease(Arc<AtomicI64>);

impl Lease {
    /// Until when.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A connected Island.
#[derive(Debug)]
pub struct Connection {
    /// Who it is.
    pub island: Island,
    /// What it offers now.
    offers: Mutex<Vec<Offer>>,
    /// Where it stands.
    pub region: Option<String>,
    outbox: mpsc::Sender<ToIsland>,
    work: Mutex<Work>,
    lease_ms: i64,
    output_bytes: usize,
    /// Told when the connection is to be closed.
    pub closing: Notify,
    refusal: Mutex<Option<ToIsland>>,
}

#[derive(Debug, Default)]
struct Work {
    running: HashMap<AttemptId, Running>,
    /// The connection is gone: nothing more can be assigned.
    gone: bool,
}

#[derive(Debug)]
struct Running {
    /// Where output goes; nowhere once the Island was told to stop, because the job may be another's by then.
    live: Option<Arc<LiveJob>>,
    lease: Lease,
    end: oneshot::Sender<End>,
    next_seq: u64,
}

/// The Island cannot be sent anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Connection {
    /// A connection, and the messages that are to be sent through it.
    #[must_use]
    pub fn new(
        island: Island,
        region: Option<String>,
        lease_secs: u32,
        output_bytes: usize,
    ) -> (Arc<Self>, mpsc::Receiver<ToIsland>) {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let connection = Self {
            island,
            offers: Mutex::default(),
            region,
            outbox,
            work: Mutex::default(),
            lease_ms: i64::from(lease_secs) * SECOND_MS,
            output_bytes,
            closing: Notify::new(),
            refusal: Mutex::default(),
        };
        (Arc::new(connection), messages)
    }

    /// Sends an attempt to the Island. The receiver tells how it ended; the lease, until when it is the Island's.
    ///
    /// # Errors
    /// [`Gone`] if the Island is gone or does not read what it is sent.
    pub fn assign(&self, work: Assignment, now: Timestamp) -> Result<(oneshot::Receiver<End>, Lease), Gone> {
        let until = now.plus_millis(self.lease_ms);
        let lease = Lease(Arc::new(AtomicI64::new(until.as_millis())));
        let message = ToIsland::Assign {
            attempt_id: work.attempt,
            job_id: work.live.id,
            workload: work.live.workload.slug.clone(),
            input: RawValue::from_string(work.input.to_string()).map_err(|_| Gone)?,
            lease_expires: until.as_millis(),
            earns: work.earns,
            model: work.model,
        };
        let (end, ended) = oneshot::channel();
        let running = Running { live: Some(work.live), lease: lease.clone(), end, next_seq: 1 };
        {
            let mut all = lock(&self.work);
            if all.gone {
                return Err(Gone);
            }
            // Known before it is sent: the answer may come at once.
            all.running.insert(work.attempt, running);
        }
        if self.outbox.try_send(message).is_err() {
            self.forget(work.attempt);
            self.close("too_slow", "The Island does not read what it is sent.");
            return Err(Gone);
        }
        Ok((ended, lease))
    }

    /// Tells the Island to stop an attempt. Whatever it still sends of it is ignored, except that it has stopped.
    pub fn cancel(&self, attempt: AttemptId) {
        if let Some(one) = lock(&self.work).running.get_mut(&attempt) {
            one.live = None;
        }
        // An Island that cannot even be told will lose its lease.
        drop(self.outbox.try_send(ToIsland::Cancel { attempt_id: attempt }));
    }

    /// An attempt that was told to stop is waited for no longer.
    pub fn forget(&self, attempt: AttemptId) {
        lock(&self.work).running.remove(&attempt);
    }

    /// Sends a message that is not about an attempt.
    pub fn send(&self, message: ToIsland) {
        drop(self.outbox.try_send(message));
    }

    /// Closes the connection with a reason.
    pub fn close(&self, code: &str, message: &str) {
        let retry = !matches!(code, "revoked" | "replaced");
        *lock(&self.refusal) =
            Some(ToIsland::Refused { code: code.to_owned(), message: message.to_owned(), retry });
        self.closing.notify_one();
    }

    /// The last message to send before closing.
    #[must_use]
    pub fn take_refusal(&self) -> Option<ToIsland> {
        lock(&self.refusal).take()
    }

    /// What it offers now.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        lock(&self.offers).clone()
    }

    /// Notes what it offers from now on.
    pub fn set_offers(&self, offers: Vec<Offer>) {
        *lock(&self.offers) = offers;
    }

    /// How many attempts it works on.
    #[must_use]
    pub fn running(&self) -> usize {
        lock(&self.work).running.len()
    }

    /// A piece of text arrived. Out of order, or where a picture was asked for, it is no answer and is not paid.
    pub fn output(&self, attempt: AttemptId, seq: u64, text: &str, now: Timestamp) {
        // The one character that not every database can keep.
        let text =
            &*if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { Cow::from(text) };
        let wrong = {
            let mut work = lock(&self.work);
            let Some(one) = work.running.get_mut(&attempt) else { return };
            let Some(live) = &one.live else { return };
            one.lease.0.store(now.plus_millis(self.lease_ms).as_millis(), Ordering::Relaxed);
            let in_order = one.next_seq == seq && live.workload.kind == WorkloadKind::Chat;
            one.next_seq = seq.saturating_add(1);
            // A cancelled job takes no more: what was delivered when it was cancelled is what counts.
            if !in_order {
                Some(End::Malformed)
            } else if live.is_cancelled() || text.is_empty() {
                None
            } else {
                live.push_text(text, self.output_bytes).err().map(|TooMuch| End::TooMuch)
            }
        };
        if let Some(end) = wrong {
            self.cancel(attempt);
            self.ended(attempt, end);
        }
    }

    /// An image has come further.
    pub fn progress(&self, attempt: AttemptId, step: u32, total: u32, now: Timestamp) {
        if let Some(one) = lock(&self.work).running.get(&attempt)
            && let Some(live) = &one.live
        {
            one.lease.0.store(now.plus_millis(self.lease_ms).as_millis(), Ordering::Relaxed);
            live.push_progress(step, total);
        }
    }

    /// An image arrived: one, and where a picture was asked for.
    pub fn image(&self, attempt: AttemptId, image: Image) {
        let live = lock(&self.work).running.get(&attempt).and_then(|one| one.live.clone());
        let Some(live) = live else { return };
        if live.is_cancelled() {
            return;
        }
        let wanted = live.workload.kind == WorkloadKind::Image;
        let wrong = if !wanted || live.has_output() || image.data.is_empty() {
            Some(End::Malformed)
        } else {
            live.push_image(image, self.output_bytes).err().map(|TooMuch| End::TooMuch)
        };
        if let Some(end) = wrong {
            self.cancel(attempt);
            self.ended(attempt, end);
        }
    }

    /// An attempt ended. One that is not (or no longer) this Island's is ignored.
    pub fn ended(&self, attempt: AttemptId, end: End) {
        let running = lock(&self.work).running.remove(&attempt);
        if let Some(running) = running {
            // Nobody listens when the job was given up meanwhile.
            drop(running.end.send(end));
        }
    }

    /// The Island says which attempts it works on: their leases are renewed.
    pub fn heartbeat(&self, attempts: &[AttemptId], now: Timestamp) {
        let work = lock(&self.work);
        let running = attempts.iter().filter_map(|attempt| work.running.get(attempt));
        for one in running.filter(|one| one.live.is_some()) {
            one.lease.0.store(now.plus_millis(self.lease_ms).as_millis(), Ordering::Relaxed);
        }
    }

    /// The connection is gone: so is everything that ran through it.
    pub fn lost(&self) {
        let mut work = lock(&self.work);
        work.gone = true;
        for (_, running) in work.running.drain() {
            drop(running.end.send(End::Lost));
        }
    }
}

/// All connected Islands of this coordinator.
#[derive(Debug, Default)]
pub struct Registry {
    connections: Mutex<HashMap<IslandId, Arc<Connection>>>,
}

impl Registry {
    /// A connected Island.
    #[must_use]
    pub fn get(&self, id: IslandId) -> Option<Arc<Connection>> {
        lock(&self.connections).get(&id).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Connection>> {
        lock(&self.connections).values().cloned().collect()
    }

    /// Whether a user has an Island connected.
    #[must_use]
    pub fn owns_any(&self, user: UserId) -> bool {
        lock(&self.connections).values().any(|connection| connection.island.owner == user)
    }

    /// An Island connected; answers the connection it replaces, which is to be closed. `leave_the_book` takes the
    /// asks of the one before out, before anybody else can change them.
    pub fn insert(
        &self,
        connection: &Arc<Connection>,
        leave_the_book: impl FnOnce(),
    ) -> Option<Arc<Connection>> {
        let mut connections = lock(&self.connections);
        let replaced = connections.insert(connection.island.id, Arc::clone(connection));
        leave_the_book();
        replaced
    }

    /// Changes the asks of an Island, unless another connection has taken its place: what an old one still says is not
    /// about the new one.
    pub fn if_current(&self, connection: &Arc<Connection>, change: impl FnOnce()) {
        let connections = lock(&self.connections);
        if connections.get(&connection.island.id).is_some_and(|one| Arc::ptr_eq(one, connection)) {
            change();
        }
    }

    /// A connection ended: if it was still the Island's, its asks leave the book and it the list.
    pub fn remove(&self, connection: &Arc<Connection>, leave_the_book: impl FnOnce()) {
        let mut connections = lock(&self.connections);
        if connections.get(&connection.island.id).is_some_and(|one| Arc::ptr_eq(one, connection)) {
            connections.remove(&connection.island.id);
            leave_the_book();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
