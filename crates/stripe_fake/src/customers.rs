//! Customers.

use serde_json::{Value, json};

use crate::lists;
use crate::params::Params;
use crate::state::{Answer, State};

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    let metadata = p.metadata()?;
    let customer = make(s, &p.json("email"), &p.json("name"), &metadata);
    Ok(customer)
}

/// A new customer, with its event.
pub(crate) fn make(s: &mut State, email: &Value, name: &Value, metadata: &Value) -> Value {
    let customer = json!({
        "id": s.id("cus_"),
        "object": "customer",
        "address": Value::Null,
        "balance": 0,
        "created": s.now(),
        "currency": Value::Null,
        "default_source": Value::Null,
        "delinquent": false,
        "description": Value::Null,
        "discount": Value::Null,
        "email": email,
        "invoice_prefix": s.letters(8).to_uppercase(),
        "invoice_settings": {"custom_fields": Value::Null, "default_payment_method": Value::Null, "footer": Value::Null,
            "rendering_options": Value::Null},
        "livemode": false,
        "metadata": metadata,
        "name": name,
        "next_invoice_sequence": 1,
        "phone": Value::Null,
        "preferred_locales": [],
        "shipping": Value::Null,
        "tax_exempt": "none",
        "test_clock": Value::Null,
    });
    s.put_and_emit(&customer, "customer.created");
    customer
}

pub(crate) fn retrieve(s: &State, id: &str) -> Answer {
    s.get("customer", id)
}

pub(crate) fn update(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut customer = s.get("customer", id)?;
    p.update_metadata(&mut customer)?;
    for field in ["email", "name", "description", "phone"] {
        if p.value.get(field).is_some() {
            customer[field] = p.json(field);
        }
    }
    if let Some(method) = p.below("invoice_settings").text("default_payment_method") {
        customer["invoice_settings"]["default_payment_method"] = json!(method);
    }
    s.put_and_emit(&customer, "customer.updated");
    Ok(customer)
}

pub(crate) fn delete(s: &mut State, id: &str) -> Answer {
    let customer = s.get("customer", id)?;
    s.emit("customer.deleted", &customer);
    let gone = json!({"id": id, "object": "customer", "deleted": true});
    s.put(&gone);
    Ok(gone)
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(s, p, "customer", &["email"], "customers")
}
