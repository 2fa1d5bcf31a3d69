//! Checkouts: pages on which people pay.

use serde_json::{Value, json};

use crate::card::Card;
use crate::error::ApiError;
use crate::params::{Params, number};
use crate::state::{Answer, State, int, text};
use crate::{customers, intents, lists, methods};

/// How long a checkout stays open if nothing else is said.
const OPEN_SECS: i64 = 24 * 60 * 60;
/// The shortest it may be.
const LEAST_OPEN_SECS: i64 = 30 * 60;

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    match p.need("mode")? {
        "payment" => {}
        "setup" | "subscription" => {
            return Err(ApiError::bad("mode", "The fake knows only the mode `payment`."));
        }
        other => {
            return Err(ApiError::bad(
                "mode",
                format!("Invalid mode: must be one of payment, setup, or subscription, not {other}"),
            ));
        }
    }
    p.need("success_url")?;
    let (lines, currency, total) = lines(s, p)?;
    if total > 0 && total < 50 {
        let message = "The Checkout Session's total amount due must add up to at least $0.50 usd";
        return Err(ApiError::invalid(message).code("amount_too_small"));
    }
    if let Some(customer) = p.text("customer") {
        s.get_for("customer", customer, "customer")?;
        if p.text("customer_email").is_some() {
            return Err(ApiError::bad(
                "customer",
                "You may only specify one of these parameters: customer, customer_email.",
            ));
        }
    }
    let now = s.now();
    let expires = p.int("expires_at")?.unwrap_or(now + OPEN_SECS);
    if expires < now + LEAST_OPEN_SECS - 60 || expires > now + OPEN_SECS + 60 {
        let message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.";
        return Err(ApiError::bad("expires_at", message));
    }
    let types = &p.value["payment_method_types"];
    let types = if types.is_array() { types.clone() } else { json!(["card"]) };
    let id = format!("cs_test_a1{}", s.letters(56));
    let mut session = blank(s, &id, p)?;
    session["expires_at"] = json!(expires);
    session["amount_total"] = json!(total);
    session["amount_subtotal"] = json!(total);
    session["currency"] = json!(currency);
    session["payment_method_types"] = types;
    s.hidden.insert((id.clone(), "line_items"), lines);
    let mut intent_data = p.value["payment_intent_data"].clone();
    intent_data["metadata"] = p.below("payment_intent_data").metadata()?;
    s.intent_data.insert(id.clone(), intent_data);
    s.expiries.insert((expires, id));
    s.put(&session);
    Ok(session)
}

