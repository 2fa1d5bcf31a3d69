//! Disputes: what a cardholder's bank takes back, and inquiries that may become one.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, Movement, State, int, text};

/// What a dispute costs.
const FEE_CENTS: i64 = 1500;
/// How long there is for evidence.
const EVIDENCE_SECS: i64 = 7 * 24 * 60 * 60;

/// A new dispute, or (`warning`) an inquiry, with its event. No money moves yet.
pub(crate) fn make(s: &mut State, charge: &str, amount: i64, warning: bool, reason: &str) -> Answer {
    let mut charge = s.get("charge", charge)?;
    charge["disputed"] = json!(true);
    let now = s.now();
    let dispute = json!({
        "id": s.id("du_"),
        "object": "dispute",
        "amount": amount,
        "balance_transaction": Value::Null,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {"customer_email_address": Value::Null, "product_description": Value::Null,
            "uncategorized_text": Value::Null},
        "evidence_details": {"due_by": now + EVIDENCE_SECS, "enhanced_eligibility": {}, "has_evidence": false,
            "past_due": false, "submission_count": 0},
        "is_charge_refundable": warning,
        "livemode": false,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {"card": {"brand": "visa", "case_type": if warning { "inquiry" } else { "chargeback" },
            "network_reason_code": "83"}, "type": "card"},
        "reason": reason,
        "status": if warning { "warning_needs_response" } else { "needs_response" },
    });
    s.put(&charge);
    s.put_and_emit(&dispute, "charge.dispute.created");
    Ok(dispute)
}

/// The bank takes the money; an inquiry becomes a dispute by it.
pub(crate) fn withdraw(s: &mut State, id: &str) -> Answer {
    let mut dispute = s.get("dispute", id)?;
    let was_inquiry = text(&dispute, "status").starts_with("warning");
    if was_inquiry {
        dispute["status"] = json!("needs_response");
        dispute["payment_method_details"]["card"]["case_type"] = json!("chargeback");
    }
    dispute["is_charge_refundable"] = json!(false);
    move_money(s, &mut dispute, -1, FEE_CENTS, "dispute");
    s.put(&dispute);
    if was_inquiry {
        s.emit("charge.dispute.updated", &dispute);
    }
    s.emit("charge.dispute.funds_withdrawn", &dispute);
    Ok(dispute)
}

/// The bank gives the money back.
pub(crate) fn reinstate(s: &mut State, id: &str) -> Answer {
    let mut dispute = s.get("dispute", id)?;
    move_money(s, &mut dispute, 1, 0, "dispute_reversal");
    s.put_and_emit(&dispute, "charge.dispute.funds_reinstated");
    Ok(dispute)
}

fn move_money(s: &mut State, dispute: &mut Value, sign: i64, fee: i64, category: &str) {
    let id = text(dispute, "id").to_owned();
    let amount = sign * int(dispute, "amount");
    let transaction = s.book("", &Movement { kind: "adjustment", category, source: &id, amount, fee });
    if let Value::Array(all) = &mut dispute["balance_transactions"] {
        all.push(transaction);
    }
}

/// Sets a status and says so.
pub(crate) fn to_status(s: &mut State, id: &str, status: &str) -> Answer {
    let mut dispute = s.get("dispute", id)?;
    let inquiry = text(&dispute, "status").starts_with("warning");
    let status = match (inquiry, status) {
        (true, "under_review") => "warning_under_review",
        (true, "won") => "warning_closed",
        (_, other) => other,
    };
    dispute["status"] = json!(status);
    let closed = ["won", "lost", "warning_closed"].contains(&status);
    let kind = if closed { "charge.dispute.closed" } else { "charge.dispute.updated" };
    s.put_and_emit(&dispute, kind);
    Ok(dispute)
}

fn open(dispute: &Value) -> Result<(), ApiError> {
    if ["won", "lost", "warning_closed"].contains(&text(dispute, "status")) {
        return Err(ApiError::refused("", "This dispute is already closed"));
    }
    Ok(())
}

pub(crate) fn close(s: &mut State, id: &str) -> Answer {
    let dispute = s.get("dispute", id)?;
    open(&dispute)?;
    to_status(s, id, "lost")
}

pub(crate) fn update(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut dispute = s.get("dispute", id)?;
    p.update_metadata(&mut dispute)?;
    let given = p.value["evidence"].as_object().cloned().unwrap_or_default();
    if !given.is_empty() {
        open(&dispute)?;
        for (name, value) in given {
            dispute["evidence"][name] = value;
        }
        dispute["evidence_details"]["has_evidence"] = json!(true);
        if p.text("submit") != Some("false") {
            let count = int(&dispute["evidence_details"], "submission_count") + 1;
            dispute["evidence_details"]["submission_count"] = json!(count);
            let inquiry = text(&dispute, "status").starts_with("warning");
            dispute["status"] = json!(if inquiry { "warning_under_review" } else { "under_review" });
        }
    }
    s.put_and_emit(&dispute, "charge.dispute.updated");
    Ok(dispute)
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(s, p, "dispute", &["charge", "payment_intent"], "disputes")
}
