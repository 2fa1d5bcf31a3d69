//! Auto top-up, alerts and promo codes: one charge for each low episode, whatever happens, against a stand-in for Stripe, with a
//! clock that can be moved.

use std::sync::Arc;

use db::{DbError, Engine, OpenOptions, Tx, params};
use futures_util::future::join_all;
use ledger::Command;
use reqwest::StatusCode;
use serde_json::json;
use server::accounts::{self, User};
use server::app::App;
use server::idempotency::Once;
use server::promo::{self, Promo, PromoError};
use server::providers::stripe::Stripe;
use server::purchases::sandbox::Choice;
use server::purchases::stripe::StripePayments;
use server::topups::rules::{Rule, State, Unfit};
use server::topups::{self, TopUpError, alerts};
use server::{credits, purchases};
use stripe_fake::{Card, Fault, StripeFake};
use types::id::TransferId;
use types::money::{Cents, Credits, MicroCredits};
use types::time::{Clock, DAY_MS, HOUR_MS, MINUTE_MS, SystemClock, TestClock, Timestamp};

use crate::stripe::Shop;
use crate::world::browser::Browser;
use crate::world::inside::Inside;

/// The program with a Stripe of our own, a clock of our own, and a user who has saved a card.
struct Till {
    inside: Inside,
    stripe: StripeFake,
    clock: Arc<TestClock>,
    ana: User,
    card: String,
}

fn credits_of(amount: i64) -> MicroCredits {
    Credits::new(amount).micros().unwrap()
}

fn wire(app: &mut Arc<App>, stripe: &StripeFake, clock: &Arc<TestClock>) {
    let app = Arc::get_mut(app).unwrap();
    app.config.stripe.secret_key = stripe.secret_key().to_owned();
    app.config.stripe.api_base = stripe.api_base().to_owned();
    app.clock = Arc::clone(clock) as Arc<dyn Clock>;
    let stripe = Arc::new(Stripe::new(&app.config.stripe).unwrap());
    app.payments = Arc::new(StripePayments { stripe, clock: Arc::clone(&app.clock) });
}

async fn submit(app: &App, command: Command) {
    let now = app.clock.now();
    let submit = async move |tx: &mut Tx<'_>| {
        let submitted = ledger::submit(tx, std::slice::from_ref(&command), now).await?;
        for outcome in submitted.outcomes {
            outcome.map_err(|refusal| DbError::Other(refusal.to_string()))?;
        }
        Ok::<_, DbError>(())
    };
    app.db.tx("test", submit).await.unwrap();
}

