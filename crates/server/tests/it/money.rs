//! Who pays what: once, exactly, never below zero.

use serde_json::{Value, json};

use crate::world::{FakeIsland, World};

#[tokio::test]
async fn incident_001_two_jobs_at_once_with_credits_for_one() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 10).await;
    let ana = world.user("ana", "1").await;
    let (one, two) = tokio::join!(ana.submit(json!({})), ana.submit(json!({})));
    let mut statuses = [one.0, two.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 402], "{one:?} {two:?}");
    let refusal = if one.0 == 402 { &one.1 } else { &two.1 };
    let error = &refusal["error"];
    assert_eq!((&error["code"], &error["required"]), (&json!("insufficient_credits"), &json!(1)));
    assert_eq!((&error["available"], &error["reason"]), (&json!(0), &json!("balance")));

    // One call reaches an Island; the charge is the price, split to the micro-credit.
    let work = island.work().await;
    assert_eq!(work.earns, 900_000);
    assert_eq!(ana.credits().await, ("0".to_owned(), "1".to_owned()));
    island.output(work.attempt, 1, "hello").await;
    island.done(work.attempt).await;
    let accepted = if one.0 == 201 { &one.1 } else { &two.1 };
    let job = ana.ended(accepted["data"]["id"].as_str().unwrap()).await;
    assert_eq!(
        (&job["status"], &job["cost"], &job["output"]),
        (&json!("completed"), &json!(1), &json!("hello"))
    );
    assert_eq!(ana.credits().await, ("0".to_owned(), "0".to_owned()));
    assert_eq!(world.account("palma-owner").await["earnings"], json!(0.9));
    world.finish().await;
}

async fn a_hundred_at_once(slots: u32) {
    let world = World::new().await;
    let island = world.island("palma", "1", slots).await.works_by_itself();
    let ana = world.user("ana", "37").await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let ana = ana.clone();
            tokio::spawn(async move {
                let (status, body) = ana.submit(json!({})).await;
                if status == 402 {
                    return "insufficient_credits".to_owned();
                }
                assert_eq!(status, 201, "{body}");
                let job = ana.ended(body["data"]["id"].as_str().unwrap()).await;
                match job["status"].as_str().unwrap() {
                    "completed" => "completed".to_owned(),
                    _ => job["error_code"].as_str().unwrap().to_owned(),
                }
            })
        })
        .collect();
    let mut completed = 0;
    for task in tasks {
        match task.await.unwrap().as_str() {
            "completed" => completed += 1,
            code => assert_eq!(code, "insufficient_credits"),
        }
    }
    assert_eq!(completed, 37);
    assert_eq!(ana.credits().await, ("0".to_owned(), "0".to_owned()));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn a_hundred_at_once_with_credits_for_37() {
    a_hundred_at_once(200).await;
}

#[tokio::test]
async fn a_hundred_at_once_with_credits_for_37_and_three_slots() {
    a_hundred_at_once(3).await;
}

#[tokio::test]
async fn incident_003_a_keys_limit_counts_held_and_spent_at_once() {
    let world = World::new().await;
    let mut island = world.island("palma", "2", 10).await;
    let ana = world.user("ana", "100").await;
    let limited = world.key_for(&ana.email, &["--limit", "5"]).await;
    let answers = futures_util::future::join_all((0..10).map(|_| limited.submit(json!({})))).await;
    let taken: Vec<&Value> =
        answers.iter().filter(|(status, _)| *status == 201).map(|(_, body)| body).collect();
    assert_eq!(taken.len(), 2);
    for (_, body) in answers.iter().filter(|(status, _)| *status != 201) {
        assert_eq!((&body["error"]["reason"], &body["error"]["available"]), (&json!("key_limit"), &json!(1)));
    }
    // It cannot make itself another key with another limit.
    let (status, body) = limited.post("/api/v1/api-keys", &json!({"name": "child"})).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("limited_key")));
    // The account's own key is not bound by it.
    assert_eq!(ana.submit(json!({})).await.0, 201);
    for _ in 0..3 {
        let work = island.work().await;
        island.output(work.attempt, 1, "x").await;
        island.done(work.attempt).await;
    }
    for job in taken {
        limited.ended(job["data"]["id"].as_str().unwrap()).await;
    }
    assert_eq!(limited.submit(json!({})).await.0, 402);
    world.finish().await;
}

