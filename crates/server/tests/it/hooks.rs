//! Webhooks: what is told of, to whom, signed how, and what happens when nobody listens. The receiver here checks signatures by
//! itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use types::time::{Clock, SystemClock};

use crate::world::browser::Browser;
use crate::world::{Answer, User, World, eventually};

pub const PRIVATE: &str = "[webhooks]\nallow_private = true\n[mail]\ntransport = \"file\"\n";

/// Something that events are sent to.
pub struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<Received>>>,
    /// What to answer to the next ones; 200 when it is empty, nothing at all to 0.
    plan: Arc<Mutex<VecDeque<u16>>>,
}

#[derive(Clone, Debug)]
pub struct Received {
    id: String,
    timestamp: String,
    signature: String,
    path: String,
    body: String,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// How many of its signatures were made with this secret.
    fn signed_with(&self, secret: &str) -> usize {
        let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let fits = |signature: &str| {
            let given = BASE64.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(format!("{}.{}.{}", self.id, self.timestamp, self.body).as_bytes());
            mac.verify_slice(&given).is_ok()
        };
        let age = SystemClock.now().as_millis() / 1000 - self.timestamp.parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{age}");
        self.signature.split(' ').filter(|one| fits(one)).count()
    }
}

impl Receiver {
    pub async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    async fn at(address: &str) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Received>>> = Arc::default();
        let plan: Arc<Mutex<VecDeque<u16>>> = Arc::default();
        let (log, answers) = (Arc::clone(&got), Arc::clone(&plan));
        let answer = async move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), "application/json");
            log.lock().unwrap().push(Received {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
                path: uri.path().to_owned(),
                body: String::from_utf8(body.to_vec()).unwrap(),
            });
            let status = answers.lock().unwrap().pop_front().unwrap_or(200);
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let location = [("location", "/elsewhere")];
            (StatusCode::from_u16(status).unwrap(), location, format!("I say {status}. {}", "x".repeat(3000)))
                .into_response()
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
        Self { url, got, plan }
    }

    fn answers(&self, plan: impl IntoIterator<Item = u16>) {
        self.plan.lock().unwrap().extend(plan);
    }

    pub fn got(&self) -> Vec<Received> {
        self.got.lock().unwrap().clone()
    }

    /// Waits for so many, all told.
    pub async fn gets(&self, many: usize) -> Vec<Received> {
        eventually(async || Some(self.got()).filter(|got| got.len() >= many)).await
    }
}

