//! What a job may be asked: checked against its Cargo before anything is matched, held or sent.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::JobError;
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
    number(input, "top_p", 0, 1)
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
            _ => return invalid(&format!("{field}.role"), "must be system, user or assistant"),
        }
        let field = format!("{field}.content");
        match message.get("content") {
            Some(Value::String(content)) if content.len() <= MAX_MESSAGE_BYTES => {}
            // Parts of a message, as OpenAI clients may send them.
            Some(Value::Array(parts))
                if Value::Array(parts.clone()).to_string().len() <= MAX_MESSAGE_BYTES => {}
            Some(Value::Null) | None if message.contains_key("tool_calls") => {}
            Some(Value::String(_) | Value::Array(_)) => {
                return invalid(&field, &format!("must be at most {MAX_MESSAGE_BYTES} bytes"));
            }
            _ => return invalid(&field, "must be a text"),
        }
    }
    Ok(())
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
    let tools = given(input, "tools").map_or(0, |tools| tools.to_string().len());
    let bytes = of("prompt") + of("system_prompt") + messages.sum::<usize>() + tools;
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
        use WorkloadKind::{Chat, Image};
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
        ];
        for (kind, input, field) in cases {
            let expected = if field.is_empty() { Ok(()) } else { Err(field.to_owned()) };
            assert_eq!(answer(kind, input), expected, "{input:.80}");
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
        let parts = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"four"}]},
            {"role":"assistant","content":"two"}],"tools":[{"a":1}]}"#;
        assert_eq!(read(parts), (4 + 3 + 9, None, Some(77)));
        let raw = RawValue::from_string(r#"{"prompt":"a","width":512,"height":256}"#.to_owned()).unwrap();
        let image = check(&cargo(WorkloadKind::Image, Measure::Request), &raw).unwrap();
        assert_eq!((image.request.pixels, image.request.steps), (512 * 256, 30));
    }
}
