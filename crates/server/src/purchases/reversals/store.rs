//! Statements about what becomes of purchases.

use db::{DbError, Row, Tx, params};
use types::id::PurchaseId;
use types::money::Cents;
use types::time::Timestamp;

use crate::purchases::provider::{Fact, FactKind, Stage};
use crate::purchases::refunds::Wanted;
use crate::purchases::{Lot, Purchase};

/// The purchase a payment is of, by any of its names.
pub async fn by_payment(tx: &mut Tx<'_>, name: &str) -> Result<Option<PurchaseId>, DbError> {
    for sql in [
        "SELECT id FROM purchases WHERE payment_ref = $1 ORDER BY id LIMIT 1",
        "SELECT id FROM purchases WHERE charge_ref = $1 ORDER BY id LIMIT 1",
    ] {
        if let Some(row) = tx.query_opt(sql, &params![name]).await? {
            return row.get(0).map(Some);
        }
    }
    Ok(None)
}

/// Remembers what the provider calls a payment.
pub async fn set_names(
    tx: &mut Tx<'_>,
    id: PurchaseId,
    payment: Option<&str>,
    charge: Option<&str>,
) -> Result<(), DbError> {
    let sql =
        "UPDATE purchases SET payment_ref = coalesce(payment_ref, $2), charge_ref = coalesce($3, charge_ref)
               WHERE id = $1";
    tx.execute_one(sql, &params![id, payment, charge]).await
}

/// Writes what is known of a payment now. A fact only moves on.
pub async fn merge(
    tx: &mut Tx<'_>,
    provider: &str,
    purchase: PurchaseId,
    facts: &[Fact],
    now: Timestamp,
) -> Result<(), DbError> {
    // Reversed comes before void: a refund that succeeded may still fail.
    let sql = "INSERT INTO payment_facts (provider, fact_ref, purchase_id, kind, amount_cents, stage, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
               ON CONFLICT (provider, fact_ref) DO UPDATE SET stage = excluded.stage, amount_cents = excluded.amount_cents,
                 updated_at = excluded.updated_at
               WHERE excluded.stage > payment_facts.stage AND payment_facts.kind <> 'warning'";
    for fact in facts {
        let row = params![
            provider,
            &fact.id,
            purchase,
            kind_name(fact.kind),
            fact.amount,
            stage_number(fact.stage),
            now
        ];
        tx.execute(sql, &row).await?;
    }
    Ok(())
}

/// Everything known of the payment of a purchase.
pub async fn facts(tx: &mut Tx<'_>, purchase: PurchaseId) -> Result<Vec<Fact>, DbError> {
    let sql = "SELECT fact_ref, kind, amount_cents, stage FROM payment_facts WHERE purchase_id = $1 ORDER BY fact_ref";
    tx.query(sql, &params![purchase]).await?.iter().map(read_fact).collect()
}

/// Marks warnings that nobody has acted upon; answers whether there were any.
pub async fn new_warnings(tx: &mut Tx<'_>, purchase: PurchaseId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE payment_facts SET stage = 1, updated_at = $2
               WHERE purchase_id = $1 AND kind = 'warning' AND stage = 0";
    Ok(tx.execute(sql, &params![purchase, now]).await? > 0)
}

/// Writes what has been done with a lot.
pub async fn set_lot(tx: &mut Tx<'_>, id: PurchaseId, lot: &Lot) -> Result<(), DbError> {
    let sql =
        "UPDATE purchases SET taken = $2, frozen = $3, freeze_id = $4, refunded_cents = $5, lost_cents = $6,
                 disputed_cents = $7 WHERE id = $1";
    let standing = lot.standing;
    let row =
        params![id, lot.taken, lot.frozen, lot.freeze, standing.refunded, standing.lost, standing.disputed];
    tx.execute_one(sql, &row).await
}

