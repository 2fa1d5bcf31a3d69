//! Chat answers: a stream of events, or one JSON body from servers that do not stream.
//!
//! Guarantees: text and calls of tools are passed on as soon as the read that brought them is done, in order and unchanged; an
//! answer counts as complete only if the server said so (`[DONE]` or a finish reason).

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use types::island_protocol::{FunctionDelta, MessageDelta, ReportedUsage, ToolCallDelta};

use super::super::input::{ChatInput, Messages};
use super::super::{Failure, Finished, Stopped, Work, too_old};
use super::{OpenAi, read_limited, unreachable, upstream_message};
use crate::reporter::Reporter;
use crate::sse::{self, Parser};

/// The longest answer in one JSON body, in bytes.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// How long the end of a body is waited for after the answer in it is complete.
const LINGER: Duration = Duration::from_secs(2);

pub(super) async fn run(
    backend: &OpenAi,
    work: Work<'_>,
    reporter: &mut Reporter,
) -> Result<Finished, Stopped> {
    let response = backend.post(&backend.chat_url, request_body(work)?).await?;
    let content_type =
        response.headers().get(CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase());
    let mut answer = Answer::default();
    if content_type.is_some_and(|value| value.starts_with(b"application/json")) {
        let body = read_limited(response, MAX_BODY_BYTES).await?;
        answer.take(&body);
        answer.done |= answer.failure.is_none();
        answer.pass_on(backend, reporter).await?;
    } else {
        read_stream(backend, response, &mut answer, reporter).await?;
    }
    answer.into_finished().map_err(Stopped::Failed)
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Messages<'a>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(flatten)]
    rest: BTreeMap<String, &'a RawValue>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

fn request_body(work: Work<'_>) -> Result<Vec<u8>, Failure> {
    let ChatInput { messages, rest } = ChatInput::read(work.input)?;
    let stream_options = StreamOptions { include_usage: true };
    serde_json::to_vec(&Request { model: work.model, messages, stream: true, stream_options, rest })
        .map_err(|_| Failure::input("The input cannot be passed on."))
}

async fn read_stream(
    backend: &OpenAi,
    mut response: Response,
    answer: &mut Answer,
    reporter: &mut Reporter,
) -> Result<(), Stopped> {
    let too_long =
        |sse::TooLong| Failure::retryable("The Island's backend answered with more than an answer can be.");
    let mut parser = Parser::default();
    while let Some(bytes) = response.chunk().await.map_err(|error| unreachable(&error))? {
        let parsed = parser.push(&bytes, |data| answer.take(data));
        // All that one read brought goes out as one frame.
        answer.pass_on(backend, reporter).await?;
        parsed.map_err(too_long)?;
        if answer.done {
            read_to_end(response);
            return Ok(());
        }
    }
    let parsed = parser.finish(|data| answer.take(data));
    answer.pass_on(backend, reporter).await?;
    parsed.map_err(too_long)?;
    Ok(())
}

/// A connection can serve the next request only when its body has been read to the end, which usually comes
/// right behind the answer; the consumer need not wait for it.
fn read_to_end(mut response: Response) {
    tokio::spawn(tokio::time::timeout(
        LINGER,
        async move { while let Ok(Some(_)) = response.chunk().await {} },
    ));
}

/// What has come of an answer so far.
#[derive(Debug, Default)]
struct Answer {
    /// What has not been passed on, in order; never two texts behind each other.
    pieces: Vec<Spoken>,
    usage: Option<ReportedUsage>,
    finish_reason: Option<String>,
    /// The server said that this was all.
    done: bool,
    failure: Option<Problem>,
}

/// A piece of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Spoken {
    Text(String),
    Else(MessageDelta),
}

/// What can go wrong within an answer that began well.
#[derive(Debug)]
enum Problem {
    /// Not a chat completion.
    Unreadable,
    /// The server says so itself.
    Reported {
        /// Its own words, if it calls the input wrong.
        input_fault: Option<String>,
    },
}

