//! What is to be told about attempts, until the coordinator has it.
//!
//! Guarantees: messages leave in the order in which they were put in, and are numbered by it; with a coordinator that
//! acknowledges (protocol 2) each is kept until then, so that a new connection begins exactly behind the last
//! one that arrived; what is kept is bounded, and who has more to say waits; an acknowledgement of what was
//! never sent is refused.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use types::id::AttemptId;
use types::island_protocol::FromIsland;

use crate::reporter::Gone;

/// How much is kept, in bytes: two frames of the largest size.
const KEPT_BYTES: u32 = 32 * 1024 * 1024;
/// What a message weighs beside its text, so that many small ones are bounded too.
const OVERHEAD_BYTES: usize = 128;
/// How many rejections may wait for their acknowledgement. They are not paid for by room, because whoever rejects
/// cannot wait; a coordinator that assigns more than this without listening is not worth having.
const MAX_REJECTIONS: usize = 16 * 1024;

/// A coordinator that says what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Absurd;

/// The messages of one session about its attempts.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Free bytes. Closed when the session is given up.
    room: Semaphore,
    limit: u32,
    /// Something may be there to be sent.
    ready: Notify,
}

#[derive(Debug)]
struct State {
    /// From number `arrived + 1` on.
    kept: VecDeque<Kept>,
    /// How many messages have arrived and are forgotten.
    arrived: u64,
    /// How many of `kept` were handed to the present connection.
    sent: usize,
    /// The highest number that was ever handed to a connection.
    highest_sent: u64,
    /// Whether messages are kept until they are acknowledged; otherwise until they are sent.
    acknowledged: bool,
    rejections: usize,
}

#[derive(Debug)]
struct Kept {
    text: Utf8Bytes,
    /// The room it takes.
    weight: u32,
    /// The attempt that ends by it.
    ends: Option<AttemptId>,
}

impl Outbox {
    /// An empty one; `acknowledged` says whether the coordinator acknowledges what arrives.
    pub(crate) fn new(acknowledged: bool) -> Self {
        Self::with_room(acknowledged, KEPT_BYTES)
    }

    fn with_room(acknowledged: bool, limit: u32) -> Self {
        let state = State {
            kept: VecDeque::new(),
            arrived: 0,
            sent: 0,
            highest_sent: 0,
            acknowledged,
            rejections: 0,
        };
        let room = Semaphore::new(usize::try_from(limit).unwrap_or(usize::MAX >> 4));
        Self { state: Mutex::new(state), room, limit, ready: Notify::new() }
    }

    /// Puts a message in as soon as there is room; first come, first served.
    pub(crate) async fn push(&self, message: &FromIsland) -> Result<(), Gone> {
        let text = text_of(message);
        // What is larger than all the room takes all of it.
        let weight = u32::try_from(text.len().saturating_add(OVERHEAD_BYTES)).unwrap_or(u32::MAX);
        let weight = weight.min(self.limit);
        self.room.acquire_many(weight).await.map_err(|_| Gone)?.forget();
        self.keep(Kept { text, weight, ends: ended_by(message) });
        Ok(())
    }

    /// Puts a rejection in without waiting.
    pub(crate) fn reject(&self, attempt_id: AttemptId, reason: &str) -> Result<(), Absurd> {
        let mut state = self.lock();
        if state.rejections >= MAX_REJECTIONS {
            return Err(Absurd);
        }
        state.rejections += 1;
        drop(state);
        let message = FromIsland::Rejected { attempt_id, reason: reason.to_owned() };
        self.keep(Kept { text: text_of(&message), weight: 0, ends: Some(attempt_id) });
        Ok(())
    }

    fn keep(&self, kept: Kept) {
        self.lock().kept.push_back(kept);
        self.ready.notify_one();
    }

    /// The next message for the present connection, if there is one.
    pub(crate) fn next(&self) -> Option<Message> {
        let mut state = self.lock();
        let index = state.sent;
        let text = state.kept.get(index)?.text.clone();
        state.sent += 1;
        let number = state.arrived.saturating_add(u64::try_from(state.sent).unwrap_or(u64::MAX));
        state.highest_sent = state.highest_sent.max(number);
        if !state.acknowledged {
            let freed = state.forget(1);
            drop(state);
            self.room.add_permits(freed);
        }
        Some(Message::Text(text))
    }

    /// Returns when something may have come.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// So many messages of the session have arrived. Fewer than before is old news.
    pub(crate) fn acknowledge(&self, arrived: u64) -> Result<(), Absurd> {
        let mut state = self.lock();
        if arrived > state.highest_sent {
            return Err(Absurd);
        }
        let news = usize::try_from(arrived.saturating_sub(state.arrived)).map_err(|_| Absurd)?;
        let freed = state.forget(news);
        drop(state);
        self.room.add_permits(freed);
        Ok(())
    }

    /// A new connection, to which so many messages had arrived: it begins behind them.
    pub(crate) fn resume(&self, arrived: u64) -> Result<(), Absurd> {
        if arrived < self.arrived() {
            // It acknowledged more than it now has; what was forgotten here cannot be sent again.
            return Err(Absurd);
        }
        self.acknowledge(arrived)?;
        self.lock().sent = 0;
        self.ready.notify_one();
        Ok(())
    }

