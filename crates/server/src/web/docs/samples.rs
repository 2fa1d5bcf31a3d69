//! How an operation is called, in several languages.

use std::fmt::Write;

use pages::docs::{BASE_URL, Panel, ParameterView};
use serde_json::Value;

/// A call.
pub struct Call<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub needs_key: bool,
    /// The answer comes as server-sent events.
    pub streams: bool,
    /// The answer is a file.
    pub binary: bool,
    pub body: Option<&'a Value>,
    pub examples: &'a [ParameterView],
}

/// The call in each language.
pub fn all(call: &Call<'_>) -> Vec<Panel> {
    let panel = |label: &str, code| Panel { label: label.to_owned(), code, output: None };
    vec![panel("curl", curl(call)), panel("Python", python(call)), panel("JavaScript", javascript(call))]
}

/// What stands for something in a path: `JOB_ID`, or a name that exists on most networks.
pub fn placeholder(name: &str, path: &str) -> String {
    match name {
        "slug" | "model" | "workload" => "llm-chat".to_owned(),
        name => {
            let before =
                path.split(&format!("/{{{name}}}")).next().and_then(|before| before.rsplit('/').next());
            let what = before.unwrap_or_default().trim_end_matches('s').replace('-', "_");
            format!("{what}_{name}").to_uppercase()
        }
    }
}

/// JSON for people: short things in one line, the rest indented.
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0, &JSON);
    out
}

/// How a language writes values.
struct Style {
    yes: &'static str,
    no: &'static str,
    null: &'static str,
    step: usize,
    /// Nothing stands after the last part, or a comma.
    last: &'static str,
    bare_names: bool,
}

const JSON: Style = Style { yes: "true", no: "false", null: "null", step: 2, last: "", bare_names: false };
const PYTHON: Style = Style { yes: "True", no: "False", null: "None", step: 4, last: ",", bare_names: false };
const JAVASCRIPT: Style = Style { last: ",", bare_names: true, ..JSON };

/// Longest value that stays in one line.
const LINE: usize = 60;

fn write(out: &mut String, value: &Value, depth: usize, style: &Style) {
    let short = one_line(value, style);
    let parts = match value {
        Value::Object(fields) => fields.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if parts == 0 || short.len() + depth * style.step <= LINE {
        out.push_str(&short);
        return;
    }
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    out.push(open);
    let inner = " ".repeat((depth + 1) * style.step);
    let part = |out: &mut String, index: usize, name: Option<&str>, value: &Value| {
        let _ = write!(out, "\n{inner}");
        if let Some(name) = name {
            let _ = write!(out, "{}: ", quoted(name, style));
        }
        write(out, value, depth + 1, style);
        out.push_str(if index + 1 < parts { "," } else { style.last });
    };
    match value {
        Value::Object(fields) => {
            for (index, (name, value)) in fields.iter().enumerate() {
                part(out, index, Some(name), value);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                part(out, index, None, value);
            }
        }
        _ => {}
    }
    let _ = write!(out, "\n{}{close}", " ".repeat(depth * style.step));
}

fn one_line(value: &Value, style: &Style) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => style.null.to_owned(),
        Value::Bool(yes) => if *yes { style.yes } else { style.no }.to_owned(),
        Value::Array(items) => {
            format!("[{}]", joined(items.iter().map(|item| one_line(item, style)).collect()))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}: {}", quoted(name, style), one_line(value, style))
            };
            format!("{{{}}}", joined(fields.iter().map(field).collect()))
        }
        other => other.to_string(),
    }
}

fn quoted(name: &str, style: &Style) -> String {
    let bare = style.bare_names && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if bare { name.to_owned() } else { Value::from(name).to_string() }
}

fn address(call: &Call<'_>) -> String {
    let mut path = call.path.to_owned();
    let mut query = String::new();
    for parameter in call.examples {
        let name = &parameter.field.name;
        if parameter.place == "path" {
            path = path.replace(&format!("{{{name}}}"), &parameter.example);
        } else if parameter.place == "query" && parameter.field.required {
            let separator = if query.is_empty() { '?' } else { '&' };
            let _ = write!(query, "{separator}{name}={}", placeholder(name, ""));
        }
    }
    format!("{BASE_URL}{path}{query}")
}

fn indented(text: &str, by: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(by)))
}

