//! `/app/jobs/…`: what the scripts of the pages ask about one job. `static/job.js` reads the frames.
//!
//! A stream begins at the beginning whenever it is opened. Closing it does not stop the job: its answer is kept for
//! whoever comes back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use futures_util::stream::{self, Stream, StreamExt};
use pages::chat::Problem;
use serde::Deserialize;
use serde_json::{Value, json};
use types::id::JobId;
use types::money::MicroCredits;

use super::error::capitalised;
use super::forms::Pressed;
use super::session::{Named, SignedIn};
use super::to_the_end;
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::islands;
use crate::jobs::live::{Event, Reader};
use crate::jobs::{Job, State as JobState, look};

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /app/jobs/{id}/stream`.
///
/// # Errors
/// 401, 404, 500, 503.
pub async fn stream(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Named(id): Named<JobId>,
) -> Result<Response, ApiError> {
    // Asked first: a job that ends between the two questions is read from the database, whole.
    let live = app.jobs.get(id);
    let (job, output) = look::find(&app, session.user.id, id).await?;
    let frames = match live {
        Some(live) => follow(Follower { app, reader: live.read() }).left_stream(),
        None => stream::iter(replay(&app, &job, output).await).right_stream(),
    };
    Ok(Sse::new(frames.map(|value| frame(&value)))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// `POST /app/jobs/{id}/cancel`: answers when the job has ended.
///
/// # Errors
/// 401, 403, 404, 409, 429, 500, 503.
pub async fn cancel(
    State(app): State<Arc<App>>,
    Named(id): Named<JobId>,
    Pressed(session): Pressed,
) -> Result<Json<Value>, ApiError> {
    let user = session.user.id;
    let job = to_the_end(async move { look::cancel(&app, user, id).await }).await??;
    Ok(Json(json!({"status": job.state.name(), "cost": job.charge.to_string()})))
}

/// An image as it is stored.
#[derive(Deserialize)]
struct StoredImage {
    image_data: String,
    format: String,
}

/// `GET /app/jobs/{id}/image`: the image itself; with `?download=1` to be saved.
///
/// # Errors
/// 401, 404, 500, 503.
pub async fn image(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Named(id): Named<JobId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (_, output) = look::find(&app, session.user.id, id).await?;
    let (bytes, format) = output.as_deref().and_then(decode).ok_or_else(|| ApiError::not_found("image"))?;
    let download = query.is_some_and(|query| query.split('&').any(|part| part == "download=1"));
    let way = if download { "attachment" } else { "inline" };
    let headers = [
        (header::CONTENT_TYPE, format!("image/{format}")),
        (header::CONTENT_DISPOSITION, format!("{way}; filename=\"archipelago-{id}.{format}\"")),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// The file of a stored image, and its kind. Anything but an image of a known kind is none.
fn decode(output: &str) -> Option<(Vec<u8>, &'static str)> {
    let stored: StoredImage = serde_json::from_str(output).ok()?;
    let format = ["png", "jpeg", "webp"].into_iter().find(|known| *known == stored.format)?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(&stored.image_data).ok()?;
    Some((bytes, format))
}

/// From the first attempt to the end, in seconds: `2.4`.
#[must_use]
pub fn seconds(job: &Job) -> Option<String> {
    let tenths = job.duration_ms()? / 100;
    Some(format!("{}.{}", tenths / 10, tenths % 10))
}

/// What to say about a job that ended without success, and a link that helps.
#[must_use]
pub fn problem(job: &Job) -> Option<Problem> {
    let link = |address: &str, words: &str| Some((address.to_owned(), words.to_owned()));
    let code = job.error.as_ref().map(|(code, _)| code.as_str());
    let (text, link) = match (job.state, code) {
        (JobState::Pending | JobState::Running | JobState::Completed, _) => return None,
        (JobState::Cancelled, _) => ("Stopped.".to_owned(), None),
        (_, Some("insufficient_credits")) => (
            "When it was this job’s turn, there were not enough credits left. Nothing was charged."
                .to_owned(),
            link("/credits", "Buy credits"),
        ),
        (_, Some("verification_required")) => {
            ("Verify your identity before spending credits.".to_owned(), link("/verify", "Verify now"))
        }
        // They say what was in the way, and what would help.
        (_, Some("bid_too_low" | "no_match")) => (trouble(job), None),
        (_, Some("no_island")) => (
            "No Island took the job in time. Raise your max price, or try again. Nothing was charged."
                .to_owned(),
            None,
        ),
        _ => (trouble(job), None),
    };
    Some(Problem { text, link })
}

/// The stored reason, which an Island may have given, with a word about the money.
fn trouble(job: &Job) -> String {
    let reason = job.error.as_ref().map_or("", |(_, text)| text.trim());
    let sentence =
        if reason.is_empty() { "The Island could not finish.".to_owned() } else { capitalised(reason) };
    if job.charge.is_positive() || sentence.contains("charged") {
        return sentence;
    }
    format!("{sentence} You were not charged.")
}

/// A stream of a job that lives.
struct Follower {
    app: Arc<App>,
    reader: Reader,
}

fn follow(follower: Follower) -> impl Stream<Item = Value> {
    stream::unfold(follower, |mut follower| async move {
        let app = Arc::clone(&follower.app);
        let events = tokio::select! {
            events = follower.reader.next() => events?,
            // The browser comes back to the next process.
            () = app.stopping() => return None,
        };
        let frames = follower.frames(events).await;
        Some((stream::iter(frames), follower))
    })
    .flatten()
}

impl Follower {
    /// The frames for some events, pieces of text that came together as one.
    async fn frames(&self, events: Vec<Event>) -> Vec<Value> {
        self.reader.mark_delivered();
        let mut frames = Vec::new();
        let mut text = String::new();
        for event in events {
            if let Event::Token(piece) = &event {
                text.push_str(piece);
                continue;
            }
            self.flush(&mut text, &mut frames);
            match event {
                // Calls of tools are for programs.
                Event::Token(_) | Event::Delta(_) => {}
                Event::Waiting { best_ask } => frames.push(self.waiting(best_ask)),
                Event::Running { island } => {
                    frames.push(json!({"type": "status", "status": "running", "island": &*island}));
                }
                Event::Progress { step, total } => {
                    frames.push(json!({"type": "progress", "step": step, "total": total}));
                }
                Event::Image(image) => {
                    frames.push(json!({"type": "image", "width": image.width, "height": image.height}));
                }
                Event::Ended(job) => frames.extend(ending(&self.app, &job).await),
            }
        }
        self.flush(&mut text, &mut frames);
        frames
    }

    fn flush(&self, text: &mut String, frames: &mut Vec<Value>) {
        if !text.is_empty() {
            frames.push(json!({"type": "token", "content": std::mem::take(text)}));
        }
    }

    fn waiting(&self, best_ask: Option<MicroCredits>) -> Value {
        // As text: the scripts count in whole micro-credits.
        let best_ask = best_ask.map(|ask| ask.to_string());
        json!({"type": "status", "status": "waiting", "best_ask": best_ask, "bid": self.reader.job().bid().to_string()})
    }
}

/// The frames of a job that has ended: all of its text at once, then how it ended. Of one that has not (and lives in
/// another process, or was begun before this one) nothing: the browser asks again in a moment.
async fn replay(app: &App, job: &Job, output: Option<String>) -> Vec<Value> {
    if !job.state.is_final() {
        return Vec::new();
    }
    let mut frames = Vec::new();
    let kind = app.market.by_id(job.workload).map(|market| market.workload.kind);
    if let Some(text) = output.filter(|_| kind != Some(WorkloadKind::Image)) {
        frames.push(json!({"type": "token", "content": text}));
    }
    frames.extend(ending(app, job).await);
    frames
}

/// How a job ended.
async fn ending(app: &App, job: &Job) -> Vec<Value> {
    let island = match job.island {
        Some(island) => islands::name(app, island).await.ok().flatten(),
        None => None,
    };
    let error = problem(job).filter(|_| job.state != JobState::Cancelled).map(|problem| {
        let code = job.error.as_ref().map(|(code, _)| code.as_str());
        json!({"type": "error", "error": problem.text, "code": code})
    });
    let cost = island.is_some().then(|| job.charge.to_string());
    let done = json!({"type": "done", "job": {
        "id": job.id, "status": job.state.name(), "island": island, "seconds": seconds(job), "cost": cost,
        "seed": seed(&job.input),
    }});
    error.into_iter().chain([done]).collect()
}

/// The seed an image was asked for with.
#[must_use]
pub fn seed(input: &str) -> Option<String> {
    let input: Value = serde_json::from_str(input).ok()?;
    input.get("seed").filter(|seed| seed.is_number()).map(Value::to_string)
}

fn frame(value: &Value) -> Result<Frame, Infallible> {
    Ok(Frame::default().data(value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_are_images() {
        assert_eq!(
            decode(r#"{"image_data":"aGk=","format":"png","width":1}"#),
            Some((b"hi".to_vec(), "png"))
        );
        for text in [
            "",
            "hi",
            "{}",
            r#"{"image_data":"aGk=","format":"svg+xml"}"#,
            r#"{"image_data":"?","format":"png"}"#,
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_seed_keeps_its_digits() {
        assert_eq!(seed(r#"{"seed":4294967295}"#).as_deref(), Some("4294967295"));
        assert_eq!(seed(r#"{"seed":"7"}"#), None);
        assert_eq!(seed(r#"{"prompt":"a"}"#), None);
    }
}
