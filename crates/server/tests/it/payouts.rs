//! Payouts, against a stand-in for Stripe's API that keeps its own books: whatever is lost, repeated or refused, money leaves
//! once for credits that leave once.

use std::time::Duration;

use db::OpenOptions;
use ledger::{Command, TransferKind, system};
use serde_json::{Value, json};
use server::credits;
use server::payouts::{self, PayoutError, Wish};
use stripe_fake::{Fault, StripeFake};
use types::time::DAY_MS;

use crate::stripe::config;
use crate::world::browser::Browser;
use crate::world::inside::Inside;
use crate::world::{User, World};

/// A server that pays through a Stripe of our own, an owner of an Island, and a consumer with credits.
pub struct Port {
    pub world: World,
    pub stripe: StripeFake,
    pub owner: User,
    ana: User,
}

impl Port {
    async fn open() -> Self {
        Self::with("hold_days = 0\n").await
    }

    pub async fn with(more: &str) -> Self {
        let stripe = StripeFake::start();
        let config = config(&stripe);
        let payouts = format!("{config}[payouts]\nprovider = \"stripe\"\nminimum_credits = 100\n{more}");
        let world = World::with(&payouts).await;
        stripe.deliver_to(&format!("{}/webhooks/stripe", world.url));
        stripe.set_platform_balance(1_000_000);
        let ana = world.user("ana", "100000").await;
        let owner = world.user("bob-owner", "0").await;
        Self { world, stripe, owner, ana }
    }

    /// The same with earnings and an account that is ready; answers the account.
    async fn ready(credits: &str) -> (Self, String) {
        let port = Self::open().await;
        port.earn(credits).await;
        let account = port.set_up().await;
        port.stripe.onboard(&account);
        port.deliver().await;
        (port, account)
    }

    /// A job for so many credits, of which the owner gets nine tenths.
    pub async fn earn(&self, credits: &str) {
        earn(&self.world, &self.ana, credits).await;
    }

    /// Begins to set up payouts; answers the account.
    pub async fn set_up(&self) -> String {
        let (status, made) = self.owner.post("/api/v1/payouts/account", &json!({})).await;
        assert_eq!(status, 201, "{made}");
        let url = made["data"]["onboarding_url"].as_str().unwrap();
        url.split('/').find(|part| part.starts_with("acct_")).unwrap().to_owned()
    }

    pub async fn deliver(&self) {
        for delivered in self.stripe.deliver_all().await {
            assert_eq!(delivered.status, 200, "{delivered:?}");
        }
    }

    async fn pay(&self) -> (u16, Value) {
        self.owner.post("/api/v1/payouts", &json!({})).await
    }

    /// Asks for a payout that must be taken; answers its id and its state.
    pub async fn paid(&self) -> (String, String) {
        let (status, made) = self.pay().await;
        assert_eq!(status, 201, "{made}");
        let text = |name: &str| made["data"][name].as_str().unwrap().to_owned();
        (text("id"), text("state"))
    }

    async fn state(&self, id: &str) -> String {
        let (_, found) = self.owner.get(&format!("/api/v1/payouts/{id}")).await;
        found["data"]["state"].as_str().unwrap().to_owned()
    }

    async fn earnings(&self) -> Value {
        self.world.account("bob-owner").await["earnings"].clone()
    }

    async fn code(&self) -> String {
        let (status, refused) = self.pay().await;
        assert!(status >= 400, "{refused}");
        refused["code"].as_str().unwrap().to_owned()
    }
}

