//! Webhooks about money and people: each kind of event reaches a receiver, once, with what it is about.

use serde_json::{Value, json};
use stripe_fake::{Card, StripeFake};

use crate::hooks::{PRIVATE, Receiver};
use crate::payouts::Port;
use crate::stripe::{Shop, config};
use crate::world::browser::{Browser, path_of};
use crate::world::{User, World};

/// Addresses of this machine may be told, as in [`PRIVATE`], beside other settings.
const LISTEN: &str = "[webhooks]\nallow_private = true\n";

/// What was told so far, as it came: the type and the data of each. Events of the same moment come in any order.
async fn told(receiver: &Receiver, many: usize) -> Vec<(String, Value)> {
    let got = receiver.gets(many).await;
    let read = |body: Value| (body["type"].as_str().unwrap().to_owned(), body["data"].clone());
    got.iter().map(|one| read(one.json())).collect()
}

fn kinds(told: &[(String, Value)]) -> Vec<&str> {
    told.iter().map(|(kind, _)| kind.as_str()).collect()
}

async fn shop() -> Shop {
    let stripe = StripeFake::start();
    let world = World::with(&format!("{}{LISTEN}", config(&stripe))).await;
    stripe.deliver_to(&format!("{}/webhooks/stripe", world.url));
    let ana = world.user("ana", "0").await;
    Shop { world, stripe, ana }
}

#[tokio::test]
async fn each_step_of_a_payout_is_told() {
    let port = Port::with(&format!("hold_days = 0\n{LISTEN}")).await;
    let receiver = Receiver::new().await;
    let all = ["payout.created", "payout.sent", "payout.paid", "payout.failed", "payout.cancelled"];
    port.owner.webhook(&receiver.url, &all).await;
    port.earn("1000").await;
    let account = port.set_up().await;
    port.stripe.onboard(&account);
    port.deliver().await;
    let (id, state) = port.paid().await;
    assert_eq!(state, "sent");
    let mut steps = told(&receiver, 2).await;
    steps.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(kinds(&steps), ["payout.created", "payout.sent"]);
    for (_, data) in &steps {
        assert_eq!(
            (&data["id"], &data["credits"], &data["amount_cents"]),
            (&json!(id), &json!(900), &json!(900))
        );
    }
    let bank = port.stripe.pay_out(&account).unwrap();
    port.stripe.send_payout(&bank);
    port.stripe.settle_payout(&bank, true);
    port.deliver().await;
    let steps = told(&receiver, 3).await;
    assert_eq!((steps[2].0.as_str(), &steps[2].1["id"]), ("payout.paid", &json!(id)));
    // However often the provider says it.
    for delivered in port.stripe.deliver_storm(7, 3, 8).await {
        assert_eq!(delivered.status, 200);
    }
    assert_eq!(receiver.got().len(), 3, "{:?}", receiver.got());
    port.world.finish().await;
}

#[tokio::test]
async fn a_dispute_is_told_with_how_it_ends() {
    let shop = shop().await;
    let receiver = Receiver::new().await;
    shop.ana.webhook(&receiver.url, &["dispute.opened", "dispute.won", "dispute.lost"]).await;
    let (won, charge) = shop.buy("explorer").await;
    let dispute = shop.stripe.dispute(&charge, 999, false);
    shop.stripe.withdraw_funds(&dispute);
    shop.deliver().await;
    told(&receiver, 1).await;
    shop.stripe.win(&dispute);
    shop.stripe.reinstate_funds(&dispute);
    shop.deliver().await;
    told(&receiver, 2).await;
    let (lost, charge) = shop.buy("explorer").await;
    let dispute = shop.stripe.dispute(&charge, 999, false);
    shop.stripe.withdraw_funds(&dispute);
    shop.deliver().await;
    told(&receiver, 3).await;
    shop.stripe.lose(&dispute);
    shop.deliver().await;
    let told = told(&receiver, 4).await;
    assert_eq!(kinds(&told), ["dispute.opened", "dispute.won", "dispute.opened", "dispute.lost"]);
    let of: Vec<&Value> = told.iter().map(|(_, data)| &data["purchase_id"]).collect();
    assert_eq!(of, [&json!(won), &json!(won), &json!(lost), &json!(lost)]);
    assert!(told.iter().all(|(_, data)| data["amount_cents"] == 999), "{told:?}");
    let frozen: Vec<&Value> = told.iter().map(|(_, data)| &data["frozen"]).collect();
    assert_eq!(frozen, [&json!(1100), &json!(0), &json!(1100), &json!(0)]);
    shop.finish().await;
}

