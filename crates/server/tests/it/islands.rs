//! Islands that are suspended, approved, distrusted or limited, and what their owners see of them.

use std::time::Duration;

use serde_json::{Value, json};
use types::id::AttemptId;
use types::island_protocol::{FromIsland, Offer, ReportedUsage, ToIsland};

use crate::world::browser::Browser;
use crate::world::island::{hello, offer};
use crate::world::{FakeIsland, User, World};

async fn hosts(ana: &User) -> Value {
    ana.get("/api/v1/market/rates/llm-chat").await.1["data"][0]["num_hosts"].clone()
}

/// Waits until so many Islands are in the book: what an admin command wrote is noticed soon.
async fn until_hosts(ana: &User, number: u32) {
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..200 {
        clock.tick().await;
        if hosts(ana).await == json!(number) {
            return;
        }
    }
    panic!("never {number} Islands in the book");
}

async fn metric(ana: &User, name: &str) -> String {
    let (_, body) = ana.get("/metrics").await;
    let text = body.as_str().unwrap().to_owned();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

async fn island_of(world: &World, name: &str) -> Value {
    let all = world.admin(&["island", "list"]).await;
    let found = all.as_array().unwrap().iter().find(|island| island["name"] == name).cloned();
    found.unwrap_or_else(|| panic!("no {name} in {all}"))
}

fn reason(message: Option<ToIsland>) -> String {
    match message {
        Some(ToIsland::OffersTaken { refused_offers } | ToIsland::Welcome { refused_offers, .. }) => {
            refused_offers.first().map(|one| one.reason.clone()).unwrap_or_default()
        }
        other => panic!("{other:?}"),
    }
}

fn refusal(message: Option<ToIsland>) -> (String, bool) {
    match message {
        Some(ToIsland::Refused { code, retry, .. }) => (code, retry),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn incident_096_an_island_that_goes_is_out_of_the_book_and_out_of_the_metrics() {
    let world = World::new().await;
    let island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    assert_eq!(metric(&ana, "archipelago_islands_connected").await, "1");
    assert_eq!(metric(&ana, "archipelago_book_islands{workload=\"llm-chat\"}").await, "1");
    let seen = island_of(&world, "palma").await;
    assert_eq!(seen["online"], json!(true));
    drop(island);
    until_hosts(&ana, 0).await;
    assert_eq!(metric(&ana, "archipelago_islands_connected").await, "0");
    assert_eq!(metric(&ana, "archipelago_book_islands{workload=\"llm-chat\"}").await, "0");
    world.finish().await;
}

#[tokio::test]
async fn an_owner_suspends_and_resumes_an_island_and_what_runs_is_finished() {
    let world = World::new().await;
    let owner = world.user("owner", "0").await;
    let token = world.island_token(&owner.email, "palma").await;
    let mut island = FakeIsland::connect(&world.url, &token, "1", 2).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let (_, list) = owner.get("/api/v1/hosts").await;
    let id = list["data"][0]["id"].as_str().unwrap().to_owned();

    let (status, _) = ana.post(&format!("/api/v1/hosts/{id}/suspend"), &json!({})).await;
    assert_eq!(status, 404, "a stranger's");
    let (status, body) = owner.post(&format!("/api/v1/hosts/{id}/suspend"), &json!({})).await;
    assert_eq!((status, &body["data"]["status"]), (200, &json!("suspended")));
    assert_eq!(hosts(&ana).await, json!(0), "at once");
    assert!(reason(island.hear().await).contains("suspended by its owner"));
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["status"], json!("completed"));

    // It stays so when it connects again, and other offers change nothing.
    drop(island);
    let (mut island, answer) = FakeIsland::greet(&world.url, &token, &hello("1", 2)).await;
    assert!(reason(answer).contains("suspended by its owner"));
    island.say(&FromIsland::Offers { offers: vec![offer("0.5", 2)] }).await;
    assert!(reason(island.hear().await).contains("suspended by its owner"));
    assert_eq!(hosts(&ana).await, json!(0));

    let (status, body) = owner.post(&format!("/api/v1/hosts/{id}/resume"), &json!({})).await;
    assert_eq!((status, &body["data"]["status"]), (200, &json!("online")));
    assert_eq!(hosts(&ana).await, json!(1));
    assert_eq!(reason(island.hear().await), "");
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["cost"], json!(0.5));
    world.finish().await;
}

#[tokio::test]
async fn the_operator_suspends_beside_a_running_server_and_the_owner_cannot_undo_it() {
    let world = World::new().await;
    let owner = world.user("owner", "0").await;
    let token = world.island_token(&owner.email, "palma").await;
    let _island = FakeIsland::connect(&world.url, &token, "1", 2).await;
    let ana = world.user("ana", "100").await;
    let id = island_of(&world, "palma").await["id"].as_str().unwrap().to_owned();
    let shown = world.admin(&["island", "suspend", &id]).await;
    assert_eq!((&shown["state"], &shown["suspended_by_operator"]), (&json!("suspended"), &json!(true)));
    until_hosts(&ana, 0).await;
    owner.post(&format!("/api/v1/hosts/{id}/resume"), &json!({})).await;
    assert_eq!(hosts(&ana).await, json!(0));
    world.admin(&["island", "resume", &id]).await;
    until_hosts(&ana, 1).await;
    world.finish().await;
}

#[tokio::test]
async fn where_approval_is_required_an_island_waits_for_it_and_keeps_it() {
    let world = World::with("[islands]\napproval = \"required\"").await;
    let token = world.island_token("owner@example.org", "palma").await;
    let (mut island, answer) = FakeIsland::greet(&world.url, &token, &hello("1", 1)).await;
    assert!(reason(answer).contains("approval"));
    let ana = world.user("ana", "100").await;
    assert_eq!(hosts(&ana).await, json!(0));
    let id = island_of(&world, "palma").await["id"].as_str().unwrap().to_owned();
    assert_eq!(world.admin(&["island", "approve", &id]).await["state"], json!("approved"));
    assert_eq!(reason(island.hear().await), "");
    until_hosts(&ana, 1).await;
    drop(island);
    until_hosts(&ana, 0).await;
    let (_island, answer) = FakeIsland::greet(&world.url, &token, &hello("1", 1)).await;
    assert_eq!(reason(answer), "");
    world.admin(&["island", "disapprove", &id]).await;
    until_hosts(&ana, 0).await;
    world.finish().await;
}

#[tokio::test]
async fn an_island_that_connects_too_often_is_told_to_wait() {
    let world = World::with("[islands]\nconnects_per_minute = 3").await;
    let token = world.island_token("owner@example.org", "palma").await;
    let mut last = None;
    for _ in 0..3 {
        last = Some(FakeIsland::connect(&world.url, &token, "1", 1).await);
    }
    let (_, answer) = FakeIsland::greet(&world.url, &token, &hello("1", 1)).await;
    assert_eq!(refusal(answer), ("too_many_connections".to_owned(), true));
    // The one before is not disturbed, and another Island neither.
    let ana = world.user("ana", "100").await;
    let _other = world.island("other", "2", 1).await;
    assert_eq!(hosts(&ana).await, json!(2));
    drop(last);
    world.finish().await;
}

#[tokio::test]
async fn offers_that_change_too_often_wait_and_the_newest_counts() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    for cents in 1..=40 {
        let price = format!("{}.{:02}", 1 + cents / 100, cents % 100);
        island.say(&FromIsland::Offers { offers: vec![offer(&price, 1)] }).await;
    }
    let mut taken = 0;
    loop {
        assert_eq!(reason(island.hear().await), "");
        taken += 1;
        let (_, rates) = ana.get("/api/v1/market/rates/llm-chat").await;
        if rates["data"][0]["best_ask"] == json!(1.4) {
            break;
        }
    }
    assert!(taken < 20, "{taken} of 40 were taken");
    world.finish().await;
}

