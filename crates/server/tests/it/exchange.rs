//! The Compute Exchange from outside: rates, history, books, trades, what goes unserved, and asks set by owners.

use serde_json::{Value, json};

use crate::world::inside::Inside;
use crate::world::island::offer;
use crate::world::{FakeIsland, User, World};

async fn rate(user: &User) -> Value {
    let (status, body) = user.get("/api/v1/market/rates/llm-chat").await;
    assert_eq!(status, 200, "{body}");
    body["data"][0].clone()
}

async fn book(user: &User) -> Value {
    let (status, body) = user.get("/api/v1/market/book/llm-chat").await;
    assert_eq!(status, 200, "{body}");
    body["data"].clone()
}

/// Runs a job to its end at whatever the Islands ask.
async fn run(user: &User) {
    let job = user.job(json!({})).await;
    assert_eq!(user.ended(&job).await["status"], "completed");
}

/// Waits until the market is as it shall be.
async fn until(user: &User, what: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..600 {
        let book = book(user).await;
        if what(&book) {
            return book;
        }
        tokio::task::yield_now().await;
    }
    panic!("the book does not come to be so: {}", book(user).await);
}

#[tokio::test]
async fn what_was_not_traded_is_said_and_never_divided_by() {
    let world = World::new().await;
    let ana = world.user("ana", "1").await;
    let rate = rate(&ana).await;
    for price in [
        "avg_price",
        "median_price",
        "min_price",
        "max_price",
        "last_price",
        "best_ask",
        "suggested_bid",
        "suggested_ask",
    ] {
        assert_eq!(rate[price], Value::Null, "{price}");
    }
    assert_eq!((&rate["num_trades"], &rate["num_hosts"]), (&json!(0), &json!(0)));
    for (window, points, step) in [("1h", 60, 60), ("24h", 96, 900), ("7d", 84, 7200), ("30d", 120, 21600)] {
        assert_eq!(rate["windows"][window]["avg_price"], Value::Null);
        let (status, history) = ana.get(&format!("/api/v1/market/history/llm-chat?window={window}")).await;
        assert_eq!((status, &history["step_seconds"]), (200, &json!(step)));
        let rows = history["data"].as_array().unwrap();
        assert_eq!(rows.len(), points);
        assert!(rows.iter().all(|row| row["avg_price"].is_null() && row["num_trades"] == 0));
    }
    assert_eq!(ana.get("/api/v1/market/trades/llm-chat").await.1["data"], json!([]));
    world.finish().await;
}

#[tokio::test]
async fn rates_are_means_medians_and_counts_of_what_cleared() {
    let world = World::new().await;
    let token = world.island_token("owner@example.org", "palma").await;
    let ana = world.user("ana", "100").await;
    for ask in ["2", "2", "2", "2.333333", "4"] {
        let island = FakeIsland::connect(&world.url, &token, ask, 1).await.works_by_itself();
        run(&ana).await;
        island.abort();
    }
    let rate = rate(&ana).await;
    // 12.333333 / 5, rounded down to the micro-credit; the median is a price.
    assert_eq!(rate["avg_price"].to_string(), "2.466666");
    assert_eq!(
        (&rate["median_price"], &rate["min_price"], &rate["max_price"]),
        (&json!(2), &json!(2), &json!(4))
    );
    assert_eq!((&rate["last_price"], &rate["num_trades"]), (&json!(4), &json!(5)));
    assert_eq!(rate["windows"]["1h"], rate["windows"]["30d"]);
    assert_eq!(rate["windows"]["7d"]["units"], json!(5));
    assert_eq!(rate["suggested_ask"], json!({"price": 2, "reason": "median_cleared"}));
    assert_eq!(rate["suggested_bid"]["reason"], "nine_of_ten_cleared");
    assert_eq!(rate["suggested_bid"]["price"], 4);

    let (_, history) = ana.get("/api/v1/market/history/llm-chat?window=1h").await;
    let traded: i64 =
        history["data"].as_array().unwrap().iter().map(|row| row["num_trades"].as_i64().unwrap()).sum();
    assert_eq!(traded, 5);
    let (_, trades) = ana.get("/api/v1/market/trades/llm-chat?limit=2").await;
    let prices: Vec<&Value> = trades["data"].as_array().unwrap().iter().map(|row| &row["price"]).collect();
    assert_eq!(prices.len(), 2);
    assert_eq!(prices[0], &json!(4));
    // Nobody is named.
    let mut keys: Vec<&String> = trades["data"][0].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["price", "timestamp", "unit", "units"]);
    world.finish().await;
}

