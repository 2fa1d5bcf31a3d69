//! Limits of API keys: what is held and spent counts, in all and by calendar period, whoever asks at the same time.

use std::sync::Arc;

use db::{Db, MigrationSet, OpenOptions, params};
use futures_util::future::join_all;
use ledger::{Cap, Limits, Period};
use serde_json::{Value, json};
use server::accounts::api_keys::{self, KeyRequest, LimitChange, Scopes};
use server::credits;
use server::idempotency::Once;
use server::jobs::command::{Command, Finish, Open};
use server::jobs::commit::Done;
use server::jobs::submit::cap_of;
use server::jobs::{Attempt, BidSource, Job, JobError, Origin, State, Usage};
use types::money::MicroCredits;
use types::time::{Clock, DAY_MS, HOUR_MS, TestClock, Timestamp};

use crate::world::inside::Inside;
use crate::world::{Answer, User, World, database};

impl User {
    async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.request("PATCH", path, &[], Some(&body.to_string())).await
    }

    /// What the API says of this key.
    async fn own_key(&self, asking: &Self) -> Value {
        let (status, keys) = asking.get("/api/v1/api-keys").await;
        assert_eq!(status, 200, "{keys}");
        let keys = keys["data"].as_array().unwrap();
        keys.iter().find(|key| self.key.starts_with(key["prefix"].as_str().unwrap())).unwrap().clone()
    }

    /// The address of this key.
    async fn own_path(&self, asking: &Self) -> String {
        format!("/api/v1/api-keys/{}", self.own_key(asking).await["id"].as_str().unwrap())
    }
}

/// Incidents 3, 4, 9 and 103: many at once, with room for exactly so many.
#[tokio::test]
async fn jobs_at_once_at_the_limit_of_the_day() {
    let world = World::new().await;
    let mut island = world.island("palma", "2", 200).await;
    let ana = world.user("ana", "1000").await;
    let limits = ["--limit-day", "2", "--limit-week", "9.5", "--limit-month", "20", "--limit", "30"];
    let limited = world.key_for(&ana.email, &limits).await;
    let (one, two) = tokio::join!(limited.submit(json!({})), limited.submit(json!({})));
    let (taken, refused) = if one.0 == 201 { (one, two) } else { (two, one) };
    assert_eq!((taken.0, refused.0), (201, 402), "{taken:?} {refused:?}");
    let error = &refused.1["error"];
    assert_eq!((&error["reason"], &error["required"]), (&json!("key_limit_day"), &json!(2)));
    assert_eq!(error["available"], json!(0));
    assert_eq!(
        error["message"],
        json!("This API key has reached its spending limit: 2 needed, 0 left today.")
    );

    // What is held counts in each period.
    let key = limited.own_key(&ana).await;
    assert_eq!(key["limits"], json!({"total": 30, "day": 2, "week": 9.5, "month": 20}));
    assert_eq!(key["limit"], json!(30));
    for (period, left) in
        [("day", json!(0)), ("week", json!(7.5)), ("month", json!(18)), ("total", json!(28))]
    {
        let usage = &key["usage"][period];
        assert_eq!((&usage["held"], &usage["spent"], &usage["left"]), (&json!(2), &json!(0), &left), "{key}");
        assert_eq!(usage["resets_at"].is_null(), period == "total", "{key}");
    }
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    limited.ended(taken.1["data"]["id"].as_str().unwrap()).await;
    let usage = limited.own_key(&ana).await["usage"]["day"].clone();
    assert_eq!((&usage["held"], &usage["spent"], &usage["left"]), (&json!(0), &json!(2), &json!(0)));
    assert_eq!(limited.submit(json!({})).await.0, 402);

    // A hundred at once, with room for four more this week and none beyond.
    let path = limited.own_path(&ana).await;
    let (status, body) = ana.patch(&path, &json!({"limits": {"day": null, "week": "10.5"}})).await;
    assert_eq!((status, &body["data"]["limits"]["day"]), (200, &Value::Null), "{body}");
    let answers = join_all((0..100).map(|_| limited.submit(json!({})))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 4);
    assert!(
        answers.iter().all(|(status, body)| *status == 201 || body["error"]["reason"] == "key_limit_week")
    );
    let works = island.works_by_itself();
    for (_, body) in answers.iter().filter(|(status, _)| *status == 201) {
        limited.ended(body["data"]["id"].as_str().unwrap()).await;
    }
    assert_eq!(ana.credits().await, ("990".to_owned(), "0".to_owned()));
    assert_eq!(limited.own_key(&ana).await["usage"]["total"]["spent"], json!(10));
    works.abort();
    world.finish().await;
}

