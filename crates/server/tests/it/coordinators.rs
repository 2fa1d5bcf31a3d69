//! Several coordinators on one database: each serves everybody, each ends its own jobs only, and what one leaves behind when
//! it dies is taken over by another. All of it holds for SQLite too, where nobody would want it.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::world::{FakeIsland, User, World};

/// A coordinator that is silent for this long has lost its jobs.
const TAKEOVER: Duration = Duration::from_secs(3);
const SOON: &str = "[coordinators]\ntakeover_secs = 3";

async fn two() -> (World, World) {
    let one = World::with(SOON).await;
    let two = one.beside().await;
    (one, two)
}

fn at(user: &User, world: &World) -> User {
    let mut user = user.clone();
    user.moved_to(&world.url);
    user
}

async fn finish(one: World, two: World) {
    two.finish().await;
    // The last, because with SQLite it has the file.
    one.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_serve_the_same_user_and_every_credit_is_counted_once() {
    let (one, two) = two().await;
    let mut islands = Vec::new();
    for (name, world) in [("palma", &one), ("hvar", &two)] {
        islands.push(world.island(name, "1", 100).await.works_by_itself());
    }
    let ana = one.user("ana", "150").await;
    let jobs = [&one, &two].map(|world| {
        let ana = at(&ana, world);
        async move {
            let jobs = (0..100).map(|_| async {
                let (status, body) = ana.submit(json!({})).await;
                if status == 402 {
                    return 0;
                }
                assert_eq!(status, 201, "{body}");
                let job = ana.ended(body["data"]["id"].as_str().unwrap()).await;
                assert_eq!((&job["status"], &job["cost"]), (&json!("completed"), &json!(1)), "{job}");
                1
            });
            join_all(jobs).await.into_iter().sum::<i64>()
        }
    });
    let grants = async {
        for _ in 0..5 {
            one.admin(&["grant", "--email", &ana.email, "--credits", "1", "--note", "beside"]).await;
        }
    };
    let (completed, ()) = tokio::join!(join_all(jobs), grants);
    let completed: i64 = completed.into_iter().sum();
    assert!((150..=155).contains(&completed), "{completed} jobs for 150 credits and up to 5 more");
    let left = (155 - completed).to_string();
    for world in [&one, &two] {
        assert_eq!(at(&ana, world).credits().await, (left.clone(), "0".to_owned()));
    }
    // Each shows what the other did.
    let (_, jobs) = at(&ana, &two).get("/api/v1/jobs?limit=1").await;
    assert_eq!(jobs["meta"]["total"], json!(completed));
    for island in islands {
        island.abort();
    }
    finish(one, two).await;
}

#[tokio::test]
async fn a_request_repeated_through_another_coordinator_is_one_job() {
    let (one, two) = two().await;
    let _island = one.island("palma", "1", 50).await;
    let ana = one.user("ana", "100").await;
    let body = r#"{"workload":"llm-chat","input":{"prompt":"hi"}}"#;
    let submit = |user: User| async move {
        user.request("POST", "/api/v1/jobs", &[("idempotency-key", "once")], Some(body)).await
    };
    let answers = join_all((0..20).map(|n| submit(at(&ana, if n % 2 == 0 { &one } else { &two })))).await;
    let mut ids = Vec::new();
    for (status, body) in answers {
        if status == 409 {
            // The first one was still being answered.
            assert_eq!(body["error"]["code"], json!("in_flight"));
            continue;
        }
        assert_eq!(status, 201, "{body}");
        ids.push(body["data"]["id"].as_str().unwrap().to_owned());
    }
    for world in [&one, &two] {
        let (status, body) = submit(at(&ana, world)).await;
        assert_eq!(status, 201, "{body}");
        ids.push(body["data"]["id"].as_str().unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    at(&ana, &two).request("DELETE", &format!("/api/v1/jobs/{}", ids[0]), &[], None).await;
    finish(one, two).await;
}

#[tokio::test]
async fn a_job_is_followed_and_cancelled_through_another_coordinator() {
    let (one, two) = two().await;
    let mut island = one.island("palma", "1", 1).await;
    let ana = one.user("ana", "100").await;
    let there = at(&ana, &two);

    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let (_, shown) = there.get(&format!("/api/v1/jobs/{job}")).await;
    assert_eq!(shown["data"]["status"], json!("running"));
    let mut stream = there.stream(&job).await;
    assert_eq!(stream.next_of("status").await["status"], json!("running"));
    island.output(work.attempt, 1, "hello").await;
    island.done(work.attempt).await;
    assert_eq!(stream.next_of("token").await["content"], json!("hello"));
    assert_eq!(stream.next_of("done").await["usage"]["credits_used"], json!(1));
    assert_eq!(stream.next().await, None);

    let job = ana.job(json!({})).await;
    let work = island.work().await;
    let (status, body) = there.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    assert_eq!((status, &body["data"]["status"]), (200, &json!("cancelled")), "{body}");
    island.told_to_stop(work.attempt).await;
    assert_eq!(there.credits().await, ("99".to_owned(), "0".to_owned()));
    let (status, body) = there.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    assert_eq!((status, &body["data"]["status"]), (200, &json!("cancelled")), "again: {body}");
    finish(one, two).await;
}

#[tokio::test]
async fn i7_a_coordinator_that_starts_beside_another_ends_none_of_its_jobs() {
    let one = World::with(SOON).await;
    let mut island = one.island("palma", "1", 1).await;
    let ana = one.user("ana", "100").await;
    let (running, waiting) = (ana.job(json!({})).await, ana.job(json!({"bid_price": "0.5"})).await);
    let work = island.work().await;
    let two = one.beside().await;
    let there = at(&ana, &two);
    assert_eq!(there.credits().await, ("99".to_owned(), "1".to_owned()));
    for (job, status) in [(&running, "running"), (&waiting, "pending")] {
        assert_eq!(there.get(&format!("/api/v1/jobs/{job}")).await.1["data"]["status"], json!(status));
    }
    island.output(work.attempt, 1, "hello").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&running).await["status"], json!("completed"));
    island.ask("0.5", 1).await;
    assert_eq!(island.work().await.earns, 450_000);
    ana.request("DELETE", &format!("/api/v1/jobs/{waiting}"), &[], None).await;
    finish(one, two).await;
}

/// Jobs of `one` in each state, and one of `two` that runs.
struct Work {
    running: String,
    waiting: String,
    other: String,
    other_work: crate::world::island::Work,
    island: FakeIsland,
}

async fn work(one: &World, two: &World, ana: &User) -> Work {
    let mut first = one.island("palma", "1", 1).await;
    let mut island = two.island("hvar", "2", 1).await;
    let running = ana.job(json!({})).await;
    first.work().await;
    let waiting = ana.job(json!({"bid_price": "0.5"})).await;
    let other = at(ana, two).job(json!({})).await;
    let other_work = island.work().await;
    Work { running, waiting, other, other_work, island }
}

/// What must become of it when `one` is gone: its running job is ended and costs nothing, its waiting job waits on at `two`,
/// whose own job runs on.
async fn taken_over(mut work: Work, ana: &User) {
    let gone = Instant::now();
    let job = ana.ended(&work.running).await;
    let after = gone.elapsed();
    assert_eq!(
        (&job["status"], &job["error_code"], &job["cost"]),
        (&json!("failed"), &json!("interrupted"), &json!(0))
    );
    // With some time for a machine that does other things too.
    assert!(after < TAKEOVER + Duration::from_secs(3), "it took {after:?}");
    let (_, other) = ana.get(&format!("/api/v1/jobs/{}", work.other)).await;
    assert_eq!(other["data"]["status"], json!("running"), "the job of the one that lives is left alone");
    assert_eq!(ana.credits().await, ("98".to_owned(), "2".to_owned()));
    work.island.output(work.other_work.attempt, 1, "hello").await;
    work.island.done(work.other_work.attempt).await;
    assert_eq!(ana.ended(&work.other).await["status"], json!("completed"));
    work.island.ask("0.5", 1).await;
    let waited = work.island.work().await;
    work.island.output(waited.attempt, 1, "at last").await;
    work.island.done(waited.attempt).await;
    let job = ana.ended(&work.waiting).await;
    assert_eq!((&job["status"], job["cost"].to_string()), (&json!("completed"), "0.5".to_owned()));
    assert_eq!(ana.credits().await, ("97.5".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn i7_the_jobs_of_a_coordinator_that_was_killed_are_taken_over() {
    let (mut one, two) = two().await;
    let ana = one.user("ana", "100").await;
    let work = work(&one, &two, &ana).await;
    one.kill().await;
    taken_over(work, &at(&ana, &two)).await;
    // It comes back as another, and serves.
    one.restart().await;
    let island = one.island("skye", "1", 1).await.works_by_itself();
    let back = at(&ana, &one);
    let job = back.job(json!({})).await;
    assert_eq!(back.ended(&job).await["status"], json!("completed"));
    island.abort();
    finish(one, two).await;
}

/// Not dead, only asleep: when it wakes up its jobs are another's, and it must not touch them.
#[tokio::test]
async fn i3_a_coordinator_that_was_asleep_touches_nothing_when_it_wakes_up() {
    let (mut one, two) = two().await;
    let ana = one.user("ana", "100").await;
    let mut palma = one.island("palma", "1", 1).await;
    let job = ana.job(json!({})).await;
    let work = palma.work().await;
    one.signal("STOP");
    // Done, but told to one that sleeps.
    palma.output(work.attempt, 1, "hello").await;
    palma.done(work.attempt).await;
    let there = at(&ana, &two);
    let ended = there.ended(&job).await;
    assert_eq!((&ended["error_code"], &ended["cost"]), (&json!("interrupted"), &json!(0)));
    one.signal("CONT");
    let status: ExitStatus = one.ends().await;
    assert!(!status.success(), "it says that it was replaced");
    assert!(one.log().contains("taken over"), "{}", one.log());
    let (_, still) = there.get(&format!("/api/v1/jobs/{job}")).await;
    assert_eq!(still["data"], ended, "what was ended stays as it is");
    assert_eq!(there.credits().await, ("100".to_owned(), "0".to_owned()));
    assert_eq!(
        there.request("GET", "/api/v1/credits/transactions", &[], None).await.1["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // Started again it is a coordinator like any other.
    one.restart().await;
    assert_eq!(at(&ana, &one).credits().await.0, "100");
    two.finish().await;
}
