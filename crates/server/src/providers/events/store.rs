//! Statements about events of providers.

use db::{DbError, Row, Tx, params};
use types::time::Timestamp;

use super::{Handled, ProviderEvent, Stored};

/// Remembers an event and how far it is; what is done stays done.
pub async fn note(
    tx: &mut Tx<'_>,
    event: &ProviderEvent,
    handled: Handled,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO provider_events (provider, event_ref, kind, subject, received_at, body, state)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (provider, event_ref) DO UPDATE SET state = excluded.state, error = NULL,
                 attempts = provider_events.attempts + 1
               WHERE provider_events.state <> 'done'";
    let row = params![
        event.provider,
        &event.id,
        &event.kind,
        event.subject.name(),
        now,
        &event.body,
        handled.name()
    ];
    tx.execute(sql, &row).await.map(drop)
}

/// Remembers an event that could not be handled, and why.
pub async fn failed(
    tx: &mut Tx<'_>,
    event: &ProviderEvent,
    error: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql =
        "INSERT INTO provider_events (provider, event_ref, kind, subject, received_at, body, state, error)
               VALUES ($1, $2, $3, $4, $5, $6, 'waiting', $7)
               ON CONFLICT (provider, event_ref) DO UPDATE SET error = excluded.error,
                 attempts = provider_events.attempts + 1
               WHERE provider_events.state <> 'done'";
    let row = params![event.provider, &event.id, &event.kind, event.subject.name(), now, &event.body, error];
    tx.execute(sql, &row).await.map(drop)
}

pub async fn is_done(tx: &mut Tx<'_>, provider: &str, event: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM provider_events WHERE provider = $1 AND event_ref = $2 AND state = 'done'";
    Ok(tx.query_opt(sql, &params![provider, event]).await?.is_some())
}

/// Whose an event is, and how it came.
pub async fn body(tx: &mut Tx<'_>, event: &str) -> Result<Option<(String, String)>, DbError> {
    let sql = "SELECT provider, body FROM provider_events WHERE event_ref = $1 AND body <> ''";
    tx.query_opt(sql, &params![event]).await?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Events that could not be handled, oldest first.
pub async fn waiting(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<String>, DbError> {
    let sql = "SELECT event_ref FROM provider_events WHERE state = 'waiting' ORDER BY received_at LIMIT $1";
    tx.query(sql, &params![limit]).await?.iter().map(|row| row.get(0)).collect()
}

pub async fn list(tx: &mut Tx<'_>, all: bool, limit: u32) -> Result<Vec<Stored>, DbError> {
    let open =
        "SELECT provider, event_ref, kind, subject, state, error, attempts, received_at FROM provider_events
                WHERE state <> 'done' ORDER BY received_at DESC LIMIT $1";
    let every =
        "SELECT provider, event_ref, kind, subject, state, error, attempts, received_at FROM provider_events
                 ORDER BY received_at DESC LIMIT $1";
    tx.query(if all { every } else { open }, &params![limit]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Stored, DbError> {
    Ok(Stored {
        provider: row.get(0)?,
        id: row.get(1)?,
        kind: row.get(2)?,
        subject: row.get(3)?,
        state: row.get(4)?,
        error: row.get(5)?,
        attempts: row.get(6)?,
        received_at: row.get(7)?,
    })
}
