//! Batches: many inputs with one request, each a job of its own.

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use types::island_protocol::{FromIsland, ToIsland};

use crate::world::{FakeIsland, User, World};

/// The inputs that ask these things.
fn inputs(prompts: &[&str]) -> Value {
    prompts.iter().map(|prompt| json!({"prompt": prompt})).collect()
}

/// Asks for a batch.
async fn ask(user: &User, prompts: &[&str], more: Value) -> (u16, Value) {
    let mut body = json!({"workload": "llm-chat", "inputs": inputs(prompts)});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    user.post("/api/v1/jobs/batch", &body).await
}

/// Asks for a batch that must be taken; answers its id.
async fn batch(user: &User, prompts: &[&str], more: Value) -> String {
    let (status, body) = ask(user, prompts, more).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().unwrap().to_owned()
}

async fn status(user: &User, batch: &str) -> Value {
    let (status, body) = user.get(&format!("/api/v1/jobs/{batch}/batch-status")).await;
    assert_eq!(status, 200, "{body}");
    body
}

/// The states of the inputs, in order.
fn states(status: &Value) -> Vec<String> {
    let children = status["children"].as_array().unwrap();
    children.iter().map(|child| child["state"].as_str().unwrap().to_owned()).collect()
}

/// An Island that says what it was asked, once each; asked for `bad…` it fails.
fn echoes(mut island: FakeIsland) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(message) = island.hear().await {
            if let ToIsland::Assign { attempt_id, input, .. } = message {
                let input: Value = serde_json::from_str(input.get()).unwrap();
                let prompt = input["prompt"].as_str().unwrap();
                if prompt.starts_with("bad") {
                    let error = "It cannot be done.".to_owned();
                    island.try_say(&FromIsland::Failed { attempt_id, error, retryable: false }).await;
                } else {
                    let chunk = prompt.to_owned();
                    island.try_say(&FromIsland::Output { attempt_id, seq: 1, chunk }).await;
                    island.try_say(&FromIsland::Done { attempt_id, usage: None, finish_reason: None }).await;
                }
            }
        }
    })
}

/// Does the next work.
async fn answer(island: &mut FakeIsland) {
    let work = island.work().await;
    island.output(work.attempt, 1, "done").await;
    island.done(work.attempt).await;
}

