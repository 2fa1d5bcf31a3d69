//! Bad input: a clear 4xx that names the field and changes nothing; never a 5xx.

use serde_json::{Value, json};

use crate::world::{User, World};

async fn refused(ana: &User, method: &str, path: &str, body: Option<&str>, expected: (u16, &str)) {
    let (status, answer) = ana.request(method, path, &[], body).await;
    let what = format!("{method} {path} {:.200} answered {answer}", body.unwrap_or_default());
    assert_eq!(status, expected.0, "{what}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
    assert!(answer["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{what}");
    if expected.0 == 422 {
        assert!(answer["errors"].get(expected.1).is_some(), "{} should be named: {what}", expected.1);
    } else {
        assert_eq!(answer["error"]["code"], json!(expected.1), "{what}");
    }
}

#[tokio::test]
async fn submissions_that_are_wrong_are_refused_by_field() {
    let world = World::new().await;
    let ana = world.user("ana", "100").await;
    let job = |more: &str| format!(r#"{{"workload":"llm-chat","input":{{"prompt":"hi"}}{more}}}"#);
    let chat =
        |more: &str| format!(r#"{{"model":"llm-chat","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    let long = format!(r#"{{"workload":"llm-chat","input":{{"prompt":"{}"}}}}"#, "a".repeat(40_000));
    let deep = format!(r#"{{"workload":"llm-chat","input":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let mut cases = vec![
        ("/api/v1/jobs", "{".to_owned(), (400, "invalid_json")),
        ("/api/v1/jobs", String::new(), (400, "invalid_json")),
        ("/api/v1/jobs", "[]".to_owned(), (400, "invalid_json")),
        ("/api/v1/jobs", "\u{0}\u{1}".to_owned(), (400, "invalid_json")),
        ("/api/v1/jobs", deep, (422, "input")),
        ("/api/v1/jobs", "{}".to_owned(), (422, "workload")),
        ("/api/v1/jobs", r#"{"workload":5,"input":{}}"#.to_owned(), (422, "workload")),
        ("/api/v1/jobs", r#"{"workload":"nope","input":{}}"#.to_owned(), (404, "unknown_workload")),
        ("/api/v1/jobs", r#"{"workload":"llm-chat"}"#.to_owned(), (422, "input")),
        ("/api/v1/jobs", r#"{"workload":"llm-chat","input":7}"#.to_owned(), (422, "input")),
        (
            "/api/v1/jobs",
            r#"{"workload":"sdxl","input":{"prompt":"x","width":1}}"#.to_owned(),
            (422, "input.width"),
        ),
        ("/api/v1/jobs", long, (422, "input.prompt")),
        ("/api/v1/jobs", job(r#","priority":101"#), (422, "priority")),
        ("/api/v1/jobs", job(r#","priority":"high""#), (422, "priority")),
        ("/api/v1/jobs", job(r#","region":"""#), (422, "region")),
        ("/api/v1/jobs", job(r#","region":"a\u0000b""#), (422, "region")),
        ("/api/v1/credits/purchases", r#"{"package":"a\u0000b"}"#.to_owned(), (422, "package")),
        ("/v1/chat/completions", chat(r#","model":"gpt-9""#), (404, "model_not_found")),
        ("/v1/chat/completions", chat(r#","stream":"yes""#), (422, "stream")),
        ("/v1/chat/completions", chat(r#","max_tokens":-1"#), (422, "max_tokens")),
        ("/v1/chat/completions", r#"{"model":"default"}"#.to_owned(), (422, "messages")),
        ("/v1/images/generations", r#"{"prompt":"x","size":"big"}"#.to_owned(), (422, "size")),
        ("/v1/images/generations", r#"{"prompt":"x","n":2}"#.to_owned(), (422, "n")),
        ("/api/v1/credits/purchases", r#"{"package":"moon"}"#.to_owned(), (422, "package")),
        ("/api/v1/api-keys", r#"{"name":""}"#.to_owned(), (422, "name")),
        ("/api/v1/api-keys", r#"{"name":"a","scopes":"all"}"#.to_owned(), (422, "scopes")),
    ];
    let bids = [
        "0",
        "-1",
        "-0.5",
        "1e9",
        "1000000000",
        "1.1234567",
        "\"abc\"",
        "\"NaN\"",
        "\"\"",
        "true",
        "{}",
        "[1]",
        "1e400",
    ];
    for bid in bids {
        cases.push(("/api/v1/jobs", job(&format!(r#","bid_price":{bid}"#)), (422, "bid_price")));
        cases.push(("/v1/chat/completions", chat(&format!(r#","bid_price":{bid}"#)), (422, "bid_price")));
    }
    for (path, body, expected) in cases {
        refused(&ana, "POST", path, Some(&body), expected).await;
    }
    // A number JSON does not know.
    refused(&ana, "POST", "/api/v1/jobs", Some(&job(r#","bid_price":NaN"#)), (400, "invalid_json")).await;
    assert_eq!(ana.credits().await, ("100".to_owned(), "0".to_owned()));
    let (_, jobs) = ana.get("/api/v1/jobs").await;
    assert_eq!(jobs["data"], json!([]));
    world.finish().await;
}

#[tokio::test]
async fn paths_and_queries_that_are_wrong_are_refused() {
    let world = World::new().await;
    let ana = world.user("ana", "1").await;
    let cases = [
        ("GET", "/api/v1/jobs/nope", (404, "not_found")),
        ("GET", "/api/v1/jobs/job_0000000000001", (404, "not_found")),
        ("GET", "/api/v1/jobs/%00", (404, "not_found")),
        ("GET", "/api/v1/jobs/%ff", (400, "bad_request")),
        ("DELETE", "/api/v1/jobs/job_0000000000001", (404, "not_found")),
        ("GET", "/api/v1/jobs/usr_0000000000001/stream", (404, "not_found")),
        ("GET", "/api/v1/workloads/nope", (404, "unknown_workload")),
        ("GET", "/api/v1/market/rates/nope", (404, "unknown_workload")),
        ("GET", "/api/v1/hosts/nope", (404, "not_found")),
        ("DELETE", "/api/v1/api-keys/nope", (404, "not_found")),
        ("GET", "/api/v1/nothing", (404, "not_found")),
        ("PUT", "/api/v1/jobs", (405, "method_not_allowed")),
        ("GET", "/api/v1/jobs?limit=0", (422, "limit")),
        ("GET", "/api/v1/jobs?limit=101", (422, "limit")),
        ("GET", "/api/v1/jobs?limit=many", (422, "limit")),
        ("GET", "/api/v1/jobs?offset=-1", (422, "offset")),
        ("GET", "/api/v1/credits/transactions?cursor=x", (422, "cursor")),
    ];
    for (method, path, expected) in cases {
        refused(&ana, method, path, None, expected).await;
    }
    world.finish().await;
}

#[tokio::test]
async fn who_may_do_what() {
    let world = World::new().await;
    let island = world.island("palma", "1", 5).await.works_by_itself();
    let ana = world.user("ana", "10").await;
    let ben = world.user("ben", "10").await;
    let job = ana.job(json!({})).await;
    ana.ended(&job).await;

    for (method, path) in [
        ("GET", format!("/api/v1/jobs/{job}")),
        ("GET", format!("/api/v1/jobs/{job}/stream")),
        ("DELETE", format!("/api/v1/jobs/{job}")),
    ] {
        refused(&ben, method, &path, None, (404, "not_found")).await;
    }
    let reader = world.key_for(&ana.email, &["--scopes", "read"]).await;
    let body = r#"{"workload":"llm-chat","input":{"prompt":"hi"}}"#;
    refused(&reader, "POST", "/api/v1/jobs", Some(body), (403, "missing_scope")).await;
    let writer = world.key_for(&ana.email, &["--scopes", "write"]).await;
    refused(&writer, "GET", "/api/v1/account", None, (403, "missing_scope")).await;
    assert_eq!(writer.submit(json!({})).await.0, 201);

    let mut stranger = ana.clone();
    for key in ["ak_wrong", "", "it_nonsense"] {
        stranger.key = key.to_owned();
        refused(&stranger, "GET", "/api/v1/account", None, (401, "unauthenticated")).await;
        refused(&stranger, "POST", "/api/v1/jobs", Some(body), (401, "unauthenticated")).await;
    }
    // A revoked key is refused at once.
    let (_, keys) = ana.get("/api/v1/api-keys").await;
    let id = keys["data"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(reader.request("DELETE", &format!("/api/v1/api-keys/{id}"), &[], None).await.0, 403);
    assert_eq!(ben.request("DELETE", &format!("/api/v1/api-keys/{id}"), &[], None).await.0, 404);
    assert_eq!(ana.request("DELETE", &format!("/api/v1/api-keys/{id}"), &[], None).await.0, 200);
    refused(&ana, "GET", "/api/v1/account", None, (401, "unauthenticated")).await;
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let world = World::with("[limits]\nrequests_per_minute = 1000\nbody_bytes = 2000").await;
    let ana = world.user("ana", "1").await;
    let body = format!(r#"{{"workload":"llm-chat","input":{{"prompt":"{}"}}}}"#, "a".repeat(3000));
    refused(&ana, "POST", "/api/v1/jobs", Some(&body), (413, "too_large")).await;
    world.finish().await;
}

#[tokio::test]
async fn asking_too_often_is_answered_with_when_to_come_back() {
    let world = World::with("[limits]\nrequests_per_minute = 5").await;
    let ana = world.user("ana", "1").await;
    let nothing = json!({});
    let answers = futures_util::future::join_all((0..8).map(|_| ana.post("/api/v1/jobs", &nothing))).await;
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 429).collect();
    assert_eq!(refused.len(), 3);
    assert_eq!(refused[0].1["error"]["code"], json!("rate_limited"));
    let request = ana.http().post(format!("{}/api/v1/jobs", world.url)).bearer_auth(&ana.key);
    let response = request.send().await.unwrap();
    let wait: u32 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    world.finish().await;
}

/// Each existing client reads errors and ids in its own way; the body suits it.
#[tokio::test]
async fn existing_clients_get_what_they_read() {
    let world = World::new().await;
    let ana = world.user("ana", "12.5").await;
    let cli = [("user-agent", "archipelagio-cli/0.2.0")];
    let (_, account) = ana.request("GET", "/api/v1/account", &cli, None).await;
    assert!(account["data"]["id"].is_i64());
    let (_, account) = ana.get("/api/v1/account").await;
    assert!(account["data"]["id"].is_string());
    assert_eq!(account["data"]["credits"], json!(12.5));
    let (_, error) = ana.request("GET", "/api/v1/jobs/nope", &cli, None).await;
    assert!(error["error"].is_string());
    let (_, error) = ana.get("/api/v1/jobs/nope").await;
    assert!(error["error"]["message"].is_string());
    let (status, made) = ana.post("/api/v1/api-keys", &json!({"name": "sdk"})).await;
    assert_eq!(status, 201);
    let key = made["key"].as_str().unwrap();
    for path in ["/data/key", "/data/api_key/id", "/data/data/id", "/id", "/prefix"] {
        assert!(made.pointer(path).is_some_and(Value::is_string), "{path}: {made}");
    }
    assert!(key.starts_with("ak_") && made["data"]["key"] == json!(key));
    let (_, workloads) = ana.get("/api/v1/workloads").await;
    for workload in workloads["data"].as_array().unwrap() {
        assert_eq!(workload["runtime_type"], json!("container"));
        assert!(workload["price_per_job"].is_number() && workload["id"].is_i64());
    }
    world.finish().await;
}
