//! Statements about endpoints, their secrets, events and deliveries.

use db::{DbError, Question, Row, Tx, params};
use types::id::{DeliveryId, EndpointId, EventId, UserId};
use types::time::Timestamp;

use super::deliver::{Due, Outcome};
use super::events::Kind;
use super::{Delivery, Endpoint};

const ENDPOINT: &str =
    "e.id, e.url, e.description, e.events, e.created_at, e.enabled, e.disabled_at, e.disabled_reason,
    e.failing_since, e.missed,
    (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.state = 'waiting')";
const DELIVERY: &str =
    "d.id, d.event_id, v.kind, d.state, d.attempts, d.created_at, d.due_at, d.tried_at, d.took_ms, d.status,
    d.answer, d.error, v.body";
/// Rows that one transaction forgets.
const AT_ONCE: i64 = 1000;

pub async fn insert_endpoint(tx: &mut Tx<'_>, user: UserId, endpoint: &Endpoint) -> Result<(), DbError> {
    let sql = "INSERT INTO webhook_endpoints (id, user_id, url, description, events, created_at, enabled)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let events = stored(&endpoint.events);
    let enabled = i64::from(endpoint.enabled);
    let row = params![
        endpoint.id,
        user,
        &endpoint.url,
        &endpoint.description,
        &events,
        endpoint.created_at,
        enabled
    ];
    tx.execute_one(sql, &row).await
}

/// Writes what can be changed of an endpoint.
pub async fn update_endpoint(tx: &mut Tx<'_>, endpoint: &Endpoint) -> Result<(), DbError> {
    let sql = "UPDATE webhook_endpoints SET url = $2, description = $3, events = $4, enabled = $5, disabled_at = $6,
                 disabled_reason = $7, failing_since = $8 WHERE id = $1";
    let (events, enabled) = (stored(&endpoint.events), i64::from(endpoint.enabled));
    let row = params![
        endpoint.id,
        &endpoint.url,
        &endpoint.description,
        &events,
        enabled,
        endpoint.disabled_at,
        &endpoint.disabled_reason,
        endpoint.failing_since
    ];
    tx.execute_one(sql, &row).await
}

/// Answers whether it was there.
pub async fn delete_endpoint(
    tx: &mut Tx<'_>,
    user: UserId,
    id: EndpointId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE webhook_endpoints SET deleted_at = $3, enabled = 0
               WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL";
    if tx.execute(sql, &params![id, user, now]).await? != 1 {
        return Ok(false);
    }
    tx.execute("DELETE FROM webhook_secrets WHERE endpoint_id = $1", &params![id]).await?;
    Ok(true)
}