fn blank(s: &State, id: &str, p: &Params) -> Answer {
    let fixed = json!({"enabled": false});
    Ok(json!({
        "id": id,
        "object": "checkout.session",
        "adaptive_pricing": fixed,
        "after_expiration": Value::Null,
        "allow_promotion_codes": Value::Null,
        "automatic_tax": {"enabled": false, "liability": Value::Null, "provider": Value::Null, "status": Value::Null},
        "billing_address_collection": Value::Null,
        "cancel_url": p.json("cancel_url"),
        "client_reference_id": p.json("client_reference_id"),
        "client_secret": Value::Null,
        "consent": Value::Null,
        "consent_collection": Value::Null,
        "created": s.now(),
        "currency_conversion": Value::Null,
        "custom_fields": [],
        "customer": p.json("customer"),
        "customer_creation": if p.text("customer").is_some() { Value::Null }
            else { json!(p.text("customer_creation").unwrap_or("if_required")) },
        "customer_details": Value::Null,
        "customer_email": p.json("customer_email"),
        "discounts": [],
        "invoice": Value::Null,
        "invoice_creation": fixed,
        "livemode": false,
        "locale": p.json("locale"),
        "metadata": p.metadata()?,
        "mode": "payment",
        "origin_context": Value::Null,
        "payment_intent": Value::Null,
        "payment_link": Value::Null,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": Value::Null,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_status": "unpaid",
        "phone_number_collection": fixed,
        "recovered_from": Value::Null,
        "saved_payment_method_options": Value::Null,
        "setup_intent": Value::Null,
        "shipping_address_collection": Value::Null,
        "shipping_cost": Value::Null,
        "shipping_options": [],
        "status": "open",
        "submit_type": p.json("submit_type"),
        "subscription": Value::Null,
        "success_url": p.json("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted",
        "url": format!("{}/c/pay/{id}", s.base),
        "wallet_options": Value::Null,
    }))
}

/// The lines, their currency and their sum.
fn lines(s: &mut State, p: &Params) -> Result<(Value, String, i64), ApiError> {
    let given = p.value["line_items"].as_array().filter(|items| !items.is_empty()).cloned();
    let given = given.ok_or_else(|| ApiError::missing("line_items"))?;
    let mut lines = Vec::new();
    let mut currency = String::new();
    let mut total = 0_i64;
    for (at, item) in given.iter().enumerate() {
        let name = |field: &str| format!("line_items[{at}]{field}");
        let price = &item["price_data"];
        let this =
            price["currency"].as_str().ok_or_else(|| ApiError::missing(&name("[price_data][currency]")))?;
        let product = price["product_data"]["name"].as_str().or(price["product"].as_str());
        let product = product.ok_or_else(|| ApiError::missing(&name("[price_data][product_data][name]")))?;
        let unit = price["unit_amount"]
            .as_str()
            .ok_or_else(|| ApiError::missing(&name("[price_data][unit_amount]")))?;
        let unit = number(&name("[price_data][unit_amount]"), unit)?;
        let quantity = number(&name("[quantity]"), item["quantity"].as_str().unwrap_or("1"))?;
        if unit < 0 || quantity < 1 {
            return Err(
                ApiError::bad(&name(""), "Invalid non-negative integer").code("parameter_invalid_integer")
            );
        }
        let this = this.to_lowercase();
        if !currency.is_empty() && currency != this {
            return Err(ApiError::bad(
                &name("[price_data][currency]"),
                "All line items must have the same currency.",
            ));
        }
        let amount = unit.saturating_mul(quantity);
        total = total.saturating_add(amount);
        lines.push(json!({
            "id": s.id("li_"),
            "object": "item",
            "amount_discount": 0,
            "amount_subtotal": amount,
            "amount_tax": 0,
            "amount_total": amount,
            "currency": this,
            "description": product,
            "price": {"id": s.id("price_"), "object": "price", "active": false, "billing_scheme": "per_unit",
                "created": s.now(), "currency": this, "livemode": false, "metadata": {}, "product": s.id("prod_"),
                "type": "one_time", "unit_amount": unit, "unit_amount_decimal": unit.to_string()},
            "quantity": quantity,
        }));
        currency = this;
    }
    Ok((json!(lines), currency, total))
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    let fields = ["payment_intent", "status", "customer"];
    lists::list(s, p, "checkout.session", &fields, "checkout/sessions")
}

pub(crate) fn line_items(s: &State, id: &str, p: &Params) -> Answer {
    s.get("checkout.session", id)?;
    let lines = s.hidden.get(&(id.to_owned(), "line_items")).and_then(Value::as_array);
    lists::page(lines.into_iter().flatten().rev(), p, &format!("checkout/sessions/{id}/line_items"))
}

pub(crate) fn update(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut session = s.get("checkout.session", id)?;
    p.update_metadata(&mut session)?;
    s.put(&session);
    Ok(session)
}

pub(crate) fn expire(s: &mut State, id: &str) -> Answer {
    let mut session = s.get("checkout.session", id)?;
    let status = text(&session, "status");
    if status != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `{status}`."
        );
        return Err(ApiError::refused("", message));
    }
    close(s, &mut session, "expired");
    s.put_and_emit(&session, "checkout.session.expired");
    Ok(session)
}

fn close(s: &mut State, session: &mut Value, status: &str) {
    let id = text(session, "id").to_owned();
    s.expiries.remove(&(int(session, "expires_at"), id));
    session["status"] = json!(status);
    session["url"] = Value::Null;
}

