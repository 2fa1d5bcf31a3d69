//! Usage: exact sums by day, Cargo, key and Island that agree with the statement, as an answer, a page and a file.

use serde_json::{Value, json};
use types::time::{Clock, DAY_MS, SystemClock};

use crate::world::browser::Browser;
use crate::world::{User, World};

const USAGE: &str = "/api/v1/usage";

async fn usage(user: &User, query: &str) -> Value {
    let (status, body) = user.get(&format!("{USAGE}{query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    body["data"].clone()
}

fn column(usage: &Value, name: &str) -> Vec<Value> {
    usage["rows"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
}

fn day(offset: i64) -> String {
    SystemClock.now().plus_millis(offset * DAY_MS).date()
}

/// Two keys, two Islands, one job that fails: 3 + 2 × 2.5 credits.
async fn a_little(world: &World) -> (User, User) {
    let ana = world.user("ana", "100").await;
    let other = world.key_for(&ana.email, &[]).await;
    let palma = world.island("palma", "3", 1).await.works_by_itself();
    let job = ana.job(json!({})).await;
    ana.ended(&job).await;
    palma.abort();
    let mut hvar = world.island("hvar", "2.5", 1).await;
    for _ in 0..2 {
        let job = other.job(json!({"bid_price": "2.75"})).await;
        let work = hvar.work().await;
        hvar.output(work.attempt, 1, "hello").await;
        hvar.done(work.attempt).await;
        other.ended(&job).await;
    }
    let job = other.job(json!({"bid_price": "2.75"})).await;
    let work = hvar.work().await;
    let error = "no".to_owned();
    let failed =
        types::island_protocol::FromIsland::Failed { attempt_id: work.attempt, error, retryable: false };
    hvar.say(&failed).await;
    other.ended(&job).await;
    (ana, other)
}

#[tokio::test]
async fn sums_are_exact_and_agree_with_the_statement() {
    let world = World::new().await;
    let (ana, other) = a_little(&world).await;

    let days = usage(&ana, "").await;
    assert_eq!((&days["view"], &days["group_by"]), (&json!("spent"), &json!(["day"])));
    assert_eq!(
        (&days["total"]["credits"], &days["total"]["credits_micros"], &days["total"]["jobs"]),
        (&json!(8), &json!(8_000_000), &json!(4))
    );
    assert_eq!((&days["total"]["completed"], &days["total"]["failed"]), (&json!(3), &json!(1)));
    // The statement says the same.
    let (_, statement) = ana.get("/api/v1/credits/transactions?kind=job&limit=100").await;
    let spent: i64 = statement["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["amount_micros"].as_i64().unwrap())
        .sum();
    assert_eq!(-spent, days["total"]["credits_micros"].as_i64().unwrap());

    let keys = usage(&ana, "?group_by=key").await;
    let mut credits = column(&keys, "credits");
    credits.sort_by_key(Value::to_string);
    assert_eq!(credits, [json!(3), json!(5)]);
    let hosts = usage(&ana, "?group_by=host").await;
    let mut names = column(&hosts, "host_name");
    names.sort_by_key(Value::to_string);
    assert_eq!(names, [json!("hvar"), json!("palma")]);
    let cargos = usage(&ana, "?group_by=workload,day").await;
    assert_eq!(cargos["rows"][0]["workload"], json!("llm-chat"));
    assert_eq!(cargos["rows"][0]["workload_name"], json!("LLM Chat (standard)"));
    assert!(cargos["rows"][0].get("host").is_none(), "{cargos}");

    // Filters.
    let (_, listed) = other.get("/api/v1/api-keys").await;
    let ids: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    let mut found = Vec::new();
    for id in ids {
        found.push(usage(&ana, &format!("?key={id}")).await["total"]["credits_micros"].as_i64().unwrap());
    }
    found.sort_unstable();
    assert_eq!(found, [3_000_000, 5_000_000]);
    assert_eq!(usage(&ana, "?key=none").await["rows"], json!([]));
    let palma = hosts["rows"].as_array().unwrap().iter().find(|row| row["host_name"] == "palma").unwrap();
    let palma = palma["host"].as_str().unwrap();
    assert_eq!(usage(&ana, &format!("?host={palma}")).await["total"]["credits"], json!(3));
    assert_eq!(usage(&ana, "?workload=llm-chat").await["total"]["jobs"], json!(4));
    assert_eq!(usage(&ana, "?workload=sdxl").await["total"]["jobs"], json!(0));
    let yesterday = format!("?from={}&to={}", day(-2), day(-1));
    assert_eq!(usage(&ana, &yesterday).await["total"]["jobs"], json!(0));
    let now = format!("?from={}&to={}T00:00:00Z", day(-1), day(1));
    assert_eq!(usage(&ana, &now).await["total"]["jobs"], json!(4));

    // What was spent here was earned there, less the fee; another user sees none of it.
    let owner = world.key_for("hvar-owner@example.org", &[]).await;
    let earned = usage(&owner, "?view=earned&group_by=host,workload").await;
    assert_eq!(
        (&earned["total"]["credits"], &earned["total"]["jobs"]),
        (&json!(4.5), &json!(2)),
        "the Island is innocent of what cannot be done"
    );
    assert_eq!(earned["rows"][0]["host_name"], json!("hvar"));
    assert_eq!(usage(&owner, "").await["rows"], json!([]));
    assert_eq!(usage(&owner, &format!("?host={palma}")).await["rows"], json!([]));
    world.finish().await;
}

#[tokio::test]
async fn a_bad_question_names_the_field() {
    let world = World::new().await;
    let ana = world.user("ana", "0").await;
    for (query, field) in [
        ("?group_by=island", "group_by"),
        ("?group_by=day,day", "group_by"),
        ("?group_by=day,key,host", "group_by"),
        ("?view=lost", "view"),
        ("?view=earned&group_by=key", "group_by"),
        ("?view=earned&key=none", "key"),
        ("?from=yesterday", "from"),
        ("?from=2026-02-30", "from"),
        ("?from=2026-11-01T10:00:00Z", "from"),
        ("?to=99999999-01-01", "to"),
        ("?from=2026-11-02&to=2026-11-01", "to"),
        ("?from=2020-01-01&to=2026-01-01", "from"),
        ("?workload=nothing", "workload"),
        ("?key=ak_1", "key"),
        ("?host=palma", "host"),
    ] {
        let (status, body) = ana.get(&format!("{USAGE}{query}")).await;
        assert_eq!(status, 422, "{query}: {body}");
        assert!(body["errors"].get(field).is_some(), "{query}: {body}");
    }
    for (query, field) in
        [("?format=xml", "format"), ("?from=2026-11-02&to=2026-11-01", "to"), ("?key=x", "key")]
    {
        let (status, body) = ana.get(&format!("{USAGE}/export{query}")).await;
        assert_eq!(status, 422, "{query}: {body}");
        assert!(body["errors"].get(field).is_some(), "{query}: {body}");
    }
    world.finish().await;
}

#[tokio::test]
async fn every_job_is_a_line_of_the_file() {
    let world = World::new().await;
    let (ana, _) = a_little(&world).await;
    let (status, lines) = ana.get(&format!("{USAGE}/export?format=json")).await;
    assert_eq!(status, 200);
    let lines = lines.as_array().unwrap().clone();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        (&lines[0]["status"], &lines[0]["credits"], &lines[0]["host_name"]),
        (&json!("failed"), &json!(0), &json!("hvar"))
    );
    assert_eq!(
        (&lines[1]["credits"], &lines[1]["bid"], &lines[1]["units"]),
        (&json!(2.5), &json!(2.75), &json!(1))
    );
    assert_eq!((&lines[3]["workload"], &lines[3]["host_name"]), (&json!("llm-chat"), &json!("palma")));
    let sum: i64 = lines.iter().map(|line| line["credits_micros"].as_i64().unwrap()).sum();
    assert_eq!(sum, 8_000_000);

    let (_, csv) = ana.get(&format!("{USAGE}/export")).await;
    let csv = csv.as_str().unwrap();
    let rows: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert!(rows[0].starts_with("at,workload,workload_name,key_name,host_name,status,"), "{csv}");
    assert_eq!(rows.len(), 5);
    assert!(rows[2].contains(",llm-chat,LLM Chat (standard),test,hvar,completed,,1,"), "{csv}");

    let yesterday = format!("?format=json&to={}", day(-1));
    assert_eq!(ana.get(&format!("{USAGE}/export{yesterday}")).await, (200, json!([])));
    let (_, one) =
        ana.get(&format!("{USAGE}/export?format=json&from={}", lines[0]["at"].as_str().unwrap())).await;
    assert_eq!(one.as_array().unwrap().len(), 1);
    // Nobody else's.
    let ben = world.user("ben", "0").await;
    assert_eq!(ben.get(&format!("{USAGE}/export?format=json")).await, (200, json!([])));
    world.finish().await;
}

/// More than three pages of an export, with a key whose name a spreadsheet would run.
#[tokio::test]
async fn a_long_file_is_whole_and_harmless() {
    const JOBS: usize = 1700;
    let world = World::new().await;
    let ana = world.user("ana", "10000").await;
    world.admin(&["api-key", "create", "--email", &ana.email, "--name", "unused"]).await;
    let made = world.admin(&["api-key", "create", "--email", &ana.email, "--name", "=1+1"]).await;
    let mut bad = ana.clone();
    bad.key = made["key"].as_str().unwrap().to_owned();
    let island = world.island("palma", "1", 100).await.works_by_itself();
    for _ in 0..JOBS / 100 {
        let jobs = (0..100).map(|_| async { bad.job(json!({})).await });
        let jobs = futures_util::future::join_all(jobs).await;
        futures_util::future::join_all(jobs.iter().map(|job| bad.ended(job))).await;
    }
    let (_, csv) = ana.get(&format!("{USAGE}/export")).await;
    let rows: Vec<&str> = csv.as_str().unwrap().split_terminator("\r\n").collect();
    assert_eq!(rows.len(), JOBS + 1);
    assert!(rows[1..].iter().all(|row| row.contains(",'=1+1,palma,completed,")), "{}", rows[1]);
    let mut ids: Vec<&str> = rows[1..].iter().map(|row| row.rsplit(',').nth(2).unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), JOBS, "each once");
    let (_, json) = ana.get(&format!("{USAGE}/export?format=json")).await;
    assert_eq!(json.as_array().unwrap().len(), JOBS);
    assert_eq!(usage(&ana, "").await["total"]["credits"], json!(JOBS));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn the_page_says_the_same() {
    let world = World::with("[mail]\ntransport = \"file\"").await;
    let mut browser = Browser::new(&world.url);
    let gate = browser.get("/usage").await;
    assert_eq!((gate.status, gate.location.starts_with("/login")), (303, true), "{}", gate.location);
    assert_eq!(browser.get("/usage/export").await.status, 303);
    let (ana, _) = a_little(&world).await;
    browser.sign_in(&ana.email, world.folder.path()).await;
    let page = browser.get("/usage").await;
    assert_eq!(page.status, 200);
    for text in ["8.00", "LLM Chat (standard)", "palma", "hvar", "data-plot", "1 failed"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let empty = browser.get("/usage?from=2026-01-01&to=2026-01-02").await;
    assert!(empty.text.contains("No job ended in these days."), "{}", empty.text);
    let wrong = browser.get("/usage?from=2026-01-03&to=2026-01-02").await;
    assert_eq!(wrong.status, 200);
    assert!(wrong.text.contains("usage-problem"), "{}", wrong.text);
    let file = browser.get("/usage/export?format=csv").await;
    assert_eq!(file.text.split_terminator("\r\n").count(), 5);
    world.finish().await;
}
