//! Verification sessions and the portal.

use reqwest::redirect::Policy;
use stripe_fake::{Card, StripeFake};

use crate::{get, kinds, post};

const SESSION: &str = "type=document&metadata[user]=7&return_url=http://here.test/done&options[document][require_matching_selfie]=true";

#[tokio::test]
async fn a_person_is_verified_at_the_second_try() {
    let fake = StripeFake::start();
    let made = post(&fake, "identity/verification_sessions", SESSION).await;
    assert_eq!((made.status, &made.body["status"]), (200, &"requires_input".into()));
    let id = made.id();
    fake.process(&id);
    let rejected = fake.reject(&id, "document_expired", "The document is expired.");
    assert_eq!(
        (&rejected["status"], &rejected["last_error"]["code"]),
        (&"requires_input".into(), &"document_expired".into())
    );
    fake.verify(&id, "Ada", "Lovelace", "GB");
    let path = format!("identity/verification_sessions/{id}");
    let plain = get(&fake, &path, "").await;
    assert_eq!(plain.body["status"], "verified");
    assert!(plain.body.get("verified_outputs").is_none());
    let full = get(&fake, &path, "expand[]=verified_outputs&expand[]=last_verification_report").await;
    assert_eq!(full.body["verified_outputs"]["address"]["country"], "GB");
    assert_eq!(full.body["last_verification_report"]["document"]["status"], "verified");
    assert_eq!(post(&fake, &format!("{path}/cancel"), "").await.status, 400);
    let redacted = post(&fake, &format!("{path}/redact"), "").await;
    assert_eq!(redacted.body["redaction"]["status"], "processing");
    let after = get(&fake, &path, "expand[]=verified_outputs").await;
    assert_eq!(after.body["redaction"]["status"], "redacted");
    assert_eq!(after.body["verified_outputs"]["first_name"], "[redacted]");
    let expected = ["created", "processing", "requires_input", "verified", "redacted"];
    assert_eq!(kinds(&fake), expected.map(|what| format!("identity.verification_session.{what}")));
}

#[tokio::test]
async fn a_browser_can_be_verified_and_a_session_canceled() {
    let fake = StripeFake::start();
    let made = post(&fake, "identity/verification_sessions", SESSION).await;
    let browser = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let url = made.body["url"].as_str().unwrap();
    let done =
        browser.post(url).body("action=verify&first_name=Ada&last_name=L&country=GB").send().await.unwrap();
    assert_eq!(done.headers()["location"], "http://here.test/done");
    assert_eq!(fake.object(&made.id()).unwrap()["status"], "verified");
    let other = post(&fake, "identity/verification_sessions", SESSION).await;
    let path = format!("identity/verification_sessions/{}/cancel", other.id());
    assert_eq!(post(&fake, &path, "").await.body["status"], "canceled");
    assert_eq!(get(&fake, "identity/verification_sessions", "status=canceled").await.ids(), [other.id()]);
}

#[tokio::test]
async fn the_portal_takes_cards_away() {
    let fake = StripeFake::start();
    let customer = fake.add_customer("a@b.test");
    let card = fake.save_card(&customer, &Card::Ok);
    let params = format!("customer={customer}&return_url=http://here.test/credits");
    let portal = post(&fake, "billing_portal/sessions", &params).await;
    let browser = reqwest::Client::new();
    let url = portal.body["url"].as_str().unwrap();
    let page = browser.get(url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("http://here.test/credits") && page.contains("4242"));
    browser.post(url).body(format!("method={card}")).send().await.unwrap();
    assert!(fake.object(&card).unwrap()["customer"].is_null());
}
