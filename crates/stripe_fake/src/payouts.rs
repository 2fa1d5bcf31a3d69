//! Payouts from an account's balance to its bank.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, State, int, text, yes};

const DAY_SECS: i64 = 24 * 60 * 60;

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    let amount = p.amount("amount")?;
    p.need("currency")?;
    let metadata = p.metadata()?;
    let amount = amount.ok_or_else(|| ApiError::missing("amount"))?;
    make(s, p.account.as_deref().unwrap_or_default(), amount, false, &metadata)
}

/// A new payout of an account ("" is the platform), with its event.
pub(crate) fn make(s: &mut State, account: &str, amount: i64, automatic: bool, metadata: &Value) -> Answer {
    let enabled = account.is_empty()
        || s.find("account", account).is_some_and(|account| yes(account, "payouts_enabled"));
    if !enabled {
        let message = "Cannot create payouts: this account has requirements that need to be collected.";
        return Err(ApiError::refused("payouts_not_allowed", message));
    }
    let available = s.available.entry(account.to_owned()).or_default();
    if *available < amount {
        let message = "You have insufficient funds in your Stripe account for this transfer. Your card balance is too low.";
        return Err(ApiError::refused("balance_insufficient", message));
    }
    *available -= amount;
    let now = s.now();
    let id = s.id("po_");
    let payout = json!({
        "id": id,
        "object": "payout",
        "amount": amount,
        "application_fee": Value::Null,
        "arrival_date": now + DAY_SECS,
        "automatic": automatic,
        "balance_transaction": s.id("txn_"),
        "created": now,
        "currency": "usd",
        "description": "STRIPE PAYOUT",
        "destination": s.id("ba_"),
        "failure_balance_transaction": Value::Null,
        "failure_code": Value::Null,
        "failure_message": Value::Null,
        "livemode": false,
        "metadata": metadata,
        "method": "standard",
        "original_payout": Value::Null,
        "reconciliation_status": "not_applicable",
        "reversed_by": Value::Null,
        "source_type": "card",
        "statement_descriptor": Value::Null,
        "status": "pending",
        "type": "bank_account",
    });
    s.hidden.insert((id, "account"), json!(account));
    keep(s, &payout, "payout.created");
    Ok(payout)
}

fn account_of(s: &State, id: &str) -> String {
    let account = s.hidden.get(&(id.to_owned(), "account")).and_then(Value::as_str);
    account.unwrap_or_default().to_owned()
}

fn keep(s: &mut State, payout: &Value, event: &str) {
    let account = account_of(s, text(payout, "id"));
    s.put(payout);
    s.emit_for(event, payout, Some(account.as_str()).filter(|account| !account.is_empty()));
}

pub(crate) fn retrieve(s: &State, id: &str, p: &Params) -> Answer {
    let payout = s.get("payout", id)?;
    if account_of(s, id) == p.account.as_deref().unwrap_or_default() {
        Ok(payout)
    } else {
        Err(ApiError::no_such("payout", id, "id").not_found())
    }
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    let account = p.account.as_deref().unwrap_or_default();
    let status = p.text("status");
    let rows = s.all("payout").iter().filter(|payout| {
        account_of(s, text(payout, "id")) == account
            && status.is_none_or(|status| text(payout, "status") == status)
    });
    lists::page(rows, p, "payouts")
}

pub(crate) fn cancel(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut payout = retrieve(s, id, p)?;
    if text(&payout, "status") != "pending" {
        let message = "Payouts can only be canceled while they are pending.";
        return Err(ApiError::refused("", message));
    }
    *s.available.entry(account_of(s, id)).or_default() += int(&payout, "amount");
    payout["status"] = json!("canceled");
    keep(s, &payout, "payout.canceled");
    Ok(payout)
}

/// The payout is on its way.
pub(crate) fn send(s: &mut State, id: &str) -> Answer {
    let mut payout = s.get("payout", id)?;
    payout["status"] = json!("in_transit");
    keep(s, &payout, "payout.updated");
    Ok(payout)
}

/// The payout has arrived, or the bank did not take it. Stripe may also say so of one that was paid.
pub(crate) fn settle(s: &mut State, id: &str, ok: bool) -> Answer {
    let mut payout = s.get("payout", id)?;
    let status = text(&payout, "status");
    if ["failed", "canceled"].contains(&status) || (ok && status == "paid") {
        return Err(ApiError::refused("", format!("This payout is {status}.")));
    }
    if ok {
        payout["status"] = json!("paid");
        keep(s, &payout, "payout.paid");
    } else {
        *s.available.entry(account_of(s, id)).or_default() += int(&payout, "amount");
        payout["status"] = json!("failed");
        payout["failure_code"] = json!("account_closed");
        payout["failure_message"] = json!("The bank account has been closed.");
        payout["failure_balance_transaction"] = json!(s.id("txn_"));
        keep(s, &payout, "payout.failed");
    }
    Ok(payout)
}
