//! API keys beyond their limits (those are in `limits`): scopes, an end, places, rotation, a checksum, alerts.

use serde_json::{Value, json};
use server::accounts::key_secret;
use types::time::{Clock, DAY_MS, SystemClock};

use crate::world::browser::Browser;
use crate::world::{Answer, User, World, eventually};

impl User {
    /// This user with another secret.
    fn with_key(&self, key: &Value) -> Self {
        let mut other = self.clone();
        key.as_str().unwrap().clone_into(&mut other.key);
        other
    }

    async fn make_key(&self, body: Value) -> Answer {
        self.post("/api/v1/api-keys", &body).await
    }

    async fn calling_from(&self, address: &str) -> Answer {
        self.request("GET", "/api/v1/account", &[("x-forwarded-for", address)], None).await
    }
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_key_gives_no_key_more_than_it_has() {
    let world = World::new().await;
    let ana = world.user("ana", "10").await;
    // Management without spending.
    let (status, made) = ana.make_key(json!({"name": "ops", "scopes": "read,manage"})).await;
    assert_eq!((status, &made["scopes"]), (201, &json!(["read", "manage"])), "{made}");
    let ops = ana.with_key(&made["key"]);
    assert_eq!(code(&ops.submit(json!({})).await), (403, "missing_scope"));
    let bought = ops.post("/api/v1/credits/purchases", &json!({"package": "starter"})).await;
    assert_eq!(code(&bought), (403, "missing_scope"));
    for scopes in ["write", "read,write", "write,manage"] {
        let refused = ops.make_key(json!({"name": "x", "scopes": scopes})).await;
        assert_eq!(code(&refused), (403, "missing_scope"), "{refused:?}");
    }
    let (status, child) = ops.make_key(json!({"name": "child"})).await;
    assert_eq!((status, &child["scopes"]), (201, &json!(["read", "manage"])), "as itself: {child}");
    // It may limit and revoke a key that spends, but never gets its secret.
    let (_, spender) = ana.make_key(json!({"name": "spender"})).await;
    let path = format!("/api/v1/api-keys/{}", spender["id"].as_str().unwrap());
    let limited = ops.request("PATCH", &path, &[], Some(r#"{"limits":{"day":1}}"#)).await;
    assert_eq!((limited.0, &limited.1["data"]["limits"]["day"]), (200, &json!(1)));
    for looser in [r#"{"limits":{"day":2}}"#, r#"{"limits":{"day":null}}"#] {
        assert_eq!(code(&ops.request("PATCH", &path, &[], Some(looser)).await), (403, "missing_scope"));
    }
    let tighter = ops.request("PATCH", &path, &[], Some(r#"{"limits":{"day":0.5,"total":3}}"#)).await;
    assert_eq!((tighter.0, &tighter.1["data"]["limits"]["total"]), (200, &json!(3)), "{tighter:?}");
    // One with a limit manages nothing at all, so that it cannot make what has none.
    let spending = ana.with_key(&spender["key"]);
    let made = spending.post("/api/v1/hosts", &json!({"name": "Hvar"})).await;
    assert_eq!(code(&made), (403, "limited_key"), "{made:?}");
    let (_, host) = ana.post("/api/v1/hosts", &json!({"name": "Hvar"})).await;
    let host = format!("/api/v1/hosts/{}", host["data"]["id"].as_str().unwrap());
    assert_eq!(code(&spending.post(&format!("{host}/token"), &json!({})).await), (403, "limited_key"));
    let gone = spending.request("DELETE", &format!("{host}/token"), &[], None).await;
    assert_eq!(code(&gone), (403, "limited_key"));
    assert_eq!(code(&ops.post(&format!("{path}/rotate"), &json!({})).await), (403, "missing_scope"));
    assert_eq!(ops.request("DELETE", &path, &[], None).await.0, 200);
    // Without the scope nothing is managed; scopes that are none are refused.
    let reader = ana.with_key(&ana.make_key(json!({"name": "r", "scopes": "read"})).await.1["key"]);
    assert_eq!(code(&reader.make_key(json!({"name": "x"})).await), (403, "missing_scope"));
    assert_eq!(code(&ana.make_key(json!({"name": "x", "scopes": "admin"})).await), (422, "invalid_field"));
    assert_eq!(code(&ana.make_key(json!({"name": "x", "color": 1})).await), (422, "invalid_field"));

    // Neither in time nor in place.
    let soon = SystemClock.now().plus_millis(DAY_MS);
    let body = json!({"name": "bounded", "expires_at": soon, "allowed_ips": ["127.0.0.0/8", "10.0.0.0/8"]});
    let (status, made) = ana.make_key(body).await;
    assert_eq!((status, &made["expires_at"]), (201, &json!(soon)), "{made}");
    let bounded = ana.with_key(&made["key"]);
    let (_, child) = bounded.make_key(json!({"name": "as itself"})).await;
    assert_eq!((&child["expires_at"], &child["allowed_ips"]), (&made["expires_at"], &made["allowed_ips"]));
    for (more, field) in [
        (json!({"expires_at": null}), "expires_at"),
        (json!({"expires_at": soon.plus_millis(1)}), "expires_at"),
        (json!({"allowed_ips": []}), "allowed_ips"),
        (json!({"allowed_ips": ["10.1.0.0/16", "192.0.2.1"]}), "allowed_ips"),
        (json!({"allowed_ips": ["0.0.0.0/0"]}), "allowed_ips"),
    ] {
        let mut body = more.clone();
        body["name"] = json!("x");
        let refused = bounded.make_key(body).await;
        assert_eq!((code(&refused), &refused.1["error"]["field"]), ((403, "beyond_own_key"), &json!(field)));
        let path = format!("/api/v1/api-keys/{}", child["id"].as_str().unwrap());
        let refused = bounded.request("PATCH", &path, &[], Some(&more.to_string())).await;
        assert_eq!(code(&refused), (403, "beyond_own_key"), "{more}");
    }
    let fewer = json!({"name": "less", "allowed_ips": ["10.1.0.0/16"], "expires_at": soon.plus_millis(-9)});
    assert_eq!(bounded.make_key(fewer).await.0, 201);
    world.finish().await;
}

#[tokio::test]
async fn a_key_ends_in_memory_and_in_the_transaction_that_spends() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 1).await;
    let ana = world.user("ana", "10").await;
    let soon = SystemClock.now().plus_millis(1500);
    for bad in [json!("tomorrow"), json!("2020-01-01T00:00:00Z"), json!(17)] {
        let refused = ana.make_key(json!({"name": "x", "expires_at": bad})).await;
        assert_eq!((refused.0, &refused.1["error"]["param"]), (422, &json!("expires_at")), "{refused:?}");
    }
    let (_, made) = ana.make_key(json!({"name": "short", "expires_at": soon})).await;
    let short = ana.with_key(&made["key"]);
    // One job runs, another waits for the only slot beyond the key's end.
    let running = short.job(json!({})).await;
    let work = island.work().await;
    let waiting = short.job(json!({})).await;
    let ended = eventually(async || {
        let answer = short.get("/api/v1/account").await;
        (answer.0 == 401).then_some(answer)
    });
    let ended = ended.await;
    assert_eq!(code(&ended), (401, "unauthenticated"));
    assert!(ended.1["error"]["message"].as_str().unwrap().contains("expired"), "{ended:?}");
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    assert_eq!(ana.ended(&running).await["status"], "completed");
    let waited = ana.ended(&waiting).await;
    assert_eq!((&waited["status"], &waited["cost"]), (&json!("failed"), &json!(0)), "{waited}");
    assert_eq!(waited["error_code"], "key_revoked");
    // It is still there, can be given more time, and then opens again.
    let path = format!("/api/v1/api-keys/{}", made["id"].as_str().unwrap());
    assert_eq!(ana.get(&path).await.0, 200);
    let renewed = ana.request("PATCH", &path, &[], Some(r#"{"expires_at":null}"#)).await;
    assert_eq!((renewed.0, &renewed.1["data"]["expires_at"]), (200, &Value::Null));
    assert_eq!(short.get("/api/v1/account").await.0, 200);
    world.finish().await;
}

#[tokio::test]
async fn a_key_opens_only_from_where_it_may() {
    let world = World::new().await;
    let ana = world.user("ana", "10").await;
    let (status, made) =
        ana.make_key(json!({"name": "office", "allowed_ips": ["203.0.113.7/24", "2001:db8::/32"]})).await;
    assert_eq!((status, &made["allowed_ips"]), (201, &json!(["203.0.113.0/24", "2001:db8::/32"])), "{made}");
    let office = ana.with_key(&made["key"]);
    for (address, status) in [
        ("203.0.113.200", 200),
        ("2001:db8:1::9", 200),
        ("::ffff:203.0.113.9", 200),
        ("203.0.114.1", 403),
        ("2001:db9::1", 403),
        // What a proxy adds stands last; what the client claims before it counts for nothing.
        ("203.0.113.1, 198.51.100.1", 403),
        ("198.51.100.1, 203.0.113.1", 200),
        ("nonsense", 403),
    ] {
        let answer = office.calling_from(address).await;
        assert_eq!(answer.0, status, "{address}: {answer:?}");
        assert!(status == 200 || code(&answer).1 == "address_not_allowed", "{answer:?}");
    }
    let path = format!("/api/v1/api-keys/{}", made["id"].as_str().unwrap());
    assert_eq!(office.request("GET", &path, &[], None).await.0, 403, "from this very machine");
    let patch = ana.request("PATCH", &path, &[], Some(r#"{"allowed_ips":["127.0.0.1"]}"#)).await;
    assert_eq!(patch.0, 200, "{patch:?}");
    assert_eq!(office.get("/api/v1/account").await.0, 200);
    for bad in [json!("127.0.0.1"), json!(["localhost"]), json!(["1.2.3.4/40"]), json!(vec!["1.1.1.1"; 21])] {
        let refused = ana.make_key(json!({"name": "x", "allowed_ips": bad})).await;
        assert_eq!((refused.0, &refused.1["error"]["param"]), (422, &json!("allowed_ips")), "{refused:?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_key_is_rotated_with_and_without_grace() {
    let world = World::new().await;
    let island = world.island("palma", "2", 5).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    let (_, made) = ana.make_key(json!({"name": "ci"})).await;
    let first = ana.with_key(&made["key"]);
    let job = first.job(json!({})).await;
    first.ended(&job).await;
    let path = format!("/api/v1/api-keys/{}", made["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate");

    // With an hour of grace, and the same answer to a repeated request.
    let headers = [("idempotency-key", "r1")];
    let body = Some(r#"{"grace_seconds":3600}"#);
    let (status, rotated) = ana.request("POST", &rotate, &headers, body).await;
    assert_eq!((status, &rotated["id"], &rotated["name"]), (200, &made["id"], &json!("ci")), "{rotated}");
    assert_eq!(ana.request("POST", &rotate, &headers, body).await.1["key"], rotated["key"]);
    let second = ana.with_key(&rotated["data"]["key"]);
    assert_eq!((first.get("/api/v1/account").await.0, second.get("/api/v1/account").await.0), (200, 200));
    let job = first.job(json!({})).await;
    first.ended(&job).await;
    let key = &second.get(&path).await.1["data"];
    assert_eq!(key["usage"]["total"]["spent"], json!(4), "what was spent stays counted: {key}");
    assert!(key["old_secret_valid_until"].is_string(), "{key}");
    // The old secret renews nothing.
    for (method, path, body) in [
        ("POST", rotate.as_str(), "{}"),
        ("POST", "/api/v1/api-keys", r#"{"name":"x"}"#),
        ("DELETE", &path, ""),
        ("POST", "/api/v1/hosts", r#"{"name":"x"}"#),
        ("POST", "/api/v1/webhooks", r#"{"url":"https://x.example/"}"#),
    ] {
        let refused = first.request(method, path, &[], Some(body)).await;
        assert_eq!(code(&refused), (403, "replaced_key"), "{refused:?}");
    }
    // Without grace all that were before end, at once; the body may be left out.
    let (status, third) = second.request("POST", &rotate, &[], None).await;
    assert_eq!(status, 200, "{third}");
    for old in [&first, &second] {
        assert_eq!((old.get("/api/v1/account").await.0, old.submit(json!({})).await.0), (401, 401));
    }
    let third = ana.with_key(&third["key"]);
    assert!(third.get(&path).await.1["data"]["old_secret_valid_until"].is_null());
    for bad in ["-1", "604801", "1.5", "\"soon\""] {
        let refused = ana.request("POST", &rotate, &[], Some(&format!("{{\"grace_seconds\":{bad}}}"))).await;
        assert_eq!((refused.0, &refused.1["error"]["param"]), (422, &json!("grace_seconds")), "{refused:?}");
    }
    // Another's is not there; revoked is revoked, with all secrets.
    let ben = world.user("ben", "1").await;
    assert_eq!(code(&ben.post(&rotate, &json!({})).await), (404, "not_found"));
    assert_eq!(ana.post(&rotate, &json!({"grace_seconds": 60})).await.0, 200);
    assert_eq!(third.get("/api/v1/account").await.0, 200);
    assert_eq!(ana.request("DELETE", &path, &[], None).await.0, 200);
    assert_eq!(third.get("/api/v1/account").await.0, 401);
    assert_eq!(code(&ana.post(&rotate, &json!({})).await), (404, "not_found"));
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn a_leaked_key_is_told_from_a_text_that_looks_like_one() {
    let world = World::new().await;
    let ana = world.user("ana", "1").await;
    assert!(key_secret::can_be(&ana.key) && ana.key.len() == 49, "{}", ana.key);
    let found = world.admin(&["api-key", "find", "--key", &ana.key]).await;
    assert_eq!((&found["email"], &found["revoked_at"]), (&json!("ana@example.org"), &Value::Null), "{found}");
    let wrong = format!("{}{}", &ana.key[..48], if ana.key.ends_with('0') { '1' } else { '0' });
    let output = world.command("admin").args(["api-key", "find", "--key", &wrong]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("its checksum is wrong"), "{output:?}");
    let mut stranger = ana.clone();
    stranger.key = wrong;
    assert_eq!(code(&stranger.get("/api/v1/account").await), (401, "unauthenticated"));
    let revoked = world.admin(&["api-key", "revoke", "--key", &ana.key]).await;
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    eventually(async || (ana.get("/api/v1/account").await.0 == 401).then_some(())).await;
    let args =
        ["--expires", "30d", "--allow-ip", "10.0.0.0/8", "--allow-ip", "::1", "--scopes", "read,manage"];
    let create = ["api-key", "create", "--email", &ana.email, "--name", "ops"];
    let made = world.admin(&[&create[..], &args].concat()).await;
    assert_eq!(
        (&made["allowed_ips"], &made["scopes"]),
        (&json!(["10.0.0.0/8", "::1"]), &json!(["read", "manage"]))
    );
    let day = SystemClock.now().plus_millis(30 * DAY_MS).date();
    assert_eq!(made["expires_at"].as_str().unwrap()[..10], day);
    for (option, value) in [("--expires", "never"), ("--allow-ip", "home"), ("--scopes", "all")] {
        let output = world.command("admin").args(create).args([option, value]).output().await.unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("{option} must be")), "{output:?}");
    }
    world.finish().await;
}

/// Incident 82: a warning comes before the limit is met, once for each period.
#[tokio::test]
async fn incident_082_a_limit_is_told_of_before_it_is_met() {
    let world = World::with("[mail]\ntransport = \"file\"\n").await;
    let island = world.island("palma", "2", 5).await.works_by_itself();
    let ana = world.user("ana", "100").await;
    let limited = world.key_for(&ana.email, &["--limit-day", "9", "--limit-month", "1000"]).await;
    for _ in 0..4 {
        let job = limited.job(json!({})).await;
        limited.ended(&job).await;
    }
    let letters = |word: &'static str| {
        let folder = world.folder.path().join("mail");
        let files = std::fs::read_dir(folder).into_iter().flatten();
        let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        texts.filter(|text| text.contains(word)).count()
    };
    eventually(async || (letters("Subject: An API key nears its limit") == 1).then_some(())).await;
    assert_eq!(letters("Subject: An API key has reached its limit"), 0);
    assert_eq!(limited.submit(json!({})).await.0, 402);
    eventually(async || (letters("Subject: An API key has reached its limit") == 1).then_some(())).await;
    assert_eq!(limited.submit(json!({})).await.0, 402);
    assert_eq!(letters("nears its limit"), 1, "told once");
    island.abort();
    world.finish().await;
}

#[tokio::test]
async fn the_page_of_a_key_edits_all_of_it() {
    let world = World::with("[mail]\ntransport = \"file\"\n").await;
    let mut browser = Browser::new(&world.url);
    browser.sign_in("ana@example.org", world.folder.path()).await;
    let fields = [
        ("name", "ops"),
        ("scope_manage", "manage"),
        ("expires", "2099-12-31"),
        ("allowed", "127.0.0.1, ::1"),
    ];
    let made = browser.send("/settings", "/settings/keys", &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert!(made.text.contains("from 2 places only") && made.text.contains("manage"), "{}", made.text);
    let secret = made.text.split("id=\"key-text\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(key_secret::can_be(&secret));
    let id = made.text.split("/settings/keys/key_").nth(1).unwrap();
    let id = id.split(['"', '/']).next().unwrap().to_owned();
    let page = format!("/settings/keys/key_{id}");
    let shown = browser.get(&page).await.text;
    assert!(shown.contains("value=\"2099-12-31\"") && shown.contains("value=\"127.0.0.1, ::1\""), "{shown}");
    for (field, value, word) in [
        ("expires", "2001-01-01", "Choose a day that is not over."),
        ("allowed", "home", "Must be an address"),
    ] {
        let refused = browser.send(&page, &page, &[("name", "ops"), (field, value)]).await;
        assert_eq!(refused.status, 422);
        assert!(refused.text.contains(word) && refused.text.contains(value), "{}", refused.text);
    }
    let saved = browser.send(&page, &page, &[("name", "ops 2"), ("allowed", "")]).await;
    assert_eq!(saved.location, "/settings?done=key_saved");
    let rotated = browser.send(&page, &format!("{page}/rotate"), &[("grace", "3600")]).await;
    assert_eq!(rotated.status, 200);
    let new = rotated.text.split("id=\"key-text\">").nth(1).unwrap().split('<').next().unwrap();
    assert!(key_secret::can_be(new) && new != secret);
    assert!(browser.get(&page).await.text.contains("A secret that was replaced still works until"));
    world.finish().await;
}

#[tokio::test]
async fn an_address_asks_for_so_many_links_and_checkouts_an_hour() {
    let config = "[mail]\ntransport = \"file\"\n[limits]\nrequests_per_minute = 1000\n\
                  sign_in_links_per_address = 3\ncheckouts_per_address = 2\n";
    let world = World::with(config).await;
    let mut browser = Browser::new(&world.url);
    for name in ["ana", "ben", "cem"] {
        let sent = browser.send("/login", "/login", &[("email", &format!("{name}@example.org"))]).await;
        assert_eq!(sent.status, 200, "{}", sent.text);
    }
    let refused = browser.send("/login", "/login", &[("email", "dora@example.org")]).await;
    assert_eq!(refused.status, 429);
    assert!(refused.text.contains("from your address"), "{}", refused.text);

    let ana = world.user("ana", "1").await;
    let buy = async |from: &str| {
        let path = format!("{}/api/v1/credits/purchases", ana.url());
        let request = ana.http().post(path).bearer_auth(&ana.key).header("x-forwarded-for", from);
        let request = request.header("content-type", "application/json").body(r#"{"package":"starter"}"#);
        let response = request.send().await.unwrap();
        let wait =
            response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().parse::<u32>().unwrap());
        (response.status().as_u16(), wait)
    };
    assert_eq!((buy("198.51.100.7").await, buy("198.51.100.7").await), ((201, None), (201, None)));
    let (status, wait) = buy("198.51.100.7").await;
    assert!(status == 429 && (1..=1801).contains(&wait.unwrap()), "{status} {wait:?}");
    assert_eq!(buy("198.51.100.8").await.0, 201);
    world.finish().await;
}