impl Answer {
    /// Takes an event, or a whole JSON body: both have the same shape but for one word.
    fn take(&mut self, data: &[u8]) {
        if self.done || self.failure.is_some() {
            return;
        }
        if data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return;
        }
        match serde_json::from_slice::<Piece>(data) {
            Ok(Piece { error: Some(error), .. }) => {
                let input_fault = matches!(reported_status(&error), Some(400 | 413 | 422))
                    .then(|| upstream_message(data).unwrap_or_else(|| "no reason given".to_owned()));
                self.failure = Some(Problem::Reported { input_fault });
            }
            Ok(Piece { choices: None, usage: None, .. }) | Err(_) => self.failure = Some(Problem::Unreadable),
            Ok(piece) => self.add(piece),
        }
    }

    fn add(&mut self, piece: Piece) {
        self.usage = piece.usage.or(self.usage);
        // Only one choice was asked for.
        let Some(choice) = piece.choices.into_iter().flatten().find(|choice| choice.index == 0) else {
            return;
        };
        self.finish_reason = choice.finish_reason.or_else(|| self.finish_reason.take());
        let Some(words) = choice.delta.or(choice.message) else { return };
        // How a model came to its words is said before them.
        let (content, delta) = words.into_parts();
        let before = MessageDelta { reasoning_content: delta.reasoning_content, ..MessageDelta::default() };
        let behind = MessageDelta { reasoning_content: None, ..delta };
        self.add_piece(Spoken::Else(before));
        self.add_piece(Spoken::Text(content));
        self.add_piece(Spoken::Else(behind));
    }

    fn add_piece(&mut self, piece: Spoken) {
        match (self.pieces.last_mut(), piece) {
            (_, Spoken::Text(text)) if text.is_empty() => {}
            (_, Spoken::Else(delta)) if delta.is_empty() => {}
            (Some(Spoken::Text(before)), Spoken::Text(text)) => before.push_str(&text),
            (_, piece) => self.pieces.push(piece),
        }
    }

    /// Sends what there is; then, if something went wrong behind it, stops.
    async fn pass_on(&mut self, backend: &OpenAi, reporter: &mut Reporter) -> Result<(), Stopped> {
        for piece in std::mem::take(&mut self.pieces) {
            match piece {
                Spoken::Text(text) => reporter.output(text).await?,
                Spoken::Else(delta) if reporter.takes_deltas() => reporter.delta(delta).await?,
                // How it came to its answer can be left out, but not the answer itself.
                Spoken::Else(MessageDelta { reasoning_content: Some(_), .. }) => {}
                Spoken::Else(_) => return Err(too_old("calls of tools").into()),
            }
        }
        match self.failure.take() {
            None => Ok(()),
            Some(Problem::Unreadable) => Err(Failure::retryable(
                "The Island's backend answered with something that is no chat completion.",
            )
            .into()),
            Some(Problem::Reported { input_fault: None }) => {
                Err(Failure::retryable("The Island's backend reported an error within its answer.").into())
            }
            Some(Problem::Reported { input_fault: Some(message) }) => {
                Err(backend.refused_input(Some(message)).into())
            }
        }
    }

    fn into_finished(self) -> Result<Finished, Failure> {
        if self.done || self.finish_reason.is_some() {
            Ok(Finished { usage: self.usage, finish_reason: self.finish_reason })
        } else {
            Err(Failure::retryable("The Island's backend broke off in the middle of its answer."))
        }
    }
}

