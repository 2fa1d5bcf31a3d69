//! Money through Stripe, against a stand-in for Stripe's API that keeps its own books: whatever is delivered, repeated,
//! reordered or lost, the credits granted are those paid for.

use serde_json::{Value, json};
use stripe_fake::{Card, Fault, StripeFake};

use crate::world::{User, World};

/// The `starter` package: 500 credits for $4.99; `explorer` has bonus credits: 1,100 for $9.99.
const STARTER: i64 = 499;
const EXPLORER: i64 = 999;

/// A server that takes money through a Stripe of our own.
pub struct Shop {
    pub world: World,
    pub stripe: StripeFake,
    pub ana: User,
}

impl Shop {
    pub async fn open() -> Self {
        let stripe = StripeFake::start();
        let world = World::with(&config(&stripe)).await;
        stripe.deliver_to(&format!("{}/webhooks/stripe", world.url));
        let ana = world.user("ana", "0").await;
        Self { world, stripe, ana }
    }

    /// Opens a checkout; answers the purchase and the session.
    pub async fn checkout(&self, package: &str) -> (String, String) {
        let body = json!({"package": package});
        let (status, made) = self.ana.post("/api/v1/credits/purchases", &body).await;
        assert_eq!(status, 201, "{made}");
        let made = &made["data"];
        let url = made["checkout_url"].as_str().unwrap();
        let session = url.rsplit('/').next().unwrap().to_owned();
        (made["id"].as_str().unwrap().to_owned(), session)
    }

    /// Buys a package by card, with its webhooks; answers the purchase and the charge.
    pub async fn buy(&self, package: &str) -> (String, String) {
        let (purchase, session) = self.checkout(package).await;
        self.stripe.pay(&session, &Card::Ok);
        self.deliver().await;
        (purchase, self.stripe.charge_of(&session).unwrap())
    }

    pub async fn deliver(&self) {
        for delivered in self.stripe.deliver_all().await {
            assert_eq!(delivered.status, 200, "{delivered:?}");
        }
    }

    /// Available and held credits, and what is owed.
    pub async fn balance(&self) -> (Value, Value, Value) {
        let account = self.world.account("ana").await;
        (account["credits"].clone(), account["held"].clone(), account["debt"].clone())
    }

    pub async fn state(&self, purchase: &str) -> String {
        let list = self.world.admin(&["purchases", "--email", "ana@example.org"]).await;
        let list = list.as_array().unwrap().clone();
        let found = list.iter().find(|one| one["id"] == purchase);
        found.map_or_else(|| "none".to_owned(), |one| one["state"].as_str().unwrap().to_owned())
    }

    pub async fn reconcile(&self, apply: bool) -> Value {
        let args: &[&str] = if apply { &["reconcile", "--apply"] } else { &["reconcile"] };
        self.world.admin(args).await
    }

    /// Spends credits by a job on an Island of somebody else.
    pub async fn spend(&self, credits: &str) {
        let island = self.world.island("spender", credits, 1).await.works_by_itself();
        let job = self.ana.job(json!({"bid_price": credits})).await;
        assert_eq!(self.ana.ended(&job).await["status"], "completed");
        island.abort();
    }

    /// What must hold at the end: the provider's books and ours are the same, to the cent.
    pub async fn finish(self) {
        let report = self.reconcile(false).await;
        assert_eq!(report["differences"], json!([]), "{report}");
        self.world.finish().await;
    }
}

pub fn config(stripe: &StripeFake) -> String {
    format!(
        "[mail]\ntransport = \"file\"\n[payments]\nprovider = \"stripe\"\n[identity]\nprovider = \"stripe\"\n[stripe]\nsecret_key = \"{}\"\nwebhook_secrets = [\"whsec_old\", \"{}\"]\napi_base = \"{}\"\n",
        stripe.secret_key(),
        stripe.webhook_secret(),
        stripe.api_base()
    )
}