impl Till {
    /// The card is saved; nothing is switched on.
    async fn open(card: &Card) -> Self {
        let stripe = StripeFake::start();
        // In the middle of a month, so that hours stay in it.
        let middle =
            SystemClock.now().month_start().plus_millis(45 * DAY_MS).month_start().plus_millis(12 * DAY_MS);
        let clock = Arc::new(TestClock::new(middle));
        let mut inside = Inside::open(OpenOptions::server()).await;
        wire(&mut inside.app, &stripe, &clock);
        let ana = inside.user("ana").await;
        let customer = stripe.add_customer("ana@example.org");
        let saved = stripe.save_card(&customer, card);
        let user = ana.id;
        let insert = async move |tx: &mut Tx<'_>| {
            let sql =
                "INSERT INTO provider_customers (user_id, provider, customer_ref) VALUES ($1, 'stripe', $2)";
            tx.execute_one(sql, &params![user, &customer]).await
        };
        inside.app.db.tx("customer", insert).await.unwrap();
        Self { inside, stripe, clock, ana, card: saved }
    }

    /// The same, with 500 credits bought below 100, for at most so many cents a month.
    async fn on(card: &Card, most: i64) -> Self {
        let till = Self::open(card).await;
        till.set(most).await;
        till
    }

    fn app(&self) -> &App {
        &self.inside.app
    }

    async fn set(&self, most: i64) {
        topups::set(
            self.app(),
            (&self.ana, None),
            credits_of(100),
            "starter",
            Cents::new(most),
            &Once::unclaimed(),
        )
        .await
        .unwrap();
    }

    async fn once(&self) {
        topups::once(self.app()).await.unwrap();
    }

    async fn rule(&self) -> Rule {
        topups::find(self.app(), self.ana.id).await.unwrap().0.unwrap()
    }

    async fn available(&self) -> MicroCredits {
        credits::balance(self.app(), self.ana.wallet).await.unwrap().available()
    }

    /// Reserves credits, as a job does.
    async fn hold(&self, amount: i64) -> TransferId {
        let (id, account): (TransferId, _) = (self.app().ids.next(self.clock.now()), self.ana.wallet);
        let expires_at = self.clock.now().plus_millis(900 * DAY_MS);
        self.submit(Command::Hold { id, account, amount: credits_of(amount), cap: None, expires_at }).await;
        id
    }

    async fn release(&self, hold: TransferId) {
        self.submit(Command::Release { hold }).await;
    }

    async fn submit(&self, command: Command) {
        submit(self.app(), command).await;
    }

    /// How many letters of a kind there are.
    async fn letters(&self, kind: &'static str) -> i64 {
        let count = async move |tx: &mut Tx<'_>| {
            let sql = "SELECT CAST(count(*) AS BIGINT) FROM mail_outbox WHERE kind = $1";
            tx.query_one(sql, &params![kind]).await?.get::<i64>(0)
        };
        self.app().db.read("letters", count).await.unwrap()
    }

    fn intents(&self) -> usize {
        self.stripe.all("payment_intent").len()
    }

    /// How often a charge was asked for.
    fn asked(&self) -> usize {
        let asks = |path: &str| path == "/v1/payment_intents" || path.ends_with("/confirm");
        self.stripe.requests().iter().filter(|one| one.method == "POST" && asks(&one.path)).count()
    }

    fn pass(&self, milliseconds: i64) {
        self.clock.advance_millis(milliseconds);
    }

    async fn finish(self) {
        self.inside.finish().await;
    }
}

#[tokio::test]
async fn incident_079_a_low_episode_is_charged_once_by_however_many() {
    let till = Till::on(&Card::Ok, 2000).await;
    let mut beside = till.inside.beside().await;
    wire(&mut beside.app, &till.stripe, &till.clock);
    let rounds = (0..8).map(|number| topups::once(if number % 2 == 0 { till.app() } else { &beside.app }));
    for done in join_all(rounds).await {
        done.unwrap();
    }
    assert_eq!((till.intents(), till.asked(), till.available().await), (1, 1, credits_of(500)));
    assert_eq!((till.letters("top_up_done").await, till.letters("receipt").await), (1, 1));
    assert_eq!(till.stripe.total_received_cents(), 499);
    till.pass(DAY_MS);
    till.once().await;
    assert_eq!(till.asked(), 1);
    till.finish().await;
}

#[tokio::test]
async fn incident_077_held_credits_do_not_count() {
    let till = Till::on(&Card::Ok, 2000).await;
    till.once().await;
    let hold = till.hold(450).await;
    till.once().await;
    assert_eq!((till.intents(), till.available().await), (2, credits_of(550)));
    till.release(hold).await;
    till.finish().await;
}

#[tokio::test]
async fn incident_076_what_is_on_its_way_counts() {
    let till = Till::on(&Card::Delayed, 2000).await;
    till.once().await;
    for _ in 0..3 {
        till.pass(HOUR_MS);
        till.once().await;
    }
    assert_eq!((till.intents(), till.asked(), till.available().await), (1, 1, MicroCredits::ZERO));
    assert!(!till.rule().await.in_flight);
    till.finish().await;
}

