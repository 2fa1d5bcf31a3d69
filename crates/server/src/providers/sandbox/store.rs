//! Statements about the sandbox providers' own memory.

use db::{DbError, Row, Tx, params};
use types::money::Cents;
use types::time::Timestamp;

use super::Delivery;
use crate::identity::sandbox::SandboxIdentity;
use crate::purchases::provider::{Fact, FactKind};
use crate::purchases::reversals::store::{stage_from, stage_number};
use crate::purchases::sandbox::SandboxCheckout;

const CHECKOUT: &str =
    "id, purchase_ref, description, amount_cents, currency, return_url, cancel_url, status,
    payment_status";

pub async fn insert_delivery(
    tx: &mut Tx<'_>,
    event: &str,
    body: &str,
    due: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO sandbox_deliveries (event_ref, body, due_at) VALUES ($1, $2, $3)";
    tx.execute_one(sql, &params![event, body, due]).await
}

pub async fn due(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<Delivery>, DbError> {
    let sql = "SELECT event_ref, body, attempts FROM sandbox_deliveries
               WHERE delivered_at IS NULL AND due_at <= $1 ORDER BY due_at LIMIT 100";
    let rows = tx.query(sql, &params![now]).await?;
    rows.iter()
        .map(|row| Ok(Delivery { event_ref: row.get(0)?, body: row.get(1)?, attempts: row.get(2)? }))
        .collect()
}

pub async fn delivered(tx: &mut Tx<'_>, event: &str, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE sandbox_deliveries SET delivered_at = $2, attempts = attempts + 1 WHERE event_ref = $1";
    tx.execute_one(sql, &params![event, now]).await
}

pub async fn postponed(tx: &mut Tx<'_>, event: &str, due: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE sandbox_deliveries SET due_at = $2, attempts = attempts + 1 WHERE event_ref = $1";
    tx.execute_one(sql, &params![event, due]).await
}

/// Makes a checkout, or finds the one made with the same idempotency key.
pub async fn insert_checkout(
    tx: &mut Tx<'_>,
    checkout: &SandboxCheckout,
    (key, customer): (&str, &str),
    now: Timestamp,
) -> Result<String, DbError> {
    let sql = "INSERT INTO sandbox_checkouts (id, purchase_ref, idempotency_key, description, amount_cents, currency,
                 return_url, cancel_url, status, payment_status, created_at, customer_ref)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
               ON CONFLICT (idempotency_key) DO NOTHING";
    let row = params![
        &checkout.id,
        &checkout.purchase_ref,
        key,
        &checkout.description,
        checkout.amount,
        &checkout.currency,
        &checkout.return_url,
        &checkout.cancel_url,
        &checkout.status,
        &checkout.payment_status,
        now,
        customer
    ];
    tx.execute(sql, &row).await?;
    let found = "SELECT id FROM sandbox_checkouts WHERE idempotency_key = $1";
    tx.query_one(found, &params![key]).await?.get(0)
}

/// Whether this customer has ever paid.
pub async fn has_paid(tx: &mut Tx<'_>, customer: &str) -> Result<bool, DbError> {
    let sql = "SELECT id FROM sandbox_checkouts WHERE customer_ref = $1 AND payment_status = 'paid' LIMIT 1";
    Ok(tx.query_opt(sql, &params![customer]).await?.is_some())
}

pub async fn checkout(tx: &mut Tx<'_>, id: &str) -> Result<Option<SandboxCheckout>, DbError> {
    let sql = format!("SELECT {CHECKOUT} FROM sandbox_checkouts WHERE id = $1");
    tx.query_opt(&sql, &params![id]).await?.as_ref().map(read_checkout).transpose()
}

/// Changes a checkout that is still in the state it was seen in; answers whether it was.
pub async fn change_checkout(
    tx: &mut Tx<'_>,
    id: &str,
    seen: &SandboxCheckout,
    (status, payment): (&str, &str),
    settles_at: Option<Timestamp>,
) -> Result<bool, DbError> {
    let sql = "UPDATE sandbox_checkouts SET status = $2, payment_status = $3, settles_at = $4
               WHERE id = $1 AND status = $5 AND payment_status = $6";
    let row = params![id, status, payment, settles_at, &seen.status, &seen.payment_status];
    Ok(tx.execute(sql, &row).await? == 1)
}

