//! Which endpoint a path belongs to.

use crate::error::ApiError;
use crate::params::Params;
use crate::state::{Answer, State};
use crate::{
    accounts, balance, charges, checkout, customers, disputes, fraud, identity, intents, known, methods,
    payouts, portal, refunds, transfers,
};

/// Answers a request.
pub(crate) fn dispatch(s: &mut State, method: &str, path: &[&str], p: &Params) -> Answer {
    known::check(method, path, p)?;
    match path.first().copied().unwrap_or_default() {
        "customers" | "checkout" | "payment_intents" | "payment_methods" => paying(s, method, path, p),
        "accounts"
        | "account_links"
        | "transfers"
        | "payouts"
        | "balance"
        | "balance_transactions"
        | "events" => connect(s, method, path, p),
        _ => after(s, method, path, p),
    }
}

/// What a payment needs.
fn paying(s: &mut State, method: &str, path: &[&str], p: &Params) -> Answer {
    match (method, path) {
        ("POST", ["customers"]) => customers::create(s, p),
        ("GET", ["customers"]) => customers::list(s, p),
        ("GET", ["customers", id]) => customers::retrieve(s, id),
        ("POST", ["customers", id]) => customers::update(s, id, p),
        ("DELETE", ["customers", id]) => customers::delete(s, id),
        ("GET", ["customers", id, "payment_methods"]) => methods::list_of(s, id, p),
        ("GET", ["customers", id, "payment_methods", method]) => methods::retrieve_of(s, id, method),
        ("POST", ["checkout", "sessions"]) => checkout::create(s, p),
        ("GET", ["checkout", "sessions"]) => checkout::list(s, p),
        ("GET", ["checkout", "sessions", id]) => s.get("checkout.session", id),
        ("POST", ["checkout", "sessions", id]) => checkout::update(s, id, p),
        ("POST", ["checkout", "sessions", id, "expire"]) => checkout::expire(s, id),
        ("GET", ["checkout", "sessions", id, "line_items"]) => checkout::line_items(s, id, p),
        ("POST", ["payment_intents"]) => intents::create(s, p),
        ("GET", ["payment_intents"]) => intents::list(s, p),
        ("GET", ["payment_intents", id]) => s.get("payment_intent", id),
        ("POST", ["payment_intents", id]) => intents::update(s, id, p),
        ("POST", ["payment_intents", id, "confirm"]) => intents::confirm(s, id, p),
        ("POST", ["payment_intents", id, "cancel"]) => intents::cancel(s, id, p),
        ("GET", ["payment_methods"]) => methods::list(s, p),
        ("GET", ["payment_methods", id]) => s.get("payment_method", id),
        ("POST", ["payment_methods", id, "attach"]) => methods::attach(s, id, p),
        ("POST", ["payment_methods", id, "detach"]) => methods::detach(s, id),
        _ => Err(unknown(method, path)),
    }
}

/// What comes after a payment, and identity.
fn after(s: &mut State, method: &str, path: &[&str], p: &Params) -> Answer {
    match (method, path) {
        ("GET", ["charges"]) => charges::list(s, p),
        ("GET", ["charges", id]) => s.get("charge", id),
        ("POST", ["charges", id]) => charges::update(s, id, p),
        ("POST", ["refunds"]) => refunds::create(s, p),
        ("GET", ["refunds"]) => refunds::list(s, p),
        ("GET", ["refunds", id]) => s.get("refund", id),
        ("POST", ["refunds", id]) => refunds::update(s, id, p),
        ("GET", ["disputes"]) => disputes::list(s, p),
        ("GET", ["disputes", id]) => s.get("dispute", id),
        ("POST", ["disputes", id]) => disputes::update(s, id, p),
        ("POST", ["disputes", id, "close"]) => disputes::close(s, id),
        ("GET", ["radar", "early_fraud_warnings"]) => fraud::list(s, p),
        ("GET", ["radar", "early_fraud_warnings", id]) => s.get("radar.early_fraud_warning", id),
        ("POST", ["billing_portal", "sessions"]) => portal::create(s, p),
        ("POST", ["identity", "verification_sessions"]) => identity::create(s, p),
        ("GET", ["identity", "verification_sessions"]) => identity::list(s, p),
        ("GET", ["identity", "verification_sessions", id]) => s.get("identity.verification_session", id),
        ("POST", ["identity", "verification_sessions", id]) => identity::update(s, id, p),
        ("POST", ["identity", "verification_sessions", id, "cancel"]) => identity::cancel(s, id),
        ("POST", ["identity", "verification_sessions", id, "redact"]) => identity::redact(s, id),
        ("GET", ["identity", "verification_reports", id]) => s.get("identity.verification_report", id),
        _ => Err(unknown(method, path)),
    }
}

/// Connected accounts, and money between them and us.
fn connect(s: &mut State, method: &str, path: &[&str], p: &Params) -> Answer {
    match (method, path) {
        ("POST", ["accounts"]) => accounts::create(s, p),
        ("GET", ["accounts"]) => accounts::list(s, p),
        ("GET", ["accounts", id]) => accounts::retrieve(s, id),
        ("POST", ["accounts", id]) => accounts::update(s, id, p),
        ("DELETE", ["accounts", id]) => accounts::delete(s, id),
        ("POST", ["accounts", id, "login_links"]) => accounts::login_link(s, id),
        ("POST", ["account_links"]) => accounts::link(s, p),
        ("POST", ["transfers"]) => transfers::create(s, p),
        ("GET", ["transfers"]) => transfers::list(s, p),
        ("GET", ["transfers", id]) => s.get("transfer", id),
        ("POST", ["transfers", id, "reversals"]) => transfers::reverse(s, id, p),
        ("GET", ["transfers", id, "reversals"]) => transfers::reversals(s, id, p),
        ("GET", ["transfers", id, "reversals", reversal]) => transfers::reversal(s, id, reversal),
        ("POST", ["payouts"]) => payouts::create(s, p),
        ("GET", ["payouts"]) => payouts::list(s, p),
        ("GET", ["payouts", id]) => payouts::retrieve(s, id, p),
        ("POST", ["payouts", id, "cancel"]) => payouts::cancel(s, id, p),
        ("GET", ["balance"]) => Ok(balance::retrieve(s, p)),
        ("GET", ["balance_transactions"]) => balance::list(s, p),
        ("GET", ["balance_transactions", id]) => s.get("balance_transaction", id),
        ("GET", ["events"]) => balance::events(s, p),
        ("GET", ["events", id]) => balance::event(s, id),
        _ => Err(unknown(method, path)),
    }
}

fn unknown(method: &str, path: &[&str]) -> ApiError {
    let path = path.join("/");
    ApiError::invalid(format!("Unrecognized request URL ({method}: /v1/{path}).")).not_found()
}