/// A job that had to wait meets the limit when it would start, and is not charged.
#[tokio::test]
async fn jobs_that_wait_at_the_limit() {
    let world = World::new().await;
    let mut island = world.island("palma", "2", 1).await;
    let ana = world.user("ana", "1000").await;
    let limited = world.key_for(&ana.email, &["--limit-day", "3"]).await;
    let first = limited.job(json!({})).await;
    let waiting = limited.job(json!({})).await;
    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    assert_eq!(limited.ended(&first).await["cost"], json!(2));
    let ended = limited.ended(&waiting).await;
    assert_eq!((&ended["status"], &ended["cost"]), (&json!("failed"), &json!(0)), "{ended}");
    assert_eq!(ended["error_code"], json!("insufficient_credits"), "{ended}");
    assert_eq!(ana.credits().await, ("998".to_owned(), "0".to_owned()));
    world.finish().await;
}

/// A key without limits is counted too, so that a limit set later knows what was spent before.
#[tokio::test]
async fn a_limit_below_what_was_used_stops_further_spending() {
    let world = World::new().await;
    let island = world.island("palma", "2", 50).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    let other = world.key_for(&ana.email, &[]).await;
    for _ in 0..3 {
        let job = other.job(json!({})).await;
        other.ended(&job).await;
    }
    let key = other.own_key(&ana).await;
    assert_eq!((&key["limit"], &key["usage"]["month"]["spent"]), (&Value::Null, &json!(6)));
    assert_eq!(
        (&key["usage"]["month"]["left"], &key["usage"]["month"]["limit"]),
        (&Value::Null, &Value::Null)
    );

    let path = other.own_path(&ana).await;
    let (status, body) = ana.patch(&path, &json!({"limits": {"month": 5}})).await;
    assert_eq!(status, 200, "{body}");
    let usage = &body["data"]["usage"]["month"];
    assert_eq!((&usage["limit"], &usage["spent"], &usage["left"]), (&json!(5), &json!(6), &json!(0)));
    let (status, body) = other.submit(json!({})).await;
    assert_eq!((status, &body["error"]["reason"]), (402, &json!("key_limit_month")), "{body}");
    assert_eq!(body["error"]["available"], json!(0));
    // Another key, and the same one with room again.
    assert_eq!(ana.submit(json!({})).await.0, 201);
    assert_eq!(ana.patch(&path, &json!({"limits": {"month": "8.00"}})).await.0, 200);
    assert_eq!(other.submit(json!({})).await.0, 201);
    assert_eq!(other.submit(json!({})).await.0, 402);
    // Taken away, by the short name too.
    assert_eq!(ana.patch(&path, &json!({"limit": 8, "limits": {"month": null}})).await.0, 200);
    assert_eq!(other.submit(json!({})).await.0, 402);
    let (_, body) = ana.patch(&path, &json!({"limit": null})).await;
    assert_eq!(body["data"]["limits"], json!({"total": null, "day": null, "week": null, "month": null}));
    assert_eq!(other.submit(json!({})).await.0, 201);
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn names_and_limits_are_changed_together_or_not_at_all() {
    let world = World::new().await;
    let ana = world.user("ana", "10").await;
    let limited = world.key_for(&ana.email, &["--limit-day", "5", "--limit-month", "50"]).await;
    let path = limited.own_path(&ana).await;
    let (status, body) = ana.patch(&path, &json!({"name": " ci ", "limits": {"week": 20}})).await;
    let expected = json!({"total": null, "day": 5, "week": 20, "month": 50});
    assert_eq!((status, &body["data"]["name"], &body["data"]["limits"]), (200, &json!("ci"), &expected));
    assert_eq!(
        ana.patch(&path, &json!({})).await,
        (status, body.clone()),
        "nothing to change changes nothing"
    );

    let refused = [
        (json!({"name": "x", "limits": {"day": 20.5}}), "limits.day", "per week, 20.00"),
        (json!({"name": "x", "limits": {"week": "4.999999"}}), "limits.day", "per week, 4.999999"),
        (json!({"name": "x", "limits": {"month": 19}}), "limits.week", "per month, 19.00"),
        (json!({"name": "x", "limit": 49}), "limits.month", "in all, 49.00"),
        (json!({"name": "x", "limits": {"total": "4"}}), "limits.month", "in all, 4.00"),
        (json!({"name": "x", "limit": 0}), "limit", "above 0"),
        (json!({"name": "x", "limit": "-1"}), "limit", "above 0"),
        (json!({"name": "x", "limits": {"day": 0}}), "limits.day", "above 0"),
        (json!({"name": "x", "limits": {"week": -3}}), "limits.week", "above 0"),
        (json!({"name": "x", "limits": {"month": "0.0000001"}}), "limits.month", "above 0"),
        (json!({"name": "x", "limits": {"total": 1e30}}), "limits.total", "above 0"),
        (json!({"name": "x", "limits": {"day": true}}), "limits.day", "above 0"),
        (json!({"name": "x", "limits": {"day": ""}}), "limits.day", "above 0"),
        (json!({"name": "x", "limits": {"year": 5}}), "limits.year", "not known"),
        (json!({"name": "x", "limits": {"total": 100}, "limit": 100}), "limit", "one of them"),
        (json!({"name": "x", "limits": 5}), "limits", "must be an object"),
        (json!({"name": "x", "limits": [5]}), "limits", "must be an object"),
        (json!({"name": "", "limits": {"day": 1}}), "name", "64"),
        (json!({"name": 5, "limits": {"day": 1}}), "name", "text"),
        (json!({"name": "x", "scopes": "read"}), "scopes", "not known here"),
    ];
    for (change, field, word) in refused {
        let (status, answer) = ana.patch(&path, &change).await;
        assert_eq!((status, &answer["error"]["param"]), (422, &json!(field)), "{change}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(word), "{change}: {answer}");
        assert_eq!(ana.get(&path).await.1["data"], body["data"], "{change} changes nothing");
    }
    // New keys by the same rules.
    let keys = ana.get("/api/v1/api-keys").await.1["data"].as_array().unwrap().len();
    for (limits, field) in [
        (json!({"limits": {"day": 2, "total": 1}}), "limits.day"),
        (json!({"limit": "1", "limits": {"month": "1.000001"}}), "limits.month"),
        (json!({"limit": 0}), "limit"),
        (json!({"limits": {"hour": 1}}), "limits.hour"),
    ] {
        let mut body = limits;
        body["name"] = json!("new");
        let (status, answer) = ana.post("/api/v1/api-keys", &body).await;
        assert_eq!((status, &answer["error"]["param"]), (422, &json!(field)), "{body}: {answer}");
    }
    let body = json!({"name": "new", "limit": "9", "limits": {"day": "1.5", "week": 1.5, "month": null}});
    let (status, made) = ana.post("/api/v1/api-keys", &body).await;
    let limits = json!({"total": 9, "day": 1.5, "week": 1.5, "month": null});
    assert_eq!((status, &made["limits"], &made["data"]["limits"]), (201, &limits, &limits), "{made}");
    assert_eq!(ana.get("/api/v1/api-keys").await.1["data"].as_array().unwrap().len(), keys + 1);
    world.finish().await;
}

#[tokio::test]
async fn whose_keys_are_changed_by_whom() {
    let world = World::new().await;
    let ana = world.user("ana", "10").await;
    let ben = world.user("ben", "10").await;
    let hers = world.key_for(&ana.email, &[]).await;
    let path = hers.own_path(&ana).await;
    let change = json!({"limits": {"day": 1}});
    // Another's is not there.
    assert_eq!(ben.get(&path).await.0, 404);
    assert_eq!(ben.patch(&path, &change).await.0, 404);
    for path in
        ["/api/v1/api-keys/nope", "/api/v1/api-keys/key_0000000000001", "/api/v1/api-keys/usr_0000000000001"]
    {
        assert_eq!((ana.get(path).await.0, ana.patch(path, &change).await.0), (404, 404));
    }
    // Reading is one thing, changing another.
    let reader = world.key_for(&ana.email, &["--scopes", "read"]).await;
    assert_eq!((reader.get(&path).await.0, reader.patch(&path, &change).await.0), (200, 403));
    // A key with limits manages none, from the moment it has one.
    assert_eq!(hers.patch(&path, &json!({"name": "mine"})).await.0, 200);
    assert_eq!(hers.patch(&path, &change).await.0, 200);
    let fewer = json!({"limits": {"day": null}});
    for answer in [
        hers.patch(&path, &fewer).await,
        hers.request("DELETE", &path, &[], None).await,
        hers.post("/api/v1/api-keys", &json!({"name": "child"})).await,
    ] {
        assert_eq!((answer.0, &answer.1["error"]["code"]), (403, &json!("limited_key")), "{answer:?}");
    }
    // Revoked is revoked.
    assert_eq!(ana.request("DELETE", &path, &[], None).await.0, 200);
    assert_eq!(ana.patch(&path, &fewer).await.0, 404);
    assert_eq!(ana.patch(&path, &json!({"name": "again"})).await.0, 404);
    assert_eq!(ana.get(&path).await.0, 404);
    assert_eq!((hers.get("/api/v1/account").await.0, hers.submit(json!({})).await.0), (401, 401));
    world.finish().await;
}

#[tokio::test]
async fn admin_names_the_option_that_is_wrong() {
    let world = World::new().await;
    let ana = world.user("ana", "1").await;
    for (args, word) in [
        (vec!["--limit-day", "0"], "--limit-day must be a number of credits above 0"),
        (vec!["--limit-week", "many"], "--limit-week must be"),
        (
            vec!["--limit", "5", "--limit-month", "6"],
            "--limit-month must not be more than the limit in all, 5.00",
        ),
    ] {
        let create = ["api-key", "create", "--email", &ana.email, "--name", "x"];
        let output = world.command("admin").args(create).args(&args).output().await.unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{output:?}");
    }
    world.finish().await;
}

/// The clock of a server cannot be set, so its parts are driven here: a new day frees the day's limit and no other.
#[tokio::test]
async fn a_new_day_frees_it() {
    let mut inside = Inside::open(OpenOptions::server()).await;
    // Thursday, 26 Nov 2026, at eleven in the evening.
    let clock = Arc::new(TestClock::new(Timestamp::from_millis(1_795_694_400_000 + 11 * HOUR_MS)));
    Arc::get_mut(&mut inside.app).unwrap().clock = Arc::clone(&clock) as Arc<dyn Clock>;
    inside.commit();
    let ana = inside.user("ana").await;
    let price = MicroCredits::new(2_000_000);
    credits::grant(&inside.app, &ana, MicroCredits::new(100_000_000), "test").await.unwrap();
    let mut limits = LimitChange::default();
    limits.set(Period::Day, Some(price)).unwrap();
    limits.set(Period::Week, Some(MicroCredits::new(4_000_000))).unwrap();
    let request = KeyRequest::new("ci", Scopes::ALL, &limits).unwrap();
    let (made, _) = api_keys::create(&inside.app, &ana, None, request, &Once::unclaimed()).await.unwrap();

    let app = &inside.app;
    let run = async || {
        let now = app.clock.now();
        let attempt = Attempt {
            id: app.ids.next(now),
            number: 1,
            island: app.ids.next(now),
            earnings: ana.earnings,
            price,
            ask: price,
            units: types::units::Units::ONE,
            own: false,
            considered: "[]".to_owned(),
        };
        let job = Job {
            id: app.ids.next(now),
            node: app.node.number,
            user: ana.id,
            key: Some(made.key.id),
            workload: 1,
            origin: Origin::Api,
            state: State::Running,
            input: Arc::from("{}"),
            bid: price,
            unit_bid: price,
            bid_source: BidSource::Explicit,
            region: None,
            model: None,
            min_trust: 0,
            priority: 0,
            created_at: now,
            deadline: now.plus_millis(60_000),
            started_at: Some(now),
            completed_at: None,
            attempts: 1,
            island: Some(attempt.island),
            charge: MicroCredits::ZERO,
            units: types::units::Units::ZERO,
            usage: Usage::default(),
            finish_reason: None,
            error: None,
        };
        let (id, hold_until) = (job.id, job.deadline);
        let open = Open {
            job,
            wallet: ana.wallet,
            attempt: Some(attempt.clone()),
            least: MicroCredits::ZERO,
            cap: cap_of(Some(&made.key)),
            hold_until,
            idempotency: None,
        };
        app.committer.commit(Command::Open(Arc::new(open))).await?;
        let finish = Finish {
            job: id,
            at: now,
            user: ana.id,
            key: Some(made.key.id),
            workload: 1,
            state: State::Completed,
            attempt: Some(attempt),
            charge: price,
            fee: MicroCredits::ZERO,
            units: types::units::Units::ONE,
            output: Some("hello".to_owned()),
            message: None,
            usage: Usage::default(),
            finish_reason: None,
            error: None,
            unserved: None,
        };
        app.committer.commit(Command::Finish(Arc::new(finish))).await
    };
    let over = |reason| {
        Err(JobError::InsufficientCredits { required: price, available: MicroCredits::ZERO, reason })
    };
    assert_eq!(run().await, Ok(Done::Written));
    assert_eq!(run().await, over("key_limit_day"));
    clock.advance_millis(HOUR_MS - 1);
    assert_eq!(run().await, over("key_limit_day"), "the last moment of the day");
    clock.advance_millis(1);
    assert_eq!(run().await, Ok(Done::Written), "midnight");
    clock.advance_millis(DAY_MS);
    assert_eq!(run().await, over("key_limit_week"), "Saturday");
    clock.advance_millis(2 * DAY_MS);
    assert_eq!(run().await, Ok(Done::Written), "Monday");
    let key = api_keys::find(&inside.app, &ana, made.key.id).await.unwrap();
    let spent = key.cap.usage().map(|usage| (usage.period.name(), usage.spent.get() / 1_000_000));
    assert_eq!(spent, [("total", 6), ("month", 6), ("week", 2), ("day", 2)]);
    inside.finish().await;
}

/// Keys from before every key had a cap get theirs, and keep what was spent.
#[tokio::test]
async fn keys_of_earlier_versions_get_a_cap() {
    let folder = tempfile::tempdir().unwrap();
    let url = database::fresh(folder.path());
    let db = Db::open(&url, OpenOptions::command()).await.unwrap();
    let [ledger, server] = server::MIGRATIONS else { panic!("two sets") };
    let before = MigrationSet { name: server.name, migrations: &server.migrations[..2] };
    db.migrate(Vec::leak(vec![*ledger, before])).await.unwrap();
    db.tx("old keys", async |tx| {
        tx.execute("INSERT INTO users (id, email, wallet_id, earnings_id, created_at) VALUES (1, 'a', 2, 3, 0)", &[])
            .await?;
        for (id, limit) in [(10, Some(5_000_000)), (11, None), (12, Some(7_000_000))] {
            let sql = "INSERT INTO api_keys (id, user_id, name, prefix, secret_hash, scopes, spend_limit, created_at)
                       VALUES ($1, 1, 'x', 'ak_12345', $2, 'read', $3, 0)";
            tx.execute_one(sql, &params![id, &id.to_string(), limit.map(MicroCredits::new)]).await?;
        }
        ledger::open_cap(tx, 10, Limits::total(Some(MicroCredits::new(5_000_000)))).await
    })
    .await
    .unwrap();
    db.migrate(server::MIGRATIONS).await.unwrap();
    let caps =
        db.read("caps", async |tx| ledger::caps(tx, &[10, 11, 12, 13], Timestamp::default()).await).await;
    let limits: Vec<Option<Option<i64>>> =
        caps.unwrap().iter().map(|cap| cap.map(|cap: Cap| cap.limits.total.map(MicroCredits::get))).collect();
    assert_eq!(limits, [Some(Some(5_000_000)), Some(None), Some(Some(7_000_000)), None]);
}