#[tokio::test]
async fn incident_079_an_answer_that_is_lost_is_asked_for_again() {
    let till = Till::on(&Card::Ok, 2000).await;
    till.stripe.fail_next_at(3, Fault::HangUpAfter, "/v1/payment_intents");
    till.once().await;
    assert_eq!((till.intents(), till.available().await), (1, MicroCredits::ZERO));
    assert!(till.rule().await.in_flight);
    // Longer than the provider remembers keys.
    till.pass(2 * DAY_MS);
    till.once().await;
    assert_eq!((till.intents(), till.available().await), (1, credits_of(500)));
    assert_eq!(till.stripe.total_received_cents(), 499);
    till.finish().await;
}

#[tokio::test]
async fn incident_040_a_charge_nobody_heard_of_is_found_by_the_comparison() {
    let till = Till::on(&Card::Ok, 2000).await;
    till.stripe.fail_next_at(3, Fault::HangUpAfter, "/v1/payment_intents");
    till.once().await;
    // Switched off: it is not asked for again, but what was paid is granted.
    topups::remove(till.app(), till.ana.id, &Once::unclaimed()).await.unwrap();
    till.pass(DAY_MS);
    till.once().await;
    assert_eq!((till.asked(), till.available().await), (3, MicroCredits::ZERO));
    let since = Timestamp::from_millis(0);
    let report = purchases::reconcile::run(till.app(), since, true).await.unwrap();
    assert_eq!((report.differences.len(), report.differences[0].healed), (1, true), "{report:?}");
    assert_eq!(till.available().await, credits_of(500));
    let report = purchases::reconcile::run(till.app(), since, false).await.unwrap();
    assert_eq!(report.differences, []);
    till.finish().await;
}

#[tokio::test]
async fn incident_075_a_declined_card_is_asked_after_1_3_and_7_hours_and_no_more() {
    let till = Till::on(&Card::declined("insufficient_funds"), 2000).await;
    till.once().await;
    // The provider tells of the decline, too: the purchase is still to be paid.
    let intent = till.stripe.all("payment_intent")[0]["id"].as_str().unwrap().to_owned();
    let told = purchases::reversals::sync(till.app(), &intent, None).await.unwrap().unwrap();
    assert_eq!(told.state, purchases::State::Created);
    for (declines, hours) in [(1, 1), (2, 3), (3, 7)] {
        assert_eq!(
            (till.rule().await.declines, till.asked()),
            (declines, usize::try_from(declines).unwrap())
        );
        till.pass(hours * HOUR_MS - 1);
        till.once().await;
        assert_eq!(till.rule().await.declines, declines, "not before its time");
        till.pass(1);
        till.once().await;
    }
    assert_eq!((till.rule().await.state, till.rule().await.declines), (State::Paused, 4));
    for _ in 0..30 {
        till.pass(HOUR_MS);
        till.once().await;
    }
    // One payment for the whole episode, tried four times.
    assert_eq!((till.intents(), till.asked()), (1, 4));
    assert_eq!((till.letters("top_up_declined").await, till.letters("top_up_paused").await), (3, 1));
    // Another card, and switched on again.
    till.stripe.change_card(&till.card, &Card::Ok);
    till.set(2000).await;
    till.once().await;
    assert_eq!((till.available().await, till.stripe.total_received_cents()), (credits_of(500), 499));
    till.finish().await;
}

#[tokio::test]
async fn incident_075_a_card_that_is_gone_for_good_pauses_at_once() {
    let till = Till::on(&Card::declined("lost_card"), 2000).await;
    till.once().await;
    till.pass(30 * DAY_MS);
    till.once().await;
    let rule = till.rule().await;
    assert_eq!((rule.state, till.asked(), till.letters("top_up_paused").await), (State::Paused, 1, 1));
    assert_eq!(rule.last_error.as_deref(), Some("the bank has blocked the card"));
    till.finish().await;
}

