//! A payment grants its credits exactly once (I4), whatever comes in whatever order, how often and how many at once. The
//! program is built here in the test's own process, so that webhooks can be made with the sandbox's secret.

use std::sync::Arc;

use db::{Engine, OpenOptions};
use server::accounts::User;
use server::app::App;
use server::credits;
use server::error::ApiError;
use server::providers::events;
use server::providers::sandbox::{Event, read_event};
use server::providers::{signature, verify};
use server::purchases::sandbox::Choice;
use server::purchases::{self, PurchaseError, State};
use types::money::MicroCredits;

use crate::world::inside::Inside;

struct Shop {
    inside: Inside,
    app: Arc<App>,
    ana: User,
}

const CREDITS: MicroCredits = MicroCredits::new(500_000_000);

impl Shop {
    async fn open() -> Self {
        let inside = Inside::open(OpenOptions::server()).await;
        let (app, ana) = (Arc::clone(&inside.app), inside.user("ana").await);
        Self { inside, app, ana }
    }

    async fn buy(&self, attempt: &str) -> purchases::Purchase {
        purchases::buy(&self.app, &self.ana, "starter", attempt).await.unwrap()
    }

    async fn choose(&self, purchase: &purchases::Purchase, choice: Choice) {
        let sandbox = self.app.sandbox_payments.as_ref().unwrap();
        let checkout = sandbox.checkout(purchase.session.as_deref().unwrap()).await.unwrap().unwrap();
        sandbox.choose(&checkout, choice).await.unwrap();
    }

    /// A webhook about a purchase, as the sandbox would send it.
    async fn webhook(&self, purchase: &purchases::Purchase, id: &str) -> Result<(), ApiError> {
        let event = Event {
            id: id.to_owned(),
            kind: "checkout.completed".to_owned(),
            session: purchase.session.clone().unwrap(),
        };
        let body = serde_json::to_string(&event).unwrap();
        let header = signature(&self.app.sandbox_secret, self.app.clock.now(), &body);
        let secrets = std::slice::from_ref(&self.app.sandbox_secret);
        verify(secrets, Some(&header), body.as_bytes(), self.app.clock.now()).unwrap();
        events::receive(&self.app, read_event(body.as_bytes()).unwrap()).await
    }

    async fn credits(&self) -> MicroCredits {
        credits::balance(&self.app, self.ana.wallet).await.unwrap().available()
    }

