//! The life of an attempt.
//!
//! Guarantees: exactly one of `done` and `failed` is put into the outbox for every attempt that was begun, as its last
//! message, unless its session is given up; a panic in a backend is a failure like any other; its slot is free
//! before the coordinator can know that it ended, and it stays in the list of running attempts until that message
//! is in the outbox.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use serde_json::value::RawValue;
use tokio::sync::{Notify, oneshot};
use types::id::AttemptId;
use types::island_protocol::FromIsland;
use types::money::MicroCredits;

use crate::backend::{Failure, Finished, Stopped, Work};
use crate::catalog::{Lane, Served};
use crate::outbox::Outbox;
use crate::reporter::Reporter;
use crate::tally::{Ended, Started, Tally};

/// The most input of attempts in work, in bytes: slots alone do not bound memory.
const MAX_INPUT_BYTES: usize = 64 * 1024 * 1024;

/// The most attempts that have ended without the outbox having had room for their end. A coordinator that assigns and
/// cancels without listening gets no further than this.
const MAX_UNTOLD: usize = 1024;

/// The attempts in work of one session.
#[derive(Debug)]
pub(crate) struct Running {
    table: Mutex<Table>,
    /// Told when the last attempt has ended.
    empty: Notify,
    tally: Arc<Tally>,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) attempt_id: AttemptId,
    pub(crate) input: Box<RawValue>,
    /// The model that the consumer asked for.
    pub(crate) model: Option<String>,
    /// The most that is earned by it.
    pub(crate) earns: MicroCredits,
}

#[derive(Debug, Default)]
struct Table {
    /// Each attempt with the way to stop it: sent to for a cancellation, dropped when the session is given up.
    attempts: HashMap<AttemptId, Option<oneshot::Sender<()>>>,
    /// Slots in use, by the key of their lane. Kept across changes of what is offered.
    busy: HashMap<String, u32>,
    input_bytes: usize,
    failures: u64,
    last_failure: String,
}