pub fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_purchase_is_paid_at_stripe_and_granted_once() {
    let shop = Shop::open().await;
    let (first, _) = shop.buy("starter").await;
    assert_eq!((shop.state(&first).await.as_str(), shop.balance().await.0), ("granted", number("500")));
    let (second, session) = shop.checkout("explorer").await;
    shop.stripe.pay(&session, &Card::declined("insufficient_funds"));
    shop.deliver().await;
    assert_eq!(shop.balance().await.0, number("500"));
    shop.stripe.pay(&session, &Card::Ok);
    shop.deliver().await;
    assert_eq!((shop.state(&second).await.as_str(), shop.balance().await.0), ("granted", number("1600")));

    // One customer for both; a key for each change; the version named each time.
    let requests = shop.stripe.requests();
    let made = |path: &str| requests.iter().filter(|one| one.method == "POST" && one.path == path).count();
    assert_eq!((made("/v1/customers"), made("/v1/checkout/sessions")), (1, 2));
    for request in &requests {
        assert!(request.version.is_some(), "{request:?}");
        assert!(request.method != "POST" || request.idempotency_key.is_some(), "{request:?}");
    }
    let opened = shop.stripe.session(&session);
    assert_eq!(
        (&opened["client_reference_id"], &opened["metadata"]["purchase"]),
        (&json!(second), &json!(second))
    );
    assert_eq!(shop.stripe.total_received_cents(), STARTER + EXPLORER);
    // The form that buys is redirected to the provider's page, which browsers only follow where the policy lets forms lead.
    let page = shop.world.http.get(format!("{}/login", shop.world.url)).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains(&format!("form-action 'self' {};", shop.stripe.api_base())), "{policy}");
    shop.finish().await;
}

#[tokio::test]
async fn incident_037_a_delayed_payment_is_granted_when_it_arrives() {
    let shop = Shop::open().await;
    let (arrives, session) = shop.checkout("starter").await;
    shop.stripe.pay(&session, &Card::Delayed);
    shop.deliver().await;
    assert_eq!((shop.state(&arrives).await.as_str(), shop.balance().await.0), ("pending", number("0")));
    shop.stripe.settle_delayed(&session, true);
    shop.deliver().await;
    assert_eq!((shop.state(&arrives).await.as_str(), shop.balance().await.0), ("granted", number("500")));

    let (fails, session) = shop.checkout("starter").await;
    shop.stripe.pay(&session, &Card::Delayed);
    shop.deliver().await;
    shop.stripe.settle_delayed(&session, false);
    shop.deliver().await;
    assert_eq!((shop.state(&fails).await.as_str(), shop.balance().await.0), ("failed", number("500")));
    shop.finish().await;
}

#[tokio::test]
async fn incident_040_a_lost_webhook_is_healed_by_the_comparison() {
    let shop = Shop::open().await;
    let (purchase, session) = shop.checkout("starter").await;
    shop.stripe.pay(&session, &Card::Ok);
    // Nothing is delivered. The comparison sees it, and puts it right when it is told to.
    let report = shop.reconcile(false).await;
    assert_eq!(
        (&report["differences"][0]["purchase"], &report["differences"][0]["cents"]),
        (&json!(purchase), &json!(STARTER))
    );
    assert_eq!(shop.balance().await.0, number("0"));
    let report = shop.reconcile(true).await;
    assert_eq!(report["differences"][0]["healed"], true);
    assert_eq!(shop.balance().await.0, number("500"));
    // A refund made at Stripe, and its webhook lost, too.
    let charge = shop.stripe.charge_of(&session).unwrap();
    shop.stripe.refund_in_dashboard(&charge, 100);
    let report = shop.reconcile(false).await;
    assert_eq!(report["differences"][0]["cents"], -100, "{report}");
    shop.reconcile(true).await;
    assert_eq!(shop.state(&purchase).await, "partly_refunded");
    shop.finish().await;
}