#[tokio::test]
async fn incident_075_an_outage_is_no_decline() {
    let till = Till::on(&Card::Ok, 2000).await;
    till.stripe.go_down();
    for _ in 0..2 {
        till.once().await;
        till.pass(MINUTE_MS);
    }
    let rule = till.rule().await;
    assert_eq!((rule.state, rule.declines, till.intents()), (State::Active, 0, 0));
    till.stripe.come_back();
    till.once().await;
    assert_eq!((till.intents(), till.available().await), (1, credits_of(500)));
    assert_eq!(till.letters("top_up_declined").await, 0);
    till.finish().await;
}

#[tokio::test]
async fn a_bank_that_wants_the_owner_pauses_with_a_link() {
    let till = Till::on(&Card::Authentication, 2000).await;
    till.once().await;
    till.pass(DAY_MS);
    till.once().await;
    let rule = till.rule().await;
    assert_eq!(
        (rule.state, till.asked(), till.letters("top_up_needs_confirmation").await),
        (State::Paused, 1, 1)
    );
    assert!(rule.confirm_url.unwrap().ends_with("/credits#package-starter"));
    // The credits came in another way: the next episode is tried again.
    credits::grant(till.app(), &till.ana, credits_of(200), "test").await.unwrap();
    till.once().await;
    let rule = till.rule().await;
    assert_eq!((rule.state, rule.confirm_url, rule.epoch), (State::Active, None, 2));
    till.finish().await;
}

#[tokio::test]
async fn incident_080_no_more_than_the_monthly_maximum_is_charged() {
    let till = Till::on(&Card::Ok, 997).await;
    till.once().await;
    let hold = till.hold(450).await;
    for _ in 0..3 {
        till.once().await;
        till.pass(HOUR_MS);
    }
    let rule = till.rule().await;
    assert_eq!((till.stripe.total_received_cents(), till.letters("top_up_paused").await), (499, 1));
    assert_eq!(rule.last_error.as_deref(), Some("the monthly maximum of $9.97 is reached"));
    // The next month is another one.
    till.pass(32 * DAY_MS);
    till.once().await;
    assert_eq!((till.stripe.total_received_cents(), till.available().await), (998, credits_of(550)));
    till.release(hold).await;
    till.finish().await;
}

#[tokio::test]
async fn a_frozen_wallet_is_not_filled() {
    let till = Till::on(&Card::Ok, 2000).await;
    credits::freeze(till.app(), &till.ana, true).await.unwrap();
    till.once().await;
    assert_eq!(till.asked(), 0);
    credits::freeze(till.app(), &till.ana, false).await.unwrap();
    till.pass(2 * MINUTE_MS);
    till.once().await;
    assert_eq!(till.asked(), 1);
    till.finish().await;
}

#[tokio::test]
async fn incident_078_a_rule_that_can_never_fire_or_charge_is_refused() {
    let till = Till::open(&Card::Ok).await;
    let set = async |threshold, most| {
        let refused = topups::set(
            till.app(),
            (&till.ana, None),
            credits_of(threshold),
            "starter",
            Cents::new(most),
            &Once::unclaimed(),
        )
        .await;
        match refused {
            Err(TopUpError::Unfit(unfit)) => Some(unfit),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        }
    };
    assert_eq!(set(0, 2000).await, Some(Unfit::Threshold));
    assert_eq!(set(501, 2000).await, Some(Unfit::TooSmall));
    assert_eq!(set(100, 498).await, Some(Unfit::Maximum(Cents::new(499))));
    till.stripe.remove_card(&till.card);
    let refused = topups::set(
        till.app(),
        (&till.ana, None),
        credits_of(100),
        "starter",
        Cents::new(2000),
        &Once::unclaimed(),
    )
    .await;
    assert!(matches!(refused, Err(TopUpError::NoCard)));
    till.once().await;
    assert_eq!(till.asked(), 0);
    till.finish().await;
}

