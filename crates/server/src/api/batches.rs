//! Batches: `POST /api/v1/jobs/batch` and what became of them. Existing clients read these answers without an envelope, with
//! words of their own (`succeeded`), and the batch as a job with a job's words.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::unfold;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use types::id::{IslandId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::extract::{ApiUser, Fields, id, page};
use super::jobs::{min_trust, model, parse_bid, region};
use super::shapes::{Listed, Meta};
use super::stream::{KEEP_ALIVE, end, event_stream, frame};
use crate::api::operation::{Operation, Repeatable};
use crate::app::App;
use crate::batches::look::Changes;
use crate::batches::submit::{Accepted, Submission, submit};
use crate::batches::{Batch, Child, ChildState, FailMode, MAX_INPUTS, Merge, USUAL_PARALLELISM, look};
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};
use crate::jobs::JobError;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/jobs/batch", "createBatch", create)
            .says("Submit many inputs at once", ABOUT)
            .tag("Jobs")
            .body::<BatchRequest>(json!({
                "workload": "llm-chat", "inputs": [{"prompt": "One"}, {"prompt": "Two"}],
                "merge_strategy": "concat", "fail_mode": "best_effort",
            }))
            .answers::<BatchAnswer>(201, "The batch, and the jobs its inputs will be.")
            .errors(&["unknown_workload", "insufficient_credits", "in_debt", "verification_required", "account_frozen", "too_many_batches"]),
        Operation::get("/jobs/batches", "listBatches", list)
            .says("Your batches, newest first", "")
            .tag("Jobs")
            .query::<super::words::PageLimit>("limit", "How many, 1 to 100. 20 unless given.")
            .query::<super::words::PageOffset>("offset", "How many to leave out at the beginning. 0 unless given.")
            .answers::<Listed<BatchAnswer>>(200, "Your batches, newest first, each with its inputs."),
        Operation::get("/jobs/{id}/batch-status", "getBatchStatus", status)
            .says("How far a batch is", "Made to be asked for every second. `GET /jobs/{id}` of the batch has the merged output, `GET /jobs/{id}/stream` shows the progress live, and `DELETE /jobs/{id}` cancels what is left.")
            .tag("Jobs")
            .polling()
            .in_path::<JobId>("id", "The batch.")
            .answers::<BatchStatus>(200, "How far it is, and each of its inputs."),
    ]
}

const ABOUT: &str = "Runs one Cargo on 1 to 100 inputs. Each input becomes a job of its own when its turn comes, with its own hold, \
at most `max_parallelism` at once; they count towards the jobs you may have open, and the batch waits rather than fails when \
there are too many.\n\n`concat` puts the outputs one after the other with a line break between two, in the order of the \
inputs; `flatten` makes one JSON array of the elements of those that are JSON arrays, and of the others as texts. With \
`best_effort` the batch succeeds when any input does, and the merged output leaves out the others; with `fail_fast` the first \
failure cancels the rest. When credits run out, or the key's limit is reached, nothing more is started: the batch ends \
`failed` with the code `insufficient_credits`, and what was done stays done and paid for. More than 16 MiB of output is not merged: ask each job for its own.";

/// What a batch is asked with.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is the description of what is read by Fields")]
pub struct BatchRequest {
    /// The Cargo's slug.
    workload: String,
    /// What each job is asked, 1 to 100, each like the `input` of a job.
    inputs: Vec<Map<String, Value>>,
    /// How outputs are put together: `concat` (unless given) or `flatten`.
    #[schemars(with = "Option<super::words::MergeStrategy>")]
    merge_strategy: Option<String>,
    /// What a failure means for the others: nothing (`best_effort`, unless given) or their end (`fail_fast`).
    #[schemars(with = "Option<super::words::FailMode>")]
    fail_mode: Option<String>,
    /// How many inputs are worked on at once, 1 to 100. 10 unless given.
    max_parallelism: Option<u32>,
    /// Only Islands of this region.
    region: Option<String>,
    /// Only Islands that name this model.
    model: Option<String>,
    /// Only Islands trusted this far: `any` (unless given), `established` or `approved`.
    #[schemars(with = "Option<super::words::Trust>")]
    min_trust: Option<String>,
    /// Decides between waiting jobs of yours with the same bid, 0 to 100. 0 unless given.
    priority: Option<u32>,
    /// The most each input may cost, in credits: a number or a decimal text. Unless given your own maximum for the Cargo, or
    /// else its ceiling.
    bid_price: Option<MicroCredits>,
}

