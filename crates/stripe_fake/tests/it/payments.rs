//! Checkouts and payment intents.

use reqwest::redirect::Policy;
use stripe_fake::{Card, StripeFake};

use crate::{CHECKOUT, checkout, get, kinds, post};

#[tokio::test]
async fn a_checkout_is_paid() {
    let fake = StripeFake::start();
    let made = post(&fake, "checkout/sessions", CHECKOUT).await;
    let id = made.id();
    assert!(id.starts_with("cs_test_"));
    assert_eq!((&made.body["status"], &made.body["payment_status"]), (&"open".into(), &"unpaid".into()));
    assert_eq!((&made.body["amount_total"], &made.body["currency"]), (&1000.into(), &"usd".into()));
    assert!(made.body["payment_intent"].is_null());
    fake.pay(&id, &Card::declined("insufficient_funds"));
    assert_eq!(fake.session(&id)["status"], "open");
    fake.pay(&id, &Card::Ok);
    let path = format!("checkout/sessions/{id}");
    let paid =
        get(&fake, &path, "expand[]=payment_intent.latest_charge.balance_transaction&expand[]=line_items")
            .await;
    assert_eq!((&paid.body["status"], &paid.body["payment_status"]), (&"complete".into(), &"paid".into()));
    let intent = &paid.body["payment_intent"];
    assert_eq!((&intent["status"], &intent["amount_received"]), (&"succeeded".into(), &1000.into()));
    assert_eq!(intent["latest_charge"]["metadata"]["purchase"], "1");
    assert_eq!(intent["latest_charge"]["balance_transaction"]["fee"], 59);
    assert_eq!(paid.body["line_items"]["data"][0]["quantity"], 2);
    let intent = intent["id"].as_str().unwrap();
    assert_eq!(get(&fake, "charges", &format!("payment_intent={intent}")).await.ids().len(), 2);
    assert_eq!(
        get(&fake, "checkout/sessions", &format!("payment_intent={intent}")).await.ids(),
        [id.as_str()]
    );
    assert_eq!(
        kinds(&fake),
        [
            "payment_intent.created",
            "charge.failed",
            "payment_intent.payment_failed",
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed"
        ]
    );
    assert_eq!(fake.total_received_cents(), 1000);
    assert_eq!(post(&fake, &format!("{path}/expire"), "").await.status, 400);
    assert_eq!(get(&fake, &path, "expand[]=nonsense").await.status, 400);
    assert_eq!(get(&fake, &format!("{path}/line_items"), "").await.body["data"][0]["amount_total"], 1000);
}

#[tokio::test]
async fn a_delayed_payment_comes_or_does_not() {
    for success in [true, false] {
        let fake = StripeFake::start();
        let id = checkout(&fake).await;
        let session = fake.pay(&id, &Card::Delayed);
        assert_eq!((&session["status"], &session["payment_status"]), (&"complete".into(), &"unpaid".into()));
        assert_eq!(fake.total_received_cents(), 0);
        let session = fake.settle_delayed(&id, success);
        assert_eq!(session["payment_status"], if success { "paid" } else { "unpaid" });
        assert_eq!(fake.total_received_cents(), if success { 1000 } else { 0 });
        let last = if success { "async_payment_succeeded" } else { "async_payment_failed" };
        assert_eq!(kinds(&fake).last().unwrap(), &format!("checkout.session.{last}"));
    }
}

#[tokio::test]
async fn a_checkout_expires() {
    let fake = StripeFake::start();
    let (one, other) = (checkout(&fake).await, checkout(&fake).await);
    let expired = post(&fake, &format!("checkout/sessions/{one}/expire"), "").await;
    assert_eq!(
        (&expired.body["status"], &expired.body["url"]),
        (&"expired".into(), &serde_json::Value::Null)
    );
    fake.advance(24 * 60 * 60 + 1);
    assert_eq!(fake.session(&other)["status"], "expired");
    assert_eq!(kinds(&fake), ["checkout.session.expired", "checkout.session.expired"]);
    assert_eq!(get(&fake, "checkout/sessions", "status=open").await.ids().len(), 0);
}

