//! One recipe for each operation of the API that changes something: what must be there, and a call that works. The operations
//! are those of the server's own OpenAPI document, so a new one without a recipe is found out.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stripe_fake::{Card, StripeFake};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use types::island_protocol::{FromIsland, Offer, ToIsland};

use crate::stripe::config;
use crate::world::browser::Browser;
use crate::world::contract;
use crate::world::island::hello;
use crate::world::{FakeIsland, PATIENCE, User, World};

/// Those of the default configuration, as far as they are used here, and one that gives vectors.
const CARGOS: &str = r#"
[[workloads]]
slug = "llm-chat"
name = "Chat"
description = "x"
kind = "chat"
ceiling = "5"
[[workloads]]
slug = "llm-chat-hq"
name = "Better chat"
description = "x"
kind = "chat"
ceiling = "20"
[[workloads]]
slug = "sdxl"
name = "Image"
description = "x"
kind = "image"
ceiling = "50"
[[workloads]]
slug = "embed"
name = "Vectors"
description = "x"
kind = "embedding"
ceiling = "5"
"#;

/// A server with a Stripe of our own, and people who have everything.
pub struct Scene {
    pub world: World,
    pub stripe: StripeFake,
    /// Verified, with credits, a saved card, an Island and a place for payouts.
    pub actors: Vec<Actor>,
    /// Pays for what Islands earn.
    carl: User,
    count: usize,
}

/// Somebody who has everything.
pub struct Actor {
    pub user: User,
    region: String,
    /// The connected Island.
    host: String,
    work: JoinHandle<()>,
}

/// A call that works, once.
#[derive(Clone, Debug)]
pub struct Call {
    pub user: User,
    pub method: String,
    pub path: String,
    pub body: Option<Value>,
    /// The same call wishing something else, if it wishes anything.
    pub other: Option<Value>,
}

/// What was answered: status, the body's very bytes, whether it was a repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub text: String,
    pub replayed: bool,
}

impl Answered {
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn code(&self) -> String {
        self.body()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// An operation of the document.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: String,
    pub method: String,
    pub path: String,
    pub access: String,
    pub repeatable: bool,
    pub has_body: bool,
}

/// Every operation that the server says it has.
pub async fn operations(world: &World) -> Vec<Listed> {
    let document = world.http.get(format!("{}/api/v1/openapi.json", world.url)).send().await.unwrap();
    let document: Value = document.json().await.unwrap();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push(Listed {
                name: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_ascii_uppercase(),
                path: path.clone(),
                access: operation["x-access"].as_str().unwrap().to_owned(),
                repeatable: operation["x-idempotent"] == true && method != "get",
                has_body: operation.get("requestBody").is_some(),
            });
        }
    }
    assert!(all.len() > 50, "the document lists the operations");
    all
}

impl Call {
    pub async fn send(&self, key: Option<&str>) -> Answered {
        self.send_body(key, self.body.as_ref()).await
    }

    /// The same with another body.
    pub async fn send_body(&self, key: Option<&str>, body: Option<&Value>) -> Answered {
        let method = reqwest::Method::from_bytes(self.method.as_bytes()).unwrap();
        let user = &self.user;
        let mut request = user.http().request(method, format!("{}{}", user.url(), self.path));
        request = request.bearer_auth(&user.key);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap();
        let headers = response.headers().clone();
        let replayed = headers.get("idempotent-replayed").is_some_and(|value| value == "true");
        let status = response.status().as_u16();
        let text = timeout(PATIENCE, response.text()).await.expect("a whole answer in time").unwrap();
        let (method, path, body) = (self.method.as_str(), self.path.as_str(), text.as_str());
        contract::check(&contract::Answered { method, path, status, headers: &headers, body });
        Answered { status, text, replayed }
    }

    /// The same call by somebody else.
    pub fn by(&self, user: &User) -> Self {
        Self { user: user.clone(), ..self.clone() }
    }
}

