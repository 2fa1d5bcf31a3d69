//! What a job may be asked: checked against its Cargo before anything is matched, held or sent.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::JobError;
use super::message::MAX_TOOLS;
use crate::config::WorkloadKind;
use crate::marketplace::Workload;
use crate::marketplace::measure::{Measure, Request};

/// Most messages in a conversation.
pub const MAX_MESSAGES: usize = 128;
/// Longest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024;
/// Most tokens that may be asked for.
pub const MAX_TOKENS: i64 = 4096;
/// Longest description of an image, in bytes.
pub const MAX_IMAGE_PROMPT_BYTES: usize = 8 * 1024;
/// Largest side of an image, in pixels.
pub const MAX_IMAGE_SIDE: i64 = 2048;
/// Most steps an image may take.
pub const MAX_STEPS: i64 = 150;
/// Most texts whose vectors are asked for at once.
pub const MAX_TEXTS: usize = 2048;
/// Most numbers that a vector may be asked to have.
pub const MAX_DIMENSIONS: i64 = 8192;
/// Largest description of the tools, or of the form of an answer, in bytes of JSON.
pub const MAX_DESCRIPTION_BYTES: usize = 256 * 1024;
/// Largest input as a whole, in bytes of JSON.
pub const MAX_INPUT_BYTES: usize = MAX_MESSAGES * MAX_MESSAGE_BYTES;

/// A checked input.
#[derive(Debug)]
pub struct Input {
    /// As it is stored and sent to the Island.
    pub json: Box<RawValue>,
    /// What it asks for, as far as that decides what it can cost.
    pub request: Request,
}

/// Checks an input against its Cargo.
///
/// # Errors
/// [`JobError::Invalid`] naming the field.
pub fn check(workload: &Workload, input: &RawValue) -> Result<Input, JobError> {
    if input.get().len() > MAX_INPUT_BYTES {
        return invalid("input", "is too large");
    }
    let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(input.get()) else {
        return invalid("input", "must be an object, such as {\"prompt\": \"Hello\"}");
    };
    let request = match workload.kind {
        WorkloadKind::Chat => {
            check_chat(&object)?;
            complete_chat(&mut object, &workload.measure)
        }
        WorkloadKind::Image => {
            check_image(&object)?;
            complete_image(&mut object)
        }
        WorkloadKind::Embedding => check_texts(&object)?,
    };
    // Written anew: no duplicate keys, no odd white space, nothing an Island's parser could read differently.
    let json = RawValue::from_string(Value::Object(object).to_string())
        .map_err(|error| JobError::Invalid { field: "input".to_owned(), message: error.to_string() })?;
    Ok(Input { json, request })
}

fn check_chat(input: &Map<String, Value>) -> Result<(), JobError> {
    match (input.get("prompt"), input.get("messages")) {
        (Some(prompt), None) => text("input.prompt", prompt, MAX_MESSAGE_BYTES)?,
        (None, Some(Value::Array(messages))) => check_messages(messages)?,
        (None, Some(_)) => return invalid("input.messages", "must be a list of messages"),
        (Some(_), Some(_)) => return invalid("input", "must have either prompt or messages, not both"),
        (None, None) => return invalid("input.prompt", "is missing: what should be answered?"),
    }
    if let Some(system) = given(input, "system_prompt") {
        text("input.system_prompt", system, MAX_MESSAGE_BYTES)?;
    }
    for name in ["max_tokens", "max_completion_tokens"] {
        if let Some(value) = given(input, name) {
            whole(&format!("input.{name}"), value, 0, MAX_TOKENS)?;
        }
    }
    number(input, "temperature", 0, 2)?;
    number(input, "top_p", 0, 1)?;
    check_tools(input)?;
    check_form(input)?;
    refuse_the_impossible(input)
}

