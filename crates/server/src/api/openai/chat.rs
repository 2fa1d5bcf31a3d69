//! `POST /v1/chat/completions`, streamed and not. The request waits for the job; when its connection closes, the job is
//! cancelled and charged as delivered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::shapes::{ChatCompletion, ChatEvent, ChatRequest};
use super::{
    CancelOnDrop, ERRORS, accept, add_cost, add_headers, ended, job_failed, market, still_running, stopped,
    submission,
};
use crate::api::extract::{ApiUser, Fields};
use crate::api::jobs::usage_json;
use crate::api::operation::{Operation, Repeat, Repeatable};
use crate::api::stream::{KEEP_ALIVE, event_stream, frame};
use crate::api::words::Bid;
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::jobs::live::{Event, LiveJob, Reader};
use crate::jobs::look::find;
use crate::jobs::message::Message;
use crate::jobs::submit::Accepted;
use crate::jobs::{Job, JobError, State as JobState, message};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/chat/completions", "createChatCompletion", create)
            .says(
                "A chat completion",
                "The request waits for its answer. When its connection closes, the job is cancelled and charged as delivered.",
            )
            .tag("OpenAI")
            .openai()
            .repeat(Repeat::Job)
            .header::<Bid>("X-Max-Price", "The same by another name.")
            .header::<Bid>("X-Bid-Price", "The most the request may cost, in credits, if the body does not say so.")
            .body::<ChatRequest>(json!({
                "model": "default", "messages": [{"role": "user", "content": "How do tides work?"}], "max_tokens": 64,
            }))
            .answers::<ChatCompletion>(200, "The answer, whole or piece by piece.")
            .answers_as::<ChatEvent>(200, "text/event-stream", "The answer, piece by piece.")
            .errors(ERRORS),
    ]
}

/// What is about the request and not about the job; everything else goes to the Island as it came.
const OURS: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "bid_price",
    "max_price",
    "region",
    "min_trust",
    "user",
    "metadata",
    "store",
];

/// The handler.
///
/// # Errors
/// 401, 402, 403, 404, 422, 429, 503; then nothing was charged.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, ApiError> {
    let market = market(&app, &fields, WorkloadKind::Chat)?;
    fields.need("messages")?;
    let model = market.0.workload.slug.clone();
    let input: BTreeMap<&str, &RawValue> =
        fields.without(OURS).filter(|(_, value)| value.get() != "null").collect();
    let input = serde_json::value::to_raw_value(&input).map_err(|_| JobError::Internal)?;
    let streamed = fields.truth("stream")?;
    let with_usage = streamed && includes_usage(&fields);
    let user = caller.user.id;
    let submission = submission((&headers, &fields), (caller, claim), market, input)?;
    let accepted = accept(&app, submission).await?;
    if accepted.replayed {
        return replay(&app, user, &accepted, &model, streamed).await;
    }
    let live = accepted.live.ok_or(JobError::Internal)?;
    if streamed {
        let stream = Completion {
            model,
            with_usage,
            app,
            live: Arc::clone(&live),
            guard: CancelOnDrop(Arc::clone(&live)),
        };
        let mut response = event_stream(stream.frames(live.read()));
        add_headers(&mut response, &accepted.job);
        return Ok(response);
    }
    let guard = CancelOnDrop(Arc::clone(&live));
    let job = ended(&app, &live).await?;
    drop(guard);
    completion(&job, &model, live.answer_within(usize::MAX))
}

fn includes_usage(fields: &Fields) -> bool {
    let options: Option<Value> =
        fields.get("stream_options").and_then(|raw| serde_json::from_str(raw.get()).ok());
    options.is_some_and(|options| options["include_usage"] == json!(true))
}