impl Running {
    /// None yet.
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { table: Mutex::default(), empty: Notify::new(), tally }
    }

    /// Takes a slot for an attempt: on the backend that failed least of late, and among equals on the one that has the
    /// largest part of its slots free.
    ///
    /// # Errors
    /// Why it cannot be begun.
    pub(crate) fn begin(self: &Arc<Self>, order: Order, served: &Arc<Served>) -> Result<Begun, &'static str> {
        let wanted = order.model.as_deref();
        let able = || served.lanes.iter().filter(|lane| lane.model(wanted).is_some());
        if able().next().is_none() {
            return Err("This Island does not offer this model.");
        }
        // What is down may not have left the book yet; and one that fails fast would look like the emptiest.
        let mut up = able().filter_map(|lane| Some((lane.site.failures_if_up()?, lane))).peekable();
        if up.peek().is_none() {
            return Err("This Island's backend is down.");
        }
        let mut table = self.lock();
        let with_slot: u64 = table.busy.values().map(|&busy| u64::from(busy)).sum();
        let with_slot = usize::try_from(with_slot).unwrap_or(usize::MAX);
        if table.attempts.len().saturating_sub(with_slot) >= MAX_UNTOLD {
            return Err("This Island has too much to tell before it can begin more.");
        }
        let busy = |lane: &Lane| table.busy.get(&lane.key).copied().unwrap_or(0);
        let free = up.filter(|(_, lane)| busy(lane) < lane.slots);
        let best = free.min_by(|(failures, lane), (other_failures, other)| {
            // Compared as fractions without dividing.
            let load = u64::from(busy(lane)) * u64::from(other.slots);
            let other_load = u64::from(busy(other)) * u64::from(lane.slots);
            failures.cmp(other_failures).then(load.cmp(&other_load))
        });
        let lane = best.ok_or("All slots of this Island are in use.")?.1.clone();
        let input_bytes = order.input.get().len();
        if table.input_bytes.saturating_add(input_bytes) > MAX_INPUT_BYTES {
            return Err("This Island has as much input in work as it can hold.");
        }
        table.input_bytes += input_bytes;
        *table.busy.entry(lane.key.clone()).or_default() += 1;
        let (stop, stopped) = oneshot::channel();
        table.attempts.insert(order.attempt_id, Some(stop));
        drop(table);
        let place = Place {
            running: Arc::clone(self),
            lane,
            attempt_id: order.attempt_id,
            holds_slot: true,
            input_bytes,
            started: self.tally.begun(),
            ended: false,
        };
        Ok(Begun { place, stopped, served: Arc::clone(served), order })
    }

    /// Whether this attempt is in work.
    pub(crate) fn has(&self, attempt_id: AttemptId) -> bool {
        self.lock().attempts.contains_key(&attempt_id)
    }

    /// All attempts in work.
    pub(crate) fn list(&self) -> Vec<AttemptId> {
        self.lock().attempts.keys().copied().collect()
    }

    /// How many attempts are in work.
    pub(crate) fn count(&self) -> usize {
        self.lock().attempts.len()
    }

    /// Stops an attempt, which answers that it failed. One that has ended is left alone.
    pub(crate) fn cancel(&self, attempt_id: AttemptId) {
        if let Some(stop) = self.lock().attempts.get_mut(&attempt_id).and_then(Option::take) {
            // If nobody listens, it is just ending by itself.
            let _ = stop.send(());
        }
    }

    /// Stops all attempts without a word: there is nobody left to hear it.
    pub(crate) fn abandon(&self) {
        self.lock().attempts.values_mut().for_each(|stop| *stop = None);
    }

    /// Returns when no attempt is in work.
    pub(crate) async fn wait_until_empty(&self) {
        while self.count() > 0 {
            self.empty.notified().await;
        }
    }

    /// How many attempts failed since this was last asked, and how the last one did.
    pub(crate) fn take_failures(&self) -> Option<(u64, String)> {
        let mut table = self.lock();
        let failures = std::mem::take(&mut table.failures);
        (failures > 0).then(|| (failures, std::mem::take(&mut table.last_failure)))
    }

    fn note_failure(&self, failure: &Failure) {
        let mut table = self.lock();
        table.failures += 1;
        table.last_failure.clone_from(&failure.sentence);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that has a slot.
#[derive(Debug)]
pub(crate) struct Begun {
    place: Place,
    stopped: oneshot::Receiver<()>,
    served: Arc<Served>,
    order: Order,
}

/// A place among the running, given back when dropped.
#[derive(Debug)]
struct Place {
    running: Arc<Running>,
    lane: Lane,
    attempt_id: AttemptId,
    holds_slot: bool,
    input_bytes: usize,
    started: Started,
    /// Whether its end was counted.
    ended: bool,
}

impl Place {
    fn free_slot(&mut self) {
        if std::mem::take(&mut self.holds_slot) {
            let mut table = self.running.lock();
            table.input_bytes = table.input_bytes.saturating_sub(self.input_bytes);
            if let Some(busy) = table.busy.get_mut(&self.lane.key) {
                *busy = busy.saturating_sub(1);
            }
        }
    }

    fn count(&mut self, how: Ended<'_>) {
        if !std::mem::replace(&mut self.ended, true) {
            self.running.tally.ended(self.started, how);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free_slot();
        self.count(Ended::Gone);
        let mut table = self.running.lock();
        table.attempts.remove(&self.attempt_id);
        if table.attempts.is_empty() {
            self.running.empty.notify_one();
        }
    }
}

impl Begun {
    /// Does the work and answers for it, to a coordinator that speaks this version of the protocol.
    pub(crate) async fn run(self, outbox: Arc<Outbox>, protocol: u32) {
        let Self { mut place, stopped, served, order } = self;
        let mut reporter = Reporter::new(order.attempt_id, outbox, Arc::clone(&place.running.tally));
        reporter.speaks(protocol);
        let site = Arc::clone(&place.lane.site);
        let model = place.lane.model(order.model.as_deref()).unwrap_or_default().to_owned();
        let work = Work { endpoint: served.endpoint, model: &model, input: &order.input };
        let outcome = guard(site.backend.run(work, &mut reporter), stopped).await;
        match &outcome {
            Ok(finished) => {
                site.worked();
                let counted = finished.usage.and_then(|usage| usage.completion_tokens);
                let tokens = counted.unwrap_or_else(|| reporter.pieces());
                place.count(Ended::Done { workload: &served.workload, tokens, earns: order.earns });
            }
            Err(Stopped::Failed(failure)) => {
                if failure.backend_is_well {
                    site.worked();
                } else {
                    site.failed();
                }
                place.count(Ended::Failed);
            }
            Err(Stopped::Cancelled | Stopped::Gone) => place.count(Ended::Cancelled),
        }
        finish(place, outcome, &reporter).await;
    }
}

/// Runs a backend until it ends, panics or is stopped.
async fn guard(
    work: impl Future<Output = Result<Finished, Stopped>>,
    stopped: oneshot::Receiver<()>,
) -> Result<Finished, Stopped> {
    tokio::select! {
        biased;
        stop = stopped => Err(if stop.is_ok() { Stopped::Cancelled } else { Stopped::Gone }),
        outcome = AssertUnwindSafe(work).catch_unwind() => {
            outcome.unwrap_or_else(|_| Err(Failure::retryable("The Island made a mistake of its own.").into()))
        }
    }
}

async fn finish(mut place: Place, outcome: Result<Finished, Stopped>, reporter: &Reporter) {
    let attempt_id = place.attempt_id;
    let last = match outcome {
        Ok(Finished { usage, finish_reason }) => FromIsland::Done { attempt_id, usage, finish_reason },
        Err(Stopped::Failed(failure)) => {
            place.running.note_failure(&failure);
            tracing::debug!(%attempt_id, "Attempt {attempt_id} failed: {}", failure.sentence);
            FromIsland::Failed { attempt_id, error: failure.sentence, retryable: failure.retryable }
        }
        Err(Stopped::Cancelled) => {
            FromIsland::Failed { attempt_id, error: "cancelled".to_owned(), retryable: false }
        }
        Err(Stopped::Gone) => return,
    };
    // Before the message: the coordinator may fill the slot as soon as it reads it.
    place.free_slot();
    // If the session was given up meanwhile, the coordinator knows what that means.
    let _ = reporter.send(&last).await;
}

#[cfg(test)]
mod tests {
    use types::id::Id;
    use types::time::Timestamp;

    use super::*;
    use crate::catalog::{Catalog, Sites};
    use crate::config::{BackendConfig, BackendKind, Config, OfferConfig};
    use crate::cost::Speeds;
    use crate::outbox;

    fn served(slots: &[u32]) -> Arc<Served> {
        let backend = |slots: &u32| BackendConfig {
            kind: BackendKind::Demo { delay_ms: 0 },
            offers: vec![OfferConfig::chat("a", "1", *slots)],
        };
        let backends = slots.iter().map(backend).collect();
        let config = Config { coordinator: "x".to_owned(), token: "t".into(), backends, ..Config::default() };
        let sites = Sites::build(&config, &Sites::default(), &Arc::new(Notify::new())).unwrap();
        let catalog = Catalog::build(&config, &sites, &tally(), Timestamp::default());
        Arc::clone(catalog.served("a").unwrap())
    }

    fn tally() -> Arc<Tally> {
        Arc::new(Tally::new(Speeds::new()))
    }

    fn running() -> Arc<Running> {
        Arc::new(Running::new(tally()))
    }

    fn order(number: i64) -> Order {
        let input = RawValue::from_string("{}".to_owned()).unwrap();
        Order { attempt_id: AttemptId::from_i64(number), input, model: None, earns: MicroCredits::ZERO }
    }

    async fn last_words(
        outcome: impl Future<Output = Result<Finished, Stopped>>,
        cancel: bool,
    ) -> Vec<String> {
        let outbox = Arc::new(Outbox::new(true));
        let (running, attempt_id) = (running(), AttemptId::from_i64(1));
        let begun = running.begin(order(1), &served(&[1])).unwrap();
        if cancel {
            running.cancel(attempt_id);
        }
        let outcome = guard(outcome, begun.stopped).await;
        let reporter = Reporter::new(attempt_id, Arc::clone(&outbox), tally());
        finish(begun.place, outcome, &reporter).await;
        assert!(!running.has(attempt_id));
        std::iter::from_fn(|| outbox.next()).map(|frame| frame.to_string()).collect()
    }

    #[tokio::test]
    async fn every_end_is_told_once() {
        let done = last_words(async { Ok(Finished::default()) }, false).await;
        assert!(done.len() == 1 && done[0].contains("done"), "{done:?}");
        let failed = last_words(async { Err(Failure::input("no").into()) }, false).await;
        assert!(failed.len() == 1 && failed[0].contains(r#""error":"no","retryable":false"#), "{failed:?}");
        let panicked = last_words(async { panic!("as the test wants it") }, false).await;
        assert!(panicked.len() == 1 && panicked[0].contains(r#""retryable":true"#), "{panicked:?}");
        let cancelled = last_words(std::future::pending(), true).await;
        assert!(cancelled.len() == 1 && cancelled[0].contains(r#""error":"cancelled""#), "{cancelled:?}");
        assert_eq!(last_words(async { Err(Stopped::Gone) }, false).await, [] as [String; 0]);
    }

    #[tokio::test]
    async fn slots_are_counted_across_changes_of_the_offer() {
        let (running, two, one) = (running(), served(&[2]), served(&[1]));
        let begin = |number, served| running.begin(order(number), served);
        let (first, second) = (begin(1, &two).unwrap(), begin(2, &two).unwrap());
        assert!(begin(3, &two).is_err());
        drop(first);
        assert!(begin(3, &one).is_err(), "one of one slot is still in use");
        drop(second);
        assert!(begin(3, &one).is_ok());
    }

    #[tokio::test]
    async fn the_emptier_backend_is_taken() {
        let (running, served) = (running(), served(&[1, 3]));
        let begun: Vec<Begun> =
            (1..=4).map(|number| running.begin(order(number), &served).unwrap()).collect();
        let widths: Vec<u32> = begun.iter().map(|begun| begun.place.lane.slots).collect();
        assert_eq!(widths, [1, 3, 3, 3]);
        assert!(running.begin(order(5), &served).is_err());
    }

    #[tokio::test]
    async fn ends_that_cannot_be_told_are_bounded() {
        let (running, served) = (running(), served(&[1]));
        let mut untold = Vec::new();
        for number in 1.. {
            let Ok(mut begun) = running.begin(order(number), &served) else { break };
            begun.place.free_slot();
            untold.push(begun);
        }
        assert_eq!(untold.len(), MAX_UNTOLD);
        untold.pop();
        assert!(running.begin(order(0), &served).is_ok());
    }

    #[tokio::test]
    async fn input_is_bounded_by_its_size() {
        let (running, served) = (running(), served(&[9]));
        let large = |number| {
            let input = RawValue::from_string(format!("\"{}\"", "a".repeat(MAX_INPUT_BYTES / 2))).unwrap();
            Order { input, ..order(number) }
        };
        let first = running.begin(large(1), &served).unwrap();
        assert!(running.begin(large(2), &served).unwrap_err().contains("input"));
        drop(first);
        assert!(running.begin(large(2), &served).is_ok());
    }

    #[tokio::test]
    async fn the_slot_is_free_before_the_end_is_told() {
        let outbox = Arc::new(outbox::tests::narrow());
        let running = running();
        let begun = running.begin(order(1), &served(&[1])).unwrap();
        let reporter = Reporter::new(AttemptId::from_i64(1), Arc::clone(&outbox), tally());
        reporter.progress(0, 1).await.unwrap();
        // The outbox is full, so the last message has to wait.
        let mut ending = Box::pin(finish(begun.place, Ok(Finished::default()), &reporter));
        assert!((&mut ending).now_or_never().is_none());
        assert!(running.has(AttemptId::from_i64(1)), "still listed, because its end is not told");
        assert!(running.begin(order(2), &served(&[1])).is_ok());
        outbox.next().unwrap();
        outbox.acknowledge(1).unwrap();
        ending.await;
        assert!(!running.has(AttemptId::from_i64(1)));
    }

    #[tokio::test]
    async fn what_is_abandoned_says_nothing() {
        let running = running();
        let begun = running.begin(order(1), &served(&[1])).unwrap();
        running.abandon();
        assert_eq!(guard(std::future::pending(), begun.stopped).await, Err(Stopped::Gone));
    }
}