/// Tools are functions, described to the model, which may answer by calling them.
fn check_tools(input: &Map<String, Value>) -> Result<(), JobError> {
    let Some(tools) = given(input, "tools") else {
        return match given(input, "tool_choice") {
            Some(Value::String(choice)) if choice == "none" || choice == "auto" => Ok(()),
            Some(_) => invalid("input.tool_choice", "has no tools to choose from"),
            None => Ok(()),
        };
    };
    let Value::Array(tools) = tools else { return invalid("input.tools", "must be a list of tools") };
    if tools.is_empty() || tools.len() > MAX_TOOLS {
        return invalid("input.tools", &format!("must have 1 to {MAX_TOOLS} tools"));
    }
    for (index, tool) in tools.iter().enumerate() {
        if tool["type"] != "function" {
            return invalid(&format!("input.tools[{index}].type"), "must be function");
        }
        text(&format!("input.tools[{index}].function.name"), &tool["function"]["name"], 64)?;
    }
    description("input.tools", given(input, "tools"))
}

/// An answer may be wanted as JSON.
fn check_form(input: &Map<String, Value>) -> Result<(), JobError> {
    let Some(form) = given(input, "response_format") else { return Ok(()) };
    match form["type"].as_str() {
        Some("text" | "json_object") => {}
        Some("json_schema") if form["json_schema"].is_object() => {}
        Some("json_schema") => return invalid("input.response_format.json_schema", "must be an object"),
        _ => return invalid("input.response_format.type", "must be text, json_object or json_schema"),
    }
    description("input.response_format", Some(form))
}

fn description(field: &str, value: Option<&Value>) -> Result<(), JobError> {
    match value.map_or(0, |value| value.to_string().len()) {
        0..=MAX_DESCRIPTION_BYTES => Ok(()),
        _ => invalid(field, &format!("must be at most {MAX_DESCRIPTION_BYTES} bytes of JSON")),
    }
}

/// What no Island could give back, so that nobody pays for what they did not get.
fn refuse_the_impossible(input: &Map<String, Value>) -> Result<(), JobError> {
    let one = |value: &Value| value.as_i64() == Some(1);
    let off = |value: &Value| value == &Value::Bool(false) || value.as_i64() == Some(0);
    let text_only = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(|one| one == "text"));
    let never = |_: &Value| false;
    type Fine<'a> = &'a dyn Fn(&Value) -> bool;
    let rules: [(&str, Fine<'_>, &str); 7] = [
        ("n", &one, "must be 1: ask several times for several answers"),
        ("logprobs", &off, "is not available here"),
        ("top_logprobs", &off, "is not available here"),
        ("modalities", &text_only, "must be [\"text\"]"),
        ("audio", &never, "is not available here"),
        ("functions", &never, "is not available here: use tools"),
        ("function_call", &never, "is not available here: use tool_choice"),
    ];
    for (name, fine, message) in rules {
        if given(input, name).is_some_and(|value| !fine(value)) {
            return invalid(&format!("input.{name}"), message);
        }
    }
    Ok(())
}

/// Texts whose vectors are wanted: one, or a list of them.
fn check_texts(input: &Map<String, Value>) -> Result<Request, JobError> {
    let field = "input.input";
    let texts = match given(input, "input") {
        Some(one @ Value::String(_)) => std::slice::from_ref(one),
        Some(Value::Array(list)) if (1..=MAX_TEXTS).contains(&list.len()) => list,
        Some(Value::Array(_)) => return invalid(field, &format!("must have 1 to {MAX_TEXTS} texts")),
        Some(_) => return invalid(field, "must be a text or a list of texts"),
        None => return invalid(field, "is missing: which text is it about?"),
    };
    let mut bytes = 0;
    for (index, one) in texts.iter().enumerate() {
        let field = if texts.len() == 1 { field.to_owned() } else { format!("{field}[{index}]") };
        if one.is_number() || one.is_array() {
            return invalid(&field, "must be a text: numbers of tokens mean something to one model only");
        }
        text(&field, one, MAX_MESSAGE_BYTES)?;
        bytes += one.as_str().map_or(0, str::len);
    }
    if let Some(dimensions) = given(input, "dimensions") {
        whole("input.dimensions", dimensions, 1, MAX_DIMENSIONS)?;
    }
    if given(input, "encoding_format").is_some_and(|format| format != "float") {
        return invalid("input.encoding_format", "must be float");
    }
    let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    // Nothing is said in answer, so an answer costs nothing.
    Ok(Request {
        prompt_bytes: length(bytes),
        max_tokens: Some(0),
        texts: length(texts.len()),
        ..Request::default()
    })
}

