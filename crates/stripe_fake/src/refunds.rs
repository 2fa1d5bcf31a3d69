//! Refunds.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, Movement, State, int, text, yes};

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    let amount = p.amount("amount")?;
    let metadata = p.metadata()?;
    if let Some(reason) = p.text("reason")
        && !["duplicate", "fraudulent", "requested_by_customer"].contains(&reason)
    {
        let message = "Invalid reason: must be one of duplicate, fraudulent, or requested_by_customer";
        return Err(ApiError::bad("reason", message));
    }
    let charge = charge_of(s, p)?;
    make(s, charge, amount, &p.json("reason"), &metadata)
}

fn charge_of(s: &State, p: &Params) -> Answer {
    if let Some(id) = p.text("charge") {
        return s.get_for("charge", id, "charge");
    }
    let Some(id) = p.text("payment_intent") else {
        return Err(ApiError::invalid(
            "One of the following params should be provided for this request: payment_intent or charge.",
        )
        .code("parameter_missing"));
    };
    let intent = s.get_for("payment_intent", id, "payment_intent")?;
    let charge = s.find("charge", text(&intent, "latest_charge")).filter(|charge| yes(charge, "paid"));
    charge.cloned().ok_or_else(|| {
        let message = format!("This PaymentIntent ({id}) does not have a successful charge to refund.");
        ApiError::refused("payment_intent_unexpected_state", message).param("payment_intent")
    })
}

/// Refunds some of a charge, with its events.
pub(crate) fn make(
    s: &mut State,
    mut charge: Value,
    amount: Option<i64>,
    reason: &Value,
    metadata: &Value,
) -> Answer {
    let id = text(&charge, "id").to_owned();
    let left = int(&charge, "amount") - int(&charge, "amount_refunded");
    if !yes(&charge, "paid") {
        let message = format!("Charge {id} has not been paid and cannot be refunded.");
        return Err(ApiError::refused("charge_not_refundable", message));
    }
    let against = s
        .all("dispute")
        .iter()
        .find(|dispute| text(dispute, "charge") == id && !yes(dispute, "is_charge_refundable"));
    if against.is_some() {
        let message = format!("Charge {id} has been charged back; cannot issue a refund.");
        return Err(ApiError::refused("charge_disputed", message));
    }
    if left == 0 {
        return Err(ApiError::refused(
            "charge_already_refunded",
            format!("Charge {id} has already been refunded."),
        ));
    }
    let amount = amount.unwrap_or(left);
    if amount > left {
        let message = format!(
            "Refund amount (${}) is greater than unrefunded amount on charge (${})",
            dollars(amount),
            dollars(left)
        );
        return Err(ApiError::refused("", message).param("amount"));
    }
    let slow = s.slow_refunds;
    let refund_id = s.id("re_");
    let movement =
        Movement { kind: "refund", category: "refund", source: &refund_id, amount: -amount, fee: 0 };
    let transaction = s.book("", &movement);
    let refund = json!({
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": transaction["id"],
        "charge": id,
        "created": s.now(),
        "currency": charge["currency"],
        "destination_details": {"card": {"reference_status": "pending", "reference_type": "acquirer_reference_number",
            "type": "refund"}, "type": "card"},
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "receipt_number": Value::Null,
        "source_transfer_reversal": Value::Null,
        "status": if slow { "pending" } else { "succeeded" },
        "transfer_reversal": Value::Null,
    });
    give_back(s, &mut charge, amount);
    s.put(&refund);
    s.emit("charge.refunded", &charge);
    s.emit("refund.created", &refund);
    Ok(refund)
}

fn give_back(s: &mut State, charge: &mut Value, amount: i64) {
    let refunded = int(charge, "amount_refunded") + amount;
    charge["amount_refunded"] = json!(refunded);
    charge["refunded"] = json!(refunded == int(charge, "amount"));
    s.put(charge);
}

fn dollars(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(s, p, "refund", &["charge", "payment_intent"], "refunds")
}

pub(crate) fn update(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut refund = s.get("refund", id)?;
    p.update_metadata(&mut refund)?;
    changed(s, &refund);
    Ok(refund)
}

fn changed(s: &mut State, refund: &Value) {
    s.put_and_emit(refund, "refund.updated");
    s.emit("charge.refund.updated", refund);
}

/// A pending refund has arrived.
pub(crate) fn settle(s: &mut State, id: &str) -> Answer {
    let mut refund = s.get("refund", id)?;
    refund["status"] = json!("succeeded");
    changed(s, &refund);
    Ok(refund)
}

/// The bank has sent a refund back: the money is ours again.
pub(crate) fn fail(s: &mut State, id: &str) -> Answer {
    let mut refund = s.get("refund", id)?;
    if text(&refund, "status") == "failed" {
        return Err(ApiError::refused("", "This refund has failed before."));
    }
    let amount = int(&refund, "amount");
    let movement =
        Movement { kind: "refund_failure", category: "refund_failure", source: id, amount, fee: 0 };
    let transaction = s.book("", &movement);
    refund["status"] = json!("failed");
    refund["failure_reason"] = json!("lost_or_stolen_card");
    refund["failure_balance_transaction"] = transaction["id"].clone();
    let mut charge = s.get("charge", text(&refund, "charge"))?;
    give_back(s, &mut charge, -amount);
    changed(s, &refund);
    s.emit("refund.failed", &refund);
    Ok(refund)
}