#[tokio::test]
async fn outputs_come_in_the_order_of_the_inputs_and_each_is_paid_for_once() {
    let world = World::new().await;
    let island = echoes(world.island("palma", "1", 3).await);
    let ana = world.user("ana", "100").await;
    let (code, body) = ask(&ana, &["one", "two", "three", "four"], json!({})).await;
    assert_eq!(code, 201, "{body}");
    assert_eq!(
        body["batch"],
        json!({"chunk_count": 4, "merge_strategy": "concat", "fail_mode": "best_effort", "max_parallelism": 10,
               "completed": 0, "failed": 0, "cancelled": 0})
    );
    assert_eq!((&body["state"], &body["workload"]), (&json!("pending"), &json!("llm-chat")));
    assert_eq!(body["children"][3]["batch_index"], json!(3));
    let id = body["id"].as_str().unwrap();

    let job = ana.ended(id).await;
    assert_eq!(
        (&job["status"], &job["output"], &job["cost"], &job["usage"]["credits_used"]),
        (&json!("completed"), &json!("one\ntwo\nthree\nfour"), &json!(4), &json!(4))
    );
    assert_eq!(job["input"]["inputs"], inputs(&["one", "two", "three", "four"]));
    let status = status(&ana, id).await;
    assert_eq!(
        (&status["parent_id"], &status["parent_state"], &status["child_states"], &status["chunk_count"]),
        (&json!(id), &json!("succeeded"), &json!({"succeeded": 4}), &json!(4))
    );
    // Each input is a job like any other, under the id it had from the beginning.
    for (child, before) in
        status["children"].as_array().unwrap().iter().zip(body["children"].as_array().unwrap())
    {
        assert_eq!(child["id"], before["id"]);
        let (code, job) = ana.get(&format!("/api/v1/jobs/{}", child["id"].as_str().unwrap())).await;
        assert_eq!(
            (code, &job["data"]["status"], &job["data"]["cost"]),
            (200, &json!("completed"), &json!(1))
        );
    }
    assert_eq!(ana.credits().await, ("96".to_owned(), "0".to_owned()));
    let (_, list) = ana.get("/api/v1/jobs/batches").await;
    assert_eq!((&list["meta"]["total"], &list["data"][0]["id"]), (&json!(1), &json!(id)));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn lists_are_flattened() {
    let world = World::new().await;
    let island = echoes(world.island("palma", "1", 3).await);
    let ana = world.user("ana", "100").await;
    let id =
        batch(&ana, &["[1, 2.50]", "no list", "[]", "[[3]]"], json!({"merge_strategy": "flatten"})).await;
    assert_eq!(ana.ended(&id).await["output"], json!("[1,2.50,\"no list\",[3]]"));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn best_effort_leaves_out_what_failed() {
    let world = World::new().await;
    let island = echoes(world.island("palma", "1", 3).await);
    let ana = world.user("ana", "100").await;
    let id = batch(&ana, &["one", "bad", "three"], json!({"fail_mode": "best_effort"})).await;
    let job = ana.ended(&id).await;
    assert_eq!((&job["status"], &job["output"]), (&json!("completed"), &json!("one\nthree")));
    let seen = status(&ana, &id).await;
    assert_eq!(states(&seen), ["succeeded", "failed", "succeeded"]);
    assert_eq!(seen["children"][1]["error"], json!("It cannot be done."));

    let id = batch(&ana, &["bad", "bad too"], json!({})).await;
    let job = ana.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error_code"], &job["output"]),
        (&json!("failed"), &json!("all_failed"), &Value::Null)
    );
    assert_eq!(status(&ana, &id).await["parent_state"], json!("failed"));
    assert_eq!(ana.credits().await, ("98".to_owned(), "0".to_owned()));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn fail_fast_stops_what_runs_and_starts_nothing_more() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 2).await;
    let ana = world.user("ana", "100").await;
    let more = json!({"fail_mode": "fail_fast", "max_parallelism": 2});
    let id = batch(&ana, &["a", "b", "c", "d"], more).await;
    let (first, second) = (island.work().await, island.work().await);
    let bad = if first.input.contains("\"b\"") {
        (first.attempt, second.attempt)
    } else {
        (second.attempt, first.attempt)
    };
    let error = "It cannot be done.".to_owned();
    island.say(&FromIsland::Failed { attempt_id: bad.0, error, retryable: false }).await;
    island.told_to_stop(bad.1).await;
    let job = ana.ended(&id).await;
    assert_eq!(job["status"], json!("failed"));
    assert_eq!(
        job["error"],
        json!("inputs[1] failed: It cannot be done. The others were cancelled (fail_fast).")
    );
    let seen = status(&ana, &id).await;
    assert_eq!(states(&seen), ["cancelled", "failed", "cancelled", "cancelled"]);
    assert_eq!(seen["children"][3]["error_code"], json!("not_started"));
    assert_eq!(ana.credits().await, ("100".to_owned(), "0".to_owned()));
    world.finish().await;
}

#[tokio::test]
async fn no_more_run_at_once_than_were_asked_for() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 10).await;
    let ana = world.user("ana", "100").await;
    let id = batch(&ana, &["a", "b", "c", "d", "e"], json!({"max_parallelism": 2})).await;
    let mut stream = ana.stream(&id).await;
    let mut open = vec![island.work().await];
    for done in 0..5_usize {
        if done < 4 {
            open.push(island.work().await);
        }
        // Two hold their credits, the others nothing.
        let seen = status(&ana, &id).await;
        let count = |state| states(&seen).iter().filter(|one| *one == state).count();
        assert_eq!((count("succeeded"), count("running")), (done, open.len()), "{seen}");
        assert_eq!(ana.credits().await.1, open.len().to_string());
        let work = open.remove(0);
        island.output(work.attempt, 1, "x").await;
        island.done(work.attempt).await;
        while stream.next_of("progress").await["step"] != json!(done + 1) {}
    }
    assert_eq!(stream.next_of("token").await["content"], json!("x\nx\nx\nx\nx"));
    assert_eq!(stream.next_of("done").await["usage"]["credits_used"], json!(5));
    assert_eq!(stream.next().await, None);
    world.finish().await;
}

