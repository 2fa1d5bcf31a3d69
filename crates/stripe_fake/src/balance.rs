//! Balances, their movements, and the record of events.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, State, text};

pub(crate) fn retrieve(s: &State, p: &Params) -> Value {
    let account = p.account.as_deref().unwrap_or_default();
    let sum = |cents: Option<&i64>| {
        let cents = cents.copied().unwrap_or_default();
        json!([{"amount": cents, "currency": "usd", "source_types": {"card": cents}}])
    };
    json!({
        "object": "balance",
        "available": sum(s.available.get(account)),
        "connect_reserved": [{"amount": 0, "currency": "usd"}],
        "livemode": false,
        "pending": sum(s.pending.get(account)),
    })
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(s, p, "balance_transaction", &["source", "type", "payout"], "balance_transactions")
}

/// The event, with how many of its deliveries are outstanding.
fn shown(s: &State, event: &Value) -> Value {
    let mut event = event.clone();
    event["pending_webhooks"] = json!(u8::from(!s.delivered.contains(text(&event, "id"))));
    event
}

pub(crate) fn event(s: &State, id: &str) -> Answer {
    let event = s.events.iter().find(|event| text(event, "id") == id);
    event.map(|event| shown(s, event)).ok_or_else(|| ApiError::no_such("event", id, "id").not_found())
}

pub(crate) fn events(s: &State, p: &Params) -> Answer {
    let kinds: Vec<&str> =
        p.value["types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if kinds.len() > 20 {
        return Err(ApiError::bad("types", "You may pass up to 20 types."));
    }
    let one = p.text("type");
    let success = p.text("delivery_success").map(|text| text == "true");
    let fits = |kind: &str, wanted: &str| match wanted.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => kind == wanted,
    };
    let events: Vec<Value> = s
        .events
        .iter()
        .filter(|event| {
            let kind = text(event, "type");
            // Events of connected accounts are seen by asking as that account.
            event["account"].as_str() == p.account.as_deref()
                && one.is_none_or(|wanted| fits(kind, wanted))
                && (kinds.is_empty() || kinds.iter().any(|wanted| fits(kind, wanted)))
                && success.is_none_or(|wanted| s.delivered.contains(text(event, "id")) == wanted)
        })
        .map(|event| shown(s, event))
        .collect();
    lists::page(events.iter(), p, "events")
}
