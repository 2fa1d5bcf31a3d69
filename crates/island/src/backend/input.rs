//! What the coordinator sends as input. It has validated it; what does not fit all the same is the input's
//! fault and not worth another try.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Failure;

/// Keys of a chat input that are answered here rather than passed on.
const OWN_KEYS: [&str; 4] = ["model", "n", "stream", "stream_options"];

/// A chat: its messages, and everything else untouched.
#[derive(Debug)]
pub(super) struct ChatInput<'a> {
    /// The conversation.
    pub(super) messages: Messages<'a>,
    /// Other fields of the `OpenAI` API, as they came.
    pub(super) rest: BTreeMap<String, &'a RawValue>,
}

/// A conversation, as it came or made from a prompt.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Messages<'a> {
    /// As it came.
    Given(&'a RawValue),
    /// Made from a prompt.
    Made(Vec<MadeMessage>),
}

/// A message made from a prompt.
#[derive(Debug, Serialize)]
pub(super) struct MadeMessage {
    role: &'static str,
    content: String,
}

impl<'a> ChatInput<'a> {
    pub(super) fn read(input: &'a RawValue) -> Result<Self, Failure> {
        let mut rest: BTreeMap<String, &RawValue> =
            serde_json::from_str(input.get()).map_err(|_| Failure::input("The input is not an object."))?;
        for key in OWN_KEYS {
            rest.remove(key);
        }
        if let Some(messages) = rest.remove("messages") {
            return Ok(Self { messages: Messages::Given(messages), rest });
        }
        let prompt = text(&mut rest, "prompt")?
            .ok_or_else(|| Failure::input("The input has neither a prompt nor messages."))?;
        let mut messages = Vec::with_capacity(2);
        if let Some(content) = text(&mut rest, "system_prompt")?.filter(|content| !content.is_empty()) {
            messages.push(MadeMessage { role: "system", content });
        }
        messages.push(MadeMessage { role: "user", content: prompt });
        Ok(Self { messages: Messages::Made(messages), rest })
    }

    /// What the user said last, as far as it is text.
    pub(super) fn question(&self) -> String {
        match &self.messages {
            Messages::Made(messages) => messages.last().map(|message| message.content.clone()),
            Messages::Given(raw) => serde_json::from_str::<Vec<GivenMessage>>(raw.get())
                .ok()
                .and_then(|messages| messages.into_iter().rev().find(|message| message.role == "user"))
                .map(|message| message.content.map(Content::into_text).unwrap_or_default()),
        }
        .unwrap_or_default()
    }

    /// The most tokens the answer may have.
    pub(super) fn max_tokens(&self) -> Option<u64> {
        ["max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|key| serde_json::from_str(self.rest.get(*key)?.get()).ok())
    }
}

fn text(rest: &mut BTreeMap<String, &RawValue>, key: &str) -> Result<Option<String>, Failure> {
    let Some(raw) = rest.remove(key) else {
        return Ok(None);
    };
    serde_json::from_str(raw.get()).map_err(|_| Failure::input(format!("The input's {key} is not text.")))
}

#[derive(Deserialize)]
struct GivenMessage {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

impl Content {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(|part| part.text).collect::<Vec<_>>().join(" "),
        }
    }
}

/// An image to make.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ImageInput {
    pub(super) prompt: String,
    pub(super) negative_prompt: Option<String>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) steps: Option<u32>,
    pub(super) seed: Option<u64>,
    pub(super) guidance_scale: Option<serde_json::Number>,
}

impl ImageInput {
    pub(super) fn read(input: &RawValue) -> Result<Self, Failure> {
        serde_json::from_str(input.get())
            .map_err(|_| Failure::input("The input needs a prompt, a width and a height."))
    }
}

/// Texts whose vectors are wanted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct EmbeddingInput {
    pub(super) input: Texts,
    pub(super) dimensions: Option<u32>,
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl EmbeddingInput {
    pub(super) fn read(input: &RawValue) -> Result<Self, Failure> {
        serde_json::from_str(input.get())
            .map_err(|_| Failure::input("The input needs a text, or a list of texts."))
    }
}

impl Texts {
    /// All of them.
    pub(super) fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn chats_are_read() {
        let cases = [
            (r#"{"prompt":"Hi"}"#, r#"[{"role":"user","content":"Hi"}]"#, "Hi", ""),
            (
                r#"{"prompt":"Hi","system_prompt":"Be brief","max_tokens":5}"#,
                r#"[{"role":"system","content":"Be brief"},{"role":"user","content":"Hi"}]"#,
                "Hi",
                r#""max_tokens":5"#,
            ),
            (r#"{"prompt":"Hi","system_prompt":""}"#, r#"[{"role":"user","content":"Hi"}]"#, "Hi", ""),
            (
                r#"{"messages":[ {"role":"user","content":"a"},{"role":"assistant","content":null}],"top_p":0.10}"#,
                r#"[ {"role":"user","content":"a"},{"role":"assistant","content":null}]"#,
                "a",
                r#""top_p":0.10"#,
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"}]}]}"#,
                r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"}]}]"#,
                "a ",
                "",
            ),
            (r#"{"messages":[],"model":"x","n":3,"stream":false,"stream_options":1}"#, "[]", "", ""),
        ];
        for (input, messages, question, rest) in cases {
            let input = raw(input);
            let chat = ChatInput::read(&input).unwrap();
            assert_eq!(serde_json::to_string(&chat.messages).unwrap(), messages);
            assert_eq!(chat.question(), question);
            assert_eq!(serde_json::to_string(&chat.rest).unwrap(), format!("{{{rest}}}"));
        }
    }

    #[test]
    fn what_is_no_chat_is_the_inputs_fault() {
        let cases = ["1", "null", "[]", "{}", r#"{"prompt":5}"#, r#"{"prompt":"a","system_prompt":{}}"#];
        for input in cases {
            assert!(!ChatInput::read(&raw(input)).unwrap_err().retryable, "{input}");
        }
    }

    #[test]
    fn texts_are_read() {
        for (input, expected) in [
            (r#"{"input":"a","dimensions":8}"#, Some((vec!["a"], Some(8)))),
            (r#"{"input":["a","b"],"encoding_format":"float"}"#, Some((vec!["a", "b"], None))),
            (r#"{"input":[1,2]}"#, None),
            ("{}", None),
        ] {
            let read = EmbeddingInput::read(&raw(input));
            let found = read.as_ref().ok().map(|read| (read.input.all().to_vec(), read.dimensions));
            let expected =
                expected.map(|(texts, more)| (texts.into_iter().map(str::to_owned).collect(), more));
            assert_eq!(found, expected, "{input}");
        }
    }

    #[test]
    fn images_are_read() {
        let image = ImageInput::read(&raw(
            r#"{"prompt":"a","width":8,"height":4,"guidance_scale":7.5,"seed":3,"other":1}"#,
        ));
        let image = image.unwrap();
        assert_eq!((image.width, image.height, image.seed, image.steps), (8, 4, Some(3), None));
        for input in ["{}", r#"{"prompt":"a","width":-1,"height":4}"#] {
            assert!(!ImageInput::read(&raw(input)).unwrap_err().retryable, "{input}");
        }
    }
}
