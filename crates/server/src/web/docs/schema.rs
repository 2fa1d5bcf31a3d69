//! JSON Schema in words: a flat list of fields with dotted names, which can be read from top to bottom and searched.

use pages::docs::{FieldView, inline};
use serde_json::{Map, Value};

/// Deeper than this nobody reads.
const DEEPEST: usize = 6;

/// All fields of a body, those of objects in it with dotted names, those of lists with `[]`.
pub fn fields(document: &Value, schema: &Value) -> Vec<FieldView> {
    let mut out = Vec::new();
    let mut open = Vec::new();
    walk(document, schema, "", &mut open, &mut out);
    out
}

/// One value by itself.
pub fn field(document: &Value, name: &str, schema: &Value, required: bool) -> FieldView {
    describe(document, "", name, schema, required)
}

/// The words that a value may be, if it is one of a few.
pub fn choices(document: &Value, schema: &Value) -> Vec<String> {
    let schema = without_null(document, schema);
    let words = schema["enum"].as_array().cloned().or_else(|| constants(document, schema));
    words.into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// What a reference refers to.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEEPEST {
        let Some(path) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) else { break };
        let Some(found) = document.pointer(path) else { break };
        schema = found;
    }
    schema
}

/// The alternatives of a schema.
fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let of = |name: &str| schema[name].as_array().into_iter().flatten();
    of("oneOf").chain(of("anyOf"))
}

fn is_null(schema: &Value) -> bool {
    schema["type"] == "null" || schema["const"].is_null() && schema.get("const").is_some()
}

/// A schema that may also be null, without that.
fn without_null<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let schema = resolve(document, schema);
    let mut others = alternatives(schema).filter(|one| !is_null(resolve(document, one)));
    match (others.next(), others.next()) {
        (Some(only), None) => resolve(document, only),
        _ => schema,
    }
}

/// The words of an enumeration that is written as alternatives.
fn constants(document: &Value, schema: &Value) -> Option<Vec<Value>> {
    let all: Vec<&Value> =
        alternatives(schema).map(|one| resolve(document, one)).filter(|one| !is_null(one)).collect();
    let words: Option<Vec<Vec<Value>>> = all
        .iter()
        .map(|one| {
            one["enum"].as_array().cloned().or_else(|| one.get("const").map(|word| vec![word.clone()]))
        })
        .collect();
    words.map(|words| words.concat()).filter(|words| !words.is_empty())
}

/// The properties of a schema, those of its parts included, each with whether it must be there.
fn properties<'a>(document: &'a Value, schema: &'a Value, out: &mut Vec<(&'a str, &'a Value, bool)>) {
    let schema = resolve(document, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        properties(document, part, out);
    }
    let required = schema["required"].as_array();
    for (name, told) in schema["properties"].as_object().into_iter().flatten() {
        let needed = required.is_some_and(|names| names.iter().any(|one| one == name));
        out.push((name, told, needed));
    }
}

fn walk<'a>(
    document: &'a Value,
    schema: &'a Value,
    within: &str,
    open: &mut Vec<&'a Value>,
    out: &mut Vec<FieldView>,
) {
    let schema = without_null(document, schema);
    // A schema that is a part of itself is written out once.
    if open.len() >= DEEPEST || open.iter().any(|outer| std::ptr::eq(*outer, schema)) {
        return;
    }
    open.push(schema);
    let mut all = Vec::new();
    properties(document, schema, &mut all);
    all.sort_by_key(|(name, _, needed)| (!needed, *name));
    for (name, told, needed) in all {
        out.push(describe(document, within, name, told, needed));
        walk(document, told, &format!("{within}{name}."), open, out);
    }
    if let Some(items) = schema.get("items") {
        let list = within.strip_suffix('.').unwrap_or(within);
        walk(document, items, &format!("{list}[]."), open, out);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        walk(document, values, &format!("{within}*."), open, out);
    }
    let variants: Vec<&Value> = alternatives(schema)
        .map(|one| resolve(document, one))
        .filter(|one| one["properties"].is_object())
        .collect();
    for (index, variant) in variants.iter().enumerate() {
        if variants.len() > 1 {
            out.push(heading(within, index, variant));
        }
        walk(document, variant, within, open, out);
    }
    open.pop();
}

/// The line before the fields of one of several shapes.
fn heading(within: &str, index: usize, variant: &Value) -> FieldView {
    let constant = variant["properties"].as_object().into_iter().flatten();
    let named =
        constant.filter_map(|(name, told)| Some(format!("{name} is {}", told["const"].as_str()?))).next();
    let title = named.or_else(|| variant["title"].as_str().map(str::to_owned));
    FieldView {
        within: within.to_owned(),
        name: title.unwrap_or_else(|| format!("shape {}", index + 1)),
        kind: if index == 0 { "either this" } else { "or this" }.to_owned(),
        about: inline(variant["description"].as_str().unwrap_or_default()),
        ..FieldView::default()
    }
}

fn describe(document: &Value, within: &str, name: &str, told: &Value, required: bool) -> FieldView {
    let meant = without_null(document, told);
    let about =
        [told, resolve(document, told), meant].into_iter().find_map(|one| one["description"].as_str());
    FieldView {
        within: within.to_owned(),
        name: name.to_owned(),
        kind: kind(document, told, 0),
        required,
        about: inline(about.unwrap_or_default()),
        limits: limits(document, told, meant),
    }
}

