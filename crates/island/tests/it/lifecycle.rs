//! Connecting, taking and leaving work, changing the offer, and the ends of all that.

use island::{Agent, AgentError, BackendKind, Config, ConfigError, ConfigFile};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use types::island_protocol::{FromIsland, Offer, PROTOCOL_VERSION, RefusedOffer, ToIsland};
use types::rng::SeededRandom;

use crate::coordinator::{Coordinator, attempt, soon};
use crate::upstream::Upstream;
use crate::{Island, config, openai};

fn prompt() -> serde_json::Value {
    json!({"prompt": "Hi"})
}

/// An answer that takes until it is stopped.
const ENDLESS: BackendKind = BackendKind::Demo { delay_ms: 3_600_000 };
const INSTANT: BackendKind = BackendKind::Demo { delay_ms: 0 };

fn refused(retry: bool) -> ToIsland {
    ToIsland::Refused { code: "suspended".to_owned(), message: "Please write to us.".to_owned(), retry }
}

#[tokio::test]
async fn the_island_introduces_itself() {
    let coordinator = Coordinator::start().await;
    let _island = Island::start(config(&coordinator, INSTANT));
    let mut visit = coordinator.accept().await;
    assert_eq!(visit.path, "/api/v1/islands/connect");
    assert_eq!(visit.authorization, "Bearer isl_token");
    let FromIsland::Hello { protocol, agent_version, capabilities, offers, .. } = visit.hear_any().await
    else {
        panic!("no hello");
    };
    assert_eq!((protocol, agent_version.as_str()), (PROTOCOL_VERSION, env!("CARGO_PKG_VERSION")));
    assert_eq!(capabilities.region.as_deref(), Some("eu-west"));
    assert!(capabilities.cpu_cores > Some(0));
    let offer = |workload: &str, ask: &str, slots| Offer {
        workload: workload.to_owned(),
        ask: ask.to_owned(),
        slots,
        models: Vec::new(),
    };
    assert_eq!(offers, [offer("llm-chat", "1.5", 2), offer("sdxl", "5", 1)]);
    let refused_offer = RefusedOffer { workload: "sdxl".to_owned(), reason: "not known here".to_owned() };
    visit.say_welcome(1, vec![refused_offer]).await;
    // The first heartbeat comes at once, the others by themselves.
    for _ in 0..2 {
        let message = visit.hear_any().await;
        assert!(matches!(&message, FromIsland::Heartbeat { running } if running.is_empty()), "{message:?}");
    }
}

#[tokio::test]
async fn no_more_runs_than_there_are_slots() {
    let coordinator = Coordinator::start().await;
    let upstream = Upstream::start().await;
    let _island = Island::start(config(&coordinator, openai(&upstream.base_url)));
    let (mut visit, _) = coordinator.welcome().await;
    visit.assign(1, "llm-chat", &prompt()).await;
    visit.assign(2, "llm-chat", &prompt()).await;
    let mut first = upstream.call().await;
    let mut second = upstream.call().await;
    visit.assign(3, "llm-chat", &prompt()).await;
    let last = visit.outcome(3).await.last;
    assert!(matches!(&last, FromIsland::Rejected { reason, .. } if reason.contains("slots")), "{last:?}");
    visit.assign(4, "llm-embed", &prompt()).await;
    let last = visit.outcome(4).await.last;
    assert!(matches!(&last, FromIsland::Rejected { reason, .. } if reason.contains("not serve")), "{last:?}");
    // A second assignment of what runs changes nothing, not even its one answer.
    visit.assign(1, "llm-chat", &prompt()).await;
    for call in [&mut first, &mut second] {
        call.begin_stream().await;
    }
    first.finish().await;
    let last = visit.hear().await;
    let FromIsland::Done { attempt_id: ended, .. } = last else { panic!("{last:?}") };
    // The slot is free as soon as the end is known.
    visit.assign(5, "llm-chat", &prompt()).await;
    let mut third = upstream.call().await;
    third.begin_stream().await;
    third.finish().await;
    visit.outcome(5).await;
    second.finish().await;
    let other = if ended == attempt(1) { 2 } else { 1 };
    let last = visit.outcome(other).await.last;
    assert!(matches!(last, FromIsland::Done { .. }), "{last:?}");
}

