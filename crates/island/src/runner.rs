//! The life of an attempt.
//!
//! Guarantees: exactly one of `done` and `failed` is sent for every attempt that was begun, as its last message;
//! a panic in a backend is a failure like any other; its slot is free before the coordinator can know that it
//! ended, and it stays in the list of running attempts until that message is on its way.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use serde_json::value::RawValue;
use tokio::sync::{Notify, oneshot};
use types::id::AttemptId;
use types::island_protocol::FromIsland;

use crate::backend::{Failure, Finished, Stopped, Work};
use crate::catalog::Served;
use crate::reporter::Reporter;

/// The attempts in work on one connection.
#[derive(Debug, Default)]
pub(crate) struct Running {
    table: Mutex<Table>,
    /// Told when the last attempt has ended.
    empty: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// Each attempt with the way to stop it: sent to for a cancellation, dropped when the connection is gone.
    attempts: HashMap<AttemptId, Option<oneshot::Sender<()>>>,
    /// Slots in use, by Cargo. Kept across changes of what is offered.
    busy: HashMap<String, u32>,
    failures: u64,
    last_failure: String,
}

impl Running {
    /// Takes a slot for an attempt; `None` if all are in use.
    pub(crate) fn begin(self: &Arc<Self>, attempt_id: AttemptId, served: &Arc<Served>) -> Option<Begun> {
        let mut table = self.lock();
        match table.busy.get_mut(&served.workload) {
            Some(busy) if *busy >= served.slots => return None,
            Some(busy) => *busy += 1,
            None => {
                table.busy.insert(served.workload.clone(), 1);
            }
        }
        let (stop, stopped) = oneshot::channel();
        table.attempts.insert(attempt_id, Some(stop));
        drop(table);
        let place =
            Place { running: Arc::clone(self), served: Arc::clone(served), attempt_id, holds_slot: true };
        Some(Begun { place, stopped })
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
}

/// A place among the running, given back when dropped.
#[derive(Debug)]
struct Place {
    running: Arc<Running>,
    served: Arc<Served>,
    attempt_id: AttemptId,
    holds_slot: bool,
}

impl Place {
    fn free_slot(&mut self) {
        if std::mem::take(&mut self.holds_slot)
            && let Some(busy) = self.running.lock().busy.get_mut(&self.served.workload)
        {
            *busy = busy.saturating_sub(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free_slot();
        let mut table = self.running.lock();
        table.attempts.remove(&self.attempt_id);
        if table.attempts.is_empty() {
            self.running.empty.notify_one();
        }
    }
}

impl Begun {
    /// Does the work and answers for it.
    pub(crate) async fn run(self, input: Box<RawValue>, mut reporter: Reporter) {
        let served = Arc::clone(&self.place.served);
        let work = Work { endpoint: served.endpoint, model: &served.model, input: &input };
        let outcome = guard(served.backend.run(work, &mut reporter), self.stopped).await;
        finish(self.place, outcome, &reporter).await;
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
    // If the connection has gone meanwhile, the coordinator knows what that means.
    let _ = reporter.send(&last).await;
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use types::id::Id;

    use super::*;
    use crate::catalog::Catalog;
    use crate::config::{BackendConfig, BackendKind, Config, OfferConfig};

    fn served(slots: u32) -> Arc<Served> {
        let offers = vec![OfferConfig::chat("a", "1", slots)];
        let backends = vec![BackendConfig { kind: BackendKind::Demo { delay_ms: 0 }, offers }];
        let config = Config { coordinator: "x".to_owned(), token: "t".into(), backends, ..Config::default() };
        Arc::clone(Catalog::build(&config, &Catalog::default()).unwrap().served("a").unwrap())
    }

    async fn last_words(
        outcome: impl Future<Output = Result<Finished, Stopped>>,
        cancel: bool,
    ) -> Vec<String> {
        let (frames, mut sent) = mpsc::channel(10);
        let (running, attempt_id) = (Arc::new(Running::default()), AttemptId::from_i64(1));
        let begun = running.begin(attempt_id, &served(1)).unwrap();
        if cancel {
            running.cancel(attempt_id);
            running.cancel(attempt_id);
        }
        let outcome = guard(outcome, begun.stopped).await;
        finish(begun.place, outcome, &Reporter::new(attempt_id, frames)).await;
        assert_eq!(running.count(), 0);
        running.wait_until_empty().await;
        assert!(running.begin(attempt_id, &served(1)).is_some(), "the slot is free again");
        let mut words = Vec::new();
        while let Some(frame) = sent.recv().await {
            words.push(frame.to_string());
        }
        words
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
        let (running, two, one) = (Arc::new(Running::default()), served(2), served(1));
        let begin = |number, served| running.begin(AttemptId::from_i64(number), served);
        let (first, second) = (begin(1, &two).unwrap(), begin(2, &two).unwrap());
        assert!(begin(3, &two).is_none());
        drop(first);
        assert!(begin(3, &one).is_none(), "one of one slot is still in use");
        drop(second);
        assert!(begin(3, &one).is_some());
    }

    #[tokio::test]
    async fn the_slot_is_free_before_the_end_is_told() {
        let (frames, mut sent) = mpsc::channel(1);
        let running = Arc::new(Running::default());
        let begun = running.begin(AttemptId::from_i64(1), &served(1)).unwrap();
        let reporter = Reporter::new(AttemptId::from_i64(1), frames);
        reporter.progress(0, 1).await.unwrap();
        // The queue is full, so the last message has to wait.
        let mut ending = Box::pin(finish(begun.place, Ok(Finished::default()), &reporter));
        assert!((&mut ending).now_or_never().is_none());
        assert!(running.has(AttemptId::from_i64(1)), "still listed, because its end is not told");
        assert!(running.begin(AttemptId::from_i64(2), &served(1)).is_some());
        sent.recv().await.unwrap();
        ending.await;
        assert!(!running.has(AttemptId::from_i64(1)));
    }

    #[tokio::test]
    async fn what_is_abandoned_says_nothing() {
        let running = Arc::new(Running::default());
        let begun = running.begin(AttemptId::from_i64(1), &served(1)).unwrap();
        running.abandon();
        assert_eq!(guard(std::future::pending(), begun.stopped).await, Err(Stopped::Gone));
    }
}