#[tokio::test]
async fn the_sandbox_charges_whoever_has_paid_once() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (app, sandbox) = (&*inside.app, inside.app.sandbox_payments.clone().unwrap());
    for (name, charged) in [("ana", 500), ("declined", 0)] {
        let user = inside.user(name).await;
        accounts::rename(app, &user, name, &Once::unclaimed()).await.unwrap();
        let user = User { name: name.to_owned(), ..user };
        let (threshold, most) = (credits_of(500), Cents::new(2000));
        let refused = topups::set(app, (&user, None), threshold, "starter", most, &Once::unclaimed()).await;
        assert!(matches!(refused, Err(TopUpError::NoCard)));
        let bought = purchases::buy(app, &user, "starter", "first").await.unwrap();
        let checkout = sandbox.checkout(bought.session.as_deref().unwrap()).await.unwrap().unwrap();
        sandbox.choose(&checkout, Choice::Pay).await.unwrap();
        purchases::fulfil(app, bought.id, None).await.unwrap();
        topups::set(app, (&user, None), threshold, "starter", most, &Once::unclaimed()).await.unwrap();
        topups::once(app).await.unwrap();
        assert_eq!(credits::balance(app, user.wallet).await.unwrap().available(), credits_of(500));
        // Nobody may take a key of that form.
        assert!(purchases::buy(app, &user, "starter", "topup-1").await.is_err());
        let (id, account): (TransferId, _) = (app.ids.next(app.clock.now()), user.wallet);
        let expires_at = app.clock.now().plus_millis(DAY_MS);
        let hold = Command::Hold { id, account, amount: credits_of(1), cap: None, expires_at };
        submit(app, hold).await;
        topups::once(app).await.unwrap();
        topups::once(app).await.unwrap();
        submit(app, Command::Release { hold: id }).await;
        let expected = credits_of(500 + charged);
        assert_eq!(credits::balance(app, user.wallet).await.unwrap().available(), expected, "{name}");
    }
    inside.finish().await;
}

#[tokio::test]
async fn incident_081_one_letter_for_each_crossing() {
    let till = Till::open(&Card::Ok).await;
    credits::grant(till.app(), &till.ana, credits_of(200), "test").await.unwrap();
    let (user, app) = (till.ana.id, till.app());
    alerts::set(app, user, [0, 20, 100].map(credits_of).to_vec(), &Once::unclaimed()).await.unwrap();
    assert!(alerts::set(app, user, [0, 1, 2, 3].map(credits_of).to_vec(), &Once::unclaimed()).await.is_err());
    let letters = async || {
        for _ in 0..2 {
            alerts::once(app).await.unwrap();
            till.pass(1);
        }
        (till.letters("low_balance").await, till.letters("balance_exhausted").await)
    };
    assert_eq!(letters().await, (0, 0));
    let first = till.hold(150).await;
    assert_eq!(letters().await, (1, 0), "below 100");
    let second = till.hold(50).await;
    assert_eq!(letters().await, (1, 1), "below 20 and 0 at once");
    till.release(first).await;
    till.release(second).await;
    assert_eq!(letters().await, (1, 1), "above again");
    let third = till.hold(190).await;
    assert_eq!(letters().await, (2, 1), "another episode");
    till.release(third).await;
    till.finish().await;
}

fn code(name: &str, uses: i64, now: Timestamp) -> Promo {
    Promo {
        code: name.to_owned(),
        credits: credits_of(25),
        total_limit: uses,
        per_user_limit: 1,
        used: 0,
        expires_at: Some(now.plus_millis(DAY_MS)),
        note: String::new(),
        created_at: now,
        disabled: false,
    }
}

#[tokio::test]
async fn incident_045_a_code_with_seven_uses_is_granted_seven_times() {
    let till = Till::open(&Card::Ok).await;
    let app = till.app();
    promo::create(app, code(" summer-26 ", 7, till.clock.now())).await.unwrap();
    let mut racers = Vec::new();
    for number in 0..25 {
        racers.push(till.inside.newcomer(&format!("racer{number}")).await);
    }
    let twice = racers.iter().chain(&racers).enumerate();
    let tried =
        join_all(twice.map(async |(number, user)| {
            promo::redeem(app, user, "Summer-26", &format!("try{number}")).await
        }));
    let tried = tried.await;
    assert_eq!(tried.iter().filter(|one| one.is_ok()).count(), 7);
    let mut granted = 0;
    for user in &racers {
        granted += credits::balance(app, user.wallet).await.unwrap().available().get();
    }
    assert_eq!(granted, credits_of(7 * 25).get());
    till.finish().await;
}

