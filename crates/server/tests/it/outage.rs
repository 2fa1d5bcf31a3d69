//! PostgreSQL goes away under load and comes back: what is asked meanwhile is turned away, what was taken is brought to its
//! end, and every credit is where it belongs. There is no such story of SQLite, which cannot go away alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use pg_temp::{PgTemp, Settings};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::world::{PATIENCE, User, World, database};

/// What became of the load.
#[derive(Debug, Default)]
struct Load {
    stop: AtomicBool,
    taken: AtomicUsize,
    refused: AtomicUsize,
    changed: Notify,
}

impl Load {
    /// Waits until there are so many more of these.
    async fn more(&self, count: &AtomicUsize, more: usize) {
        let enough = count.load(Ordering::SeqCst) + more;
        let reached = async {
            loop {
                let changed = self.changed.notified();
                if count.load(Ordering::SeqCst) >= enough {
                    return;
                }
                changed.await;
            }
        };
        // While the answer to a commit is lost together with the server, the database asks for it for half a minute.
        timeout(PATIENCE * 4, reached).await.expect("the load goes on");
    }
}

/// Submits jobs one after the other; answers the ids of those that were taken.
async fn submit(ana: User, load: Arc<Load>) -> Vec<String> {
    let mut taken = Vec::new();
    while !load.stop.load(Ordering::SeqCst) {
        let request = ana.http().post(format!("{}/api/v1/jobs", ana.url())).bearer_auth(&ana.key);
        let body = json!({"workload": "llm-chat", "input": {"prompt": "hi"}}).to_string();
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        let (status, retry) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
        let body: Value = response.json().await.unwrap();
        match status {
            201 => {
                taken.push(body["data"]["id"].as_str().unwrap().to_owned());
                load.taken.fetch_add(1, Ordering::SeqCst);
            }
            503 => {
                assert!(retry, "it says when to come again: {body}");
                let code = body["error"]["code"].as_str().unwrap();
                assert!(matches!(code, "unavailable" | "in_doubt"), "{body}");
                load.refused.fetch_add(1, Ordering::SeqCst);
            }
            _ => panic!("{status} {body}"),
        }
        load.changed.notify_waiters();
    }
    taken
}

/// What a job that was taken has cost at its end.
async fn paid(ana: &User, id: &str) -> i64 {
    let job = ana.ended(id).await;
    let paid = match job["status"].as_str().unwrap() {
        "completed" => 1,
        // Its result could not be saved in time.
        "failed" => 0,
        other => panic!("{other}: {job}"),
    };
    assert_eq!(job["cost"], json!(paid), "{job}");
    paid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_postgresql_goes_away_under_load_and_comes_back() {
    if !database::on_postgres() {
        return;
    }
    // A server of its own, and as careful as one in production.
    let server = PgTemp::start_with(&Settings::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The Island says nothing while it has no work.
    let config = "[islands]\nheartbeat_secs = 600\nlease_secs = 600";
    let world = World::on(server.fresh_database().unwrap(), folder, config).await;
    let island = world.island("palma", "1", 200).await.works_by_itself();
    let ana = world.user("ana", "100000").await;
    let load = Arc::new(Load::default());
    let submitting: Vec<_> = (0..20).map(|_| tokio::spawn(submit(ana.clone(), Arc::clone(&load)))).collect();
    for round in 0..3 {
        load.more(&load.taken, 100).await;
        // In order the first time, without a word the next.
        if round == 0 { server.stop() } else { server.crash() }.unwrap();
        load.more(&load.refused, 100).await;
        server.start_again().unwrap();
    }
    load.more(&load.taken, 100).await;
    load.stop.store(true, Ordering::SeqCst);
    let paid = submitting.into_iter().map(|task| {
        let ana = ana.clone();
        async move {
            let mut completed = 0;
            for id in task.await.unwrap() {
                completed += paid(&ana, &id).await;
            }
            completed
        }
    });
    let completed: i64 = join_all(paid).await.into_iter().sum();
    assert!(completed > 100, "{completed} completed");
    // Jobs whose submission was in doubt may have been taken after all; each costs its price once.
    let at_rest = async {
        loop {
            let (available, held) = ana.credits().await;
            if held == "0" {
                return available;
            }
        }
    };
    let available = timeout(PATIENCE, at_rest).await.expect("every hold ends");
    let (_, jobs) = ana.get("/api/v1/jobs?limit=1").await;
    let spent = 100_000 - available.parse::<i64>().unwrap();
    assert!(
        (completed..=jobs["meta"]["total"].as_i64().unwrap()).contains(&spent),
        "{spent} for {completed}"
    );
    assert_eq!(world.audit().await, json!({"ok": true, "findings": []}));
    island.abort();
}
