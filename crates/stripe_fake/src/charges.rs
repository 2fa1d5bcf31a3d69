//! Charges: each attempt to take money.

use serde_json::{Value, json};

use crate::card::{error_code, message};
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, Movement, State, int, text};

/// How an attempt ends.
pub(crate) enum Outcome<'a> {
    Paid,
    Pending,
    Failed(&'a str),
}

/// A new charge of an intent, with its event.
pub(crate) fn make(s: &mut State, intent: &Value, method: &Value, outcome: &Outcome<'_>) -> Value {
    let id = s.id("ch_");
    let mut card = method["card"].clone();
    card["authorization_code"] = json!("123456");
    let mut charge = json!({
        "receipt_url": format!("{}/receipts/{id}", s.base),
        "id": id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": Value::Null,
        "application_fee": Value::Null,
        "application_fee_amount": Value::Null,
        "balance_transaction": Value::Null,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "Stripe",
        "captured": false,
        "created": s.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": false,
        "failure_balance_transaction": Value::Null,
        "failure_code": Value::Null,
        "failure_message": Value::Null,
        "fraud_details": {},
        "livemode": false,
        "metadata": intent["metadata"],
        "on_behalf_of": Value::Null,
        "outcome": Value::Null,
        "paid": false,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": card, "type": "card"},
        "receipt_email": intent["receipt_email"],
        "receipt_number": Value::Null,
        "refunded": false,
        "review": Value::Null,
        "shipping": Value::Null,
        "source_transfer": Value::Null,
        "statement_descriptor": Value::Null,
        "statement_descriptor_suffix": Value::Null,
        "status": "pending",
        "transfer_data": Value::Null,
        "transfer_group": intent["transfer_group"],
    });
    finish(s, &mut charge, outcome);
    charge
}

/// Ends a charge, with its event.
pub(crate) fn finish(s: &mut State, charge: &mut Value, outcome: &Outcome<'_>) {
    match outcome {
        Outcome::Pending => s.put_and_emit(charge, "charge.pending"),
        Outcome::Paid => {
            let amount = int(charge, "amount");
            let movement = Movement {
                kind: "charge",
                category: "charge",
                source: text(charge, "id"),
                amount,
                fee: amount * 29 / 1000 + 30,
            };
            let transaction = s.book("", &movement);
            charge["balance_transaction"] = transaction["id"].clone();
            charge["amount_captured"] = json!(amount);
            charge["captured"] = json!(true);
            charge["paid"] = json!(true);
            charge["status"] = json!("succeeded");
            charge["outcome"] = json!({
                "advice_code": Value::Null, "network_advice_code": Value::Null, "network_decline_code": Value::Null,
                "network_status": "approved_by_network", "reason": Value::Null, "risk_level": "normal", "risk_score": 12,
                "seller_message": "Payment complete.", "type": "authorized",
            });
            s.put_and_emit(charge, "charge.succeeded");
        }
        Outcome::Failed(code) => {
            charge["status"] = json!("failed");
            charge["failure_code"] = json!(error_code(code));
            charge["failure_message"] = json!(message(code));
            charge["outcome"] = json!({
                "advice_code": "try_again_later", "network_advice_code": Value::Null, "network_decline_code": "05",
                "network_status": "declined_by_network", "reason": code, "risk_level": "normal", "risk_score": 12,
                "seller_message": "The bank did not return any further details with this decline.",
                "type": "issuer_declined",
            });
            s.put_and_emit(charge, "charge.failed");
        }
    }
}

pub(crate) fn update(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut charge = s.get("charge", id)?;
    p.update_metadata(&mut charge)?;
    if p.value.get("description").is_some() {
        charge["description"] = p.json("description");
    }
    s.put_and_emit(&charge, "charge.updated");
    Ok(charge)
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(s, p, "charge", &["payment_intent", "customer", "transfer_group"], "charges")
}
