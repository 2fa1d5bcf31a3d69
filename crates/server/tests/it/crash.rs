//! Killed at any point, under load: no credit lost, doubled or stuck; what was finished keeps its output.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use types::rng::{Random, SeededRandom};

use crate::world::{FakeIsland, User, World};

const CYCLES: usize = 20;
const JOBS: usize = 200;

/// Islands that take their time, so that jobs are in every state when the server dies.
async fn islands(world: &World, tokens: &[String]) -> Vec<tokio::task::JoinHandle<()>> {
    let mut islands = Vec::new();
    for token in tokens {
        islands.push(FakeIsland::connect(&world.url, token, "1", 60).await.works_by_itself());
    }
    islands
}

/// Submits jobs until the server dies, telling of each that was taken; answers those.
async fn load(ana: User, taken: UnboundedSender<()>) -> Vec<String> {
    let tasks = (0..JOBS).map(|_| {
        let (ana, taken) = (ana.clone(), taken.clone());
        async move {
            let url = format!("{}/api/v1/jobs", ana.url());
            let body = json!({"workload": "llm-chat", "input": {"prompt": "hi"}}).to_string();
            let request =
                ana.http().post(url).bearer_auth(&ana.key).header("content-type", "application/json");
            let response = request.body(body).send().await.ok()?;
            let status = response.status();
            let body: Value = response.json().await.ok()?;
            assert_eq!(status, 201, "{body}");
            taken.send(()).ok();
            body["data"]["id"].as_str().map(str::to_owned)
        }
    });
    futures_util::future::join_all(tasks).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_killed_twenty_times_under_load_and_nothing_is_lost_doubled_or_stuck() {
    let mut world = World::new().await;
    let mut tokens = Vec::new();
    for name in ["one", "two", "three"] {
        tokens.push(world.island_token("owner@example.org", name).await);
    }
    let mut ana = world.user("ana", "100000").await;
    let random = SeededRandom::new(7);
    let mut finished: BTreeMap<String, Value> = BTreeMap::new();
    for cycle in 0..CYCLES {
        let running = islands(&world, &tokens).await;
        let (sender, mut taken) = unbounded_channel();
        let submitting = tokio::spawn(load(ana.clone(), sender));
        let mut byte = [0];
        random.fill(&mut byte);
        // A random moment of the load: when so many of the jobs have been taken.
        for _ in 0..usize::from(byte[0]) % JOBS {
            taken.recv().await;
        }
        world.kill().await;
        let taken = submitting.await.unwrap();
        for island in running {
            island.abort();
        }
        assert_eq!(world.audit_ledger().await, json!([]), "cycle {cycle}: right after the kill");

        world.restart().await;
        ana.moved_to(&world.url);
        // Recovery is over before the first request is answered: nothing is held any more.
        assert_eq!(ana.credits().await.1, "0", "cycle {cycle}");
        assert_eq!(world.audit().await["findings"], json!([]), "cycle {cycle}: after recovery");
        for id in taken {
            let (status, job) = ana.get(&format!("/api/v1/jobs/{id}")).await;
            assert_eq!(status, 200, "cycle {cycle}: {id} was taken but is not there");
            note(&mut finished, &job["data"], cycle);
        }
        check_finished(&ana, &finished).await;
    }
    assert!(finished.values().any(|job| job["status"] == "completed"), "the load did something");
    assert!(finished.values().any(|job| job["error_code"] == "interrupted"), "the kills did something");
    let completed = finished.values().filter(|job| job["status"] == "completed").count();
    let (_, account) = ana.get("/api/v1/account").await;
    let spent = 100_000 - account["data"]["credits"].as_i64().unwrap();
    assert!(spent >= i64::try_from(completed).unwrap(), "{spent} spent on {completed} seen completed");
    world.finish().await;
}

fn note(finished: &mut BTreeMap<String, Value>, job: &Value, cycle: usize) {
    let status = job["status"].as_str().unwrap();
    assert_ne!(status, "running", "cycle {cycle}: {job}");
    let cost = job["cost"].as_i64().unwrap();
    match status {
        "completed" => assert_eq!((cost, &job["output"]), (1, &json!("hello")), "cycle {cycle}"),
        _ => assert_eq!(cost, 0, "cycle {cycle}: {job}"),
    }
    if status != "pending" {
        finished.insert(job["id"].as_str().unwrap().to_owned(), job.clone());
    }
}

/// What was finished stays as it was, crash after crash.
async fn check_finished(ana: &User, finished: &BTreeMap<String, Value>) {
    for (id, before) in finished.iter().rev().take(20) {
        let (_, now) = ana.get(&format!("/api/v1/jobs/{id}")).await;
        assert_eq!(&now["data"], before);
    }
}
