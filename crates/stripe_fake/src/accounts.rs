//! Connected accounts (Express), their links.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::http::no_access;
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, State, text, yes};

/// How long a link is good.
const LINK_SECS: i64 = 300;
const WANTED: [&str; 4] =
    ["business_profile.url", "external_account", "individual.id_number", "tos_acceptance.date"];

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    let id = s.id("acct_1");
    let id: String = id.chars().take(21).collect();
    let wanted = requested(p);
    let capabilities: serde_json::Map<String, Value> =
        wanted.iter().map(|name| (name.clone(), json!("inactive"))).collect();
    let kind = p.text("type").unwrap_or("express");
    let account = json!({
        "id": id,
        "object": "account",
        "business_profile": {"mcc": Value::Null, "name": Value::Null, "url": Value::Null},
        "business_type": p.json("business_type"),
        "capabilities": capabilities,
        "charges_enabled": false,
        "controller": {"fees": {"payer": "application"}, "is_controller": true, "losses": {"payments": "application"},
            "requirement_collection": "stripe", "stripe_dashboard": {"type": "express"}, "type": "application"},
        "country": p.text("country").unwrap_or("US"),
        "created": s.now(),
        "default_currency": "usd",
        "details_submitted": false,
        "email": p.json("email"),
        "external_accounts": lists::inner(&[], &format!("/v1/accounts/{id}/external_accounts")),
        "future_requirements": requirements(&[], &Value::Null),
        "login_links": lists::inner(&[], &format!("/v1/accounts/{id}/login_links")),
        "metadata": p.metadata()?,
        "payouts_enabled": false,
        "requirements": requirements(&WANTED, &json!("requirements.past_due")),
        "settings": {"payouts": {"debit_negative_balances": true, "statement_descriptor": Value::Null,
            "schedule": {"delay_days": 2, "interval": "daily"}}},
        "tos_acceptance": {"date": Value::Null},
        "type": kind,
    });
    s.put(&account);
    Ok(account)
}

fn requested(p: &Params) -> Vec<String> {
    let capabilities = p.value["capabilities"].as_object();
    let named = capabilities.into_iter().flatten().filter(|(_, how)| how["requested"] == "true");
    let named: Vec<String> = named.map(|(name, _)| name.clone()).collect();
    if named.is_empty() { vec!["card_payments".to_owned(), "transfers".to_owned()] } else { named }
}

fn requirements(due: &[&str], disabled: &Value) -> Value {
    json!({
        "alternatives": [], "current_deadline": Value::Null, "currently_due": due, "disabled_reason": disabled,
        "errors": [], "eventually_due": due, "past_due": due, "pending_verification": [],
    })
}

pub(crate) fn retrieve(s: &State, id: &str) -> Answer {
    let account = s.find("account", id).filter(|account| !yes(account, "deleted"));
    account.cloned().ok_or_else(|| no_access(id))
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(s, p, "account", &[], "accounts")
}

pub(crate) fn update(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut account = retrieve(s, id)?;
    p.update_metadata(&mut account)?;
    if p.value.get("email").is_some() {
        account["email"] = p.json("email");
    }
    changed(s, &account);
    Ok(account)
}

pub(crate) fn delete(s: &mut State, id: &str) -> Answer {
    retrieve(s, id)?;
    if s.available.get(id).is_some_and(|cents| *cents != 0) {
        let message = "This account cannot be deleted because its balance is not zero.";
        return Err(ApiError::refused("", message));
    }
    let gone = json!({"id": id, "object": "account", "deleted": true});
    s.put(&gone);
    Ok(gone)
}

fn changed(s: &mut State, account: &Value) {
    s.put(account);
    s.emit_for("account.updated", account, Some(text(account, "id")));
}

/// Everything asked for is there: money may go in and out.
pub(crate) fn onboard(s: &mut State, id: &str) -> Answer {
    let mut account = retrieve(s, id)?;
    for name in ["details_submitted", "charges_enabled", "payouts_enabled"] {
        account[name] = json!(true);
    }
    if let Value::Object(capabilities) = &mut account["capabilities"] {
        capabilities.values_mut().for_each(|state| *state = json!("active"));
    }
    account["requirements"] = requirements(&[], &Value::Null);
    account["tos_acceptance"]["date"] = json!(s.now());
    let bank = json!({"id": s.id("ba_"), "object": "bank_account", "account": id, "bank_name": "STRIPE TEST BANK",
        "country": account["country"], "currency": "usd", "default_for_currency": true, "last4": "6789", "status": "new"});
    account["external_accounts"] = lists::inner(&[bank], &format!("/v1/accounts/{id}/external_accounts"));
    changed(s, &account);
    Ok(account)
}

/// Something is missing: no money goes in or out.
pub(crate) fn restrict(s: &mut State, id: &str) -> Answer {
    let mut account = retrieve(s, id)?;
    account["charges_enabled"] = json!(false);
    account["payouts_enabled"] = json!(false);
    if let Value::Object(capabilities) = &mut account["capabilities"] {
        capabilities.values_mut().for_each(|state| *state = json!("inactive"));
    }
    account["requirements"] =
        requirements(&["individual.verification.document"], &json!("requirements.past_due"));
    changed(s, &account);
    Ok(account)
}

pub(crate) fn link(s: &mut State, p: &Params) -> Answer {
    let account = p.need("account")?;
    retrieve(s, account)?;
    if !["account_onboarding", "account_update"].contains(&p.need("type")?) {
        return Err(ApiError::bad(
            "type",
            "Invalid type: must be one of account_onboarding or account_update",
        ));
    }
    let (return_url, refresh_url) = (p.need("return_url")?, p.need("refresh_url")?);
    let id = s.letters(16);
    let expires = s.now() + LINK_SECS;
    let kept = json!({"account": account, "return_url": return_url, "refresh_url": refresh_url, "expires_at": expires});
    s.hidden.insert((id.clone(), "account_link"), kept);
    Ok(json!({
        "object": "account_link",
        "created": s.now(),
        "expires_at": expires,
        "url": format!("{}/setup/e/{account}/{id}", s.base),
    }))
}

pub(crate) fn login_link(s: &State, id: &str) -> Answer {
    let account = retrieve(s, id)?;
    if !yes(&account, "details_submitted") {
        let message = "Cannot create a login link for an account that has not completed onboarding.";
        return Err(ApiError::refused("", message));
    }
    Ok(json!({"object": "login_link", "created": s.now(), "url": format!("{}/express/{id}", s.base)}))
}