#[derive(Deserialize)]
struct Piece {
    choices: Option<Vec<Choice>>,
    usage: Option<ReportedUsage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    /// In an event.
    delta: Option<Words>,
    /// In a whole body.
    message: Option<Words>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Words {
    /// Absent or null where the model calls a tool.
    content: Option<String>,
    /// Text, where a server means what `OpenAI` does; of anything else nothing is understood.
    refusal: Option<serde_json::Value>,
    reasoning_content: Option<serde_json::Value>,
    /// The same by another name, with some servers.
    reasoning: Option<serde_json::Value>,
    tool_calls: Option<Vec<Call>>,
}

/// A call of a tool, or a piece of one. In a whole body it has no index.
#[derive(Deserialize)]
struct Call {
    index: Option<u32>,
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    function: Option<FunctionDelta>,
}

impl Words {
    fn into_parts(self) -> (String, MessageDelta) {
        let calls = self.tool_calls.unwrap_or_default().into_iter().zip(0..);
        let tool_calls = calls.map(|(call, place)| ToolCallDelta {
            index: call.index.unwrap_or(place),
            id: call.id,
            kind: call.kind,
            function: call.function,
        });
        let said = |value: Option<serde_json::Value>| match value {
            Some(serde_json::Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let delta = MessageDelta {
            tool_calls: tool_calls.collect(),
            refusal: said(self.refusal),
            reasoning_content: said(self.reasoning_content.or(self.reasoning)),
        };
        (self.content.unwrap_or_default(), delta)
    }
}

/// The HTTP status that some servers name in an error within the answer.
fn reported_status(error: &serde_json::Value) -> Option<u64> {
    let code = error.get("code")?;
    code.as_u64().or_else(|| code.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoint;

    #[test]
    fn other_fields_pass_untouched() {
        let input = r#"{"prompt":"Hi","temperature":0.70,"tools":[{"a": 1}],"seed":18446744073709551615,"model":"theirs"}"#;
        let input = RawValue::from_string(input.to_owned()).unwrap();
        let body = request_body(Work { endpoint: Endpoint::Chat, model: "m", input: &input }).unwrap();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            concat!(
                r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true,"#,
                r#""stream_options":{"include_usage":true},"#,
                r#""seed":18446744073709551615,"temperature":0.70,"tools":[{"a": 1}]}"#
            )
        );
    }

    #[test]
    fn pieces_are_added_up() {
        let mut answer = Answer::default();
        for data in [
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a\n"},"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"other choice"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":null}}]}"#,
            r#"{"choices":[{"delta":{"content":"b"}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
            r#"{"choices":[],"usage":null}"#,
            "[DONE]",
            r#"{"choices":[{"delta":{"content":"too late"}}]}"#,
        ] {
            answer.take(data.as_bytes());
        }
        assert_eq!(answer.pieces, [Spoken::Text("a\nb".to_owned())]);
        let usage = ReportedUsage { prompt_tokens: Some(3), completion_tokens: Some(2) };
        let finished = Finished { usage: Some(usage), finish_reason: Some("stop".to_owned()) };
        assert_eq!(answer.into_finished(), Ok(finished));
    }

    #[test]
    fn calls_of_tools_keep_their_place() {
        let mut answer = Answer::default();
        for data in [
            r#"{"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"content":"Let me "}}]}"#,
            r#"{"choices":[{"delta":{"content":"look.","tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
        ] {
            answer.take(data.as_bytes());
        }
        let told: Vec<String> = answer
            .pieces
            .iter()
            .map(|piece| match piece {
                Spoken::Text(text) => text.clone(),
                Spoken::Else(delta) => serde_json::to_string(delta).unwrap(),
            })
            .collect();
        assert_eq!(
            told,
            [
                r#"{"reasoning_content":"hm"}"#,
                "Let me look.",
                r#"{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":""}}]}"#,
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#,
            ]
        );
        // In one body, where calls have no index.
        let mut whole = Answer::default();
        whole.take(br#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"1"}},{"id":"b"}]},"finish_reason":"tool_calls"}]}"#);
        let [Spoken::Else(delta)] = &whole.pieces[..] else { panic!("{:?}", whole.pieces) };
        assert_eq!(delta.tool_calls.iter().map(|call| call.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(whole.finish_reason.as_deref(), Some("tool_calls"));
    }

    #[test]
    fn what_goes_wrong_within_is_told_apart() {
        let cases = [
            ("nonsense", "Unreadable"),
            ("[]", "Unreadable"),
            ("{}", "Unreadable"),
            (r#"{"error":"boom"}"#, "Reported { input_fault: None }"),
            (r#"{"error":{"message":"boom"}}"#, "Reported { input_fault: None }"),
            (r#"{"error":{"message":"boom","code":500}}"#, "Reported { input_fault: None }"),
            (r#"{"error":{"message":"long","code":400}}"#, r#"Reported { input_fault: Some("long") }"#),
            (r#"{"error":{"message":"long","code":"422"}}"#, r#"Reported { input_fault: Some("long") }"#),
        ];
        for (data, expected) in cases {
            let mut answer = Answer::default();
            answer.take(data.as_bytes());
            assert_eq!(format!("{:?}", answer.failure.unwrap()), expected, "{data}");
        }
    }

    #[test]
    fn an_answer_is_complete_when_the_server_says_so() {
        let cases = [
            (&[][..], false),
            (&[r#"{"choices":[{"delta":{"content":"a"}}]}"#], false),
            (&["[DONE]"], true),
            (&[r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#], true),
        ];
        for (events, expected) in cases {
            let mut answer = Answer::default();
            events.iter().for_each(|data| answer.take(data.as_bytes()));
            assert_eq!(answer.into_finished().is_ok(), expected, "{events:?}");
        }
    }
}
