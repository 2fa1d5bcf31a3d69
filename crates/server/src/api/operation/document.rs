//! The OpenAPI 3.1 document, made from the operations.

use std::sync::LazyLock;

use axum::http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Access, Answers, Operation, Parameter, Repeat, Shape, failures};
use crate::error::ErrorBody;
use crate::error::codes::Code;

/// The document. It is the same for every server: addresses in it are relative.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&crate::api::operations()));

/// What stands before everything else.
const INTRODUCTION: &str = include_str!("introduction.md");

/// The chapters: their names and what they are about.
const CHAPTERS: &[(&str, &str)] = &[
    ("OpenAI", "What clients made for OpenAI's API call, under `/v1` and `/api/v1`."),
    ("Jobs", "Submit a job, watch it, read what came out of it, and prove what it cost."),
    ("Batches", "Many inputs in one request."),
    ("Cargos", "What can be run on this network."),
    ("Exchange", "Prices: what is asked, what was paid, what a job would cost."),
    ("Account", "Who you are and what you have."),
    ("Credits", "Buying credits, and every movement of them."),
    ("Top-ups", "Credits that are bought by themselves when few are left."),
    ("Usage", "What was used and what it cost."),
    ("API keys", "Keys for programs, with scopes and limits."),
    ("Webhooks", "Being told when something happens."),
    ("Islands", "Machines that earn: their state, their asks, how they join."),
    ("Payouts", "What Islands earned, paid out."),
    ("Verification", "Proving who you are, which spending asks for."),
    ("Server", "About the server itself."),
];

/// The two directions a type can be read in: what callers send, and what they get. And the errors, which many operations share.
struct Schemas {
    sent: SchemaGenerator,
    got: SchemaGenerator,
    errors: Map<String, Value>,
}

/// The document of these operations.
#[must_use]
pub fn document(operations: &[Operation]) -> Value {
    let settings = || {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings
    };
    let mut schemas = Schemas {
        sent: settings().for_deserialize().into_generator(),
        got: settings().for_serialize().into_generator(),
        errors: Map::new(),
    };
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        for (index, base) in operation.bases.iter().enumerate() {
            let path = format!("{base}{}", operation.path.replace("{*", "{"));
            let methods = paths.entry(path).or_insert_with(|| json!({}));
            methods[operation.method.as_str().to_ascii_lowercase()] =
                describe(operation, index, &mut schemas);
        }
    }
    let _: schemars::Schema = schemas.got.subschema_for::<ErrorBody>();
    let errors = std::mem::take(&mut schemas.errors);
    let definitions = merged(schemas, &mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Archipelago", "version": env!("CARGO_PKG_VERSION"),
            "summary": "A compute network with a credit economy.", "description": INTRODUCTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This server."}],
        "tags": chapters(operations),
        "paths": paths,
        "components": {
            "schemas": definitions,
            "responses": errors,
            "headers": headers(),
            "securitySchemes": {
                "key": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "ak_…",
                    "description": "An API key, made under Settings or with `POST /api/v1/api-keys`.",
                },
                "island": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "it_…",
                    "description": "The token of an Island, made under Islands or by pairing.",
                },
            },
        },
    })
}

/// The chapters that operations stand in.
fn chapters(operations: &[Operation]) -> Vec<Value> {
    let known = CHAPTERS.iter().filter(|(name, _)| operations.iter().any(|operation| operation.tag == *name));
    known.map(|(name, description)| json!({"name": name, "description": description})).collect()
}

/// The definitions of both directions. One that differs gets another name where it is sent.
fn merged(mut schemas: Schemas, paths: &mut Map<String, Value>) -> Map<String, Value> {
    let mut all = schemas.got.take_definitions(true);
    let mut sent = schemas.sent.take_definitions(true);
    let differing: Vec<String> = sent
        .iter()
        .filter(|(name, schema)| all.get(*name).is_some_and(|got| got != *schema))
        .map(|(name, _)| name.clone())
        .collect();
    let renamed = |schema: &mut Value| rename(schema, &differing);
    for path in paths.values_mut().filter_map(Value::as_object_mut) {
        for operation in path.values_mut() {
            ["parameters", "requestBody"].iter().for_each(|part| renamed(&mut operation[*part]));
            if operation["requestBody"].is_null()
                && let Some(operation) = operation.as_object_mut()
            {
                operation.remove("requestBody");
            }
        }
    }
    sent.values_mut().for_each(renamed);
    for (name, schema) in sent {
        let name = if differing.contains(&name) { format!("{name}Sent") } else { name };
        all.insert(name, schema);
    }
    all
}

fn rename(value: &mut Value, names: &[String]) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "$ref" => {
                        let name = text.rsplit('/').next().unwrap_or_default().to_owned();
                        if names.contains(&name) {
                            text.push_str("Sent");
                        }
                    }
                    value => rename(value, names),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

