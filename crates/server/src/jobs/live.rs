//! A job while it is alive: what it has given so far, who is watching, and the wish to cancel it.
//!
//! Everything it gives is kept until it ends, so that a stream opened late begins at the beginning and a slow reader stalls
//! nobody: each reader has its own place in the list. The list is bounded by `jobs.output_bytes`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use types::id::{JobId, UserId};
use types::island_protocol::MessageDelta;
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use super::message::{Assembly, Message};
use super::{Image, Job, Origin, Usage};
use crate::marketplace::Workload;
use crate::marketplace::measure::{Delivery, Request};

/// Most pieces one job may give: a piece costs memory beyond its bytes.
const MAX_EVENTS: usize = 200_000;
/// Most events of a job that may be followed by one of progress.
const MAX_PROGRESS: usize = 1000;

/// Something a stream shows.
#[derive(Clone, Debug)]
pub enum Event {
    /// The job waits for an Island.
    Waiting {
        /// The lowest ask of any Island eligible for it.
        best_ask: Option<MicroCredits>,
    },
    /// An Island works on it.
    Running {
        /// The Island's name.
        island: Arc<str>,
    },
    /// A piece of text.
    Token(Arc<str>),
    /// A piece of an answer that is no text.
    Delta(Arc<MessageDelta>),
    /// How far an image has come.
    Progress {
        /// Steps done.
        step: u32,
        /// Steps in all.
        total: u32,
    },
    /// A finished image.
    Image(Arc<Image>),
    /// The end: the job as stored.
    Ended(Arc<Job>),
}

impl Event {
    /// How many bytes of output it is.
    fn output_bytes(&self) -> usize {
        match self {
            Self::Token(text) => text.len(),
            Self::Delta(delta) => delta.said_bytes(),
            Self::Image(image) => image.data.len(),
            _ => 0,
        }
    }
}

/// A job that has not ended.
#[derive(Debug)]
pub struct LiveJob {
    /// Which one.
    pub id: JobId,
    /// Whose.
    pub user: UserId,
    /// Of which Cargo.
    pub workload: Arc<Workload>,
    /// How it came in.
    pub origin: Origin,
    /// Since when.
    pub created_at: Timestamp,
    /// How large its input is.
    pub input_bytes: usize,
    /// What it asks for, as far as it decides what it can cost.
    pub request: Request,
    /// The most it can take of its Cargo.
    pub most: Units,
    bid: AtomicI64,
    given: Mutex<Given>,
    changed: watch::Sender<()>,
    /// Told once, when the job has ended.
    over: Notify,
    cancelled: AtomicBool,
    cancel: Notify,
}

#[derive(Debug, Default)]
struct Given {
    events: Vec<Event>,
    bytes: usize,
    /// Bytes of output that went into the consumer's socket.
    delivered: usize,
    /// Pixels of the image, if one came.
    pixels: Option<i64>,
    watchers: usize,
    /// Counts openings of streams, to tell whether somebody came while nobody was there.
    openings: u64,
}

impl Given {
    fn has_ended(&self) -> bool {
        matches!(self.events.last(), Some(Event::Ended(_)))
    }
}