fn curl(call: &Call<'_>) -> String {
    let mut lines = vec![format!("curl {}\"{}\"", if call.streams { "-N " } else { "" }, address(call))];
    let usual = if call.body.is_some() { "POST" } else { "GET" };
    if call.method != usual {
        lines.push(format!("-X {}", call.method));
    }
    if call.needs_key {
        lines.push("-H \"Authorization: Bearer $ARCHIPELAGO_API_KEY\"".to_owned());
    }
    if let Some(body) = call.body {
        lines.push("-H \"Content-Type: application/json\"".to_owned());
        lines.push(format!("-d '{}'", indented(&json(body).replace('\'', "'\\''"), 2)));
    }
    if call.binary {
        lines.push("-o file.pdf".to_owned());
    }
    lines.join(" \\\n  ")
}

fn python(call: &Call<'_>) -> String {
    let mut out = String::new();
    if call.needs_key {
        out.push_str("import os\n");
    }
    let _ = writeln!(out, "import requests\n\nanswer = requests.{}(", call.method.to_lowercase());
    let _ = writeln!(out, "    \"{}\",", address(call));
    if call.needs_key {
        out.push_str("    headers={\"Authorization\": f\"Bearer {os.environ['ARCHIPELAGO_API_KEY']}\"},\n");
    }
    if let Some(body) = call.body {
        let mut text = String::new();
        write(&mut text, body, 0, &PYTHON);
        let _ = writeln!(out, "    json={},", indented(&text, 4));
    }
    if call.streams {
        out.push_str("    stream=True,\n");
    }
    out.push_str(")\nanswer.raise_for_status()\n");
    out.push_str(match (call.streams, call.binary) {
        (true, _) => "for line in answer.iter_lines(decode_unicode=True):\n    if line.startswith(\"data: \"):\n        print(line[6:])",
        (_, true) => "open(\"file.pdf\", \"wb\").write(answer.content)",
        _ => "print(answer.json())",
    });
    out
}

fn javascript(call: &Call<'_>) -> String {
    let mut options = String::new();
    if call.method != "GET" {
        let _ = writeln!(options, "  method: \"{}\",", call.method);
    }
    let mut headers = Vec::new();
    if call.needs_key {
        headers.push("Authorization: `Bearer ${process.env.ARCHIPELAGO_API_KEY}`");
    }
    if call.body.is_some() {
        headers.push("\"Content-Type\": \"application/json\"");
    }
    match headers.as_slice() {
        [] => {}
        [one] => {
            let _ = writeln!(options, "  headers: {{ {one} }},");
        }
        several => {
            let _ = writeln!(options, "  headers: {{\n    {},\n  }},", several.join(",\n    "));
        }
    }
    if let Some(body) = call.body {
        let mut text = String::new();
        write(&mut text, body, 0, &JAVASCRIPT);
        let _ = writeln!(options, "  body: JSON.stringify({}),", indented(&text, 2));
    }
    let address = address(call);
    let fetched = if options.is_empty() {
        format!("const answer = await fetch(\"{address}\");")
    } else {
        format!("const answer = await fetch(\"{address}\", {{\n{options}}});")
    };
    let read = match (call.streams, call.binary) {
        (true, _) => {
            "for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {\n  process.stdout.write(part);\n}"
        }
        (_, true) => "const file = Buffer.from(await answer.arrayBuffer());",
        _ => "console.log(answer.status, await answer.json());",
    };
    format!("{fetched}\n{read}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_written_in_each_language() {
        let body = json!({"workload": "llm-chat", "input": {"prompt": "What's \"this\"?"}, "confirm": true, "x": null});
        let call = Call {
            method: "POST",
            path: "/api/v1/jobs",
            needs_key: true,
            streams: false,
            binary: false,
            body: Some(&body),
            examples: &[],
        };
        let [curl, python, javascript] = all(&call).try_into().unwrap();
        assert!(curl.code.contains(r#"What'\''s \"this\"?"#), "{}", curl.code);
        assert!(!curl.code.contains("-X "), "{}", curl.code);
        assert!(python.code.contains("\"confirm\": True,"), "{}", python.code);
        assert!(python.code.contains("\"x\": None,"), "{}", python.code);
        assert!(javascript.code.contains("    confirm: true,"), "{}", javascript.code);
    }

    #[test]
    fn what_stands_in_a_path_can_be_recognised() {
        assert_eq!(placeholder("id", "/api/v1/jobs/{id}/stream"), "JOB_ID");
        assert_eq!(placeholder("id", "/api/v1/api-keys/{id}"), "API_KEY_ID");
        assert_eq!(placeholder("slug", "/api/v1/market/book/{slug}"), "llm-chat");
    }
}
