//! Islands that fail, vanish, lie or stall, and consumers who go away.

use serde_json::{Value, json};
use types::id::{AttemptId, Id};
use types::island_protocol::{FromIsland, Offer};

use crate::world::World;
use crate::world::island::offer;

const NOTHING: (&str, &str) = ("100", "0");

async fn credits(ana: &crate::world::User) -> (String, String) {
    ana.credits().await
}

fn same(found: &(String, String), expected: (&str, &str)) {
    assert_eq!((found.0.as_str(), found.1.as_str()), expected);
}

#[tokio::test]
async fn incident_093_a_failed_attempt_costs_nothing_and_the_next_cheapest_island_is_tried() {
    let world = World::new().await;
    let mut first = world.island("first", "1", 1).await;
    let mut second = world.island("second", "2", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = first.work().await;
    first.failed(work.attempt, "out of memory").await;
    let work = second.work().await;
    second.output(work.attempt, 1, "fine").await;
    second.done(work.attempt).await;
    let job = ana.ended(&job).await;
    assert_eq!((&job["status"], &job["cost"], &job["attempts"]), (&json!("completed"), &json!(2), &json!(2)));
    assert_eq!(world.account("first-owner").await["earnings"], json!(0));
    same(&credits(&ana).await, ("98", "0"));
    world.finish().await;
}

#[tokio::test]
async fn three_islands_are_tried_and_then_it_is_over() {
    let world = World::new().await;
    let mut islands = Vec::new();
    for (name, ask) in [("a", "1"), ("b", "1.5"), ("c", "2"), ("d", "2.5")] {
        islands.push(world.island(name, ask, 1).await);
    }
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    for island in islands.iter_mut().take(3) {
        let work = island.work().await;
        island.failed(work.attempt, "no luck").await;
    }
    let job = ana.ended(&job).await;
    assert_eq!(
        (&job["status"], &job["error_code"], &job["attempts"]),
        (&json!("failed"), &json!("island_failed"), &json!(3))
    );
    assert_eq!(job["error"], json!("no luck"));
    same(&credits(&ana).await, NOTHING);
    world.finish().await;
}

#[tokio::test]
async fn a_failure_after_some_output_ends_the_job_and_costs_nothing() {
    let world = World::new().await;
    let mut island = world.island("first", "1", 1).await;
    let _spare = world.island("spare", "2", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "half an ").await;
    island.failed(work.attempt, "crashed").await;
    let job = ana.ended(&job).await;
    assert_eq!((&job["status"], &job["cost"], &job["attempts"]), (&json!("failed"), &json!(0), &json!(1)));
    same(&credits(&ana).await, NOTHING);
    world.finish().await;
}

#[tokio::test]
async fn incident_060_success_without_output_is_not_charged() {
    let world = World::new().await;
    let mut liar = world.island("liar", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = liar.work().await;
    liar.done(work.attempt).await;
    // Nobody else is there: it waits, holding nothing, until it is cancelled.
    ana.reaches(&job, "pending").await;
    same(&credits(&ana).await, NOTHING);
    let (status, body) = ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    assert_eq!((status, &body["data"]["status"]), (200, &json!("cancelled")));
    world.finish().await;
}

#[tokio::test]
async fn an_island_that_vanishes_gives_its_work_to_another() {
    let world = World::with("[islands]\nlease_secs = 2\nheartbeat_secs = 2").await;
    let mut first = world.island("first", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    first.work().await;
    drop(first);
    ana.reaches(&job, "pending").await;
    same(&credits(&ana).await, NOTHING);
    let mut second = world.island("second", "2", 1).await;
    let work = second.work().await;
    second.output(work.attempt, 1, "fine").await;
    second.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["cost"], json!(2));
    world.finish().await;
}

#[tokio::test]
async fn an_island_that_vanishes_after_some_output_ends_the_job() {
    let world = World::with("[islands]\nlease_secs = 2\nheartbeat_secs = 2").await;
    let mut first = world.island("first", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = first.work().await;
    first.output(work.attempt, 1, "half an ").await;
    let mut stream = ana.stream(&job).await;
    stream.next_of("token").await;
    drop(first);
    let job = ana.ended(&job).await;
    assert_eq!(
        (&job["status"], &job["error_code"], &job["cost"]),
        (&json!("failed"), &json!("lease_expired"), &json!(0))
    );
    same(&credits(&ana).await, NOTHING);
    world.finish().await;
}

#[tokio::test]
async fn an_island_that_falls_silent_loses_its_lease_and_then_its_place() {
    let world = World::with("[islands]\nheartbeat_secs = 1\nlease_secs = 1").await;
    let mut silent = world.island("silent", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = silent.work().await;
    silent.told_to_stop(work.attempt).await;
    ana.reaches(&job, "pending").await;
    same(&credits(&ana).await, NOTHING);
    // What it says when the job is no longer its own reaches nobody.
    silent.output(work.attempt, 1, "late words").await;
    // Incident 96: three beats missed, and it is out of the book.
    while silent.hear().await.is_some() {}
    let (_, rates) = ana.get("/api/v1/market/rates/llm-chat").await;
    assert_eq!(rates["data"][0]["num_hosts"], json!(0));
    let mut other = world.island("other", "2", 1).await;
    let work = other.work().await;
    other.output(work.attempt, 1, "x").await;
    other.done(work.attempt).await;
    let job = ana.ended(&job).await;
    assert_eq!((&job["cost"], &job["output"]), (&json!(2), &json!("x")));
    world.finish().await;
}

#[tokio::test]
async fn incident_066_heartbeats_keep_a_long_job_alive() {
    let world = World::with("[islands]\nheartbeat_secs = 1\nlease_secs = 2").await;
    let mut island = world.island("slow", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let mut beats = tokio::time::interval(std::time::Duration::from_millis(500));
    for _ in 0..8 {
        beats.tick().await;
        island.say(&FromIsland::Heartbeat { running: vec![work.attempt] }).await;
    }
    island.output(work.attempt, 1, "at last").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["status"], json!("completed"));
    world.finish().await;
}

#[tokio::test]
async fn a_job_that_runs_too_long_is_stopped_and_costs_nothing() {
    let world = World::with("[jobs]\nrun_secs = 1").await;
    let mut island = world.island("slow", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "once upon a time").await;
    island.told_to_stop(work.attempt).await;
    let job = ana.ended(&job).await;
    assert_eq!(
        (&job["status"], &job["error_code"], &job["cost"]),
        (&json!("timeout"), &json!("ran_too_long"), &json!(0))
    );
    same(&credits(&ana).await, NOTHING);
    world.finish().await;
}

#[tokio::test]
async fn what_an_island_says_of_attempts_that_are_not_its_own_changes_nothing() {
    let world = World::new().await;
    let mut honest = world.island("honest", "1", 1).await;
    let mut liar = world.island("liar", "3", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = honest.work().await;
    for attempt in [work.attempt, AttemptId::from_i64(5)] {
        liar.output(attempt, 1, "lies").await;
        liar.done(attempt).await;
        liar.failed(attempt, "lies").await;
    }
    honest.output(work.attempt, 1, "truth").await;
    honest.done(work.attempt).await;
    // After the end: ignored too.
    honest.output(work.attempt, 2, "more").await;
    honest.done(work.attempt).await;
    let job = ana.ended(&job).await;
    assert_eq!((&job["output"], &job["cost"]), (&json!("truth"), &json!(1)));
    assert_eq!(world.account("liar-owner").await["earnings"], json!(0));
    world.finish().await;
}

#[tokio::test]
async fn output_out_of_order_is_not_paid_and_nonsense_closes_the_connection() {
    let world = World::new().await;
    let mut island = world.island("odd", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 2, "second first").await;
    island.done(work.attempt).await;
    ana.reaches(&job, "pending").await;
    same(&credits(&ana).await, NOTHING);
    island.say_text("{\"sing\":{}}").await;
    while island.hear().await.is_some() {}
    ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    world.finish().await;
}

/// PostgreSQL keeps every character but this one.
#[tokio::test]
async fn text_with_a_zero_character_is_kept_without_it() {
    let world = World::new().await;
    let mut island = world.island("odd", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({"input": {"prompt": "a\u{0}b"}})).await;
    let work = island.work().await;
    assert!(work.input.contains(r"a\u0000b"), "{}", work.input);
    island.output(work.attempt, 1, "c\u{0}d").await;
    island.done(work.attempt).await;
    let job = ana.ended(&job).await;
    assert_eq!((&job["status"], &job["output"]), (&json!("completed"), &json!("c\u{fffd}d")));
    world.finish().await;
}

#[tokio::test]
async fn incident_092_an_island_cannot_inflate_what_it_counts() {
    let world = World::new().await;
    let mut island = world.island("greedy", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "hi").await;
    let usage = Some(types::island_protocol::ReportedUsage {
        prompt_tokens: Some(9),
        completion_tokens: Some(100_000),
    });
    island.say(&FromIsland::Done { attempt_id: work.attempt, usage, finish_reason: None }).await;
    let job = ana.ended(&job).await;
    assert_eq!((&job["usage"]["completion_tokens"], &job["cost"]), (&json!(2), &json!(1)));
    world.finish().await;
}

#[tokio::test]
async fn cancelling_before_anything_came_costs_nothing() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let (status, body) = ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    assert_eq!(
        (status, &body["data"]["status"], &body["data"]["cost"]),
        (200, &json!("cancelled"), &json!(0))
    );
    island.told_to_stop(work.attempt).await;
    // The Island, which had not heard of it yet, finishes all the same.
    island.output(work.attempt, 1, "too late").await;
    island.done(work.attempt).await;
    same(&credits(&ana).await, NOTHING);
    // Again is the same answer; what has completed cannot be cancelled.
    let (status, body) = ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    assert_eq!((status, &body["data"]["status"]), (200, &json!("cancelled")));
    let next = ana.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    ana.ended(&next).await;
    let (status, body) = ana.request("DELETE", &format!("/api/v1/jobs/{next}"), &[], None).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("already_ended")));
    world.finish().await;
}

#[tokio::test]
async fn cancelling_after_output_was_delivered_is_charged() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let mut stream = ana.stream(&job).await;
    island.output(work.attempt, 1, "almost all of it").await;
    assert_eq!(stream.next_of("token").await["content"], json!("almost all of it"));
    let (_, body) = ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    assert_eq!((&body["data"]["status"], &body["data"]["cost"]), (&json!("cancelled"), &json!(1)));
    assert_eq!(body["data"]["output"], json!("almost all of it"));
    same(&credits(&ana).await, ("99", "0"));
    world.finish().await;
}

fn chat() -> Value {
    json!({"model": "llm-chat", "stream": true, "messages": [{"role": "user", "content": "hi"}]})
}

#[tokio::test]
async fn a_consumer_who_hangs_up_before_any_output_pays_nothing() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let stream = ana.chat_stream(&chat()).await;
    let work = island.work().await;
    drop(stream);
    island.told_to_stop(work.attempt).await;
    let (_, jobs) = ana.get("/api/v1/jobs").await;
    let job = ana.ended(jobs["data"][0]["id"].as_str().unwrap()).await;
    assert_eq!((&job["status"], &job["cost"]), (&json!("cancelled"), &json!(0)));
    same(&credits(&ana).await, NOTHING);
    world.finish().await;
}

