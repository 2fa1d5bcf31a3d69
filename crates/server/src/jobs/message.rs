//! What an answer has beyond its text: calls of tools, a refusal, how the model came to it. It comes in pieces and is stored as one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use types::id::JobId;
use types::island_protocol::MessageDelta;

use super::{JobError, store};
use crate::app::App;

/// Most tools a model may be given, and most calls in one answer.
pub const MAX_TOOLS: usize = 128;
/// Longest name of a call, in bytes.
const MAX_ID: usize = 256;

/// An answer beyond its text, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Which tools the model calls, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why the model does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// How the model came to its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    /// Its name, to which a message with the tool's answer refers.
    pub id: String,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is called.
    pub function: Function,
}

/// A function that is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Function {
    /// Which.
    pub name: String,
    /// With what: JSON, as the model wrote it.
    pub arguments: String,
}

/// What the answer of a job has beyond its text.
///
/// # Errors
/// A [`JobError`].
pub async fn of_job(app: &App, job: JobId) -> Result<Option<Message>, JobError> {
    Ok(app.db.read("job_message", async move |tx| store::message(tx, job).await).await?)
}

/// Whether an Island may say this: calls within their number, of functions, with names of a sensible length.
#[must_use]
pub fn is_sound(delta: &MessageDelta) -> bool {
    let calls = &delta.tool_calls;
    !delta.is_empty()
        && calls.len() <= MAX_TOOLS
        && calls.iter().all(|call| {
            usize::try_from(call.index).is_ok_and(|index| index < MAX_TOOLS)
                && call.id.as_ref().is_none_or(|id| id.len() <= MAX_ID)
                && call.kind.as_deref().is_none_or(|kind| kind == "function")
        })
}

/// Puts pieces together.
#[derive(Debug, Default)]
pub struct Assembly {
    calls: Vec<(u32, ToolCall)>,
    refusal: Option<String>,
    reasoning: Option<String>,
}

impl Assembly {
    /// The next piece.
    pub fn add(&mut self, delta: &MessageDelta) {
        let append = |to: &mut Option<String>, piece: &Option<String>| {
            if let Some(piece) = piece {
                to.get_or_insert_default().push_str(piece);
            }
        };
        append(&mut self.refusal, &delta.refusal);
        append(&mut self.reasoning, &delta.reasoning_content);
        for piece in &delta.tool_calls {
            let known = self.calls.iter().position(|(index, _)| *index == piece.index);
            let place = known.unwrap_or_else(|| {
                let kind = "function".to_owned();
                self.calls.push((piece.index, ToolCall { kind, ..ToolCall::default() }));
                self.calls.len() - 1
            });
            let Some((_, call)) = self.calls.get_mut(place) else { continue };
            // Some servers say the name of a call with every piece of it.
            if let Some(id) = piece.id.as_ref().filter(|_| call.id.is_empty()) {
                call.id.clone_from(id);
            }
            if let Some(function) = &piece.function {
                if let Some(name) = function.name.as_ref().filter(|name| **name != call.function.name) {
                    call.function.name.push_str(name);
                }
                if let Some(arguments) = &function.arguments {
                    call.function.arguments.push_str(arguments);
                }
            }
        }
    }

    /// All of it; nothing if there was none.
    #[must_use]
    pub fn into_message(mut self) -> Option<Message> {
        self.calls.sort_by_key(|(index, _)| *index);
        let tool_calls = self.calls.into_iter().map(|(index, mut call)| {
            if call.id.is_empty() {
                call.id = format!("call_{index}");
            }
            call
        });
        let message = Message {
            tool_calls: tool_calls.collect(),
            refusal: self.refusal,
            reasoning_content: self.reasoning,
        };
        (message != Message::default()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(text: &str) -> MessageDelta {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn pieces_become_one_message() {
        let mut assembly = Assembly::default();
        for piece in [
            r#"{"reasoning_content":"first "}"#,
            r#"{"reasoning_content":"this"}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a\""}},{"index":1,"id":"b","function":{"name":"g","arguments":"2"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}"#,
        ] {
            assembly.add(&delta(piece));
        }
        let message = assembly.into_message().unwrap();
        assert_eq!(
            serde_json::to_value(&message).unwrap(),
            serde_json::json!({
                "tool_calls": [
                    {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "2"}},
                ],
                "reasoning_content": "first this",
            })
        );
        assert_eq!(Assembly::default().into_message(), None);
    }

    #[test]
    fn what_an_island_may_not_say_is_told_apart() {
        let long = format!(r#"{{"tool_calls":[{{"index":0,"id":"{}"}}]}}"#, "x".repeat(MAX_ID + 1));
        for (text, sound) in [
            (r#"{"refusal":"no"}"#, true),
            (r#"{"tool_calls":[{"index":127}]}"#, true),
            (r#"{"tool_calls":[{"index":128}]}"#, false),
            (r#"{"tool_calls":[{"index":0,"type":"shell"}]}"#, false),
            (&long, false),
            ("{}", false),
        ] {
            assert_eq!(is_sound(&delta(text)), sound, "{text}");
        }
    }
}
