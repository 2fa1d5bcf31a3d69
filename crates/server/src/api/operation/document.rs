//! The OpenAPI 3.1 document, made from the operations.

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Access, Answers, Operation, Parameter, Repeat, Shape};

/// The document. It is the same for every server: addresses in it are relative.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&crate::api::operations()));

/// The document of these operations.
#[must_use]
pub fn document(operations: &[Operation]) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        for (index, base) in operation.bases.iter().enumerate() {
            let path = format!("{base}{}", operation.path.replace("{*", "{"));
            let methods = paths.entry(path).or_insert_with(|| json!({}));
            methods[operation.method.as_str().to_ascii_lowercase()] =
                describe(operation, index, &mut generator);
        }
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Archipelago", "version": env!("CARGO_PKG_VERSION")},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn describe(operation: &Operation, index: usize, generator: &mut SchemaGenerator) -> Value {
    // The second address of an operation needs a name of its own.
    let name = if index == 0 { operation.name.to_owned() } else { format!("{}BelowApi", operation.name) };
    let mut responses: Map<String, Value> = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.to_string(), answers(answer, generator));
    }
    let parameters: Vec<Value> =
        operation.parameters.iter().map(|parameter| describe_parameter(parameter, generator)).collect();
    let mut described = json!({
        "operationId": name, "summary": operation.summary, "description": operation.description,
        "tags": [operation.tag], "parameters": parameters, "responses": responses,
        "x-access": match operation.access {
            Access::Public => "public",
            Access::Read => "read",
            Access::Write => "write",
            Access::Manage => "manage",
            Access::Island => "island",
            Access::Signed => "signed",
        },
        "x-idempotent": operation.repeat != Repeat::Plain,
    });
    if matches!(operation.access, Access::Read | Access::Write | Access::Manage) {
        described["security"] = json!([{"key": []}]);
    }
    if let Some(body) = &operation.body {
        described["requestBody"] = json!({"required": true, "content": content(body, generator)});
    }
    described
}

fn describe_parameter(parameter: &Parameter, generator: &mut SchemaGenerator) -> Value {
    json!({
        "name": parameter.name, "in": parameter.place, "required": parameter.place == "path",
        "description": parameter.description, "schema": (parameter.schema)(generator),
    })
}

fn answers(answer: &Answers, generator: &mut SchemaGenerator) -> Value {
    let mut described = json!({"description": answer.description});
    if let Some(shape) = &answer.shape {
        described["content"] = content(shape, generator);
    }
    described
}

fn content(shape: &Shape, generator: &mut SchemaGenerator) -> Value {
    let mut described = json!({"schema": (shape.schema)(generator)});
    if let Some(example) = &shape.example {
        described["example"] = example.clone();
    }
    json!({shape.media: described})
}
