//! Keys, errors, idempotency, lists, faults.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use stripe_fake::{Fault, StripeFake};

use crate::{ask, get, post};

#[tokio::test]
async fn only_the_right_key_is_let_in() {
    let fake = StripeFake::start();
    let wrong = ask(&fake, "GET", "balance", "", &[("authorization", "Bearer sk_test_wrong")]).await.unwrap();
    assert_eq!(wrong.status, 401);
    assert!(wrong.error("message").starts_with("Invalid API Key provided"));
    assert!(wrong.header("request-id").starts_with("req_"));
    let none = ask(&fake, "GET", "balance", "", &[("authorization", "")]).await.unwrap();
    assert_eq!(none.status, 401);
    let basic = {
        let client = reqwest::Client::new();
        let request = client.get(format!("{}/v1/balance", fake.api_base()));
        request.basic_auth(fake.secret_key(), Some("")).send().await.unwrap()
    };
    assert_eq!(basic.status(), 200);
    let versioned = ask(&fake, "GET", "balance", "", &[("stripe-version", "2024-06-20")]).await.unwrap();
    assert_eq!(versioned.header("stripe-version"), "2024-06-20");
    let nobody = ask(&fake, "GET", "balance", "", &[("stripe-account", "acct_no")]).await.unwrap();
    assert_eq!((nobody.status, nobody.error("code")), (403, "account_invalid"));
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let fake = StripeFake::start();
    let missing = post(&fake, "payment_intents", "currency=usd").await;
    assert_eq!(
        (missing.status, missing.error("code"), missing.error("param")),
        (400, "parameter_missing", "amount")
    );
    assert!(missing.error("request_log_url").contains("req_"));
    let unknown = get(&fake, "charges/ch_no", "").await;
    assert_eq!((unknown.status, unknown.error("code")), (404, "resource_missing"));
    assert_eq!(unknown.error("message"), "No such charge: 'ch_no'");
    let nowhere = get(&fake, "nothing", "").await;
    assert_eq!(nowhere.status, 404);
    let misspelt = post(&fake, "refunds", "chrage=ch_1").await;
    assert_eq!((misspelt.error("code"), misspelt.error("param")), ("parameter_unknown", "chrage"));
    let number = post(&fake, "payment_intents", "currency=usd&amount=ten").await;
    assert_eq!((number.status, number.error("code")), (400, "parameter_invalid_integer"));
}

#[tokio::test]
async fn a_key_gives_the_first_answer_again() {
    let fake = StripeFake::start();
    let key = [("idempotency-key", "k1")];
    let first = ask(&fake, "POST", "customers", "email=a@b.test", &key).await.unwrap();
    let again = ask(&fake, "POST", "customers", "email=a@b.test", &key).await.unwrap();
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("original-request"), first.header("request-id"));
    let other = ask(&fake, "POST", "customers", "email=c@d.test", &key).await.unwrap();
    assert_eq!((other.status, other.error("type")), (400, "idempotency_error"));
    let elsewhere = ask(&fake, "POST", "refunds", "email=a@b.test", &key).await.unwrap();
    assert_eq!((elsewhere.status, elsewhere.error("type")), (400, "idempotency_error"));
    assert_eq!(fake.all("customer").len(), 1);
    fake.advance(24 * 60 * 60);
    let forgotten = ask(&fake, "POST", "customers", "email=a@b.test", &key).await.unwrap();
    assert_ne!(forgotten.body["id"], first.body["id"]);

    // Wrong parameters are not remembered, a card's refusal is.
    let key = [("idempotency-key", "k2")];
    assert_eq!(ask(&fake, "POST", "payment_intents", "currency=usd", &key).await.unwrap().status, 400);
    let declined = "currency=usd&amount=900&confirm=true&payment_method=pm_card_chargeDeclined";
    let first = ask(&fake, "POST", "payment_intents", declined, &key).await.unwrap();
    let again = ask(&fake, "POST", "payment_intents", declined, &key).await.unwrap();
    assert_eq!((first.status, again.status), (402, 402));
    assert_eq!(first.body, again.body);
    assert_eq!(fake.all("charge").len(), 1);
}

#[tokio::test]
async fn a_key_holds_though_a_field_cannot_be_expanded() {
    let fake = StripeFake::start();
    let key = [("idempotency-key", "k")];
    for _ in 0..2 {
        let answer = ask(&fake, "POST", "customers", "email=a@b.test&expand[]=nonsense", &key).await.unwrap();
        assert_eq!(answer.status, 400);
    }
    assert_eq!(fake.all("customer").len(), 1);
}