async fn earn(world: &World, ana: &User, credits: &str) {
    let island = world.island("bob", credits, 1).await.works_by_itself();
    let job = ana.job(json!({"bid_price": credits})).await;
    assert_eq!(ana.ended(&job).await["status"], "completed");
    island.abort();
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn earnings_are_paid_out_and_arrive() {
    let (port, account) = Port::ready("1000").await;
    assert_eq!(port.earnings().await, number("900"));
    let (id, state) = port.paid().await;
    assert_eq!((state.as_str(), port.earnings().await), ("sent", number("0")));
    assert_eq!(port.stripe.balance_of(&account), 900);
    let bank = port.stripe.pay_out(&account).unwrap();
    port.stripe.send_payout(&bank);
    port.deliver().await;
    assert_eq!(port.state(&id).await, "sent");
    port.stripe.settle_payout(&bank, true);
    port.deliver().await;
    assert_eq!(port.state(&id).await, "paid");
    // The bank may still send it back: the money is then in the account at Stripe, and the credits stay paid out.
    port.stripe.settle_payout(&bank, false);
    port.deliver().await;
    let (_, found) = port.owner.get(&format!("/api/v1/payouts/{id}")).await;
    assert_eq!(found["data"]["state"], "sent");
    assert!(found["data"]["error"].as_str().unwrap().contains("closed"), "{found}");
    for delivered in port.stripe.deliver_storm(7, 3, 8).await {
        assert_eq!(delivered.status, 200);
    }
    assert_eq!((port.earnings().await, port.stripe.transfers().len()), (number("0"), 1));
    port.world.finish().await;
}

#[tokio::test]
async fn incident_057_a_lost_answer_is_one_transfer() {
    let (port, _) = Port::ready("1000").await;
    port.stripe.fail_next_at(3, Fault::HangUpAfter, "/v1/transfers");
    let (id, state) = port.paid().await;
    assert_eq!((state.as_str(), port.earnings().await), ("sending", number("0")));
    // As long as it is not known, nobody calls it off and the credits stay out.
    let (status, refused) = port.owner.request("DELETE", &format!("/api/v1/payouts/{id}"), &[], None).await;
    assert_eq!((status, refused["code"].as_str().unwrap()), (409, "too_late"));
    assert_eq!(port.code().await, "payout_open");
    let retried = port.world.admin(&["payouts", "retry", "--id", &id]).await;
    assert_eq!((&retried["state"], port.stripe.transfers().len()), (&json!("sent"), 1));
    port.deliver().await;
    assert_eq!((port.earnings().await, port.stripe.transfers().len()), (number("0"), 1));
    port.world.finish().await;
}

#[tokio::test]
async fn incident_057_a_provider_that_was_away_is_asked_again() {
    let (port, _) = Port::ready("1000").await;
    port.stripe.go_down();
    let (id, state) = port.paid().await;
    assert_eq!((state.as_str(), port.earnings().await), ("sending", number("0")));
    port.stripe.come_back();
    let retried = port.world.admin(&["payouts", "retry", "--id", &id]).await;
    assert_eq!((&retried["state"], port.stripe.transfers().len()), (&json!("sent"), 1));
    port.world.finish().await;
}

#[tokio::test]
async fn a_killed_server_loses_and_doubles_nothing() {
    let (mut port, account) = Port::ready("1000").await;
    port.stripe.fail_next_at(1, Fault::Slow(60_000), "/v1/transfers");
    let owner = port.owner.clone();
    let asked = tokio::spawn(async move {
        let request = owner.http().post(format!("{}/api/v1/payouts", owner.url())).bearer_auth(&owner.key);
        drop(request.body("{}").send().await);
    });
    while port.stripe.transfers().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    port.world.kill().await;
    asked.abort();
    port.world.restart().await;
    let url = port.world.url.clone();
    port.owner.moved_to(&url);
    port.stripe.deliver_to(&format!("{url}/webhooks/stripe"));
    assert_eq!(port.code().await, "payout_open");
    // Its news bring the transfer whose answer nobody heard.
    port.deliver().await;
    let (_, list) = port.owner.get("/api/v1/payouts").await;
    assert_eq!(list["data"][0]["state"], "sent", "{list}");
    assert_eq!((port.stripe.transfers().len(), port.stripe.balance_of(&account)), (1, 900));
    port.world.finish().await;
}

#[tokio::test]
async fn an_empty_balance_of_the_network_is_waited_for() {
    let (port, _) = Port::ready("1000").await;
    port.stripe.set_platform_balance(100);
    let (id, state) = port.paid().await;
    assert_eq!((state.as_str(), port.earnings().await), ("wanted", number("0")));
    let waiting = port.world.admin(&["payouts", "list"]).await;
    assert!(waiting[0]["error"].as_str().unwrap().contains("$1.00"), "{waiting}");
    let retried = port.world.admin(&["payouts", "retry", "--id", &id]).await;
    assert_eq!(retried["state"], "wanted");
    port.stripe.set_platform_balance(5000);
    let retried = port.world.admin(&["payouts", "retry", "--id", &id]).await;
    assert_eq!((&retried["state"], port.stripe.transfers().len()), (&json!("sent"), 1));
    assert_eq!(port.world.admin(&["payouts", "list"]).await, json!([]));
    port.world.finish().await;
}

#[tokio::test]
async fn whoever_is_frozen_meanwhile_is_not_paid() {
    let (port, _) = Port::ready("1000").await;
    port.stripe.set_platform_balance(0);
    let (id, _) = port.paid().await;
    port.stripe.set_platform_balance(5000);
    port.world.admin(&["freeze", "--email", "bob-owner@example.org"]).await;
    let mut retry = port.world.command("admin");
    assert!(!retry.args(["payouts", "retry", "--id", &id]).output().await.unwrap().status.success());
    assert_eq!(port.stripe.transfers().len(), 0);
    let cancelled = port.world.admin(&["payouts", "cancel", "--id", &id]).await;
    assert_eq!((&cancelled["state"], port.earnings().await), (&json!("cancelled"), number("900")));
    port.world.finish().await;
}

#[tokio::test]
async fn incident_058_only_old_earnings_are_paid_out() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (app, user) = (&inside.app, inside.user("bob").await);
    let give = async |credits: &str, days: i64| {
        let now = app.clock.now().plus_millis(-days * DAY_MS);
        let (id, amount) = (app.ids.next(app.clock.now()), credits.parse().unwrap());
        let (kind, from, to) = (TransferKind::Grant, system::grants(), user.earnings);
        let command = Command::Transfer { id, kind, from, to, amount, note: None };
        let given =
            app.db.tx("give", async move |tx| ledger::submit(tx, std::slice::from_ref(&command), now).await);
        given.await.unwrap().outcomes[0].clone().unwrap();
    };
    let earned = async || {
        let earned = payouts::overview(app, &user, 10).await.unwrap().0;
        [earned.available, earned.pending, earned.paid].map(|amount| amount.to_string())
    };
    let pay = async |credits: &str| {
        let wish = Wish { amount: Some(credits.parse().unwrap()), ..Wish::default() };
        payouts::request(app, &user, wish).await
    };
    give("6000.5", 8).await;
    give("3000", 1).await;
    assert_eq!(earned().await, ["6000.5", "3000", "0"]);
    payouts::accounts::onboard(app, &user).await.unwrap();
    let account = payouts::overview(app, &user, 1).await.unwrap().1.unwrap().account;
    app.sandbox_payouts.as_ref().unwrap().onboard(&account).await.unwrap();
    payouts::accounts::refresh(app, user.id).await.unwrap();
    // What comes back is as old as it was; what goes out is taken from the oldest.
    assert_eq!(pay("2513").await.unwrap().state, payouts::State::Failed);
    assert_eq!(earned().await, ["6000.5", "3000", "0"]);
    assert!(matches!(pay("6001").await, Err(PayoutError::TooMuch(_))));
    assert_eq!(pay("4000").await.unwrap().state, payouts::State::Paid);
    assert_eq!(earned().await, ["2000.5", "3000", "4000"]);
    assert!(matches!(pay("2001").await, Err(PayoutError::BelowMinimum(_))));
    // Moved to the wallet are the old ones too; what is earned then is young.
    credits::move_earnings(app, &user, &server::idempotency::Once::unclaimed()).await.unwrap();
    give("2600", 0).await;
    assert_eq!(earned().await, ["0", "2600", "4000"]);
    inside.finish().await;
}