#[tokio::test]
async fn a_consumer_who_hangs_up_after_output_pays() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let mut stream = ana.chat_stream(&chat()).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "hello").await;
    loop {
        let event = stream.next().await.unwrap();
        if event["choices"][0]["delta"]["content"] == json!("hello") {
            break;
        }
    }
    drop(stream);
    island.told_to_stop(work.attempt).await;
    let (_, jobs) = ana.get("/api/v1/jobs").await;
    let job = ana.ended(jobs["data"][0]["id"].as_str().unwrap()).await;
    assert_eq!((&job["status"], &job["cost"]), (&json!("cancelled"), &json!(1)));
    same(&credits(&ana).await, ("99", "0"));
    world.finish().await;
}

/// The job's own stream is a window: closing it cancels only when nobody comes back.
#[tokio::test]
async fn a_job_nobody_watches_any_more_is_cancelled() {
    let world = World::with("[jobs]\nunwatched_secs = 1").await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let mut stream = ana.stream(&job).await;
    stream.next_of("status").await;
    drop(stream);
    island.told_to_stop(work.attempt).await;
    let job = ana.ended(&job).await;
    assert_eq!((&job["status"], &job["cost"]), (&json!("cancelled"), &json!(0)));
    world.finish().await;
}

/// Incident 63: streamed or not, the same job costs the same and says so.
#[tokio::test]
async fn incident_063_streamed_and_not_cost_the_same() {
    let world = World::new().await;
    let island = world.island("palma", "1.5", 4).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    let mut stream = ana.chat_stream(&chat()).await;
    let mut text = String::new();
    let mut usage = Value::Null;
    while let Some(event) = stream.next().await {
        text.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or(""));
        if event["usage"].is_object() {
            usage = event["usage"].clone();
        }
    }
    let mut body = chat();
    body["stream"] = json!(false);
    let (status, whole) = ana.post("/v1/chat/completions", &body).await;
    assert_eq!((status, &whole["choices"][0]["message"]["content"]), (200, &json!(text)));
    assert_eq!((&usage["credits_used"], &whole["usage"]["credits_used"]), (&json!(1.5), &json!(1.5)));
    same(&credits(&ana).await, ("97", "0"));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn a_second_agent_with_the_same_token_replaces_the_first() {
    let world = World::new().await;
    let token = world.island_token("owner@example.org", "palma").await;
    let mut first = crate::world::FakeIsland::connect(&world.url, &token, "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    first.work().await;
    let mut second = crate::world::FakeIsland::connect(&world.url, &token, "2", 1).await;
    while first.hear().await.is_some() {}
    // The Island failed the job once, as the same Island, so it is not asked again.
    ana.reaches(&job, "pending").await;
    same(&credits(&ana).await, NOTHING);
    let (_, rates) = ana.get("/api/v1/market/rates/llm-chat").await;
    assert_eq!((&rates["data"][0]["num_hosts"], &rates["data"][0]["best_ask"]), (&json!(1), &json!(2)));
    ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    let next = ana.job(json!({})).await;
    let work = second.work().await;
    second.output(work.attempt, 1, "x").await;
    second.done(work.attempt).await;
    assert_eq!(ana.ended(&next).await["cost"], json!(2));
    world.finish().await;
}

#[tokio::test]
async fn words_are_not_paid_where_a_picture_was_asked_for() {
    let world = World::new().await;
    let token = world.island_token("owner@example.org", "fake").await;
    let offer = Offer { workload: "sdxl".to_owned(), ..offer("0.5", 1) };
    let mut island = crate::world::FakeIsland::offering(&world.url, &token, offer).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({"workload": "sdxl", "input": {"prompt": "a cat"}})).await;
    let work = island.work().await;
    assert!(work.input.contains("\"width\":1024"), "an Island gets a whole request: {}", work.input);
    island.output(work.attempt, 1, "not a picture").await;
    island.done(work.attempt).await;
    ana.reaches(&job, "pending").await;
    same(&credits(&ana).await, NOTHING);
    ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    world.finish().await;
}

