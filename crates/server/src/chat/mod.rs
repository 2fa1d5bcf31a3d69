//! Conversations: what a person wrote, and the jobs that answered.
//!
//! An answer is a message that names its job; its text is the job's output, so there is one copy of it. Asking again
//! gives the answer a new job; the old one stays in the history of jobs.

pub(crate) mod store;

use std::sync::Arc;

use db::DbError;
use serde_json::json;
use serde_json::value::RawValue;
use types::id::{ConversationId, JobId, MessageId, UserId};
use types::money::MicroCredits;

use crate::accounts::SharedUser;
use crate::app::App;
use crate::config::WorkloadKind;
use crate::idempotency::Once;
use crate::jobs::input::{MAX_MESSAGE_BYTES, MAX_MESSAGES};
use crate::jobs::submit::{Submission, submit};
use crate::jobs::{Job, JobError, Origin};

/// Most conversations shown.
pub const MAX_LISTED: u32 = 100;
/// Longest title, in characters.
const TITLE: usize = 60;

/// A conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Which one.
    pub id: ConversationId,
    /// The Cargo that answers.
    pub workload: String,
    /// Its first words.
    pub title: String,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Which one.
    pub id: MessageId,
    /// Whether a person wrote it.
    pub by_user: bool,
    /// What was written, or the answer of the job.
    pub content: String,
    /// The job that answers.
    pub job: Option<Job>,
    /// The Island that answered.
    pub island: Option<String>,
}

/// A question that was taken.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The conversation.
    pub conversation: Conversation,
    /// The question.
    pub question: MessageId,
    /// The answer to be.
    pub answer: MessageId,
    /// The job that answers.
    pub job: JobId,
}

/// What a person asks.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where; a new conversation if nowhere.
    pub conversation: Option<ConversationId>,
    /// Which Cargo shall answer.
    pub workload: String,
    /// What is asked.
    pub text: String,
    /// The most it may cost.
    pub bid: Option<MicroCredits>,
}

/// Conversations of a user, newest first.
///
/// # Errors
/// A [`DbError`].
pub async fn conversations(app: &App, user: UserId) -> Result<Vec<Conversation>, DbError> {
    app.db.read("conversations", async move |tx| store::conversations(tx, user, MAX_LISTED).await).await
}

/// A conversation of this user with its messages.
///
/// # Errors
/// [`JobError::NotFound`] if it is not there or another's.
pub async fn open(
    app: &App,
    user: UserId,
    id: ConversationId,
) -> Result<(Conversation, Vec<Message>), JobError> {
    let found = app
        .db
        .read("conversation", async move |tx| {
            let Some(conversation) = store::conversation(tx, user, id).await? else { return Ok(None) };
            let messages = store::messages(tx, id).await?;
            Ok::<_, DbError>(Some((conversation, messages)))
        })
        .await?;
    found.ok_or(JobError::NotFound)
}

