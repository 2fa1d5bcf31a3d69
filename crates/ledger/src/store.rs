//! The ledger's statements.

use db::{DbError, Row, Tx, params};
use types::id::{AccountId, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::rules::{Books, Entry, Transfer};
use crate::{Account, AccountKind, Balance, Cap, Hold, HoldState, TransferKind};

const ACCOUNT: &str =
    "SELECT id, kind, posted, held, entries, version, frozen FROM ledger_accounts WHERE id = $1";
const HOLD: &str =
    "SELECT id, account_id, cap_id, amount, state, charged, expires_at FROM ledger_holds WHERE id = $1";
const CAP: &str = "SELECT id, spend_limit, held, spent FROM ledger_caps WHERE id = $1";
const TRANSFER: &str =
    "SELECT id, kind, from_account, to_account, amount, fee, note FROM ledger_transfers WHERE id = $1";

/// Opens an account. The caller chooses the id; opening it again is an error.
///
/// # Errors
/// A [`DbError`], [`DbError::Unique`] among them.
pub async fn open_account(
    tx: &mut Tx<'_>,
    id: AccountId,
    kind: AccountKind,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO ledger_accounts (id, kind, created_at) VALUES ($1, $2, $3)";
    tx.execute_one(sql, &params![id, kind.number(), now]).await
}

/// Opens a cap: a limit on what may be held and spent in the name of `id`.
///
/// # Errors
/// A [`DbError`], [`DbError::Unique`] among them.
pub async fn open_cap(tx: &mut Tx<'_>, id: i64, limit: MicroCredits) -> Result<(), DbError> {
    let sql = "INSERT INTO ledger_caps (id, spend_limit) VALUES ($1, $2)";
    tx.execute_one(sql, &params![id, limit]).await
}

/// Freezes an account (it can receive but not spend) or thaws it.
///
/// # Errors
/// A [`DbError`]; [`DbError::RowCount`] if there is no such account.
pub async fn freeze(tx: &mut Tx<'_>, id: AccountId, frozen: bool) -> Result<(), DbError> {
    let sql = "UPDATE ledger_accounts SET frozen = $2, version = version + 1 WHERE id = $1";
    tx.execute_one(sql, &params![id, frozen]).await
}

/// What there is in an account.
///
/// # Errors
/// A [`DbError`]; [`DbError::RowCount`] if there is no such account.
pub async fn balance(tx: &mut Tx<'_>, id: AccountId) -> Result<Balance, DbError> {
    Ok(read_account(&tx.query_one(ACCOUNT, &params![id]).await?)?.balance())
}

/// Open holds whose time has passed, oldest first, at most `limit`.
///
/// # Errors
/// A [`DbError`].
pub async fn holds_expired(tx: &mut Tx<'_>, now: Timestamp, limit: i64) -> Result<Vec<TransferId>, DbError> {
    let sql = "SELECT id FROM ledger_holds WHERE state = 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $2";
    tx.query(sql, &params![now, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// All open holds.
///
/// # Errors
/// A [`DbError`].
pub async fn holds_open(tx: &mut Tx<'_>) -> Result<Vec<TransferId>, DbError> {
    let sql = "SELECT id FROM ledger_holds WHERE state = 0 ORDER BY id";
    tx.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect()
}

pub(crate) async fn accounts(tx: &mut Tx<'_>, ids: &[AccountId]) -> Result<Vec<Account>, DbError> {
    let rows = tx.query_many(ACCOUNT, ids.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(read_account).collect()
}

pub(crate) async fn holds(tx: &mut Tx<'_>, ids: &[TransferId]) -> Result<Vec<Hold>, DbError> {
    let rows = tx.query_many(HOLD, ids.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(read_hold).collect()
}

pub(crate) async fn caps(tx: &mut Tx<'_>, ids: &[i64]) -> Result<Vec<Cap>, DbError> {
    let rows = tx.query_many(CAP, ids.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(read_cap).collect()
}

pub(crate) async fn transfers(tx: &mut Tx<'_>, ids: &[TransferId]) -> Result<Vec<Transfer>, DbError> {
    let rows = tx.query_many(TRANSFER, ids.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(read_transfer).collect()
}

/// Writes what a batch changed. `before` is what the touched accounts were when they were read.
pub(crate) async fn write(
    tx: &mut Tx<'_>,
    books: &Books,
    changed: &Changed,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute_many(
        "UPDATE ledger_accounts SET posted = $2, held = $3, entries = $4, version = $5 WHERE id = $1",
        changed.accounts.iter().map(|a| params![a.id, a.posted, a.held, a.entries, a.version]),
    )
    .await?;
    tx.execute_many(
        "UPDATE ledger_caps SET held = $2, spent = $3 WHERE id = $1",
        changed.caps.iter().map(|cap| params![cap.id, cap.held, cap.spent]),
    )
    .await?;
    tx.execute_many(
        "INSERT INTO ledger_holds (id, account_id, cap_id, amount, state, charged, expires_at, created_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        changed.new_holds.iter().map(|hold| {
            let ended = (hold.state != HoldState::Open).then_some(now);
            params![
                hold.id,
                hold.account,
                hold.cap,
                hold.amount,
                hold.state.number(),
                hold.charged,
                hold.expires_at,
                now,
                ended
            ]
        }),
    )
    .await?;
    // `state = 0`: a hold ends once, whatever this process believes (I3).
    tx.execute_many(
        "UPDATE ledger_holds SET state = $2, charged = $3, ended_at = $4 WHERE id = $1 AND state = 0",
        changed.ended_holds.iter().map(|hold| params![hold.id, hold.state.number(), hold.charged, now]),
    )
    .await?;
    tx.execute_many(
        "INSERT INTO ledger_transfers (id, kind, from_account, to_account, amount, fee, note, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        books
            .new_transfers
            .iter()
            .filter_map(|id| books.transfers.get(id))
            .map(|t| params![t.id, t.kind.number(), t.from, t.to, t.amount, t.fee, &t.note, now]),
    )
    .await?;
    tx.execute_many(
        "INSERT INTO ledger_entries (account_id, seq, transfer_id, amount, balance, at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        books
            .new_entries
            .iter()
            .map(|e: &Entry| params![e.account, e.seq, e.transfer, e.amount, e.balance, now]),
    )
    .await
}

/// The rows a batch changed, in the order they are written.
pub(crate) struct Changed {
    pub accounts: Vec<Account>,
    pub caps: Vec<Cap>,
    pub new_holds: Vec<Hold>,
    pub ended_holds: Vec<Hold>,
}

fn read_account(row: &Row) -> Result<Account, DbError> {
    Ok(Account {
        id: row.get(0)?,
        kind: AccountKind::from_number(row.get(1)?).ok_or_else(|| unknown("account kind"))?,
        posted: row.get(2)?,
        held: row.get(3)?,
        entries: row.get(4)?,
        version: row.get(5)?,
        frozen: row.get(6)?,
    })
}

fn read_hold(row: &Row) -> Result<Hold, DbError> {
    Ok(Hold {
        id: row.get(0)?,
        account: row.get(1)?,
        cap: row.get(2)?,
        amount: row.get(3)?,
        state: HoldState::from_number(row.get(4)?).ok_or_else(|| unknown("hold state"))?,
        charged: row.get(5)?,
        expires_at: row.get(6)?,
    })
}

fn read_cap(row: &Row) -> Result<Cap, DbError> {
    Ok(Cap { id: row.get(0)?, limit: row.get(1)?, held: row.get(2)?, spent: row.get(3)? })
}

fn read_transfer(row: &Row) -> Result<Transfer, DbError> {
    Ok(Transfer {
        id: row.get(0)?,
        kind: TransferKind::from_number(row.get(1)?).ok_or_else(|| unknown("transfer kind"))?,
        from: row.get(2)?,
        to: row.get(3)?,
        amount: row.get(4)?,
        fee: row.get(5)?,
        note: row.get(6)?,
    })
}

fn unknown(what: &str) -> DbError {
    DbError::Other(format!("the database holds a {what} this program does not know"))
}