/// Looking on with a key that may only read cancels nothing.
#[tokio::test]
async fn a_reading_keys_stream_is_a_window_only() {
    let world = World::with("[jobs]\nunwatched_secs = 1").await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let reader = world.key_for(&ana.email, &["--scopes", "read"]).await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let mut stream = reader.stream(&job).await;
    stream.next_of("status").await;
    drop(stream);
    let mut beats = tokio::time::interval(std::time::Duration::from_millis(500));
    for _ in 0..5 {
        beats.tick().await;
    }
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["status"], json!("completed"));
    world.finish().await;
}

#[tokio::test]
async fn whoever_is_cut_off_because_we_stop_pays_nothing_and_is_told() {
    let mut world = World::new().await;
    let mut island = world.island("palma", "3", 1).await;
    let mut ana = world.user("ana", "100").await;
    let mut stream = ana.chat_stream(&chat()).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "hello").await;
    while stream.next().await.unwrap()["choices"][0]["delta"]["content"] != json!("hello") {}
    world.terminate();
    let event = stream.next().await.expect("a last word");
    assert!(event["error"]["message"].as_str().unwrap().contains("not charged"), "{event}");
    assert_eq!(stream.next().await, Some(json!("[DONE]")));
    world.ended().await;
    world.restart().await;
    ana.moved_to(&world.url);
    let (_, jobs) = ana.get("/api/v1/jobs").await;
    let job = &jobs["data"][0];
    assert_eq!(
        (&job["status"], &job["cost"], &job["error_code"]),
        (&json!("failed"), &json!(0), &json!("interrupted"))
    );
    same(&credits(&ana).await, NOTHING);
    world.finish().await;
}