#[tokio::test]
async fn a_refused_payout_puts_the_credits_back_once() {
    let (port, account) = Port::ready("1000").await;
    // Stripe has not told us yet that something is missing.
    port.stripe.restrict(&account);
    let (id, state) = port.paid().await;
    assert_eq!((state.as_str(), port.earnings().await), ("failed", number("900")));
    port.deliver().await;
    assert_eq!(port.code().await, "payouts_not_set_up");
    port.stripe.onboard(&account);
    port.deliver().await;
    let (second, state) = port.paid().await;
    assert_eq!((state.as_str(), port.state(&id).await.as_str()), ("sent", "failed"));
    // Stripe takes a transfer back.
    let transfer = port.stripe.transfers()[0]["id"].as_str().unwrap().to_owned();
    let url = format!("{}/v1/transfers/{transfer}/reversals", port.stripe.api_base());
    let reversed = port.world.http.post(url).bearer_auth(port.stripe.secret_key());
    let reversed = reversed.header("stripe-version", "2025-03-31.basil").send().await.unwrap();
    assert_eq!(reversed.status().as_u16(), 200, "{}", reversed.text().await.unwrap());
    // Before anybody has told us, the comparison sees it; told to, it puts it right.
    let seen = port.world.admin(&["reconcile"]).await["payouts"]["differences"].clone();
    assert_eq!(
        (seen.as_array().unwrap().len(), &seen[0]["payout"], &seen[0]["healed"]),
        (1, &json!(second), &json!(false))
    );
    let healed = port.world.admin(&["reconcile", "--apply"]).await["payouts"]["differences"].clone();
    assert_eq!(healed[0]["healed"], true, "{healed}");
    assert_eq!(port.world.admin(&["reconcile"]).await["payouts"]["differences"], json!([]));
    for delivered in port.stripe.deliver_storm(3, 4, 8).await {
        assert_eq!(delivered.status, 200);
    }
    assert_eq!((port.state(&second).await.as_str(), port.earnings().await), ("failed", number("900")));
    port.world.finish().await;
}

