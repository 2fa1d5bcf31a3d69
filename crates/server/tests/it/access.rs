//! Who may do what: every operation of the API with every kind of credentials, every form and page with every kind of
//! session. What there is to try is read from the server's own document and from the list of its addresses, so that a new one
//! that nobody thought of is found out.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use db::{Db, OpenOptions, Tx, params};
use futures_util::FutureExt;
use serde_json::{Value, json};
use types::id::ApiKeyId;

use crate::recipes::{Call, Listed, Scene, operations};
use crate::world::browser::{Browser, Page};
use crate::world::{User, World};

/// Where the pages' addresses are listed.
const ROUTES: &str = include_str!("../../src/web/mod.rs");

/// What anybody who has a key may look at, by whatever name is in the address.
const SHARED: &[&str] = &[
    "getHost",
    "getModel",
    "getModelBelowApi",
    "getRates",
    "getHistory",
    "getBook",
    "listTrades",
    "getWorkload",
];

/// Operations with a name in the address that is no object of anybody's.
const OWN: &[&str] = &["setBid", "deleteBid"];

/// The address with something in place of each name.
fn filled(path: &str, with: &str) -> String {
    let mut filled = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        filled.push_str(with);
        rest = after.split_once('}').unwrap().1;
    }
    filled + rest
}

/// An address of the pages with a name of the right kind in it that nothing has.
fn unknown(path: &str) -> String {
    let kinds = [
        ("/chat/answers/", "msg"),
        ("/chat/", "con"),
        ("/jobs/", "job"),
        ("/keys/", "key"),
        ("/payouts/", "pay"),
        ("/webhooks/", "ep"),
        ("/islands/", "isl"),
    ];
    let kind = kinds.iter().find(|(part, _)| path.contains(part)).map_or("x", |(_, kind)| kind);
    let path = path.replace("{slug}", "llm-chat").replace("{delivery}", "dlv_0000000000001");
    filled(&path, &format!("{kind}_0000000000001"))
}