fn check_messages(messages: &[Value]) -> Result<(), JobError> {
    if messages.is_empty() || messages.len() > MAX_MESSAGES {
        return invalid("input.messages", &format!("must have 1 to {MAX_MESSAGES} messages"));
    }
    for (index, message) in messages.iter().enumerate() {
        let field = format!("input.messages[{index}]");
        let Value::Object(message) = message else { return invalid(&field, "must be an object") };
        match message.get("role") {
            Some(Value::String(role)) if !role.is_empty() && role.len() <= 32 => {}
            _ => return invalid(&format!("{field}.role"), "must be system, user, assistant or tool"),
        }
        check_calls(&format!("{field}.tool_calls"), message)?;
        check_content(&format!("{field}.content"), message)?;
    }
    Ok(())
}

/// What tools the assistant called, as said back to it.
fn check_calls(field: &str, message: &Map<String, Value>) -> Result<(), JobError> {
    match given(message, "tool_calls") {
        None => Ok(()),
        Some(Value::Array(calls)) if calls.len() > MAX_TOOLS => {
            invalid(field, &format!("must be at most {MAX_TOOLS} calls"))
        }
        Some(calls @ Value::Array(_)) if calls.to_string().len() > MAX_MESSAGE_BYTES => {
            invalid(field, &format!("must be at most {MAX_MESSAGE_BYTES} bytes"))
        }
        Some(Value::Array(_)) => Ok(()),
        Some(_) => invalid(field, "must be a list of calls"),
    }
}

fn check_content(field: &str, message: &Map<String, Value>) -> Result<(), JobError> {
    match message.get("content") {
        Some(Value::String(content)) if content.len() <= MAX_MESSAGE_BYTES => Ok(()),
        // Parts of a message, as OpenAI clients may send them.
        Some(content @ Value::Array(parts)) if content.to_string().len() <= MAX_MESSAGE_BYTES => {
            let unknown = parts
                .iter()
                .position(|part| !matches!(part["type"].as_str(), Some("text" | "image_url" | "refusal")));
            match unknown {
                None => Ok(()),
                Some(part) => invalid(&format!("{field}[{part}].type"), "must be text or image_url"),
            }
        }
        Some(Value::String(_) | Value::Array(_)) => {
            invalid(field, &format!("must be at most {MAX_MESSAGE_BYTES} bytes"))
        }
        // An assistant that called tools, or refused, may have said nothing.
        Some(Value::Null) | None if message.get("role").is_some_and(|role| role == "assistant") => Ok(()),
        _ => invalid(field, "must be a text"),
    }
}

fn check_image(input: &Map<String, Value>) -> Result<(), JobError> {
    match input.get("prompt") {
        Some(prompt) => text("input.prompt", prompt, MAX_IMAGE_PROMPT_BYTES)?,
        None => return invalid("input.prompt", "is missing: what should the picture show?"),
    }
    if let Some(Value::String(negative)) = given(input, "negative_prompt") {
        if negative.len() > MAX_IMAGE_PROMPT_BYTES {
            return invalid(
                "input.negative_prompt",
                &format!("must be at most {MAX_IMAGE_PROMPT_BYTES} bytes"),
            );
        }
    } else if given(input, "negative_prompt").is_some() {
        return invalid("input.negative_prompt", "must be a text");
    }
    for side in ["width", "height"] {
        if let Some(value) = given(input, side) {
            whole(&format!("input.{side}"), value, 64, MAX_IMAGE_SIDE)?;
        }
    }
    if let Some(value) = given(input, "steps") {
        whole("input.steps", value, 1, MAX_STEPS)?;
    }
    if let Some(value) = given(input, "seed") {
        whole("input.seed", value, 0, i64::from(u32::MAX))?;
    }
    number(input, "guidance_scale", 0, 100)
}

/// What existing clients send when they are not told otherwise, so that every Island gets a whole request.
fn complete_image(input: &mut Map<String, Value>) -> Request {
    for (name, value) in [("width", 1024), ("height", 1024), ("steps", 30)] {
        if given(input, name).is_none() {
            input.insert(name.to_owned(), value.into());
        }
    }
    let number = |name| given(input, name).and_then(Value::as_i64).unwrap_or(0);
    Request { pixels: number("width") * number("height"), steps: number("steps"), ..Request::default() }
}