impl User {
    pub async fn webhook(&self, url: &str, events: &[&str]) -> (String, String) {
        let (status, made) = self.post("/api/v1/webhooks", &json!({"url": url, "events": events})).await;
        assert_eq!(status, 201, "{made}");
        (made["data"]["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
    }

    async fn log(&self, webhook: &str) -> Vec<Value> {
        let (status, body) = self.get(&format!("/api/v1/webhooks/{webhook}/deliveries")).await;
        assert_eq!(status, 200, "{body}");
        body["data"].as_array().unwrap().clone()
    }

    async fn update(&self, webhook: &str, body: Value) -> Answer {
        self.request("PATCH", &format!("/api/v1/webhooks/{webhook}"), &[], Some(&body.to_string())).await
    }
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_job_is_told_of_signed_once_and_to_nobody_else() {
    let world = World::with(PRIVATE).await;
    let island = world.island("palma", "2", 5).await.works_by_itself();
    let (ana, ben) = (world.user("ana", "100").await, world.user("ben", "100").await);
    let (hers, failures, his) = (Receiver::new().await, Receiver::new().await, Receiver::new().await);
    let (webhook, secret) = ana.webhook(&hers.url, &[]).await;
    ana.webhook(&failures.url, &["job.failed", "key.limit_reached"]).await;
    ben.webhook(&his.url, &[]).await;

    let job = ana.job(json!({})).await;
    let ended = ana.ended(&job).await;
    let got = hers.gets(1).await.remove(0);
    assert_eq!(got.signed_with(&secret), 1, "{got:?}");
    assert!(got.id.starts_with("evt_"), "{got:?}");
    let body = got.json();
    assert_eq!(body["type"], "job.completed");
    assert_eq!(body["data"]["id"], json!(job));
    assert_eq!((&body["data"]["cost"], &body["data"]["workload"]), (&json!(2), &json!("llm-chat")), "{body}");
    assert_eq!(
        (&body["data"]["status"], &body["data"]["completed_at"]),
        (&json!("completed"), &ended["completed_at"])
    );
    let delivered =
        eventually(async || Some(ana.log(&webhook).await).filter(|log| log[0]["state"] == "delivered")).await;
    assert_eq!(delivered.len(), 1);
    let one = &delivered[0];
    assert_eq!(
        (&one["event_id"], &one["type"], &one["attempts"]),
        (&json!(got.id), &body["type"], &json!(1))
    );
    assert_eq!((&one["response_status"], &one["payload"]), (&json!(200), &body));
    assert_eq!(one["response"].as_str().unwrap().len(), 1024, "no more is kept");
    assert!(one["next_try_at"].is_null() && one["error"].is_null(), "{one}");

    // A limit met is told of too, to both who want it; replaying sends the same again.
    let limited = world.key_for(&ana.email, &["--limit-day", "1"]).await;
    assert_eq!(limited.submit(json!({})).await.0, 402);
    let met = failures.gets(1).await.remove(0).json();
    assert_eq!((&met["type"], &met["data"]["period"]), (&json!("key.limit_reached"), &json!("day")), "{met}");
    assert_eq!((&met["data"]["limit"], &met["data"]["used"]), (&json!(1), &json!(0)));
    hers.gets(2).await;
    let path = format!("/api/v1/webhooks/{webhook}/deliveries/{}/replay", one["id"].as_str().unwrap());
    let headers = [("idempotency-key", "again")];
    let (status, again) = ana.request("POST", &path, &headers, None).await;
    assert_eq!((status, &again["data"]["event_id"]), (201, &json!(got.id)), "{again}");
    assert_eq!(ana.request("POST", &path, &headers, None).await.1, again, "asked twice, sent once");
    let replayed = hers.gets(3).await.remove(2);
    assert_eq!((&replayed.id, &replayed.body), (&got.id, &got.body));

    // Two secrets sign while one takes the place of the other.
    let rotate = format!("/api/v1/webhooks/{webhook}/rotate");
    let (status, rotated) = ana.post(&rotate, &json!({"grace_seconds": 600})).await;
    assert_eq!(status, 200, "{rotated}");
    let new = rotated["secret"].as_str().unwrap();
    let (status, sent) = ana.post(&format!("/api/v1/webhooks/{webhook}/test"), &json!({})).await;
    assert_eq!((status, &sent["data"]["type"]), (201, &json!("webhook.test")), "{sent}");
    let both = hers.gets(4).await.remove(3);
    assert_eq!((both.signed_with(new), both.signed_with(&secret)), (1, 1), "{both:?}");
    let (_, rotated) = ana.request("POST", &rotate, &[], Some(r#"{"grace_seconds":0}"#)).await;
    ana.post(&format!("/api/v1/webhooks/{webhook}/test"), &json!({})).await;
    let last = hers.gets(5).await.remove(4);
    let newest = rotated["secret"].as_str().unwrap();
    assert_eq!((last.signed_with(newest), last.signed_with(new), last.signed_with(&secret)), (1, 0, 0));
    assert_eq!((hers.got().len(), failures.got().len(), his.got().len()), (5, 1, 0));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again_and_survives_a_kill() {
    let mut world = World::with(PRIVATE).await;
    let mut ana = world.user("ana", "10").await;
    let (dead, alive) = (Receiver::new().await, Receiver::new().await);
    dead.answers([0]);
    let (slow, _) = ana.webhook(&dead.url, &[]).await;
    let (webhook, secret) = ana.webhook(&alive.url, &[]).await;
    ana.post(&format!("/api/v1/webhooks/{slow}/test"), &json!({})).await;
    dead.gets(1).await;
    // One that never answers delays no other.
    alive.answers([500]);
    ana.post(&format!("/api/v1/webhooks/{webhook}/test"), &json!({})).await;
    let first = alive.gets(1).await.remove(0);
    let tried = eventually(async || {
        Some(ana.log(&webhook).await.remove(0)).filter(|one| one["response_status"] == 500)
    });
    let tried = tried.await;
    assert_eq!((&tried["state"], &tried["attempts"]), (&json!("waiting"), &json!(1)), "{tried}");
    assert!(tried["next_try_at"].is_string() && tried["error"].as_str().unwrap().contains("500"), "{tried}");
    let (_, shown) = ana.get(&format!("/api/v1/webhooks/{webhook}")).await;
    assert!(shown["data"]["failing_since"].is_string(), "{shown}");
    // The power goes before the next try.
    world.kill().await;
    assert_eq!(alive.got().len(), 1);
    world.restart().await;
    ana.moved_to(&world.url);
    let second = alive.gets(2).await.remove(1);
    assert_eq!((&second.id, &second.body, second.signed_with(&secret)), (&first.id, &first.body, 1));
    let done = eventually(async || {
        Some(ana.log(&webhook).await.remove(0)).filter(|one| one["state"] == "delivered")
    });
    assert_eq!(done.await["attempts"], json!(2));
    let (_, shown) = ana.get(&format!("/api/v1/webhooks/{webhook}")).await;
    assert!(shown["data"]["failing_since"].is_null(), "{shown}");
    world.finish().await;
}

#[tokio::test]
async fn redirects_are_not_followed_and_gone_is_gone() {
    let world = World::with(PRIVATE).await;
    let ana = world.user("ana", "10").await;
    let receiver = Receiver::new().await;
    let (webhook, _) = ana.webhook(&receiver.url, &["job.completed"]).await;
    let test = format!("/api/v1/webhooks/{webhook}/test");
    receiver.answers([302, 410]);
    ana.post(&test, &json!({})).await;
    let redirected = eventually(async || {
        Some(ana.log(&webhook).await.remove(0)).filter(|one| one["response_status"] == 302)
    });
    assert!(redirected.await["error"].as_str().unwrap().contains("not followed"));
    ana.post(&test, &json!({})).await;
    let off = eventually(async || {
        let (_, shown) = ana.get(&format!("/api/v1/webhooks/{webhook}")).await;
        (shown["data"]["enabled"] == false).then_some(shown["data"].clone())
    });
    assert!(off.await["disabled_reason"].as_str().unwrap().contains("410"));
    assert!(receiver.got().iter().all(|one| one.path == "/hook"));
    let letter = eventually(async || {
        let files = std::fs::read_dir(world.folder.path().join("mail")).into_iter().flatten();
        let mut texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        texts.find(|text| text.contains("webhook of yours was switched off"))
    });
    assert!(letter.await.contains("ana@example.org"));
    // Nothing is sent while it is off; then it is on again.
    assert_eq!(code(&ana.post(&test, &json!({})).await), (409, "webhook_off"));
    let replay = ana.log(&webhook).await.remove(0);
    let replay = format!("/api/v1/webhooks/{webhook}/deliveries/{}/replay", replay["id"].as_str().unwrap());
    assert_eq!(code(&ana.post(&replay, &json!({})).await), (409, "webhook_off"));
    let (status, on) = ana.update(&webhook, json!({"enabled": true})).await;
    assert_eq!(
        (status, &on["data"]["enabled"], &on["data"]["disabled_reason"]),
        (200, &json!(true), &Value::Null)
    );
    assert_eq!(ana.post(&replay, &json!({})).await.0, 201);
    receiver.gets(3).await;
    // Deleted is deleted.
    assert_eq!(ana.request("DELETE", &format!("/api/v1/webhooks/{webhook}"), &[], None).await.0, 200);
    assert_eq!(code(&ana.post(&test, &json!({})).await), (404, "not_found"));
    assert_eq!(ana.get(&format!("/api/v1/webhooks/{webhook}/deliveries")).await.0, 404);
    assert_eq!(ana.get("/api/v1/webhooks").await.1, json!({"data": []}));
    world.finish().await;
}

/// Whoever begins to listen through one coordinator is told at once of what ends through another.
#[tokio::test]
async fn no_coordinator_misses_who_just_began_to_listen() {
    let world = World::with(PRIVATE).await;
    let there = world.beside().await;
    let ana = world.user("ana", "100").await;
    let ben = world.user("ben", "100").await;
    let token = world.island_token("owner@example.org", "palma").await;
    let island = crate::world::FakeIsland::connect(&there.url, &token, "1", 5).await.works_by_itself();
    let mut beside = ana.clone();
    beside.moved_to(&there.url);
    // That one knows by now that Ben listens, and so who did.
    let his = Receiver::new().await;
    ben.webhook(&his.url, &[]).await;
    let mut ben = ben;
    ben.moved_to(&there.url);
    let job = ben.job(json!({})).await;
    ben.ended(&job).await;
    his.gets(1).await;
    let hers = Receiver::new().await;
    ana.webhook(&hers.url, &["job.completed"]).await;
    let job = beside.job(json!({})).await;
    let got = hers.gets(1).await.remove(0);
    assert_eq!(got.json()["data"]["id"], json!(job));
    eventually(async || (beside.ended(&job).await["status"] == "completed").then_some(())).await;
    assert_eq!(hers.got().len(), 1, "two coordinators send it once");
    island.abort();
    there.finish().await;
    world.finish().await;
}

#[tokio::test]
async fn who_may_have_which_webhooks() {
    let world = World::new().await;
    let (ana, ben) = (world.user("ana", "10").await, world.user("ben", "10").await);
    for (body, field) in [
        (json!({}), "url"),
        (json!({"url": "http://example.org/"}), "url"),
        (json!({"url": "https://127.0.0.1/"}), "url"),
        (json!({"url": "https://169.254.169.254/latest/meta-data"}), "url"),
        (json!({"url": "https://[::ffff:10.0.0.1]/"}), "url"),
        (json!({"url": "https://localhost/"}), "url"),
        (json!({"url": 7}), "url"),
        (json!({"url": format!("https://example.org/{}", "x".repeat(3000))}), "url"),
        (json!({"url": "https://example.org/", "events": "job.completed"}), "events"),
        (json!({"url": "https://example.org/", "events": ["job.finished"]}), "events"),
        (json!({"url": "https://example.org/", "description": "x".repeat(201)}), "description"),
        (json!({"url": "https://example.org/", "enabled": "yes"}), "enabled"),
        (json!({"url": "https://example.org/", "secret": "mine"}), "secret"),
    ] {
        let refused = ana.post("/api/v1/webhooks", &body).await;
        assert_eq!((refused.0, &refused.1["error"]["param"]), (422, &json!(field)), "{body}: {refused:?}");
    }
    let url = "https://example.org/hooks";
    let headers = [("idempotency-key", "one")];
    let body =
        json!({"url": url, "events": ["job.failed", "job.failed"], "description": "alarms"}).to_string();
    let (status, made) = ana.request("POST", "/api/v1/webhooks", &headers, Some(&body)).await;
    assert_eq!((status, &made["data"]["events"]), (201, &json!(["job.failed"])), "{made}");
    assert_eq!(
        ana.request("POST", "/api/v1/webhooks", &headers, Some(&body)).await.1,
        made,
        "with its secret"
    );
    let webhook = made["data"]["id"].as_str().unwrap();
    let path = format!("/api/v1/webhooks/{webhook}");
    assert!(ana.get(&path).await.1["data"].get("secret").is_none());
    // Neither another nor a key that was given away for something else.
    let reader = world.key_for(&ana.email, &["--scopes", "read"]).await;
    let limited = world.key_for(&ana.email, &["--limit", "5"]).await;
    let manager = world.key_for(&ana.email, &["--scopes", "manage"]).await;
    for (method, path, body) in [
        ("GET", path.clone(), None),
        ("PATCH", path.clone(), Some("{}")),
        ("POST", format!("{path}/rotate"), None),
        ("POST", format!("{path}/test"), None),
        ("GET", format!("{path}/deliveries"), None),
        ("POST", format!("{path}/deliveries/dlv_0000000000001/replay"), None),
        ("DELETE", path.clone(), None),
    ] {
        let refused = ben.request(method, &path, &[], body).await;
        assert_eq!(code(&refused), (404, "not_found"), "{method} {path}: {refused:?}");
        assert_eq!(
            code(&reader.request(method, &path, &[], body).await),
            (403, "missing_scope"),
            "{method} {path}"
        );
        if method != "GET" {
            let refused = limited.request(method, &path, &[], body).await;
            assert_eq!(code(&refused), (403, "limited_key"), "{method} {path}: {refused:?}");
        }
    }
    assert_eq!(manager.get(&path).await.0, 200);
    assert_eq!(
        manager.update(webhook, json!({"description": "x", "events": []})).await.1["data"]["events"],
        json!([])
    );
    for body in [json!({"url": "https://10.0.0.1/"}), json!({"events": ["x"]}), json!({"enabled": 1})] {
        assert_eq!(manager.update(webhook, body.clone()).await.0, 422, "{body}");
    }
    assert_eq!(ana.get(&format!("{path}/deliveries?cursor=nope")).await.0, 422);
    for _ in 1..10 {
        ana.webhook(url, &[]).await;
    }
    let refused = ana.post("/api/v1/webhooks", &json!({"url": url})).await;
    assert_eq!(code(&refused), (409, "too_many_webhooks"));
    assert_eq!(ana.get("/api/v1/webhooks").await.1["data"].as_array().unwrap().len(), 10);
    let (_, events) = ana.get("/api/v1/webhooks/events").await;
    assert!(events["data"].as_array().unwrap().iter().any(|event| event["type"] == "payout.paid"));
    world.finish().await;
}

/// Incident 82: of a balance that runs low, programs hear too.
#[tokio::test]
async fn incident_082_a_low_balance_is_told_to_programs() {
    let world = World::with(PRIVATE).await;
    let island = world.island("palma", "2", 5).await.works_by_itself();
    let ana = world.user("ana", "6").await;
    let receiver = Receiver::new().await;
    ana.webhook(&receiver.url, &["balance.low", "balance.exhausted"]).await;
    let (status, body) =
        ana.request("PUT", "/api/v1/credits/alerts", &[], Some(r#"{"thresholds":[0,5]}"#)).await;
    assert_eq!(status, 200, "{body}");
    let job = ana.job(json!({})).await;
    ana.ended(&job).await;
    let low = receiver.gets(1).await.remove(0).json();
    assert_eq!(low["type"], "balance.low");
    assert_eq!((&low["data"]["available"], &low["data"]["threshold"]), (&json!(4), &json!(5)), "{low}");
    for _ in 0..2 {
        let job = ana.job(json!({})).await;
        ana.ended(&job).await;
    }
    let none = receiver.gets(2).await.remove(1).json();
    assert_eq!((&none["type"], &none["data"]["available"]), (&json!("balance.exhausted"), &json!(0)));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn the_pages_make_test_and_replay() {
    let world = World::with(PRIVATE).await;
    let receiver = Receiver::new().await;
    let mut browser = Browser::new(&world.url);
    browser.sign_in("ana@example.org", world.folder.path()).await;
    let page = "/settings/webhooks";
    let refused = browser.send(page, page, &[("url", "ftp://x.example/")]).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("Must begin with https://") && refused.text.contains("ftp://x.example/"));
    let made = browser.send(page, page, &[("url", &receiver.url), ("job.completed", "yes")]).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let secret = made.text.split("id=\"secret-text\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let id = made.text.split("/settings/webhooks/ep_").nth(1).unwrap().split('"').next().unwrap();
    let one = format!("/settings/webhooks/ep_{id}");
    let tested = browser.send(&one, &format!("{one}/test"), &[]).await;
    assert_eq!(tested.location, format!("{one}?done=webhook_tested"));
    let got = receiver.gets(1).await.remove(0);
    // The page keeps entities in attributes apart, so the secret is as it was shown.
    assert_eq!(got.signed_with(&secret.replace("&#43;", "+").replace("&#x2B;", "+")), 1);
    let text = eventually(async || {
        let text = browser.get(&one).await.text;
        text.contains("delivered").then_some(text)
    });
    let text = text.await;
    assert!(text.contains("webhook.test") && text.contains("I say 200."), "{text}");
    let delivery = text.split("/deliveries/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let replayed = browser.send(&one, &format!("{one}/deliveries/{delivery}/replay"), &[]).await;
    assert_eq!(replayed.location, format!("{one}?done=webhook_replayed"));
    assert_eq!(receiver.gets(2).await[1].id, got.id);
    let saved = browser.send(&one, &one, &[("url", &receiver.url), ("description", "alarms")]).await;
    assert_eq!(saved.location, format!("{one}?done=webhook_saved"));
    let rotated = browser.send(&one, &format!("{one}/rotate"), &[("grace", "0")]).await;
    assert!(rotated.status == 200 && rotated.text.contains("whsec_"), "{}", rotated.text);
    let gone = browser.send(&one, &format!("{one}/delete"), &[]).await;
    assert_eq!(gone.location, "/settings/webhooks?done=webhook_deleted");
    assert_eq!(browser.get(&one).await.status, 404);
    world.finish().await;
}
