//! `/image` and what its script asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pages::Nav;
use pages::chat::Receipt;
use pages::image::{Image, ImageView};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use types::id::UserId;
use types::rng::Random;

use super::Page;
use super::error::capitalised;
use super::forms::Pressed;
use super::frame::{frame, shown};
use super::jobs::{seconds, seed};
use super::session::SignedIn;
use crate::api::extract::Fields;
use crate::api::jobs::parse_bid;
use crate::app::App;
use crate::config::WorkloadKind;
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::jobs::look::{open_on_page, recent_images};
use crate::jobs::submit::{Submission, submit};
use crate::jobs::{Job, JobError, Origin};
use crate::marketplace::Market;

/// Images shown below the form.
const RECENT: u32 = 10;

/// `GET /image`.
///
/// # Errors
/// 500, 503.
pub async fn show(State(app): State<Arc<App>>, SignedIn(session): SignedIn) -> Result<Page<Image>, ApiError> {
    let user = session.user.id;
    let market = markets(&app).next();
    Ok(Page(Image {
        layout: frame(&app, Some(&session), "Image", Nav::Image).await?,
        best_ask: shown(market.and_then(|market| market.lowest_ask())),
        slug: market.map(|market| market.workload.slug.clone()).unwrap_or_default(),
        bid: String::new(),
        running_job: running(&app, user).await?,
        recent: recent(&app, user).await?,
    }))
}

/// `POST /app/image`: `{prompt, negative_prompt?, width?, height?, steps?, seed?, bid_price?}`.
///
/// # Errors
/// 400, 401, 402, 403, 404, 413, 422, 429, 500, 503.
pub async fn make(
    State(app): State<Arc<App>>,
    Pressed(session): Pressed,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let market = markets(&app).next().ok_or(JobError::UnknownWorkload)?;
    let submission = Submission {
        user: Arc::clone(&session.user),
        key: None,
        market: Arc::clone(market),
        input: input(&fields, &*app.random)?,
        bid: fields.get("bid_price").map(parse_bid).transpose()?,
        region: None,
        model: None,
        min_trust: 0,
        priority: 0,
        origin: Origin::Page,
        once: Once::unclaimed(),
    };
    let accepted = submit(&app, submission).await.map_err(in_words_of_the_form)?;
    Ok(Json(json!({"job_id": accepted.job.id})))
}

/// What is asked of the Island. The job's own check says what is wrong with a field; here the seed gets a number, so that
/// the same image can be made again.
fn input(fields: &Fields, random: &dyn Random) -> Result<Box<RawValue>, JobError> {
    let read = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
    let mut input = Map::new();
    for name in ["prompt", "negative_prompt", "width", "height", "steps"] {
        if let Some(raw) = fields.get(name) {
            input.insert(name.to_owned(), read(raw));
        }
    }
    let seed = match fields.get("seed").map(read) {
        // The page sends it as text, which holds more digits than a number of a script.
        Some(Value::String(text)) => text.trim().parse::<u64>().map_or(Value::String(text), Value::from),
        Some(seed) => seed,
        None => Value::from(some_seed(random)),
    };
    input.insert("seed".to_owned(), seed);
    RawValue::from_string(Value::Object(input).to_string()).map_err(|_| JobError::Internal)
}

/// A field is called as on the page: `Seed`, not `input.seed`.
fn in_words_of_the_form(error: JobError) -> ApiError {
    match error {
        JobError::Invalid { field, message } => {
            let field = field.strip_prefix("input.").unwrap_or(&field);
            let sentence = capitalised(&format!("{} {message}", field.replace('_', " ")));
            ApiError { message: sentence, ..ApiError::invalid(field, message) }
        }
        error => error.into(),
    }
}

fn some_seed(random: &dyn Random) -> u32 {
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

/// The Cargos that make images.
pub fn markets(app: &App) -> impl Iterator<Item = &Arc<Market>> {
    app.market.all().iter().filter(|market| market.workload.kind == WorkloadKind::Image)
}

/// The image that is being made, if one is.
async fn running(app: &App, user: UserId) -> Result<Option<String>, JobError> {
    let mut newest = None;
    for market in markets(app) {
        newest = newest.max(open_on_page(app, user, market.workload.id).await?);
    }
    Ok(newest.map(|id| id.to_string()))
}

async fn recent(app: &App, user: UserId) -> Result<Vec<ImageView>, JobError> {
    let mut found = Vec::new();
    for market in markets(app) {
        found.extend(recent_images(app, user, market.workload.id, RECENT).await?);
    }
    found.sort_by_key(|(job, _)| std::cmp::Reverse(job.id));
    Ok(found.into_iter().take(RECENT as usize).map(|(job, island)| view(&job, island)).collect())
}

fn view(job: &Job, island: Option<String>) -> ImageView {
    let input: Value = serde_json::from_str(&job.input).unwrap_or_default();
    let pixels = |side| input.get(side).and_then(Value::as_i64);
    ImageView {
        job_id: job.id.to_string(),
        prompt: input.get("prompt").and_then(Value::as_str).unwrap_or_default().to_owned(),
        seed: seed(&job.input),
        size: pixels("width").zip(pixels("height")).map(|(width, height)| format!("{width} × {height}")),
        receipt: Receipt {
            island: island.unwrap_or_else(|| "An Island".to_owned()),
            seconds: seconds(job).unwrap_or_default(),
            cost: job.charge.to_string(),
        },
    }
}
