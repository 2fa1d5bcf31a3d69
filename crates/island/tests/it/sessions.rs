//! Work that outlives its connection (protocol 2), and coordinators that cannot be believed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use island::{BackendKind, Config, OfferConfig};
use serde_json::json;
use types::id::AttemptId;
use types::island_protocol::FromIsland;
use types::rng::{Random, SeededRandom};

use crate::coordinator::{Coordinator, Visit, attempt, soon};
use crate::upstream::Upstream;
use crate::{Island, config, openai};

const LEASE_SECS: u32 = 60;

fn prompt() -> serde_json::Value {
    json!({"prompt": "Hi"})
}

/// What the coordinator keeps of a session, by the rules of the protocol.
#[derive(Default)]
struct Ledger {
    received: u64,
    texts: BTreeMap<AttemptId, (u64, String)>,
    images: u64,
    ended: HashSet<AttemptId>,
}

impl Ledger {
    fn take(&mut self, message: FromIsland) {
        let attempt_id = match message {
            FromIsland::Heartbeat { .. } => return,
            FromIsland::Output { attempt_id, seq, ref chunk } => {
                let (last, text) = self.texts.entry(attempt_id).or_default();
                *last += 1;
                assert_eq!(seq, *last, "an output of {attempt_id} is missing or came twice");
                text.push_str(chunk);
                attempt_id
            }
            FromIsland::Image { attempt_id, .. } => {
                self.images += 1;
                attempt_id
            }
            FromIsland::Progress { attempt_id, .. } => attempt_id,
            FromIsland::Done { attempt_id, .. } => {
                assert!(self.ended.insert(attempt_id), "{attempt_id} ended twice");
                self.received += 1;
                return;
            }
            other => panic!("unexpected: {other:?}"),
        };
        assert!(!self.ended.contains(&attempt_id), "{attempt_id} went on after its end");
        self.received += 1;
    }
}

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }
}

/// Attempts with an odd number are chats, the others images.
async fn assign(visit: &mut Visit, number: i64) {
    if number % 2 == 1 {
        visit.assign(number, "llm-chat", &json!({"prompt": format!("Question {number}")})).await;
    } else {
        visit.assign(number, "sdxl", &json!({"prompt": "a", "width": 16, "height": 16, "steps": 9})).await;
    }
}

fn streaming(coordinator: &Coordinator) -> Config {
    let mut config = config(coordinator, BackendKind::Demo { delay_ms: 2 });
    config.backends[0].offers =
        vec![OfferConfig::chat("llm-chat", "1", 4), OfferConfig::images("sdxl", "1", 4)];
    config
}

/// What each attempt says when nothing goes wrong.
async fn undisturbed(attempts: i64) -> BTreeMap<AttemptId, String> {
    let coordinator = Coordinator::start().await;
    let _island = Island::start(streaming(&coordinator));
    let (mut visit, _) = coordinator.welcome().await;
    let mut texts = BTreeMap::new();
    for number in (1..=attempts).step_by(2) {
        assign(&mut visit, number).await;
        texts.insert(attempt(number), visit.outcome(number).await.text());
    }
    texts
}

/// However often and wherever the connection is cut, each attempt's output arrives once, in order, with one end.
#[tokio::test]
async fn nothing_is_lost_and_nothing_comes_twice() {
    const ATTEMPTS: i64 = 24;
    let expected = undisturbed(ATTEMPTS).await;
    let mut cuts = 0;
    for seed in 1..=3 {
        let (coordinator, dice) = (Coordinator::start().await, Dice(SeededRandom::new(seed)));
        let _island = Island::start(streaming(&coordinator));
        let (mut ledger, mut begun) = (Ledger::default(), 0);
        let mut name = None::<String>;
        while ledger.ended.len() < usize::try_from(ATTEMPTS).unwrap() {
            let mut visit = coordinator.accept().await;
            let FromIsland::Hello { session, running, .. } = visit.hear_any().await else {
                panic!("no hello")
            };
            assert_eq!(session, name);
            if let Some(session) = &session {
                // What has begun and not ended is still there.
                for number in 1..=begun {
                    let id = attempt(number);
                    assert!(ledger.ended.contains(&id) || running.contains(&id), "{id} is gone: {running:?}");
                }
                visit.say_session(session, Some(ledger.received), LEASE_SECS).await;
            } else {
                name = Some("s3cret".to_owned());
                visit.say_session("s3cret", None, LEASE_SECS).await;
            }
            listen(&mut visit, &mut ledger, &mut begun, ATTEMPTS, &dice).await;
            cuts += 1;
        }
        let texts: BTreeMap<_, _> = ledger.texts.into_iter().map(|(id, (_, text))| (id, text)).collect();
        assert_eq!(texts, expected, "seed {seed}");
        assert_eq!(ledger.images, 12);
    }
    assert!(cuts > 30, "{cuts} cuts are not enough");
}