/// An answer that is paid by its length gets a limit, so that the Island knows what was held for it.
fn complete_chat(input: &mut Map<String, Value>, measure: &Measure) -> Request {
    let limits = ["max_tokens", "max_completion_tokens"];
    let asked = limits.iter().filter_map(|name| given(input, name)).filter_map(Value::as_i64);
    let request =
        Request { prompt_bytes: prompt_bytes(input), max_tokens: asked.min(), ..Request::default() };
    if request.max_tokens.is_none() && matches!(measure, Measure::Tokens { .. }) {
        input.insert("max_tokens".to_owned(), measure.answer_limit(&request).into());
    }
    request
}

/// Bytes of text that go to the model: all that is said, and the tools that are described.
fn prompt_bytes(input: &Map<String, Value>) -> i64 {
    fn said(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len(),
            Value::Array(parts) => parts.iter().map(part).sum(),
            Value::Null => 0,
            other => other.to_string().len(),
        }
    }
    fn part(part: &Value) -> usize {
        part.get("text").and_then(Value::as_str).map_or_else(|| part.to_string().len(), str::len)
    }
    let of = |name| given(input, name).map_or(0, said);
    let messages = given(input, "messages").and_then(Value::as_array);
    let messages = messages.into_iter().flatten().map(|message| {
        let calls = message.get("tool_calls").map_or(0, |calls| calls.to_string().len());
        message.get("content").map_or(0, said) + calls
    });
    let described = ["tools", "response_format"].iter().filter_map(|name| given(input, name));
    let described = described.map(|description| description.to_string().len()).sum::<usize>();
    let bytes = of("prompt") + of("system_prompt") + messages.sum::<usize>() + described;
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A field that is there and not null.
fn given<'a>(input: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    input.get(name).filter(|value| !value.is_null())
}

fn text(field: &str, value: &Value, most: usize) -> Result<(), JobError> {
    match value {
        Value::String(text) if text.trim().is_empty() => invalid(field, "must not be empty"),
        Value::String(text) if text.len() > most => invalid(field, &format!("must be at most {most} bytes")),
        Value::String(_) => Ok(()),
        _ => invalid(field, "must be a text"),
    }
}

fn whole(field: &str, value: &Value, least: i64, most: i64) -> Result<(), JobError> {
    match value.as_i64() {
        Some(number) if (least..=most).contains(&number) => Ok(()),
        _ => invalid(field, &format!("must be a whole number from {least} to {most}")),
    }
}

/// A number that is not money: only its range is looked at.
fn number(input: &Map<String, Value>, name: &str, least: i32, most: i32) -> Result<(), JobError> {
    match given(input, name) {
        None => Ok(()),
        Some(value) if value.as_f64().is_some_and(|n| n >= f64::from(least) && n <= f64::from(most)) => {
            Ok(())
        }
        Some(_) => invalid(&format!("input.{name}"), &format!("must be a number from {least} to {most}")),
    }
}