/// A batch.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BatchAnswer {
    /// Its id, by which it can also be asked for as a job.
    id: JobId,
    /// `pending`, `running`, `succeeded`, `failed` or `cancelled`.
    #[schemars(with = "super::words::BatchState")]
    state: &'static str,
    /// The Cargo's slug; null if the network has it no more.
    workload: Option<String>,
    /// What was asked, and how far it is.
    batch: BatchCounts,
    /// Its inputs, in order.
    children: Vec<BatchChild>,
    /// When it came.
    created_at: Timestamp,
    /// When it ended; null until then.
    completed_at: Option<Timestamp>,
    /// What its jobs cost so far, in credits.
    cost: MicroCredits,
    /// Why it failed, in a sentence.
    error: Option<String>,
    /// Why it failed.
    error_code: Option<String>,
}

/// How far a batch is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BatchCounts {
    /// How many inputs it has.
    chunk_count: usize,
    /// How outputs are put together.
    #[schemars(with = "super::words::MergeStrategy")]
    merge_strategy: &'static str,
    /// What a failure means for the others.
    #[schemars(with = "super::words::FailMode")]
    fail_mode: &'static str,
    /// How many inputs are worked on at once.
    max_parallelism: usize,
    /// How many inputs succeeded.
    completed: usize,
    /// How many failed.
    failed: usize,
    /// How many were cancelled or never started.
    cancelled: usize,
}

/// One input of a batch.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BatchChild {
    /// The id of its job. The job is there once the input was started.
    id: JobId,
    /// Where it stands among the inputs, from 0.
    batch_index: usize,
    /// `pending` (not started), `queued` (waits for an Island), `running`, `succeeded`, `failed` or `cancelled`.
    #[schemars(with = "super::words::InputState")]
    state: &'static str,
    /// Why it failed or was not started, in a sentence.
    error: Option<String>,
    /// The same as a code.
    error_code: Option<String>,
    /// The Island that works or worked on it.
    host_id: Option<IslandId>,
    /// What it cost, in credits.
    cost: MicroCredits,
}

/// How far a batch is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BatchStatus {
    /// The batch.
    parent_id: JobId,
    /// `pending`, `running`, `succeeded`, `failed` or `cancelled`.
    #[schemars(with = "super::words::BatchState")]
    parent_state: &'static str,
    /// How many inputs it has.
    chunk_count: usize,
    /// How outputs are put together.
    #[schemars(with = "super::words::MergeStrategy")]
    merge_strategy: &'static str,
    /// What a failure means for the others.
    #[schemars(with = "super::words::FailMode")]
    fail_mode: &'static str,
    /// How many inputs are in each state; states without any are left out.
    child_states: BTreeMap<&'static str, usize>,
    /// Its inputs, in order.
    children: Vec<BatchChild>,
    /// What its jobs cost so far, in credits.
    cost: MicroCredits,
    /// Why it failed, in a sentence.
    error: Option<String>,
    /// Why it failed.
    error_code: Option<String>,
}

const FIELDS: &[&str] = &[
    "workload",
    "inputs",
    "merge_strategy",
    "fail_mode",
    "max_parallelism",
    "region",
    "model",
    "min_trust",
    "priority",
    "bid_price",
];

