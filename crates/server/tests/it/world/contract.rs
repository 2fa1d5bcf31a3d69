//! Every answer of the API that a test gets is held against the OpenAPI document: its status, its media type and its body must be
//! those of the operation, and no field may be there that the document does not have.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use server::api::operation::document::DOCUMENT;

/// The schemas of the document, of which objects have no other fields than those they name.
static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    let mut schemas = DOCUMENT["components"]["schemas"].clone();
    for (name, schema) in schemas.as_object_mut().unwrap() {
        // What an error says besides depends on its code.
        if !name.starts_with("Error") {
            close(schema);
        }
    }
    json!({"schemas": schemas})
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// What a server answered.
pub struct Answered<'a> {
    pub method: &'a str,
    /// With its query.
    pub path: &'a str,
    pub status: u16,
    pub headers: &'a reqwest::header::HeaderMap,
    pub body: &'a str,
}

/// Fails if the document does not know such an answer.
pub fn check(answered: &Answered<'_>) {
    let Answered { method, path, status, headers, body } = answered;
    let path = path.split('?').next().unwrap();
    let Some((template, methods)) = find(path) else { return };
    let Some(operation) = methods.get(method.to_ascii_lowercase()) else {
        assert!(*status == 405 || (*method == "HEAD" && *status < 500), "{method} {path}: {status}");
        return;
    };
    let what = format!("{method} {template}: {status}");
    assert!(headers.contains_key("x-request-id"), "{what}: no request id");
    let response = &operation["responses"][status.to_string()];
    let response = match response["$ref"].as_str() {
        Some(place) => DOCUMENT.pointer(place.trim_start_matches('#')).unwrap(),
        None => response,
    };
    assert!(response.is_object(), "{what} is not documented; it said: {body}");
    let keyed =
        operation["security"].as_array().is_some_and(|keys| keys.iter().any(|key| key["key"].is_array()));
    if keyed && *status < 300 {
        for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
            assert!(headers.contains_key(name), "{what}: no {name}");
        }
    }
    let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap()).unwrap_or_default();
    let media = kind.split(';').next().unwrap().trim();
    let Some(content) = response["content"].as_object() else {
        assert!(body.is_empty(), "{what} has no body by the document: {body}");
        return;
    };
    let schema = content.get(media).unwrap_or_else(|| panic!("{what} as {media:?} is not documented"));
    let event = &schema["schema"]["properties"]["data"]["contentSchema"];
    let schema = if media == "text/event-stream" { event } else { &schema["schema"] };
    let validator = validator(&format!("{what} {media}"), schema);
    match media {
        "application/json" => {
            let value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{what} is no JSON: {body}"));
            fits(&validator, &value, &what);
        }
        "text/event-stream" => {
            let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
            for line in lines.filter(|line| *line != "[DONE]") {
                fits(&validator, &serde_json::from_str(line).unwrap(), &what);
            }
        }
        _ => {}
    }
}

fn fits(validator: &Validator, value: &Value, what: &str) {
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    assert!(errors.is_empty(), "{what} is not as documented: {errors:#?}\n{value:#}");
}

/// The path of the document that this one is an example of: the one with the fewest parameters.
fn find(path: &str) -> Option<(&'static String, &'static Value)> {
    let fits = |template: &str| {
        let (mut wanted, mut given) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some("{model}"), Some(part)) => return !part.is_empty(),
                (Some(name), Some(part)) if name.starts_with('{') => {
                    if part.is_empty() {
                        return false;
                    }
                }
                (Some(name), Some(part)) if name == part => {}
                _ => return false,
            }
        }
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let found = paths.iter().filter(|(template, _)| fits(template));
    found.min_by_key(|(template, _)| template.matches('{').count())
}

fn validator(name: &str, schema: &Value) -> Arc<Validator> {
    let mut validators = VALIDATORS.lock().unwrap();
    let validator = validators.entry(name.to_owned()).or_insert_with(|| {
        let mut whole = schema.as_object().cloned().unwrap_or_else(|| Map::from_iter([]));
        let mut closed = Value::Object(whole.clone());
        if whole.get("allOf").is_none() {
            close(&mut closed);
            whole = closed.as_object().unwrap().clone();
        }
        whole.insert("components".to_owned(), SCHEMAS.clone());
        whole.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        Arc::new(jsonschema::validator_for(&Value::Object(whole)).unwrap())
    });
    Arc::clone(validator)
}

/// No other fields than those that are named.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object)
                && !["additionalProperties", "allOf", "anyOf", "oneOf"]
                    .iter()
                    .any(|key| fields.contains_key(*key))
            {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}
