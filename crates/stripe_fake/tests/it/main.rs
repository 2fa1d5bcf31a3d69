//! The fake answers as Stripe's documentation says.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod after;
mod connect;
mod delivery;
mod identity;
mod payments;
mod protocol;

use reqwest::header::HeaderMap;
use serde_json::Value;
use stripe_fake::{Card, StripeFake};

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn id(&self) -> String {
        self.body["id"].as_str().expect("an id").to_owned()
    }

    fn error(&self, field: &str) -> &str {
        self.body["error"][field].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn ids(&self) -> Vec<String> {
        let data = self.body["data"].as_array().expect("a list");
        data.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    }
}

/// Asks, as a client library would.
async fn ask(
    fake: &StripeFake,
    method: &str,
    path: &str,
    params: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, reqwest::Error> {
    let client = reqwest::Client::new();
    let url = format!("{}/v1/{path}", fake.api_base());
    let mut request = match method {
        "GET" => client.get(format!("{url}?{params}")),
        "DELETE" => client.delete(url),
        _ => client
            .post(url)
            .body(params.to_owned())
            .header("content-type", "application/x-www-form-urlencoded"),
    };
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        request = request.bearer_auth(fake.secret_key());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Ok(Answer { status, headers, body: answer.json().await? })
}

async fn post(fake: &StripeFake, path: &str, params: &str) -> Answer {
    ask(fake, "POST", path, params, &[]).await.expect("an answer")
}

async fn get(fake: &StripeFake, path: &str, params: &str) -> Answer {
    ask(fake, "GET", path, params, &[]).await.expect("an answer")
}

const CHECKOUT: &str = "mode=payment&success_url=http%3A%2F%2Fhere.test%2Fback%3Fid%3D{CHECKOUT_SESSION_ID}&\
                        cancel_url=http://here.test/cancel&client_reference_id=purchase_1&metadata[purchase]=1&\
                        payment_intent_data[metadata][purchase]=1&line_items[0][quantity]=2&\
                        line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=500&\
                        line_items[0][price_data][product_data][name]=Credits";

/// A checkout over 10.00; its id.
async fn checkout(fake: &StripeFake) -> String {
    let answer = post(fake, "checkout/sessions", CHECKOUT).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.id()
}

/// A paid charge of 10.00; its id.
async fn charge(fake: &StripeFake) -> String {
    let session = checkout(fake).await;
    fake.pay(&session, &Card::Ok);
    fake.charge_of(&session).expect("a charge")
}

/// The types of the events so far.
fn kinds(fake: &StripeFake) -> Vec<String> {
    fake.events().iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
}