impl Scene {
    pub async fn open() -> Self {
        let stripe = StripeFake::start();
        let config = format!(
            "{}[payouts]\nprovider = \"stripe\"\nminimum_credits = 1\nhold_days = 0\n[jobs]\nwait_secs = 3600\n",
            config(&stripe)
        );
        let world = World::with(&format!("{config}{CARGOS}")).await;
        stripe.deliver_to(&format!("{}/webhooks/stripe", world.url));
        stripe.set_platform_balance(1_000_000);
        let carl = world.user("carl", "100000").await;
        let mut scene = Self { world, stripe, actors: Vec::new(), carl, count: 0 };
        for name in ["ana", "ben"] {
            let actor = scene.actor(name).await;
            scene.actors.push(actor);
        }
        scene
    }

    async fn actor(&self, name: &str) -> Actor {
        let user = self.world.user(name, "10000").await;
        let region = format!("at-{name}");
        let token = self.world.island_token(&user.email, name).await;
        let (island, host) = connect(&self.world.url, &token, &region).await;
        let work = island.works_by_itself();
        // A card is saved by paying once, and there is a place for payouts.
        let (status, made) = user.post("/api/v1/credits/purchases", &json!({"package": "starter"})).await;
        assert_eq!(status, 201, "{made}");
        let session = made["data"]["checkout_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let session = session.as_str();
        self.stripe.pay(session, &Card::Ok);
        let (status, made) = user.post("/api/v1/payouts/account", &json!({})).await;
        assert_eq!(status, 201, "{made}");
        let url = made["data"]["onboarding_url"].as_str().unwrap();
        self.stripe.onboard(url.split('/').find(|part| part.starts_with("acct_")).unwrap());
        self.deliver().await;
        let charge = self.stripe.charge_of(session).unwrap();
        let customer = self.stripe.object(&charge).unwrap()["customer"].as_str().unwrap().to_owned();
        self.stripe.save_card(&customer, &Card::Ok);
        Actor { user, region, host, work }
    }

    pub async fn deliver(&self) {
        for delivered in self.stripe.deliver_all().await {
            assert_eq!(delivered.status, 200, "{delivered:?}");
        }
    }

    /// A name that nothing had before.
    fn name(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what} {}", self.count)
    }

    /// Lets the Island of an actor earn 3.6 credits.
    async fn earn(&self, actor: usize) {
        let region = &self.actors[actor].region;
        let job = self.carl.job(json!({"region": region})).await;
        assert_eq!(self.carl.ended(&job).await["status"], "completed");
    }

    /// A job of an actor that waits: no Island serves its Cargo.
    async fn waiting(&self, user: &User) -> String {
        user.job(json!({"workload": "llm-chat-hq"})).await
    }

