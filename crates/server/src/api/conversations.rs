//! `/api/v1/conversations`: the conversations of the chat page. Asking is `POST /v1/chat/completions`, which keeps none.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use types::id::{ConversationId, JobId, MessageId};

use super::extract::{ApiUser, id};
use super::shapes::Data;
use crate::api::operation::{Operation, Repeatable};
use crate::app::App;
use crate::chat;
use crate::error::ApiError;
use crate::idempotency::{Answer, Once};
use crate::jobs::JobError;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/conversations", "listConversations", list)
            .says("Your conversations", "Those of the chat page, newest first, at most 100.")
            .tag("Account")
            .answers::<Data<Vec<Conversation>>>(200, "Your conversations."),
        Operation::get("/conversations/{id}", "getConversation", show)
            .says("A conversation", "With its messages, oldest first.")
            .tag("Account")
            .in_path::<ConversationId>("id", "The conversation.")
            .answers::<Data<Opened>>(200, "The conversation and what was said."),
        Operation::delete("/conversations/{id}", "deleteConversation", delete)
            .says(
                "Delete a conversation",
                "What was said is deleted; the jobs that answered stay in your statement.",
            )
            .tag("Account")
            .in_path::<ConversationId>("id", "The conversation.")
            .answers::<Data<Deleted>>(200, "It is deleted."),
    ]
}

/// A conversation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Conversation {
    /// Its id.
    id: ConversationId,
    /// The Cargo that answers.
    workload_slug: String,
    /// Its first words.
    title: String,
}

/// A conversation with its messages.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Opened {
    /// Its id.
    id: ConversationId,
    /// The Cargo that answers.
    workload_slug: String,
    /// Its first words.
    title: String,
    /// What was said, oldest first.
    messages: Vec<Message>,
}

/// Something that was said.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Message {
    /// Its id.
    id: MessageId,
    /// Who said it: `user` or `assistant`.
    role: &'static str,
    /// What.
    content: String,
    /// The job that answered.
    job_id: Option<JobId>,
    /// The Island that answered.
    island: Option<String>,
}

/// A conversation that is deleted.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Deleted {
    /// Its id.
    id: ConversationId,
    /// Always true.
    deleted: bool,
}

/// `GET /api/v1/conversations`.
///
/// # Errors
/// 401, 403, 429.
pub async fn list(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
) -> Result<Json<Data<Vec<Conversation>>>, ApiError> {
    let all = chat::conversations(&app, caller.user.id).await?.into_iter();
    let shown =
        |one: chat::Conversation| Conversation { id: one.id, workload_slug: one.workload, title: one.title };
    Ok(Json(Data { data: all.map(shown).collect() }))
}

/// `GET /api/v1/conversations/{id}`.
///
/// # Errors
/// 401, 403, 404, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Path(name): Path<String>,
) -> Result<Json<Data<Opened>>, ApiError> {
    let (found, messages) =
        chat::open(&app, caller.user.id, id(&name, "conversation")?).await.map_err(not_there)?;
    let shown = |one: chat::Message| Message {
        id: one.id,
        role: if one.by_user { "user" } else { "assistant" },
        content: one.content,
        job_id: one.job.map(|job| job.id),
        island: one.island,
    };
    let messages = messages.into_iter().map(shown).collect();
    Ok(Json(Data {
        data: Opened { id: found.id, workload_slug: found.workload, title: found.title, messages },
    }))
}

/// `DELETE /api/v1/conversations/{id}`.
///
/// # Errors
/// 401, 403, 404, 429, 503.
pub async fn delete(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Repeatable(claim): Repeatable,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let id: ConversationId = id(&name, "conversation")?;
    let once = Once::new(claim, move |()| Answer::ok(&Data { data: Deleted { id, deleted: true } }));
    chat::delete(&app, caller.user.id, id, &once).await.map_err(not_there)?;
    Ok(once.respond(&()))
}

/// The domain speaks of jobs; who asks looks for a conversation.
fn not_there(error: JobError) -> ApiError {
    if error == JobError::NotFound { ApiError::not_found("conversation") } else { error.into() }
}