/// `POST /api/v1/jobs/batch`.
///
/// # Errors
/// 401, 402, 403, 404 (Cargo), 422, 429, 503; then nothing was written.
pub async fn create(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    fields: Fields,
) -> Result<Response, ApiError> {
    if let Some((name, _)) = fields.without(FIELDS).min_by_key(|(name, _)| *name) {
        return Err(ApiError::invalid(name, "is not a field of a batch"));
    }
    let slug = fields.need_text("workload")?;
    let market = Arc::clone(app.market.get(&slug).ok_or(JobError::UnknownWorkload)?);
    let most = i64::try_from(MAX_INPUTS).unwrap_or(i64::MAX);
    let parallelism = fields.whole("max_parallelism", 1, most)?;
    let priority = fields.whole("priority", 0, 100)?.unwrap_or(0);
    let submission = Submission {
        market,
        inputs: inputs(&fields)?,
        merge: word(&fields, "merge_strategy", Merge::from_name, "must be concat or flatten")?
            .unwrap_or(Merge::Concat),
        fail_mode: word(&fields, "fail_mode", FailMode::from_name, "must be best_effort or fail_fast")?
            .unwrap_or(FailMode::BestEffort),
        parallelism: parallelism.and_then(|most| usize::try_from(most).ok()).unwrap_or(USUAL_PARALLELISM),
        bid: fields.get("bid_price").map(parse_bid).transpose()?,
        region: region(&fields)?,
        model: model(&fields)?,
        min_trust: min_trust(&fields)?,
        priority: u8::try_from(priority).unwrap_or(0),
        user: caller.user,
        key: caller.key,
    };
    let for_answer = Arc::clone(&app);
    let once = Once::new(claim, move |(batch, children): &Accepted| {
        Answer::created(&answer(&for_answer, batch, children))
    });
    let accepted = submit(&app, submission, &once).await?;
    Ok(once.respond(&accepted))
}

fn inputs(fields: &Fields) -> Result<Vec<Box<RawValue>>, ApiError> {
    let refuse = || ApiError::invalid("inputs", format!("must be a list of 1 to {MAX_INPUTS} inputs"));
    let inputs: Vec<Box<RawValue>> =
        serde_json::from_str(fields.need("inputs")?.get()).map_err(|_| refuse())?;
    if inputs.is_empty() || inputs.len() > MAX_INPUTS { Err(refuse()) } else { Ok(inputs) }
}

fn word<T>(
    fields: &Fields,
    name: &str,
    read: fn(&str) -> Option<T>,
    message: &str,
) -> Result<Option<T>, ApiError> {
    let text = fields.text(name)?;
    text.map(|text| read(&text).ok_or_else(|| ApiError::invalid(name, message))).transpose()
}

/// `GET /api/v1/jobs/batches`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn list(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Listed<BatchAnswer>>, ApiError> {
    let (limit, offset) = page(&query)?;
    let (batches, total) = look::list(&app, caller.user.id, limit, offset).await?;
    let data = batches.iter().map(|(batch, children)| answer(&app, batch, children)).collect();
    Ok(Json(Listed { data, meta: Meta { total, limit, offset } }))
}

/// `GET /api/v1/jobs/{id}/batch-status`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn status(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(batch): Path<String>,
) -> Result<Json<BatchStatus>, ApiError> {
    let (batch, children) = look::batch(&app, caller.user.id, id(&batch, "batch")?).await?;
    let mut child_states = BTreeMap::new();
    children.iter().for_each(|child| *child_states.entry(child.state.name()).or_insert(0) += 1);
    let (error_code, error) = batch.error.clone().unzip();
    Ok(Json(BatchStatus {
        parent_id: batch.id,
        parent_state: state_name(&batch, &children),
        chunk_count: batch.size,
        merge_strategy: batch.merge.name(),
        fail_mode: batch.fail_mode.name(),
        child_states,
        cost: look::cost(&children),
        children: children.iter().map(child_answer).collect(),
        error,
        error_code,
    }))
}

fn answer(app: &App, batch: &Batch, children: &[Child]) -> BatchAnswer {
    let count = |state| children.iter().filter(|child| child.state == state).count();
    let (error_code, error) = batch.error.clone().unzip();
    BatchAnswer {
        id: batch.id,
        state: state_name(batch, children),
        workload: app.market.by_id(batch.workload).map(|market| market.workload.slug.clone()),
        batch: BatchCounts {
            chunk_count: batch.size,
            merge_strategy: batch.merge.name(),
            fail_mode: batch.fail_mode.name(),
            max_parallelism: batch.parallelism,
            completed: count(ChildState::Succeeded),
            failed: count(ChildState::Failed),
            cancelled: count(ChildState::Cancelled),
        },
        cost: look::cost(children),
        children: children.iter().map(child_answer).collect(),
        created_at: batch.created_at,
        completed_at: batch.ended_at,
        error,
        error_code,
    }
}