#[tokio::test]
async fn credits_that_run_out_end_the_batch_and_it_says_so() {
    let world = World::new().await;
    let island = echoes(world.island("palma", "1", 10).await);
    let ana = world.user("ana", "3").await;
    let id = batch(&ana, &["a", "b", "c", "d", "e"], json!({"max_parallelism": 2})).await;
    let job = ana.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error_code"], &job["output"]),
        (&json!("failed"), &json!("insufficient_credits"), &json!("a\nb\nc"))
    );
    assert_eq!(job["error"], json!("Not enough credits: 1 needed, 0 available. 3 of 5 inputs were done."));
    let seen = status(&ana, &id).await;
    assert_eq!(states(&seen), ["succeeded", "succeeded", "succeeded", "cancelled", "cancelled"]);
    assert_eq!(
        (&seen["parent_state"], &seen["error_code"], &seen["children"][4]["error_code"]),
        (&json!("failed"), &json!("insufficient_credits"), &json!("insufficient_credits"))
    );
    assert_eq!(ana.credits().await, ("0".to_owned(), "0".to_owned()));

    // What cannot even begin is refused at once.
    let (code, body) = ask(&ana, &["a", "b"], json!({})).await;
    assert_eq!(
        (code, &body["error"]["code"], &body["error"]["required"], &body["error"]["available"]),
        (402, &json!("insufficient_credits"), &json!(1), &json!(0))
    );
    let (_, list) = ana.get("/api/v1/jobs/batches").await;
    assert_eq!(list["meta"]["total"], json!(1));

    // The limit of a key ends it just so.
    world.admin(&["grant", "--email", &ana.email, "--credits", "50", "--note", "more"]).await;
    let limited = world.key_for(&ana.email, &["--limit", "2"]).await;
    let id = batch(&limited, &["a", "b", "c"], json!({"max_parallelism": 1})).await;
    let job = ana.ended(&id).await;
    assert_eq!((&job["status"], &job["error_code"]), (&json!("failed"), &json!("insufficient_credits")));
    assert_eq!(ana.credits().await, ("48".to_owned(), "0".to_owned()));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn while_others_run_what_they_may_give_back_is_waited_for() {
    let world = World::new().await;
    let mut island = world.island("palma", "2", 10).await;
    let ana = world.user("ana", "3").await;
    let id = batch(&ana, &["a", "b"], json!({})).await;
    let work = island.work().await;
    // The second cannot begin beside the first; the first gives nothing and gets its credits back.
    let error = "It cannot be done.".to_owned();
    island.say(&FromIsland::Failed { attempt_id: work.attempt, error, retryable: false }).await;
    answer(&mut island).await;
    let job = ana.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["output"], &job["cost"]),
        (&json!("completed"), &json!("done"), &json!(2))
    );
    world.finish().await;
}

#[tokio::test]
async fn what_is_left_of_a_batch_can_be_cancelled() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let id = batch(&ana, &["a", "b", "c", "d"], json!({"max_parallelism": 2})).await;
    answer(&mut island).await;
    let work = island.work().await;
    let path = format!("/api/v1/jobs/{id}");
    let (code, body) = ana.request("DELETE", &path, &[], None).await;
    assert_eq!(
        (code, &body["data"]["status"], &body["data"]["output"]),
        (200, &json!("cancelled"), &json!("done"))
    );
    island.told_to_stop(work.attempt).await;
    let seen = status(&ana, &id).await;
    assert_eq!(seen["parent_state"], json!("cancelled"));
    assert_eq!(states(&seen).iter().filter(|state| *state == "cancelled").count(), 3, "{seen}");
    assert_eq!(ana.credits().await, ("99".to_owned(), "0".to_owned()));
    // Again it is the same; what has ended otherwise cannot be cancelled.
    assert_eq!(ana.request("DELETE", &path, &[], None).await.0, 200);
    let id = batch(&ana, &["a"], json!({})).await;
    answer(&mut island).await;
    ana.ended(&id).await;
    assert_eq!(ana.request("DELETE", &format!("/api/v1/jobs/{id}"), &[], None).await.0, 409);
    world.finish().await;
}

