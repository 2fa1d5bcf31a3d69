//! How often one may ask, how many jobs one may have, how large a request may be; and that each refusal says when to come back.

use reqwest::Response;
use serde_json::{Value, json};

use crate::world::{User, World};

impl User {
    /// The whole answer to a look at something.
    async fn look(&self, path: &str) -> Response {
        self.http().get(format!("{}{path}", self.url())).bearer_auth(&self.key).send().await.unwrap()
    }
}

fn number(response: &Response, header: &str) -> i64 {
    let value = response.headers().get(header).unwrap_or_else(|| panic!("{header} is there: {response:?}"));
    value.to_str().unwrap().parse().unwrap_or_else(|_| panic!("{header} is a whole number: {value:?}"))
}

fn rate(response: &Response) -> (i64, i64, i64) {
    let [limit, remaining, reset] = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
        .map(|name| number(response, name));
    (limit, remaining, reset)
}

/// A refusal that says, in whole seconds, when to come back.
async fn refused(response: Response, code: &str) -> Value {
    assert_eq!(response.status(), 429);
    let wait = number(&response, "retry-after");
    assert!((1..=61).contains(&wait), "{wait}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], code, "{body}");
    body
}

#[tokio::test]
async fn so_many_requests_in_a_minute_for_each_key_and_three_times_as_many_for_all_of_a_user() {
    // So few that nothing worth mentioning comes back while this runs.
    let world = World::with("[limits]\nrequests_per_minute = 1\n").await;
    let ana = world.user("ana", "1").await;
    let first = ana.look("/api/v1/account").await;
    assert_eq!((first.status().as_u16(), rate(&first).0, rate(&first).1), (200, 1, 0));
    assert!((1..=60).contains(&rate(&first).2), "{first:?}");
    refused(ana.look("/api/v1/account").await, "rate_limited").await;
    // What is refused for another reason counts too, and says what is left.
    let second = world.key_for(&ana.email, &["--scopes", "write"]).await;
    assert_eq!(second.look("/api/v1/account").await.status(), 403);
    // Looking after jobs is counted apart, and ten times as often.
    for left in [9, 8, 7] {
        let polled = ana.look("/api/v1/jobs/job_0000000000001").await;
        assert_eq!((polled.status().as_u16(), rate(&polled).0, rate(&polled).1), (404, 10, left));
    }
    // Two more keys of hers, and all of hers together have had what they may; each key still has its own.
    for _ in 0..2 {
        let key = world.key_for(&ana.email, &[]).await;
        assert_eq!(key.look("/api/v1/account").await.status(), 200);
    }
    let another = world.key_for(&ana.email, &[]).await;
    refused(another.look("/api/v1/account").await, "rate_limited").await;
    // Others are not disturbed.
    let ben = world.user("ben", "1").await;
    assert_eq!(ben.look("/api/v1/account").await.status(), 200);
    // Who is not let in by a key takes nothing from anybody.
    let mut nobody = ben.clone();
    nobody.key = "ak_nonsense".to_owned();
    for _ in 0..3 {
        assert_eq!(nobody.look("/api/v1/account").await.status(), 401);
    }
    assert_eq!(ben.look("/api/v1/jobs/job_0000000000001").await.status(), 404);
    world.finish().await;
}

#[tokio::test]
async fn so_many_jobs_at_once() {
    let world = World::with("[limits]\nrequests_per_minute = 1000000\nopen_jobs_per_user = 2\n").await;
    let ana = world.user("ana", "10").await;
    let waiting = [ana.job(json!({})).await, ana.job(json!({})).await];
    let submit = || {
        let body = json!({"workload": "llm-chat", "input": {"prompt": "hi"}}).to_string();
        let request = ana.http().post(format!("{}/api/v1/jobs", ana.url())).bearer_auth(&ana.key);
        request
            .header("content-type", "application/json")
            .header("idempotency-key", "third")
            .body(body)
            .send()
    };
    refused(submit().await.unwrap(), "too_many_jobs").await;
    // Another key does not help.
    let other = world.key_for(&ana.email, &[]).await;
    assert_eq!(other.submit(json!({})).await.0, 429);
    // Another user has room of their own.
    assert_eq!(world.user("ben", "10").await.submit(json!({})).await.0, 201);
    let (status, _) = ana.request("DELETE", &format!("/api/v1/jobs/{}", waiting[0]), &[], None).await;
    assert_eq!(status, 200);
    assert_eq!(submit().await.unwrap().status(), 201, "the key was left free by the refusal");
    world.finish().await;
}

#[tokio::test]
async fn so_large_a_request_and_no_larger() {
    let world = World::with("[limits]\nrequests_per_minute = 1000000\nbody_bytes = 2048\n").await;
    let ana = world.user("ana", "10").await;
    let body = |bytes: usize| {
        let empty = json!({"name": ""}).to_string();
        format!("{empty}{}", " ".repeat(bytes - empty.len()))
    };
    for headers in [&[][..], &[("idempotency-key", "large")][..]] {
        let (status, answer) = ana.request("PATCH", "/api/v1/account", headers, Some(&body(2049))).await;
        assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_large")), "{answer}");
        let (status, answer) = ana.request("PATCH", "/api/v1/account", headers, Some(&body(2048))).await;
        assert_eq!(status, 200, "{answer}");
    }
    world.finish().await;
}

/// What the documentation promises about chats: 128 messages, 32 KB each, 4,096 tokens.
#[tokio::test]
async fn so_many_messages_and_so_long() {
    let world = World::new().await;
    let island = world.island("palma", "1", 10).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    let chat = async |messages: usize, bytes: usize, tokens: i64| {
        let message = json!({"role": "user", "content": "x".repeat(bytes)});
        let body = json!({"model": "default", "messages": vec![message; messages], "max_tokens": tokens});
        ana.post("/v1/chat/completions", &body).await
    };
    for (messages, bytes, tokens) in [(128, 1, 4096), (1, 32_768, 1)] {
        let (status, answer) = chat(messages, bytes, tokens).await;
        assert_eq!(status, 200, "{messages} {bytes} {tokens}: {answer}");
    }
    for (messages, bytes, tokens, field) in
        [(129, 1, 1, "messages"), (1, 32_769, 1, "messages"), (1, 1, 4097, "max_tokens")]
    {
        let (status, answer) = chat(messages, bytes, tokens).await;
        assert_eq!(status, 422, "{messages} {bytes} {tokens}: {answer}");
        assert!(answer["error"]["param"].as_str().unwrap_or_default().contains(field), "{answer}");
    }
    island.abort();
    world.finish().await;
}