    async fn finish(self) {
        self.inside.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incident_031_webhooks_and_return_page_race_and_grant_once() {
    let shop = Arc::new(Shop::open().await);
    for round in 1..=5_i64 {
        let purchase = shop.buy(&format!("round {round}")).await;
        shop.choose(&purchase, Choice::Pay).await;
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (shop, purchase) = (Arc::clone(&shop), purchase.clone());
                tokio::spawn(async move {
                    match n % 3 {
                        // The same event again and again, another event, and the return page.
                        0 => shop.webhook(&purchase, &format!("evt_{round}")).await.unwrap(),
                        1 => shop.webhook(&purchase, &format!("evt_{round}_{n}")).await.unwrap(),
                        _ => drop(purchases::fulfil(&shop.app, purchase.id, None).await.unwrap()),
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(shop.credits().await.get(), CREDITS.get() * round);
    }
    Arc::try_unwrap(shop).ok().unwrap().finish().await;
}

#[tokio::test]
async fn incident_037_only_money_that_arrived_is_granted() {
    let shop = Shop::open().await;
    let purchase = shop.buy("later").await;
    // Not paid: a webhook that says so changes nothing, because the provider is asked.
    shop.webhook(&purchase, "evt_lie").await.unwrap();
    assert_eq!(shop.credits().await, MicroCredits::ZERO);
    shop.choose(&purchase, Choice::Decline).await;
    assert_eq!(purchases::fulfil(&shop.app, purchase.id, None).await.unwrap().state, State::Created);
    shop.choose(&purchase, Choice::Later).await;
    let pending = purchases::fulfil(&shop.app, purchase.id, None).await.unwrap();
    assert_eq!((pending.state, shop.credits().await), (State::Pending, MicroCredits::ZERO));

    let abandoned = shop.buy("abandoned").await;
    shop.choose(&abandoned, Choice::Abandon).await;
    assert_eq!(purchases::fulfil(&shop.app, abandoned.id, None).await.unwrap().state, State::Expired);
    // A checkout that has ended cannot be paid.
    shop.choose(&abandoned, Choice::Pay).await;
    assert_eq!(purchases::fulfil(&shop.app, abandoned.id, None).await.unwrap().state, State::Expired);
    assert_eq!(shop.credits().await, MicroCredits::ZERO);
    shop.finish().await;
}

#[tokio::test]
async fn incident_041_a_closed_tab_is_healed_by_the_reconciler() {
    let shop = Shop::open().await;
    let purchase = shop.buy("closed tab").await;
    shop.choose(&purchase, Choice::Pay).await;
    purchases::reconcile_once(&shop.app).await.unwrap();
    assert_eq!(shop.credits().await, CREDITS);
    purchases::reconcile_once(&shop.app).await.unwrap();
    assert_eq!(shop.credits().await, CREDITS);
    shop.finish().await;
}

#[tokio::test]
async fn incident_017_a_double_click_is_one_purchase() {
    let shop = Shop::open().await;
    let first = shop.buy("click").await;
    let second = shop.buy("click").await;
    assert_eq!((first.id, &first.checkout_url), (second.id, &second.checkout_url));
    let other = purchases::buy(&shop.app, &shop.ana, "fleet", "click").await;
    assert!(matches!(other, Err(PurchaseError::KeyTaken)));
    let unknown = purchases::buy(&shop.app, &shop.ana, "moon", "x").await;
    assert!(matches!(unknown, Err(PurchaseError::UnknownPackage)));
    shop.finish().await;
}

#[tokio::test]
async fn an_event_about_nothing_of_ours_is_remembered_and_harmless() {
    let shop = Shop::open().await;
    let mut purchase = shop.buy("x").await;
    purchase.session = Some("cs_of_somebody_else".to_owned());
    shop.webhook(&purchase, "evt_1").await.unwrap();
    shop.webhook(&purchase, "evt_1").await.unwrap();
    assert_eq!(shop.credits().await, MicroCredits::ZERO);
    shop.finish().await;
}

#[tokio::test]
async fn incident_036_a_webhook_that_cannot_be_stored_is_sent_again() {
    let shop = Shop::open().await;
    let purchase = shop.buy("x").await;
    shop.choose(&purchase, Choice::Pay).await;
    // The database refuses the grant: nothing of the webhook is kept, and the provider is told to try again.
    let (broken, mended) = match shop.app.db.engine() {
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
    let script = |sql: &'static str| shop.app.db.tx("script", async move |tx| tx.execute_script(sql).await);
    script(broken).await.unwrap();
    assert!(shop.webhook(&purchase, "evt_1").await.is_err());
    assert_eq!(shop.credits().await, MicroCredits::ZERO);
    script(mended).await.unwrap();
    // Incident 35: the event was not marked as done when its effect was lost.
    shop.webhook(&purchase, "evt_1").await.unwrap();
    assert_eq!(shop.credits().await, CREDITS);
    shop.finish().await;
}

#[tokio::test]
async fn a_forged_or_replayed_webhook_is_refused() {
    let shop = Shop::open().await;
    let body = br#"{"id":"e","kind":"checkout.completed","session":"s"}"#;
    let now = shop.app.clock.now();
    let text = std::str::from_utf8(body).unwrap();
    let good = signature(&shop.app.sandbox_secret, now, text);
    let secrets = std::slice::from_ref(&shop.app.sandbox_secret);
    assert!(verify(secrets, Some(&good), body, shop.app.clock.now()).is_ok());
    let stale = signature(&shop.app.sandbox_secret, now.plus_millis(-400_000), text);
    for (header, body) in [
        (None, &body[..]),
        (Some("t=1,v1=00"), &body[..]),
        (Some(good.as_str()), &b"{}"[..]),
        (Some(stale.as_str()), &body[..]),
        (Some(signature("guess", now, text).as_str()), &body[..]),
    ] {
        assert!(verify(secrets, header, body, shop.app.clock.now()).is_err(), "{header:?}");
    }
    assert!(verify(&[], Some(&good), body, now).is_err(), "no secret at all: refused");
    shop.finish().await;
}
