//! Prices by the unit: the most a job can cost is held, what was delivered is charged; quotes say so before, receipts
//! after; bids are per job, the user's own, or the Cargo's.

use serde_json::{Value, json};
use types::island_protocol::{FromIsland, Offer, ReportedUsage};

use crate::world::browser::Browser;
use crate::world::{FakeIsland, User, World};

/// A chat Cargo by tokens: four bytes are one, a prompt token a quarter, 100 tokens unless said otherwise; and one by images.
const METERED: &str = r#"
[[workloads]]
slug = "llm-chat"
name = "Chat by tokens"
description = ""
kind = "chat"
ceiling = "50"
unit = "1k_tokens"
answer_tokens = 100

[[workloads]]
slug = "sdxl"
name = "Images by size"
description = ""
kind = "image"
ceiling = "20"
unit = "image"
"#;

/// Forty bytes: ten tokens.
const PROMPT: &str = "forty bytes of prompt, which are 10 token";

fn forty() -> &'static str {
    &PROMPT[..40]
}

fn asks(max_tokens: i64) -> Value {
    json!({"input": {"prompt": forty(), "max_tokens": max_tokens}})
}

async fn done_with(island: &mut FakeIsland, work: &crate::world::island::Work, usage: Option<(u64, u64)>) {
    let usage = usage.map(|(prompt, completion)| ReportedUsage {
        prompt_tokens: Some(prompt),
        completion_tokens: Some(completion),
    });
    island.say(&FromIsland::Done { attempt_id: work.attempt, usage, finish_reason: None }).await;
}

