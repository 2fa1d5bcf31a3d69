//! `GET /api/v1/jobs/{id}/stream`. Existing clients are strict: one `data:` line for each frame, a whole frame in each
//! write, no `event:` or `id:` lines, no `[DONE]`, no `"usage": null`; the response ends after the last event.
//!
//! A stream begins at the beginning of the job whenever it is opened. When the last stream of an API job closes and nobody
//! comes back or asks about the job for `jobs.unwatched_secs`, the job is cancelled and charged as delivered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::unfold;
use schemars::JsonSchema;
use serde_json::{Value, json};
use types::id::JobId;
use types::money::MicroCredits;

use super::extract::{ApiUser, id};
use super::job_shapes::UsageBody;
use super::jobs::{amount, usage_json};
use super::words::JobStatus;
use crate::api::operation::Operation;
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::jobs::elsewhere::LOOK;
use crate::jobs::live::{Event, LiveJob, Reader};
use crate::jobs::look::find;
use crate::jobs::message::{self, Message};
use crate::jobs::{Job, JobError, Origin, State as JobState};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/jobs/{id}/stream", "streamJob", stream)
            .says(
                "A job, live",
                "Server-sent events: each is one line `data: {…}` with one JSON object and an empty line behind it. The stream \
                 begins at the beginning of the job whenever it is opened, and ends with an event `done`. Lines that begin \
                 with a colon keep the connection alive. When the last stream of a job closes and nobody comes back, the \
                 job is cancelled and charged as delivered.",
            )
            .tag("Jobs")
            .polling()
            .in_path::<JobId>("id", "The job.")
            .answers_as::<StreamEvent>(200, "text/event-stream", "Events; the schema is that of the JSON of each."),
    ]
}

/// An event of a job's stream. Which fields it has depends on its type.
#[derive(JsonSchema)]
#[schemars(rename = "JobEvent")]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StreamEvent {
    /// How far the job is.
    Status {
        /// `pending` or `running`, or its end where another coordinator drives it.
        status: JobStatus,
        /// The same for people.
        message: String,
        /// The lowest ask now, in credits per unit, while it waits.
        #[serde(skip_serializing_if = "Option::is_none")]
        best_ask: Option<MicroCredits>,
        /// The Island that runs it.
        #[serde(skip_serializing_if = "Option::is_none")]
        island: Option<String>,
    },
    /// A piece of text.
    Token {
        /// The piece.
        content: String,
    },
    /// A step of an image.
    Progress {
        /// Steps done.
        step: i64,
        /// Of how many.
        total: i64,
    },
    /// The image.
    Image {
        /// Its bytes, in base64.
        image_data: String,
        /// `png` or another.
        format: String,
        /// In pixels.
        width: i64,
        /// In pixels.
        height: i64,
    },
    /// The job did not complete. `done` follows.
    Error {
        /// Why: a sentence.
        error: String,
        /// The same for programs: stable.
        code: String,
        /// How it ended.
        status: JobStatus,
    },
    /// The last event.
    Done {
        /// How it ended.
        status: JobStatus,
        /// What it used and cost.
        usage: UsageBody,
    },
}

/// How often a silent stream is kept alive. Existing clients give up after 60 s without a byte.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The handler.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn stream(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(job): Path<String>,
) -> Result<Response, ApiError> {
    let job = id(&job, "job")?;
    let (job, output) = match find(&app, caller.user.id, job).await {
        Err(JobError::NotFound) => return super::batches::stream(app, caller.user.id, job).await,
        found => found?,
    };
    match app.jobs.get(job.id) {
        Some(live) => {
            // A key that may only read looks on; whether the job goes on is not its business.
            let watches = caller.key.scopes.write && live.origin == Origin::Api;
            let reader = if watches { live.watch() } else { live.read() };
            let watch = Watch { app: Arc::clone(&app), live, watches };
            Ok(event_stream(frames(reader, watch)))
        }
        // It may have ended between the two looks; else another coordinator drives it.
        None => {
            let (job, output) =
                if job.state.is_final() { (job, output) } else { find(&app, caller.user.id, job.id).await? };
            if !job.state.is_final() {
                return Ok(event_stream(elsewhere(app, job)));
            }
            let frames = last_frames(&app, &job, output.as_deref()).await?;
            Ok(event_stream(futures_util::stream::iter([Ok(Bytes::from(frames))])))
        }
    }
}

