//! Stripe's webhooks: what an event is about. What it says beside that is not believed, but read from Stripe.

use serde::Deserialize;
use serde_json::Value;

use crate::providers::SignatureError;
use crate::providers::events::{ProviderEvent, Subject};

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    account: Option<String>,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

/// Reads the body of a webhook whose signature was good.
///
/// # Errors
/// [`SignatureError::Unreadable`] if it is no event.
pub fn read(body: &[u8]) -> Result<ProviderEvent, SignatureError> {
    let event: Event = serde_json::from_slice(body).map_err(|_| SignatureError::Unreadable)?;
    let subject = subject(&event.kind, &event.data.object, event.account.as_deref());
    let body = String::from_utf8_lossy(body).into_owned();
    Ok(ProviderEvent { provider: "stripe", id: event.id, kind: event.kind, subject, body })
}

/// What an event of this kind is about. One of a kind we know with a shape we do not is parked, never dropped.
fn subject(kind: &str, object: &Value, account: Option<&str>) -> Subject {
    let own = || text(object, "id");
    let payment = || text(object, "payment_intent").or_else(|| text(object, "charge"));
    let known = match kind.split_once('.').unwrap_or((kind, "")) {
        ("checkout", _) => own().map(Subject::Checkout),
        ("charge", rest) if rest.starts_with("dispute.") || rest.starts_with("refund.") => {
            payment().map(Subject::Payment)
        }
        ("charge", _) => text(object, "payment_intent").or_else(own).map(Subject::Payment),
        ("refund", _) => payment().map(Subject::Payment),
        ("radar", rest) if rest.starts_with("early_fraud_warning.") => payment().map(Subject::Payment),
        ("payment_intent", "succeeded" | "payment_failed" | "canceled") => own().map(Subject::Payment),
        ("identity", rest) if rest.starts_with("verification_session.") => own().map(Subject::Identity),
        ("payout", _) => {
            own().map(|id| Subject::Payout { account: account.unwrap_or_default().to_owned(), id })
        }
        ("transfer", _) => own().map(Subject::Transfer),
        ("account", "updated") => own().map(Subject::Account),
        _ => return Subject::Other,
    };
    known.unwrap_or(Subject::Unreadable)
}

/// A field that is an id, or an object with one.
fn text(object: &Value, name: &str) -> Option<String> {
    let value = object.get(name)?;
    value.as_str().or_else(|| value.get("id")?.as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_says_what_it_is_about() {
        let payment = |id: &str| Subject::Payment(id.to_owned());
        let cases = [
            ("checkout.session.completed", json!({"id": "cs_1"}), Subject::Checkout("cs_1".to_owned())),
            ("charge.refunded", json!({"id": "ch_1", "payment_intent": "pi_1"}), payment("pi_1")),
            ("charge.refunded", json!({"id": "ch_1", "payment_intent": null}), payment("ch_1")),
            ("charge.refund.updated", json!({"id": "re_1", "charge": "ch_1"}), payment("ch_1")),
            ("refund.failed", json!({"id": "re_1", "payment_intent": {"id": "pi_1"}}), payment("pi_1")),
            (
                "charge.dispute.closed",
                json!({"id": "dp_1", "charge": "ch_1", "payment_intent": "pi_1"}),
                payment("pi_1"),
            ),
            ("charge.dispute.created", json!({"id": "dp_1"}), Subject::Unreadable),
            (
                "radar.early_fraud_warning.created",
                json!({"id": "issfr_1", "charge": "ch_1"}),
                payment("ch_1"),
            ),
            (
                "identity.verification_session.verified",
                json!({"id": "vs_1"}),
                Subject::Identity("vs_1".to_owned()),
            ),
            ("account.updated", json!({"id": "acct_1"}), Subject::Account("acct_1".to_owned())),
            ("customer.created", json!({"id": "cus_1"}), Subject::Other),
            ("checkout.session.completed", json!([]), Subject::Unreadable),
        ];
        for (kind, object, expected) in cases {
            let body = json!({"id": "evt_1", "type": kind, "data": {"object": object}}).to_string();
            assert_eq!(read(body.as_bytes()).unwrap().subject, expected, "{kind} {body}");
        }
        assert!(read(b"{}").is_err());
    }
}