/// What a value may be, in words.
fn kind(document: &Value, schema: &Value, depth: usize) -> String {
    let schema = resolve(document, schema);
    if depth > DEEPEST {
        return "anything".to_owned();
    }
    let alternatives: Vec<&Value> = alternatives(schema).collect();
    let words: Vec<String> = if constants(document, schema).is_some() || schema.get("const").is_some() {
        vec!["text".to_owned()]
    } else if !alternatives.is_empty() {
        alternatives.iter().map(|one| kind(document, one, depth + 1)).collect()
    } else {
        match &schema["type"] {
            Value::String(one) => vec![simple(document, one, schema, depth)],
            Value::Array(several) => {
                let several = several.iter().filter_map(Value::as_str);
                several.map(|one| simple(document, one, schema, depth)).collect()
            }
            _ if schema["properties"].is_object() || schema["allOf"].is_array() => vec!["object".to_owned()],
            _ => vec!["anything".to_owned()],
        }
    };
    let mut once: Vec<String> = Vec::new();
    for word in words {
        if !once.contains(&word) {
            once.push(word);
        }
    }
    let may_be_null = alternatives.iter().any(|one| is_null(resolve(document, one)));
    if may_be_null && !once.iter().any(|word| word == "null") {
        once.push("null".to_owned());
    }
    once.join(" or ")
}

fn simple(document: &Value, word: &str, schema: &Value, depth: usize) -> String {
    match (word, schema["format"].as_str()) {
        ("string", Some("date-time")) => "time".to_owned(),
        ("string", Some("date")) => "day".to_owned(),
        ("string", Some("uri" | "uri-reference")) => "address".to_owned(),
        ("string", _) => "text".to_owned(),
        ("integer", _) => "whole number".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        ("array", _) => format!("list of {}", kind(document, &schema["items"], depth + 1)),
        (word, _) => word.to_owned(),
    }
}

/// The limits of a value, in words.
fn limits(document: &Value, told: &Value, meant: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let words = choices(document, told);
    if !words.is_empty() {
        out.push(format!("one of {}", words.join(", ")));
    } else if let Some(only) = meant.get("const") {
        out.push(format!("always {only}"));
    }
    let empty = Map::new();
    let rules = meant.as_object().unwrap_or(&empty);
    for (name, before, after) in [
        ("minimum", "at least ", ""),
        ("exclusiveMinimum", "more than ", ""),
        ("maximum", "at most ", ""),
        ("minLength", "at least ", " characters"),
        ("maxLength", "at most ", " characters"),
        ("minItems", "at least ", " in it"),
        ("maxItems", "at most ", " in it"),
        ("maxProperties", "at most ", " in it"),
    ] {
        // What a number type of the code cannot hold anyway is no rule that anybody has to know.
        let number = rules.get(name).filter(|number| number.as_i64().is_none_or(|number| number < 1 << 31));
        if let Some(number) = number.filter(|number| number.as_i64() != Some(0)) {
            out.push(format!("{before}{number}{after}"));
        }
    }
    if let Some(default) = told.get("default").or(rules.get("default")).filter(|default| !default.is_null()) {
        out.push(format!("if left out {default}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(document: &Value, schema: &Value) -> Vec<String> {
        fields(document, schema)
            .iter()
            .map(|field| format!("{}{}: {}", field.within, field.name, field.kind))
            .collect()
    }

    #[test]
    fn references_lists_maps_and_null_are_written_out() {
        let document = json!({"components": {"schemas": {
            "Job": {"type": "object", "required": ["id"], "properties": {
                "id": {"type": "string"}, "state": {"$ref": "#/components/schemas/State"},
                "usage": {"anyOf": [{"$ref": "#/components/schemas/Usage"}, {"type": "null"}]},
                "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Usage"}},
                "tags": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Usage"}}}},
            "State": {"oneOf": [{"const": "on", "description": "x"}, {"enum": ["off"]}]},
            "Usage": {"type": "object", "properties": {"at": {"type": ["string", "null"], "format": "date-time"}}},
        }}});
        let schema = json!({"type": "object", "properties": {"data": {"$ref": "#/components/schemas/Job"}}});
        assert_eq!(
            names(&document, &schema),
            [
                "data: object",
                "data.id: text",
                "data.parts: list of object",
                "data.parts[].at: time or null",
                "data.state: text",
                "data.tags: object",
                "data.tags.*.at: time or null",
                "data.usage: object or null",
                "data.usage.at: time or null",
            ]
        );
        let state = &document["components"]["schemas"]["Job"]["properties"]["state"];
        assert_eq!(choices(&document, state), ["on", "off"]);
        assert_eq!(field(&document, "state", state, false).limits, ["one of on, off"]);
    }

    #[test]
    fn a_schema_within_itself_ends() {
        let document = json!({"components": {"schemas": {"Tree": {"type": "object", "properties": {
            "left": {"$ref": "#/components/schemas/Tree"}, "value": {"type": "integer"}}}}}});
        let schema = json!({"$ref": "#/components/schemas/Tree"});
        assert_eq!(names(&document, &schema), ["left: object", "value: whole number"]);
    }

    #[test]
    fn several_shapes_are_told_apart() {
        let schema = json!({"oneOf": [
            {"type": "object", "properties": {"type": {"const": "token"}, "content": {"type": "string"}}},
            {"type": "object", "properties": {"type": {"const": "done"}}},
        ]});
        assert_eq!(
            names(&json!({}), &schema),
            [
                "type is token: either this",
                "content: text",
                "type: text",
                "type is done: or this",
                "type: text"
            ]
        );
    }

    #[test]
    fn limits_are_told() {
        let schema = json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 20});
        assert_eq!(
            field(&json!({}), "limit", &schema, false).limits,
            ["at least 1", "at most 100", "if left out 20"]
        );
    }
}