/// A completed job as one answer; any other as an error.
fn completion(job: &Job, model: &str, answer: Answer) -> Result<Response, ApiError> {
    if job.state != JobState::Completed {
        return Err(job_failed(job));
    }
    let reason = finish_reason(job, answer.1.as_ref());
    let body = json!({
        "id": format!("chatcmpl-{}", job.id), "object": "chat.completion", "created": seconds(job), "model": model,
        "choices": [{"index": 0, "message": said(answer), "logprobs": null, "finish_reason": reason}],
        "usage": usage(job),
    });
    let mut response = Json(body).into_response();
    add_headers(&mut response, job);
    add_cost(&mut response, job);
    Ok(response)
}

/// An answer: its text, and what it has beyond that.
type Answer = (Option<String>, Option<Message>);

/// An answer as a message of the assistant. One that only calls tools has no content.
fn said((output, message): Answer) -> Value {
    let mut said = json!({"role": "assistant", "refusal": null});
    let beyond = message.as_ref().and_then(|message| serde_json::to_value(message).ok());
    if let (Some(Value::Object(beyond)), Some(said)) = (beyond, said.as_object_mut()) {
        said.extend(beyond);
    }
    said["content"] = match output {
        None if message.is_some() => Value::Null,
        output => output.unwrap_or_default().into(),
    };
    said
}

/// Why an answer ended. An Island that does not say so may have called tools all the same.
fn finish_reason<'a>(job: &'a Job, message: Option<&Message>) -> &'a str {
    let calls = message.is_some_and(|message| !message.tool_calls.is_empty());
    job.finish_reason.as_deref().unwrap_or(if calls { "tool_calls" } else { "stop" })
}

/// The same request again: its job's answer, or that it is still running (I9).
async fn replay(
    app: &App,
    user: types::id::UserId,
    accepted: &Accepted,
    model: &str,
    streamed: bool,
) -> Result<Response, ApiError> {
    if !accepted.job.state.is_final() {
        return Err(still_running(&accepted.job));
    }
    let (job, output) = find(app, user, accepted.job.id).await?;
    let answer = (output, message::of_job(app, job.id).await?);
    let mut response = if streamed && job.state == JobState::Completed {
        let reason = finish_reason(&job, answer.1.as_ref()).to_owned();
        let mut delta = said(answer);
        // A stream numbers the calls.
        for (index, call) in delta["tool_calls"].as_array_mut().into_iter().flatten().enumerate() {
            call["index"] = index.into();
        }
        let frames = [
            chunk(&job, model, &delta, None, false),
            chunk(&job, model, &json!({}), Some((&job, &reason)), true),
        ];
        let text: String = frames.iter().map(frame).chain(["data: [DONE]\n\n".to_owned()]).collect();
        let mut response = event_stream(futures_util::stream::iter([Ok(Bytes::from(text))]));
        add_headers(&mut response, &job);
        response
    } else {
        completion(&job, model, answer)?
    };
    response
        .headers_mut()
        .insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    Ok(response)
}

fn seconds(job: &Job) -> i64 {
    job.created_at.as_millis() / 1000
}

/// Token counts always, because clients read them without asking; zero where nobody counted.
fn usage(job: &Job) -> Value {
    let mut usage = usage_json(job);
    if let Some(usage) = usage.as_object_mut() {
        for name in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            usage.entry(name).or_insert_with(|| 0.into());
        }
    }
    usage
}

fn chunk(job: &Job, model: &str, delta: &Value, ended: Option<(&Job, &str)>, with_usage: bool) -> Value {
    let reason = ended.map(|(_, reason)| reason);
    let mut chunk = json!({
        "id": format!("chatcmpl-{}", job.id), "object": "chat.completion.chunk", "created": seconds(job), "model": model,
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}],
    });
    if let (true, Some((ended, _)), Some(chunk)) = (with_usage, ended, chunk.as_object_mut()) {
        chunk.insert("usage".to_owned(), usage(ended));
    }
    chunk
}

/// The end of a stream that we cut off.
fn stopped_frames() -> String {
    let body = stopped().body("", false);
    format!("{}data: [DONE]\n\n", frame(&json!({"error": body["error"]})))
}