#[tokio::test]
async fn incident_036_an_event_that_cannot_be_handled_is_sent_again() {
    let shop = Shop::open().await;
    let (purchase, session) = shop.checkout("starter").await;
    shop.stripe.pay(&session, &Card::Ok);
    shop.stripe.go_down();
    let statuses: Vec<u16> = shop.stripe.deliver_all().await.iter().map(|one| one.status).collect();
    assert!(statuses.iter().any(|status| *status >= 500), "{statuses:?}");
    assert_eq!(shop.balance().await.0, number("0"));
    let waiting = shop.world.admin(&["events", "list"]).await;
    let event = waiting[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(waiting[0]["state"], "waiting");
    shop.stripe.come_back();
    shop.world.admin(&["events", "replay", "--id", &event]).await;
    assert_eq!((shop.state(&purchase).await.as_str(), shop.balance().await.0), ("granted", number("500")));
    shop.deliver().await;
    assert_eq!(shop.world.admin(&["events", "list"]).await, json!([]));
    // The failure was logged as an error on purpose, so the world is not asked for a log without any.
    assert_eq!(shop.reconcile(false).await["differences"], json!([]));
    assert_eq!(shop.world.audit().await["ok"], true);
}

#[tokio::test]
async fn incident_048_a_refund_takes_what_is_there_and_the_rest_becomes_debt() {
    let shop = Shop::open().await;
    let (purchase, _) = shop.buy("explorer").await;
    // A third of the money takes a third of the credits, bonus and all.
    let refunded = shop.world.admin(&["refund", "--purchase", &purchase, "--amount", "3.33"]).await;
    assert_eq!((&refunded["refunded_cents"], &refunded["state"]), (&json!(333), &json!("partly_refunded")));
    assert_eq!(shop.balance().await.0, number("733.333334"));
    shop.spend("700").await;
    let refunded = shop.world.admin(&["refund", "--purchase", &purchase]).await;
    assert_eq!((&refunded["refunded_cents"], &refunded["state"]), (&json!(EXPLORER), &json!("refunded")));
    assert_eq!(refunded["taken_back"], number("1100"));
    let (credits, _, debt) = shop.balance().await;
    assert_eq!((credits, debt), (number("0"), number("700")));
    let mut browser = crate::world::browser::Browser::new(&shop.world.url);
    browser.sign_in("ana@example.org", shop.world.folder.path()).await;
    let page = browser.get("/credits").await;
    assert!(page.text.contains("You owe") && page.text.contains("refunded"), "{}", page.text);
    let (status, refused) = shop.ana.submit(json!({"bid_price": "1"})).await;
    assert_eq!((status, &refused["code"]), (402, &json!("in_debt")));
    // The next credits pay it first.
    shop.buy("explorer").await;
    let (credits, _, debt) = shop.balance().await;
    assert_eq!((credits, debt), (number("400"), number("0")));
    // Nothing is refunded twice.
    let again = shop.world.command("admin").args(["refund", "--purchase", &purchase]).output().await.unwrap();
    assert!(!again.status.success());
    assert_eq!(shop.stripe.total_received_cents(), EXPLORER);
    shop.finish().await;
}

#[tokio::test]
async fn incident_054_a_refund_that_fails_gives_back_exactly_what_it_took() {
    let shop = Shop::open().await;
    let (purchase, charge) = shop.buy("explorer").await;
    let refund = shop.stripe.refund_in_dashboard(&charge, 100);
    shop.deliver().await;
    assert_eq!(shop.state(&purchase).await, "partly_refunded");
    assert_ne!(shop.balance().await.0, number("1100"));
    shop.stripe.fail_refund(&refund);
    shop.deliver().await;
    assert_eq!((shop.state(&purchase).await.as_str(), shop.balance().await.0), ("granted", number("1100")));
    shop.finish().await;
}

#[tokio::test]
async fn incident_050_a_dispute_freezes_then_takes_or_lets_go() {
    let shop = Shop::open().await;
    let (first, charge) = shop.buy("explorer").await;
    shop.spend("300").await;
    let (_, _) = shop.buy("starter").await;
    let dispute = shop.stripe.dispute(&charge, EXPLORER, false);
    shop.stripe.withdraw_funds(&dispute);
    shop.deliver().await;
    // Of the disputed lot 800 are left; the later one can be spent.
    assert_eq!(shop.balance().await, (number("500"), number("800"), number("0")));
    assert_eq!(shop.state(&first).await, "disputed");
    shop.stripe.win(&dispute);
    shop.stripe.reinstate_funds(&dispute);
    shop.deliver().await;
    assert_eq!(shop.balance().await, (number("1300"), number("0"), number("0")));
    assert_eq!(shop.state(&first).await, "granted");

    let (second, charge) = shop.buy("explorer").await;
    let dispute = shop.stripe.dispute(&charge, EXPLORER, false);
    shop.stripe.withdraw_funds(&dispute);
    shop.deliver().await;
    assert_eq!(shop.balance().await, (number("1300"), number("1100"), number("0")));
    shop.stripe.lose(&dispute);
    shop.deliver().await;
    assert_eq!(shop.balance().await, (number("1300"), number("0"), number("0")));
    assert_eq!(shop.state(&second).await, "lost");
    shop.finish().await;
}

#[tokio::test]
async fn an_early_warning_freezes_the_wallet_until_the_operator_thaws_it() {
    let shop = Shop::open().await;
    let (_, charge) = shop.buy("starter").await;
    shop.stripe.fraud_warning(&charge);
    shop.deliver().await;
    let (status, refused) = shop.ana.submit(json!({"bid_price": "1"})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("account_frozen")), "{refused}");
    shop.world.admin(&["thaw", "--email", "ana@example.org"]).await;
    // The same warning, read again, freezes nothing.
    shop.stripe.refund_in_dashboard(&charge, 1);
    shop.deliver().await;
    assert_eq!(shop.world.account("ana").await["frozen"], false);
    shop.finish().await;
}

