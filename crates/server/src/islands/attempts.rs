//! The attempts an Island works on, and what it may say about them.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::oneshot;
use types::id::AttemptId;
use types::island_protocol::{MessageDelta, ToIsland, Today};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::link::Link;
use super::vectors::Vectors;
use crate::config::WorkloadKind;
use crate::jobs::live::{LiveJob, TooMuch};
use crate::jobs::{Image, Usage, message};
use crate::marketplace::Workload;

/// How many attempts that ended are remembered, to tell a late word from a lie.
const REMEMBERED: usize = 1024;
/// A backend may count tokens that are no text (the end of it, for one): so many more than bytes are no offence.
const SILENT_TOKENS: i64 = 16;

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
    /// The session is over, or the Island does not know of it any more.
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

/// What an Island says about an attempt: the messages that are numbered.
#[derive(Debug)]
pub enum Said {
    /// A piece of text.
    Output {
        /// From 1, without gaps.
        seq: u64,
        /// The text.
        text: String,
    },
    /// A piece of an answer that is no text.
    Delta {
        /// From 1, without gaps, together with text.
        seq: u64,
        /// The piece.
        delta: MessageDelta,
    },
    /// The vectors of some texts.
    Embeddings {
        /// From 1, without gaps.
        seq: u64,
        /// As they came.
        vectors: Vec<String>,
    },
    /// How far an image has come.
    Progress {
        /// Steps done.
        step: u32,
        /// Steps in all.
        total: u32,
    },
    /// An image; nothing for what is none.
    Image(Option<Image>),
    /// It is over.
    Ended(End),
}

/// What became of something an Island said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was taken, or was late and does no harm.
    Fine,
    /// It was about an attempt that is not the Island's, or claims more than was sent.
    Offence,
    /// It came by a connection that another has replaced: nobody listens there.
    Stale,
}

/// Until when an attempt is the Island's. Moved by heartbeats and output.
#[derive(Clone, Debug)]
pub struct Lease(Arc<AtomicI64>);

impl Lease {
    /// Until then.
    #[must_use]
    pub fn new(until: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(until.as_millis())))
    }

    /// Until when.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// Until another moment.
    pub fn renew(&self, until: Timestamp) {
        self.0.store(until.as_millis(), Ordering::Relaxed);
    }
}

/// Where a session stands.
#[derive(Debug, Default)]
pub(super) struct State {
    pub link: Option<Arc<Link>>,
    pub running: HashMap<AttemptId, Running>,
    pub past: Past,
    /// How many numbered messages have arrived.
    pub received: u64,
    /// Of how many of them the Island was told.
    pub told: u64,
    /// How often a link broke.
    pub breaks: u64,
    /// Nothing more can be assigned, and nothing can go on.
    pub over: bool,
}

#[derive(Debug)]
pub(super) struct Running {
    /// Of which Cargo.
    pub workload: Arc<Workload>,
    /// Where output goes; nowhere once the Island was told to stop, because the job may be another's by then.
    pub live: Option<Arc<LiveJob>>,
    pub lease: Lease,
    pub end: oneshot::Sender<End>,
    pub next_seq: u64,
    /// What came of vectors, where those are asked for.
    pub vectors: Vectors,
    pub assigned_at: Timestamp,
    /// It takes a slot that the book does not know of, because the Island has left the book since.
    pub unreserved: bool,
}

impl Running {
    /// Counts a piece of an answer; answers whether it is the next one, and of the kind that was asked for. It is a sign of life too.
    pub fn count(&mut self, seq: u64, kind: WorkloadKind, lease: Timestamp) -> bool {
        self.lease.renew(lease);
        let in_order = self.next_seq == seq && self.workload.kind == kind;
        self.next_seq = seq.saturating_add(1);
        in_order
    }
}

/// The attempts that ended last.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Whether it was the Island that ended it.
    pub ended: HashMap<AttemptId, bool>,
    order: VecDeque<AttemptId>,
}

impl Past {
    pub fn add(&mut self, attempt: AttemptId, by_island: bool) {
        if self.ended.insert(attempt, by_island).is_none() {
            self.order.push_back(attempt);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    /// A word about an attempt that does not run: late, when we gave it up and the Island could not know.
    pub fn judge(&self, attempt: AttemptId) -> Heard {
        if self.ended.get(&attempt) == Some(&false) { Heard::Fine } else { Heard::Offence }
    }
}

impl State {
    pub fn is_current(&self, link: &Arc<Link>) -> bool {
        self.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
    }

    /// An attempt ended; not (or no longer) one of ours if it is not there.
    pub fn end(&mut self, attempt: AttemptId, end: End, by_island: bool) {
        let Some(running) = self.running.remove(&attempt) else { return };
        self.past.add(attempt, by_island);
        if running.unreserved
            && let Some(link) = &self.link
        {
            link.changed.notify_one();
        }
        // Nobody listens when the job was given up meanwhile.
        drop(running.end.send(end));
    }

    /// Ends an attempt because of what came of it.
    pub fn stop(&mut self, attempt: AttemptId, end: End) {
        if let Some(link) = &self.link {
            link.send(ToIsland::Cancel { attempt_id: attempt });
        }
        self.end(attempt, end, false);
    }

    pub fn tell_received(&mut self, today: Option<Today>) {
        if let Some(link) = &self.link
            && link.send(ToIsland::Received { messages: self.received, today })
        {
            self.told = self.received;
        }
    }

    pub fn leave_the_book(&mut self, workload: Option<&str>) {
        for one in self.running.values_mut() {
            one.unreserved |= workload.is_none_or(|slug| one.workload.slug == slug);
        }
    }
}

/// Takes a piece of text. Out of order, or where a picture was asked for, it is no answer and is not paid.
pub(super) fn take_text(live: &LiveJob, in_order: bool, text: &str, most: usize) -> Option<End> {
    // The one character that not every database can keep.
    let text = &*if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { Cow::from(text) };
    if !in_order {
        return Some(End::Malformed);
    }
    // A cancelled job takes no more: what was delivered when it was cancelled is what counts.
    if live.is_cancelled() || text.is_empty() {
        return None;
    }
    live.push_text(text, most).err().map(|TooMuch| End::TooMuch)
}

/// Takes a piece that is no text, which is no answer where a picture was asked for.
pub(super) fn take_delta(live: &LiveJob, in_order: bool, delta: MessageDelta, most: usize) -> Option<End> {
    if !in_order || !message::is_sound(&delta) {
        return Some(End::Malformed);
    }
    if live.is_cancelled() {
        return None;
    }
    live.push_delta(delta, most).err().map(|TooMuch| End::TooMuch)
}

/// Takes an image: one, and where a picture was asked for.
pub(super) fn take_image(live: &LiveJob, image: Option<Image>, most: usize) -> Option<End> {
    let Some(image) = image else { return Some(End::Malformed) };
    if live.is_cancelled() {
        return None;
    }
    if live.workload.kind != WorkloadKind::Image || live.has_output() || image.data.is_empty() {
        return Some(End::Malformed);
    }
    live.push_image(image, most).err().map(|TooMuch| End::TooMuch)
}

/// Whether an Island says that it made more tokens than it can have sent (incident 92).
pub(super) fn overstates(end: &End, live: &LiveJob) -> bool {
    let End::Done { usage, .. } = end else { return false };
    let relayed = live.delivery(Usage::default()).relayed;
    let most = i64::try_from(relayed).unwrap_or(i64::MAX).saturating_add(SILENT_TOKENS);
    usage.completion_tokens.is_some_and(|tokens| tokens > most)
}