#[tokio::test]
async fn a_flood_of_anything_else_closes_the_connection_and_disturbs_nobody() {
    let world = World::new().await;
    let mut noisy = world.island("noisy", "5", 1).await;
    let mut quiet = world.island("quiet", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let flood = async {
        for _ in 0..1000 {
            noisy.try_say(&FromIsland::Heartbeat { running: Vec::new() }).await;
        }
        loop {
            match noisy.hear().await {
                Some(ToIsland::Received { .. }) => {}
                other => return refusal(other),
            }
        }
    };
    let work = async {
        let job = ana.job(json!({})).await;
        let work = quiet.work().await;
        quiet.output(work.attempt, 1, "x").await;
        quiet.done(work.attempt).await;
        assert_eq!(ana.ended(&job).await["status"], json!("completed"));
    };
    let (refused, ()) = tokio::join!(flood, work);
    assert_eq!(refused, ("too_many_messages".to_owned(), true));
    world.finish().await;
}

/// Words about attempts that are not its own cost an Island its good name, and in the end its connection.
#[tokio::test]
async fn lies_about_attempts_are_counted_against_the_island() {
    let world = World::new().await;
    let mut liar = world.island("liar", "5", 1).await;
    let ana = world.user("ana", "100").await;
    let strange: AttemptId = "att_0000000000123".parse().unwrap();
    for seq in 0..60 {
        liar.output(strange, seq, "lies").await;
    }
    liar.say(&FromIsland::Heartbeat { running: Vec::new() }).await;
    while !matches!(liar.hear().await, Some(ToIsland::Received { today: Some(_), .. })) {}
    let (_, list) = ana.get("/api/v1/hosts").await;
    let host = &list["data"][0];
    assert_eq!((&host["success_percent"], &host["karma_parts"]["success"]), (&json!(0), &json!(54)));
    assert_eq!(metric(&ana, "archipelago_island_offences_total").await, "60");
    for seq in 0..2000 {
        liar.try_say(&FromIsland::Output { attempt_id: strange, seq, chunk: "lies".to_owned() }).await;
    }
    loop {
        match liar.hear().await {
            Some(ToIsland::Received { .. }) => {}
            other => break assert_eq!(refusal(other).0, "too_many_messages"),
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn incident_092_an_island_that_counts_more_than_it_sent_is_flagged() {
    let world = World::new().await;
    let mut greedy = world.island("greedy", "1", 1).await;
    let ana = world.user("ana", "100").await;
    for (tokens, offences) in [(4, 0), (100_000, 1)] {
        let job = ana.job(json!({})).await;
        let work = greedy.work().await;
        greedy.output(work.attempt, 1, "hi").await;
        let usage = Some(ReportedUsage { prompt_tokens: Some(1), completion_tokens: Some(tokens) });
        greedy.say(&FromIsland::Done { attempt_id: work.attempt, usage, finish_reason: None }).await;
        let job = ana.ended(&job).await;
        assert_eq!((&job["cost"], &job["usage"]["completion_tokens"]), (&json!(1), &json!(2)));
        let (_, body) = ana.get("/metrics").await;
        let counted = body.as_str().unwrap().contains("archipelago_island_offences_total 1");
        assert_eq!(counted, offences == 1);
    }
    let (_, list) = ana.get("/api/v1/hosts").await;
    assert_eq!(list["data"][0]["success_percent"], json!(66), "two successes and a failure");
    world.finish().await;
}

/// An Island whose attempts mostly fail is asked last, though it is the cheapest; and what it failed before counts after it
/// has connected again.
#[tokio::test]
async fn an_island_that_fails_is_asked_last() {
    let world = World::new().await;
    let token = world.island_token("bad-owner@example.org", "bad").await;
    let mut bad = FakeIsland::connect(&world.url, &token, "1", 1).await;
    let mut good = world.island("good", "2", 1).await;
    let ana = world.user("ana", "100").await;
    for _ in 0..10 {
        let job = ana.job(json!({})).await;
        let work = bad.work().await;
        bad.failed(work.attempt, "out of memory").await;
        let work = good.work().await;
        good.output(work.attempt, 1, "x").await;
        good.done(work.attempt).await;
        assert_eq!(ana.ended(&job).await["cost"], json!(2));
    }
    let seen = island_of(&world, "bad").await;
    assert_eq!(seen["online"], json!(true));
    for connected_again in [false, true] {
        if connected_again {
            drop(bad);
            until_hosts(&ana, 1).await;
            bad = FakeIsland::connect(&world.url, &token, "1", 1).await;
            let stored = island_of(&world, "bad").await;
            assert_eq!((&stored["success_percent"], &stored["attempts"]), (&json!(9), &json!(11)));
        }
        let job = ana.job(json!({})).await;
        let work = good.work().await;
        // While the good one is busy the bad one has its chance.
        let second = ana.job(json!({})).await;
        let chance = bad.work().await;
        bad.output(chance.attempt, 1, "y").await;
        bad.done(chance.attempt).await;
        assert_eq!(ana.ended(&second).await["cost"], json!(1));
        good.output(work.attempt, 1, "x").await;
        good.done(work.attempt).await;
        assert_eq!(ana.ended(&job).await["attempts"], json!(1));
    }
    world.finish().await;
}

/// Of what the consumer does, or asks for, the Island is innocent.
#[tokio::test]
async fn cancellations_and_bad_inputs_do_not_count_against_the_island() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    island.told_to_stop(work.attempt).await;
    island.failed(work.attempt, "stopped").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let failed =
        FromIsland::Failed { attempt_id: work.attempt, error: "too long".to_owned(), retryable: false };
    island.say(&failed).await;
    assert_eq!(ana.ended(&job).await["error_code"], json!("input_refused"));
    let (_, list) = ana.get("/api/v1/hosts").await;
    assert_eq!(list["data"][0]["success_percent"], Value::Null);
    world.finish().await;
}

#[tokio::test]
async fn incident_067_attempts_that_fail_leave_no_hold_behind() {
    let world = World::new().await;
    let mut islands = Vec::new();
    for (name, ask) in [("a", "1"), ("b", "2"), ("c", "3")] {
        islands.push(world.island(name, ask, 1).await);
    }
    // Enough for one attempt at a time, never for two.
    let ana = world.user("ana", "3").await;
    for _ in 0..4 {
        let job = ana.job(json!({})).await;
        for island in &mut islands {
            let work = island.work().await;
            island.failed(work.attempt, "no luck").await;
        }
        assert_eq!(ana.ended(&job).await["status"], json!("failed"));
        assert_eq!(ana.credits().await, ("3".to_owned(), "0".to_owned()));
    }
    world.finish().await;
}

/// Every streamed answer has an id of its own before anything is sent, and one charge.
#[tokio::test]
async fn incident_064_streams_have_ids_of_their_own() {
    let world = World::new().await;
    let island = world.island("palma", "1", 4).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    let chat = json!({"model": "llm-chat", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut stream = ana.chat_stream(&chat).await;
        let first = stream.next().await.unwrap()["id"].as_str().unwrap().to_owned();
        while stream.next().await.is_some() {}
        ids.push(first);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id.len() > 10));
    assert_eq!(ana.credits().await, ("97".to_owned(), "0".to_owned()));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn what_an_island_did_today_is_counted_with_its_attempts() {
    let world = World::new().await;
    let mut island = world.island("palma", "3", 1).await;
    let mut spare = world.island("spare", "4", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    ana.ended(&job).await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.failed(work.attempt, "no luck").await;
    let work = spare.work().await;
    spare.output(work.attempt, 1, "x").await;
    spare.done(work.attempt).await;
    ana.ended(&job).await;
    // The admin command reads what is stored, the server what it keeps in mind: both say the same.
    let seen = island_of(&world, "palma").await;
    assert_eq!(seen["today"], json!({"jobs": 1, "earned": 2.7}));
    let (_, list) = ana.get("/api/v1/hosts").await;
    let host = list["data"].as_array().unwrap().iter().find(|host| host["name"] == "palma").unwrap();
    assert_eq!(host["success_percent"], json!(50));
    assert!(host["karma"].as_u64().unwrap() > 20 && host["karma"] == host["karma_score"]);
    world.finish().await;
}

#[tokio::test]
async fn a_token_is_replaced_and_the_old_one_ends_when_it_was_said() {
    let world = World::new().await;
    let owner = world.user("owner", "0").await;
    let old = world.island_token(&owner.email, "palma").await;
    let mut island = FakeIsland::connect(&world.url, &old, "1", 1).await;
    let id = island_of(&world, "palma").await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/hosts/{id}/token");
    let stranger = world.user("ana", "0").await;
    assert_eq!(stranger.post(&path, &json!({})).await.0, 404);
    assert_eq!(owner.post(&path, &json!({"grace_seconds": 90_000})).await.0, 422);

    let (status, body) = owner.post(&path, &json!({"grace_seconds": 600})).await;
    assert_eq!(status, 200, "{body}");
    let new = body["data"]["token"].as_str().unwrap().to_owned();
    // Both are good, and what is connected stays.
    island.ask("2", 1).await;
    let again = FakeIsland::connect(&world.url, &old, "1", 1).await;
    let mut island = FakeIsland::connect(&world.url, &new, "1", 1).await;
    drop(again);

    let (_, body) = owner.post(&path, &json!({"grace_seconds": 0})).await;
    let newest = body["data"]["token"].as_str().unwrap().to_owned();
    assert_eq!(refusal(island.hear().await), ("revoked".to_owned(), false));
    for dead in [&old, &new] {
        assert_eq!(connect_status(&world, dead).await, 401);
    }
    let mut island = FakeIsland::connect(&world.url, &newest, "1", 1).await;
    let (status, _) = owner.request("DELETE", &path, &[], None).await;
    assert_eq!(status, 200);
    assert_eq!(refusal(island.hear().await), ("revoked".to_owned(), false));
    assert_eq!(connect_status(&world, &newest).await, 401);
    world.finish().await;
}

async fn connect_status(world: &World, token: &str) -> u16 {
    let url = format!("{}/api/v1/islands/connect", world.url);
    let request = world.http.get(url).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn the_page_suspends_resumes_and_replaces_tokens() {
    let world = World::with("[mail]\ntransport = \"file\"").await;
    let token = world.island_token("owner@example.org", "palma").await;
    let _island = FakeIsland::connect(&world.url, &token, "1", 1).await;
    let ana = world.user("ana", "0").await;
    let id = island_of(&world, "palma").await["id"].as_str().unwrap().to_owned();
    let mut browser = Browser::new(&world.url);
    browser.sign_in("owner@example.org", world.folder.path()).await;
    let gone = browser.send("/islands", &format!("/islands/{id}/suspend"), &[]).await;
    assert_eq!((gone.status, gone.location.as_str()), (303, "/islands?done=island_suspended"));
    assert_eq!(hosts(&ana).await, json!(0));
    assert!(browser.get("/islands").await.text.contains("suspended"));
    browser.send("/islands", &format!("/islands/{id}/resume"), &[]).await;
    assert_eq!(hosts(&ana).await, json!(1));
    let page = browser.send("/islands", &format!("/islands/tokens/{id}/replace"), &[]).await;
    let new = page.text.split("<code class=\"break\" id=\"token-text\">").nth(1).unwrap();
    let new = new.split('<').next().unwrap();
    assert!(page.status == 200 && new.starts_with("it_") && new != token);
    let _island = FakeIsland::connect(&world.url, new, "1", 1).await;
    // Somebody else's Island is not there.
    let mut mallory = Browser::new(&world.url);
    mallory.sign_in("mallory@example.org", world.folder.path()).await;
    for path in ["suspend", "resume"] {
        let refused = mallory.send("/islands", &format!("/islands/{id}/{path}"), &[]).await;
        assert_eq!(refused.status, 404);
    }
    let refused = mallory.send("/islands", &format!("/islands/tokens/{id}/replace"), &[]).await;
    assert_eq!(refused.status, 404);
    world.finish().await;
}

#[tokio::test]
async fn offers_name_their_models_within_reason() {
    let world = World::new().await;
    let token = world.island_token("owner@example.org", "palma").await;
    let mut island = FakeIsland::connect(&world.url, &token, "1", 1).await;
    let models = |count: usize| (0..count).map(|number| format!("model-{number}")).collect();
    for (models, fine) in [(models(8), true), (models(9), false), (vec!["x".repeat(101)], false)] {
        let offers = vec![Offer { models, ..offer("1", 1) }];
        island.say(&FromIsland::Offers { offers }).await;
        assert_eq!(reason(island.hear().await).is_empty(), fine);
    }
    world.finish().await;
}