/// Expires what is due.
pub(crate) fn expire_due(s: &mut State) {
    let now = s.now();
    while let Some((_, id)) = s.expiries.first().filter(|(at, _)| *at <= now).cloned() {
        if expire(s, &id).is_err() {
            s.expiries.pop_first();
        }
    }
}

/// Somebody pays, or tries to, on the page.
pub(crate) fn pay(s: &mut State, id: &str, card: &Card) -> Answer {
    expire_due(s);
    let mut session = s.get("checkout.session", id)?;
    if text(&session, "status") != "open" {
        let message = format!("This Checkout Session has a status of `{}`.", text(&session, "status"));
        return Err(ApiError::refused("", message));
    }
    if int(&session, "amount_total") == 0 {
        return Ok(complete(s, session, "no_payment_required"));
    }
    let data = s.intent_data.get(id).cloned().unwrap_or(Value::Null);
    let saves = data["setup_future_usage"].is_string();
    if session["customer"].is_null() && text(&session, "customer_creation") == "always" {
        let customer = customers::make(s, &session["customer_email"], &json!("Jenny Rosen"), &json!({}));
        session["customer"] = customer["id"].clone();
    }
    let mut intent = intent_of(s, &session, &data)?;
    let mut method = methods::make(s, card);
    method["billing_details"]["email"] = email_of(s, &session);
    s.put(&method);
    if intents::attempt(s, &mut intent, &method, false).is_err() {
        s.put(&session);
        return Ok(session);
    }
    if text(&intent, "status") == "requires_action" {
        // On the page, whoever pays is there and agrees.
        intents::authenticate(s, text(&intent, "id"), true)?;
    }
    if let (true, Some(customer)) = (saves, session["customer"].as_str()) {
        methods::give(s, &mut method, customer);
    }
    session["payment_intent"] = intent["id"].clone();
    let paid = if *card == Card::Delayed { "unpaid" } else { "paid" };
    Ok(complete(s, session, paid))
}

fn complete(s: &mut State, mut session: Value, payment_status: &str) -> Value {
    session["payment_status"] = json!(payment_status);
    let email = email_of(s, &session);
    session["customer_details"] = json!({
        "address": {"city": Value::Null, "country": "US", "line1": Value::Null, "line2": Value::Null,
            "postal_code": "94107", "state": Value::Null},
        "email": email, "name": "Jenny Rosen", "phone": Value::Null, "tax_exempt": "none", "tax_ids": [],
    });
    close(s, &mut session, "complete");
    s.put_and_emit(&session, "checkout.session.completed");
    session
}

fn email_of(s: &State, session: &Value) -> Value {
    let customer = s.find("customer", text(session, "customer"));
    let email = customer.map_or(&session["customer_email"], |customer| &customer["email"]);
    if email.is_null() { json!("jenny@example.com") } else { email.clone() }
}

/// The intent of a checkout: made at the first attempt.
fn intent_of(s: &mut State, session: &Value, data: &Value) -> Answer {
    let id = text(session, "id");
    if let Some(intent) = s.attempts.get(id).cloned() {
        return s.get("payment_intent", &intent);
    }
    let (amount, currency) = (int(session, "amount_total"), text(session, "currency"));
    let mut intent = intents::make(s, amount, currency, &session["customer"], &data["metadata"]);
    for field in [
        "setup_future_usage",
        "description",
        "receipt_email",
        "transfer_group",
        "statement_descriptor_suffix",
    ] {
        intent[field] = data[field].clone();
    }
    intent["payment_method_types"] = session["payment_method_types"].clone();
    s.attempts.insert(id.to_owned(), text(&intent, "id").to_owned());
    s.put(&intent);
    Ok(intent)
}

/// The money of a checkout that was completed unpaid comes or does not.
pub(crate) fn settle(s: &mut State, id: &str, success: bool) -> Answer {
    let mut session = s.get("checkout.session", id)?;
    intents::settle(s, text(&session, "payment_intent"), success)?;
    if success {
        session["payment_status"] = json!("paid");
        s.put_and_emit(&session, "checkout.session.async_payment_succeeded");
    } else {
        s.put_and_emit(&session, "checkout.session.async_payment_failed");
    }
    Ok(session)
}