#[tokio::test]
async fn incident_057_an_answer_that_is_lost_makes_nothing_twice() {
    let shop = Shop::open().await;
    for path in ["/v1/customers", "/v1/checkout/sessions"] {
        shop.stripe.fail_next_at(1, Fault::HangUpAfter, path);
    }
    let (purchase, charge) = shop.buy("starter").await;
    assert_eq!((shop.stripe.all("customer").len(), shop.stripe.all("checkout.session").len()), (1, 1));
    shop.stripe.fail_next_at(1, Fault::HangUpAfter, "/v1/refunds");
    shop.world.admin(&["refund", "--purchase", &purchase]).await;
    assert_eq!(shop.stripe.all("refund").len(), 1);
    assert_eq!((shop.stripe.total_received_cents(), shop.balance().await.0), (0, number("0")), "{charge}");
    shop.finish().await;
}

#[tokio::test]
async fn a_checkout_whose_opening_was_never_answered_is_found_again() {
    let shop = Shop::open().await;
    // As often as it is tried: Stripe does it, and says nothing.
    shop.stripe.fail_next_at(3, Fault::HangUpAfter, "/v1/checkout/sessions");
    let key = [("idempotency-key", "once")];
    let body = json!({"package": "starter"}).to_string();
    let buy = async || shop.ana.request("POST", "/api/v1/credits/purchases", &key, Some(&body)).await;
    let (status, refused) = buy().await;
    assert_eq!(status, 503, "{refused}");
    let sessions = shop.stripe.all("checkout.session");
    assert_eq!(sessions.len(), 1);
    // Somebody pays it all the same: its event names the purchase.
    let session = sessions[0]["id"].as_str().unwrap();
    shop.stripe.pay(session, &Card::Ok);
    shop.deliver().await;
    assert_eq!(shop.balance().await.0, number("500"));
    let (status, made) = buy().await;
    assert_eq!((status, &made["data"]["state"]), (201, &json!("granted")), "{made}");
    assert_eq!(shop.stripe.all("checkout.session").len(), 1);

    // The same again, asked for again before anybody pays.
    shop.stripe.fail_next_at(3, Fault::HangUpAfter, "/v1/checkout/sessions");
    let key = [("idempotency-key", "twice")];
    let buy = async || shop.ana.request("POST", "/api/v1/credits/purchases", &key, Some(&body)).await;
    assert_eq!(buy().await.0, 503);
    let (status, made) = buy().await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(shop.stripe.all("checkout.session").len(), 2);
    assert_eq!(shop.reconcile(false).await["differences"], json!([]));
    assert_eq!(shop.world.audit().await["ok"], true);
}