#[tokio::test]
async fn many_requests_at_once_are_one_payout() {
    let (port, account) = Port::ready("1000").await;
    let asked = (0..20).map(|_| port.pay());
    let answers = futures_util::future::join_all(asked).await;
    let taken: Vec<_> = answers.iter().filter(|(status, _)| *status == 201).collect();
    assert_eq!(taken.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| matches!(status, 201 | 409)), "{answers:?}");
    assert_eq!((port.stripe.transfers().len(), port.stripe.balance_of(&account)), (1, 900));
    // The same key is the same payout.
    port.earn("1000").await;
    let same = (0..5)
        .map(|_| port.owner.request("POST", "/api/v1/payouts", &[("idempotency-key", "k")], Some("{}")));
    let answers = futures_util::future::join_all(same).await;
    // Those that came while the first was being answered are told to come again.
    assert!(answers.iter().all(|(status, _)| matches!(status, 201 | 409)), "{answers:?}");
    let made: Vec<_> = answers.iter().filter(|(status, _)| *status == 201).collect();
    assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
    assert_eq!(port.stripe.transfers().len(), 2);
    port.world.finish().await;
}

#[tokio::test]
async fn incident_056_cancelling_and_sending_have_one_outcome() {
    let (port, _) = Port::ready("1000").await;
    let mut sent = 0;
    for round in 0..6 {
        port.stripe.set_platform_balance(0);
        let (id, state) = port.paid().await;
        assert_eq!(state, "wanted");
        port.stripe.set_platform_balance(1_000_000);
        let path = format!("/api/v1/payouts/{id}");
        let retry = async {
            let mut command = port.world.command("admin");
            command.args(["--json", "payouts", "retry", "--id", &id]).output().await.unwrap()
        };
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(round * 60)).await;
            port.owner.request("DELETE", &path, &[], None).await
        };
        let (_, (cancelled, _)) = tokio::join!(retry, cancel);
        let state = port.state(&id).await;
        let transfers = port.stripe.transfers().len();
        if cancelled == 200 {
            assert_eq!(
                (state.as_str(), transfers, port.earnings().await),
                ("cancelled", sent, number("900"))
            );
        } else {
            sent += 1;
            assert_eq!((state.as_str(), transfers, port.earnings().await), ("sent", sent, number("0")));
            port.earn("1000").await;
        }
    }
    port.world.finish().await;
}