#[tokio::test]
async fn the_cheapest_available_island_within_the_bid_gets_the_job() {
    let world = World::new().await;
    let mut dear = world.island("dear", "3", 1).await;
    let mut cheap = world.island("cheap", "2", 1).await;
    let ana = world.user("ana", "100").await;
    let first = ana.job(json!({"bid_price": "4"})).await;
    let work = cheap.work().await;
    // The cheapest is busy now, so the next job goes to the other one, at its own ask (incident 90).
    let second = ana.job(json!({"bid_price": 4})).await;
    let other = dear.work().await;
    assert_eq!((work.earns, other.earns), (1_800_000, 2_700_000));
    cheap.output(work.attempt, 1, "a").await;
    cheap.done(work.attempt).await;
    dear.output(other.attempt, 1, "b").await;
    dear.done(other.attempt).await;
    assert_eq!(ana.ended(&first).await["cost"], json!(2));
    assert_eq!(ana.ended(&second).await["cost"], json!(3));
    let (_, rates) = ana.get("/api/v1/market/rates/llm-chat").await;
    let rate = &rates["data"][0];
    assert_eq!(
        (&rate["avg_price"], &rate["min_price"], &rate["max_price"]),
        (&json!(2.5), &json!(2), &json!(3))
    );
    world.finish().await;
}

#[tokio::test]
async fn incident_089_an_ask_raised_meanwhile_does_not_change_the_price() {
    let world = World::new().await;
    let mut island = world.island("palma", "2", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.ask("4.5", 1).await;
    island.output(work.attempt, 1, "a").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["cost"], json!(2));
    assert_eq!(ana.credits().await.0, "98");
    world.finish().await;
}

#[tokio::test]
async fn incident_072_ones_own_island_costs_nothing_and_moves_no_rates() {
    let world = World::new().await;
    let ana = world.user("ana", "5").await;
    let token = world.island_token(&ana.email, "mine").await;
    let mut island = FakeIsland::connect(&world.url, &token, "2", 1).await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    assert_eq!(work.earns, 0);
    island.output(work.attempt, 1, "a").await;
    island.done(work.attempt).await;
    let job = ana.ended(&job).await;
    assert_eq!((&job["status"], &job["cost"]), (&json!("completed"), &json!(0)));
    assert_eq!(ana.credits().await, ("5".to_owned(), "0".to_owned()));
    assert_eq!(world.account("ana").await["earnings"], json!(0));
    let (_, rates) = ana.get("/api/v1/market/rates/llm-chat").await;
    assert_eq!(rates["data"][0]["last_price"], Value::Null, "incident 97");
    world.finish().await;
}

#[tokio::test]
async fn i11_who_is_not_verified_does_not_spend() {
    let world = World::new().await;
    let _island = world.island("palma", "1", 1).await;
    world.admin(&["user", "create", "--email", "new@example.org"]).await;
    world.admin(&["grant", "--email", "new@example.org", "--credits", "9", "--note", "x"]).await;
    let new = world.key_for("new@example.org", &[]).await;
    for bid in [json!({}), json!({"bid_price": "0.5"})] {
        let (status, body) = new.submit(bid).await;
        assert_eq!((status, &body["error"]["code"]), (403, &json!("verification_required")));
        assert_eq!(body["error"]["verify_url"], json!("/verify"));
    }
    assert_eq!(new.credits().await, ("9".to_owned(), "0".to_owned()));
    world.finish().await;
}

/// The smallest thing that can be granted can be spent (incident 87), and a charge of a fraction is exact (incident 88).
#[tokio::test]
async fn incident_087_a_micro_credit_is_spendable() {
    let world = World::new().await;
    let island = world.island("palma", "0.000001", 1).await.works_by_itself();
    let ana = world.user("ana", "0.000001").await;
    let job = ana.job(json!({})).await;
    let job = ana.ended(&job).await;
    assert_eq!(job["cost"].to_string(), "1e-6");
    assert_eq!(ana.credits().await.0, "0");
    let (_, statement) = ana.get("/api/v1/credits/transactions").await;
    assert_eq!(statement["data"][0]["amount_micros"], json!(-1));
    island.abort();
    world.finish().await;
}
