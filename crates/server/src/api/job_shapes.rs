//! What is sent and answered about jobs. Both spellings of some fields are sent, because the JavaScript client hands on what it
//! gets.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use types::id::{IslandId, JobId};
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use super::words::{Bid, BidOrigin, JobStatus, Trust};
use crate::app::App;
use crate::jobs::message::Message;
use crate::jobs::submit::order_of;
use crate::jobs::{Job, State};

/// A job to be submitted.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the OpenAPI document only; the handler reads the fields one by one")]
pub struct NewJob {
    /// Which Cargo: its slug.
    #[schemars(length(min = 1))]
    workload: String,
    /// What to do. For chat Cargos `{"prompt": …}` or `{"messages": […]}`, for image Cargos `{"prompt": …, "width": …, …}`.
    #[schemars(with = "super::words::AnyObject")]
    input: Value,
    /// The most the whole job may cost, in credits. Without it your saved bid for this Cargo holds, else the Cargo's ceiling.
    #[schemars(with = "Option<Bid>")]
    bid_price: Option<Value>,
    /// Where the Island must stand.
    #[schemars(length(min = 1, max = 64))]
    region: Option<String>,
    /// Which model the Island must serve the Cargo with.
    #[schemars(length(min = 1, max = 200))]
    model: Option<String>,
    /// How far the Island must be trusted.
    #[schemars(with = "Option<Trust>")]
    min_trust: Option<String>,
    /// Which of your own waiting jobs comes first: the highest. It does not move you ahead of others.
    #[schemars(range(min = 0, max = 100))]
    priority: Option<i64>,
}

/// A job.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Job")]
pub struct JobBody {
    /// Which one.
    id: JobId,
    /// How far it is.
    status: JobStatus,
    /// What was asked.
    #[schemars(with = "super::words::AnyObject")]
    input: Box<RawValue>,
    /// What came of it: text; for images JSON as text, with `image_data` (base64), `format`, `width`, `height`. Null until its end.
    output: Option<String>,
    /// Why it did not complete: a sentence.
    error: Option<String>,
    /// The same for programs: stable.
    error_code: Option<String>,
    /// The Cargo's number.
    workload_id: i64,
    /// The Cargo's slug. Null if the network no longer has it.
    workload_slug: Option<String>,
    /// When it came.
    created_at: Timestamp,
    /// When its first attempt began.
    started_at: Option<Timestamp>,
    /// When it ended.
    completed_at: Option<Timestamp>,
    /// How long it ran, in milliseconds.
    duration_ms: Option<i64>,
    /// The most it may cost, in credits.
    bid_price: MicroCredits,
    /// The most it may cost for each unit of its Cargo, which is what asks are compared with.
    unit_bid: MicroCredits,
    /// How many units it was charged for.
    units: Units,
    /// Where the bid came from.
    bid_source: BidOrigin,
    /// What it cost, in credits.
    cost: MicroCredits,
    /// The last Island that tried.
    host_id: Option<IslandId>,
    /// How many Islands tried.
    attempts: i64,
    /// Where the Island must stand.
    region: Option<String>,
    /// Which model the Island must serve.
    model: Option<String>,
    /// Which of your own waiting jobs comes first: the highest.
    priority: u8,
    /// What it used and cost; from its end on.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
    /// What the answer has beyond its text: calls of tools, a refusal. Only where one job is asked for, and only if there is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
    #[serde(flatten)]
    waiting: Option<WaitingBody>,
    #[serde(flatten)]
    camel: CamelJob,
}

/// What a job waits for. Only while it waits.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct WaitingBody {
    /// The lowest ask of an Island that could run it, in credits per unit. Only while it waits.
    best_ask: Option<MicroCredits>,
    /// How much its bid for each unit is below that; null if it waits for a free Island only. Only while it waits.
    bid_gap: Option<MicroCredits>,
    /// Its place among the jobs that wait for this Cargo, from 1. Only while it waits.
    place_in_queue: Option<usize>,
}

/// The same once more, as the JavaScript SDK spells it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CamelJob {
    /// `workload_id`.
    workload_id: i64,
    /// `workload_slug`.
    workload_slug: Option<String>,
    /// `created_at`.
    created_at: Timestamp,
    /// `started_at`.
    started_at: Option<Timestamp>,
    /// `completed_at`.
    completed_at: Option<Timestamp>,
    /// `duration_ms`.
    duration_ms: Option<i64>,
}

