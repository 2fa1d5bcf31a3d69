//! Payment intents: attempts to be paid.

use serde_json::{Value, json};

use crate::card::{Card, decline_error};
use crate::charges::{self, Outcome};
use crate::error::ApiError;
use crate::params::Params;
use crate::state::{Answer, State, int, text, yes};
use crate::{lists, methods};

/// The least that can be charged.
const LEAST_CENTS: i64 = 50;

/// A new intent that nobody has tried to pay, with its event.
pub(crate) fn make(s: &mut State, amount: i64, currency: &str, customer: &Value, metadata: &Value) -> Value {
    let id = s.id("pi_");
    let intent = json!({
        "client_secret": format!("{id}_secret_{}", s.letters(24)),
        "id": id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": Value::Null,
        "application_fee_amount": Value::Null,
        "automatic_payment_methods": Value::Null,
        "canceled_at": Value::Null,
        "cancellation_reason": Value::Null,
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "created": s.now(),
        "currency": currency,
        "customer": customer,
        "description": Value::Null,
        "last_payment_error": Value::Null,
        "latest_charge": Value::Null,
        "livemode": false,
        "metadata": metadata,
        "next_action": Value::Null,
        "on_behalf_of": Value::Null,
        "payment_method": Value::Null,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "processing": Value::Null,
        "receipt_email": Value::Null,
        "review": Value::Null,
        "setup_future_usage": Value::Null,
        "shipping": Value::Null,
        "source": Value::Null,
        "statement_descriptor": Value::Null,
        "statement_descriptor_suffix": Value::Null,
        "status": "requires_payment_method",
        "transfer_data": Value::Null,
        "transfer_group": Value::Null,
    });
    s.put_and_emit(&intent, "payment_intent.created");
    intent
}

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    let amount = p.amount("amount")?.ok_or_else(|| ApiError::missing("amount"))?;
    let currency = p.need("currency")?.to_lowercase();
    if amount < LEAST_CENTS {
        let message = "Amount must be at least $0.50 usd";
        return Err(ApiError::bad("amount", message).code("amount_too_small"));
    }
    if p.yes("off_session") && !p.yes("confirm") {
        let message = "You can only pass in `off_session` when `confirm` is `true`.";
        return Err(ApiError::bad("off_session", message));
    }
    if p.yes("confirm") && p.text("payment_method").is_none() {
        let message = "You cannot confirm this PaymentIntent because it's missing a payment method. You can either \
                       update the PaymentIntent with a payment method and then confirm it again, or confirm it again \
                       directly with a payment method or ConfirmationToken.";
        return Err(ApiError::refused("payment_intent_unexpected_state", message));
    }
    let metadata = p.metadata()?;
    let customer = p.json("customer");
    if let Some(customer) = p.text("customer") {
        s.get_for("customer", customer, "customer")?;
    }
    let method = p.text("payment_method").map(|id| usable(s, id, &customer)).transpose()?;
    let mut intent = make(s, amount, &currency, &customer, &metadata);
    for field in [
        "description",
        "receipt_email",
        "setup_future_usage",
        "statement_descriptor_suffix",
        "transfer_group",
    ] {
        intent[field] = p.json(field);
    }
    if let Some(method) = method {
        intent["payment_method"] = method["id"].clone();
        intent["status"] = json!("requires_confirmation");
        s.put(&intent);
        if p.yes("confirm") {
            return attempt_for_api(s, intent, &method, nobody_there(p));
        }
    }
    s.put(&intent);
    Ok(intent)
}

/// The payment method, if this customer may be charged with it.
fn usable(s: &mut State, id: &str, customer: &Value) -> Answer {
    let method = methods::named(s, id)?;
    let owner = &method["customer"];
    if !owner.is_null() && owner != customer {
        let message = if customer.is_null() {
            format!(
                "The PaymentMethod {id} belongs to the Customer {}. Please include the Customer in the `customer` \
                 parameter on the PaymentIntent.",
                owner.as_str().unwrap_or_default()
            )
        } else {
            format!(
                "The customer does not have a payment method with the ID {id}. The payment method must be attached to the customer."
            )
        };
        return Err(ApiError::bad("payment_method", message).code("resource_missing"));
    }
    if owner.is_null() && !customer.is_null() && Card::of_token(id).is_none() {
        let message = format!(
            "The customer does not have a payment method with the ID {id}. The payment method must be attached to the customer."
        );
        return Err(ApiError::bad("payment_method", message).code("resource_missing"));
    }
    Ok(method)
}

/// Whether a card that wants its owner is declined.
fn nobody_there(p: &Params) -> bool {
    p.yes("off_session") || p.yes("error_on_requires_action")
}

/// An attempt whose failure is told as an error of the request.
fn attempt_for_api(s: &mut State, mut intent: Value, method: &Value, off_session: bool) -> Answer {
    match attempt(s, &mut intent, method, off_session) {
        Ok(()) => Ok(intent),
        Err(mut error) => {
            error["payment_intent"] = intent;
            Err(ApiError::card(error))
        }
    }
}