#[tokio::test]
async fn what_runs_when_we_stop_may_come_to_its_end() {
    let mut world = World::new().await;
    let mut island = world.island("palma", "3", 1).await;
    let mut ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    world.terminate();
    island.output(work.attempt, 1, "just in time").await;
    island.done(work.attempt).await;
    world.ended().await;
    world.restart().await;
    ana.moved_to(&world.url);
    let (_, body) = ana.get(&format!("/api/v1/jobs/{job}")).await;
    assert_eq!((&body["data"]["output"], &body["data"]["cost"]), (&json!("just in time"), &json!(3)));
    world.finish().await;
}

/// Whatever an Island still sends of a job that has ended, whoever waits for the end is answered.
#[tokio::test]
async fn a_flood_of_progress_does_not_hide_the_end() {
    let world = World::new().await;
    let token = world.island_token("owner@example.org", "busy").await;
    let offer = Offer { workload: "sdxl".to_owned(), ..offer("5", 1) };
    let mut island = crate::world::FakeIsland::offering(&world.url, &token, offer).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({"workload": "sdxl", "input": {"prompt": "a cat"}})).await;
    let work = island.work().await;
    let path = format!("/api/v1/jobs/{job}");
    let (cancelled, ()) = tokio::join!(ana.request("DELETE", &path, &[], None), async {
        for step in 0..20_000 {
            island.say(&FromIsland::Progress { attempt_id: work.attempt, step, total: 20_000 }).await;
        }
    });
    assert_eq!((cancelled.0, &cancelled.1["data"]["status"]), (200, &json!("cancelled")));
    world.finish().await;
}