/// What a job used and cost. Counts that nobody made are left out.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobUsage")]
pub struct UsageBody {
    /// Tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<i64>,
    /// Tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<i64>,
    /// Both.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<i64>,
    /// What it cost, in credits.
    credits_used: MicroCredits,
    /// `prompt_tokens`.
    #[serde(rename = "promptTokens", skip_serializing_if = "Option::is_none")]
    camel_prompt_tokens: Option<i64>,
    /// `completion_tokens`.
    #[serde(rename = "completionTokens", skip_serializing_if = "Option::is_none")]
    camel_completion_tokens: Option<i64>,
    /// `total_tokens`.
    #[serde(rename = "totalTokens", skip_serializing_if = "Option::is_none")]
    camel_total_tokens: Option<i64>,
    /// `credits_used`.
    #[serde(rename = "creditsUsed")]
    camel_credits_used: MicroCredits,
}

/// What came of a job.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobOutput")]
pub struct OutputBody {
    /// The job.
    pub id: JobId,
    /// How it ended.
    pub status: JobStatus,
    /// What came of it: text; for images JSON as text, with `image_data` (base64), `format`, `width`, `height`. Null if nothing did.
    pub output: Option<String>,
}

/// The longest input or output that [`JobBody::brief`] leaves in: as in lists of jobs.
const BRIEF_BYTES: usize = 65_536;

impl JobBody {
    /// A job as all clients read it.
    #[must_use]
    pub fn new(app: &App, job: &Job, output: Option<&str>) -> Self {
        let slug = app.market.by_id(job.workload).map(|market| market.workload.slug.clone());
        let input = RawValue::from_string(job.input.to_string()).unwrap_or_default();
        let duration = job.duration_ms();
        let error = job.error.as_ref();
        Self {
            id: job.id,
            status: JobStatus(job.state.name()),
            input,
            output: output.map(ToOwned::to_owned),
            error: error.map(|(_, text)| text.clone()),
            error_code: error.map(|(code, _)| code.clone()),
            workload_id: job.workload,
            workload_slug: slug.clone(),
            created_at: job.created_at,
            started_at: job.started_at,
            completed_at: job.completed_at,
            duration_ms: duration,
            bid_price: job.bid,
            unit_bid: job.unit_bid,
            units: job.units,
            bid_source: BidOrigin(job.bid_source.name()),
            cost: job.charge,
            host_id: job.island,
            attempts: job.attempts,
            region: job.region.clone(),
            model: job.model.clone(),
            priority: job.priority,
            usage: job.state.is_final().then(|| UsageBody::new(job)),
            message: None,
            waiting: None,
            camel: CamelJob {
                workload_id: job.workload,
                workload_slug: slug,
                created_at: job.created_at,
                started_at: job.started_at,
                completed_at: job.completed_at,
                duration_ms: duration,
            },
        }
    }

    /// With what the answer has beyond its text.
    #[must_use]
    pub fn with_message(mut self, message: Option<Message>) -> Self {
        self.message = message;
        self
    }

    /// Without an input or output too long to be kept with each change of the job that is repeatable: a tiny request must not
    /// cost megabytes of the database.
    #[must_use]
    pub fn brief(mut self) -> Self {
        if self.input.get().len() > BRIEF_BYTES {
            self.input = RawValue::from_string("{}".to_owned()).unwrap_or_default();
        }
        self.output = self.output.filter(|output| output.len() <= BRIEF_BYTES);
        self
    }

    /// With what it waits for, if it does.
    #[must_use]
    pub fn waiting(mut self, app: &App, job: &Job) -> Self {
        if job.state == State::Pending {
            self.waiting = WaitingBody::new(app, job);
        }
        self
    }
}

impl WaitingBody {
    fn new(app: &App, job: &Job) -> Option<Self> {
        let market = app.market.by_id(job.workload)?;
        let best_ask = market.best_eligible(&order_of(job));
        // How much its bid for each unit falls short; nothing if it waits for a free Island only.
        let bid_gap = best_ask.and_then(|ask| ask.minus(job.unit_bid).ok()).filter(|gap| gap.is_positive());
        Some(Self { best_ask, bid_gap, place_in_queue: market.place_in_queue(job.id) })
    }
}

impl UsageBody {
    /// What a job used and cost.
    #[must_use]
    pub fn new(job: &Job) -> Self {
        let (prompt, completion) = (job.usage.prompt_tokens, job.usage.completion_tokens);
        let total = prompt.zip(completion).map(|(prompt, completion)| prompt + completion);
        Self {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: total,
            credits_used: job.charge,
            camel_prompt_tokens: prompt,
            camel_completion_tokens: completion,
            camel_total_tokens: total,
            camel_credits_used: job.charge,
        }
    }
}