#[tokio::test]
async fn lists_are_pages_newest_first() {
    let fake = StripeFake::start();
    fake.set_clock(|| 1_000_000);
    let mut made = Vec::new();
    for number in 0..25 {
        made.push(fake.add_customer(&format!("{}@b.test", number % 5)));
        fake.advance(1);
    }
    made.reverse();
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = get(&fake, "customers", &format!("limit=7{after}")).await;
        seen.extend(page.ids());
        if page.body["has_more"] == false {
            break;
        }
        after = format!("&starting_after={}", seen.last().unwrap());
    }
    assert_eq!(seen, made);
    let before = get(&fake, "customers", &format!("limit=3&ending_before={}", made[10])).await;
    assert_eq!(before.ids(), made[7..10]);
    assert_eq!(before.body["has_more"], true);
    let default = get(&fake, "customers", "").await;
    assert_eq!((default.ids().len(), &default.body["url"]), (10, &"/v1/customers".into()));
    let since = get(&fake, "customers", "created[gte]=1000020&created[lt]=1000023").await;
    assert_eq!(since.ids(), made[2..5]);
    assert_eq!(get(&fake, "customers", "email=3@b.test").await.ids().len(), 5);
    assert_eq!(get(&fake, "customers", "limit=0").await.status, 400);
    assert_eq!(get(&fake, "customers", "starting_after=cus_no").await.error("code"), "resource_missing");
}

#[tokio::test]
async fn metadata_is_laid_over() {
    let fake = StripeFake::start();
    let customer =
        post(&fake, "customers", "email=a@b.test&metadata[0]=x&metadata[user]=7&metadata[gone]=1").await;
    assert_eq!(customer.body["metadata"]["0"], "x");
    let path = format!("customers/{}", customer.id());
    let after = post(&fake, &path, "metadata[gone]=&metadata[user]=8").await;
    assert_eq!(after.body["metadata"], serde_json::json!({"0": "x", "user": "8"}));
    assert_eq!(post(&fake, &path, &format!("metadata[{}]=1", "k".repeat(41))).await.status, 400);
}

#[tokio::test]
async fn a_lost_answer_comes_with_the_same_key() {
    let fake = StripeFake::start();
    let key = [("idempotency-key", "once")];
    let params = "currency=usd&amount=900&confirm=true&payment_method=pm_card_ok";
    fake.fail_next_at(1, Fault::HangUpAfter, "/v1/payment_intents");
    assert!(ask(&fake, "POST", "payment_intents", params, &key).await.is_err());
    assert_eq!(fake.total_received_cents(), 900);
    let again = ask(&fake, "POST", "payment_intents", params, &key).await.unwrap();
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
    assert_eq!(again.body["status"], "succeeded");
    assert_eq!(fake.total_received_cents(), 900);
    assert_eq!(fake.requests().len(), 2);
    assert_eq!(fake.requests()[0].idempotency_key.as_deref(), Some("once"));
}

#[tokio::test]
async fn faults_happen_as_often_as_asked() {
    let fake = StripeFake::start();
    fake.fail_next(1, Fault::HangUp);
    assert!(ask(&fake, "POST", "customers", "email=a@b.test", &[]).await.is_err());
    assert!(fake.all("customer").is_empty());
    for (status, kind) in [(500, "api_error"), (429, "invalid_request_error"), (409, "idempotency_error")] {
        fake.fail_next(2, Fault::Status(status));
        for _ in 0..2 {
            let answer = get(&fake, "balance", "").await;
            assert_eq!((answer.status, answer.error("type")), (status, kind));
        }
        assert_eq!(get(&fake, "balance", "").await.status, 200);
    }
    fake.fail_next(1, Fault::Garbage);
    assert!(ask(&fake, "GET", "balance", "", &[]).await.is_err());
    fake.fail_next(1, Fault::Slow(200));
    let began = Instant::now();
    assert_eq!(get(&fake, "balance", "").await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(200));
    fake.fail_next_at(1, Fault::Status(500), "/v1/refunds");
    assert_eq!(get(&fake, "balance", "").await.status, 200);
    fake.clear_faults();
    assert_eq!(get(&fake, "refunds", "").await.status, 200);
    fake.go_down();
    assert!(ask(&fake, "GET", "balance", "", &[]).await.is_err());
    fake.come_back();
    assert_eq!(get(&fake, "balance", "").await.status, 200);
}

#[tokio::test]
async fn no_two_ids_are_the_same() {
    let (one, other) = (StripeFake::start(), StripeFake::start());
    let mut ids = HashSet::new();
    for number in 0..500 {
        assert!(ids.insert(one.add_customer(&format!("{number}@a.test"))));
        assert!(ids.insert(other.add_customer(&format!("{number}@a.test"))));
    }
}