fn child_answer(child: &Child) -> BatchChild {
    let (error_code, error) = child.error.clone().unzip();
    BatchChild {
        id: child.job,
        batch_index: child.position,
        state: child.state.name(),
        error,
        error_code,
        host_id: child.island,
        cost: child.charge,
    }
}

/// A batch of which nothing was started is pending.
fn state_name(batch: &Batch, children: &[Child]) -> &'static str {
    let untouched = children.iter().all(|child| child.state == ChildState::Pending);
    if !batch.state.is_final() && untouched { "pending" } else { batch.state.name() }
}

/// Longest piece of merged output in one frame, in bytes: existing clients want a whole frame in each read.
const PIECE: usize = 8 * 1024;

/// `GET /api/v1/jobs/{id}/stream` of a batch: how many inputs have ended whenever that changes, then the merged output, then
/// what it cost.
///
/// # Errors
/// 404, 503.
pub async fn stream(app: Arc<App>, user: UserId, id: JobId) -> Result<Response, ApiError> {
    look::batch(&app, user, id).await?;
    Ok(event_stream(frames(app, user, id)))
}

struct Watched {
    app: Arc<App>,
    user: UserId,
    id: JobId,
    changes: Changes,
    told: Option<(&'static str, usize)>,
    /// What is still to be sent after the end.
    last: Option<std::vec::IntoIter<String>>,
}

fn frames(app: Arc<App>, user: UserId, id: JobId) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let changes = Changes::of(&app, id);
    let watched = Watched { app, user, id, changes, told: None, last: None };
    unfold(watched, |mut watched| async move {
        let text = watched.next().await?;
        Some((Ok(Bytes::from(text)), watched))
    })
}

impl Watched {
    async fn next(&mut self) -> Option<String> {
        let since = tokio::time::Instant::now();
        loop {
            if let Some(last) = &mut self.last {
                return last.next();
            }
            // Who cannot be answered now comes back.
            let (batch, children) = look::batch(&self.app, self.user, self.id).await.ok()?;
            let done = children.iter().filter(|child| child.state.is_final()).count();
            let now = (state_name(&batch, &children), done);
            let told = self.told.replace(now);
            if batch.state.is_final() {
                self.last = Some(self.last_frames().await?.into_iter());
            }
            if told != Some(now) {
                return Some(progress(told, now, children.len()));
            }
            if since.elapsed() >= KEEP_ALIVE {
                return Some(": ka\n\n".to_owned());
            }
            tokio::select! {
                () = self.changes.next() => {}
                () = self.app.stopping() => return None,
            }
        }
    }

    async fn last_frames(&self) -> Option<Vec<String>> {
        let (job, output) = look::as_job(&self.app, self.user, self.id).await.ok()?;
        let output = output.unwrap_or_default();
        let tokens = pieces(&output).map(|piece| json!({"type": "token", "content": piece}));
        Some(tokens.chain(end(&job)).map(|event| frame(&event)).collect())
    }
}

fn progress(
    told: Option<(&'static str, usize)>,
    (state, done): (&'static str, usize),
    total: usize,
) -> String {
    let mut text = String::new();
    if told.is_none_or(|(before, _)| before != state) && matches!(state, "pending" | "running") {
        let message = if state == "pending" { "Waiting to begin." } else { "Running." };
        text.push_str(&frame(&json!({"type": "status", "status": state, "message": message})));
    }
    if told.is_none_or(|(_, before)| before != done) {
        text.push_str(&frame(&json!({"type": "progress", "step": done, "total": total})));
    }
    text
}

/// A text in pieces of at most [`PIECE`] bytes.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = PIECE.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, left) = rest.split_at(end);
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_outputs_are_sent_in_whole_characters() {
        let text = "é".repeat(PIECE);
        let all: Vec<&str> = pieces(&text).collect();
        assert_eq!(all.concat(), text);
        assert!(all.iter().all(|piece| piece.len() <= PIECE && !piece.is_empty()));
        assert_eq!(pieces("").count(), 0);
    }
}
