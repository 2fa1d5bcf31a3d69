//! Pairing: through the doors that a machine and its owner use, and with a clock that is a parameter.

use db::OpenOptions;
use serde_json::{Value, json};
use server::idempotency::Once;
use server::islands::pairing::{self, CODE_MS, Machine, PairingError, Polled};
use types::island_protocol::{Capabilities, ToIsland};

use crate::world::browser::Browser;
use crate::world::inside::Inside;
use crate::world::island::hello;
use crate::world::{FakeIsland, World};

const FILES: &str = "[mail]\ntransport = \"file\"";

async fn post(world: &World, path: &str, body: &Value, from: &str) -> (u16, Value) {
    let request = world.http.post(format!("{}{path}", world.url)).header("x-forwarded-for", from);
    let answer = request.header("content-type", "application/json").body(body.to_string()).send();
    let answer = answer.await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn begin(world: &World, from: &str) -> (u16, Value) {
    let public = json!({"gpu_model": "RTX <b>4090</b>", "gpu_vram_mb": 24_576, "region": "eu-south"});
    let body = json!({"name": "ana's box", "agent_version": "1.2.0", "public": public});
    post(world, "/api/v1/pairing", &body, from).await
}

async fn poll(world: &World, begun: &Value) -> (u16, Value) {
    post(world, "/api/v1/pairing/poll", &json!({"poll_token": begun["poll_token"]}), "192.0.2.1").await
}

async fn signed_in(world: &World, email: &str) -> Browser {
    let mut browser = Browser::new(&world.url);
    browser.sign_in(email, world.folder.path()).await;
    browser
}

#[tokio::test]
async fn a_machine_is_paired_and_connects() {
    let world = World::with(FILES).await;
    let (status, begun) = begin(&world, "203.0.113.7, 198.51.100.9").await;
    assert_eq!((status, &begun["expires_in_seconds"]), (201, &json!(600)), "{begun}");
    assert_eq!(begun["pair_url"], json!(format!("{}/pair", world.url)));
    let code = begun["code"].as_str().unwrap();
    assert_eq!(poll(&world, &begun).await, (202, json!({"status": "waiting"})));

    // Whoever is not signed in does so first; then the code is filled in, and nothing is done.
    let mut stranger = Browser::new(&world.url);
    let sent = stranger.get(&format!("/pair?code={code}")).await;
    assert_eq!((sent.status, sent.location.starts_with("/login?next=")), (303, true));
    let mut ana = signed_in(&world, "ana@example.org").await;
    assert!(ana.get(&format!("/pair?code={code}")).await.text.contains(&format!("value=\"{code}\"")));
    assert_eq!(poll(&world, &begun).await.0, 202);

    // As people write it.
    let written = format!("{}-{}", &code[..3], &code[3..]).to_lowercase();
    let asked = ana.send("/pair", "/pair", &[("code", &written)]).await;
    assert_eq!(asked.status, 200);
    for shown in ["Is this your machine", "198.51.100.9", "1.2.0", "24576 MiB", "eu-south", "ana-s box"] {
        assert!(asked.text.contains(shown), "{shown}");
    }
    assert!(!asked.text.contains("<b>4090</b>"), "what a machine says is text");
    let wrong = ana.send("/pair", "/pair/confirm", &[("code", code), ("name", "<x>")]).await;
    assert!(wrong.status == 422 && wrong.text.contains("Is this your machine"));
    let done = ana.send("/pair", "/pair/confirm", &[("code", code), ("name", "Palma")]).await;
    assert!(done.status == 200 && done.text.contains("Palma is yours") && done.text.contains("/islands"));

    let (status, given) = poll(&world, &begun).await;
    assert_eq!((status, &given["status"], &given["name"]), (200, &json!("paired"), &json!("Palma")));
    // The answer may have been lost: it is given again, the same one, until the Island connects.
    assert_eq!(poll(&world, &begun).await, (200, given.clone()));
    let token = given["token"].as_str().unwrap();
    let (_island, answer) = FakeIsland::greet(&world.url, token, &hello("1", 1)).await;
    match answer {
        Some(ToIsland::Welcome { island_id, name, .. }) => {
            assert_eq!((json!(island_id), name.as_str()), (given["island_id"].clone(), "Palma"));
        }
        other => panic!("{other:?}"),
    }
    let (status, over) = poll(&world, &begun).await;
    assert_eq!((status, &over["status"]), (410, &json!("expired")));
    assert!(ana.get("/islands").await.text.contains("Palma"));
    // A code works once.
    assert_eq!(ana.send("/pair", "/pair", &[("code", code)]).await.status, 422);
    world.finish().await;
}

#[tokio::test]
async fn who_says_no_turns_the_machine_away() {
    let world = World::with(FILES).await;
    let (_, begun) = begin(&world, "203.0.113.7").await;
    let mut ana = signed_in(&world, "ana@example.org").await;
    let code = begun["code"].as_str().unwrap();
    let refused = ana.send("/pair", "/pair/refuse", &[("code", code)]).await;
    assert_eq!((refused.status, refused.location.as_str()), (303, "/islands?done=pairing_refused"));
    let (status, body) = poll(&world, &begun).await;
    assert_eq!((status, &body["status"]), (403, &json!("refused")));
    assert_eq!(ana.send("/pair", "/pair/confirm", &[("code", code), ("name", "x")]).await.status, 422);
    world.finish().await;
}

#[tokio::test]
async fn codes_are_limited_by_address_and_guesses_by_user() {
    let world = World::with(FILES).await;
    for _ in 0..10 {
        assert_eq!(begin(&world, "203.0.113.7").await.0, 201);
    }
    let (status, body) = begin(&world, "203.0.113.7").await;
    assert_eq!((status, &body["code"]), (429, &json!("too_many_pairings")));
    let (status, begun) = begin(&world, "203.0.113.8").await;
    assert_eq!(status, 201, "another address is not disturbed");

    let mut mallory = signed_in(&world, "mallory@example.org").await;
    for number in 0..10 {
        let guess = format!("ABCDE{}", ["2", "3", "4", "5", "6", "7", "8", "9", "A", "B"][number]);
        assert_eq!(mallory.send("/pair", "/pair", &[("code", &guess)]).await.status, 422, "{guess}");
    }
    // Not even the right one helps any more.
    let code = begun["code"].as_str().unwrap();
    for path in ["/pair", "/pair/confirm", "/pair/refuse"] {
        assert_eq!(mallory.send("/pair", path, &[("code", code), ("name", "x")]).await.status, 429, "{path}");
    }
    assert_eq!(poll(&world, &begun).await.0, 202);
    let mut ana = signed_in(&world, "ana@example.org").await;
    assert_eq!(ana.send("/pair", "/pair", &[("code", code)]).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn nonsense_is_refused_and_changes_nothing() {
    let world = World::with(FILES).await;
    for (path, body, status) in [
        ("/api/v1/pairing", json!([1]), 400),
        ("/api/v1/pairing", json!({"name": 5}), 422),
        ("/api/v1/pairing", json!({"name": "a\u{0}b"}), 422),
        ("/api/v1/pairing", json!({"public": "x", "name": "\u{202e}"}), 201),
        ("/api/v1/pairing/poll", json!({}), 422),
        ("/api/v1/pairing/poll", json!({"poll_token": "pt_x"}), 410),
    ] {
        let (found, answer) = post(&world, path, &body, "192.0.2.5").await;
        assert_eq!(found, status, "{body}: {answer}");
    }
    let mut ana = signed_in(&world, "ana@example.org").await;
    for code in ["", "x", "%00", "ABCDEFG"] {
        let status = ana.send("/pair", "/pair", &[("code", code)]).await.status;
        assert!((400..500).contains(&status), "{code}: {status}");
    }
    assert_eq!(ana.get("/pair?code=%3Cscript%3E").await.status, 200);
    world.finish().await;
}

fn machine(address: &str) -> Machine {
    Machine::new("box", "1", Capabilities::default(), address.to_owned())
}

#[tokio::test]
async fn a_code_is_good_for_ten_minutes_and_so_is_the_way_to_its_token() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (app, ana) = (&inside.app, inside.user("ana").await);
    let now = app.clock.now();
    let (just, over) = (now.plus_millis(CODE_MS - 1), now.plus_millis(CODE_MS));
    let late = pairing::begin(app, machine("a"), now).await.unwrap();
    assert!(pairing::look(app, &ana, &late.code, just).await.is_ok());
    assert!(matches!(pairing::look(app, &ana, &late.code, over).await, Err(PairingError::Unknown)));
    let confirmed = pairing::confirm(app, &ana, &late.code, "x", over, &Once::unclaimed()).await;
    assert!(matches!(confirmed, Err(PairingError::Unknown)));
    assert_eq!(pairing::poll(app, &late.poll_token, just).await.unwrap(), Polled::Waiting);
    assert_eq!(pairing::poll(app, &late.poll_token, over).await.unwrap(), Polled::Expired);
    // Long after, it is not even known; and an address has room again.
    for _ in 0..10 {
        pairing::begin(app, machine("a"), over).await.unwrap();
    }
    let full = pairing::begin(app, machine("a"), over).await;
    assert!(matches!(full, Err(PairingError::TooManyOpen)));

    let begun = pairing::begin(app, machine("b"), now).await.unwrap();
    pairing::confirm(app, &ana, &begun.code, "Palma", just, &Once::unclaimed()).await.unwrap();
    let last = just.plus_millis(CODE_MS - 1);
    assert!(matches!(pairing::poll(app, &begun.poll_token, last).await.unwrap(), Polled::Paired { .. }));
    let gone = just.plus_millis(CODE_MS);
    assert_eq!(pairing::poll(app, &begun.poll_token, gone).await.unwrap(), Polled::Expired);
    inside.finish().await;
}

#[tokio::test]
async fn two_who_claim_a_machine_at_once_do_not_both_get_it() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (app, ana, bob) = (&inside.app, inside.user("ana").await, inside.user("bob").await);
    for round in 0..8 {
        let now = app.clock.now();
        let begun = pairing::begin(app, machine(&round.to_string()), now).await.unwrap();
        let once = Once::unclaimed();
        let (one, other) = tokio::join!(
            pairing::confirm(app, &ana, &begun.code, "ana box", now, &once),
            pairing::confirm(app, &bob, &begun.code, "bob box", now, &once)
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        let winner = one.or(other).unwrap();
        // Two polls at once are given the same token.
        let (first, second) = tokio::join!(
            pairing::poll(app, &begun.poll_token, now),
            pairing::poll(app, &begun.poll_token, now)
        );
        let first = first.unwrap();
        assert_eq!(first, second.unwrap());
        let Polled::Paired { token, island, name } = first else { panic!("{first:?}") };
        assert_eq!((island, name), winner);
        let found = server::islands::by_token(app, &token).await.unwrap().unwrap();
        assert_eq!(found.id, island);
    }
    inside.finish().await;
}

/// A token that the owner made meanwhile is not put back to the machine's.
#[tokio::test]
async fn a_token_that_was_replaced_is_not_given_again() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (app, ana) = (&inside.app, inside.user("ana").await);
    let now = app.clock.now();
    let begun = pairing::begin(app, machine("a"), now).await.unwrap();
    let (island, _) =
        pairing::confirm(app, &ana, &begun.code, "Palma", now, &Once::unclaimed()).await.unwrap();
    assert!(matches!(pairing::poll(app, &begun.poll_token, now).await.unwrap(), Polled::Paired { .. }));
    let new = server::islands::rotate(app, &ana, island, 0, &Once::unclaimed()).await.unwrap();
    assert_eq!(pairing::poll(app, &begun.poll_token, now).await.unwrap(), Polled::Expired);
    assert!(server::islands::by_token(app, &new).await.unwrap().is_some());
    inside.finish().await;
}
