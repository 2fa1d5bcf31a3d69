//! Payment methods.

use serde_json::{Value, json};

use crate::card::Card;
use crate::error::ApiError;
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, State, text};

/// A new card nobody has yet.
pub(crate) fn make(s: &mut State, card: &Card) -> Value {
    let fingerprint = s.next_fingerprint.take().unwrap_or_else(|| s.letters(16));
    let method = json!({
        "id": s.id("pm_"),
        "object": "payment_method",
        "allow_redisplay": "limited",
        "billing_details": {
            "address": {"city": Value::Null, "country": "US", "line1": Value::Null, "line2": Value::Null,
                "postal_code": "94107", "state": Value::Null},
            "email": Value::Null, "name": "Jenny Rosen", "phone": Value::Null, "tax_id": Value::Null,
        },
        "card": {
            "brand": "visa",
            "checks": {"address_line1_check": Value::Null, "address_postal_code_check": "pass", "cvc_check": "pass"},
            "country": "US",
            "display_brand": "visa",
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": fingerprint,
            "funding": "credit",
            "generated_from": Value::Null,
            "last4": card.last4(),
            "networks": {"available": ["visa"], "preferred": Value::Null},
            "three_d_secure_usage": {"supported": true},
            "wallet": Value::Null,
        },
        "created": s.now(),
        "customer": Value::Null,
        "livemode": false,
        "metadata": {},
        "type": "card",
    });
    s.cards.insert(text(&method, "id").to_owned(), card.clone());
    s.put(&method);
    method
}

/// Gives a card to a customer.
pub(crate) fn give(s: &mut State, method: &mut Value, customer: &str) {
    method["customer"] = json!(customer);
    s.put_and_emit(method, "payment_method.attached");
}

/// The payment method a parameter names; test mode's names make a new one.
pub(crate) fn named(s: &mut State, id: &str) -> Answer {
    match Card::of_token(id) {
        Some(card) => Ok(make(s, &card)),
        None => s
            .find("payment_method", id)
            .cloned()
            .ok_or_else(|| ApiError::no_such("payment_method", id, "payment_method")),
    }
}

pub(crate) fn attach(s: &mut State, id: &str, p: &Params) -> Answer {
    let customer = s.get_for("customer", p.need("customer")?, "customer")?;
    let mut method = named(s, id)?;
    if method["customer"].is_string() {
        let message = "The payment method you provided has already been attached to a customer.";
        return Err(ApiError::refused("payment_method_unexpected_state", message));
    }
    give(s, &mut method, text(&customer, "id"));
    Ok(method)
}

pub(crate) fn detach(s: &mut State, id: &str) -> Answer {
    let mut method = s.get("payment_method", id)?;
    if method["customer"].is_null() {
        let message =
            "The payment method you provided is not attached to a customer so detachment is impossible.";
        return Err(ApiError::refused("", message));
    }
    method["customer"] = Value::Null;
    s.put_and_emit(&method, "payment_method.detached");
    Ok(method)
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    if let Some(customer) = p.text("customer") {
        s.get_for("customer", customer, "customer")?;
        return lists::list(s, p, "payment_method", &["customer", "type"], "payment_methods");
    }
    lists::page(s.all("payment_method").iter().take(0), p, "payment_methods")
}

pub(crate) fn list_of(s: &State, customer: &str, p: &Params) -> Answer {
    s.get("customer", customer)?;
    let wanted = p.text("type");
    let rows = s.all("payment_method").iter().filter(|method| {
        text(method, "customer") == customer && wanted.is_none_or(|kind| text(method, "type") == kind)
    });
    lists::page(rows, p, &format!("customers/{customer}/payment_methods"))
}

pub(crate) fn retrieve_of(s: &State, customer: &str, id: &str) -> Answer {
    let method = s.get("payment_method", id)?;
    if text(&method, "customer") == customer {
        Ok(method)
    } else {
        Err(ApiError::no_such("payment_method", id, "payment_method").not_found())
    }
}
