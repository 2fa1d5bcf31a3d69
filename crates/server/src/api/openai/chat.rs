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

use super::{CancelOnDrop, ended, job_failed, market, stopped, submission};
use crate::api::extract::{ApiUser, Fields};
use crate::api::jobs::usage_json;
use crate::api::operation::{Operation, Repeat, Repeatable};
use crate::api::stream::{KEEP_ALIVE, event_stream, frame};
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::jobs::live::{Event, LiveJob, Reader};
use crate::jobs::submit::{Accepted, find, submit};
use crate::jobs::{Job, JobError, State as JobState};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/chat/completions", "createChatCompletion", create)
            .says("A chat completion", "")
            .tag("OpenAI")
            .openai()
            .repeat(Repeat::Job)
            .answers::<Value>(200, "A chat completion."),
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
    let accepted = submit(&app, submission).await?;
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
    let output = live.output().unwrap_or_default();
    completion(&job, &model, &output)
}

fn includes_usage(fields: &Fields) -> bool {
    let options: Option<Value> =
        fields.get("stream_options").and_then(|raw| serde_json::from_str(raw.get()).ok());
    options.is_some_and(|options| options["include_usage"] == json!(true))
}

/// A completed job as one answer; any other as an error.
fn completion(job: &Job, model: &str, output: &str) -> Result<Response, ApiError> {
    if job.state != JobState::Completed {
        return Err(job_failed(job));
    }
    let body = json!({
        "id": format!("chatcmpl-{}", job.id), "object": "chat.completion", "created": seconds(job), "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": output}, "logprobs": null,
                     "finish_reason": job.finish_reason.as_deref().unwrap_or("stop")}],
        "usage": usage(job),
    });
    let mut response = Json(body).into_response();
    add_headers(&mut response, job);
    if let Ok(cost) = HeaderValue::from_str(&job.charge.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-credits-used"), cost);
    }
    Ok(response)
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
        let text = "The same request is still running. Wait for its answer instead of repeating it.";
        let error = ApiError::new(axum::http::StatusCode::CONFLICT, "in_flight", text);
        return Err(error.with("job_id", accepted.job.id.to_string()));
    }
    let (job, output) = find(app, user, accepted.job.id).await?;
    let output = output.unwrap_or_default();
    let mut response = if streamed && job.state == JobState::Completed {
        let frames = [
            chunk(&job, model, &json!({"role": "assistant", "content": output}), None, false),
            chunk(&job, model, &json!({}), Some(&job), true),
        ];
        let text: String = frames.iter().map(frame).chain(["data: [DONE]\n\n".to_owned()]).collect();
        event_stream(futures_util::stream::iter([Ok(Bytes::from(text))]))
    } else {
        completion(&job, model, &output)?
    };
    response
        .headers_mut()
        .insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    Ok(response)
}

fn add_headers(response: &mut Response, job: &Job) {
    if let Ok(id) = HeaderValue::from_str(&job.id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-job-id"), id);
    }
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

fn chunk(job: &Job, model: &str, delta: &Value, ended: Option<&Job>, with_usage: bool) -> Value {
    let reason = ended.map(|job| job.finish_reason.clone().unwrap_or_else(|| "stop".to_owned()));
    let mut chunk = json!({
        "id": format!("chatcmpl-{}", job.id), "object": "chat.completion.chunk", "created": seconds(job), "model": model,
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}],
    });
    if let (true, Some(ended), Some(chunk)) = (with_usage, ended, chunk.as_object_mut()) {
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
    ended: bool,
}

impl Completion {
    fn frames(self, reader: Reader) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        unfold(Place { completion: self, reader, greeted: false, ended: false }, |mut place| async move {
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
        })
    }

    /// The head of every chunk, written by hand: this runs for each piece of text.
    fn token_frame(&self, greeted: bool, text: &str) -> String {
        let content = serde_json::to_string(text).unwrap_or_default();
        let role = if greeted { "" } else { r#""role":"assistant","# };
        format!(
            "data: {{\"id\":\"chatcmpl-{}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":\"{}\",\
             \"choices\":[{{\"index\":0,\"delta\":{{{role}\"content\":{content}}},\"logprobs\":null,\
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
        // Once: clients that add up what they are told would count it twice.
        let mut frames = frame(&chunk(job, model, &json!({}), Some(job), !self.completion.with_usage));
        if self.completion.with_usage {
            let mut last = chunk(job, model, &json!({}), Some(job), true);
            last["choices"] = json!([]);
            frames.push_str(&frame(&last));
        }
        frames.push_str("data: [DONE]\n\n");
        frames
    }
}