/// A completion on its way into the consumer's socket.
struct Completion {
    model: String,
    with_usage: bool,
    app: Arc<App>,
    live: Arc<LiveJob>,
    guard: CancelOnDrop,
}

/// Where a streamed completion is.
struct Place {
    completion: Completion,
    reader: Reader,
    greeted: bool,
    /// A tool was called.
    called: bool,
    ended: bool,
}

impl Completion {
    fn frames(self, reader: Reader) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        unfold(
            Place { completion: self, reader, greeted: false, called: false, ended: false },
            |mut place| async move {
                if place.ended {
                    return None;
                }
                let events = tokio::select! {
                    events = place.reader.next() => events?,
                    () = tokio::time::sleep(KEEP_ALIVE) => return Some((Ok(Bytes::from_static(b": ka\n\n")), place)),
                    () = place.completion.app.stopping() => {
                        place.ended = true;
                        return Some((Ok(Bytes::from(stopped_frames())), place));
                    }
                };
                place.reader.mark_delivered();
                let text = place.render(&events);
                Some((Ok(Bytes::from(text)), place))
            },
        )
    }

    /// A piece of text.
    fn token_frame(&self, greeted: bool, text: &str) -> String {
        let content = serde_json::to_string(text).unwrap_or_default();
        self.delta_frame(greeted, &format!("\"content\":{content}"))
    }

    /// A chunk with these fields of a delta, written by hand: this runs for each piece of an answer.
    fn delta_frame(&self, greeted: bool, fields: &str) -> String {
        let role = if greeted { "" } else { r#""role":"assistant","# };
        format!(
            "data: {{\"id\":\"chatcmpl-{}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":\"{}\",\
             \"choices\":[{{\"index\":0,\"delta\":{{{role}{fields}}},\"logprobs\":null,\
             \"finish_reason\":null}}]}}\n\n",
            self.live.id,
            self.live.created_at.as_millis() / 1000,
            self.model,
        )
    }
}

impl Place {
    fn render(&mut self, events: &[Event]) -> String {
        let mut frames = String::new();
        for event in events {
            match event {
                Event::Token(text) => {
                    frames.push_str(&self.completion.token_frame(self.greeted, text));
                    self.greeted = true;
                }
                Event::Delta(delta) => {
                    let fields = serde_json::to_string(&**delta).unwrap_or_default();
                    let fields = fields.trim_start_matches('{').strip_suffix('}').unwrap_or_default();
                    // As OpenAI begins a message that has no text.
                    let content = if self.greeted { "" } else { "\"content\":null," };
                    let fields = format!("{content}{fields}");
                    frames.push_str(&self.completion.delta_frame(self.greeted, &fields));
                    self.greeted = true;
                    self.called |= !delta.tool_calls.is_empty();
                }
                Event::Ended(job) => {
                    self.ended = true;
                    frames.push_str(&self.last_frames(job));
                }
                _ => {}
            }
        }
        if frames.is_empty() { ": waiting\n\n".to_owned() } else { frames }
    }

    fn last_frames(&self, job: &Job) -> String {
        let _guard = &self.completion.guard;
        if job.state != JobState::Completed {
            let body = job_failed(job).body("", false);
            return format!("{}data: [DONE]\n\n", frame(&json!({"error": body["error"]})));
        }
        let model = &self.completion.model;
        let usual = if self.called { "tool_calls" } else { "stop" };
        let ended = (job, job.finish_reason.as_deref().unwrap_or(usual));
        // Once: clients that add up what they are told would count it twice.
        let mut frames = frame(&chunk(job, model, &json!({}), Some(ended), !self.completion.with_usage));
        if self.completion.with_usage {
            let mut last = chunk(job, model, &json!({}), Some(ended), true);
            last["choices"] = json!([]);
            frames.push_str(&frame(&last));
        }
        frames.push_str("data: [DONE]\n\n");
        frames
    }
}
