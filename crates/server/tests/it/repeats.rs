//! Every operation that changes something, repeated: the first answer comes back to the byte, and the effect is there once (I9).

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use db::OpenOptions;
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::json;
use server::idempotency::{Answer, Before, Claim, KEPT_MS, Once, Running, forget_once};
use server::islands;
use types::time::{Clock, TestClock, Timestamp};

use crate::recipes::{Answered, Call, Listed, Scene, operations};
use crate::world::World;
use crate::world::inside::Inside;

/// What these do is seen on the page of a provider only, or by a machine that polls, or is a secret that is shown once.
const UNSEEN: &[&str] = &[
    "createPurchase",
    "endSessions",
    "openCardPortal",
    "refusePairing",
    "replaceHostToken",
    "replayWebhookDelivery",
    "rotateApiKey",
    "rotateWebhook",
    "setUpPayoutAccount",
    "startVerification",
    "testWebhook",
];

/// What is asked with a key of this name for an operation.
fn key(operation: &Listed, what: &str) -> String {
    format!("{what} {}", operation.name)
}

/// Everything about one operation; answers a call that was answered, to be repeated after a crash.
async fn check(scene: &mut Scene, all: &[Listed], operation: &Listed) -> (Call, String, Answered) {
    let name = operation.name.as_str();
    let call = scene.prepare(name, 0).await.unwrap_or_else(|| panic!("{name} has no recipe in recipes.rs"));
    assert_eq!(call.method, operation.method, "{name}");

    // Refused, it leaves its key free.
    let once = key(operation, "once");
    if operation.has_body {
        let refused = call.send_body(Some(&once), Some(&json!({"no such field": 1}))).await;
        assert!((400..500).contains(&refused.status), "{name}: {refused:?}");
        assert!(!refused.replayed, "{name}: {refused:?}");
    }

    let before = scene.state(&call.user, all).await;
    let first = call.send(Some(&once)).await;
    assert!((200..300).contains(&first.status), "{name}: {first:?}");
    assert!(!first.replayed, "{name}: {first:?}");
    let after = scene.state(&call.user, all).await;
    assert!(before != after || UNSEEN.contains(&name), "{name} changes something");

    let again = Answered { replayed: true, ..first.clone() };
    for _ in 0..2 {
        assert_eq!(call.send(Some(&once)).await, again, "{name}");
    }
    let mut others = vec![Call { path: format!("{}{}x=1", call.path, joint(&call.path)), ..call.clone() }];
    others.extend(call.other.iter().map(|other| Call { body: Some(other.clone()), ..call.clone() }));
    for other in others {
        let refused = other.send(Some(&once)).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "idempotency_key_reused"),
            "{name}: {refused:?}"
        );
    }
    scene.unchanged(&call.user, all, &after, &format!("{name}: a repetition changes nothing")).await;
    scene.calm();

    // The key of another user is another key.
    let theirs = scene.prepare(name, 1).await.unwrap();
    if theirs.user.key != call.user.key {
        let answered = theirs.send(Some(&once)).await;
        assert!((200..300).contains(&answered.status) && !answered.replayed, "{name}: {answered:?}");
    }
    scene.calm();
    together(scene, all, operation).await;
    (call, once, again)
}

/// Many at once are one: the others are told to wait, or get its answer.
async fn together(scene: &mut Scene, all: &[Listed], operation: &Listed) {
    let name = operation.name.as_str();
    let call = scene.prepare(name, 0).await.unwrap();
    let many = key(operation, "many");
    let answers = join_all((0..6).map(|_| call.send(Some(&many)))).await;
    let after = scene.state(&call.user, all).await;
    let (waited, done): (Vec<Answered>, Vec<Answered>) =
        answers.into_iter().partition(|one| one.status == 409);
    assert!(waited.iter().all(|one| one.code() == "in_flight"), "{name}: {waited:?}");
    assert_eq!(done.iter().filter(|one| !one.replayed).count(), 1, "{name}: {done:?}");
    let texts: BTreeSet<(u16, &str)> = done.iter().map(|one| (one.status, one.text.as_str())).collect();
    assert_eq!(texts.len(), 1, "{name}: {done:?}");
    let again = call.send(Some(&many)).await;
    assert!(again.replayed && texts.contains(&(again.status, again.text.as_str())), "{name}: {again:?}");
    scene.unchanged(&call.user, all, &after, name).await;
    scene.calm();
}