/// Trades with oneself are free and say nothing about the market, whatever door they come through.
#[tokio::test]
async fn incident_097_trades_with_oneself_move_no_rate() {
    let world = World::new().await;
    let ana = world.user("ana", "50").await;
    let token = world.island_token(&ana.email, "mine").await;
    let island = FakeIsland::connect(&world.url, &token, "49", 4).await.works_by_itself();
    for _ in 0..3 {
        let job = ana.job(json!({"bid_price": "50"})).await;
        assert_eq!(ana.ended(&job).await["cost"], 0);
    }
    let chat =
        json!({"model": "llm-chat", "messages": [{"role": "user", "content": "hi"}], "bid_price": "50"});
    assert_eq!(ana.post("/v1/chat/completions", &chat).await.0, 200);
    let own = rate(&ana).await;
    for price in ["avg_price", "median_price", "max_price", "last_price", "suggested_ask"] {
        assert_eq!(own[price], Value::Null, "{price}");
    }
    assert_eq!(own["num_trades"], 0);
    assert_eq!(ana.get("/api/v1/market/trades/llm-chat").await.1["data"], json!([]));
    let (_, history) = ana.get("/api/v1/market/history/llm-chat").await;
    assert!(history["data"].as_array().unwrap().iter().all(|row| row["last_price"].is_null()));
    // Somebody else's job on the same Island does.
    let ben = world.user("ben", "50").await;
    let job = ben.job(json!({"bid_price": "50"})).await;
    ben.ended(&job).await;
    let rate = rate(&ana).await;
    assert_eq!((&rate["num_trades"], &rate["median_price"]), (&json!(1), &json!(49)));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn the_book_shows_prices_and_nobody() {
    let world = World::new().await;
    let mut cheap = world.island("cheap", "2", 2).await;
    let _same = world.island("same", "2", 1).await;
    let _dear = world.island("dear", "3.5", 4).await;
    let ana = world.user("ana", "100").await;
    let running = ana.job(json!({"bid_price": "2"})).await;
    for _ in 0..2 {
        ana.job(json!({"bid_price": "1.5"})).await;
    }
    ana.job(json!({"bid_price": "0.5"})).await;
    let book = book(&ana).await;
    assert_eq!(
        book["asks"],
        json!([
            {"price": 2, "free_slots": 2, "slots": 3, "num_hosts": 2},
            {"price": 3.5, "free_slots": 4, "slots": 4, "num_hosts": 1},
        ])
    );
    assert_eq!(book["bids"], json!([{"price": 1.5, "num_waiting": 2}, {"price": 0.5, "num_waiting": 1}]));
    assert_eq!((&book["free_slots"], &book["num_waiting"]), (&json!(6), &json!(3)));
    let text = book.to_string();
    for name in ["cheap", "ana", "isl_", "usr_", "job_"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    let work = cheap.work().await;
    cheap.output(work.attempt, 1, "x").await;
    cheap.done(work.attempt).await;
    ana.ended(&running).await;
    world.finish().await;
}

#[tokio::test]
async fn jobs_that_no_island_takes_are_counted_with_what_they_bid() {
    let world = World::with("[jobs]\nwait_secs = 1").await;
    let ana = world.user("ana", "100").await;
    let mut jobs = Vec::new();
    for bid in ["3.2", "1", "1"] {
        jobs.push(ana.job(json!({"bid_price": bid})).await);
    }
    for job in jobs {
        assert_eq!(ana.ended(&job).await["status"], "timeout");
    }
    let rate = rate(&ana).await;
    assert_eq!(rate["unserved_24h"], json!({"num_jobs": 3, "median_bid": 1, "max_bid": 3.2}));
    assert_eq!(rate["suggested_ask"], json!({"price": 1, "reason": "unserved_only"}));
    assert_eq!(rate["num_trades"], 0);
    world.finish().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused() {
    let world = World::new().await;
    let ana = world.user("ana", "1").await;
    for (path, status, code) in [
        ("/api/v1/market/history/nope", 404, "unknown_workload"),
        ("/api/v1/market/book/nope", 404, "unknown_workload"),
        ("/api/v1/market/trades/nope", 404, "unknown_workload"),
        ("/api/v1/market/history/llm-chat?window=2h", 422, "invalid_field"),
        ("/api/v1/market/history/llm-chat?window=", 422, "invalid_field"),
        ("/api/v1/market/trades/llm-chat?limit=0", 422, "invalid_field"),
        ("/api/v1/market/trades/llm-chat?limit=101", 422, "invalid_field"),
        ("/api/v1/market/trades/llm-chat?limit=x", 422, "invalid_field"),
        ("/exchange/nope", 404, ""),
        ("/exchange/llm-chat?window=2h", 422, ""),
    ] {
        let (got, body) = ana.get(path).await;
        assert_eq!(got, status, "{path}: {body}");
        if !code.is_empty() {
            assert_eq!(body["error"]["code"], code, "{path}");
        }
    }
    // The market is public.
    for path in ["rates", "rates/llm-chat", "history/llm-chat", "book/llm-chat", "trades/llm-chat"] {
        let response = world.http.get(format!("{}/api/v1/market/{path}", world.url)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    world.finish().await;
}

#[tokio::test]
async fn an_owners_ask_stands_at_once_and_after_a_reconnection_until_it_is_reset() {
    let world = World::new().await;
    let token = world.island_token("owner@example.org", "palma").await;
    let owner = world.key_for("owner@example.org", &[]).await;
    let mut island = FakeIsland::connect(&world.url, &token, "1.5", 1).await;
    until(&owner, |book| book["best_ask"] == 1.5).await;
    let (_, mine) = owner.get("/api/v1/market/asking-prices").await;
    let row = &mine["data"][0];
    assert_eq!(
        (&row["ask"], &row["set_here"], &row["rank"]["place"]),
        (&json!(1.5), &json!(false), &json!(1))
    );
    let host = row["host_id"].as_str().unwrap().to_owned();
    let set = json!({"host_id": host, "workload": "llm-chat", "ask": "2.25"});
    let (status, body) = owner.post("/api/v1/market/asking-prices", &set).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!((&body["data"]["ask"], &body["data"]["agent_ask"]), (&json!(2.25), &json!(1.5)));
    assert_eq!(book(&owner).await["best_ask"], 2.25);
    let (_, shown) = owner.get(&format!("/api/v1/hosts/{host}")).await;
    assert_eq!(shown["data"]["asking_prices"]["llm-chat"], json!("2.25"), "{shown}");

    // The agent's own price waits behind it, in a new message and in a new connection.
    island.ask("1.75", 1).await;
    assert_eq!(book(&owner).await["best_ask"], 2.25);
    drop(island);
    let mut island = FakeIsland::connect(&world.url, &token, "1.6", 1).await;
    until(&owner, |book| book["best_ask"] == 2.25).await;
    let ana = world.user("ana", "10").await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    assert_eq!(work.earns, 2_025_000);

    // What runs keeps its price; the agent's stands again.
    let path = format!("/api/v1/market/asking-prices?host_id={host}&workload=llm-chat");
    let (status, body) = owner.request("DELETE", &path, &[], None).await;
    assert_eq!((status, &body["data"]["ask"]), (200, &json!(1.6)), "{body}");
    assert_eq!(book(&owner).await["lowest_ask"], 1.6);
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["cost"], 2.25);
    assert_eq!(rate(&ana).await["last_price"], 2.25);
    world.finish().await;
}

#[tokio::test]
async fn incident_104_a_price_ten_times_off_is_confirmed_first() {
    let world = World::new().await;
    let token = world.island_token("owner@example.org", "palma").await;
    let owner = world.key_for("owner@example.org", &[]).await;
    let _island = FakeIsland::connect(&world.url, &token, "1.5", 1).await;
    until(&owner, |book| book["best_ask"] == 1.5).await;
    let (_, mine) = owner.get("/api/v1/market/asking-prices").await;
    let host = mine["data"][0]["host_id"].clone();
    let path = "/api/v1/market/asking-prices";
    let ask = |ask: Value, confirm: bool| json!({"host_id": host.clone(), "workload": "llm-chat", "ask": ask, "confirm": confirm});
    for typo in [json!("150"), json!(15.000001), json!("0.149999"), json!(0)] {
        let (status, body) = owner.post(path, &ask(typo, false)).await;
        assert_eq!((status, &body["error"]["code"]), (409, &json!("confirmation_required")), "{body}");
        assert_eq!(body["error"]["current"], 1.5);
        assert_eq!(book(&owner).await["best_ask"], 1.5);
    }
    // Ten times exactly is no leap; more is taken when it is meant.
    assert_eq!(owner.post(path, &ask(json!(15), false)).await.0, 200);
    assert_eq!(owner.post(path, &ask(json!("1000"), true)).await.0, 200);
    assert_eq!(book(&owner).await["best_ask"], 1000);

    for (field, body) in [
        ("ask", ask(json!(-1), true)),
        ("ask", ask(json!("much"), true)),
        ("ask", ask(json!("1e99"), true)),
        ("ask", json!({"host_id": host.clone(), "workload": "llm-chat"})),
        ("confirm", json!({"host_id": host.clone(), "workload": "llm-chat", "ask": 1, "confirm": "yes"})),
        ("workload", json!({"host_id": host.clone(), "workload": "sdxl", "ask": 1})),
        ("host_id", json!({"workload": "llm-chat", "ask": 1})),
    ] {
        let (status, answer) = owner.post(path, &body).await;
        assert_eq!((status, &answer["error"]["param"]), (422, &json!(field)), "{body}: {answer}");
    }
    // A stranger sees no such Island; a key for reading changes nothing.
    let ben = world.user("ben", "1").await;
    assert_eq!(ben.post(path, &ask(json!(1), true)).await.0, 404);
    let gone = format!("{path}?host_id={}&workload=llm-chat", host.as_str().unwrap());
    assert_eq!(ben.request("DELETE", &gone, &[], None).await.0, 404);
    let reader = world.key_for("owner@example.org", &["--scopes", "read"]).await;
    assert_eq!(reader.post(path, &ask(json!(1), true)).await.0, 403);
    assert_eq!(book(&owner).await["best_ask"], 1000);
    world.finish().await;
}

/// An ask set through one coordinator moves the book of another, to which the Island is connected.
#[tokio::test]
async fn an_ask_set_at_another_coordinator_is_followed() {
    let world = World::new().await;
    let other = world.beside().await;
    let token = world.island_token("owner@example.org", "palma").await;
    let owner = world.key_for("owner@example.org", &[]).await;
    let mut there = owner.clone();
    there.moved_to(&other.url);
    let _island = FakeIsland::connect(&other.url, &token, "1.5", 1).await;
    until(&there, |book| book["best_ask"] == 1.5).await;
    let (_, mine) = there.get("/api/v1/market/asking-prices").await;
    let set = json!({"host_id": mine["data"][0]["host_id"], "workload": "llm-chat", "ask": "2"});
    let (status, body) = owner.post("/api/v1/market/asking-prices", &set).await;
    assert_eq!(status, 200, "{body}");
    let mut stream = 0;
    while book(&there).await["best_ask"] != 2 {
        stream += 1;
        assert!(stream < 100_000, "it is not followed");
    }
    drop(other);
    world.finish().await;
}

/// Thinning loses detail, never a trade; doing it twice changes nothing.
#[tokio::test]
async fn old_rates_are_thinned_without_losing_a_trade() {
    use server::marketplace::tape::{Tape, Trade};
    use server::marketplace::{rates, upkeep};
    use types::id::{Id, JobId};
    use types::money::MicroCredits;
    use types::time::{DAY_MS, MINUTE_MS};
    use types::units::Units;

    let inside = Inside::open(db::OpenOptions::server()).await;
    let app = &inside.app;
    let now = app.clock.now();
    let market = &app.market.all()[0];
    let id = market.workload.id;
    // Trades of the last minutes, of five days ago and of a hundred days ago.
    for (days, count) in [(0, 10_i64), (5, 200), (100, 1150)] {
        let write = async move |tx: &mut db::Tx<'_>| {
            for index in 0..count {
                let at = now.plus_millis(-days * DAY_MS - index * MINUTE_MS);
                let price = MicroCredits::new(1_000_000 + index % 3 * 500_000);
                let mut tape = Tape::new(at);
                let job = JobId::from_i64(days * 10_000 + index);
                tape.trade(Trade { job, workload: id, price, units: Units::ONE, paid: price });
                tape.write(tx).await?;
            }
            Ok::<_, db::DbError>(())
        };
        app.db.tx("tape", write).await.unwrap();
    }
    upkeep::snapshot_once(app).await.unwrap();
    upkeep::snapshot_once(app).await.unwrap();
    let before = rates::detail(app, market).await.unwrap();
    for _ in 0..3 {
        upkeep::thin_once(app).await.unwrap();
        upkeep::forget_once(app).await.unwrap();
    }
    let after = rates::detail(app, market).await.unwrap();
    assert_eq!(before.windows, after.windows);
    assert_eq!(after.windows[3].trades, 210);
    assert_eq!(after.windows[3].median, Some(MicroCredits::new(1_500_000)));
    assert_eq!(rates::sales(app, id, 100).await.unwrap().len(), 100);
    let count = async |sql: &'static str| -> i64 {
        app.db.read("count", async move |tx| tx.query_one(sql, &[]).await?.get(0)).await.unwrap()
    };
    assert_eq!(count("SELECT CAST(sum(trades) AS BIGINT) FROM market_minutes").await, 1360);
    assert_eq!(count("SELECT CAST(sum(trades) AS BIGINT) FROM market_prices").await, 1360);
    // 10 minutes, at most 5 hours, at most 2 days.
    assert!(count("SELECT count(*) FROM market_minutes").await <= 17);
    assert_eq!(count("SELECT count(*) FROM market_trades").await, 200);
    assert_eq!(count("SELECT count(*) FROM market_snapshots").await, 4);
    inside.finish().await;
}

/// What an Island offers besides does not matter to what its owner set for one Cargo.
#[tokio::test]
async fn an_offer_that_is_gone_takes_its_ask_along() {
    let world = World::new().await;
    let token = world.island_token("owner@example.org", "palma").await;
    let owner = world.key_for("owner@example.org", &[]).await;
    let mut island = FakeIsland::connect(&world.url, &token, "1.5", 1).await;
    until(&owner, |book| book["best_ask"] == 1.5).await;
    let (_, mine) = owner.get("/api/v1/market/asking-prices").await;
    let set = json!({"host_id": mine["data"][0]["host_id"], "workload": "llm-chat", "ask": 2});
    assert_eq!(owner.post("/api/v1/market/asking-prices", &set).await.0, 200);
    island.offers(Vec::new()).await;
    assert_eq!(book(&owner).await["asks"], json!([]));
    island.offers(vec![offer("1.5", 3)]).await;
    assert_eq!(
        book(&owner).await["asks"][0],
        json!({"price": 2, "free_slots": 3, "slots": 3, "num_hosts": 1})
    );
    world.finish().await;
}