fn invalid<T>(field: &str, message: &str) -> Result<T, JobError> {
    Err(JobError::Invalid { field: field.to_owned(), message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cargo(kind: WorkloadKind, measure: Measure) -> Workload {
        Workload {
            id: 1,
            slug: "cargo".to_owned(),
            name: "Cargo".to_owned(),
            description: String::new(),
            kind,
            ceiling: types::money::MicroCredits::new(1),
            unit: crate::config::Unit::Request,
            measure,
            required_vram_mb: None,
            required_ram_mb: None,
        }
    }

    fn answer(kind: WorkloadKind, input: &str) -> Result<(), String> {
        let raw = RawValue::from_string(input.to_owned()).unwrap();
        match check(&cargo(kind, Measure::Request), &raw) {
            Ok(_) => Ok(()),
            Err(JobError::Invalid { field, .. }) => Err(field),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_wrong_field_is_named() {
        let many = format!(r#"{{"messages":[{}]}}"#, vec![r#"{"role":"user","content":"a"}"#; 129].join(","));
        let long = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(MAX_MESSAGE_BYTES + 1));
        let embed = format!(r#"{{"input":[{}]}}"#, vec![r#""a""#; MAX_TEXTS + 1].join(","));
        use WorkloadKind::{Chat, Embedding, Image};
        let cases = [
            (Chat, r#"{"prompt":"hi"}"#, ""),
            (Chat, r#"{"prompt":"hi","system_prompt":null,"max_tokens":4096,"temperature":0.5}"#, ""),
            (Chat, r#"{"messages":[{"role":"user","content":"hi"}],"stop":["x"]}"#, ""),
            (Chat, r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#, ""),
            (Chat, "5", "input"),
            (Chat, "[]", "input"),
            (Chat, "{}", "input.prompt"),
            (Chat, r#"{"prompt":""}"#, "input.prompt"),
            (Chat, r#"{"prompt":5}"#, "input.prompt"),
            (Chat, &long, "input.prompt"),
            (Chat, &many, "input.messages"),
            (Chat, r#"{"messages":[]}"#, "input.messages"),
            (Chat, r#"{"messages":"hi"}"#, "input.messages"),
            (Chat, r#"{"messages":[5]}"#, "input.messages[0]"),
            (Chat, r#"{"messages":[{"content":"a"}]}"#, "input.messages[0].role"),
            (Chat, r#"{"messages":[{"role":"user"}]}"#, "input.messages[0].content"),
            (Chat, r#"{"prompt":"hi","messages":[]}"#, "input"),
            (Chat, r#"{"prompt":"hi","max_tokens":4097}"#, "input.max_tokens"),
            (Chat, r#"{"prompt":"hi","max_tokens":1.5}"#, "input.max_tokens"),
            (Chat, r#"{"prompt":"hi","temperature":"hot"}"#, "input.temperature"),
            (Image, r#"{"prompt":"a cat","width":512,"height":512,"steps":20,"seed":1}"#, ""),
            (Image, r#"{"prompt":"a cat","width":63}"#, "input.width"),
            (Image, r#"{"prompt":"a cat","height":4096}"#, "input.height"),
            (Image, r#"{"prompt":"a cat","steps":0}"#, "input.steps"),
            (Image, r#"{"prompt":"a cat","seed":-1}"#, "input.seed"),
            (Image, r#"{"prompt":"a cat","negative_prompt":1}"#, "input.negative_prompt"),
            (Image, r#"{"width":512}"#, "input.prompt"),
            (Embedding, r#"{"input":"a","dimensions":256,"encoding_format":"float","user":"x"}"#, ""),
            (Embedding, r#"{"input":["a","b"]}"#, ""),
            (Embedding, "{}", "input.input"),
            (Embedding, r#"{"input":[]}"#, "input.input"),
            (Embedding, r#"{"input":""}"#, "input.input"),
            (Embedding, r#"{"input":["a",""]}"#, "input.input[1]"),
            (Embedding, r#"{"input":[1,2]}"#, "input.input[0]"),
            (Embedding, r#"{"input":[[1,2]]}"#, "input.input"),
            (Embedding, r#"{"input":"a","dimensions":0}"#, "input.dimensions"),
            (Embedding, r#"{"input":"a","encoding_format":"int8"}"#, "input.encoding_format"),
            (Embedding, &embed, "input.input"),
        ];
        for (kind, input, field) in cases {
            let expected = if field.is_empty() { Ok(()) } else { Err(field.to_owned()) };
            assert_eq!(answer(kind, input), expected, "{input:.80}");
        }
    }

    #[test]
    fn tools_and_forms_are_checked() {
        let tool = r#"{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}"#;
        let many = format!("[{}]", vec![tool; MAX_TOOLS + 1].join(","));
        let large = format!(
            r#"{{"type":"json_schema","json_schema":{{"x":"{}"}}}}"#,
            "a".repeat(MAX_DESCRIPTION_BYTES)
        );
        let ask = |more: &str| answer(WorkloadKind::Chat, &format!(r#"{{"prompt":"hi",{more}}}"#));
        let cases = [
            (format!(r#""tools":[{tool}],"tool_choice":"required","parallel_tool_calls":false"#), ""),
            (
                r#""tools":null,"tool_choice":"auto","n":1,"logprobs":false,"modalities":["text"]"#
                    .to_owned(),
                "",
            ),
            (r#""response_format":{"type":"json_object"}"#.to_owned(), ""),
            (r#""response_format":{"type":"json_schema","json_schema":{"name":"a"}}"#.to_owned(), ""),
            (r#""tools":{}"#.to_owned(), "input.tools"),
            (r#""tools":[]"#.to_owned(), "input.tools"),
            (format!(r#""tools":{many}"#), "input.tools"),
            (r#""tools":[{"type":"custom"}]"#.to_owned(), "input.tools[0].type"),
            (format!(r#""tools":[{tool},{{"type":"function"}}]"#), "input.tools[1].function.name"),
            (r#""tool_choice":"required""#.to_owned(), "input.tool_choice"),
            (r#""response_format":"json""#.to_owned(), "input.response_format.type"),
            (r#""response_format":{"type":"json_schema"}"#.to_owned(), "input.response_format.json_schema"),
            (format!(r#""response_format":{large}"#), "input.response_format"),
            (r#""n":2"#.to_owned(), "input.n"),
            (r#""logprobs":true"#.to_owned(), "input.logprobs"),
            (r#""modalities":["text","audio"]"#.to_owned(), "input.modalities"),
            (r#""audio":{}"#.to_owned(), "input.audio"),
            (r#""functions":[]"#.to_owned(), "input.functions"),
        ];
        for (more, field) in cases {
            let expected = if field.is_empty() { Ok(()) } else { Err(field.to_owned()) };
            assert_eq!(ask(&more), expected, "{more:.80}");
        }
        let talk = |message: &str| {
            answer(
                WorkloadKind::Chat,
                &format!(r#"{{"messages":[{{"role":"user","content":"hi"}},{message}]}}"#),
            )
        };
        let calls = r#"[{"id":"c","type":"function","function":{"name":"look","arguments":"{}"}}]"#;
        let long = format!(r#"{{"role":"assistant","tool_calls":["{}"]}}"#, "a".repeat(MAX_MESSAGE_BYTES));
        for (message, field) in [
            (format!(r#"{{"role":"assistant","content":null,"tool_calls":{calls}}}"#), ""),
            (r#"{"role":"tool","tool_call_id":"c","content":"it is there"}"#.to_owned(), ""),
            (r#"{"role":"developer","content":"be brief"}"#.to_owned(), ""),
            (r#"{"role":"tool","content":null}"#.to_owned(), "input.messages[1].content"),
            (r#"{"role":"assistant","tool_calls":{}}"#.to_owned(), "input.messages[1].tool_calls"),
            (long, "input.messages[1].tool_calls"),
            (
                r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"input_audio"}]}"#.to_owned(),
                "input.messages[1].content[1].type",
            ),
        ] {
            let expected = if field.is_empty() { Ok(()) } else { Err(field.to_owned()) };
            assert_eq!(talk(&message), expected, "{message:.80}");
        }
    }

    #[test]
    fn what_it_can_cost_is_read_from_the_request() {
        let tokens = Measure::Tokens { prompt_percent: 25, bytes_per_token: 4, answer_tokens: 77 };
        let read = |input: &str| {
            let raw = RawValue::from_string(input.to_owned()).unwrap();
            let input = check(&cargo(WorkloadKind::Chat, tokens), &raw).unwrap();
            let sent: Value = serde_json::from_str(input.json.get()).unwrap();
            (input.request.prompt_bytes, input.request.max_tokens, sent["max_tokens"].as_i64())
        };
        assert_eq!(read(r#"{"prompt":"four","system_prompt":"tü"}"#), (7, None, Some(77)));
        assert_eq!(
            read(r#"{"prompt":"four","max_tokens":5,"max_completion_tokens":3}"#),
            (4, Some(3), Some(5))
        );
        let tools = r#"[{"type":"function","function":{"name":"f"}}]"#;
        let parts = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"four"}}]}},
            {{"role":"assistant","content":"two"}}],"tools":{tools}}}"#
        );
        assert_eq!(read(&parts), (4 + 3 + i64::try_from(tools.len()).unwrap(), None, Some(77)));
        let raw = RawValue::from_string(r#"{"prompt":"a","width":512,"height":256}"#.to_owned()).unwrap();
        let image = check(&cargo(WorkloadKind::Image, Measure::Request), &raw).unwrap();
        assert_eq!((image.request.pixels, image.request.steps), (512 * 256, 30));
    }
}