/// The stream of a job that another coordinator drives: how far it is, as often as that changes, and at its end all of it.
fn elsewhere(app: Arc<App>, job: Job) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let quiet = KEEP_ALIVE.as_millis() / LOOK.as_millis();
    unfold((app, job, None, 0), move |(app, mut job, mut told, mut looks)| async move {
        loop {
            if job.state.is_final() && told == Some(job.state) {
                return None;
            }
            if told != Some(job.state) {
                told = Some(job.state);
                let text = if job.state.is_final() {
                    let (_, output) = find(&app, job.user, job.id).await.ok()?;
                    last_frames(&app, &job, output.as_deref()).await.ok()?
                } else {
                    let waits = job.state == JobState::Pending;
                    let message = if waits { "Waiting for an Island within the bid." } else { "Running." };
                    frame(&json!({"type": "status", "status": job.state.name(), "message": message}))
                };
                return Some((Ok(Bytes::from(text)), (app, job, told, 0)));
            }
            if looks >= quiet {
                return Some((Ok(Bytes::from_static(b": ka\n\n")), (app, job, told, 0)));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => looks += 1,
                () = app.stopping() => return None,
            }
            // Who cannot be answered now comes back.
            job = find(&app, job.user, job.id).await.ok()?.0;
        }
    })
}

async fn last_frames(app: &App, job: &Job, output: Option<&str>) -> Result<String, JobError> {
    let kind = app.market.by_id(job.workload).map(|market| market.workload.kind);
    let message = message::of_job(app, job.id).await?;
    let events = replay(job, (output, message.as_ref()), kind == Some(WorkloadKind::Image));
    Ok(events.iter().map(frame).collect())
}

/// A response of server-sent events.
pub fn event_stream(frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// One frame: a single `data:` line.
#[must_use]
pub fn frame(event: &Value) -> String {
    format!("data: {event}\n\n")
}

/// Tells the job when its stream closes.
struct Watch {
    app: Arc<App>,
    live: Arc<LiveJob>,
    watches: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(openings) = self.watches.then(|| self.live.unwatch()).flatten() else { return };
        let (app, live) = (Arc::clone(&self.app), Arc::clone(&self.live));
        let patience = Duration::from_secs(u64::from(app.config.jobs.unwatched_secs));
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            if app.jobs.get(live.id).is_some() && live.abandoned_since(openings) {
                live.cancel();
            }
        });
    }
}

fn frames(reader: Reader, watch: Watch) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    unfold((reader, watch), |(mut reader, watch)| async move {
        let events = tokio::select! {
            events = reader.next() => events?,
            () = tokio::time::sleep(KEEP_ALIVE) => return Some((Ok(Bytes::from_static(b": ka\n\n")), (reader, watch))),
            () = watch.app.stopping() => return None,
        };
        reader.mark_delivered();
        let text: String = events.iter().flat_map(event_json).map(|event| frame(&event)).collect();
        Some((Ok(Bytes::from(text)), (reader, watch)))
    })
}

fn event_json(event: &Event) -> Vec<Value> {
    vec![match event {
        Event::Waiting { best_ask } => json!({
            "type": "status", "status": "pending", "message": "Waiting for an Island within the bid.",
            "best_ask": amount(*best_ask),
        }),
        Event::Running { island } => {
            json!({"type": "status", "status": "running", "message": format!("Running on {island}."), "island": island})
        }
        Event::Token(text) => json!({"type": "token", "content": text}),
        // Existing clients know no other kind of event for what a model says.
        Event::Delta(delta) => json!({"type": "token", "content": "", "delta": delta}),
        Event::Progress { step, total } => json!({"type": "progress", "step": step, "total": total}),
        Event::Image(image) => json!({
            "type": "image", "image_data": image.data, "format": image.format,
            "width": image.width, "height": image.height,
        }),
        Event::Ended(job) => return end(job),
    }]
}

/// The last events of a job: the error, if there is one, and what it cost.
#[must_use]
pub fn end(job: &Job) -> Vec<Value> {
    let mut events = Vec::new();
    if job.state != JobState::Completed {
        let (code, text) =
            job.error.clone().unwrap_or_else(|| (job.state.name().to_owned(), job.state.name().to_owned()));
        events.push(json!({"type": "error", "error": text, "code": code, "status": job.state.name()}));
    }
    events.push(json!({"type": "done", "status": job.state.name(), "usage": usage_json(job)}));
    events
}

/// A job that has ended, as its stream would have shown it.
fn replay(job: &Job, (output, message): (Option<&str>, Option<&Message>), picture: bool) -> Vec<Value> {
    let mut events = Vec::new();
    if let Some(message) = message {
        events.push(json!({"type": "token", "content": "", "delta": message}));
    }
    if let Some(output) = output {
        events.push(if picture {
            let image: Value = serde_json::from_str(output).unwrap_or_default();
            json!({
                "type": "image", "image_data": image["image_data"], "format": image["format"],
                "width": image["width"], "height": image["height"],
            })
        } else {
            json!({"type": "token", "content": output})
        });
    }
    events.extend(end(job));
    events
}