/// Ask 10 for 1,000 tokens. At most: 10 prompt tokens at a quarter and 100 of the answer: 102.5 thousandths of 10 credits.
#[tokio::test]
async fn the_most_is_held_and_what_was_relayed_is_charged() {
    let world = World::with(METERED).await;
    let mut island = world.island("palma", "10", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(asks(100)).await;
    let work = island.work().await;
    assert_eq!(ana.credits().await, ("98.975".to_owned(), "1.025".to_owned()));
    // Twenty bytes are five tokens: 2.5 + 5 thousandths.
    island.output(work.attempt, 1, "twenty bytes of text").await;
    done_with(&mut island, &work, None).await;
    let ended = ana.ended(&job).await;
    assert_eq!((&ended["cost"], &ended["units"]), (&json!(0.075), &json!(0.0075)));
    assert_eq!(ended["usage"]["prompt_tokens"], json!(10));
    assert_eq!(ended["usage"]["completion_tokens"], json!(5));
    assert_eq!(ana.credits().await, ("99.925".to_owned(), "0".to_owned()));
    world.finish().await;
}

#[tokio::test]
async fn incident_092_an_islands_own_count_lowers_a_charge_and_never_raises_it() {
    let world = World::with(METERED).await;
    let mut island = world.island("palma", "10", 1).await;
    let ana = world.user("ana", "100").await;
    for (reported, cost) in [(Some((100_000, 100_000)), 0.075), (Some((4, 2)), 0.03), (None, 0.075)] {
        let job = ana.job(asks(100)).await;
        let work = island.work().await;
        island.output(work.attempt, 1, "twenty bytes of text").await;
        done_with(&mut island, &work, reported).await;
        assert_eq!(ana.ended(&job).await["cost"], json!(cost), "{reported:?}");
    }
    // More than was asked for is not paid for.
    let job = ana.job(asks(2)).await;
    let work = island.work().await;
    island.output(work.attempt, 1, &"x".repeat(4000)).await;
    done_with(&mut island, &work, None).await;
    assert_eq!(ana.ended(&job).await["cost"], json!(0.045));
    world.finish().await;
}

/// What had gone into the consumer's socket is charged when the Island breaks off, and only that is kept.
#[tokio::test]
async fn a_metered_job_that_breaks_costs_what_was_delivered() {
    let world = World::with(METERED).await;
    let mut island = world.island("palma", "10", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(asks(100)).await;
    let work = island.work().await;
    let mut stream = ana.stream(&job).await;
    island.output(work.attempt, 1, "eight by").await;
    assert_eq!(stream.next_of("token").await["content"], json!("eight by"));
    island.failed(work.attempt, "The card is too hot.").await;
    let ended = ana.ended(&job).await;
    assert_eq!(
        (&ended["status"], &ended["cost"], &ended["output"]),
        (&json!("failed"), &json!(0.045), &json!("eight by"))
    );

    // Whoever waits for the whole answer has got nothing of it: nothing is charged or kept.
    let body = json!({"model": "llm-chat", "messages": [{"role": "user", "content": forty()}]});
    let asking = tokio::spawn({
        let ana = ana.clone();
        async move { ana.post("/v1/chat/completions", &body).await }
    });
    let work = island.work().await;
    island.output(work.attempt, 1, "eight by").await;
    island.failed(work.attempt, "The card is too hot.").await;
    assert!(asking.await.unwrap().0 >= 400);
    let (_, jobs) = ana.get("/api/v1/jobs").await;
    let last = &jobs["data"][0];
    assert_eq!(
        (&last["status"], &last["cost"], &last["output"]),
        (&json!("failed"), &json!(0), &json!(null))
    );
    world.finish().await;
}

#[tokio::test]
async fn a_consumer_who_cancels_pays_for_what_was_delivered() {
    let world = World::with(METERED).await;
    let mut island = world.island("palma", "10", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(asks(100)).await;
    let work = island.work().await;
    let mut stream = ana.stream(&job).await;
    island.output(work.attempt, 1, "eight by").await;
    stream.next_of("token").await;
    let (status, body) = ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    assert_eq!((status, &body["data"]["cost"]), (200, &json!(0.045)));
    island.told_to_stop(work.attempt).await;
    // What comes after that is nobody's, and costs nothing.
    island.output(work.attempt, 2, &"x".repeat(400)).await;
    island.failed(work.attempt, "stopped").await;
    assert_eq!(ana.ended(&job).await["cost"], json!(0.045));
    world.finish().await;
}

/// Incident 63: streamed or not, the same answer costs the same.
#[tokio::test]
async fn incident_063_a_streamed_answer_costs_what_a_whole_one_does() {
    let world = World::with(METERED).await;
    let island = world.island("palma", "10", 4).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    let body = json!({"model": "llm-chat", "messages": [{"role": "user", "content": forty()}]});
    let (status, whole) = ana.post("/v1/chat/completions", &body).await;
    assert_eq!(status, 200, "{whole}");
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let mut stream = ana.chat_stream(&streamed).await;
    let mut cost = Value::Null;
    while let Some(chunk) = stream.next().await {
        if chunk.get("usage").is_some_and(Value::is_object) {
            cost = chunk["usage"]["credits_used"].clone();
        }
    }
    assert!(whole["usage"]["credits_used"].as_f64().unwrap() > 0.0);
    assert_eq!(cost, whole["usage"]["credits_used"]);
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn an_image_costs_by_its_size_and_steps() {
    let world = World::with(METERED).await;
    let token = world.island_token("naxos-owner@example.org", "naxos").await;
    let offer = Offer { workload: "sdxl".to_owned(), ask: "10".to_owned(), slots: 1, models: Vec::new() };
    let mut island = FakeIsland::offering(&world.url, &token, offer).await;
    let ana = world.user("ana", "100").await;
    // A quarter of the usual pixels, half of the usual steps.
    let input = json!({"prompt": "a cat", "width": 512, "height": 512, "steps": 15});
    let (status, body) = ana.submit(json!({"workload": "sdxl", "input": input})).await;
    assert_eq!(status, 201, "{body}");
    let job = body["data"]["id"].as_str().unwrap().to_owned();
    let work = island.work().await;
    assert_eq!(ana.credits().await, ("98.75".to_owned(), "1.25".to_owned()));
    island.image(work.attempt, 512, 512).await;
    done_with(&mut island, &work, None).await;
    assert_eq!(ana.ended(&job).await["cost"], json!(1.25));
    world.finish().await;
}

/// A bid is for the whole job: what it means for each unit depends on how much the job can take.
#[tokio::test]
async fn incident_090_the_price_is_the_ask_and_never_above_the_bid() {
    let world = World::with(METERED).await;
    let mut island = world.island("palma", "10", 2).await;
    let ana = world.user("ana", "100").await;
    // At most 1.025: one hundredth less waits.
    let mut short = asks(100);
    short["bid_price"] = json!("1.024999");
    let (_, body) = ana.submit(short).await;
    assert_eq!((&body["data"]["status"], &body["data"]["best_ask"]), (&json!("pending"), &json!(10)));
    assert!(body["data"]["bid_gap"].as_f64().unwrap() > 0.0, "{body}");
    let waits = body["data"]["id"].as_str().unwrap().to_owned();
    let mut enough = asks(100);
    enough["bid_price"] = json!("1.025");
    let runs = ana.job(enough).await;
    let work = island.work().await;
    assert_eq!(ana.credits().await.1, "1.025");
    island.output(work.attempt, 1, "x").await;
    done_with(&mut island, &work, None).await;
    ana.ended(&runs).await;

    // Raised, it starts; it cannot be lowered, nor raised once it runs.
    let raise = format!("/api/v1/jobs/{waits}/bid");
    let (status, body) = ana.post(&raise, &json!({"bid_price": "1"})).await;
    assert_eq!((status, &body["error"]["param"]), (422, &json!("bid_price")));
    let (status, body) = ana.post(&raise, &json!({"bid_price": "1.5"})).await;
    assert_eq!((status, &body["data"]["bid_price"]), (200, &json!(1.5)), "{body}");
    let work = island.work().await;
    let (status, body) = ana.post(&raise, &json!({"bid_price": "2"})).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("not_waiting")));
    let bob = world.user("bob", "1").await;
    assert_eq!(bob.post(&raise, &json!({"bid_price": "2"})).await.0, 404);
    island.output(work.attempt, 1, "x").await;
    done_with(&mut island, &work, None).await;
    ana.ended(&waits).await;
    world.finish().await;
}

#[tokio::test]
async fn a_saved_bid_holds_where_a_job_says_nothing() {
    let world = World::new().await;
    let mut island = world.island("palma", "3", 1).await;
    let ana = world.user("ana", "100").await;
    let put = |bid: Value| {
        let ana = ana.clone();
        async move {
            let body = json!({"bid_price": bid}).to_string();
            ana.request("PUT", "/api/v1/market/bids/llm-chat", &[], Some(&body)).await
        }
    };
    for wrong in [json!(0), json!("-1"), json!("x"), json!(null)] {
        assert_eq!(put(wrong.clone()).await.0, 422, "{wrong}");
    }
    assert_eq!(put(json!("2.5")).await.1["data"]["bid_price"], json!(2.5));
    let (_, body) = ana.submit(json!({})).await;
    assert_eq!(
        (&body["data"]["status"], &body["data"]["bid_price"], &body["data"]["bid_source"]),
        (&json!("pending"), &json!(2.5), &json!("preference"))
    );
    let low = body["data"]["id"].as_str().unwrap().to_owned();
    // What a job says goes before; without either the Cargo's ceiling holds.
    let (_, body) = ana.submit(json!({"bid_price": 3})).await;
    assert_eq!(
        (&body["data"]["status"], &body["data"]["bid_source"]),
        (&json!("running"), &json!("explicit"))
    );
    let high = body["data"]["id"].as_str().unwrap().to_owned();
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    ana.ended(&high).await;
    ana.request("DELETE", &format!("/api/v1/jobs/{low}"), &[], None).await;
    let (status, body) = ana.request("DELETE", "/api/v1/market/bids/llm-chat", &[], None).await;
    assert_eq!(
        (status, &body["data"]["bid_price"], &body["data"]["ceiling"]),
        (200, &json!(null), &json!(5))
    );
    let (_, body) = ana.submit(json!({})).await;
    assert_eq!(body["data"]["bid_source"], json!("ceiling"));
    let job = body["data"]["id"].as_str().unwrap().to_owned();
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    ana.ended(&job).await;
    world.finish().await;
}

#[tokio::test]
async fn a_quote_says_what_a_job_would_cost_and_whether_it_would_wait() {
    let world = World::with(METERED).await;
    let ana = world.user("ana", "100").await;
    let quote = |more: Value| {
        let ana = ana.clone();
        async move {
            let mut body = json!({"workload": "llm-chat"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let (status, answer) = ana.post("/api/v1/market/quote", &body).await;
            assert_eq!(status, 200, "{answer}");
            answer["data"].clone()
        }
    };
    let nobody = quote(asks(100)).await;
    assert_eq!(
        (&nobody["best_ask"], &nobody["price"], &nobody["wait_secs"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(nobody["worst_case"], nobody["bid_price"]);

    let mut island = world.island("palma", "10", 1).await;
    let free = quote(asks(100)).await;
    assert_eq!(
        (&free["worst_case"], &free["wait_secs"], &free["expected"]),
        (&json!(1.025), &json!(0), &json!(null))
    );
    let job = ana.job(asks(100)).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "twenty bytes of text").await;
    done_with(&mut island, &work, None).await;
    ana.ended(&job).await;
    let known = quote(asks(100)).await;
    assert_eq!(known["expected"], json!(0.075));
    let mut low = asks(100);
    low["bid_price"] = json!(1);
    let low = quote(low).await;
    assert_eq!(
        (&low["price"], &low["bid_needed"], &low["worst_case"]),
        (&json!(null), &json!(1.025), &json!(1))
    );
    // Who may only look may ask.
    let looks = world.key_for(&ana.email, &["--scopes", "read"]).await;
    assert_eq!(looks.post("/api/v1/market/quote", &json!({"workload": "llm-chat"})).await.0, 200);
    // It holds nothing and starts nothing.
    assert_eq!(ana.credits().await, ("99.925".to_owned(), "0".to_owned()));
    // While the only Island is busy it says how long a job would wait.
    let job = ana.job(asks(100)).await;
    let work = island.work().await;
    assert!(quote(asks(100)).await["wait_secs"].as_i64().unwrap() >= 1);
    island.output(work.attempt, 1, "x").await;
    done_with(&mut island, &work, None).await;
    ana.ended(&job).await;
    for (wrong, field) in [
        (json!({"workload": "nothing"}), Value::Null),
        (json!({"workload": "llm-chat", "input": 5}), json!("input")),
    ] {
        let (status, body) = ana.post("/api/v1/market/quote", &wrong).await;
        assert!((400..500).contains(&status), "{body}");
        assert!(field.is_null() || body["error"]["param"] == field, "{body}");
    }
    world.finish().await;
}

async fn verify(world: &World, receipt: &Value, keys: &[&str]) -> (bool, Value) {
    let file = world.folder.path().join("receipt.json");
    std::fs::write(&file, receipt.to_string()).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_archipelago"));
    command.arg("verify-receipt").arg(&file).arg("--json");
    for key in keys {
        command.arg("--key").arg(key);
    }
    let output = command.output().await.unwrap();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
}

/// Who saw it: the consumer everything, the owner of the Island what was earned, a stranger nothing.
#[tokio::test]
async fn a_receipt_shows_the_match_and_can_be_checked_by_anybody() {
    let world = World::with(METERED).await;
    let _dear = world.island("dear", "12", 1).await;
    let mut palma = world.island("palma", "10", 1).await;
    let mut cheap = world.island("cheap", "8", 1).await;
    let ana = world.user("ana", "100").await;
    let first = ana.job(asks(100)).await;
    let busy = cheap.work().await;
    let job = ana.job(asks(100)).await;
    let work = palma.work().await;
    let path = format!("/api/v1/jobs/{job}/receipt");
    let (status, body) = ana.get(&path).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("not_ended")));
    palma.output(work.attempt, 1, "twenty bytes of text").await;
    done_with(&mut palma, &work, None).await;
    ana.ended(&job).await;

    let (status, body) = ana.get(&path).await;
    assert_eq!(status, 200, "{body}");
    let signed = &body["data"];
    let attempt = &signed["receipt"]["attempts"][0];
    let asks: Vec<(String, String)> = attempt["asks_considered"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ask| (ask["ask"].as_str().unwrap().to_owned(), ask["verdict"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(asks, [("8".to_owned(), "busy".to_owned()), ("10".to_owned(), "chosen".to_owned())]);
    for (field, value) in [
        ("clearing_price", "10"),
        ("hold", "1.025"),
        ("charge", "0.075"),
        ("fee", "0.0075"),
        ("island_earned", "0.0675"),
    ] {
        assert_eq!(attempt[field], json!(value), "{field}");
    }
    assert_eq!(signed["receipt"]["bid"]["source"], json!("ceiling"));
    // The same each time.
    assert_eq!(ana.get(&path).await.1["data"], *signed);

    let published = ana.get("/api/v1/receipt-keys").await.1;
    let key = published["data"][0]["public_key"].as_str().unwrap();
    let (ok, said) = verify(&world, &body, &[key]).await;
    assert!(ok, "{said}");
    assert_eq!((&said["key_trusted"], &said["faults"]), (&json!(true), &json!([])));
    assert_eq!(said["all_asks_listed"], json!(true));
    assert!(!verify(&world, signed, &["AAAA"]).await.0, "a key that nobody trusts");
    for (at, value) in [
        ("/receipt/charge", "0.05"),
        ("/receipt/attempts/0/asks_considered/0/verdict", "chosen"),
        ("/receipt/bid/total", "9"),
    ] {
        let mut forged = signed.clone();
        *forged.pointer_mut(at).unwrap() = json!(value);
        let (ok, said) = verify(&world, &forged, &[key]).await;
        assert!(!ok && !said["faults"].as_array().unwrap().is_empty(), "{at}");
    }

    // A new key signs from now on; what the old one signed can still be checked with it.
    let renewed = world.admin(&["receipt-key", "renew"]).await;
    assert_eq!(
        (renewed["keys"].as_array().unwrap().len(), &renewed["keys"][1]["public_key"]),
        (2, &json!(key))
    );
    let (_, again) = ana.get(&path).await;
    assert_eq!(again["data"]["signature"]["public_key"], renewed["keys"][0]["public_key"]);
    assert_eq!(again["data"]["receipt"], signed["receipt"]);
    assert!(verify(&world, &body, &[key]).await.0 && !verify(&world, &again, &[key]).await.0);
    let published = ana.get("/api/v1/receipt-keys").await.1;
    let newest = published["data"][0]["public_key"].as_str().unwrap();

    let owner = world.key_for("palma-owner@example.org", &[]).await;
    let (status, body) = owner.get(&path).await;
    assert_eq!(status, 200, "{body}");
    let seen = &body["data"]["receipt"];
    assert_eq!(
        (&seen["for"], &seen["attempts"][0]["island_earned"]),
        (&json!("island_owner"), &json!("0.0675"))
    );
    assert!(seen.get("bid").is_none() && seen["attempts"][0].get("asks_considered").is_none(), "{seen}");
    assert!(verify(&world, &body, &[newest]).await.0);
    let bob: User = world.user("bob", "0").await;
    assert_eq!(bob.get(&path).await.0, 404);

    cheap.output(busy.attempt, 1, "x").await;
    done_with(&mut cheap, &busy, None).await;
    ana.ended(&first).await;
    world.finish().await;
}

/// The same by hand: each Cargo has a field in the settings, and what is wrong is said beside it.
#[tokio::test]
async fn max_prices_are_kept_in_the_settings() {
    let world = World::with(&format!("{METERED}\n[mail]\ntransport = \"file\"")).await;
    let ana = world.user("ana", "0").await;
    let mut browser = Browser::new(&world.url);
    browser.sign_in(&ana.email, world.folder.path()).await;
    let wrong = browser.send("/settings", "/settings/bids", &[("llm-chat", "12"), ("sdxl", "much")]).await;
    assert!(
        wrong.status == 422
            && wrong.text.contains("Nothing was changed")
            && wrong.text.contains("value=\"much\"")
    );
    let saved = browser.send("/settings", "/settings/bids", &[("llm-chat", "12"), ("sdxl", "")]).await;
    assert_eq!((saved.status, saved.location.as_str()), (303, "/settings?done=bids_saved"));
    let (_, body) = ana.get("/api/v1/market/bids").await;
    let kept: Vec<&Value> = body["data"].as_array().unwrap().iter().map(|row| &row["bid_price"]).collect();
    assert_eq!(kept, [&json!(12), &json!(null)]);
    world.finish().await;
}