/// Checkouts whose delayed payment is due.
pub async fn settling(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<SandboxCheckout>, DbError> {
    let sql = format!("SELECT {CHECKOUT} FROM sandbox_checkouts WHERE settles_at <= $1 LIMIT 100");
    tx.query(&sql, &params![now]).await?.iter().map(read_checkout).collect()
}

/// Checkouts begun since.
pub async fn recent(tx: &mut Tx<'_>, since: Timestamp) -> Result<Vec<SandboxCheckout>, DbError> {
    let sql = format!("SELECT {CHECKOUT} FROM sandbox_checkouts WHERE created_at >= $1 ORDER BY created_at");
    tx.query(&sql, &params![since]).await?.iter().map(read_checkout).collect()
}

/// Notes a refund, or finds the one noted with the same idempotency key.
pub async fn insert_fact(tx: &mut Tx<'_>, checkout: &str, fact: &Fact, key: &str) -> Result<Fact, DbError> {
    let sql = "INSERT INTO sandbox_facts (id, checkout_id, kind, idempotency_key, amount_cents, stage)
               VALUES ($1, $2, 'refund', $3, $4, $5) ON CONFLICT (idempotency_key) DO NOTHING";
    let stage = stage_number(fact.stage);
    tx.execute(sql, &params![&fact.id, checkout, key, fact.amount, stage]).await?;
    let found = "SELECT id, amount_cents, stage FROM sandbox_facts WHERE idempotency_key = $1";
    read_sandbox_fact(&tx.query_one(found, &params![key]).await?)
}

pub async fn facts(tx: &mut Tx<'_>, checkout: &str) -> Result<Vec<Fact>, DbError> {
    let sql = "SELECT id, amount_cents, stage FROM sandbox_facts WHERE checkout_id = $1 ORDER BY id";
    tx.query(sql, &params![checkout]).await?.iter().map(read_sandbox_fact).collect()
}

fn read_sandbox_fact(row: &Row) -> Result<Fact, DbError> {
    let stage = stage_from(row.get(2)?).ok_or_else(|| DbError::Other("a fact of no stage".to_owned()))?;
    Ok(Fact { id: row.get(0)?, kind: FactKind::Refund, amount: row.get(1)?, stage })
}

pub async fn insert_identity(
    tx: &mut Tx<'_>,
    id: &str,
    return_url: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql =
        "INSERT INTO sandbox_identities (id, return_url, status, created_at) VALUES ($1, $2, 'open', $3)";
    tx.execute_one(sql, &params![id, return_url, now]).await
}

pub async fn identity(tx: &mut Tx<'_>, id: &str) -> Result<Option<SandboxIdentity>, DbError> {
    let sql = "SELECT id, return_url, status, name, country, reason FROM sandbox_identities WHERE id = $1";
    let row = tx.query_opt(sql, &params![id]).await?;
    row.map(|row| {
        Ok(SandboxIdentity {
            id: row.get(0)?,
            return_url: row.get(1)?,
            status: row.get(2)?,
            name: row.get(3)?,
            country: row.get(4)?,
            reason: row.get(5)?,
        })
    })
    .transpose()
}

pub async fn decide_identity(tx: &mut Tx<'_>, decided: &SandboxIdentity) -> Result<bool, DbError> {
    let sql = "UPDATE sandbox_identities SET status = $2, name = $3, country = $4, reason = $5
               WHERE id = $1 AND status IN ('open', 'processing')";
    let row = params![&decided.id, &decided.status, &decided.name, &decided.country, &decided.reason];
    Ok(tx.execute(sql, &row).await? == 1)
}

pub async fn erase_identity(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    let sql = "UPDATE sandbox_identities SET status = 'erased', name = NULL, country = NULL WHERE id = $1";
    tx.execute(sql, &params![id]).await.map(drop)
}

fn read_checkout(row: &Row) -> Result<SandboxCheckout, DbError> {
    Ok(SandboxCheckout {
        id: row.get(0)?,
        purchase_ref: row.get(1)?,
        description: row.get(2)?,
        amount: row.get::<Cents>(3)?,
        currency: row.get(4)?,
        return_url: row.get(5)?,
        cancel_url: row.get(6)?,
        status: row.get(7)?,
        payment_status: row.get(8)?,
    })
}