    /// How many messages have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.lock().arrived
    }

    /// Attempts whose end is kept here: with `all`, or only those whose end the present connection has not got.
    pub(crate) fn ends(&self, all: bool) -> Vec<AttemptId> {
        let state = self.lock();
        let first = if all { 0 } else { state.sent };
        state.kept.iter().skip(first).filter_map(|kept| kept.ends).collect()
    }

    /// How many messages are kept.
    pub(crate) fn len(&self) -> usize {
        self.lock().kept.len()
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session is given up: nobody is to wait for room any more.
    pub(crate) fn close(&self) {
        self.room.close();
        self.lock().kept.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops the oldest messages and returns the room they took.
    fn forget(&mut self, count: usize) -> usize {
        let mut freed = 0;
        for kept in self.kept.drain(..count.min(self.kept.len())) {
            freed += usize::try_from(kept.weight).unwrap_or(0);
            self.rejections = self.rejections.saturating_sub(usize::from(kept.weight == 0));
            self.arrived = self.arrived.saturating_add(1);
            self.sent = self.sent.saturating_sub(1);
        }
        freed
    }
}

fn text_of(message: &FromIsland) -> Utf8Bytes {
    // The message types have nothing that JSON cannot say, so this does not fail.
    serde_json::to_string(message).unwrap_or_default().into()
}

const fn ended_by(message: &FromIsland) -> Option<AttemptId> {
    match message {
        FromIsland::Done { attempt_id, .. } | FromIsland::Failed { attempt_id, .. } => Some(*attempt_id),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures_util::FutureExt as _;
    use types::id::Id;

    use super::*;

    fn progress(step: u32) -> FromIsland {
        FromIsland::Progress { attempt_id: AttemptId::from_i64(1), step, total: 9 }
    }

    fn step(message: Option<Message>) -> Option<u32> {
        match serde_json::from_str(message?.to_text().unwrap()).unwrap() {
            FromIsland::Progress { step, .. } => Some(step),
            other => panic!("{other:?}"),
        }
    }

    /// An outbox that has room for about one message.
    pub(crate) fn narrow() -> Outbox {
        Outbox::with_room(true, 200)
    }

    #[tokio::test]
    async fn a_new_connection_begins_behind_what_arrived() {
        let outbox = Outbox::new(true);
        for number in 1..=5 {
            outbox.push(&progress(number)).await.unwrap();
        }
        assert_eq!([1, 2, 3, 4].map(|_| step(outbox.next()).unwrap()), [1, 2, 3, 4]);
        outbox.acknowledge(1).unwrap();
        outbox.acknowledge(0).unwrap();
        assert_eq!(outbox.acknowledge(5), Err(Absurd), "the fifth was not sent");
        outbox.resume(3).unwrap();
        assert_eq!([step(outbox.next()), step(outbox.next()), step(outbox.next())], [Some(4), Some(5), None]);
        assert_eq!(outbox.resume(2), Err(Absurd), "what was acknowledged is gone");
        outbox.resume(5).unwrap();
        assert!(outbox.is_empty() && outbox.next().is_none());
    }

    #[tokio::test]
    async fn who_has_more_to_say_waits_for_room() {
        for acknowledged in [true, false] {
            let outbox = Outbox::with_room(acknowledged, 200);
            outbox.push(&progress(1)).await.unwrap();
            let second = progress(2);
            let mut waiting = Box::pin(outbox.push(&second));
            assert!((&mut waiting).now_or_never().is_none());
            outbox.next().unwrap();
            assert_eq!((&mut waiting).now_or_never().is_some(), !acknowledged);
            if acknowledged {
                outbox.acknowledge(1).unwrap();
                waiting.await.unwrap();
            }
        }
        let outbox = narrow();
        outbox.push(&progress(1)).await.unwrap();
        let second = progress(2);
        let waiting = outbox.push(&second);
        outbox.close();
        assert_eq!(waiting.await, Err(Gone));
    }

    #[test]
    fn rejections_are_bounded_by_their_number() {
        let outbox = narrow();
        let attempt = AttemptId::from_i64(1);
        for _ in 0..MAX_REJECTIONS {
            outbox.reject(attempt, "full").unwrap();
        }
        assert_eq!(outbox.reject(attempt, "full"), Err(Absurd));
        outbox.next().unwrap();
        outbox.acknowledge(1).unwrap();
        outbox.reject(attempt, "full").unwrap();
    }

    #[tokio::test]
    async fn ends_are_known_until_they_arrive() {
        let outbox = Outbox::new(true);
        let attempt_id = AttemptId::from_i64(7);
        outbox.push(&FromIsland::Done { attempt_id, usage: None, finish_reason: None }).await.unwrap();
        assert_eq!((outbox.ends(true), outbox.ends(false)), (vec![attempt_id], vec![attempt_id]));
        outbox.next().unwrap();
        assert_eq!((outbox.ends(true), outbox.ends(false)), (vec![attempt_id], vec![]));
        outbox.acknowledge(1).unwrap();
        assert_eq!(outbox.ends(true), []);
    }
}