fn describe(operation: &Operation, index: usize, schemas: &mut Schemas) -> Value {
    // The second address of an operation needs a name of its own.
    let name = if index == 0 { operation.name.to_owned() } else { format!("{}BelowApi", operation.name) };
    let mut parameters: Vec<Value> = operation
        .parameters
        .iter()
        .map(|parameter| describe_parameter(parameter, &mut schemas.sent))
        .collect();
    if operation.repeat != Repeat::Plain {
        parameters.push(idempotency_key(operation.repeat));
    }
    let mut described = json!({
        "operationId": name, "summary": operation.summary, "description": operation.description,
        "tags": [operation.tag], "parameters": parameters, "responses": responses(operation, schemas),
        "x-access": match operation.access {
            Access::Public => "public",
            Access::Read => "read",
            Access::Write => "write",
            Access::Manage => "manage",
            Access::Island => "island",
            Access::Signed => "signed",
        },
        "x-idempotent": operation.repeat != Repeat::Plain || operation.method == Method::GET,
    });
    match operation.access {
        Access::Read | Access::Write | Access::Manage => described["security"] = json!([{"key": []}]),
        Access::Island => described["security"] = json!([{"island": []}]),
        Access::Public | Access::Signed => described["security"] = json!([]),
    }
    if let Some(body) = &operation.body {
        described["requestBody"] = json!({"required": true, "content": content(body, &mut schemas.sent)});
    }
    described
}

fn describe_parameter(parameter: &Parameter, generator: &mut SchemaGenerator) -> Value {
    json!({
        "name": parameter.name, "in": parameter.place, "required": parameter.place == "path",
        "description": parameter.description, "schema": (parameter.schema)(generator),
    })
}

fn idempotency_key(repeat: Repeat) -> Value {
    let what = match repeat {
        Repeat::Job => "the answer is how the job of the first request ended",
        Repeat::Plain | Repeat::Answer | Repeat::Sealed => "the first answer is given again, for 24 hours",
    };
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": format!("Your name for this request. When it is repeated with the same key, nothing happens twice: {what}."),
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    })
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Map<String, Value> {
    let mut responses: Map<String, Value> = Map::new();
    for answer in &operation.answers {
        let described = responses.entry(answer.status.to_string()).or_insert_with(|| {
            json!({"description": answer.description, "headers": answer_headers(operation, answer.status)})
        });
        add_content(answer, described, &mut schemas.got);
    }
    for (status, codes) in failures::of(operation) {
        let name = failures::name(status, &codes);
        responses.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
        schemas.errors.entry(name).or_insert_with(|| failure(status, &codes));
    }
    responses
}

/// An answer that is an error with one of these codes.
fn failure(status: u16, codes: &[&'static Code]) -> Value {
    let mut headers = json!({"X-Request-Id": header("X-Request-Id")});
    if matches!(status, 409 | 429 | 503) {
        headers["Retry-After"] = header("Retry-After");
    }
    json!({
        "description": failures::description(codes),
        "headers": headers,
        "content": {"application/json": {"schema": failures::schema(codes)}},
    })
}

/// An answer may have several media types.
fn add_content(answer: &Answers, described: &mut Value, generator: &mut SchemaGenerator) {
    let Some(shape) = &answer.shape else { return };
    if let (Some(known), Value::Object(more)) =
        (described["content"].as_object_mut(), content(shape, generator))
    {
        known.extend(more);
    } else {
        described["content"] = content(shape, generator);
    }
}

fn content(shape: &Shape, generator: &mut SchemaGenerator) -> Value {
    let schema = (shape.schema)(generator);
    let mut described = if shape.media == "text/event-stream" {
        // What is described is each event; what it says is JSON in its `data`.
        let data = json!({"type": "string", "contentMediaType": "application/json", "contentSchema": schema});
        json!({"schema": {"type": "object", "properties": {"data": data}, "required": ["data"]}})
    } else {
        json!({"schema": schema})
    };
    if let Some(example) = &shape.example {
        described["example"] = example.clone();
    }
    json!({shape.media: described})
}

fn answer_headers(operation: &Operation, status: u16) -> Value {
    let mut names = vec!["X-Request-Id"];
    if operation.is_keyed() {
        names.extend(["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]);
    }
    if operation.repeat != Repeat::Plain && (200..300).contains(&status) {
        names.push("Idempotent-Replayed");
    }
    if operation.repeat == Repeat::Job {
        names.extend(["X-Job-Id", "X-Credits-Used"]);
    }
    names.into_iter().map(|name| (name.to_owned(), header(name))).collect::<Map<_, _>>().into()
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn headers() -> Value {
    let number = |required: bool, description: &str| json!({"required": required, "description": description, "schema": {"type": "integer", "minimum": 0}});
    json!({
        "X-Request-Id": {"required": true, "description": "The number of this request, to tell the operator.", "schema": {"type": "string"}},
        "X-RateLimit-Limit": number(true, "How many such requests a minute the key may make."),
        "X-RateLimit-Remaining": number(true, "How many of them are left now."),
        "X-RateLimit-Reset": number(true, "In how many seconds all of them are there again."),
        "Retry-After": number(false, "After how many seconds trying again makes sense."),
        "X-Job-Id": {"required": false, "description": "The job that answers.", "schema": {"type": "string"}},
        "X-Credits-Used": {"required": false, "description": "What it cost, in credits; not where the answer is streamed.", "schema": {"type": "string"}},
        "Idempotent-Replayed": {
            "required": false, "description": "There if this is the answer to an earlier request with the same `Idempotency-Key`.",
            "schema": {"type": "string", "enum": ["true"]},
        },
    })
}