pub async fn endpoints(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<Endpoint>, DbError> {
    let sql = format!(
        "SELECT {ENDPOINT} FROM webhook_endpoints e WHERE e.user_id = $1 AND e.deleted_at IS NULL ORDER BY e.id DESC"
    );
    tx.query(&sql, &params![user]).await?.iter().map(read_endpoint).collect()
}

pub async fn endpoint(tx: &mut Tx<'_>, user: UserId, id: EndpointId) -> Result<Option<Endpoint>, DbError> {
    let sql = format!(
        "SELECT {ENDPOINT} FROM webhook_endpoints e WHERE e.id = $1 AND e.user_id = $2 AND e.deleted_at IS NULL"
    );
    tx.query_opt(&sql, &params![id, user]).await?.as_ref().map(read_endpoint).transpose()
}

pub async fn insert_secret(
    tx: &mut Tx<'_>,
    id: EndpointId,
    secret: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO webhook_secrets (endpoint_id, secret, created_at) VALUES ($1, $2, $3)";
    tx.execute_one(sql, &params![id, secret, now]).await
}

/// The secrets of an endpoint that have no end get one.
pub async fn end_secrets(tx: &mut Tx<'_>, id: EndpointId, until: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE webhook_secrets SET valid_until = $2 WHERE endpoint_id = $1 AND valid_until IS NULL";
    tx.execute(sql, &params![id, until]).await.map(drop)
}

/// Drops the secrets of an endpoint that ended before `now` (or all of them), and the oldest beyond so many.
pub async fn drop_secrets(
    tx: &mut Tx<'_>,
    id: EndpointId,
    now: Option<Timestamp>,
    keep: usize,
) -> Result<(), DbError> {
    let sql =
        "SELECT secret, valid_until FROM webhook_secrets WHERE endpoint_id = $1 ORDER BY created_at DESC";
    let rows = tx.query(sql, &params![id]).await?;
    let mut kept = 0;
    for row in rows {
        let (secret, until): (String, Option<Timestamp>) = (row.get(0)?, row.get(1)?);
        let valid = now.is_some_and(|now| until.is_none_or(|until| until > now));
        if valid && kept < keep {
            kept += 1;
        } else {
            let sql = "DELETE FROM webhook_secrets WHERE endpoint_id = $1 AND secret = $2";
            tx.execute(sql, &params![id, &secret]).await?;
        }
    }
    Ok(())
}

/// Somebody began to listen, or wants to hear of something else.
pub async fn bump(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let sql = "INSERT INTO webhook_changes (id, version) VALUES (1, 1)
               ON CONFLICT (id) DO UPDATE SET version = webhook_changes.version + 1";
    tx.execute(sql, &params![]).await.map(drop)
}

/// How often that happened; nothing if nobody has ever listened.
pub async fn ask_version(tx: &mut Tx<'_>) -> Result<Question<Option<i64>>, DbError> {
    let sql = "SELECT version FROM webhook_changes WHERE id = $1";
    tx.ask_many(sql, [params![1]], |rows| rows.iter().flatten().next().map(|row| row.get(0)).transpose())
        .await
}

/// Users who have endpoints that are told something.
pub async fn listeners(tx: &mut Tx<'_>) -> Result<Vec<UserId>, DbError> {
    let sql = "SELECT DISTINCT user_id FROM webhook_endpoints WHERE enabled = 1 AND deleted_at IS NULL";
    tx.query(sql, &params![]).await?.iter().map(|row| row.get(0)).collect()
}

/// Endpoints of a user that are told something, and of what.
pub async fn listening(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<(EndpointId, String)>, DbError> {
    let sql = "SELECT id, events FROM webhook_endpoints
               WHERE user_id = $1 AND enabled = 1 AND deleted_at IS NULL ORDER BY id";
    tx.query(sql, &params![user]).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// How many deliveries wait for an endpoint.
pub async fn waiting(tx: &mut Tx<'_>, id: EndpointId) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND state = 'waiting'";
    tx.query_one(sql, &params![id]).await?.get(0)
}

/// An endpoint was not told of so many events.
pub async fn missed(tx: &mut Tx<'_>, id: EndpointId, events: usize) -> Result<(), DbError> {
    let events = i64::try_from(events).unwrap_or(i64::MAX);
    let sql = "UPDATE webhook_endpoints SET missed = missed + $2 WHERE id = $1";
    tx.execute_one(sql, &params![id, events]).await
}

pub async fn insert_events(
    tx: &mut Tx<'_>,
    user: UserId,
    events: &[(EventId, &str, String)],
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO webhook_events (id, user_id, kind, body, created_at) VALUES ($1, $2, $3, $4, $5)";
    tx.execute_many(sql, events.iter().map(|(id, kind, body)| params![*id, user, *kind, body, now])).await
}

pub async fn insert_deliveries(
    tx: &mut Tx<'_>,
    deliveries: &[(DeliveryId, EndpointId, EventId)],
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO webhook_deliveries (id, endpoint_id, event_id, state, created_at, due_at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    let rows = deliveries.iter().map(|&(id, to, event)| params![id, to, event, "waiting", now, now]);
    tx.execute_many(sql, rows).await
}

pub async fn delivery(
    tx: &mut Tx<'_>,
    endpoint: EndpointId,
    id: DeliveryId,
) -> Result<Option<Delivery>, DbError> {
    let sql = format!(
        "SELECT {DELIVERY} FROM webhook_deliveries d JOIN webhook_events v ON v.id = d.event_id
         WHERE d.id = $1 AND d.endpoint_id = $2"
    );
    tx.query_opt(&sql, &params![id, endpoint]).await?.as_ref().map(read_delivery).transpose()
}

/// The newest first, before that one.
pub async fn deliveries(
    tx: &mut Tx<'_>,
    endpoint: EndpointId,
    before: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Delivery>, DbError> {
    let sql = format!(
        "SELECT {DELIVERY} FROM webhook_deliveries d JOIN webhook_events v ON v.id = d.event_id
         WHERE d.endpoint_id = $1 AND d.id < $2 ORDER BY d.id DESC LIMIT $3"
    );
    let before = before.map_or(i64::MAX, types::id::Id::get);
    tx.query(&sql, &params![endpoint, before, limit]).await?.iter().map(read_delivery).collect()
}

/// Endpoints that something is due for.
pub async fn endpoints_due(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<EndpointId>, DbError> {
    let sql = "SELECT e.id FROM webhook_endpoints e WHERE e.enabled = 1 AND e.deleted_at IS NULL
               AND EXISTS (SELECT 1 FROM webhook_deliveries d
                           WHERE d.endpoint_id = e.id AND d.state = 'waiting' AND d.due_at <= $1)";
    tx.query(sql, &params![now]).await?.iter().map(|row| row.get(0)).collect()
}

/// What is due for an endpoint that is told something, the longest first.
pub async fn due(
    tx: &mut Tx<'_>,
    endpoint: EndpointId,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Due>, DbError> {
    let sql = "SELECT d.id, d.event_id, v.kind, v.body, d.attempts, e.url, e.user_id
               FROM webhook_deliveries d JOIN webhook_events v ON v.id = d.event_id
               JOIN webhook_endpoints e ON e.id = d.endpoint_id
               WHERE d.endpoint_id = $1 AND d.state = 'waiting' AND d.due_at <= $2
                 AND e.enabled = 1 AND e.deleted_at IS NULL
               ORDER BY d.due_at, d.id LIMIT $3";
    let rows = tx.query(sql, &params![endpoint, now, limit]).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT secret FROM webhook_secrets WHERE endpoint_id = $1 AND (valid_until IS NULL OR valid_until > $2)
               ORDER BY created_at DESC";
    let secrets = tx.query(sql, &params![endpoint, now]).await?;
    let secrets: Vec<String> = secrets.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
    let read = |row: &Row| {
        Ok(Due {
            id: row.get(0)?,
            endpoint,
            event: row.get(1)?,
            kind: row.get(2)?,
            body: row.get(3)?,
            attempts: row.get(4)?,
            url: row.get(5)?,
            user: row.get(6)?,
            secrets: secrets.clone(),
        })
    };
    rows.iter().map(read).collect()
}

/// Takes deliveries, until then.
pub async fn take(tx: &mut Tx<'_>, ids: &[DeliveryId], until: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE webhook_deliveries SET due_at = $2, attempts = attempts + 1 WHERE id = $1";
    tx.execute_many(sql, ids.iter().map(|&id| params![id, until])).await
}

/// Notes how a try went, unless somebody else has tried since. `again`: when it is to be tried next, if it is.
pub async fn note(
    tx: &mut Tx<'_>,
    due: &Due,
    outcome: &Outcome,
    again: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), DbError> {
    let state = match (outcome.is_fine(), again) {
        (true, _) => "delivered",
        (false, Some(_)) => "waiting",
        (false, None) => "failed",
    };
    let sql = "UPDATE webhook_deliveries SET state = $3, due_at = $4, tried_at = $5, took_ms = $6, status = $7, answer = $8,
                 error = $9 WHERE id = $1 AND attempts = $2 AND state = 'waiting'";
    let status = outcome.status.map(i64::from);
    let (answer, error) = (&outcome.answer, &outcome.error);
    let row = params![
        due.id,
        due.attempts,
        state,
        again.unwrap_or(now),
        now,
        outcome.took_ms,
        status,
        answer,
        error
    ];
    tx.execute(sql, &row).await.map(drop)
}

/// Notes whether an endpoint does its duty; answers since when it has not.
pub async fn note_health(
    tx: &mut Tx<'_>,
    id: EndpointId,
    fine: bool,
    now: Timestamp,
) -> Result<Option<Timestamp>, DbError> {
    if fine {
        let sql =
            "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL";
        tx.execute(sql, &params![id]).await?;
        return Ok(None);
    }
    let sql = "UPDATE webhook_endpoints SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL";
    tx.execute(sql, &params![id, now]).await?;
    let row = tx.query_opt("SELECT failing_since FROM webhook_endpoints WHERE id = $1", &params![id]).await?;
    row.map_or(Ok(None), |row| row.get(0))
}

/// Switches an endpoint off; answers whether it was on.
pub async fn disable(tx: &mut Tx<'_>, id: EndpointId, reason: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE webhook_endpoints SET enabled = 0, disabled_at = $2, disabled_reason = $3
               WHERE id = $1 AND enabled = 1";
    Ok(tx.execute(sql, &params![id, now, reason]).await? == 1)
}

/// Forgets some of what is older than that, or of endpoints that were deleted; answers whether there may be more.
pub async fn forget(tx: &mut Tx<'_>, before: Timestamp, now: Timestamp) -> Result<bool, DbError> {
    let most = usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
    let sql = "DELETE FROM webhook_deliveries WHERE id IN
                 (SELECT o.id FROM (SELECT id, created_at FROM webhook_deliveries ORDER BY id LIMIT $2) o
                  WHERE o.created_at < $1)";
    let old = tx.execute(sql, &params![before, AT_ONCE]).await?;
    let sql = "DELETE FROM webhook_deliveries WHERE id IN
                 (SELECT d.id FROM webhook_endpoints e JOIN webhook_deliveries d ON d.endpoint_id = e.id
                  WHERE e.deleted_at IS NOT NULL LIMIT $1)";
    let orphans = tx.execute(sql, &params![AT_ONCE]).await?;
    let sql = "DELETE FROM webhook_events WHERE id IN
                 (SELECT v.id FROM webhook_events v WHERE v.created_at < $1
                    AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.event_id = v.id)
                  ORDER BY v.created_at LIMIT $2)";
    let events = tx.execute(sql, &params![before, AT_ONCE]).await?;
    let sql = "DELETE FROM webhook_endpoints WHERE deleted_at IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.endpoint_id = webhook_endpoints.id)";
    tx.execute(sql, &params![]).await?;
    tx.execute("DELETE FROM webhook_secrets WHERE valid_until <= $1", &params![now]).await?;
    Ok(old == most || orphans == most || events == most)
}

fn stored(events: &[Kind]) -> String {
    events.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" ")
}

fn read_endpoint(row: &Row) -> Result<Endpoint, DbError> {
    let events: String = row.get(3)?;
    Ok(Endpoint {
        id: row.get(0)?,
        url: row.get(1)?,
        description: row.get(2)?,
        events: events.split_whitespace().filter_map(Kind::from_name).collect(),
        created_at: row.get(4)?,
        enabled: row.get::<i64>(5)? == 1,
        disabled_at: row.get(6)?,
        disabled_reason: row.get(7)?,
        failing_since: row.get(8)?,
        missed: row.get(9)?,
        waiting: row.get(10)?,
    })
}

fn read_delivery(row: &Row) -> Result<Delivery, DbError> {
    Ok(Delivery {
        id: row.get(0)?,
        event: row.get(1)?,
        kind: row.get(2)?,
        state: row.get(3)?,
        attempts: row.get(4)?,
        created_at: row.get(5)?,
        due_at: row.get(6)?,
        tried_at: row.get(7)?,
        took_ms: row.get(8)?,
        status: row.get(9)?,
        answer: row.get(10)?,
        error: row.get(11)?,
        body: row.get(12)?,
    })
}