#[tokio::test]
async fn an_automatic_purchase_is_told_and_one_that_failed() {
    let shop = shop().await;
    let receiver = Receiver::new().await;
    shop.ana.webhook(&receiver.url, &["topup.succeeded", "topup.failed"]).await;
    shop.buy("starter").await;
    let customer = shop.stripe.all("customer").pop().unwrap()["id"].as_str().unwrap().to_owned();
    let card = shop.stripe.save_card(&customer, &Card::Ok);
    let below = |threshold: i64| {
        json!({"threshold": threshold, "package": "explorer", "monthly_max_cents": 100_000}).to_string()
    };
    let set = async |ana: &User, threshold: i64| {
        let (status, body) =
            ana.request("PUT", "/api/v1/credits/auto-topup", &[], Some(&below(threshold))).await;
        assert_eq!(status, 200, "{body}");
    };
    set(&shop.ana, 600).await;
    let bought = told(&receiver, 1).await.remove(0);
    assert_eq!(bought.0, "topup.succeeded");
    assert_eq!(
        (&bought.1["credits"], &bought.1["amount_cents"], &bought.1["reason"]),
        (&json!(1100), &json!(999), &Value::Null)
    );
    assert!(bought.1["purchase_id"].is_string(), "{}", bought.1);
    shop.stripe.change_card(&card, &Card::declined("generic_decline"));
    shop.deliver().await;
    shop.spend("700").await;
    set(&shop.ana, 1000).await;
    let failed = told(&receiver, 2).await.remove(1);
    assert_eq!((failed.0.as_str(), failed.1["reason"].is_string()), ("topup.failed", true), "{}", failed.1);
    shop.deliver().await;
    shop.finish().await;
}

#[tokio::test]
async fn a_decision_about_somebody_and_the_end_of_a_batch_are_told() {
    let world = World::with(PRIVATE).await;
    world.admin(&["user", "create", "--email", "eva@example.org"]).await;
    let eva = world.key_for("eva@example.org", &[]).await;
    let receiver = Receiver::new().await;
    eva.webhook(&receiver.url, &["verification.updated", "batch.completed"]).await;
    let (status, begun) = eva.request("POST", "/api/v1/verification/sessions", &[], None).await;
    assert_eq!(status, 201, "{begun}");
    let page = path_of(begun["data"]["url"].as_str().unwrap());
    let mut browser = Browser::new(&world.url);
    let approved = [("action", "approve"), ("name", "Eva"), ("country", "DE")];
    assert_eq!(browser.send(&page, &page, &approved).await.status, 303);
    let decided = told(&receiver, 1).await.remove(0);
    assert_eq!(decided, ("verification.updated".to_owned(), json!({"status": "verified"})));

    world.admin(&["grant", "--email", "eva@example.org", "--credits", "100", "--note", "for a batch"]).await;
    let island = world.island("palma", "2", 5).await.works_by_itself();
    let batch = json!({"workload": "llm-chat", "inputs": [{"prompt": "one"}, {"prompt": "two"}],
                       "merge_strategy": "flatten", "fail_mode": "best_effort"});
    let (status, made) = eva.post("/api/v1/jobs/batch", &batch).await;
    assert_eq!(status, 201, "{made}");
    let ended = told(&receiver, 2).await.remove(1);
    assert_eq!(ended.0, "batch.completed");
    assert_eq!(
        (&ended.1["id"], &ended.1["status"], &ended.1["inputs"]),
        (&made["id"], &json!("succeeded"), &json!(2)),
        "{}",
        ended.1
    );
    island.abort();
    world.finish().await;
}
