//! More is asked than can be written: whoever is turned away is told so, and when to come again.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use axum::body::Body;
use axum::http::{Request, header};
use db::OpenOptions;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use server::accounts::api_keys::{self, KeyRequest, LimitChange, Scopes};
use server::idempotency::Once;
use server::jobs::command::{Command, Suspend};
use server::jobs::commit::QUEUE;
use server::router::router;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::world::inside::Inside;

/// Status, `Retry-After` and body of an answer.
async fn answer(inside: &Inside, request: Request<Body>) -> (u16, Option<String>, String) {
    let response = router(&inside.app).oneshot(request).await.unwrap();
    let retry = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, retry, String::from_utf8(body.to_vec()).unwrap())
}

fn post(path: &str, key: &str, body: &Value) -> Request<Body> {
    let request = Request::post(path).header("authorization", format!("Bearer {key}"));
    request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}

async fn key(inside: &Inside) -> String {
    let ana = inside.user("ana").await;
    let request = KeyRequest::new("test", Scopes::ALL, &LimitChange::default()).unwrap();
    api_keys::create(&inside.app, &ana, None, request, &Once::unclaimed()).await.unwrap().1
}

#[tokio::test]
async fn a_full_queue_of_jobs_is_a_503_that_says_when_to_come_again() {
    // Its committer does not run, so the queue only fills.
    let inside = Inside::open(OpenOptions::server()).await;
    let key = key(&inside).await;
    let (ids, now) = (&inside.app.ids, inside.app.clock.now());
    for _ in 0..QUEUE {
        let suspend = Suspend { job: ids.next(now), attempt: ids.next(now), error: String::new() };
        assert!(inside.app.committer.commit(Command::Suspend(Arc::new(suspend))).now_or_never().is_none());
    }
    let job = json!({"workload": "llm-chat", "input": {"prompt": "hi"}});
    let chat = json!({"model": "llm-chat", "messages": [{"role": "user", "content": "hi"}]});
    for (path, body) in [("/api/v1/jobs", &job), ("/v1/chat/completions", &chat)] {
        let (status, retry, text) = answer(&inside, post(path, &key, body)).await;
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, retry.as_deref()), (503, Some("2")), "{path}: {body}");
        assert_eq!(
            (&body["error"]["code"], &body["error"]["type"]),
            (&json!("unavailable"), &json!("server_error"))
        );
        assert!(body["error"]["message"].as_str().unwrap().contains("busy"), "{body}");
    }
    assert_eq!(inside.app.jobs.count(), 0, "nothing is left of them");
    inside.finish().await;
}

/// Holds the only thread of a kind, and fills its queue behind it.
fn stall(inside: &Inside, writer: bool) -> (Sender<()>, Vec<JoinHandle<()>>) {
    let (go_on, gate) = channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let stalled = (0..8).map(|_| {
        let (db, gate) = (inside.app.db.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            let wait = async move |_: &mut db::Tx<'_>| {
                let _ = gate.lock().unwrap().recv();
                Ok::<_, db::DbError>(())
            };
            drop(if writer { db.tx("stall", wait).await } else { db.read("stall", wait).await });
        })
    });
    (go_on, stalled.collect())
}

/// Lets the stalled ones go on, to their end.
async fn go_on((go_on, stalled): (Sender<()>, Vec<JoinHandle<()>>)) {
    drop(go_on);
    for one in stalled {
        one.await.unwrap();
    }
}

#[tokio::test]
async fn a_busy_database_is_a_503_for_programs_and_for_people() {
    let options = || OpenOptions { readers: 1, queue: 2, ..OpenOptions::server() };
    let inside = Inside::open(options()).await;
    let key = key(&inside).await;
    // Known from now on, so that only what is written waits.
    let account = Request::get("/api/v1/account").header("authorization", format!("Bearer {key}"));
    assert_eq!(answer(&inside, account.body(Body::empty()).unwrap()).await.0, 200);
    let stalled = stall(&inside, true);
    let mut asked = FuturesUnordered::new();
    let made = loop {
        // Some come before the stalled ones have begun to wait, and some wait with them.
        if asked.len() < 10 {
            asked.push(answer(&inside, post("/api/v1/api-keys", &key, &json!({"name": "more"}))));
        }
        tokio::task::yield_now().await;
        if let Some(Some(made)) = asked.next().now_or_never()
            && made.0 != 201
        {
            break made;
        }
    };
    assert_eq!((made.0, made.1.as_deref()), (503, Some("2")), "{}", made.2);
    assert!(made.2.contains("busy"), "{}", made.2);
    go_on(stalled).await;
    while asked.next().await.is_some() {}
    drop(asked);
    inside.finish().await;

    let inside = Inside::open(options()).await;
    let stalled = stall(&inside, false);
    let page = loop {
        tokio::task::yield_now().await;
        let request = Request::get("/credits").header("cookie", "archipelago_session=ses_x");
        let page = answer(&inside, request.body(Body::empty()).unwrap()).now_or_never();
        if let Some(page) = page {
            break page;
        }
    };
    assert_eq!((page.0, page.1.as_deref()), (503, Some("2")), "{}", page.2);
    assert!(page.2.contains("<html") && page.2.contains("Not possible right now"), "{}", page.2);
    go_on(stalled).await;
    inside.finish().await;
}