/// More output than a job may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl LiveJob {
    /// A job that has given nothing yet.
    #[must_use]
    pub fn new(job: &Job, workload: Arc<Workload>, request: Request) -> Self {
        Self {
            request,
            most: workload.measure.most(&request),
            bid: AtomicI64::new(job.bid.get()),
            id: job.id,
            user: job.user,
            workload,
            origin: job.origin,
            created_at: job.created_at,
            input_bytes: job.input.len(),
            given: Mutex::default(),
            changed: watch::Sender::new(()),
            over: Notify::new(),
            cancelled: AtomicBool::new(false),
            cancel: Notify::new(),
        }
    }

    /// Adds something for the streams to show.
    pub fn push(&self, event: Event) {
        let ends = matches!(event, Event::Ended(_));
        {
            let mut given = self.lock();
            // The end is the last thing there is, whatever an Island still sends.
            if given.has_ended() {
                return;
            }
            given.events.push(event);
        }
        self.changed.send_replace(());
        if ends {
            self.over.notify_waiters();
        }
    }

    /// Waits for the end alone, so that nobody is woken for each piece before it. Answers the job as stored.
    pub async fn ended(&self) -> Arc<Job> {
        loop {
            let over = self.over.notified();
            if let Some(Event::Ended(job)) = self.lock().events.last() {
                return Arc::clone(job);
            }
            over.await;
        }
    }

    /// Adds how far an image has come. Beyond a thousand steps nobody needs to know.
    pub fn push_progress(&self, step: u32, total: u32) {
        if self.lock().events.len() < MAX_PROGRESS {
            self.push(Event::Progress { step: step.min(total), total });
        }
    }

    /// Adds a piece of text.
    ///
    /// # Errors
    /// [`TooMuch`] if that were more than `most` bytes in all; then nothing was added.
    pub fn push_text(&self, text: &str, most: usize) -> Result<(), TooMuch> {
        self.push_bounded(Event::Token(text.into()), text.len(), most)
    }

    /// Adds a piece that is no text.
    ///
    /// # Errors
    /// [`TooMuch`] if that were more than `most` bytes in all; then nothing was added.
    pub fn push_delta(&self, delta: MessageDelta, most: usize) -> Result<(), TooMuch> {
        let bytes = delta.said_bytes();
        self.push_bounded(Event::Delta(Arc::new(delta)), bytes, most)
    }

    /// Adds the image.
    ///
    /// # Errors
    /// [`TooMuch`] if that were more than `most` bytes in all; then nothing was added.
    pub fn push_image(&self, image: Image, most: usize) -> Result<(), TooMuch> {
        let (bytes, pixels) = (image.data.len(), i64::from(image.width) * i64::from(image.height));
        self.push_bounded(Event::Image(Arc::new(image)), bytes, most)?;
        self.lock().pixels = Some(pixels);
        Ok(())
    }

    fn push_bounded(&self, event: Event, bytes: usize, most: usize) -> Result<(), TooMuch> {
        {
            let mut given = self.lock();
            if given.has_ended() {
                return Ok(());
            }
            if given.bytes + bytes > most || given.events.len() >= MAX_EVENTS {
                return Err(TooMuch);
            }
            given.bytes += bytes;
            given.events.push(event);
        }
        self.changed.send_replace(());
        Ok(())
    }

    /// Whether any output was given.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.lock().bytes > 0
    }

    /// All output as it is stored: the text, or the image as JSON.
    #[must_use]
    pub fn output(&self) -> Option<String> {
        self.output_within(usize::MAX)
    }

    /// The output that fits into so many bytes, in whole pieces, as it is stored.
    #[must_use]
    pub fn output_within(&self, most: usize) -> Option<String> {
        self.answer_within(most).0
    }

    /// The same with what the answer has beyond its text.
    #[must_use]
    pub fn answer_within(&self, most: usize) -> (Option<String>, Option<Message>) {
        let given = self.lock();
        let mut text = String::with_capacity(given.bytes.min(most));
        let (mut assembly, mut taken) = (Assembly::default(), 0);
        for event in &given.events {
            taken += event.output_bytes();
            match event {
                _ if taken > most => break,
                Event::Token(token) => text.push_str(token),
                Event::Delta(delta) => assembly.add(delta),
                Event::Image(image) => return (Some(image.to_json()), None),
                _ => {}
            }
        }
        ((!text.is_empty()).then_some(text), assembly.into_message())
    }

    /// What came of it so far, as the coordinator counts.
    #[must_use]
    pub fn delivery(&self, reported: Usage) -> Delivery {
        let given = self.lock();
        Delivery { relayed: given.bytes, delivered: given.delivered, pixels: given.pixels, reported }
    }

    /// Notes that this much of the output, from its beginning, went into the consumer's socket.
    pub fn mark_delivered(&self, bytes: usize) {
        let mut given = self.lock();
        given.delivered = given.delivered.max(bytes);
    }

    /// The most it may cost, which may have been raised since it came.
    #[must_use]
    pub fn bid(&self) -> MicroCredits {
        MicroCredits::new(self.bid.load(Ordering::SeqCst))
    }

    /// The consumer pays up to this much; never less than before.
    pub fn raise_bid(&self, bid: MicroCredits) {
        self.bid.fetch_max(bid.get(), Ordering::SeqCst);
    }

    /// Asks for the job to be cancelled.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel.notify_one();
    }

    /// Waits until somebody asks for that.
    pub async fn cancelled(&self) {
        while !self.cancelled.load(Ordering::SeqCst) {
            self.cancel.notified().await;
        }
        // The wish stays: whoever asks next is told at once.
        self.cancel.notify_one();
    }

    /// Whether somebody asked for that.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// A reader at the beginning.
    #[must_use]
    pub fn read(self: &Arc<Self>) -> Reader {
        Reader { job: Arc::clone(self), changed: self.changed.subscribe(), next: 0, bytes: 0 }
    }

    /// A reader that counts as somebody watching.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Reader {
        let mut given = self.lock();
        given.watchers += 1;
        given.openings += 1;
        drop(given);
        self.read()
    }

    /// Somebody stops watching; answers the number of openings so far if nobody is left.
    #[must_use]
    pub fn unwatch(&self) -> Option<u64> {
        let mut given = self.lock();
        given.watchers = given.watchers.saturating_sub(1);
        (given.watchers == 0).then_some(given.openings)
    }

    /// Somebody asked about the job: it is not forgotten.
    pub fn seen(&self) {
        self.lock().openings += 1;
    }

    /// Whether nobody came since there were this many openings.
    #[must_use]
    pub fn abandoned_since(&self, openings: u64) -> bool {
        let given = self.lock();
        given.watchers == 0 && given.openings == openings
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a job's events from the beginning, at its own pace.
#[derive(Debug)]
pub struct Reader {
    job: Arc<LiveJob>,
    changed: watch::Receiver<()>,
    next: usize,
    bytes: usize,
}

impl Reader {
    /// The job.
    #[must_use]
    pub const fn job(&self) -> &Arc<LiveJob> {
        &self.job
    }

    /// What has been read counts as gone into the consumer's socket.
    pub fn mark_delivered(&self) {
        if self.bytes > 0 {
            self.job.mark_delivered(self.bytes);
        }
    }

    /// The next events, at least one; nothing once the end has been read.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            self.changed.borrow_and_update();
            {
                let given = self.job.lock();
                if self.next < given.events.len() {
                    let events = given.events[self.next..].to_vec();
                    self.next = given.events.len();
                    self.bytes += events.iter().map(Event::output_bytes).sum::<usize>();
                    return Some(events);
                }
                if given.has_ended() {
                    return None;
                }
            }
            if self.changed.changed().await.is_err() {
                return None;
            }
        }
    }
}

