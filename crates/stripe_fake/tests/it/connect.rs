//! Connected accounts, transfers, payouts.

use reqwest::redirect::Policy;
use stripe_fake::StripeFake;

use crate::{Answer, ask, get, kinds, post};

async fn account(fake: &StripeFake) -> String {
    let params = "type=express&country=US&capabilities[transfers][requested]=true&metadata[user]=7";
    let made = post(fake, "accounts", params).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.id()
}

async fn transfer(fake: &StripeFake, to: &str, amount: i64) -> Answer {
    post(
        fake,
        "transfers",
        &format!("amount={amount}&currency=usd&destination={to}&transfer_group=g&metadata[payout]=1"),
    )
    .await
}

#[tokio::test]
async fn an_account_is_onboarded_in_a_browser() {
    let fake = StripeFake::start();
    let id = account(&fake).await;
    let before = get(&fake, &format!("accounts/{id}"), "").await;
    assert_eq!(
        (&before.body["details_submitted"], &before.body["payouts_enabled"]),
        (&false.into(), &false.into())
    );
    assert_eq!(post(&fake, &format!("accounts/{id}/login_links"), "").await.status, 400);
    let params = format!(
        "account={id}&type=account_onboarding&return_url=http://here.test/r&refresh_url=http://here.test/again"
    );
    let link = post(&fake, "account_links", &params).await;
    let browser = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let url = link.body["url"].as_str().unwrap();
    let done = browser.post(url).body("action=onboard").send().await.unwrap();
    assert_eq!(done.headers()["location"], "http://here.test/r");
    assert_eq!(browser.get(url).send().await.unwrap().headers()["location"], "http://here.test/again");
    let after = get(&fake, &format!("accounts/{id}"), "").await;
    assert_eq!(
        (&after.body["details_submitted"], &after.body["payouts_enabled"]),
        (&true.into(), &true.into())
    );
    assert_eq!(post(&fake, &format!("accounts/{id}/login_links"), "").await.status, 200);
    assert_eq!(fake.events()[0]["account"], id.as_str());
    let gone = ask(&fake, "DELETE", &format!("accounts/{id}"), "", &[]).await.unwrap();
    assert_eq!(gone.body["deleted"], true);
    assert_eq!(get(&fake, &format!("accounts/{id}"), "").await.status, 403);
}

#[tokio::test]
async fn transfers_need_an_able_account_and_money() {
    let fake = StripeFake::start();
    let id = account(&fake).await;
    assert_eq!(transfer(&fake, "acct_no", 500).await.error("code"), "resource_missing");
    assert_eq!(transfer(&fake, &id, 500).await.error("code"), "insufficient_capabilities_for_transfer");
    fake.onboard(&id);
    assert_eq!(transfer(&fake, &id, 500).await.error("code"), "balance_insufficient");
    fake.set_platform_balance(800);
    let made = transfer(&fake, &id, 500).await;
    assert_eq!((made.status, fake.balance_of(""), fake.balance_of(&id)), (200, 300, 500));
    let path = format!("transfers/{}/reversals", made.id());
    assert_eq!(post(&fake, &path, "amount=200").await.body["amount"], 200);
    assert_eq!(post(&fake, &path, "amount=301").await.status, 400);
    assert_eq!(get(&fake, &path, "").await.ids().len(), 1);
    assert_eq!(fake.transfers()[0]["amount_reversed"], 200);
    assert_eq!(
        get(&fake, "transfers", &format!("destination={id}&transfer_group=g")).await.ids(),
        [made.id()]
    );
    fake.restrict(&id);
    assert_eq!(transfer(&fake, &id, 100).await.error("code"), "insufficient_capabilities_for_transfer");
    assert_eq!(kinds(&fake), ["account.updated", "transfer.created", "transfer.reversed", "account.updated"]);
}

#[tokio::test]
async fn payouts_arrive_or_come_back() {
    let fake = StripeFake::start();
    let id = account(&fake).await;
    fake.onboard(&id);
    fake.set_platform_balance(1000);
    transfer(&fake, &id, 1000).await;
    let header = [("stripe-account", id.as_str())];
    let made = ask(&fake, "POST", "payouts", "amount=400&currency=usd", &header).await.unwrap();
    assert_eq!(made.body["status"], "pending");
    let too_much = ask(&fake, "POST", "payouts", "amount=601&currency=usd", &header).await.unwrap();
    assert_eq!(too_much.error("code"), "balance_insufficient");
    assert_eq!(fake.settle_payout(&made.id(), false)["failure_code"], "account_closed");
    assert_eq!(fake.balance_of(&id), 1000);
    let automatic = fake.pay_out(&id).unwrap();
    fake.send_payout(&automatic);
    assert_eq!(fake.settle_payout(&automatic, true)["status"], "paid");
    let listed = ask(&fake, "GET", "payouts", "status=paid", &header).await.unwrap();
    assert_eq!(listed.ids(), [automatic.as_str()]);
    let fetched = ask(&fake, "GET", &format!("payouts/{automatic}"), "", &header).await.unwrap();
    assert_eq!(fetched.body["automatic"], true);
    assert_eq!(get(&fake, &format!("payouts/{automatic}"), "").await.status, 404);
    assert_eq!(get(&fake, "payouts", "").await.ids().len(), 0);
    let balance = ask(&fake, "GET", "balance", "", &header).await.unwrap();
    assert_eq!(balance.body["available"][0]["amount"], 0);
}
