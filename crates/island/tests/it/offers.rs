//! What is offered, and when: models, backends that come and go, hours, and the cost of electricity.

use std::sync::Arc;

use island::{Agent, BackendConfig, BackendKind, Config, State};
use serde_json::json;
use types::island_protocol::{FromIsland, Offer};
use types::rng::SeededRandom;
use types::time::{HOUR_MS, TestClock};

use crate::coordinator::{Coordinator, Visit};
use crate::upstream::Upstream;
use crate::{Island, openai};

fn read(coordinator: &Coordinator, text: &str) -> Config {
    let mut config = Config::from_toml(text).unwrap();
    config.coordinator.clone_from(&coordinator.url);
    config.token = "it_token".into();
    config
}

fn backend(upstream: &Upstream, offer: &str) -> String {
    format!(
        "[[backend]]\nkind = \"openai\"\nbase_url = \"{}\"\n[[backend.offer]]\nworkload = \"llm-chat\"\nask = \"1\"\n{offer}\n",
        upstream.base_url
    )
}

fn names(offers: &[Offer]) -> Vec<(&str, u32, String)> {
    offers.iter().map(|offer| (offer.workload.as_str(), offer.slots, offer.models.join(" "))).collect()
}

async fn hear_offers(visit: &mut Visit) -> Vec<Offer> {
    match visit.hear().await {
        FromIsland::Offers { offers } => offers,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn consumers_choose_among_the_models() {
    let (coordinator, upstream) = (Coordinator::start().await, Upstream::start().await);
    let text = backend(&upstream, "slots = 4\nmodels = [\"small\", \"large\"]");
    let _island = Island::start(read(&coordinator, &text));
    let (mut visit, offers) = coordinator.welcome().await;
    assert_eq!(names(&offers), [("llm-chat", 4, "small large".to_owned())]);
    visit.assign(1, "llm-chat", &json!({"prompt": "Hi"})).await;
    let usual = upstream.call().await;
    visit.assign_model(2, "llm-chat", "large").await;
    let chosen = upstream.call().await;
    assert_eq!((&usual.body["model"], &chosen.body["model"]), (&json!("small"), &json!("large")));
    visit.assign_model(3, "llm-chat", "huge").await;
    let last = visit.outcome(3).await.last;
    assert!(
        matches!(&last, FromIsland::Rejected { reason, .. } if reason.contains("this model")),
        "{last:?}"
    );
}

#[tokio::test]
async fn models_are_discovered() {
    let (coordinator, upstream) = (Coordinator::start().await, Upstream::start().await);
    upstream.list(&["llama3:8b", "qwen:7b", "llama3:8b", "llama3:70b", "bad\nname"]);
    let island = Island::start(read(&coordinator, &backend(&upstream, "slots = 1\nmodels = \"llama*\"")));
    let (mut visit, offers) = coordinator.welcome().await;
    assert_eq!(names(&offers), [("llm-chat", 1, "llama3:8b llama3:70b".to_owned())]);
    // When the configuration is read again, so is the list, whose length has a limit.
    let many: Vec<String> = (0..20).map(|number| format!("m{number}")).collect();
    upstream.list(&many.iter().map(String::as_str).collect::<Vec<_>>());
    island
        .updater
        .serve(&read(&coordinator, &backend(&upstream, "slots = 2\nmodels = \"discover\"")))
        .unwrap();
    let mut offers = hear_offers(&mut visit).await;
    // It does not leave the book meanwhile: what is known of a backend stays known when its width changes.
    if names(&offers) == [("llm-chat", 2, "llama3:8b qwen:7b llama3:70b".to_owned())] {
        offers = hear_offers(&mut visit).await;
    }
    assert_eq!(names(&offers), [("llm-chat", 2, "m0 m1 m2 m3 m4 m5 m6 m7".to_owned())]);
    // Nothing that fits is nothing to offer.
    island.updater.serve(&read(&coordinator, &backend(&upstream, "slots = 2\nmodels = \"x*\""))).unwrap();
    assert_eq!(hear_offers(&mut visit).await, []);
}

#[tokio::test]
async fn a_backend_that_is_down_is_not_offered_until_it_is_back() {
    let (coordinator, upstream) = (Coordinator::start().await, Upstream::start().await);
    upstream.list_as("503 Service Unavailable", r#"{"error":{"message":"Loading model"}}"#);
    let _island = Island::start(read(&coordinator, &backend(&upstream, "slots = 1")));
    let (mut visit, offers) = coordinator.welcome().await;
    assert_eq!(offers, []);
    upstream.list(&["a"]);
    assert_eq!(hear_offers(&mut visit).await.len(), 1);
    // It goes away, which is noticed when a job fails, and comes back.
    let base_url = upstream.stop().await;
    visit.assign(1, "llm-chat", &json!({"prompt": "Hi"})).await;
    assert!(visit.outcome(1).await.failure().1);
    assert_eq!(hear_offers(&mut visit).await, []);
    let _upstream = Upstream::restart(&base_url).await;
    assert_eq!(hear_offers(&mut visit).await.len(), 1);
}

#[tokio::test]
async fn a_backend_that_fails_again_and_again_rests() {
    let (coordinator, upstream) = (Coordinator::start().await, Upstream::start().await);
    let _island = Island::start(read(&coordinator, &backend(&upstream, "slots = 1")));
    let (mut visit, _) = coordinator.welcome().await;
    for number in 1..=5 {
        visit.assign(number, "llm-chat", &json!({"prompt": "Hi"})).await;
        upstream.call().await.answer("500 Oh", "application/json", b"{}").await;
        assert!(visit.outcome(number).await.failure().1);
    }
    assert_eq!(hear_offers(&mut visit).await, [], "although its list of models can be read");
}

#[tokio::test]
async fn one_cargo_on_two_backends_uses_both() {
    let (coordinator, left, right) =
        (Coordinator::start().await, Upstream::start().await, Upstream::start().await);
    let text = format!(
        "{}{}",
        backend(&left, "slots = 1\nmodels = [\"a\"]"),
        backend(&right, "slots = 1\nmodels = [\"b\"]")
    );
    let _island = Island::start(read(&coordinator, &text));
    let (mut visit, offers) = coordinator.welcome().await;
    assert_eq!(names(&offers), [("llm-chat", 2, "a b".to_owned())]);
    visit.assign_model(1, "llm-chat", "b").await;
    let second = right.call().await;
    assert_eq!(second.body["model"], "b");
    visit.assign(2, "llm-chat", &json!({"prompt": "Hi"})).await;
    let first = left.call().await;
    assert_eq!(first.body["model"], "a");
    visit.assign(3, "llm-chat", &json!({"prompt": "Hi"})).await;
    let last = visit.outcome(3).await.last;
    assert!(matches!(&last, FromIsland::Rejected { reason, .. } if reason.contains("slots")), "{last:?}");
}

/// A backend that fails fast is always the emptiest; it must not draw the jobs of the other.
#[tokio::test]
async fn a_backend_that_died_does_not_swallow_the_jobs_of_the_other() {
    let (coordinator, left, right) =
        (Coordinator::start().await, Upstream::start().await, Upstream::start().await);
    let text = format!("{}{}", backend(&left, "slots = 4"), backend(&right, "slots = 4"));
    let _island = Island::start(read(&coordinator, &text));
    let (mut visit, _) = coordinator.welcome().await;
    left.stop().await;
    let mut failures = 0;
    for number in 1..=10 {
        visit.assign(number, "llm-chat", &json!({"prompt": "Hi"})).await;
        let work = async {
            let mut call = right.call().await;
            call.begin_stream().await;
            call.say("well").await;
            call.finish().await;
        };
        tokio::select! {
            () = work => {}
            message = visit.hear_end() => {
                assert!(matches!(message, FromIsland::Failed { .. }), "{message:?}");
                failures += 1;
                continue;
            }
        }
        assert!(matches!(visit.hear_end().await, FromIsland::Done { .. }));
    }
    assert!(failures <= 1, "{failures} jobs went to the dead one");
}

#[tokio::test]
async fn outside_its_hours_nothing_new_is_begun_and_what_runs_is_finished() {
    let (coordinator, upstream) = (Coordinator::start().await, Upstream::start().await);
    let text = format!(
        "schedule = [\"22:00-07:00\"]\ntimezone = \"+02:00\"\n{}[[backend]]\nkind = \"demo\"\n\
         [[backend.offer]]\nworkload = \"always\"\nask = \"1\"\nslots = 1\nschedule = [\"Mon-Sun\"]\n",
        backend(&upstream, "slots = 2")
    );
    // Six in the morning there.
    let clock = Arc::new(TestClock::new("2026-07-01T04:00:00Z".parse().unwrap()));
    let now = Arc::clone(&clock);
    let agent = Agent::with_state(read(&coordinator, &text), Arc::new(SeededRandom::new(1)), now, None);
    let island = Island::start_agent(agent);
    let (mut visit, offers) = coordinator.welcome().await;
    assert_eq!(offers.len(), 2);
    visit.assign(1, "llm-chat", &json!({"prompt": "Hi"})).await;
    let mut call = upstream.call().await;
    clock.advance_millis(HOUR_MS);
    island.updater.refresh();
    assert_eq!(names(&hear_offers(&mut visit).await), [("always", 1, String::new())]);
    visit.assign(2, "llm-chat", &json!({"prompt": "Hi"})).await;
    assert!(matches!(visit.outcome(2).await.last, FromIsland::Rejected { .. }));
    call.begin_stream().await;
    call.say("to the end").await;
    call.finish().await;
    assert_eq!(visit.outcome(1).await.text(), "to the end");
    clock.advance_millis(15 * HOUR_MS);
    island.updater.refresh();
    assert_eq!(hear_offers(&mut visit).await.len(), 2);
}

#[tokio::test]
async fn the_ask_does_not_fall_below_the_measured_cost() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    // A million dollars an hour, so that the milliseconds of a demo are dear.
    let text = "[cost]\nelectricity_per_kwh = 1000\nwatts = 1000000\n[[backend]]\nkind = \"demo\"\ndelay_ms = 1\n\
                [[backend.offer]]\nworkload = \"llm-chat\"\nask = \"0.5\"\nslots = 1\n";
    let config = read(&coordinator, text);
    let agent = || {
        let (state, clock) = (State::at(folder.path()), Arc::new(types::time::SystemClock));
        Agent::with_state(config.clone(), Arc::new(SeededRandom::new(1)), clock, Some(state))
    };
    let mut island = Island::start_agent(agent());
    let (mut visit, offers) = coordinator.welcome().await;
    assert_eq!(offers[0].ask, "0.5", "nothing was measured yet");
    for number in 1..=3 {
        visit.assign(number, "llm-chat", &json!({"prompt": "Hi"})).await;
        visit.outcome(number).await;
    }
    island.updater.refresh();
    let raised = hear_offers(&mut visit).await[0].ask.clone();
    // Some twenty pieces of a millisecond at least are 0.02 s, and so about 555 credits.
    assert!(raised.parse::<u64>().unwrap() > 500, "{raised}");
    island.stop();
    visit.hear_it_leave().await;
    island.end().await.unwrap();
    // It is remembered.
    let _island = Island::start_agent(agent());
    let (_visit, offers) = coordinator.welcome().await;
    assert_eq!(offers[0].ask, raised);
}

#[tokio::test]
async fn a_password_in_an_address_is_not_told() {
    let upstream = Upstream::start().await;
    let secret = upstream.base_url.replace("http://", "http://me:pass-word@");
    let config = Config {
        backends: vec![BackendConfig {
            kind: openai(&secret),
            offers: vec![island::OfferConfig::chat("llm-chat", "1", 1)],
        }],
        coordinator: "http://127.0.0.1:1".to_owned(),
        token: "it_token".into(),
        ..Config::default()
    };
    let mut said = Vec::new();
    let clock = types::time::SystemClock;
    upstream.list_as("500 Oh", r#"{"error":"pass-word"}"#);
    island::check(&config, None, &clock, &mut |_, text| said.push(text)).await;
    let said = said.join("\n");
    assert!(said.contains("is not ready") && !said.contains("pass-word"), "{said}");
    assert!(matches!(config.backends[0].kind, BackendKind::OpenAi { .. }));
}
