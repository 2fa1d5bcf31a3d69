//! `/chat` and what its script asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Redirect;
use pages::chat::{Again, Answer, CargoOption, Chat, Conversation, ConversationLink, Receipt, Turn};
use pages::{Flash, Nav};
use serde_json::{Value, json};
use types::id::{ConversationId, MessageId};

use super::forms::{Posted, Pressed};
use super::frame::{Said, frame, shown, unit};
use super::jobs::{problem, seconds};
use super::session::{Named, SignedIn};
use super::{Page, to_the_end};
use crate::accounts::sessions::Session;
use crate::api::extract::{Fields, id};
use crate::api::jobs::parse_bid;
use crate::app::App;
use crate::chat::{self, Message, Question};
use crate::config::{Unit, WorkloadKind};
use crate::error::ApiError;
use crate::idempotency::Once;
use crate::jobs::{JobError, State as JobState};

/// `GET /chat`: a new conversation.
///
/// # Errors
/// 500, 503.
pub async fn new(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Said(flash): Said,
) -> Result<Page<Chat>, ApiError> {
    page(&app, &session, None, flash).await
}

/// `GET /chat/{id}`: a conversation of the user's.
///
/// # Errors
/// 404, 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Named(id): Named<ConversationId>,
    Said(flash): Said,
) -> Result<Page<Chat>, ApiError> {
    let opened =
        chat::open(&app, session.user.id, id).await.map_err(|error| not_there(error, "conversation"))?;
    page(&app, &session, Some(opened), flash).await
}

/// `POST /chat/{id}/delete`.
///
/// # Errors
/// 401, 403, 404, 429, 500, 503.
pub async fn delete(
    State(app): State<Arc<App>>,
    Named(id): Named<ConversationId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    let deleted = chat::delete(&app, session.user.id, id, &Once::unclaimed()).await;
    deleted.map_err(|error| not_there(error, "conversation"))?;
    Ok(Redirect::to("/chat?done=conversation_deleted"))
}

/// `POST /app/chat`: `{workload, message, conversation_id?, bid_price?}`.
///
/// # Errors
/// 400, 401, 402, 403, 404, 413, 422, 429, 500, 503.
pub async fn ask(
    State(app): State<Arc<App>>,
    Pressed(session): Pressed,
    fields: Fields,
) -> Result<Json<Value>, ApiError> {
    let question = Question {
        conversation: fields.text("conversation_id")?.map(|text| id(&text, "conversation")).transpose()?,
        workload: fields.need_text("workload")?,
        text: fields.need_text("message")?,
        bid: fields.get("bid_price").map(parse_bid).transpose()?,
    };
    let asked = to_the_end(async move { chat::ask(&app, &session.user, question).await }).await?;
    let asked = asked.map_err(|error| not_there(error, "conversation"))?;
    Ok(Json(json!({
        "conversation_id": asked.conversation.id, "title": asked.conversation.title,
        "answer_id": asked.answer, "job_id": asked.job,
    })))
}

/// `POST /app/chat/answers/{id}/again`.
///
/// # Errors
/// 401, 402, 403, 404, 422, 429, 500, 503.
pub async fn again(
    State(app): State<Arc<App>>,
    Named(id): Named<MessageId>,
    Pressed(session): Pressed,
) -> Result<Json<Value>, ApiError> {
    let asked = to_the_end(async move { chat::ask_again(&app, &session.user, id).await }).await?;
    let asked = asked.map_err(|error| not_there(error, "answer"))?;
    Ok(Json(json!({"answer_id": asked.answer, "job_id": asked.job})))
}

/// The domain speaks of jobs; people look for something else.
fn not_there(error: JobError, what: &str) -> ApiError {
    if error == JobError::NotFound { ApiError::not_found(what) } else { error.into() }
}

async fn page(
    app: &App,
    session: &Session,
    opened: Option<(chat::Conversation, Vec<Message>)>,
    flash: Option<Flash>,
) -> Result<Page<Chat>, ApiError> {
    let (conversation, messages) = opened.unzip();
    let current = conversation.as_ref().map(|conversation| conversation.id);
    let title = conversation.as_ref().map_or("Chat", |conversation| conversation.title.as_str());
    let mut layout = frame(app, Some(session), title, Nav::Chat).await?;
    layout.flash = flash;
    let list = chat::conversations(app, session.user.id).await?;
    let link = |one: chat::Conversation| ConversationLink {
        id: one.id.to_string(),
        current: Some(one.id) == current,
        title: one.title,
    };
    Ok(Page(Chat {
        layout,
        conversations: list.into_iter().map(link).collect(),
        turns: turns(messages.unwrap_or_default()),
        cargos: cargos(
            app,
            session,
            conversation.as_ref().map(|conversation| conversation.workload.as_str()),
        ),
        conversation: conversation.map(|one| Conversation { id: one.id.to_string(), title: one.title }),
        bid: String::new(),
    }))
}

fn cargos(app: &App, session: &Session, chosen: Option<&str>) -> Vec<CargoOption> {
    let chats = app.market.all().iter().filter(|market| market.workload.kind == WorkloadKind::Chat);
    chats
        .map(|market| CargoOption {
            slug: market.workload.slug.clone(),
            name: market.workload.name.clone(),
            best_ask: shown(market.lowest_ask()),
            unit: (market.workload.unit != Unit::Request).then(|| unit(&market.workload).to_owned()),
            own_bid: session.user.bids.get(market.workload.id).map(|bid| bid.to_string()),
            selected: chosen == Some(market.workload.slug.as_str()),
        })
        .collect()
}

fn turns(messages: Vec<Message>) -> Vec<Turn> {
    let last = messages.last().map(|message| message.id);
    let turn = |message: Message| {
        if message.by_user {
            return Turn::User { text: message.content };
        }
        let is_last = Some(message.id) == last;
        Turn::Answer(Box::new(answer(message, is_last)))
    };
    messages.into_iter().map(turn).collect()
}

fn answer(message: Message, is_last: bool) -> Answer {
    let Message { id, content, job, island, .. } = message;
    let running = job.as_ref().filter(|job| !job.state.is_final());
    let completed = job.as_ref().is_some_and(|job| job.state == JobState::Completed);
    let receipt = job.as_ref().zip(island).and_then(|(job, island)| {
        let seconds = seconds(job)?;
        Some(Receipt { island, seconds, cost: job.charge.to_string() })
    });
    Answer {
        id: id.to_string(),
        text: content,
        running_job: running.map(|job| job.id.to_string()),
        ended_job: job.as_ref().filter(|job| job.state.is_final()).map(|job| job.id.to_string()),
        error: job.as_ref().and_then(problem),
        again: match (is_last && running.is_none(), completed) {
            (false, _) => Again::Nothing,
            (true, true) => Again::Regenerate,
            (true, false) => Again::Retry,
        },
        receipt,
    }
}