    async fn made(&self, user: &User, path: &str, body: &Value) -> Value {
        let (status, made) = user.post(path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {made}");
        made["data"].clone()
    }

    /// A call about webhooks. Nothing is ever sent: the name of the receiver means nothing.
    async fn webhook(&mut self, operation: &str, user: &User) -> Option<Call> {
        let url = format!("https://hooks.example.invalid/{}", self.count);
        let call = |method: &str, path: String, body: Option<Value>, other: Option<Value>| {
            let path = format!("/api/v1/webhooks{path}");
            Some(Call { user: user.clone(), method: method.to_owned(), path, body, other })
        };
        // Those of before make room.
        for one in user.get("/api/v1/webhooks").await.1["data"].as_array().unwrap() {
            let path = format!("/api/v1/webhooks/{}", one["id"].as_str().unwrap());
            user.request("DELETE", &path, &[], None).await;
        }
        let wish = |more: &str| Some(json!({"url": url, "description": more, "enabled": false}));
        if operation == "createWebhook" {
            return call("POST", String::new(), wish("one"), wish("two"));
        }
        let sends = matches!(operation, "testWebhook" | "replayWebhookDelivery");
        let body = json!({"url": url, "enabled": sends, "events": ["payout.paid"]});
        let id = self.made(user, "/api/v1/webhooks", &body).await["id"].as_str().unwrap().to_owned();
        let text = |text: &str| Some(json!({"description": text}));
        match operation {
            "changeWebhook" => call("PATCH", format!("/{id}"), text("one"), text("two")),
            "deleteWebhook" => call("DELETE", format!("/{id}"), None, None),
            "rotateWebhook" => {
                let grace = |seconds: i64| Some(json!({"grace_seconds": seconds}));
                call("POST", format!("/{id}/rotate"), grace(60), grace(90))
            }
            "testWebhook" => call("POST", format!("/{id}/test"), None, None),
            "replayWebhookDelivery" => {
                let sent = self.made(user, &format!("/api/v1/webhooks/{id}/test"), &json!({})).await;
                call("POST", format!("/{id}/deliveries/{}/replay", sent["id"].as_str().unwrap()), None, None)
            }
            _ => None,
        }
    }

    /// A pairing code that a machine shows.
    async fn code(&self) -> String {
        // As if from another machine each time: one address may not have many codes open.
        let from = format!("198.51.{}.{}", self.count % 200, self.count / 200);
        let request = self.world.http.post(format!("{}/api/v1/pairing", self.world.url));
        let request = request.header("x-forwarded-for", from).header("content-type", "application/json");
        let begun: Value = request.body("{\"name\":\"box\"}").send().await.unwrap().json().await.unwrap();
        begun["code"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned()
    }

    /// A code that can be redeemed.
    async fn promo(&mut self) -> String {
        let code = self.name("GIFT").replace(' ', "-");
        let args = [
            "promo",
            "create",
            "--code",
            &code,
            "--credits",
            "5",
            "--uses",
            "10",
            "--per-user",
            "1",
            "--note",
            "t",
        ];
        self.world.admin(&args).await;
        code
    }

    /// A conversation of a user, which only the chat page begins.
    pub async fn conversation(&self, user: &User) -> String {
        let mut browser = Browser::new(&self.world.url);
        browser.sign_in(&user.email, self.world.folder.path()).await;
        let csrf = browser.csrf("/settings").await;
        let asked = browser.press("/app/chat", &csrf, &[]).await;
        let asked: Value = serde_json::from_str(&asked.text).unwrap_or_else(|_| panic!("{}", asked.text));
        user.ended(asked["job_id"].as_str().unwrap()).await;
        asked["conversation_id"].as_str().unwrap().to_owned()
    }

    /// A call of this operation that works, by this actor; nothing if nobody has written the recipe.
    pub async fn prepare(&mut self, operation: &str, actor: usize) -> Option<Call> {
        self.count += 1;
        let user = self.actors[actor].user.clone();
        let call = |method: &str, path: String, body: Option<Value>, other: Option<Value>| {
            Some(Call {
                user: user.clone(),
                method: method.to_owned(),
                path: format!("/api/v1{path}"),
                body,
                other,
            })
        };
        let plain = |method: &str, path: &str| call(method, path.to_owned(), None, None);
        match operation {
            "createJob" => {
                let body = |text: &str| Some(json!({"workload": "llm-chat-hq", "input": {"prompt": text}}));
                call("POST", "/jobs".to_owned(), body("one"), body("two"))
            }
            "cancelJob" => {
                let job = self.waiting(&user).await;
                call("DELETE", format!("/jobs/{job}"), None, None)
            }
            "raiseJobBid" => {
                let job = self.waiting(&user).await;
                let bid = |bid: i64| Some(json!({"bid_price": bid}));
                call("POST", format!("/jobs/{job}/bid"), bid(25), bid(26))
            }
            "createChatCompletion" | "createChatCompletionBelowApi" => {
                let region = &self.actors[actor].region;
                let body = |text: &str| {
                    let messages = json!([{"role": "user", "content": text}]);
                    Some(json!({"model": "default", "messages": messages, "region": region}))
                };
                let mut call = call("POST", "/chat/completions".to_owned(), body("one"), body("two"))?;
                if operation == "createChatCompletion" {
                    call.path = call.path.replace("/api", "");
                }
                Some(call)
            }
            "createEmbedding" | "createEmbeddingBelowApi" => {
                let body = |text: &str| Some(json!({"model": "default", "input": text}));
                let mut call = call("POST", "/embeddings".to_owned(), body("one"), body("two"))?;
                if operation == "createEmbedding" {
                    call.path = call.path.replace("/api", "");
                }
                Some(call)
            }
            "createBatch" => {
                // Nobody serves the Cargo: its jobs wait.
                let body =
                    |text: &str| Some(json!({"workload": "llm-chat-hq", "inputs": [{"prompt": text}]}));
                call("POST", "/jobs/batch".to_owned(), body("one"), body("two"))
            }
            "createImage" | "createImageBelowApi" => {
                let body = |text: &str| Some(json!({"prompt": text, "n": 1, "size": "512x512"}));
                let mut call = call("POST", "/images/generations".to_owned(), body("one"), body("two"))?;
                if operation == "createImage" {
                    call.path = call.path.replace("/api", "");
                }
                Some(call)
            }
            "setBid" => {
                let bid = |bid: usize| Some(json!({"bid_price": bid}));
                call("PUT", "/market/bids/llm-chat".to_owned(), bid(self.count), bid(7))
            }
            "deleteBid" => {
                let path = "/market/bids/llm-chat-hq";
                user.request("PUT", &format!("/api/v1{path}"), &[], Some("{\"bid_price\": 3}")).await;
                plain("DELETE", path)
            }
            "setAskingPrice" => {
                let host = &self.actors[actor].host;
                let ask = |ask: String| Some(json!({"host_id": host, "workload": "llm-chat", "ask": ask}));
                call(
                    "POST",
                    "/market/asking-prices".to_owned(),
                    ask(format!("4.{}", self.count)),
                    ask("3".to_owned()),
                )
            }
            "resetAskingPrice" => {
                let host = self.actors[actor].host.clone();
                let ask =
                    json!({"host_id": host, "workload": "llm-chat", "ask": format!("3.{}", self.count)});
                self.made(&user, "/api/v1/market/asking-prices", &ask).await;
                call("DELETE", format!("/market/asking-prices?host_id={host}&workload=llm-chat"), None, None)
            }
            "createApiKey" => {
                let (one, two) = (self.name("key"), self.name("key"));
                call("POST", "/api-keys".to_owned(), Some(json!({"name": one})), Some(json!({"name": two})))
            }
            "changeApiKey" | "revokeApiKey" | "rotateApiKey" => {
                let name = self.name("key");
                let key = self.made(&user, "/api/v1/api-keys", &json!({"name": name})).await;
                let path = format!("/api-keys/{}", key["id"].as_str().unwrap());
                match operation {
                    "revokeApiKey" => return call("DELETE", path, None, None),
                    "rotateApiKey" => {
                        let grace = |seconds: i64| Some(json!({"grace_seconds": seconds}));
                        return call("POST", format!("{path}/rotate"), grace(60), grace(61));
                    }
                    _ => {}
                }
                let (one, two) = (self.name("key"), self.name("key"));
                call("PATCH", path, Some(json!({"name": one})), Some(json!({"name": two})))
            }
            name if name.contains("Webhook") => self.webhook(name, &user).await,
            "createPurchase" => call(
                "POST",
                "/credits/purchases".to_owned(),
                Some(json!({"package": "starter"})),
                Some(json!({"package": "explorer"})),
            ),
            "redeemCode" => {
                let (one, two) = (self.promo().await, self.promo().await);
                call(
                    "POST",
                    "/credits/redeem".to_owned(),
                    Some(json!({"code": one})),
                    Some(json!({"code": two})),
                )
            }
            "openCardPortal" => plain("POST", "/credits/portal"),
            "setAutoTopup" | "deleteAutoTopup" => {
                // Far below what they have: nothing is charged.
                let rule = |cents: usize| json!({"threshold": 1, "package": "starter", "monthly_max_cents": 1000 + cents});
                let path = "/credits/auto-topup";
                if operation == "deleteAutoTopup" {
                    let body = rule(self.count).to_string();
                    let set = user.request("PUT", &format!("/api/v1{path}"), &[], Some(&body)).await;
                    assert_eq!(set.0, 200, "{set:?}");
                    return plain("DELETE", path);
                }
                call("PUT", path.to_owned(), Some(rule(self.count)), Some(rule(0)))
            }
            "setAlerts" => {
                let amounts = |amount: usize| Some(json!({"thresholds": [amount]}));
                call("PUT", "/credits/alerts".to_owned(), amounts(self.count), amounts(0))
            }
            "createPayout" => {
                self.earn(actor).await;
                let credits = |credits: i64| Some(json!({"credits": credits}));
                call("POST", "/payouts".to_owned(), credits(1), credits(2))
            }
            "cancelPayout" => {
                self.earn(actor).await;
                // One that is not sent yet, because the network has no money there.
                self.stripe.set_platform_balance(0);
                let made = self.made(&user, "/api/v1/payouts", &json!({"credits": 1})).await;
                assert_eq!(made["state"], "wanted", "{made}");
                call("DELETE", format!("/payouts/{}", made["id"].as_str().unwrap()), None, None)
            }
            "setUpPayoutAccount" => plain("POST", "/payouts/account"),
            "changePayoutAccount" => {
                // Not one that would pay out by itself.
                let body = json!({"schedule": "monthly"}).to_string();
                user.request("PATCH", "/api/v1/payouts/account", &[], Some(&body)).await;
                let to = |schedule: &str| Some(json!({"schedule": schedule}));
                call("PATCH", "/payouts/account".to_owned(), to("manual"), to("monthly"))
            }
            "moveEarnings" => {
                self.earn(actor).await;
                plain("POST", "/earnings/move")
            }
            "createHost" => {
                let (one, two) = (self.name("isle"), self.name("isle"));
                call("POST", "/hosts".to_owned(), Some(json!({"name": one})), Some(json!({"name": two})))
            }
            "suspendHost" | "resumeHost" | "replaceHostToken" | "revokeHostToken" => {
                let name = self.name("isle");
                let host = self.made(&user, "/api/v1/hosts", &json!({"name": name})).await;
                let path = format!("/hosts/{}", host["id"].as_str().unwrap());
                match operation {
                    "suspendHost" => call("POST", format!("{path}/suspend"), None, None),
                    "resumeHost" => {
                        self.made(&user, &format!("/api/v1{path}/suspend"), &json!({})).await;
                        call("POST", format!("{path}/resume"), None, None)
                    }
                    "replaceHostToken" => {
                        let grace = |seconds: i64| Some(json!({"grace_seconds": seconds}));
                        call("POST", format!("{path}/token"), grace(60), grace(61))
                    }
                    _ => call("DELETE", format!("{path}/token"), None, None),
                }
            }
            "confirmPairing" => {
                let (one, two) = (self.code().await, self.code().await);
                let body = |code: &str| Some(json!({"code": code, "name": "box"}));
                call("POST", "/pairing/confirm".to_owned(), body(&one), body(&two))
            }
            "refusePairing" => {
                let (one, two) = (self.code().await, self.code().await);
                call(
                    "POST",
                    "/pairing/refuse".to_owned(),
                    Some(json!({"code": one})),
                    Some(json!({"code": two})),
                )
            }
            "changeAccount" => {
                let (one, two) = (self.name("Ana"), self.name("Ana"));
                call("PATCH", "/account".to_owned(), Some(json!({"name": one})), Some(json!({"name": two})))
            }
            "endSessions" => plain("DELETE", "/account/sessions"),
            "setLetters" => {
                let wish = |islands: bool| Some(json!({"islands": islands}));
                let path = "/api/v1/account/letters";
                user.request("PUT", path, &[], Some(&json!({"islands": true}).to_string())).await;
                call("PUT", "/account/letters".to_owned(), wish(false), wish(true))
            }
            "deleteConversation" => {
                let conversation = self.conversation(&user).await;
                call("DELETE", format!("/conversations/{conversation}"), None, None)
            }
            "startVerification" => {
                // Somebody who is not verified yet.
                let email = format!("new{}@example.org", self.count);
                self.world.admin(&["user", "create", "--email", &email]).await;
                let new = self.world.key_for(&email, &[]).await;
                let call = plain("POST", "/verification/sessions")?;
                Some(call.by(&new))
            }
            _ => None,
        }
    }

    /// Undoes what a recipe had to do to the world around.
    pub fn calm(&self) {
        self.stripe.set_platform_balance(1_000_000);
    }

    /// Objects that only their owner may look at, by the operation that shows them.
    pub async fn objects_of_others(&self, owner: &User) -> Vec<(&'static str, String)> {
        let body = json!({"url": "https://hooks.example.invalid/hers", "enabled": false});
        let webhook = self.made(owner, "/api/v1/webhooks", &body).await;
        let webhook = format!("/api/v1/webhooks/{}", webhook["id"].as_str().unwrap());
        vec![("listWebhookDeliveries", format!("{webhook}/deliveries")), ("getWebhook", webhook)]
    }

    /// What a user can see of what is theirs: every list and object without a name in its address, but for what changes by
    /// itself.
    pub async fn state(&self, user: &User, operations: &[Listed]) -> BTreeMap<String, Value> {
        let mut state = BTreeMap::new();
        for operation in operations {
            let passing = [
                "streamJob",
                "exportTransactions",
                "exportUsage",
                "listRates",
                "getMetrics",
                "getOpenApi",
                "listModels",
            ];
            let fixed = operation.method == "GET"
                && matches!(operation.access.as_str(), "read" | "manage")
                && !operation.path.contains('{');
            if !fixed || passing.contains(&operation.name.as_str()) {
                continue;
            }
            let query = if operation.name == "listHosts" { "?mine=true" } else { "" };
            let (status, mut body) = user.get(&format!("{}{query}", operation.path)).await;
            if status != 200 {
                continue;
            }
            forget_what_passes(&mut body);
            state.insert(operation.name.clone(), body);
        }
        assert!(state.len() > 10, "{:?}", state.keys());
        state
    }

    /// Asserts that a user sees what they saw before.
    pub async fn unchanged(
        &self,
        user: &User,
        operations: &[Listed],
        before: &BTreeMap<String, Value>,
        what: &str,
    ) {
        let after = self.state(user, operations).await;
        for (name, seen) in &after {
            assert_eq!(Some(seen), before.get(name), "{what}: {name}");
        }
        assert_eq!(after.len(), before.len(), "{what}");
    }

    pub async fn finish(self) {
        for actor in &self.actors {
            actor.work.abort();
        }
        self.world.finish().await;
    }
}

/// Takes out what changes without anybody doing anything.
fn forget_what_passes(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in [
                "at",
                "last_used_at",
                "lastUsedAt",
                "last_heartbeat_at",
                "online_since",
                "latency_ms",
                "next_try_at",
                "failing_since",
                "waiting",
            ] {
                fields.remove(name);
            }
            for name in [
                "karma",
                "karma_score",
                "karma_parts",
                "success_percent",
                "active_jobs",
                "best_ask",
                "place_in_queue",
                "waiting",
                "failing_since",
                "disabled_at",
                "disabled_reason",
            ] {
                fields.remove(name);
            }
            fields.values_mut().for_each(forget_what_passes);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_what_passes),
        _ => {}
    }
}

/// Connects an Island in a region of its own, which serves chats and images; answers which one it is.
async fn connect(url: &str, token: &str, region: &str) -> (FakeIsland, String) {
    let mut greeting = hello("4", 20);
    if let FromIsland::Hello { capabilities, offers, .. } = &mut greeting {
        capabilities.region = Some(region.to_owned());
        let image = Offer { workload: "sdxl".to_owned(), ask: "10".to_owned(), ..offers[0].clone() };
        let vectors = Offer { workload: "embed".to_owned(), ask: "1".to_owned(), ..offers[0].clone() };
        offers.extend([image, vectors]);
    }
    let (island, answer) = FakeIsland::greet(url, token, &greeting).await;
    match answer {
        Some(ToIsland::Welcome { island_id, refused_offers, .. }) => {
            assert_eq!(refused_offers, []);
            (island, island_id.to_string())
        }
        other => panic!("not welcome: {other:?}"),
    }
}