#[tokio::test]
async fn an_unsigned_or_strange_webhook_changes_nothing() {
    let shop = Shop::open().await;
    let url = format!("{}/webhooks/stripe", shop.world.url);
    let send = async |body: &str, signature: Option<String>| {
        let mut request = shop.world.http.post(&url).body(body.to_owned());
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let now = shop.stripe.now();
    let signed = |secret: &str, time: i64, body: &str| Some(stripe_fake::sign(secret, time, body));
    let event = r#"{"id":"evt_x","type":"charge.dispute.created","data":{"object":{"id":"du_x"}}}"#;
    assert_eq!(send(event, None).await, 400);
    assert_eq!(send(event, signed("whsec_other", now, event)).await, 400);
    assert_eq!(send(event, signed(shop.stripe.webhook_secret(), now - 301, event)).await, 400);
    assert_eq!(send("nonsense", signed("whsec_old", now, "nonsense")).await, 400);
    // Not understood: parked, and answered as taken. The old secret is still good.
    assert_eq!(send(event, signed("whsec_old", now, event)).await, 200);
    let parked = shop.world.admin(&["events", "list"]).await;
    assert_eq!((&parked[0]["id"], &parked[0]["state"]), (&json!("evt_x"), &json!("parked")));
    // Of a kind that is none of our business: stored, and done.
    let other = r#"{"id":"evt_y","type":"tax.settings.updated","data":{"object":{}}}"#;
    assert_eq!(send(other, signed("whsec_old", now, other)).await, 200);
    assert_eq!(shop.world.admin(&["events", "list", "--all"]).await.as_array().unwrap().len(), 2);
    // This is logged as an error on purpose, so the world is not asked for a log without any.
    assert_eq!(shop.world.audit().await["ok"], true);
}

#[tokio::test]
async fn what_is_wrong_with_stripe_is_said_and_charges_nothing() {
    let stripe = StripeFake::start();
    let wrong = config(&stripe).replace(stripe.secret_key(), "sk_test_wrong");
    let shop = Shop::open().await;
    std::fs::write(shop.world.folder.path().join("wrong.toml"), wrong).unwrap();
    let mut serve = tokio::process::Command::new(env!("CARGO_BIN_EXE_archipelago"));
    let other = tempfile::tempdir().unwrap();
    serve
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(shop.world.folder.path().join("wrong.toml"));
    let refused = serve.arg("--data").arg(other.path()).output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("stripe.secret_key"), "{said}");
    // While Stripe is away a purchase says so, and nothing is charged or granted.
    shop.stripe.go_down();
    let (status, refused) = shop.ana.post("/api/v1/credits/purchases", &json!({"package": "starter"})).await;
    assert_eq!(status, 503, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("Nothing was charged"), "{refused}");
    shop.stripe.come_back();
    assert_eq!((shop.balance().await.0, shop.stripe.total_received_cents()), (number("0"), 0));
    assert_eq!(shop.world.audit().await["ok"], true);
}