/// All jobs that have not ended, of this coordinator.
#[derive(Debug, Default)]
pub struct LiveJobs {
    jobs: Mutex<Registry>,
    underway: watch::Sender<usize>,
}

/// Counts as an attempt whose end is still to be written, until it is dropped.
#[derive(Debug)]
pub struct Underway(watch::Sender<usize>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[derive(Debug, Default)]
struct Registry {
    jobs: HashMap<JobId, Arc<LiveJob>>,
    by_user: HashMap<UserId, Open>,
}

/// What one user has open.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    jobs: usize,
    input_bytes: usize,
}

impl LiveJobs {
    /// A job, if it has not ended.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<Arc<LiveJob>> {
        self.lock().jobs.get(&id).cloned()
    }

    /// Adds a job unless it is there already, or its user would have more than `most` open, or more than `most_bytes` of
    /// inputs; answers whether it was added.
    pub fn insert(&self, job: &Arc<LiveJob>, most: usize, most_bytes: usize) -> bool {
        let mut registry = self.lock();
        if registry.jobs.contains_key(&job.id) {
            return false;
        }
        let open = registry.by_user.entry(job.user).or_default();
        if open.jobs >= most || open.input_bytes.saturating_add(job.input_bytes) > most_bytes {
            return false;
        }
        open.jobs += 1;
        open.input_bytes += job.input_bytes;
        registry.jobs.insert(job.id, Arc::clone(job));
        true
    }

    /// Takes a job away.
    pub fn remove(&self, id: JobId) {
        let mut registry = self.lock();
        let Some(job) = registry.jobs.remove(&id) else { return };
        let left = registry.by_user.get_mut(&job.user).map_or(0, |open| {
            open.jobs -= 1;
            open.input_bytes -= job.input_bytes;
            open.jobs
        });
        if left == 0 {
            registry.by_user.remove(&job.user);
        }
    }

    /// An attempt begins.
    #[must_use]
    pub fn underway(&self) -> Underway {
        self.underway.send_modify(|count| *count += 1);
        Underway(self.underway.clone())
    }

    /// Waits until no attempt is underway.
    pub async fn at_rest(&self) {
        // The sender is ours, so this ends with the number only.
        let _ = self.underway.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Whether a job is among them.
    #[must_use]
    pub fn has(&self, id: JobId) -> bool {
        self.lock().jobs.contains_key(&id)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().jobs.len()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<LiveJob>> {
        self.lock().jobs.values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