#[tokio::test]
async fn heartbeats_list_what_runs() {
    let coordinator = Coordinator::start().await;
    let _island = Island::start(config(&coordinator, ENDLESS));
    let mut visit = coordinator.accept().await;
    visit.hear_any().await;
    visit.say_welcome(1, Vec::new()).await;
    visit.assign(1, "llm-chat", &prompt()).await;
    // The first may have gone out before the attempt came.
    for expected in [None, Some(attempt(1))] {
        match visit.hear_any().await {
            FromIsland::Heartbeat { running } => {
                assert!(running == [attempt(1)] || expected.is_none() && running.is_empty(), "{running:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_cancelled_attempt_leaves_the_backend_alone() {
    let coordinator = Coordinator::start().await;
    let upstream = Upstream::start().await;
    let _island = Island::start(config(&coordinator, openai(&upstream.base_url)));
    let (mut visit, _) = coordinator.welcome().await;
    // In the middle of an answer.
    visit.assign(1, "llm-chat", &prompt()).await;
    let mut call = upstream.call().await;
    call.begin_stream().await;
    call.say("half").await;
    visit.hear().await;
    visit.cancel(1).await;
    assert_eq!(visit.hear_failure().await, (attempt(1), "cancelled".to_owned(), false));
    call.closed().await;
    // Before any answer.
    visit.assign(2, "llm-chat", &prompt()).await;
    let mut call = upstream.call().await;
    visit.cancel(2).await;
    assert_eq!(visit.hear_failure().await, (attempt(2), "cancelled".to_owned(), false));
    call.closed().await;
    // What does not run is not answered for.
    visit.cancel(2).await;
    visit.cancel(3).await;
    visit.assign(4, "unknown", &prompt()).await;
    visit.outcome(4).await;
}

impl crate::coordinator::Visit {
    async fn hear_failure(&mut self) -> (types::id::AttemptId, String, bool) {
        match self.hear().await {
            FromIsland::Failed { attempt_id, error, retryable } => (attempt_id, error, retryable),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_island_comes_back_and_works_again() {
    let coordinator = Coordinator::start().await;
    let upstream = Upstream::start().await;
    let _island = Island::start(config(&coordinator, openai(&upstream.base_url)));
    let (mut visit, offers) = coordinator.welcome().await;
    visit.assign(1, "llm-chat", &prompt()).await;
    let mut call = upstream.call().await;
    drop(visit);
    // What ran is stopped: somebody else has it now.
    call.closed().await;
    let (mut visit, offers_again) = coordinator.welcome().await;
    assert_eq!(offers, offers_again);
    visit.assign(1, "llm-chat", &prompt()).await;
    let mut call = upstream.call().await;
    call.begin_stream().await;
    call.say("Hello").await;
    call.finish().await;
    assert_eq!(visit.outcome(1).await.text(), "Hello");
}

#[tokio::test]
async fn a_silent_coordinator_is_left() {
    let coordinator = Coordinator::start().await;
    let _island = Island::start(config(&coordinator, INSTANT));
    let mut visit = coordinator.accept().await;
    visit.hear_any().await;
    visit.say_welcome(1, Vec::new()).await;
    // From here on nobody reads, and so nobody answers the pings.
    let (_again, _) = coordinator.welcome().await;
    drop(visit);
}

#[tokio::test]
async fn what_is_not_understood_is_passed_over() {
    let coordinator = Coordinator::start().await;
    let _island = Island::start(config(&coordinator, INSTANT));
    let mut visit = coordinator.accept().await;
    visit.hear_any().await;
    visit.say_frame(Message::text(r#"{"weather":{"wind":"south"}}"#)).await;
    visit.say_welcome(60, Vec::new()).await;
    for frame in [
        Message::text(r#"{"weather":{"wind":"south"}}"#),
        Message::text("nonsense"),
        Message::binary(vec![0, 1, 2]),
        Message::text(r#"{"cancel":{"attempt_id":"att_0000000000009","why":"new field"}}"#),
    ] {
        visit.say_frame(frame).await;
    }
    visit.assign(1, "llm-chat", &prompt()).await;
    assert!(matches!(visit.outcome(1).await.last, FromIsland::Done { .. }));
}

#[tokio::test]
async fn a_final_refusal_is_the_end() {
    // Instead of a welcome.
    let coordinator = Coordinator::start().await;
    let island = Island::start(config(&coordinator, INSTANT));
    let mut visit = coordinator.accept().await;
    visit.say(&refused(false)).await;
    let error = island.end().await.unwrap_err().to_string();
    assert!(error.contains("(suspended): Please write to us."), "{error}");
    // At any time.
    let island = Island::start(config(&coordinator, ENDLESS));
    let (mut visit, _) = coordinator.welcome().await;
    visit.say(&refused(false)).await;
    assert!(matches!(island.end().await, Err(AgentError::Refused { code, .. }) if code == "suspended"));
    // By the HTTP server, which does not know the token.
    let island = Island::start(config(&coordinator, INSTANT));
    let mut stream = coordinator.accept_raw().await;
    let body = r#"{"error":{"code":"unauthorized","message":"No such token."}}"#;
    let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // All of the request is read first, or closing would be a reset.
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_buf(&mut request).await.unwrap();
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    let error = island.end().await.unwrap_err().to_string();
    assert!(error.contains("No such token."), "{error}");
}

#[tokio::test]
async fn other_refusals_are_tried_again() {
    let coordinator = Coordinator::start().await;
    let mut island = Island::start(config(&coordinator, INSTANT));
    coordinator.accept().await.say(&refused(true)).await;
    let (mut visit, _) = coordinator.welcome().await;
    visit.say(&refused(true)).await;
    // Whatever answers there, and however.
    coordinator.accept_raw().await.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
    coordinator.accept_raw().await.write_all(b"SSH-2.0\r\n").await.unwrap();
    let _visit = coordinator.welcome().await;
    island.stop();
    island.end().await.unwrap();
}

/// Encryption is set up by libraries that can panic when they are put together wrongly.
#[tokio::test]
async fn an_encrypted_connection_is_asked_for() {
    let coordinator = Coordinator::start().await;
    let secure =
        Config { coordinator: coordinator.url.replace("http:", "https:"), ..config(&coordinator, INSTANT) };
    let mut island = Island::start(secure);
    for _ in 0..2 {
        let mut stream = coordinator.accept_raw().await;
        let mut record = [0; 3];
        soon("a handshake", stream.read_exact(&mut record)).await.unwrap();
        assert_eq!(record[..2], [22, 3], "a TLS handshake");
    }
    island.stop();
    island.end().await.unwrap();
}

#[tokio::test]
async fn asked_to_stop_it_finishes_what_runs() {
    let coordinator = Coordinator::start().await;
    let upstream = Upstream::start().await;
    let mut island = Island::start(config(&coordinator, openai(&upstream.base_url)));
    let (mut visit, _) = coordinator.welcome().await;
    visit.assign(1, "llm-chat", &prompt()).await;
    let mut call = upstream.call().await;
    island.stop();
    assert!(matches!(visit.hear().await, FromIsland::Draining {}));
    visit.assign(2, "llm-chat", &prompt()).await;
    let last = visit.outcome(2).await.last;
    assert!(matches!(&last, FromIsland::Rejected { reason, .. } if reason.contains("offline")), "{last:?}");
    // What runs already is not rejected by being assigned again.
    visit.assign(1, "llm-chat", &prompt()).await;
    call.begin_stream().await;
    call.say("to the end").await;
    call.finish().await;
    let outcome = visit.outcome(1).await;
    assert_eq!(outcome.text(), "to the end");
    assert!(matches!(outcome.last, FromIsland::Done { .. }), "{:?}", outcome.last);
    visit.hear_good_bye().await;
    island.end().await.unwrap();
}

#[tokio::test]
async fn asked_to_stop_without_work_or_connection_it_stops_at_once() {
    let coordinator = Coordinator::start().await;
    let mut island = Island::start(config(&coordinator, ENDLESS));
    let (mut visit, _) = coordinator.welcome().await;
    assert!(matches!(visit.hear_any().await, FromIsland::Heartbeat { .. }));
    island.stop();
    assert!(matches!(visit.hear().await, FromIsland::Draining {}));
    visit.hear_good_bye().await;
    island.end().await.unwrap();

    let mut island = Island::start(config(&coordinator, ENDLESS));
    let _unanswered = coordinator.accept_raw().await;
    island.stop();
    island.end().await.unwrap();

    // A connection that is lost has nothing left to finish.
    let mut island = Island::start(config(&coordinator, ENDLESS));
    let (mut visit, _) = coordinator.welcome().await;
    visit.assign(1, "llm-chat", &prompt()).await;
    // The answer to this says that the other has been begun.
    visit.assign(2, "unknown", &prompt()).await;
    visit.outcome(2).await;
    island.stop();
    assert!(matches!(visit.hear().await, FromIsland::Draining {}));
    drop(visit);
    island.end().await.unwrap();
}

#[tokio::test]
async fn the_offer_changes_in_the_middle_of_work() {
    let coordinator = Coordinator::start().await;
    let island = Island::start(config(&coordinator, ENDLESS));
    let (mut visit, _) = coordinator.welcome().await;
    visit.assign(1, "llm-chat", &prompt()).await;
    let mut changed = config(&coordinator, ENDLESS);
    changed.backends[0].offers.truncate(1);
    changed.backends[0].offers[0].ask = "0.75".to_owned();
    changed.backends[0].offers[0].slots = 1;
    island.updater.serve(&changed).unwrap();
    let message = visit.hear().await;
    let FromIsland::Offers { offers } = message else { panic!("{message:?}") };
    assert_eq!(offers.len(), 1);
    assert_eq!((offers[0].ask.as_str(), offers[0].slots), ("0.75", 1));
    visit.say(&ToIsland::OffersTaken { refused_offers: Vec::new() }).await;
    // The one slot is taken by what ran before, and images are off.
    for (number, workload) in [(2, "llm-chat"), (3, "sdxl")] {
        visit.assign(number, workload, &prompt()).await;
        assert!(matches!(visit.outcome(number).await.last, FromIsland::Rejected { .. }));
    }
    // A wrong configuration changes nothing, and the same one says nothing.
    let mut wrong = changed.clone();
    wrong.backends[0].offers[0].ask = "cheap".to_owned();
    let error = island.updater.serve(&wrong).unwrap_err();
    assert!(matches!(error, ConfigError::Value { .. }), "{error}");
    island.updater.serve(&changed).unwrap();
    visit.cancel(1).await;
    assert_eq!(visit.hear_failure().await, (attempt(1), "cancelled".to_owned(), false));
}

#[tokio::test]
async fn the_file_is_followed() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("island.toml");
    let write = |ask: &str| {
        let text = format!(
            "coordinator = \"{}\"\ntoken = \"isl_token\"\n[[backend]]\nkind = \"demo\"\n\
             [[backend.offer]]\nworkload = \"llm-chat\"\nask = \"{ask}\"\nslots = 1\n",
            coordinator.url
        );
        std::fs::write(&path, text).unwrap();
    };
    write("1");
    let file = ConfigFile::open(&path).unwrap();
    let agent = Agent::new(file.config().clone(), std::sync::Arc::new(SeededRandom::new(1))).following(file);
    let _island = Island::start_agent(agent);
    let (mut visit, offers) = coordinator.welcome().await;
    assert_eq!(offers[0].ask, "1");
    write("2.25");
    let message = visit.hear().await;
    assert!(matches!(&message, FromIsland::Offers { offers } if offers[0].ask == "2.25"), "{message:?}");
}

#[tokio::test]
async fn a_wrong_configuration_does_not_start() {
    let coordinator = Coordinator::start().await;
    let good = config(&coordinator, INSTANT);
    let cases = [
        (Config { coordinator: "palma".to_owned(), ..good.clone() }, "`coordinator`"),
        (Config { token: "".into(), ..good.clone() }, "`token`"),
        (Config { backends: Vec::new(), ..good }, "[[backend]]"),
        (config(&coordinator, openai("palma")), "`backend[0].base_url`"),
    ];
    for (config, expected) in cases {
        let error = Island::start(config).end().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