fn joint(path: &str) -> char {
    if path.contains('?') { '&' } else { '?' }
}

#[tokio::test]
async fn every_operation_repeated_gets_the_first_answer() {
    let mut scene = Scene::open().await;
    let all = operations(&scene.world).await;
    let repeatable: Vec<Listed> = all.iter().filter(|one| one.repeatable).cloned().collect();
    assert!(repeatable.len() > 30, "{repeatable:?}");
    let mut answered = Vec::new();
    let mut broken = Vec::new();
    for operation in &repeatable {
        // All of them are tried, so that one run tells of all that is broken.
        match AssertUnwindSafe(check(&mut scene, &all, operation)).catch_unwind().await {
            Ok(one) => answered.push(one),
            Err(_) => broken.push(&operation.name),
        }
        scene.calm();
    }
    assert!(broken.is_empty(), "{broken:?}");
    // A last one, killed right after its answer; then all of them again.
    let last = Call { path: "/api/v1/hosts".to_owned(), ..answered[0].0.clone() };
    let last = Call { method: "POST".to_owned(), body: Some(json!({"name": "last"})), ..last };
    let first = last.send(Some("last")).await;
    scene.world.kill().await;
    assert_eq!(first.status, 201, "{first:?}");
    answered.push((last, "last".to_owned(), Answered { replayed: true, ..first }));
    scene.world.restart().await;
    for (mut call, once, again) in answered {
        call.user.moved_to(&scene.world.url);
        assert_eq!(call.send(Some(&once)).await, again, "{} {} after a crash", call.method, call.path);
    }
    scene.finish().await;
}

/// What is no key is refused, and so is a key that is sent twice; a large body is a body like any other.
#[tokio::test]
async fn odd_keys_and_large_bodies() {
    let world = World::new().await;
    let ana = world.user("ana", "10").await;
    let body = json!({"name": "Ana"}).to_string();
    let long = "k".repeat(256);
    for odd in ["", long.as_str()] {
        let (status, answer) =
            ana.request("PATCH", "/api/v1/account", &[("idempotency-key", odd)], Some(&body)).await;
        assert_eq!((status, &answer["error"]["param"]), (422, &json!("Idempotency-Key")), "{answer}");
    }
    let send = |keys: Vec<Vec<u8>>| {
        let mut request = ana.http().patch(format!("{}/api/v1/account", ana.url())).bearer_auth(&ana.key);
        for key in keys {
            request =
                request.header("idempotency-key", reqwest::header::HeaderValue::from_bytes(&key).unwrap());
        }
        request.header("content-type", "application/json").body(body.clone()).send()
    };
    for odd in [vec!["schlüssel".as_bytes().to_vec()], vec![b"a".to_vec(), b"b".to_vec()]] {
        assert_eq!(send(odd).await.unwrap().status(), 422);
    }
    let longest = "k".repeat(255);
    assert_eq!(
        ana.request("PATCH", "/api/v1/account", &[("idempotency-key", &longest)], Some(&body)).await.0,
        200
    );
    // Five and a half megabytes of spaces around the same wish: another request.
    let large = format!("{body}{}", " ".repeat(5_500_000));
    let key = [("idempotency-key", "large")];
    let first = ana.request("PATCH", "/api/v1/account", &key, Some(&large)).await;
    assert_eq!(first.0, 200, "{}", first.1);
    assert_eq!(ana.request("PATCH", "/api/v1/account", &key, Some(&large)).await, first);
    assert_eq!(ana.request("PATCH", "/api/v1/account", &key, Some(&body)).await.0, 422);
    let larger = format!("{body}{}", " ".repeat(6_000_001));
    let refused =
        ana.request("PATCH", "/api/v1/account", &[("idempotency-key", "larger")], Some(&larger)).await;
    assert_eq!((refused.0, &refused.1["error"]["code"]), (413, &json!("too_large")));
    world.finish().await;
}

/// The answers that show a secret are for the API key that was answered, and for no other; nothing of the secret is stored.
#[tokio::test]
async fn a_sealed_answer_is_for_who_asked() {
    let world = World::new().await;
    let ana = world.user("ana", "10").await;
    let other = world.key_for(&ana.email, &[]).await;
    let body = json!({"name": "isle"}).to_string();
    let key = [("idempotency-key", "isle")];
    let first = ana.request("POST", "/api/v1/hosts", &key, Some(&body)).await;
    let token = first.1["data"]["token"].as_str().unwrap_or_else(|| panic!("{first:?}")).to_owned();
    assert_eq!(ana.request("POST", "/api/v1/hosts", &key, Some(&body)).await, first);
    let (status, refused) = other.request("POST", "/api/v1/hosts", &key, Some(&body)).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("idempotency_key_reused")), "{refused}");
    assert!(!refused.to_string().contains(&token));
    assert_eq!(ana.get("/api/v1/hosts?mine=true").await.1["data"].as_array().unwrap().len(), 1);
    world.finish().await;
}

