//! Refunds, disputes, warnings.

use stripe_fake::{Card, StripeFake};

use crate::{charge, checkout, get, kinds, post};

#[tokio::test]
async fn no_more_is_refunded_than_was_paid() {
    let fake = StripeFake::start();
    let charge = charge(&fake).await;
    let some = post(&fake, "refunds", &format!("charge={charge}&amount=400&metadata[why]=x")).await;
    assert_eq!((some.status, &some.body["status"]), (200, &"succeeded".into()));
    let more = post(&fake, "refunds", &format!("charge={charge}&amount=601")).await;
    assert_eq!((more.status, more.error("param")), (400, "amount"));
    assert!(more.error("message").contains("($6.01) is greater than unrefunded amount on charge ($6.00)"));
    let intent = fake.object(&charge).unwrap()["payment_intent"].as_str().unwrap().to_owned();
    let rest = post(&fake, "refunds", &format!("payment_intent={intent}")).await;
    assert_eq!(rest.body["amount"], 600);
    let none = post(&fake, "refunds", &format!("charge={charge}")).await;
    assert_eq!((none.status, none.error("code")), (400, "charge_already_refunded"));
    let now = get(&fake, &format!("charges/{charge}"), "expand[]=refunds").await;
    assert_eq!((&now.body["refunded"], &now.body["amount_refunded"]), (&true.into(), &1000.into()));
    assert_eq!(now.body["refunds"]["data"].as_array().unwrap().len(), 2);
    assert_eq!(fake.total_received_cents(), 0);
    let failed = fake.fail_refund(&some.id());
    assert_eq!(failed["status"], "failed");
    assert_eq!(fake.object(&charge).unwrap()["amount_refunded"], 600);
    assert_eq!(get(&fake, "refunds", &format!("payment_intent={intent}")).await.ids().len(), 2);
    assert_eq!(fake.total_received_cents(), 400);
    let kinds = kinds(&fake);
    for kind in
        ["charge.refunded", "refund.created", "refund.failed", "refund.updated", "charge.refund.updated"]
    {
        assert!(kinds.iter().any(|one| one == kind), "{kind}");
    }
}

#[tokio::test]
async fn a_refund_may_take_its_time() {
    let fake = StripeFake::start();
    let charge = charge(&fake).await;
    fake.slow_refunds(true);
    let id = fake.refund_in_dashboard(&charge, 300);
    assert_eq!(fake.object(&id).unwrap()["status"], "pending");
    assert_eq!(fake.settle_refund(&id)["status"], "succeeded");
    assert_eq!(fake.total_received_cents(), 700);
}

#[tokio::test]
async fn what_was_not_paid_is_not_refunded() {
    let fake = StripeFake::start();
    let session = checkout(&fake).await;
    fake.pay(&session, &Card::declined("lost_card"));
    let intent = fake.all("payment_intent")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(post(&fake, "refunds", &format!("payment_intent={intent}")).await.status, 400);
    assert_eq!(post(&fake, "refunds", "charge=ch_no").await.error("code"), "resource_missing");
}

#[tokio::test]
async fn a_dispute_runs_its_course() {
    let fake = StripeFake::start();
    let charge = charge(&fake).await;
    let id = fake.dispute(&charge, 1000, false);
    assert!(fake.object(&charge).unwrap()["disputed"].as_bool().unwrap());
    assert_eq!(post(&fake, "refunds", &format!("charge={charge}")).await.error("code"), "charge_disputed");
    let taken = fake.withdraw_funds(&id);
    let movement = &taken["balance_transactions"][0];
    assert_eq!(
        (&movement["amount"], &movement["fee"], &movement["net"]),
        (&(-1000).into(), &1500.into(), &(-2500).into())
    );
    let path = format!("disputes/{id}");
    let answered = post(&fake, &path, "evidence[uncategorized_text]=ours").await;
    assert_eq!(answered.body["status"], "under_review");
    assert_eq!(answered.body["evidence_details"]["submission_count"], 1);
    fake.win(&id);
    fake.reinstate_funds(&id);
    let won = get(&fake, &path, "expand[]=charge").await;
    assert_eq!(won.body["status"], "won");
    assert_eq!(won.body["balance_transactions"][1]["amount"], 1000);
    assert_eq!(won.body["charge"]["id"], charge.as_str());
    assert_eq!(post(&fake, &format!("{path}/close"), "").await.status, 400);
    let disputes: Vec<String> =
        kinds(&fake).into_iter().filter(|kind| kind.starts_with("charge.dispute")).collect();
    assert_eq!(
        disputes,
        ["created", "funds_withdrawn", "updated", "closed", "funds_reinstated"]
            .map(|what| format!("charge.dispute.{what}"))
    );
    assert_eq!(fake.total_received_cents(), 1000);
}

#[tokio::test]
async fn an_inquiry_may_become_a_dispute_and_be_lost() {
    let fake = StripeFake::start();
    let first = charge(&fake).await;
    let id = fake.dispute(&first, 1000, true);
    let inquiry = fake.object(&id).unwrap();
    assert_eq!(
        (&inquiry["status"], &inquiry["is_charge_refundable"]),
        (&"warning_needs_response".into(), &true.into())
    );
    assert_eq!(post(&fake, "refunds", &format!("charge={first}&amount=100")).await.status, 200);
    assert_eq!(fake.withdraw_funds(&id)["status"], "needs_response");
    assert_eq!(post(&fake, &format!("disputes/{id}/close"), "").await.body["status"], "lost");
    let second = charge(&fake).await;
    let closed = fake.dispute(&second, 1000, true);
    assert_eq!(fake.under_review(&closed)["status"], "warning_under_review");
    assert_eq!(fake.win(&closed)["status"], "warning_closed");
    assert_eq!(get(&fake, "disputes", &format!("charge={second}")).await.ids(), [closed]);
    let warning = fake.fraud_warning(&second);
    assert_eq!(get(&fake, "radar/early_fraud_warnings", &format!("charge={second}")).await.ids(), [warning]);
}
