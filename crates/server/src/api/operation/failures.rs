//! The errors an operation may answer with: those of its kind, and those it names.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::{Access, Operation, Repeat};
use crate::error::codes::{self, Code, Kind};

/// The codes an operation may answer with, by status.
#[must_use]
pub fn of(operation: &Operation) -> BTreeMap<u16, Vec<&'static Code>> {
    let mut found: BTreeMap<u16, Vec<&'static Code>> = BTreeMap::new();
    let mut add = |status: u16, code: &'static Code| {
        let codes = found.entry(status).or_default();
        if !codes.iter().any(|known| known.name == code.name) {
            codes.push(code);
        }
    };
    for (status, name) in common(operation) {
        if let Some(code) = codes::find(name) {
            add(status, code);
        }
    }
    for code in operation.errors.iter().filter_map(|name| codes::find(name)) {
        // Codes for anything unclear have many statuses, of which the first is meant.
        let statuses = if matches!(code.name, "bad_request" | "unreadable") {
            &code.statuses[..1]
        } else {
            code.statuses
        };
        statuses.iter().for_each(|status| add(*status, code));
    }
    found
}

/// What every operation of this kind may answer.
fn common(operation: &Operation) -> Vec<(u16, &'static str)> {
    let mut errors = vec![(500, "internal"), (503, "unavailable")];
    let keyed = operation.is_keyed();
    if keyed {
        errors.extend([(401, "unauthenticated"), (403, "missing_scope"), (403, "address_not_allowed")]);
        errors.push((429, "rate_limited"));
    }
    if operation.access == Access::Manage && operation.method != Method::GET {
        errors.extend([(403, "limited_key"), (403, "replaced_key")]);
    }
    if operation.access == Access::Island {
        errors.push((401, "unauthenticated"));
    }
    if operation.parameters.iter().any(|parameter| parameter.place == "path") {
        errors.extend([(400, "bad_request"), (404, "not_found")]);
    }
    if operation.parameters.iter().any(|parameter| parameter.place != "path") {
        errors.push((422, "invalid_field"));
    }
    let has_body = operation.body.is_some();
    if has_body || operation.repeat != Repeat::Plain {
        errors.extend([(400, "unreadable"), (413, "too_large")]);
    }
    if has_body {
        errors.extend([(400, "invalid_json"), (422, "invalid_field")]);
    }
    if operation.repeat != Repeat::Plain {
        errors.extend([(409, "in_flight"), (422, "invalid_field"), (422, "idempotency_key_reused")]);
    }
    if operation.method != Method::GET {
        errors.push((503, "in_doubt"));
    }
    errors
}

/// The schema of an error with one of these codes.
#[must_use]
pub fn schema(found: &[&'static Code]) -> Value {
    let names: Vec<&str> = found.iter().map(|code| code.name).collect();
    let mut properties: Map<String, Value> = Map::new();
    for more in found.iter().flat_map(|code| code.more) {
        let schema = match more.kind {
            Kind::Credits => json!({"type": "number", "description": more.meaning}),
            Kind::Text => json!({"type": "string", "description": more.meaning}),
        };
        properties.insert(more.name.to_owned(), schema);
    }
    properties.insert("code".to_owned(), json!({"type": "string", "enum": names}));
    json!({"allOf": [{"$ref": "#/components/schemas/Error"}, {"properties": properties}]})
}

/// When an error with one of these codes is answered, in Markdown.
#[must_use]
pub fn description(found: &[&'static Code]) -> String {
    let lines: Vec<String> = found.iter().map(|code| format!("* `{}`: {}", code.name, code.cause)).collect();
    lines.join("\n")
}

/// What such an error is called in the document: its status and its codes.
#[must_use]
pub fn name(status: u16, found: &[&'static Code]) -> String {
    let words = found.iter().flat_map(|code| code.name.split('_'));
    let words = words.map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    format!("E{status}{}", words.collect::<String>())
}
