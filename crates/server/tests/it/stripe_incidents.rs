//! What others lost money by, with Stripe (sections C and D of the collection): each row a test.

use serde_json::{Value, json};
use stripe_fake::{Card, StripeFake};

use crate::stripe::{Shop, number};
use crate::world::browser::Browser;

/// The ids of the events of one kind, oldest first.
fn events(stripe: &StripeFake, kind: &str) -> Vec<String> {
    let events = stripe.events();
    let fitting = events.iter().filter(|event| event["type"] == kind);
    fitting.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

async fn deliver(shop: &Shop, kind: &str) {
    for event in events(&shop.stripe, kind) {
        let delivered = shop.stripe.deliver(&event).await;
        assert_eq!(delivered.status, 200, "{delivered:?}");
    }
}

#[tokio::test]
async fn incident_032_webhooks_and_the_return_page_race() {
    let shop = Shop::open().await;
    let mut browser = Browser::new(&shop.world.url);
    browser.sign_in("ana@example.org", shop.world.folder.path()).await;
    for round in 1..=3_u64 {
        let (purchase, session) = shop.checkout("starter").await;
        shop.stripe.pay(&session, &Card::Ok);
        let back = format!("/credits/return?purchase={purchase}");
        let (storm, page) = tokio::join!(shop.stripe.deliver_storm(round, 5, 4), browser.get(&back));
        assert!(page.status < 400, "{}", page.text);
        assert!(storm.iter().all(|one| one.status == 200), "{storm:?}");
        assert_eq!(shop.balance().await.0, number(&(500 * round).to_string()));
    }
    shop.finish().await;
}

#[tokio::test]
async fn incident_035_an_event_is_done_with_its_effect_or_not_at_all() {
    let mut shop = Shop::open().await;
    for round in 0..3_u64 {
        let (_, session) = shop.checkout("starter").await;
        shop.stripe.pay(&session, &Card::Ok);
        let (_, ()) = tokio::join!(shop.stripe.deliver_storm(round, 2, 4), async {
            for _ in 0..round * 7 {
                tokio::task::yield_now().await;
            }
            shop.world.kill().await;
        });
        shop.world.restart().await;
        shop.stripe.deliver_to(&format!("{}/webhooks/stripe", shop.world.url));
        shop.ana.moved_to(&shop.world.url);
        // What is noted as done has been done: the purchase of each such event is granted.
        let done = shop.world.admin(&["events", "list", "--all"]).await;
        let completed = done.as_array().unwrap().iter().any(|event| {
            event["kind"] == "checkout.session.completed"
                && event["subject"] == session
                && event["state"] == "done"
        });
        let report = shop.reconcile(false).await;
        let missing = report["differences"].as_array().unwrap().iter().any(|one| one["subject"] == session);
        assert!(!(completed && missing), "{report}");
        deliver(&shop, "checkout.session.completed").await;
        assert_eq!(shop.balance().await.0, number(&(500 * (round + 1)).to_string()));
    }
    shop.finish().await;
}

#[tokio::test]
async fn incident_039_another_version_of_the_api_is_not_a_lost_payment() {
    let shop = Shop::open().await;
    let (purchase, session) = shop.checkout("starter").await;
    shop.stripe.pay(&session, &Card::Ok);
    // The webhook has the shapes of another version: only where to look is taken from it.
    let strange = json!({
        "id": "evt_other_version", "type": "checkout.session.completed", "api_version": "2099-01-01.unknown",
        "data": {"object": {"id": session, "amount_total": {"value": "4.99"}, "status": ["complete"]}},
    })
    .to_string();
    let signature = stripe_fake::sign(shop.stripe.webhook_secret(), shop.stripe.now(), &strange);
    let url = format!("{}/webhooks/stripe", shop.world.url);
    let sent =
        shop.world.http.post(url).header("stripe-signature", signature).body(strange).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    assert_eq!(shop.state(&purchase).await, "granted");
    // And what we ask for is asked for in one version, by name.
    let versions: Vec<Option<String>> = shop.stripe.requests().into_iter().map(|one| one.version).collect();
    assert!(versions.iter().all(|version| version.is_some() && *version == versions[0]), "{versions:?}");
    shop.finish().await;
}

#[tokio::test]
async fn incident_042_the_end_of_a_dispute_comes_before_its_beginning() {
    let shop = Shop::open().await;
    for (lost, credits) in [(true, "0"), (false, "1100")] {
        let (purchase, charge) = shop.buy("explorer").await;
        let dispute = shop.stripe.dispute(&charge, 999, false);
        shop.stripe.withdraw_funds(&dispute);
        shop.stripe.under_review(&dispute);
        if lost {
            shop.stripe.lose(&dispute);
        } else {
            shop.stripe.win(&dispute);
            shop.stripe.reinstate_funds(&dispute);
        }
        for kind in ["closed", "funds_withdrawn", "updated", "created", "closed"] {
            deliver(&shop, &format!("charge.dispute.{kind}")).await;
            let state = if lost { "lost" } else { "granted" };
            assert_eq!(shop.state(&purchase).await, state, "after {kind}");
            assert_eq!(shop.balance().await, (number(credits), number("0"), number("0")), "after {kind}");
        }
    }
    shop.finish().await;
}

#[tokio::test]
async fn incident_044_whoever_dies_with_a_refund_in_hand_does_not_keep_it() {
    let mut shop = Shop::open().await;
    let (purchase, _) = shop.buy("starter").await;
    shop.stripe.go_down();
    let refused =
        shop.world.command("admin").args(["refund", "--purchase", &purchase]).output().await.unwrap();
    assert!(!refused.status.success());
    // The refund is written down; nobody else may ask for the same money meanwhile, and nobody holds a lock on it.
    let again = shop.world.command("admin").args(["refund", "--purchase", &purchase]).output().await.unwrap();
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("$0.00"),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    shop.world.kill().await;
    shop.stripe.come_back();
    // A refund the operator makes at Stripe instead leaves nothing for the one that waits.
    let charge = shop.stripe.all("charge")[0]["id"].as_str().unwrap().to_owned();
    shop.stripe.refund_in_dashboard(&charge, 499);
    shop.world.restart().await;
    shop.stripe.deliver_to(&format!("{}/webhooks/stripe", shop.world.url));
    shop.deliver().await;
    assert_eq!(shop.state(&purchase).await, "refunded");
    assert_eq!((shop.stripe.total_received_cents(), shop.balance().await.0), (0, number("0")));
    shop.world.finish().await;
}

#[tokio::test]
async fn incident_052_a_package_with_bonus_credits_is_restored_as_it_was_sold() {
    let shop = Shop::open().await;
    // 1,100 credits for $9.99: whoever compared dollars with credits would take or restore 999.
    let (_, charge) = shop.buy("explorer").await;
    let dispute = shop.stripe.dispute(&charge, 999, false);
    shop.deliver().await;
    assert_eq!(shop.balance().await, (number("0"), number("1100"), number("0")));
    shop.stripe.win(&dispute);
    shop.deliver().await;
    assert_eq!(shop.balance().await, (number("1100"), number("0"), number("0")));
    let (_, charge) = shop.buy("explorer").await;
    let refund = shop.stripe.refund_in_dashboard(&charge, 333);
    shop.deliver().await;
    assert_eq!(shop.balance().await.0, number("1833.333334"));
    shop.stripe.fail_refund(&refund);
    shop.deliver().await;
    assert_eq!(shop.balance().await.0, number("2200"));
    shop.finish().await;
}

#[tokio::test]
async fn incident_055_never_more_is_refunded_than_was_paid() {
    let shop = Shop::open().await;
    let (purchase, _) = shop.buy("explorer").await;
    let refund = async |amount: &str| {
        let args = ["refund", "--purchase", &purchase, "--amount", amount];
        shop.world.command("admin").arg("--json").args(args).output().await.unwrap()
    };
    let (mut cents, mut before) = (0_i64, 1_100_000_000_i64);
    for amount in [1, 332, 7, 250, 333, 76] {
        let output = refund(&format!("{}.{:02}", amount / 100, amount % 100)).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        cents += amount;
        let now: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(now["refunded_cents"], cents);
        let left = 1_100_000_000 - 1_100_000_000 * cents / 999;
        assert!(left < before, "each refund takes something");
        before = left;
    }
    assert_eq!((cents, shop.balance().await.0), (999, number("0")));
    assert!(!refund("0.01").await.status.success());
    assert_eq!(shop.stripe.total_received_cents(), 0);
    shop.finish().await;
}

#[tokio::test]
async fn incident_059_a_dispute_is_joined_by_the_payment_it_names() {
    let shop = Shop::open().await;
    let (purchase, session) = shop.checkout("explorer").await;
    shop.stripe.pay(&session, &Card::Ok);
    let charge = shop.stripe.charge_of(&session).unwrap();
    shop.stripe.dispute(&charge, 999, false);
    // Of the payment itself nothing was heard, and a dispute has no notes of ours.
    deliver(&shop, "charge.dispute.created").await;
    assert_eq!(shop.state(&purchase).await, "disputed");
    assert_eq!(shop.balance().await, (number("0"), number("1100"), number("0")));
    shop.finish().await;
}

/// The judgement once more, in bulk: hundreds of purchases, whatever order. `STORM` is how many times so many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incident_031_in_bulk_what_was_granted_is_what_was_paid() {
    let rounds: u64 = std::env::var("STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let shop = Shop::open().await;
    let mut expected = 0;
    for round in 0..rounds {
        for number in 0..100_u64 {
            let (_, session) = shop.checkout(if number % 2 == 0 { "starter" } else { "explorer" }).await;
            match number % 5 {
                4 => drop(shop.stripe.expire(&session)),
                3 => {
                    shop.stripe.pay(&session, &Card::Delayed);
                    shop.stripe.settle_delayed(&session, number % 2 == 0);
                }
                _ => drop(shop.stripe.pay(&session, &Card::Ok)),
            }
        }
        let storm = shop.stripe.deliver_storm(round, 5, 6).await;
        assert!(storm.iter().all(|one| one.status == 200));
        expected = shop.stripe.total_received_cents();
    }
    let report = shop.reconcile(false).await;
    assert_eq!((&report["received_cents"], &report["granted_cents"]), (&json!(expected), &json!(expected)));
    shop.finish().await;
}