#[tokio::test]
async fn identity_is_verified_by_stripe_in_any_order_and_erased_on_request() {
    let stripe = StripeFake::start();
    let world = World::with(&config(&stripe)).await;
    stripe.deliver_to(&format!("{}/webhooks/stripe", world.url));
    world.admin(&["user", "create", "--email", "bob@example.org"]).await;
    let bob = world.key_for("bob@example.org", &[]).await;
    let mut browser = crate::world::browser::Browser::new(&world.url);
    browser.sign_in("bob@example.org", world.folder.path()).await;
    let page = browser.send("/verify", "/verify/start", &[]).await;
    assert!(page.location.contains("/identity/vs_"), "{}", page.text);
    let again = browser.send("/verify", "/verify/start", &[]).await;
    assert_eq!(page.location, again.location, "a round that was begun is gone on with");
    let session = page.location.rsplit('/').next().unwrap().to_owned();
    stripe.reject(&session, "document_expired", "The document has expired.");
    stripe.process(&session);
    stripe.verify(&session, "Bob", "Builder", "GB");
    for (_, status) in stripe.deliver_storm(7, 5, 4).await.iter().map(|one| (&one.event, one.status)) {
        assert_eq!(status, 200);
    }
    let verification = async || world.account("bob").await["verification"].clone();
    assert_eq!(verification().await, "verified");
    world.admin(&["user", "forget-identity", "--email", "bob@example.org"]).await;
    assert_eq!(verification().await, "unverified");
    let (status, refused) = bob.submit(json!({"bid_price": "1"})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("verification_required")), "{refused}");
    assert_eq!(stripe.all("identity.verification_session").len(), 1);
    world.finish().await;
}

/// The judgement of all this: many purchases of many people with refunds and disputes, every webhook one to five times in any
/// order over several connections, and the server killed in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incident_031_a_storm_of_webhooks_grants_what_was_paid_for() {
    let mut shop = Shop::open().await;
    let mut dice = 12_345_u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let mut disputes = Vec::new();
    let mut refunds = Vec::new();
    for round in 0..4_u64 {
        for _ in 0..15 {
            let package = if roll(2) == 0 { "starter" } else { "explorer" };
            let (_, session) = shop.checkout(package).await;
            match roll(8) {
                0 => drop(shop.stripe.pay(&session, &Card::declined("generic_decline"))),
                1 => {
                    shop.stripe.pay(&session, &Card::Delayed);
                    shop.stripe.settle_delayed(&session, roll(2) == 0);
                }
                2 => drop(shop.stripe.expire(&session)),
                _ => drop(shop.stripe.pay(&session, &Card::Ok)),
            }
            let Some(charge) = shop.stripe.charge_of(&session).filter(|_| roll(2) == 0) else { continue };
            let paid = shop.stripe.object(&charge).is_some_and(|charge| charge["paid"] == true);
            match roll(3) {
                _ if !paid => {}
                0 => refunds
                    .push(shop.stripe.refund_in_dashboard(&charge, 1 + i64::try_from(roll(400)).unwrap())),
                1 => {
                    let dispute = shop.stripe.dispute(&charge, STARTER, false);
                    shop.stripe.withdraw_funds(&dispute);
                    disputes.push(dispute);
                }
                _ => drop(shop.stripe.dispute(&charge, STARTER, true)),
            }
        }
        for dispute in disputes.split_off(disputes.len() / 2) {
            if roll(2) == 0 {
                shop.stripe.win(&dispute);
                shop.stripe.reinstate_funds(&dispute);
            } else {
                shop.stripe.lose(&dispute);
            }
        }
        for refund in refunds.split_off(refunds.len() / 2) {
            shop.stripe.fail_refund(&refund);
        }
        let storm = shop.stripe.deliver_storm(round, 5, 4);
        if round % 2 == 1 {
            let (_, ()) = tokio::join!(storm, async {
                tokio::task::yield_now().await;
                shop.world.kill().await;
            });
            shop.world.restart().await;
            shop.stripe.deliver_to(&format!("{}/webhooks/stripe", shop.world.url));
            shop.ana.moved_to(&shop.world.url);
        } else {
            for delivered in storm.await {
                assert_eq!(delivered.status, 200, "{delivered:?}");
            }
        }
    }
    for delivered in shop.stripe.deliver_storm(99, 2, 4).await {
        assert_eq!(delivered.status, 200, "{delivered:?}");
    }
    // Nothing is left to heal.
    shop.finish().await;
}