#[tokio::test]
async fn incident_047_a_code_whose_grant_was_lost_is_still_there() {
    let till = Till::open(&Card::Ok).await;
    let app = till.app();
    promo::create(app, code("ONCE", 1, till.clock.now())).await.unwrap();
    let user = till.inside.newcomer("unlucky").await;
    let script = |sql: &'static str| app.db.tx("script", async move |tx| tx.execute_script(sql).await);
    let (broken, mended) = match app.db.engine() {
        Engine::Sqlite => (
            "CREATE TRIGGER broken BEFORE INSERT ON ledger_transfers BEGIN SELECT raise(ABORT, 'broken'); END",
            "DROP TRIGGER broken",
        ),
        Engine::Postgres => (
            "CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''broken''; END';
             CREATE TRIGGER broken BEFORE INSERT ON ledger_transfers FOR EACH ROW EXECUTE FUNCTION break()",
            "DROP TRIGGER broken ON ledger_transfers",
        ),
    };
    script(broken).await.unwrap();
    assert!(promo::redeem(app, &user, "once", "try").await.is_err());
    script(mended).await.unwrap();
    // The only use was not spent on what did not happen; and asked again it is granted once.
    for _ in 0..2 {
        promo::redeem(app, &user, "once", "try").await.unwrap();
    }
    let balance = credits::balance(app, user.wallet).await.unwrap();
    assert_eq!(balance.available(), credits_of(25));
    till.finish().await;
}

#[tokio::test]
async fn a_code_is_redeemed_once_and_not_after_its_end_and_not_guessed() {
    let till = Till::open(&Card::Ok).await;
    let app = till.app();
    for name in ["ONE", "TWO", "OFF"] {
        promo::create(app, code(name, 5, till.clock.now())).await.unwrap();
    }
    promo::disable(app, "off").await.unwrap();
    let redeem = async |code: &str, attempt: &str| promo::redeem(app, &till.ana, code, attempt).await;
    assert_eq!(redeem("one", "a").await.unwrap(), credits_of(25));
    assert_eq!(redeem("one", "a").await.unwrap(), credits_of(25), "the same click");
    assert!(matches!(redeem("two", "a").await, Err(PromoError::KeyTaken)));
    assert!(matches!(redeem("one", "b").await, Err(PromoError::Used)));
    assert!(matches!(redeem("off", "c").await, Err(PromoError::Unknown)));
    till.pass(DAY_MS);
    assert!(matches!(redeem("two", "d").await, Err(PromoError::Expired)));
    assert_eq!(till.available().await, credits_of(25));
    for number in 0..promo::MISSES {
        assert!(matches!(redeem("guess", &format!("g{number}")).await, Err(PromoError::Unknown)));
    }
    assert!(matches!(redeem("two", "e").await, Err(PromoError::TooMany)));
    till.pass(HOUR_MS + 1);
    assert!(matches!(redeem("two", "e").await, Err(PromoError::Expired)));
    till.finish().await;
}