/// Tries to take the money; the error is the object that stays as `last_payment_error`.
pub(crate) fn attempt(
    s: &mut State,
    intent: &mut Value,
    method: &Value,
    off_session: bool,
) -> Result<(), Value> {
    let card = s.cards.get(text(method, "id")).cloned().unwrap_or(Card::Ok);
    let card = if card == Card::Authentication && off_session {
        Card::declined("authentication_required")
    } else {
        card
    };
    match card {
        Card::Ok => {
            intent["payment_method"] = method["id"].clone();
            let charge = charges::make(s, intent, method, &Outcome::Paid);
            succeed(s, intent, &charge);
            Ok(())
        }
        Card::Delayed => {
            intent["payment_method"] = method["id"].clone();
            let charge = charges::make(s, intent, method, &Outcome::Pending);
            intent["latest_charge"] = charge["id"].clone();
            intent["status"] = json!("processing");
            s.put_and_emit(intent, "payment_intent.processing");
            Ok(())
        }
        Card::Authentication => {
            intent["payment_method"] = method["id"].clone();
            intent["status"] = json!("requires_action");
            let url = format!("{}/3ds/{}", s.base, text(intent, "id"));
            intent["next_action"] = json!({"type": "redirect_to_url", "redirect_to_url": {"return_url": Value::Null, "url": url}});
            s.put_and_emit(intent, "payment_intent.requires_action");
            Ok(())
        }
        Card::Declined(code) => {
            let charge = charges::make(s, intent, method, &Outcome::Failed(&code));
            Err(fail(s, intent, &charge, &code, method))
        }
    }
}

/// The money has come.
pub(crate) fn succeed(s: &mut State, intent: &mut Value, charge: &Value) {
    intent["status"] = json!("succeeded");
    intent["amount_received"] = intent["amount"].clone();
    intent["latest_charge"] = charge["id"].clone();
    intent["last_payment_error"] = Value::Null;
    intent["next_action"] = Value::Null;
    s.put_and_emit(intent, "payment_intent.succeeded");
}

/// The money does not come.
pub(crate) fn fail(s: &mut State, intent: &mut Value, charge: &Value, code: &str, method: &Value) -> Value {
    let error = decline_error(code, text(charge, "id"), method);
    intent["status"] = json!("requires_payment_method");
    intent["payment_method"] = Value::Null;
    intent["latest_charge"] = charge["id"].clone();
    intent["last_payment_error"] = error.clone();
    intent["next_action"] = Value::Null;
    s.put_and_emit(intent, "payment_intent.payment_failed");
    error
}

pub(crate) fn confirm(s: &mut State, id: &str, p: &Params) -> Answer {
    let intent = s.get("payment_intent", id)?;
    let status = text(&intent, "status").to_owned();
    if !["requires_payment_method", "requires_confirmation", "requires_action"].contains(&status.as_str()) {
        return Err(unexpected("confirm", &intent));
    }
    let method = p.text("payment_method").or(intent["payment_method"].as_str()).map(str::to_owned);
    let Some(method) = method else {
        let message = "You cannot confirm this PaymentIntent because it's missing a payment method.";
        return Err(ApiError::refused("payment_intent_unexpected_state", message));
    };
    let method = usable(s, &method, &intent["customer"])?;
    attempt_for_api(s, intent, &method, nobody_there(p))
}

pub(crate) fn cancel(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut intent = s.get("payment_intent", id)?;
    if ["succeeded", "canceled", "processing"].contains(&text(&intent, "status")) {
        return Err(unexpected("cancel", &intent));
    }
    intent["status"] = json!("canceled");
    intent["canceled_at"] = json!(s.now());
    intent["cancellation_reason"] = p.json("cancellation_reason");
    intent["next_action"] = Value::Null;
    s.put_and_emit(&intent, "payment_intent.canceled");
    Ok(intent)
}

pub(crate) fn update(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut intent = s.get("payment_intent", id)?;
    p.update_metadata(&mut intent)?;
    if p.value.get("description").is_some() {
        intent["description"] = p.json("description");
    }
    s.put(&intent);
    Ok(intent)
}

fn unexpected(verb: &str, intent: &Value) -> ApiError {
    let status = text(intent, "status");
    let message = format!("You cannot {verb} this PaymentIntent because it has a status of {status}.");
    let mut error = ApiError::refused("payment_intent_unexpected_state", message);
    error.body.insert("payment_intent".to_owned(), intent.clone());
    error
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(s, p, "payment_intent", &["customer"], "payment_intents")
}

/// Whoever owns the card has been there, or would not.
pub(crate) fn authenticate(s: &mut State, id: &str, agreed: bool) -> Answer {
    let mut intent = s.get("payment_intent", id)?;
    if text(&intent, "status") != "requires_action" {
        return Err(unexpected("authenticate", &intent));
    }
    let method = s.get("payment_method", text(&intent, "payment_method"))?;
    if agreed {
        let charge = charges::make(s, &intent, &method, &Outcome::Paid);
        succeed(s, &mut intent, &charge);
    } else {
        intent["status"] = json!("requires_payment_method");
        intent["payment_method"] = Value::Null;
        intent["next_action"] = Value::Null;
        intent["last_payment_error"] = json!({
            "type": "invalid_request_error", "code": "payment_intent_authentication_failure",
            "message": "The provided PaymentMethod has failed authentication.", "payment_method": method,
        });
        s.put_and_emit(&intent, "payment_intent.payment_failed");
    }
    Ok(intent)
}

/// The pending charge of an intent comes in or does not.
pub(crate) fn settle(s: &mut State, id: &str, success: bool) -> Result<Value, ApiError> {
    let mut intent = s.get("payment_intent", id)?;
    let mut charge = s.get("charge", text(&intent, "latest_charge"))?;
    if text(&intent, "status") != "processing" || yes(&charge, "paid") {
        return Err(unexpected("settle", &intent));
    }
    let method = s.get("payment_method", text(&intent, "payment_method"))?;
    debug_assert_eq!(int(&intent, "amount"), int(&charge, "amount"));
    if success {
        charges::finish(s, &mut charge, &Outcome::Paid);
        succeed(s, &mut intent, &charge);
    } else {
        charges::finish(s, &mut charge, &Outcome::Failed("generic_decline"));
        fail(s, &mut intent, &charge, "generic_decline", &method);
    }
    Ok(intent)
}