/// Assigns and listens until the dice say that the connection breaks.
async fn listen(visit: &mut Visit, ledger: &mut Ledger, begun: &mut i64, attempts: i64, dice: &Dice) {
    for _ in 0..dice.below(20) {
        let ended = i64::try_from(ledger.ended.len()).unwrap();
        if ended == attempts {
            return;
        }
        // An assignment is only safe while its arrival can be seen.
        if *begun < attempts && *begun - ended < 4 {
            *begun += 1;
            assign(visit, *begun).await;
            let id = attempt(*begun);
            loop {
                let message = visit.hear_any().await;
                let about = match &message {
                    FromIsland::Output { attempt_id, .. } | FromIsland::Progress { attempt_id, .. } => {
                        Some(*attempt_id)
                    }
                    _ => None,
                };
                ledger.take(message);
                if about == Some(id) {
                    break;
                }
            }
        }
        ledger.take(visit.hear_any().await);
        if dice.below(8) == 0 {
            visit.acknowledge(ledger.received).await;
        }
    }
}

/// A world with one attempt in the middle of its answer.
struct Half {
    coordinator: Coordinator,
    upstream: Upstream,
    island: Island,
    call: crate::upstream::Call,
}

async fn half_way(lease_secs: u32) -> (Half, Visit) {
    let (coordinator, upstream) = (Coordinator::start().await, Upstream::start().await);
    let island = Island::start(config(&coordinator, openai(&upstream.base_url)));
    let mut visit = coordinator.accept().await;
    visit.hear_any().await;
    visit.say_session("one", None, lease_secs).await;
    visit.assign(1, "llm-chat", &prompt()).await;
    let mut call = upstream.call().await;
    call.begin_stream().await;
    call.say("half ").await;
    assert!(matches!(visit.hear().await, FromIsland::Output { seq: 1, .. }));
    (Half { coordinator, upstream, island, call }, visit)
}

async fn hello(coordinator: &Coordinator) -> (Visit, Option<String>, Vec<AttemptId>, usize) {
    let mut visit = coordinator.accept().await;
    let FromIsland::Hello { session, running, offers, .. } = visit.hear_any().await else {
        panic!("no hello")
    };
    (visit, session, running, offers.len())
}

#[tokio::test]
async fn a_session_that_is_over_is_given_up() {
    for welcome_as_old in [false, true] {
        let (mut half, visit) = half_way(LEASE_SECS).await;
        drop(visit);
        let (mut visit, session, running, _) = hello(&half.coordinator).await;
        assert_eq!((session.as_deref(), running.as_slice()), (Some("one"), &[attempt(1)][..]));
        if welcome_as_old {
            visit.say_welcome(60, Vec::new()).await;
        } else {
            visit.say_session("two", None, LEASE_SECS).await;
        }
        half.call.closed().await;
        // And what comes next begins from the start.
        visit.assign(2, "llm-chat", &prompt()).await;
        let mut call = half.upstream.call().await;
        call.begin_stream().await;
        call.say("whole").await;
        call.finish().await;
        assert_eq!(visit.outcome(2).await.text(), "whole");
        drop(visit);
        let (_visit, session, ..) = hello(&half.coordinator).await;
        assert_eq!(session.as_deref(), (!welcome_as_old).then_some("two"));
    }
}

#[tokio::test]
async fn after_a_lease_without_a_connection_work_is_given_up() {
    let (mut half, visit) = half_way(1).await;
    drop(visit);
    // Connections that lead to nothing do not count.
    let _unanswered = half.coordinator.accept_raw().await;
    half.call.closed().await;
    drop(_unanswered);
    let (_visit, session, running, offers) = hello(&half.coordinator).await;
    assert_eq!((session, running.len(), offers), (None, 0, 2));
}