/// How many bytes of text go to the model before the next question; nothing for a new conversation.
///
/// # Errors
/// [`JobError::NotFound`] if it is not there or another's.
pub async fn bytes_before(
    app: &App,
    user: UserId,
    conversation: Option<ConversationId>,
) -> Result<i64, JobError> {
    let Some(id) = conversation else { return Ok(0) };
    let (_, history) = open(app, user, id).await?;
    let said = prompt(&history, "");
    let bytes: usize = said.iter().filter_map(|message| message["content"].as_str()).map(str::len).sum();
    Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Takes a question: a job is submitted with the conversation so far; the messages are stored when it is taken. A
/// refused question stores nothing.
///
/// # Errors
/// A [`JobError`].
pub async fn ask(app: &Arc<App>, user: &SharedUser, question: Question) -> Result<Asked, JobError> {
    let text = question.text.trim().to_owned();
    if text.is_empty() || text.len() > MAX_MESSAGE_BYTES {
        let message = format!("must have 1 to {MAX_MESSAGE_BYTES} bytes");
        return Err(JobError::Invalid { field: "message".to_owned(), message });
    }
    let (existing, history) = match question.conversation {
        Some(id) => {
            let (conversation, messages) = open(app, user.id, id).await?;
            (Some(conversation), messages)
        }
        None => (None, Vec::new()),
    };
    let job = run(app, user, &question.workload, &history, &text, question.bid).await?;
    let now = app.clock.now();
    let conversation = Conversation {
        id: existing.as_ref().map_or_else(|| app.ids.next(now), |conversation| conversation.id),
        workload: question.workload,
        title: existing.as_ref().map_or_else(|| title(&text), |conversation| conversation.title.clone()),
    };
    let (asked_id, answer_id) = (app.ids.next(now), app.ids.next(now));
    let (row, user_id, new) = (conversation.clone(), user.id, existing.is_none());
    let stored = app
        .db
        .tx("ask", async move |tx| {
            if new {
                store::insert_conversation(tx, user_id, &row, now).await?;
            } else {
                store::touch_conversation(tx, &row, now).await?;
            }
            store::insert_question(tx, asked_id, row.id, &text, now).await?;
            store::insert_answer(tx, answer_id, row.id, job, now).await
        })
        .await;
    stored.inspect_err(|_| unwanted(app, job))?;
    Ok(Asked { conversation, question: asked_id, answer: answer_id, job })
}

/// Asks again for an answer: a new job with what was said before it.
///
/// # Errors
/// A [`JobError`]; [`JobError::Invalid`] while the answer is still being given.
pub async fn ask_again(app: &Arc<App>, user: &SharedUser, answer: MessageId) -> Result<Asked, JobError> {
    let user_id = user.id;
    let found =
        app.db.read("answer", async move |tx| store::conversation_of(tx, user_id, answer).await).await?;
    let (conversation, mut messages) = open(app, user.id, found.ok_or(JobError::NotFound)?).await?;
    let position = messages.iter().position(|message| message.id == answer).ok_or(JobError::NotFound)?;
    if messages[position].by_user {
        return Err(JobError::NotFound);
    }
    if messages[position].job.as_ref().is_some_and(|job| !job.state.is_final()) {
        let message = "is still being answered".to_owned();
        return Err(JobError::Invalid { field: "answer".to_owned(), message });
    }
    let messages_before = messages[position].job.as_ref().map(|job| job.id);
    messages.truncate(position);
    let question = messages.pop().filter(|message| message.by_user).ok_or(JobError::NotFound)?;
    let job = run(app, user, &conversation.workload, &messages, &question.content, None).await?;
    let now = app.clock.now();
    let before = messages_before;
    let stored = app
        .db
        .tx("ask_again", async move |tx| store::set_answer_job(tx, answer, (before, job), now).await)
        .await;
    if !stored.inspect_err(|_| unwanted(app, job))? {
        // Somebody asked again at the same moment; that one answers.
        unwanted(app, job);
        let message = "is still being answered".to_owned();
        return Err(JobError::Invalid { field: "answer".to_owned(), message });
    }
    Ok(Asked { conversation, question: question.id, answer, job })
}

/// A job whose place in the conversation could not be stored is not wanted.
fn unwanted(app: &App, job: JobId) {
    if let Some(live) = app.jobs.get(job) {
        live.cancel();
    }
}

/// Deletes a conversation of this user. Its jobs stay in the history.
///
/// # Errors
/// [`JobError::NotFound`] if it is not there or another's.
pub async fn delete(app: &App, user: UserId, id: ConversationId, once: &Once<()>) -> Result<(), JobError> {
    let deleted = once.tx(app, "delete_conversation", async move |tx| {
        if store::delete_conversation(tx, user, id).await? { Ok(()) } else { Err(JobError::NotFound) }
    });
    deleted.await
}

async fn run(
    app: &Arc<App>,
    user: &SharedUser,
    workload: &str,
    history: &[Message],
    text: &str,
    bid: Option<MicroCredits>,
) -> Result<JobId, JobError> {
    let market = app.market.get(workload).filter(|market| market.workload.kind == WorkloadKind::Chat);
    let market = Arc::clone(market.ok_or(JobError::UnknownWorkload)?);
    let messages = prompt(history, text);
    let input =
        RawValue::from_string(json!({"messages": messages}).to_string()).map_err(|_| JobError::Internal)?;
    let submission = Submission {
        user: Arc::clone(user),
        key: None,
        market,
        input,
        bid,
        region: None,
        model: None,
        min_trust: 0,
        priority: 0,
        origin: Origin::Page,
        once: Once::unclaimed(),
    };
    Ok(submit(app, submission).await?.job.id)
}

/// The newest part of a conversation that fits, with the new question at the end. Answers that failed are left out.
fn prompt(history: &[Message], text: &str) -> Vec<serde_json::Value> {
    let mut messages = vec![json!({"role": "user", "content": text})];
    for message in history.iter().rev().filter(|message| !message.content.is_empty()) {
        if messages.len() >= MAX_MESSAGES {
            break;
        }
        let role = if message.by_user { "user" } else { "assistant" };
        let content: String = truncate(&message.content).to_owned();
        messages.push(json!({"role": role, "content": content}));
    }
    messages.reverse();
    messages
}

/// At most as many bytes as a message may have, at a character's edge.
fn truncate(text: &str) -> &str {
    let mut end = text.len().min(MAX_MESSAGE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn title(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(TITLE).collect();
    if short.chars().count() < line.chars().count() { format!("{short}…") } else { short }
}