/// A record lives for a day, and then the key is free.
#[tokio::test]
async fn keys_are_kept_for_a_day() {
    let mut inside = Inside::open(OpenOptions::server()).await;
    let clock = Arc::new(TestClock::new(Timestamp::from_millis(1_795_694_400_000)));
    Arc::get_mut(&mut inside.app).unwrap().clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let ana = inside.user("ana").await;
    let app = &*inside.app;
    let claim = || Claim::new(ana.id, "k".to_owned(), "hash".to_owned(), None);
    let make = async || {
        let once = Once::new(Some(claim()), |(id, _): &(types::id::IslandId, String)| Answer::created(id));
        islands::create(app, &ana, "isle", false, &once).await.unwrap().0
    };
    let first = make().await;
    clock.advance_millis(KEPT_MS - 1);
    forget_once(app).await.unwrap();
    match claim().before(app).await.unwrap() {
        Before::Answered(answer) => assert_eq!(answer, Answer::created(&first)),
        other => panic!("{other:?}"),
    }
    clock.advance_millis(1);
    forget_once(app).await.unwrap();
    assert!(matches!(claim().before(app).await.unwrap(), Before::Nothing));
    assert_ne!(make().await, first, "another one");
    inside.finish().await;
}

/// Two coordinators that are asked the same in one moment: one makes it, and the other knows.
#[tokio::test]
async fn two_coordinators_at_once_do_it_once() {
    let one = Inside::open(OpenOptions::server()).await;
    let two = one.beside().await;
    let ana = one.user("ana").await;
    for round in 0..10 {
        let claims = [(), ()].map(|()| Claim::new(ana.id, format!("k{round}"), "hash".to_owned(), None));
        let make = async |app, claim: &Claim| {
            let once =
                Once::new(Some(claim.clone()), |(id, _): &(types::id::IslandId, String)| Answer::created(id));
            islands::create(app, &ana, "isle", false, &once).await.map(|(id, _)| id)
        };
        let (first, second) = tokio::join!(make(&one.app, &claims[0]), make(&two.app, &claims[1]));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        assert_eq!([claims[0].is_taken(), claims[1].is_taken()], [first.is_err(), second.is_err()]);
        let Before::Answered(answer) = claims[usize::from(first.is_ok())].before(&two.app).await.unwrap()
        else {
            panic!("the answer of the other is there");
        };
        assert_eq!(answer, Answer::created(&first.or(second).unwrap()));
        assert_eq!(islands::mine(&one.app, &ana).await.unwrap().len(), round + 1);
    }
    one.finish().await;
}

/// What is written after its effect, by two coordinators in one moment, is written once too.
#[tokio::test]
async fn an_answer_that_is_kept_is_kept_once() {
    let one = Inside::open(OpenOptions::server()).await;
    let two = one.beside().await;
    let ana = one.user("ana").await;
    let claims = [(), ()].map(|()| Claim::new(ana.id, "k".to_owned(), "hash".to_owned(), None));
    let keep = async |app, claim: &Claim, value: &str| {
        let once = Once::new(Some(claim.clone()), |value: &String| Answer::ok(value));
        once.keep(app, value.to_owned()).await
    };
    let (first, second) = tokio::join!(keep(&one.app, &claims[0], "one"), keep(&two.app, &claims[1], "two"));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let Before::Answered(answer) = claims[0].before(&one.app).await.unwrap() else { panic!("it is there") };
    assert_eq!(answer, Answer::ok(&first.or(second).unwrap()));

    // Only one at a time is answered here; whoever is done, or broke, leaves the key to the next.
    let entry = Running::begin(&one.app, &claims[0]);
    assert!(entry.is_some() && Running::begin(&one.app, &claims[1]).is_none());
    let broken = tokio::spawn(async move {
        let _entry = entry;
        panic!("on purpose");
    });
    assert!(broken.await.unwrap_err().is_panic());
    assert!(Running::begin(&one.app, &claims[1]).is_some());
    one.finish().await;
}
