//! Statements about conversations.

use db::{DbError, Row, Tx, params};
use types::id::{ConversationId, JobId, MessageId, UserId};
use types::time::Timestamp;

use super::{Conversation, Message};
use crate::jobs;

const CONVERSATION: &str = "c.id, c.workload, c.title";

pub async fn conversations(tx: &mut Tx<'_>, user: UserId, limit: u32) -> Result<Vec<Conversation>, DbError> {
    let sql = format!(
        "SELECT {CONVERSATION} FROM conversations c WHERE c.user_id = $1 ORDER BY c.updated_at DESC, c.id DESC LIMIT $2"
    );
    tx.query(&sql, &params![user, limit]).await?.iter().map(read_conversation).collect()
}

pub async fn conversation(
    tx: &mut Tx<'_>,
    user: UserId,
    id: ConversationId,
) -> Result<Option<Conversation>, DbError> {
    let sql = format!("SELECT {CONVERSATION} FROM conversations c WHERE c.id = $1 AND c.user_id = $2");
    tx.query_opt(&sql, &params![id, user]).await?.as_ref().map(read_conversation).transpose()
}

/// The conversation of a message, if it is this user's.
pub async fn conversation_of(
    tx: &mut Tx<'_>,
    user: UserId,
    message: MessageId,
) -> Result<Option<ConversationId>, DbError> {
    let sql = "SELECT c.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
               WHERE m.id = $1 AND c.user_id = $2";
    tx.query_opt(sql, &params![message, user]).await?.map(|row| row.get(0)).transpose()
}

/// The messages of a conversation, each answer with its job (without what was asked), its text and its Island.
pub async fn messages(tx: &mut Tx<'_>, id: ConversationId) -> Result<Vec<Message>, DbError> {
    let sql = format!(
        "SELECT m.id, m.role, m.content, m.job_id, o.output, i.name, {}
         FROM messages m LEFT JOIN jobs j ON j.id = m.job_id LEFT JOIN job_outputs o ON o.job_id = m.job_id
           LEFT JOIN islands i ON i.id = j.island_id
         WHERE m.conversation_id = $1 ORDER BY m.id",
        jobs::store::without_input()
    );
    tx.query(&sql, &params![id]).await?.iter().map(read_message).collect()
}

fn read_message(row: &Row) -> Result<Message, DbError> {
    let is_answer = row.get::<Option<JobId>>(3)?.is_some();
    Ok(Message {
        id: row.get(0)?,
        by_user: row.get::<String>(1)? == "user",
        content: if is_answer { row.get::<Option<String>>(4)?.unwrap_or_default() } else { row.get(2)? },
        job: jobs::store::read_joined(row, 6)?,
        island: row.get(5)?,
    })
}

pub async fn insert_conversation(
    tx: &mut Tx<'_>,
    user: UserId,
    conversation: &Conversation,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO conversations (id, user_id, workload, title, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $5)";
    let row = params![conversation.id, user, &conversation.workload, &conversation.title, now];
    tx.execute_one(sql, &row).await
}

/// Notes the latest use of a conversation and the Cargo that answers now.
pub async fn touch_conversation(
    tx: &mut Tx<'_>,
    conversation: &Conversation,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE conversations SET updated_at = $2, workload = $3 WHERE id = $1";
    tx.execute_one(sql, &params![conversation.id, now, &conversation.workload]).await
}

pub async fn insert_question(
    tx: &mut Tx<'_>,
    id: MessageId,
    conversation: ConversationId,
    text: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO messages (id, conversation_id, role, content, created_at) VALUES ($1, $2, 'user', $3, $4)";
    tx.execute_one(sql, &params![id, conversation, text, now]).await
}

pub async fn insert_answer(
    tx: &mut Tx<'_>,
    id: MessageId,
    conversation: ConversationId,
    job: JobId,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO messages (id, conversation_id, role, job_id, created_at) VALUES ($1, $2, 'assistant', $3, $4)";
    tx.execute_one(sql, &params![id, conversation, job, now]).await
}

/// Gives an answer another job, if it still has the one it had; answers whether it did.
pub async fn set_answer_job(
    tx: &mut Tx<'_>,
    id: MessageId,
    (before, job): (Option<JobId>, JobId),
    now: Timestamp,
) -> Result<bool, DbError> {
    let change =
        "UPDATE messages SET job_id = $2 WHERE id = $1 AND (job_id = $3 OR (job_id IS NULL AND $3 IS NULL))";
    if tx.execute(change, &params![id, job, before]).await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE conversations SET updated_at = $2
               WHERE id = (SELECT conversation_id FROM messages WHERE id = $1)";
    tx.execute_one(sql, &params![id, now]).await?;
    Ok(true)
}

pub async fn delete_conversation(tx: &mut Tx<'_>, user: UserId, id: ConversationId) -> Result<bool, DbError> {
    let sql = "DELETE FROM messages WHERE conversation_id =
                 (SELECT id FROM conversations WHERE id = $1 AND user_id = $2)";
    tx.execute(sql, &params![id, user]).await?;
    Ok(tx.execute("DELETE FROM conversations WHERE id = $1 AND user_id = $2", &params![id, user]).await? == 1)
}

fn read_conversation(row: &Row) -> Result<Conversation, DbError> {
    Ok(Conversation { id: row.get(0)?, workload: row.get(1)?, title: row.get(2)? })
}