#[tokio::test]
async fn a_browser_can_pay() {
    let fake = StripeFake::start();
    let made = post(&fake, "checkout/sessions", CHECKOUT).await;
    let url = made.body["url"].as_str().unwrap();
    let browser = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let page = browser.get(url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("10.00 USD") && page.contains("Pay later"));
    let press = |action: &str| browser.post(url).body(format!("action={action}")).send();
    assert_eq!(press("cancel").await.unwrap().headers()["location"], "http://here.test/cancel");
    assert!(press("decline").await.unwrap().text().await.unwrap().contains("declined"));
    let paid = press("pay").await.unwrap();
    assert_eq!(paid.status(), 303);
    assert_eq!(paid.headers()["location"], format!("http://here.test/back?id={}", made.id()).as_str());
    assert_eq!(fake.session(&made.id())["payment_status"], "paid");
}

#[tokio::test]
async fn a_saved_card_is_charged_off_session() {
    let fake = StripeFake::start();
    let customer = post(&fake, "customers", "email=a@b.test").await.id();
    let saving =
        format!("{CHECKOUT}&customer={customer}&payment_intent_data[setup_future_usage]=off_session");
    let session = post(&fake, "checkout/sessions", &saving).await.id();
    fake.pay(&session, &Card::Ok);
    let cards = get(&fake, "payment_methods", &format!("customer={customer}&type=card")).await.ids();
    assert_eq!(cards.len(), 1);
    assert_eq!(get(&fake, &format!("customers/{customer}/payment_methods"), "").await.ids(), cards);
    let with = |card: &str| {
        format!(
            "amount=700&currency=usd&confirm=true&off_session=true&customer={customer}&payment_method={card}&metadata[topup]=3"
        )
    };
    let paid = post(&fake, "payment_intents", &with(&cards[0])).await;
    assert_eq!((paid.status, &paid.body["status"]), (200, &"succeeded".into()));
    assert_eq!(fake.total_received_cents(), 1700);
    for (code, says) in [("insufficient_funds", "card_declined"), ("expired_card", "expired_card")] {
        let card = fake.save_card(&customer, &Card::declined(code));
        let answer = post(&fake, "payment_intents", &with(&card)).await;
        assert_eq!((answer.status, answer.error("type")), (402, "card_error"));
        assert_eq!((answer.error("code"), answer.error("decline_code")), (says, code));
        let intent = &answer.body["error"]["payment_intent"];
        assert_eq!(intent["status"], "requires_payment_method");
        assert_eq!(intent["last_payment_error"]["decline_code"], code);
        assert_eq!(intent["metadata"]["topup"], "3");
    }
    let card = fake.save_card(&customer, &Card::Authentication);
    let answer = post(&fake, "payment_intents", &with(&card)).await;
    assert_eq!((answer.status, answer.error("code")), (402, "authentication_required"));
    let intent = answer.body["error"]["payment_intent"]["id"].as_str().unwrap().to_owned();
    let confirmed =
        post(&fake, &format!("payment_intents/{intent}/confirm"), &format!("payment_method={card}")).await;
    assert_eq!(confirmed.body["status"], "requires_action");
    assert_eq!(fake.authenticate(&intent, true)["status"], "succeeded");
    assert_eq!(post(&fake, &format!("payment_intents/{intent}/cancel"), "").await.status, 400);
    assert_eq!(post(&fake, &format!("payment_methods/{card}/detach"), "").await.status, 200);
    let gone = post(&fake, "payment_intents", &with(&card)).await;
    assert_eq!((gone.status, gone.error("param")), (400, "payment_method"));
    assert_eq!(fake.total_received_cents(), 2400);
}
