//! Statements about the outbox.

use db::{DbError, Row, Tx, params};
use types::id::MailId;
use types::time::Timestamp;

use super::letters::Kind;
use super::outbox::Waiting;
use super::{Attachment, Mail, Outgoing};

/// Puts a letter in, unless there is one with the same key.
pub async fn insert(
    tx: &mut Tx<'_>,
    id: MailId,
    to: &str,
    mail: &Mail,
    dedupe: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO mail_outbox (id, to_address, kind, subject, text_body, html_body, attachment,
                 attachment_name, dedupe_key, created_at, due_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (dedupe_key) DO NOTHING";
    let file = mail.attachment.as_ref();
    let row = params![
        id,
        to,
        mail.kind.name(),
        &mail.subject,
        &mail.text,
        &mail.html,
        file.map(|file| file.bytes.as_slice()),
        file.map(|file| file.name.as_str()),
        dedupe,
        now,
        now
    ];
    tx.execute(sql, &row).await.map(drop)
}

/// Whether anything is due.
pub async fn any_due(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, DbError> {
    let sql = "SELECT id FROM mail_outbox
               WHERE sent_at IS NULL AND failed_at IS NULL AND due_at <= $1 LIMIT 1";
    Ok(tx.query_opt(sql, &params![now]).await?.is_some())
}

/// What is due, the longest first.
pub async fn due(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Waiting>, DbError> {
    let sql = "SELECT id, to_address, kind, subject, text_body, html_body, attachment, attachment_name,
                 dedupe_key, created_at, attempts
               FROM mail_outbox WHERE sent_at IS NULL AND failed_at IS NULL AND due_at <= $1
               ORDER BY due_at, id LIMIT $2";
    tx.query(sql, &params![now, limit]).await?.iter().map(read).collect()
}

/// Takes letters, until then.
pub async fn take(tx: &mut Tx<'_>, ids: &[MailId], until: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE mail_outbox SET due_at = $2, attempts = attempts + 1 WHERE id = $1";
    tx.execute_many(sql, ids.iter().map(|&id| params![id, until])).await
}

pub async fn sent(tx: &mut Tx<'_>, id: MailId, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE mail_outbox SET sent_at = $2, error = NULL WHERE id = $1 AND sent_at IS NULL";
    tx.execute(sql, &params![id, now]).await.map(drop)
}

pub async fn failed(tx: &mut Tx<'_>, id: MailId, error: &str, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE mail_outbox SET failed_at = $2, error = $3 WHERE id = $1 AND sent_at IS NULL";
    tx.execute(sql, &params![id, now, error]).await.map(drop)
}

pub async fn postponed(tx: &mut Tx<'_>, id: MailId, error: &str, due: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE mail_outbox SET due_at = $2, error = $3 WHERE id = $1 AND sent_at IS NULL";
    tx.execute(sql, &params![id, due, error]).await.map(drop)
}

/// Erases what stood in letters that are done with; that they were sent stays known.
pub async fn erase(tx: &mut Tx<'_>, before: Timestamp, now: Timestamp) -> Result<usize, DbError> {
    let sql = "UPDATE mail_outbox SET text_body = '', html_body = '', attachment = NULL, erased_at = $2
               WHERE erased_at IS NULL AND created_at < $1 AND (sent_at < $1 OR failed_at < $1)";
    tx.execute(sql, &params![before, now]).await
}

fn read(row: &Row) -> Result<Waiting, DbError> {
    let kind: String = row.get(2)?;
    let (bytes, name): (Option<Vec<u8>>, Option<String>) = (row.get(6)?, row.get(7)?);
    let mail = Mail {
        kind: Kind::from_name(&kind).ok_or_else(|| DbError::Other(format!("a letter is a {kind}")))?,
        subject: row.get(3)?,
        text: row.get(4)?,
        html: row.get(5)?,
        attachment: bytes.zip(name).map(|(bytes, name)| Attachment { name, bytes }),
    };
    let letter = Outgoing { to: row.get(1)?, mail, key: row.get(8)?, at: row.get(9)? };
    Ok(Waiting { id: row.get(0)?, letter, attempts: row.get::<i64>(10)? })
}
