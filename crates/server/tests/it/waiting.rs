//! Jobs without a willing Island: they wait visibly, reserve nothing, and start when one appears.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_bid_below_every_ask_waits_and_says_what_the_best_ask_is() {
    let world = World::new().await;
    let mut island = world.island("palma", "3", 1).await;
    let ana = world.user("ana", "100").await;
    let (status, body) = ana.submit(json!({"bid_price": 2})).await;
    assert_eq!(
        (status, &body["data"]["status"], &body["data"]["best_ask"]),
        (201, &json!("pending"), &json!(3))
    );
    assert_eq!(ana.credits().await, ("100".to_owned(), "0".to_owned()));
    let job = body["data"]["id"].as_str().unwrap().to_owned();
    let mut stream = ana.stream(&job).await;
    let event = stream.next_of("status").await;
    assert_eq!((&event["status"], &event["best_ask"]), (&json!("pending"), &json!(3)));
    // The ask drops to what was bid: it starts.
    island.ask("2", 1).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["cost"], json!(2));
    world.finish().await;
}

#[tokio::test]
async fn a_job_without_any_island_starts_when_one_appears() {
    let world = World::new().await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let (_, body) = ana.get(&format!("/api/v1/jobs/{job}")).await;
    assert_eq!((&body["data"]["status"], &body["data"]["place_in_queue"]), (&json!("pending"), &json!(1)));
    let island = world.island("palma", "1", 1).await.works_by_itself();
    assert_eq!(ana.ended(&job).await["status"], json!("completed"));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn a_job_nobody_takes_ends_at_its_deadline() {
    let world = World::with("[jobs]\nwait_secs = 1").await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let job = ana.ended(&job).await;
    assert_eq!(
        (&job["status"], &job["error_code"], &job["cost"]),
        (&json!("timeout"), &json!("no_island"), &json!(0))
    );
    world.finish().await;
}

#[tokio::test]
async fn credits_that_are_gone_when_the_turn_comes_end_the_job_with_the_same_code() {
    let world = World::new().await;
    let mut island = world.island("palma", "3", 1).await;
    let ana = world.user("ana", "3").await;
    let first = ana.job(json!({})).await;
    let work = island.work().await;
    // Refused at once: the lowest price it could start at is more than there is.
    let (status, body) = ana.submit(json!({})).await;
    assert_eq!(
        (status, &body["error"]["required"], &body["error"]["available"]),
        (402, &json!(3), &json!(0))
    );
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    ana.ended(&first).await;

    world.admin(&["grant", "--email", &ana.email, "--credits", "3", "--note", "more"]).await;
    let low = ana.job(json!({"bid_price": 2})).await;
    let second = ana.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    ana.ended(&second).await;
    island.ask("2", 1).await;
    let low = ana.ended(&low).await;
    assert_eq!((&low["status"], &low["error_code"]), (&json!("failed"), &json!("insufficient_credits")));
    assert_eq!(ana.credits().await, ("0".to_owned(), "0".to_owned()));
    world.finish().await;
}

#[tokio::test]
async fn the_best_bid_is_served_first_then_the_oldest() {
    let world = World::new().await;
    let ana = world.user("ana", "100").await;
    let mut jobs = Vec::new();
    for bid in [2, 3, 2, 4] {
        jobs.push(ana.job(json!({"bid_price": bid, "input": {"prompt": format!("bid {bid}")}})).await);
    }
    let mut island = world.island("palma", "1", 1).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let work = island.work().await;
        order.push(work.input.clone());
        island.output(work.attempt, 1, "x").await;
        island.done(work.attempt).await;
    }
    let prompt = |bid: i32| format!("{{\"prompt\":\"bid {bid}\"}}");
    assert_eq!(order, [prompt(4), prompt(3), prompt(2), prompt(2)]);
    for job in jobs {
        assert_eq!(ana.ended(&job).await["cost"], json!(1), "the price is the ask, not the bid");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_region_is_respected() {
    let world = World::new().await;
    let _island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let (_, body) = ana.submit(json!({"region": "eu-west"})).await;
    assert_eq!((&body["data"]["status"], &body["data"]["region"]), (&json!("pending"), &json!("eu-west")));
    let job = body["data"]["id"].as_str().unwrap();
    ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    world.finish().await;
}