/// How many micro-credits came into a wallet after a purchase, by purchase or by grant, and were not taken back.
pub async fn came_later(tx: &mut Tx<'_>, purchase: &Purchase) -> Result<i64, DbError> {
    let since = purchase.granted_at.unwrap_or(purchase.created_at);
    let bought = "SELECT CAST(coalesce(sum(credits * 1000000 - taken), 0) AS BIGINT) FROM purchases
                  WHERE user_id = $1 AND state = 'granted' AND (granted_at > $2 OR (granted_at = $2 AND id > $3))";
    let granted =
        "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM grants WHERE user_id = $1 AND created_at > $2";
    let bought: i64 = tx.query_one(bought, &params![purchase.user, since, purchase.id]).await?.get(0)?;
    let granted: i64 = tx.query_one(granted, &params![purchase.user, since]).await?.get(0)?;
    Ok(bought.saturating_add(granted))
}

/// Purchases with a dispute that is not decided.
pub async fn disputed(tx: &mut Tx<'_>) -> Result<Vec<PurchaseId>, DbError> {
    let sql = "SELECT id FROM purchases WHERE disputed_cents > 0 ORDER BY id";
    tx.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect()
}

fn read_fact(row: &Row) -> Result<Fact, DbError> {
    let strange = |what: &str| DbError::Other(format!("a payment fact has a strange {what}"));
    Ok(Fact {
        id: row.get(0)?,
        kind: kind_from(&row.get::<String>(1)?).ok_or_else(|| strange("kind"))?,
        amount: row.get::<Cents>(2)?,
        stage: stage_from(row.get(3)?).ok_or_else(|| strange("stage"))?,
    })
}

const fn kind_name(kind: FactKind) -> &'static str {
    match kind {
        FactKind::Refund => "refund",
        FactKind::Dispute => "dispute",
        FactKind::Warning => "warning",
    }
}

fn kind_from(name: &str) -> Option<FactKind> {
    [FactKind::Refund, FactKind::Dispute, FactKind::Warning].into_iter().find(|kind| kind_name(*kind) == name)
}

/// As stored.
pub const fn stage_number(stage: Stage) -> i64 {
    match stage {
        Stage::Open => 0,
        Stage::Reversed => 1,
        Stage::Void => 2,
    }
}

/// From what is stored.
pub fn stage_from(number: i64) -> Option<Stage> {
    [Stage::Open, Stage::Reversed, Stage::Void].into_iter().find(|stage| stage_number(*stage) == number)
}

/// Writes down that a refund is wanted.
pub async fn want_refund(
    tx: &mut Tx<'_>,
    wanted: &Wanted,
    note: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO refunds (id, purchase_id, amount_cents, note, state, created_at)
               VALUES ($1, $2, $3, $4, 'wanted', $5)";
    tx.execute_one(sql, &params![wanted.id, wanted.purchase, wanted.amount, note, now]).await
}

/// Writes down what became of it.
pub async fn refund_made(
    tx: &mut Tx<'_>,
    id: i64,
    state: &str,
    fact: Option<&str>,
    error: Option<&str>,
) -> Result<(), DbError> {
    let sql = "UPDATE refunds SET state = $2, fact_ref = $3, error = $4 WHERE id = $1";
    tx.execute_one(sql, &params![id, state, fact, error]).await
}

/// What is wanted of a purchase and not made, in cents.
pub async fn wanted_cents(tx: &mut Tx<'_>, purchase: PurchaseId) -> Result<i64, DbError> {
    let sql = "SELECT CAST(coalesce(sum(amount_cents), 0) AS BIGINT) FROM refunds
               WHERE purchase_id = $1 AND state = 'wanted'";
    tx.query_one(sql, &params![purchase]).await?.get(0)
}

/// Refunds wanted between two times, oldest first.
pub async fn wanted(tx: &mut Tx<'_>, after: Timestamp, before: Timestamp) -> Result<Vec<Wanted>, DbError> {
    let sql = "SELECT r.id, r.purchase_id, r.amount_cents, p.payment_ref FROM refunds r
               JOIN purchases p ON p.id = r.purchase_id
               WHERE r.state = 'wanted' AND r.created_at < $1 AND r.created_at > $2 AND p.payment_ref IS NOT NULL ORDER BY r.id LIMIT 100";
    let rows = tx.query(sql, &params![before, after]).await?;
    let read = |row: &Row| {
        Ok(Wanted { id: row.get(0)?, purchase: row.get(1)?, amount: row.get(2)?, payment: row.get(3)? })
    };
    rows.iter().map(read).collect()
}