/// Asks for an operation with these headers; answers the status and the code.
async fn ask(world: &World, operation: &Listed, headers: &[(&str, String)]) -> (u16, String) {
    let method = reqwest::Method::from_bytes(operation.method.as_bytes()).unwrap();
    let mut request = world.http.request(method, format!("{}{}", world.url, filled(&operation.path, "x")));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if operation.method != "GET" {
        request = request.header("content-type", "application/json").body("{}");
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    if status < 400 {
        // It may be a stream without an end.
        return (status, String::new());
    }
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn bearer(key: &str) -> Vec<(&'static str, String)> {
    vec![("authorization", format!("Bearer {key}"))]
}

/// What credentials open: nothing but what they are for.
#[tokio::test]
async fn every_operation_with_every_kind_of_credentials() {
    let scene = Scene::open().await;
    let all = operations(&scene.world).await;
    let ana = scene.actors[0].user.clone();
    let before = scene.state(&ana, &all).await;

    let reader = scene.world.key_for(&ana.email, &["--scopes", "read"]).await;
    let writer = scene.world.key_for(&ana.email, &["--scopes", "write"]).await;
    let manager = scene.world.key_for(&ana.email, &["--scopes", "manage"]).await;
    let expired = scene.world.key_for(&ana.email, &[]).await;
    let revoked = scene.world.key_for(&ana.email, &[]).await;
    let keys = ana.get("/api/v1/api-keys").await.1["data"].as_array().unwrap().clone();
    let id = |user: &User| {
        let found = keys.iter().find(|key| user.key.starts_with(key["prefix"].as_str().unwrap())).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let made = [id(&reader), id(&writer), id(&manager), id(&expired)];
    let db = Db::open(&scene.world.database, OpenOptions::command()).await.unwrap();
    let key: ApiKeyId = id(&expired).parse().unwrap();
    let end = async move |tx: &mut Tx<'_>| {
        tx.execute_one("UPDATE api_keys SET expires_at = 1 WHERE id = $1", &params![key]).await
    };
    db.tx("expire", end).await.unwrap();
    let path = format!("/api/v1/api-keys/{}", id(&revoked));
    assert_eq!(ana.request("DELETE", &path, &[], None).await.0, 200);
    let island = scene.world.island_token("somebody@example.org", "palma").await;
    let mut browser = Browser::new(&scene.world.url);
    browser.sign_in(&ana.email, scene.world.folder.path()).await;
    let csrf = browser.csrf("/settings").await;

    let nobody = [
        ("no credentials", vec![]),
        ("garbage", bearer("ak_garbage")),
        ("nothing after Bearer", vec![("authorization", "Bearer ".to_owned())]),
        ("another scheme", vec![("authorization", format!("Basic {}", ana.key))]),
        ("the key alone", vec![("authorization", ana.key.clone())]),
        ("the key somewhere else", vec![("x-api-key", ana.key.clone())]),
        ("a key cut off", bearer(&ana.key[..ana.key.len() - 1])),
        ("a revoked key", bearer(&revoked.key)),
        ("an expired key", bearer(&expired.key)),
        ("an Island's token", bearer(&island)),
        ("a session", vec![("cookie", browser.cookie())]),
        ("a session with its token", vec![("cookie", browser.cookie()), ("x-csrf-token", csrf)]),
    ];
    let mut guarded = 0;
    for operation in &all {
        let name = &operation.name;
        match operation.access.as_str() {
            "public" => {
                let (status, code) = ask(&scene.world, operation, &[]).await;
                assert!(!matches!(status, 401 | 403) && status < 500, "{name}: {status} {code}");
            }
            "signed" => {
                let (status, code) = ask(&scene.world, operation, &[]).await;
                assert!((400..500).contains(&status), "{name}: {status} {code}");
            }
            "island" => {
                for (what, headers) in nobody.iter().filter(|(what, _)| *what != "an Island's token") {
                    let (status, _) = ask(&scene.world, operation, headers).await;
                    assert!((400..500).contains(&status), "{name} with {what}: {status}");
                }
            }
            "read" | "write" | "manage" => {
                guarded += 1;
                for (what, headers) in &nobody {
                    let answer = ask(&scene.world, operation, headers).await;
                    assert_eq!(answer, (401, "unauthenticated".to_owned()), "{name} with {what}");
                }
                let small = match operation.access.as_str() {
                    "read" => [&writer, &manager],
                    "write" => [&reader, &manager],
                    _ => [&reader, &reader],
                };
                for small in small {
                    let answer = ask(&scene.world, operation, &bearer(&small.key)).await;
                    assert_eq!(answer, (403, "missing_scope".to_owned()), "{name}");
                }
            }
            other => panic!("{name}: an unknown kind of access, {other}"),
        }
    }
    assert!(guarded > 50, "{guarded}");
    for id in made {
        ana.request("DELETE", &format!("/api/v1/api-keys/{id}"), &[], None).await;
    }
    scene.unchanged(&ana, &all, &before, "nothing was changed by any of it").await;
    scene.calm();
    scene.finish().await;
}

/// The objects of somebody else are not there, and stay as they are.
#[tokio::test]
async fn every_operation_on_what_is_another_users() {
    let mut scene = Scene::open().await;
    let all = operations(&scene.world).await;
    let [ana, ben] = [0, 1].map(|actor: usize| scene.actors[actor].user.clone());
    let job = ana.job(json!({"workload": "llm-chat-hq"})).await;
    let done = ana.job(json!({})).await;
    ana.ended(&done).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let key = text(&ana.get("/api/v1/api-keys").await.1["data"][0]["id"]);
    let purchase = text(&ana.get("/api/v1/credits/purchases").await.1["data"][0]["id"]);
    let batch = json!({"workload": "llm-chat-hq", "inputs": [{"prompt": "one"}]});
    let batch = text(&ana.post("/api/v1/jobs/batch", &batch).await.1["id"]);
    let conversation = scene.conversation(&ana).await;
    let mut named = BTreeMap::from([
        ("getConversation", format!("/api/v1/conversations/{conversation}")),
        ("getBatchStatus", format!("/api/v1/jobs/{batch}/batch-status")),
        ("getJob", format!("/api/v1/jobs/{job}")),
        ("getJobOutput", format!("/api/v1/jobs/{done}/output")),
        ("streamJob", format!("/api/v1/jobs/{done}/stream")),
        ("getJobReceipt", format!("/api/v1/jobs/{done}/receipt")),
        ("getApiKey", format!("/api/v1/api-keys/{key}")),
        ("getPurchaseReceipt", format!("/api/v1/credits/purchases/{purchase}/receipt")),
    ]);
    let payout = scene.prepare("cancelPayout", 0).await.unwrap();
    named.insert("getPayout", payout.path.clone());
    let mut broken = Vec::new();
    for operation in all.iter().filter(|one| one.path.contains('{') && one.access != "public") {
        let tried = anothers(&mut scene, (&ana, &ben), &all, operation, (&named, &payout));
        // All of them are tried, so that one run tells of all that is broken.
        if AssertUnwindSafe(tried).catch_unwind().await.is_err() {
            broken.push(&operation.name);
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
    scene.finish().await;
}

/// What is one user's, asked for by its owner and by another.
async fn anothers(
    scene: &mut Scene,
    (ana, ben): (&User, &User),
    all: &[Listed],
    operation: &Listed,
    (named, payout): (&BTreeMap<&'static str, String>, &Call),
) {
    let name = operation.name.as_str();
    if SHARED.contains(&name) || OWN.contains(&name) {
        return;
    }
    if operation.method == "GET" {
        // Recipes make room among the webhooks.
        let later: BTreeMap<&str, String> = match name.contains("Webhook") {
            true => scene.objects_of_others(ana).await.into_iter().collect(),
            false => BTreeMap::new(),
        };
        let path = later.get(name).or_else(|| named.get(name));
        let path = path.unwrap_or_else(|| panic!("{name} has no object of another user here"));
        let (status, body) = ana.get(path).await;
        assert!(status == 200, "{name}: the owner may look: {status} {body}");
        let (status, body) = ben.get(path).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")), "{name}");
        return;
    }
    scene.calm();
    let call = match name {
        "cancelPayout" => payout.clone(),
        _ => scene.prepare(name, 0).await.unwrap_or_else(|| panic!("{name} has no recipe in recipes.rs")),
    };
    let before = scene.state(ana, all).await;
    let refused = call.by(ben).send(None).await;
    assert_eq!((refused.status, refused.code().as_str()), (404, "not_found"), "{name}: {refused:?}");
    scene.unchanged(ana, all, &before, &format!("{name} changes nothing")).await;
}

/// What is measured is for this machine, or for whoever has the token.
#[tokio::test]
async fn metrics_are_not_for_everybody() {
    let world = World::with("[metrics]\ntoken = \"0123456789abcdef\"\n").await;
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = world.http.get(format!("{}/metrics", world.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let elsewhere = ("x-forwarded-for", "203.0.113.7");
    assert_eq!(ask(&[]).await.0, 200);
    for refused in [
        vec![elsewhere],
        vec![("x-forwarded-for", "203.0.113.7, 127.0.0.1")],
        vec![("forwarded", "for=203.0.113.7")],
        vec![elsewhere, ("authorization", "Bearer 0123456789abcdeF")],
        vec![elsewhere, ("authorization", "Bearer 0123456789abcde")],
        vec![elsewhere, ("authorization", "0123456789abcdef")],
    ] {
        let (status, text) = ask(&refused).await;
        assert_eq!(status, 401, "{refused:?}");
        assert!(!text.contains("archipelago_"), "{text}");
    }
    let (status, text) = ask(&[elsewhere, ("authorization", "Bearer 0123456789abcdef")]).await;
    assert!(status == 200 && text.contains("archipelago_http_requests_total"), "{text}");
    let ana = world.user("ana", "0").await;
    let key = format!("Bearer {}", ana.key);
    assert_eq!(ask(&[elsewhere, ("authorization", &key)]).await.0, 401, "no API key opens it");
    for open in ["/health", "/ready"] {
        let response = world.http.get(format!("{}{open}", world.url)).header(elsewhere.0, elsewhere.1).send();
        assert_eq!(response.await.unwrap().status(), 200);
    }
    world.finish().await;
}

#[tokio::test]
async fn without_a_token_metrics_are_for_this_machine() {
    let world = World::new().await;
    let request = || world.http.get(format!("{}/metrics", world.url));
    assert_eq!(request().send().await.unwrap().status(), 200);
    for header in ["Bearer ", "Bearer x"] {
        let asked = request().header("x-forwarded-for", "203.0.113.7").header("authorization", header).send();
        assert_eq!(asked.await.unwrap().status(), 401);
    }
    world.finish().await;
}

/// An address of the pages: how it is asked, and what stands there.
#[derive(Clone, Debug)]
struct Route {
    path: String,
    gets: bool,
    posts: bool,
}

/// Every address that the pages have, from the place where they are listed.
fn routes() -> Vec<Route> {
    let mut all = Vec::new();
    for part in ROUTES.split(".route(\"").skip(1) {
        let (path, rest) = part.split_once('"').unwrap();
        let handlers = rest.split(".route(").next().unwrap();
        let handlers = handlers.split("\n}").next().unwrap();
        let route = Route {
            path: path.to_owned(),
            gets: handlers.contains("get("),
            posts: handlers.contains("post("),
        };
        assert!(route.gets || route.posts, "{route:?}: what is asked here?");
        all.push(route);
    }
    assert!(all.len() > 50, "{all:?}");
    all
}

/// Pages for everybody.
fn is_public(path: &str) -> bool {
    matches!(
        path,
        "/" | "/login" | "/login/{token}" | "/docs" | "/exchange" | "/exchange/{slug}" | "/static/{*name}"
    ) || path.starts_with("/docs/")
        || path.starts_with("/sandbox/")
}

/// Forms that a browser sends before anybody is signed in there.
fn is_before_signing_in(path: &str) -> bool {
    path.starts_with("/login") || path.starts_with("/sandbox/")
}

impl Browser {
    /// The token that the forms of a page carry.
    pub async fn csrf(&mut self, page: &str) -> String {
        let text = self.get(page).await.text;
        let (_, csrf) = text.split_once("<meta name=\"csrf\" content=\"").expect("the page has a token");
        csrf.split('"').next().unwrap().to_owned()
    }

    /// Sends a form with this token, as forms and as scripts carry it.
    pub async fn press(&mut self, to: &str, csrf: &str, more: &[(&str, &str)]) -> Page {
        let script = to.starts_with("/app/");
        let mut request = self.post(to);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        if script {
            let body =
                json!({"workload": "llm-chat", "message": "hi", "prompt": "hi", "bid_price": 5}).to_string();
            request =
                request.header("x-csrf-token", csrf).header("content-type", "application/json").body(body);
        } else {
            let body = format!(
                "csrf={csrf}&name=x&action=pay&enabled=&grace=0&url=https://example.org/x&bid=9&ask=1&schedule=manual&package=starter&attempt=a"
            );
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        self.ask(request).await
    }
}

/// Every form without a session, and without, with a wrong and with somebody else's token.
#[tokio::test]
async fn every_form_needs_a_session_and_its_token() {
    let world = World::with("[mail]\ntransport = \"file\"\n").await;
    let ana = world.user("ana", "100").await;
    let ben = world.user("ben", "100").await;
    let mut anas = Browser::new(&world.url);
    anas.sign_in(&ana.email, world.folder.path()).await;
    let mut bens = Browser::new(&world.url);
    bens.sign_in(&ben.email, world.folder.path()).await;
    let (hers, his) = (anas.csrf("/settings").await, bens.csrf("/settings").await);
    assert_ne!(hers, his);
    let mut forms = 0;
    for route in routes().iter().filter(|route| route.posts) {
        forms += 1;
        let path = unknown(&route.path);
        let mut stranger = Browser::new(&world.url);
        let answer = stranger.press(&path, "", &[]).await;
        if is_before_signing_in(&route.path) {
            assert_eq!(answer.status, 403, "{path} without a cookie");
        } else {
            assert_eq!(answer.status, 401, "{path} without a session");
        }
        for (what, csrf) in [("no token", ""), ("a wrong token", "x"), ("another's token", his.as_str())] {
            let answer = anas.press(&path, csrf, &[]).await;
            assert_eq!(answer.status, 403, "{path} with {what}");
        }
        for origin in ["https://evil.example", "null"] {
            let answer = anas.press(&path, &hers, &[("origin", origin)]).await;
            assert_eq!(answer.status, 403, "{path} from {origin}");
        }
        // An API key is no session.
        let key = format!("Bearer {}", ana.key);
        let answer = stranger.press(&path, &hers, &[("authorization", &key)]).await;
        assert!(matches!(answer.status, 401 | 403), "{path} with an API key: {}", answer.status);
    }
    assert!(forms > 30, "{forms}");
    // She is still signed in, and nothing was made, moved or spent.
    assert_eq!(anas.get("/settings").await.status, 200);
    assert_eq!(ana.credits().await, ("100".to_owned(), "0".to_owned()));
    for list in ["/api/v1/jobs", "/api/v1/credits/purchases", "/api/v1/hosts?mine=true", "/api/v1/payouts"] {
        assert_eq!(ana.get(list).await.1["data"], json!([]), "{list}");
    }
    assert_eq!(ana.get("/api/v1/api-keys").await.1["data"].as_array().unwrap().len(), 1);
    world.finish().await;
}

/// Every page without a session: to be signed in first, or not there.
#[tokio::test]
async fn every_page_needs_a_session_unless_it_is_for_everybody() {
    let world = World::new().await;
    let ana = world.user("ana", "0").await;
    for route in routes().iter().filter(|route| route.gets) {
        let path = unknown(&route.path);
        let mut stranger = Browser::new(&world.url);
        let answer = stranger.get(&path).await;
        if is_public(&route.path) {
            assert!(matches!(answer.status, 200 | 303 | 404 | 410), "{path}: {}", answer.status);
            assert!(!answer.location.starts_with("/login?"), "{path}");
            continue;
        }
        let script = path.starts_with("/app/") || path == "/live";
        let expected = if script { (401, String::new()) } else { (303, "/login?next=".to_owned()) };
        let place = answer.location.chars().take(12).collect::<String>();
        assert_eq!((answer.status, place), expected, "{path}");
        // Neither is an API key a session.
        let request = stranger.http_get(&path).bearer_auth(&ana.key);
        let answer = stranger.ask(request).await;
        assert!(matches!(answer.status, 303 | 401), "{path}: {}", answer.status);
    }
    world.finish().await;
}

/// Pages and forms about what is somebody else's: not there, and unchanged.
#[tokio::test]
async fn pages_and_forms_of_what_is_another_users() {
    let world = World::with("[mail]\ntransport = \"file\"\n").await;
    let _island = world.island("palma", "1", 50).await;
    let ana = world.user("ana", "100").await;
    let ben = world.user("ben", "100").await;
    let mut anas = Browser::new(&world.url);
    anas.sign_in(&ana.email, world.folder.path()).await;
    let hers = anas.csrf("/settings").await;
    let mut bens = Browser::new(&world.url);
    bens.sign_in(&ben.email, world.folder.path()).await;
    let his = bens.csrf("/settings").await;

    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let waiting = ana.job(json!({"workload": "llm-chat-hq"})).await;
    let asked = anas.press("/app/chat", &hers, &[]).await;
    let asked: Value = serde_json::from_str(&asked.text).unwrap_or_else(|_| panic!("{}", asked.text));
    let (conversation, answer) = (text(&asked["conversation_id"]), text(&asked["answer_id"]));
    let key = text(&ana.get("/api/v1/api-keys").await.1["data"][0]["id"]);
    let bought =
        ana.post("/api/v1/credits/purchases", &json!({"package": "starter"})).await.1["data"].clone();
    let purchase = text(&bought["id"]);
    let checkout = text(&bought["checkout_url"]).rsplit('/').next().unwrap().to_owned();
    let paid = anas
        .send(
            &format!("/sandbox/checkout/{checkout}"),
            &format!("/sandbox/checkout/{checkout}"),
            &[("action", "pay")],
        )
        .await;
    assert_eq!(paid.status, 303, "{}", paid.text);
    anas.get(&paid.location).await;
    let host = text(&ana.post("/api/v1/hosts", &json!({"name": "isle"})).await.1["data"]["id"]);

    let mut objects = BTreeMap::from([
        ("/chat/{id}", conversation.clone()),
        ("/chat/{id}/delete", conversation.clone()),
        ("/app/chat/answers/{id}/again", answer),
        ("/app/jobs/{id}/stream", waiting.clone()),
        ("/app/jobs/{id}/cancel", waiting.clone()),
        ("/app/jobs/{id}/image", waiting.clone()),
        ("/jobs/{id}", waiting.clone()),
        ("/jobs/{id}/bid", waiting.clone()),
        ("/jobs/{id}/cancel", waiting.clone()),
        ("/jobs/{id}/receipt.json", waiting.clone()),
        ("/credits/receipts/{file}", format!("{purchase}.pdf")),
        ("/settings/keys/{id}", key.clone()),
        ("/settings/keys/{id}/rotate", key.clone()),
        ("/settings/keys/{id}/revoke", key),
        ("/islands/tokens/{id}/revoke", host.clone()),
        ("/islands/tokens/{id}/replace", host.clone()),
        ("/islands/{id}/suspend", host.clone()),
        ("/islands/{id}/resume", host.clone()),
        ("/islands/{id}/asks/{slug}", host.clone()),
        ("/islands/{id}/asks/{slug}/reset", host),
        ("/islands/payouts/{id}", "pay_0000000000001.csv".to_owned()),
        ("/islands/payouts/{id}/cancel", "pay_0000000000001".to_owned()),
    ]);
    // Names in these are nobody's, or a secret that opens by itself.
    for nobodys in [
        "/login/{token}",
        "/static/{*name}",
        "/exchange/{slug}",
        "/app/bids/{slug}",
        "/sandbox/checkout/{id}",
        "/sandbox/identity/{id}",
        "/sandbox/payouts/{id}",
    ] {
        objects.insert(nobodys, String::new());
    }
    objects.extend(webhook(&ana).await);
    for route in routes().iter().filter(|route| route.path.contains('{') && !route.path.starts_with("/docs/"))
    {
        let path = route.path.as_str();
        let name =
            objects.get(path).unwrap_or_else(|| panic!("{path}: whose object is this? Say it in this test."));
        if name.is_empty() {
            continue;
        }
        let path = path.replace("{slug}", "llm-chat").replace("{delivery}", "dlv_0000000000001");
        let address = filled(&path, name);
        if route.gets {
            assert_eq!(bens.get(&address).await.status, 404, "GET {address}");
        }
        if route.posts {
            assert_eq!(bens.press(&address, &his, &[]).await.status, 404, "POST {address}");
        }
    }
    // Nor does the way back from the payment tell of another's.
    assert!(matches!(bens.get(&format!("/credits/return?purchase={purchase}")).await.status, 404));

    // All of it is there, for her.
    assert_eq!(anas.get(&format!("/chat/{conversation}")).await.status, 200);
    assert_eq!(ana.get(&format!("/api/v1/jobs/{waiting}")).await.1["data"]["status"], "pending");
    let hosts = ana.get("/api/v1/hosts?mine=true").await.1["data"].clone();
    assert_eq!((hosts.as_array().unwrap().len(), &hosts[0]["status"]), (1, &json!("offline")));
    ana.request("DELETE", &format!("/api/v1/jobs/{waiting}"), &[], None).await;
    world.finish().await;
}

/// A webhook, in all the addresses that name one.
async fn webhook(ana: &User) -> Vec<(&'static str, String)> {
    let body = json!({"url": "https://hooks.example.invalid/hers", "enabled": false});
    let (_, made) = ana.post("/api/v1/webhooks", &body).await;
    let id = made["data"]["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let paths = [
        "/settings/webhooks/{id}",
        "/settings/webhooks/{id}/test",
        "/settings/webhooks/{id}/switch",
        "/settings/webhooks/{id}/rotate",
        "/settings/webhooks/{id}/delete",
        "/settings/webhooks/{id}/deliveries/{delivery}/replay",
    ];
    paths.map(|path| (path, id.clone())).to_vec()
}