#[tokio::test]
async fn incident_080_nothing_is_charged_before_it_is_switched_on_in_its_own_form() {
    let shop = Shop::open().await;
    let (_, first) = shop.buy("starter").await;
    let path = "/api/v1/credits/auto-topup";
    let rule = json!({"threshold": 1000, "package": "explorer", "monthly_max_cents": 5000});
    let put =
        async |body: &serde_json::Value| shop.ana.request("PUT", path, &[], Some(&body.to_string())).await;
    let limited = shop.world.key_for("ana@example.org", &["--limit", "5"]).await;
    let customer = shop.stripe.object(&first).unwrap()["customer"].as_str().unwrap().to_owned();
    let (status, refused) = put(&rule).await;
    assert_eq!((status, &refused["code"]), (409, &json!("no_saved_card")), "{refused}");
    shop.stripe.save_card(&customer, &Card::Ok);
    let (status, refused) = limited.request("PUT", path, &[], Some(&rule.to_string())).await;
    assert_eq!((status, &refused["code"]), (403, &json!("limited_key")), "{refused}");
    for (name, wrong) in
        [("threshold", json!("x")), ("package", json!("none")), ("monthly_max_cents", json!(998))]
    {
        let mut body = rule.clone();
        body[name] = wrong;
        let (status, refused) = put(&body).await;
        assert_eq!((status, refused["errors"].get(name).is_some()), (422, true), "{refused}");
    }
    assert_eq!(shop.ana.get(path).await.1["data"]["enabled"], false);
    let mut browser = Browser::new(&shop.world.url);
    browser.sign_in("ana@example.org", shop.world.folder.path()).await;
    let page = browser.get("/credits").await.text;
    assert!(page.contains("name=\"enabled\" value=\"yes\">"), "not ticked by itself");
    let fields = [("enabled", "yes"), ("threshold", "1000"), ("package", "explorer"), ("monthly_max", "50")];
    let sent = browser.send("/credits", "/credits/auto-topup", &fields).await;
    assert_eq!(sent.location, "/credits?done=topup_on#auto-topup");
    for _ in 0..100 {
        if shop.balance().await.0 == json!(1600) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(shop.balance().await.0, json!(1600));
    shop.deliver().await;
    let (status, shown) = shop.ana.get(path).await;
    assert_eq!((status, &shown["data"]["charged_this_month_cents"]), (200, &json!(999)), "{shown}");
    let sent = browser.send("/credits", "/credits/auto-topup", &[("threshold", "1000")]).await;
    assert_eq!(sent.location, "/credits?done=topup_off#auto-topup");
    let sent = browser.send("/credits", "/credits/portal", &[]).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER.as_u16());
    shop.finish().await;
}

#[tokio::test]
async fn alerts_and_codes_have_forms_and_an_api() {
    let shop = Shop::open().await;
    let made =
        shop.world.admin(&["promo", "create", "--code", "hello", "--credits", "12.5", "--uses", "2"]).await;
    assert_eq!(made["code"], "HELLO");
    let (status, redeemed) = shop.ana.post("/api/v1/credits/redeem", &json!({"code": "Hello"})).await;
    assert_eq!((status, &redeemed["data"]["credits"]), (201, &json!(12.5)), "{redeemed}");
    let (status, refused) = shop.ana.post("/api/v1/credits/redeem", &json!({"code": "HELLO"})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("code_redeemed")));
    let path = "/api/v1/credits/alerts";
    let (status, set) = shop.ana.request("PUT", path, &[], Some(r#"{"thresholds": [50, 0]}"#)).await;
    assert_eq!((status, &set["data"][0]["threshold"]), (200, &json!(0)), "{set}");
    let four = r#"{"thresholds": [1, 2, 3, 4]}"#;
    assert_eq!(shop.ana.request("PUT", path, &[], Some(four)).await.0, 422);
    let mut browser = Browser::new(&shop.world.url);
    browser.sign_in("ana@example.org", shop.world.folder.path()).await;
    let sent = browser.send("/credits", "/credits/alerts", &[("alert_1", "20"), ("alert_2", "")]).await;
    assert_eq!(sent.location, "/credits?done=alerts_saved#alerts");
    let sent = browser.send("/credits", "/credits/redeem", &[("code", "nope"), ("attempt", "1")]).await;
    assert_eq!(sent.location, "/credits?done=code_unknown");
    shop.world.admin(&["promo", "disable", "--code", "hello"]).await;
    assert_eq!(shop.world.admin(&["promo", "list"]).await[0]["disabled"], true);
    shop.finish().await;
}