#[tokio::test]
async fn killed_in_the_middle_every_input_is_started_exactly_once() {
    let mut world = World::new().await;
    let token = world.island_token("owner@example.org", "palma").await;
    let mut island = FakeIsland::connect(&world.url, &token, "1", 3).await;
    let mut ana = world.user("ana", "100").await;
    let prompts: Vec<String> = (0..20).map(|number| format!("input {number}")).collect();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    // Three run, two wait for a free Island, fifteen are not started.
    let id = batch(&ana, &prompts, json!({"max_parallelism": 5})).await;
    answer(&mut island).await;
    for _ in 0..3 {
        island.work().await;
    }
    while status(&ana, &id).await["child_states"]["queued"] != json!(2) {}
    world.kill().await;
    world.restart().await;
    ana.moved_to(&world.url);
    let island = echoes(FakeIsland::connect(&world.url, &token, "1", 3).await);
    let job = ana.ended(&id).await;
    assert_eq!(job["status"], json!("completed"), "{job}");
    let seen = status(&ana, &id).await;
    assert_eq!(seen["child_states"], json!({"succeeded": 17, "failed": 3}), "{seen}");
    let failed = seen["children"].as_array().unwrap().iter().filter(|child| child["state"] == "failed");
    failed.for_each(|child| assert_eq!(child["error_code"], json!("interrupted")));
    let (_, jobs) = ana.get("/api/v1/jobs?limit=100").await;
    assert_eq!(jobs["meta"]["total"], json!(20), "no input became two jobs");
    assert_eq!(ana.credits().await, ("83".to_owned(), "0".to_owned()));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn another_coordinator_shows_cancels_and_takes_over() {
    let mut one = World::with("[coordinators]\ntakeover_secs = 3").await;
    let two = one.beside().await;
    let ana = one.user("ana", "100").await;
    let mut there = ana.clone();
    there.moved_to(&two.url);
    let mut island = one.island("palma", "1", 1).await;

    let id = batch(&ana, &["a", "b", "c"], json!({"max_parallelism": 1})).await;
    let work = island.work().await;
    assert_eq!(status(&there, &id).await["child_states"], json!({"pending": 2, "running": 1}));
    let (code, body) = there.request("DELETE", &format!("/api/v1/jobs/{id}"), &[], None).await;
    assert_eq!((code, &body["data"]["status"]), (200, &json!("cancelled")));
    island.told_to_stop(work.attempt).await;

    let id = batch(&ana, &["a", "b", "c"], json!({"max_parallelism": 1})).await;
    island.work().await;
    one.kill().await;
    let island = echoes(two.island("hvar", "1", 1).await);
    let job = there.ended(&id).await;
    assert_eq!((&job["status"], &job["output"]), (&json!("completed"), &json!("b\nc")), "{job}");
    assert_eq!(there.credits().await, ("98".to_owned(), "0".to_owned()));
    island.abort();
    two.finish().await;
}

#[tokio::test]
async fn a_repeated_request_is_one_batch() {
    let world = World::new().await;
    let island = echoes(world.island("palma", "1", 3).await);
    let ana = world.user("ana", "100").await;
    let body = json!({"workload": "llm-chat", "inputs": inputs(&["a", "b"])}).to_string();
    let key = [("idempotency-key", "once")];
    let repeat = || ana.request("POST", "/api/v1/jobs/batch", &key, Some(&body));
    let first = repeat().await;
    assert_eq!(first.0, 201, "{}", first.1);
    ana.ended(first.1["id"].as_str().unwrap()).await;
    assert_eq!(repeat().await, first);
    let other = json!({"workload": "llm-chat", "inputs": inputs(&["a"])}).to_string();
    let (code, _) = ana.request("POST", "/api/v1/jobs/batch", &key, Some(&other)).await;
    assert_eq!(code, 422);
    assert_eq!(ana.credits().await, ("98".to_owned(), "0".to_owned()));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn a_stranger_sees_and_does_nothing() {
    let world = World::new().await;
    let ana = world.user("ana", "100").await;
    let ben = world.user("ben", "100").await;
    let id = batch(&ana, &["a"], json!({})).await;
    for path in ["", "/batch-status", "/stream"] {
        assert_eq!(ben.get(&format!("/api/v1/jobs/{id}{path}")).await.0, 404, "{path}");
    }
    assert_eq!(ben.request("DELETE", &format!("/api/v1/jobs/{id}"), &[], None).await.0, 404);
    assert_eq!(ben.get("/api/v1/jobs/batches").await.1["data"], json!([]));
    // A key that may only read sees its own, and starts nothing.
    let reads = world.key_for(&ana.email, &["--scopes", "read"]).await;
    assert_eq!(status(&reads, &id).await["parent_state"], json!("running"));
    assert_eq!(ask(&reads, &["a"], json!({})).await.0, 403);
    assert_eq!(ana.request("DELETE", &format!("/api/v1/jobs/{id}"), &[], None).await.0, 200);
    // An ordinary job is no batch.
    let job = ana.job(json!({})).await;
    assert_eq!(ana.get(&format!("/api/v1/jobs/{job}/batch-status")).await.0, 404);
    assert_eq!(ana.get("/api/v1/jobs/nonsense/batch-status").await.0, 404);
    ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    world.finish().await;
}

#[tokio::test]
async fn a_bad_request_names_the_field_and_writes_nothing() {
    let world = World::new().await;
    let ana = world.user("ana", "100").await;
    let many: Vec<&str> = vec!["a"; 101];
    for (more, field) in [
        (json!({"inputs": []}), "inputs"),
        (json!({"inputs": inputs(&many)}), "inputs"),
        (json!({"inputs": {"prompt": "a"}}), "inputs"),
        (json!({"inputs": null}), "inputs"),
        (json!({"inputs": [{"prompt": "a"}, 7]}), "inputs[1]"),
        (json!({"inputs": [{"prompt": "a"}, {"prompt": "b"}, {}, {"prompt": ""}]}), "inputs[2].prompt"),
        (json!({"inputs": [{"prompt": "a", "max_tokens": 0.5}]}), "inputs[0].max_tokens"),
        (json!({"merge_strategy": "zip"}), "merge_strategy"),
        (json!({"merge_strategy": 1}), "merge_strategy"),
        (json!({"fail_mode": "never"}), "fail_mode"),
        (json!({"max_parallelism": 0}), "max_parallelism"),
        (json!({"max_parallelism": 101}), "max_parallelism"),
        (json!({"max_parallelism": "2"}), "max_parallelism"),
        (json!({"bid_price": "0"}), "bid_price"),
        (json!({"region": ""}), "region"),
        (json!({"priority": 101}), "priority"),
        (json!({"min_trust": "much"}), "min_trust"),
        (json!({"webhook": "x"}), "webhook"),
    ] {
        let (code, body) = ask(&ana, &["a"], more.clone()).await;
        assert_eq!(code, 422, "{more}: {body}");
        assert!(body["errors"].get(field).is_some(), "{more}: {body}");
    }
    let (code, body) = ask(&ana, &["a"], json!({"workload": "nothing"})).await;
    assert_eq!((code, &body["error"]["code"]), (404, &json!("unknown_workload")));
    world.admin(&["user", "create", "--email", "una@example.org"]).await;
    let una = world.key_for("una@example.org", &[]).await;
    let (code, body) = ask(&una, &["a"], json!({})).await;
    assert_eq!((code, &body["error"]["code"]), (403, &json!("verification_required")));
    assert_eq!(ana.get("/api/v1/jobs/batches").await.1["meta"]["total"], json!(0));
    world.finish().await;
}

#[tokio::test]
async fn the_limit_of_open_jobs_is_waited_for_and_open_batches_are_limited() {
    let config = "[limits]\nrequests_per_minute = 1000000\nopen_jobs_per_user = 2\nopen_batches_per_user = 2";
    let world = World::with(config).await;
    let mut island = world.island("palma", "1", 10).await;
    let ana = world.user("ana", "100").await;
    let other = ana.job(json!({"input": {"prompt": "other"}})).await;
    let held = island.work().await;
    let id = batch(&ana, &["a", "b", "c"], json!({})).await;
    for _ in 0..3 {
        // One place is left beside the other job.
        let work = island.work().await;
        assert_eq!(ana.submit(json!({})).await.0, 429);
        island.output(work.attempt, 1, "x").await;
        island.done(work.attempt).await;
    }
    assert_eq!(ana.ended(&id).await["status"], json!("completed"));
    island.output(held.attempt, 1, "x").await;
    island.done(held.attempt).await;
    ana.ended(&other).await;

    let two = [batch(&ana, &["a"], json!({})).await, batch(&ana, &["a"], json!({})).await];
    let (code, body) = ask(&ana, &["a"], json!({})).await;
    assert_eq!((code, &body["error"]["code"]), (429, &json!("too_many_batches")), "{body}");
    for _ in 0..2 {
        answer(&mut island).await;
    }
    for id in two {
        ana.ended(&id).await;
    }
    let id = batch(&ana, &["a"], json!({})).await;
    answer(&mut island).await;
    ana.ended(&id).await;
    world.finish().await;
}