#[tokio::test]
async fn asked_to_stop_without_a_connection_it_delivers_first() {
    let (mut half, visit) = half_way(LEASE_SECS).await;
    drop(visit);
    let unanswered = half.coordinator.accept_raw().await;
    half.island.stop();
    half.call.say("and whole").await;
    half.call.finish().await;
    drop(unanswered);
    let (mut visit, session, running, offers) = hello(&half.coordinator).await;
    // The end is kept until it is acknowledged, and nothing new is wanted.
    assert_eq!((session.as_deref(), running.as_slice(), offers), (Some("one"), &[attempt(1)][..], 0));
    visit.say_session("one", Some(1), LEASE_SECS).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(visit.hear().await);
    }
    let ended = heard.iter().position(|message| matches!(message, FromIsland::Done { .. })).unwrap();
    let text = heard.iter().position(|message| matches!(message, FromIsland::Output { seq: 2, .. })).unwrap();
    assert!(text < ended, "{heard:?}");
    assert!(heard.iter().any(|message| matches!(message, FromIsland::Draining {})), "{heard:?}");
    visit.hear_good_bye().await;
    half.island.end().await.unwrap();
}

#[tokio::test]
async fn a_coordinator_that_cannot_count_is_left() {
    for nonsense in [2, u64::MAX] {
        let (mut half, mut visit) = half_way(LEASE_SECS).await;
        visit.acknowledge(nonsense).await;
        visit.hear_it_leave().await;
        half.call.closed().await;
        let (_visit, session, ..) = hello(&half.coordinator).await;
        assert_eq!(session, None);
    }
    // When it goes on with a session.
    let (mut half, mut visit) = half_way(LEASE_SECS).await;
    visit.acknowledge(1).await;
    visit.assign(9, "unknown", &prompt()).await;
    visit.outcome(9).await;
    drop(visit);
    let (mut visit, ..) = hello(&half.coordinator).await;
    visit.say_session("one", Some(0), LEASE_SECS).await;
    visit.hear_it_leave().await;
    half.call.closed().await;
    let (_visit, session, ..) = hello(&half.coordinator).await;
    assert_eq!(session, None);
}

#[tokio::test]
async fn a_flood_of_assignments_is_rejected_and_then_left() {
    let (mut half, mut visit) = half_way(LEASE_SECS).await;
    // Each is answered; but what is not acknowledged is not kept for ever.
    let mut answered = 0;
    let leaving = async {
        loop {
            if visit.try_assign(2, "unknown", &prompt()).await.is_err() {
                return;
            }
            match visit.hear_if_there().await {
                Some(FromIsland::Rejected { .. }) => answered += 1,
                Some(_) => {}
                None => return,
            }
        }
    };
    soon("its leave", leaving).await;
    assert!((10_000..20_000).contains(&answered), "{answered}");
    half.call.closed().await;
    let (_visit, session, ..) = hello(&half.coordinator).await;
    assert_eq!(session, None);
}

/// A backend is read no further than there is room for what it says.
#[tokio::test]
async fn a_backend_waits_for_a_coordinator_that_does_not_acknowledge() {
    const MOST: usize = 33 * 1024 * 1024;
    let (mut half, mut visit) = half_way(LEASE_SECS).await;
    let written = Arc::new(AtomicUsize::new(0));
    let writing = {
        let written = Arc::clone(&written);
        tokio::spawn(async move {
            let text = "x".repeat(60_000);
            loop {
                half.call.say(&text).await;
                written.fetch_add(text.len(), Ordering::Relaxed);
            }
        })
    };
    let (mut text, mut messages) = (0, 1);
    // Until it has heard as much as is ever kept, and then for some rounds more.
    let (mut rounds, mut number) = (0, 100);
    while rounds < 50 {
        number += 1;
        visit.assign(number, "unknown", &prompt()).await;
        loop {
            messages += 1;
            match visit.hear().await {
                FromIsland::Output { chunk, .. } => text += chunk.len(),
                FromIsland::Rejected { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        rounds += usize::from(text > MOST - 2 * 1024 * 1024);
        assert!(text <= MOST, "{text} bytes without an acknowledgement");
    }
    assert!(written.load(Ordering::Relaxed) < MOST * 2);
    visit.acknowledge(messages).await;
    assert!(matches!(visit.hear().await, FromIsland::Output { .. }));
    writing.abort();
    let _ = (half.upstream, half.island);
}

/// What is only known to the new connection's coordinator by its number is cancelled by it.
#[tokio::test]
async fn a_cancellation_reaches_work_that_was_resumed() {
    let (mut half, visit) = half_way(LEASE_SECS).await;
    drop(visit);
    let (mut visit, ..) = hello(&half.coordinator).await;
    visit.say_session("one", Some(1), LEASE_SECS).await;
    visit.cancel(1).await;
    let message = visit.hear().await;
    assert!(matches!(&message, FromIsland::Failed { error, .. } if error == "cancelled"), "{message:?}");
    half.call.closed().await;
}
