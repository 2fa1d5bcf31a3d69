//! What the agent did, counted: for its owner, and for the floor under its asking prices.
//!
//! Counting never fails and never waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use types::island_protocol::Today;
use types::money::MicroCredits;

use crate::cost::{self, Speed, Speeds};

/// Over how long the present speed is counted.
const WINDOW: Duration = Duration::from_secs(10);
/// Letters in a token, about, where nobody counted.
const TOKEN_BYTES: usize = 4;

/// Counters of one agent, over all its connections.
#[derive(Debug)]
pub(crate) struct Tally {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    now: Snapshot,
    /// Texts of the last seconds: when, and about how many tokens.
    said: VecDeque<(Instant, u64)>,
    speeds: Speeds,
    speeds_changed: bool,
    /// The time one attempt would have had for itself since the start, in microseconds: it runs at the n-th part
    /// of real time while n attempts run.
    shared_us: u64,
    shared_at: Instant,
}

/// How things stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Since when, and as whom.
    pub(crate) connected: Option<(Instant, String)>,
    /// Whether the coordinator knows sessions.
    pub(crate) session: bool,
    /// Why there is no connection.
    pub(crate) trouble: String,
    /// Cargos in the book.
    pub(crate) offers: usize,
    pub(crate) running: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) rejected: u64,
    /// About how many tokens, in the last seconds, a second.
    pub(crate) tokens_per_second: u64,
    /// As the coordinator counts.
    pub(crate) today: Option<Today>,
    /// The most that the finished attempts can have earned.
    pub(crate) estimate: MicroCredits,
}

/// A mark at an attempt's beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    shared_us: u64,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended<'a> {
    /// Complete: its Cargo, the tokens that were counted, and what it earns at most.
    Done {
        workload: &'a str,
        tokens: u64,
        earns: MicroCredits,
    },
    Failed,
    Cancelled,
    /// Given up with its session.
    Gone,
}

impl Tally {
    /// All zero, but for speeds measured earlier.
    pub(crate) fn new(speeds: Speeds) -> Self {
        let inner = Inner {
            now: Snapshot::default(),
            said: VecDeque::new(),
            speeds,
            speeds_changed: false,
            shared_us: 0,
            shared_at: Instant::now(),
        };
        Self { inner: Mutex::new(inner) }
    }

    /// An attempt begins.
    pub(crate) fn begun(&self) -> Started {
        self.begun_at(Instant::now())
    }

    fn begun_at(&self, now: Instant) -> Started {
        let mut inner = self.lock();
        inner.share(now);
        inner.now.running += 1;
        Started { shared_us: inner.shared_us }
    }

    /// It has ended.
    pub(crate) fn ended(&self, started: Started, how: Ended<'_>) {
        self.ended_at(Instant::now(), started, how);
    }

    fn ended_at(&self, now: Instant, started: Started, how: Ended<'_>) {
        let mut inner = self.lock();
        inner.share(now);
        let share_us = inner.shared_us.saturating_sub(started.shared_us);
        let now = &mut inner.now;
        now.running = now.running.saturating_sub(1);
        match how {
            Ended::Done { workload, tokens, earns } => {
                now.done += 1;
                now.estimate = now.estimate.plus(earns).unwrap_or(now.estimate);
                cost::measure(&mut inner.speeds, workload, share_us, tokens);
                inner.speeds_changed = true;
            }
            Ended::Failed => now.failed += 1,
            Ended::Cancelled | Ended::Gone => now.cancelled += 1,
        }
    }

    pub(crate) fn rejected(&self) {
        self.lock().now.rejected += 1;
    }

    /// A piece of text went out.
    pub(crate) fn said(&self, bytes: usize) {
        let tokens = u64::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(0);
        let (mut inner, now) = (self.lock(), Instant::now());
        // One entry a tenth of a second is fine enough, and bounds the row.
        match inner.said.back_mut() {
            Some((at, sum)) if now.duration_since(*at) < WINDOW / 100 => *sum = sum.saturating_add(tokens),
            _ => inner.said.push_back((now, tokens)),
        }
        inner.forget_old(now);
    }

    pub(crate) fn connected(&self, name: String, session: bool, offers: usize) {
        let mut inner = self.lock();
        inner.now.connected = Some((Instant::now(), name));
        inner.now.session = session;
        inner.now.offers = offers;
    }

    pub(crate) fn disconnected(&self, trouble: &str) {
        let mut inner = self.lock();
        inner.now.connected = None;
        inner.now.offers = 0;
        trouble.clone_into(&mut inner.now.trouble);
    }

    pub(crate) fn offered(&self, offers: usize) {
        self.lock().now.offers = offers;
    }

    pub(crate) fn today(&self, today: Today) {
        self.lock().now.today = Some(today);
    }

    /// How things stand.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot_at(Instant::now())
    }

    fn snapshot_at(&self, now: Instant) -> Snapshot {
        let mut inner = self.lock();
        inner.forget_old(now);
        let tokens: u64 = inner.said.iter().map(|(_, tokens)| tokens).sum();
        Snapshot { tokens_per_second: tokens / WINDOW.as_secs(), ..inner.now.clone() }
    }

    /// How fast a Cargo is served.
    pub(crate) fn speed(&self, workload: &str) -> Option<Speed> {
        self.lock().speeds.get(workload).copied()
    }

    /// All speeds, if they changed since this was last asked.
    pub(crate) fn take_changed_speeds(&self) -> Option<Speeds> {
        let mut inner = self.lock();
        std::mem::take(&mut inner.speeds_changed).then(|| inner.speeds.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Lets time pass for all that run.
    fn share(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.shared_at);
        self.shared_at = now;
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        self.shared_us = self.shared_us.saturating_add(micros / self.now.running.max(1));
    }

    fn forget_old(&mut self, now: Instant) {
        while self.said.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.said.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_run_together_share_the_time() {
        let tally = Tally::new(Speeds::new());
        let start = tally.lock().shared_at;
        let after = |seconds| start + Duration::from_secs(seconds);
        let done = |workload| Ended::Done { workload, tokens: 10, earns: MicroCredits::new(5) };
        let first = tally.begun_at(after(10));
        let other = tally.begun_at(after(11));
        tally.ended_at(after(12), first, done("a"));
        tally.ended_at(after(13), other, done("b"));
        // Three seconds of work in all: one alone, one shared, one alone.
        assert_eq!(tally.speed("a").unwrap().share_us, 1_500_000);
        assert_eq!(tally.speed("b").unwrap().share_us, 1_500_000);
        let now = tally.snapshot();
        assert_eq!((now.running, now.done, now.estimate), (0, 2, MicroCredits::new(10)));
        assert!(tally.take_changed_speeds().is_some() && tally.take_changed_speeds().is_none());
    }

    #[test]
    fn the_present_speed_forgets() {
        let tally = Tally::new(Speeds::new());
        for _ in 0..400 {
            tally.said(1);
        }
        assert_eq!(tally.snapshot().tokens_per_second, 40);
        assert_eq!(tally.snapshot_at(Instant::now() + WINDOW * 2).tokens_per_second, 0);
    }
}