#[tokio::test]
async fn a_schedule_pays_once_in_a_period() {
    let (port, _) = Port::ready("1000").await;
    let set = port.owner.request("PATCH", "/api/v1/payouts/account", &[], Some(r#"{"schedule": "monthly"}"#));
    assert_eq!(set.await.1["data"]["schedule"], "monthly");
    let run = || port.world.admin(&["payouts", "run"]);
    tokio::join!(run(), run());
    assert_eq!((port.stripe.transfers().len(), port.earnings().await), (1, number("0")));
    port.earn("1000").await;
    run().await;
    assert_eq!((port.stripe.transfers().len(), port.earnings().await), (1, number("900")));
    port.world.finish().await;
}

#[tokio::test]
async fn who_may_not_be_paid_out_is_told_why() {
    let port = Port::with("hold_days = 7\n").await;
    assert_eq!(port.code().await, "payouts_not_set_up");
    let account = port.set_up().await;
    let (_, found) = port.owner.get("/api/v1/payouts/account").await;
    assert_eq!((&found["data"]["ready"], &found["data"]["set_up"]), (&json!(false), &json!(true)));
    assert_eq!(port.code().await, "payouts_not_set_up");
    port.stripe.onboard(&account);
    port.deliver().await;
    assert_eq!(port.code().await, "below_minimum");
    port.earn("1000").await;
    // Young earnings are pending; they can be moved to the wallet all the same.
    let (_, list) = port.owner.get("/api/v1/payouts").await;
    assert_eq!(list["earnings"], json!({"available": 0, "pending": 900, "paid": 0}), "{list}");
    assert_eq!(port.code().await, "below_minimum");
    let limited = port.world.key_for("bob-owner@example.org", &["--limit", "5"]).await;
    assert_eq!(limited.post("/api/v1/payouts", &json!({})).await.1["code"], "limited_key");
    port.world.admin(&["freeze", "--email", "bob-owner@example.org"]).await;
    assert_eq!(port.code().await, "account_frozen");
    port.world.admin(&["user", "create", "--email", "eve@example.org"]).await;
    let eve = port.world.key_for("eve@example.org", &[]).await;
    assert_eq!(eve.post("/api/v1/payouts", &json!({})).await.1["code"], "verification_required");
    port.world.finish().await;
}

#[tokio::test]
async fn the_sandbox_pretends_and_can_refuse() {
    let world =
        World::with("[mail]\ntransport = \"file\"\n[payouts]\nminimum_credits = 100\nhold_days = 0\n").await;
    let ana = world.user("ana", "100000").await;
    world.user("bob-owner", "0").await;
    earn(&world, &ana, "1000").await;
    let mut browser = Browser::new(&world.url);
    browser.sign_in("bob-owner@example.org", world.folder.path()).await;
    let page = browser.send("/islands", "/islands/payouts/setup", &[]).await;
    assert!(page.location.starts_with("/sandbox/payouts/acct_"), "{}", page.location);
    let sandbox = page.location;
    assert!(browser.get(&sandbox).await.text.contains("TEST MODE"));
    let back = browser.send(&sandbox, &sandbox, &[("action", "onboard")]).await;
    let ready = browser.get(&back.location).await;
    assert_eq!(ready.location, "/islands?done=payouts_ready");
    // What is not possible is said on the page.
    let refused = browser.send("/islands", "/islands/payouts", &[("credits", "50")]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("At least 100"), "{}", refused.text);
    browser.send("/islands", "/islands/payouts", &[("credits", "113")]).await;
    let page = browser.get("/islands").await.text;
    assert!(page.contains("failed, credits are back") && page.contains("end in .13"), "{page}");
    assert_eq!(world.account("bob-owner").await["earnings"], number("900"));
    browser.send("/islands", "/islands/payouts", &[("credits", "200")]).await;
    let page = browser.get("/islands").await.text;
    let (_, rest) = page.split_once("/islands/payouts/pay_").unwrap();
    let csv = browser.get(&format!("/islands/payouts/pay_{}", rest.split('"').next().unwrap())).await.text;
    assert!(csv.contains(",200,0.01,2.00,USD,paid,sandbox,tr_sandbox_"), "{csv}");
    browser.send("/islands", "/islands/payouts/schedule", &[("schedule", "weekly")]).await;
    assert!(browser.get("/islands").await.text.contains("value=\"weekly\" selected"));
    assert_eq!(world.account("bob-owner").await["earnings"], number("700"));
    world.finish().await;
}
