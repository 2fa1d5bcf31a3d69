//! `/api/v1/jobs/{id}/receipt`, and the keys that receipts are signed with.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use types::id::{AttemptId, IslandId, JobId};
use types::time::Timestamp;

use super::extract::{ApiUser, id};
use super::shapes::Data;
use super::words::{AttemptState, BidOrigin, DecimalText, JobStatus, PriceUnit, ReceiptFor};
use crate::api::operation::{Access, Operation};
use crate::app::App;
use crate::error::ApiError;
use crate::job_receipts::{find, keys};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/jobs/{id}/receipt", "getJobReceipt", show)
            .says(
                "The signed receipt of a job",
                "The bid and where it came from, the asks that were considered and why each was passed over, what was held, \
                 charged and earned. The owner of an Island that worked on it gets the part about that Island. Check it with \
                 `archipelago verify-receipt`, or by the keys of `GET /api/v1/receipt-keys`.",
            )
            .tag("Jobs")
            .in_path::<JobId>("id", "The job.")
            .answers::<Data<SignedReceipt>>(200, "The receipt.")
            .errors(&["not_ended"]),
        Operation::get("/receipt-keys", "listReceiptKeys", published)
            .says("The public keys that receipts are signed with", "So that anybody can check a receipt. The newest signs.")
            .tag("Jobs")
            .access(Access::Public)
            .answers::<Data<Vec<ReceiptKey>>>(200, "All keys that ever signed."),
    ]
}

/// A public key that receipts are signed with.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReceiptKey {
    /// Its name: made from the hash of the key.
    key_id: String,
    /// `Ed25519`.
    algorithm: &'static str,
    /// 32 bytes, in base64.
    public_key: String,
    /// Since when.
    created_at: Timestamp,
}

/// A receipt with its signature.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only; what is signed is written by job_receipts")]
pub struct SignedReceipt {
    /// What is signed: this object as canonical JSON (RFC 8785).
    receipt: ReceiptBody,
    /// Who signed it.
    signature: Signature,
}

/// A signature.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only; what is signed is written by job_receipts")]
struct Signature {
    /// `Ed25519`.
    algorithm: String,
    /// Which key signed.
    key_id: String,
    /// That key: 32 bytes, in base64.
    public_key: String,
    /// The signature, in base64.
    value: String,
}

/// A receipt. Amounts are decimal text, so that no reader rounds them.
#[derive(JsonSchema)]
#[schemars(rename = "Receipt")]
#[expect(dead_code, reason = "read by the OpenAPI document only; what is signed is written by job_receipts")]
pub struct ReceiptBody {
    /// The version of this format.
    version: u32,
    /// The address of the network.
    network: String,
    /// Who it is for, which decides what it shows.
    r#for: ReceiptFor,
    /// The job.
    job_id: JobId,
    /// How it ended.
    status: JobStatus,
    /// The Cargo. Null if the network no longer has it.
    workload: Option<String>,
    /// What an ask was the price of.
    unit: Option<PriceUnit>,
    /// When it came.
    created_at: Timestamp,
    /// When its first attempt began.
    started_at: Option<Timestamp>,
    /// When it ended.
    completed_at: Option<Timestamp>,
    /// How many units were charged.
    units: DecimalText,
    /// What was counted.
    usage: ReceiptUsage,
    /// Each try on an Island, first to last.
    attempts: Vec<ReceiptAttempt>,
    /// The bid. Only for the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    bid: Option<ReceiptBid>,
    /// What was charged, in credits. Only for the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<DecimalText>,
}

/// What was counted; null where nobody counted.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ReceiptUsage {
    /// Tokens of the prompt.
    prompt_tokens: Option<i64>,
    /// Tokens of the answer.
    completion_tokens: Option<i64>,
}

/// A bid.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ReceiptBid {
    /// The most the job might cost, in credits.
    total: DecimalText,
    /// The same for each unit.
    per_unit: DecimalText,
    /// Where it came from.
    source: BidOrigin,
}

/// A try of a job on one Island.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ReceiptAttempt {
    /// Which one.
    attempt_id: AttemptId,
    /// From 1.
    number: i64,
    /// Where.
    island_id: IslandId,
    /// What its owner calls it.
    island: Option<String>,
    /// Whether the consumer owns it; then it costs nothing.
    own_island: bool,
    /// Whether it was charged.
    state: AttemptState,
    /// Why it failed: a code.
    error: Option<String>,
    /// When it began.
    started_at: Timestamp,
    /// When it ended.
    ended_at: Option<Timestamp>,
    /// The Island's ask, frozen at the match: credits per unit.
    clearing_price: DecimalText,
    /// The most units it could take.
    max_units: DecimalText,
    /// What was held, in credits.
    hold: DecimalText,
    /// What was charged, in credits.
    charge: DecimalText,
    /// The network's share of that, in credits.
    fee: DecimalText,
    /// The owner's share, in credits.
    island_earned: DecimalText,
    /// The asks that were considered, in the order of choice. Only for the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    asks_considered: Option<Vec<ReceiptAsk>>,
    /// Whether those are all that came before the chosen one. Only for the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    asks_considered_all: Option<bool>,
}

/// An ask that was considered.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ReceiptAsk {
    /// Whose.
    island_id: IslandId,
    /// Credits per unit.
    ask: DecimalText,
    /// What came of it: `chosen`, or why it was passed over.
    verdict: String,
    /// The same as a sentence.
    reason: String,
}

/// `GET /api/v1/jobs/{id}/receipt`: for the consumer, and for the owner of an Island that worked on it.
///
/// # Errors
/// 401, 403, 404, 409 before the end of the job, 429, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(job): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let receipt = find(&app, caller.user.id, id(&job, "job")?).await?;
    Ok(Json(json!({"data": keys::sign(&app, receipt.body(&app)).await?})))
}

/// `GET /api/v1/receipt-keys`: public, so that anybody can check a receipt. The newest key signs.
///
/// # Errors
/// 503.
pub async fn published(State(app): State<Arc<App>>) -> Result<Json<Data<Vec<ReceiptKey>>>, ApiError> {
    let keys = keys::published(&app).await?;
    let rows = keys.into_iter().map(|key| ReceiptKey {
        key_id: key.id,
        algorithm: "Ed25519",
        public_key: key.key,
        created_at: key.created_at,
    });
    Ok(Json(Data { data: rows.collect() }))
}
