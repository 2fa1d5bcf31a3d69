//! Webhooks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use stripe_fake::{Card, Mode, StripeFake, sign};

use crate::{checkout, get};

/// What came, and what to answer.
#[derive(Default)]
struct Inbox {
    taken: Vec<(String, String)>,
    refuse: u32,
}

async fn inbox(fake: &StripeFake) -> Arc<Mutex<Inbox>> {
    let inbox = Arc::new(Mutex::new(Inbox::default()));
    let theirs = Arc::clone(&inbox);
    let take = move |headers: HeaderMap, body: String| async move {
        let mut inbox = theirs.lock().unwrap();
        if inbox.refuse > 0 {
            inbox.refuse -= 1;
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        inbox.taken.push((headers["stripe-signature"].to_str().unwrap().to_owned(), body));
        StatusCode::OK
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    fake.deliver_to(&format!("http://{}/hook", listener.local_addr().unwrap()));
    let app = Router::new().route("/hook", post(take));
    tokio::spawn(async move { axum::serve(listener, app).await });
    inbox
}

async fn paid(fake: &StripeFake) {
    let session = checkout(fake).await;
    fake.pay(&session, &Card::Ok);
}

#[tokio::test]
async fn a_storm_repeats_and_mixes_and_is_signed() {
    let fake = StripeFake::start();
    let inbox = inbox(&fake).await;
    for _ in 0..5 {
        paid(&fake).await;
    }
    let events = fake.events();
    let delivered = fake.deliver_storm(7, 5, 4).await;
    let mut times: HashMap<&str, u32> = HashMap::new();
    for one in &delivered {
        assert_eq!(one.status, 200);
        *times.entry(&one.event).or_default() += 1;
    }
    assert_eq!(times.len(), events.len());
    assert!(times.values().all(|count| (1..=5).contains(count)));
    assert!(times.values().any(|count| *count > 1));
    let inbox = inbox.lock().unwrap();
    assert_eq!(inbox.taken.len(), delivered.len());
    let mut order = Vec::new();
    for (signature, body) in &inbox.taken {
        let time =
            signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()).unwrap().parse().unwrap();
        assert_eq!(signature, &sign(fake.webhook_secret(), time, body));
        let event: Value = serde_json::from_str(body).unwrap();
        let at = events.iter().position(|one| one["id"] == event["id"]).unwrap();
        assert_eq!(events[at], event);
        order.push(at);
    }
    assert!(!order.is_sorted());
}

#[tokio::test]
async fn held_events_go_out_when_asked() {
    let fake = StripeFake::start();
    let inbox = inbox(&fake).await;
    paid(&fake).await;
    assert!(inbox.lock().unwrap().taken.is_empty());
    let count = fake.events().len();
    fake.drop_next(1);
    inbox.lock().unwrap().refuse = 1;
    let first = fake.deliver_all().await;
    assert_eq!((first[0].status, first[1].status, first[2].status), (0, 500, 200));
    assert_eq!(get(&fake, "events", "delivery_success=false").await.ids().len(), 2);
    assert_eq!(fake.deliver_all().await.len(), 2);
    assert!(fake.deliver_all().await.is_empty());
    assert_eq!(inbox.lock().unwrap().taken.len(), count);
    let id = fake.events()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(fake.deliver(&id).await.status, 200);
    assert_eq!(get(&fake, &format!("events/{id}"), "").await.body["pending_webhooks"], 0);
    let completed = get(&fake, "events", "types[]=checkout.session.completed&types[]=charge.failed").await;
    assert_eq!(completed.ids().len(), 1);
    assert_eq!(completed.body["data"][0]["data"]["object"]["payment_status"], "paid");
}

#[tokio::test]
async fn live_events_go_out_at_once_and_again() {
    let fake = StripeFake::start();
    let inbox = inbox(&fake).await;
    fake.set_mode(Mode::Live);
    inbox.lock().unwrap().refuse = 2;
    paid(&fake).await;
    let count = fake.events().len();
    for _ in 0..100 {
        if inbox.lock().unwrap().taken.len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not all events have come");
}

#[test]
fn a_signature_is_what_others_compute() {
    let signed = sign("whsec_test", 1_700_000_000, "{}");
    assert!(signed.starts_with("t=1700000000,v1=") && signed.len() == "t=1700000000,v1=".len() + 64);
}
