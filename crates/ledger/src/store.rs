//! The ledger's statements.

use db::{DbError, Param, Question, Row, Tx, params};
use types::id::{AccountId, TransferId};
use types::time::Timestamp;

use crate::cap::{Limits, Window};
use crate::transfer::{Leg, Transfer};
use crate::{Account, AccountKind, Cap, Hold, TransferKind, system};

/// How much of the journal is read at a time.
const JOURNAL_PAGE: i64 = 16;

const HEAD: &str = "SELECT batch, mark, folded, swept, high FROM ledger_head WHERE id = $1";
const ACCOUNT: &str = "SELECT id, kind, posted, held, debt, entries, head, version, frozen
    FROM ledger_accounts WHERE id = $1";
const CAP: &str = "SELECT id, limit_total, limit_day, limit_week, limit_month, held, spent,
        day_start, day_spent, week_start, week_spent, month_start, month_spent
    FROM ledger_caps WHERE id = $1";
const TRANSFER: &str = "SELECT id, kind, from_account, to_account, amount, fee, held, cap_id, note,
        from_seq, from_balance, from_prev, to_seq, to_balance, to_prev, fee_seq, fee_balance, fee_prev
    FROM ledger_transfers WHERE id = $1";

/// How far the ledger has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub batch: i64,
    pub mark: i64,
    pub folded: i64,
    pub swept: i64,
    pub high: i64,
}

/// Rows to bring up to date.
#[derive(Debug, Default)]
pub(crate) struct Folding {
    pub accounts: Vec<Account>,
    pub caps: Vec<Cap>,
    /// Holds that get a row.
    pub store: Vec<Hold>,
    /// Holds whose row goes.
    pub delete: Vec<TransferId>,
    /// The journal up to this batch goes.
    pub prune_until: Option<i64>,
}

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
    open_accounts(tx, &[(id, kind)], now).await
}

/// Opens accounts, as one vector.
///
/// # Errors
/// A [`DbError`], [`DbError::Unique`] among them.
pub async fn open_accounts(
    tx: &mut Tx<'_>,
    accounts: &[(AccountId, AccountKind)],
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO ledger_accounts (id, kind, created_at) VALUES ($1, $2, $3)";
    tx.execute_many(sql, accounts.iter().map(|(id, kind)| params![*id, kind.number(), now])).await
}

/// Opens the debt accounts of wallets that have none yet.
pub(crate) async fn open_debts(
    tx: &mut Tx<'_>,
    wallets: &[AccountId],
    now: Timestamp,
) -> Result<(), DbError> {
    let sql =
        "INSERT INTO ledger_accounts (id, kind, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    for wallet in wallets {
        tx.execute(sql, &params![system::debt_of(*wallet), AccountKind::Debt.number(), now]).await?;
    }
    Ok(())
}

/// Opens a cap: limits on what may be held and spent in the name of `id`.
///
/// # Errors
/// A [`DbError`], [`DbError::Unique`] among them.
pub async fn open_cap(tx: &mut Tx<'_>, id: i64, limits: Limits) -> Result<(), DbError> {
    let sql = "INSERT INTO ledger_caps (id, limit_total, limit_day, limit_week, limit_month)
        VALUES ($1, $2, $3, $4, $5)";
    tx.execute_one(sql, &params![id, limits.total, limits.day, limits.week, limits.month]).await
}

pub(crate) async fn head(tx: &mut Tx<'_>) -> Result<Head, DbError> {
    read_head(&tx.query_one(HEAD, &params![1]).await?)
}

/// [`head`], to be answered later.
pub(crate) async fn ask_head(tx: &mut Tx<'_>) -> Result<Question<Head>, DbError> {
    tx.ask_many(HEAD, [params![1]], |rows| {
        let row = rows.first().and_then(Option::as_ref);
        row.map_or_else(|| Err(DbError::Other("the ledger has no head".to_owned())), read_head)
    })
    .await
}

fn read_head(row: &Row) -> Result<Head, DbError> {
    Ok(Head {
        batch: row.get(0)?,
        mark: row.get(1)?,
        folded: row.get(2)?,
        swept: row.get(3)?,
        high: row.get(4)?,
    })
}

/// Moves the head on from batch `before`: whoever built on another state is refused.
pub(crate) async fn move_head(tx: &mut Tx<'_>, head: Head, before: i64) -> Result<(), DbError> {
    let sql = "UPDATE ledger_head SET batch = $1, mark = $2, folded = $3, swept = $4, high = $5
        WHERE id = 1 AND batch = $6";
    tx.execute_one(sql, &params![head.batch, head.mark, head.folded, head.swept, head.high, before]).await
}

pub(crate) async fn add_journal(
    tx: &mut Tx<'_>,
    head: Head,
    now: Timestamp,
    changes: &[u8],
) -> Result<(), DbError> {
    let sql = "INSERT INTO ledger_journal (batch, mark, at, changes) VALUES ($1, $2, $3, $4)";
    tx.execute_one(sql, &params![head.batch, head.mark, now, changes]).await
}

pub(crate) async fn journal_mark(tx: &mut Tx<'_>, batch: i64) -> Result<Option<i64>, DbError> {
    let row = tx.query_opt("SELECT mark FROM ledger_journal WHERE batch = $1", &params![batch]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// A batch in the journal.
pub(crate) struct Entry {
    pub batch: i64,
    pub mark: i64,
    pub changes: Vec<u8>,
}

/// The next batches after one.
pub(crate) async fn journal_after(tx: &mut Tx<'_>, batch: i64) -> Result<Vec<Entry>, DbError> {
    // SQLite prepares a statement again whenever another limit is bound, even the same one.
    let sql = format!(
        "SELECT batch, mark, changes FROM ledger_journal WHERE batch > $1 ORDER BY batch LIMIT {JOURNAL_PAGE}"
    );
    let rows = tx.query(&sql, &params![batch]).await?;
    rows.iter().map(|row| Ok(Entry { batch: row.get(0)?, mark: row.get(1)?, changes: row.get(2)? })).collect()
}

pub(crate) async fn journal_sizes(tx: &mut Tx<'_>) -> Result<Vec<(i64, usize)>, DbError> {
    let rows = tx.query("SELECT batch, length(changes) FROM ledger_journal ORDER BY batch", &[]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, usize::try_from(row.get::<i64>(1)?).unwrap_or(0)))).collect()
}

/// An account's row.
pub(crate) async fn account(tx: &mut Tx<'_>, id: AccountId) -> Result<Account, DbError> {
    read_account(&tx.query_one(ACCOUNT, &params![id]).await?)
}

pub(crate) async fn accounts(tx: &mut Tx<'_>, ids: &[AccountId]) -> Result<Vec<Account>, DbError> {
    let rows = tx.query_many(ACCOUNT, ids.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(read_account).collect()
}

/// The holds that have a row.
pub(crate) async fn stored_holds(tx: &mut Tx<'_>) -> Result<Vec<Hold>, DbError> {
    let sql = "SELECT id, account_id, cap_id, amount, expires_at FROM ledger_holds ORDER BY id";
    tx.query(sql, &[]).await?.iter().map(read_hold).collect()
}

pub(crate) async fn caps(tx: &mut Tx<'_>, ids: &[i64]) -> Result<Vec<Cap>, DbError> {
    let rows = tx.query_many(CAP, ids.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(read_cap).collect()
}

pub(crate) async fn transfers(tx: &mut Tx<'_>, ids: &[TransferId]) -> Result<Vec<Transfer>, DbError> {
    let rows = tx.query_many(TRANSFER, ids.iter().map(|&id| params![id])).await?;
    rows.iter().flatten().map(read_transfer).collect()
}

/// Writes transfers, and a mark for every 64th leg of an account.
pub(crate) async fn add_transfers(
    tx: &mut Tx<'_>,
    transfers: &[Transfer],
    now: Timestamp,
) -> Result<(), DbError> {
    if transfers.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO ledger_transfers (id, kind, from_account, to_account, amount, fee, held, cap_id, note, at,
            from_seq, from_balance, from_prev, to_seq, to_balance, to_prev, fee_seq, fee_balance, fee_prev)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
    tx.execute_many(insert, transfers.iter().map(|transfer| transfer_row(transfer, now))).await?;
    let marks: Vec<_> = transfers.iter().flat_map(marks).collect();
    if marks.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO ledger_marks (account_id, at, seq, transfer_id) VALUES ($1, $2, $3, $4)";
    tx.execute_many(insert, marks.iter().map(|(account, seq, id)| params![*account, now, *seq, *id])).await
}

fn transfer_row(t: &Transfer, now: Timestamp) -> [Param<'_>; 19] {
    let [from, to, fee] = [t.from_leg, t.to_leg, t.fee_leg].map(|leg| match leg {
        Some(leg) => params![leg.seq, leg.balance, leg.prev],
        None => [Param::Null; 3],
    });
    let [from_seq, from_balance, from_prev] = from;
    let [to_seq, to_balance, to_prev] = to;
    let [fee_seq, fee_balance, fee_prev] = fee;
    let [id, kind, payer, payee, amount, share] =
        params![t.id, t.kind.number(), t.from, t.to, t.amount, t.fee];
    let [held, cap, note, at] = params![t.held, t.cap, &t.note, now];
    [
        id,
        kind,
        payer,
        payee,
        amount,
        share,
        held,
        cap,
        note,
        at,
        from_seq,
        from_balance,
        from_prev,
        to_seq,
        to_balance,
        to_prev,
        fee_seq,
        fee_balance,
        fee_prev,
    ]
}

fn marks(transfer: &Transfer) -> impl Iterator<Item = (AccountId, i64, TransferId)> {
    let payer = (Some(transfer.from), transfer.from_leg);
    let payee = (transfer.to, transfer.to_leg);
    let network = (Some(system::fees()), transfer.fee_leg);
    let id = transfer.id;
    [payer, payee, network].into_iter().filter_map(move |(account, leg)| {
        let seq = leg?.seq;
        (seq % MARK_EVERY == 0).then_some((account?, seq, id))
    })
}

/// How many legs of an account there are from mark to mark.
pub(crate) const MARK_EVERY: i64 = 64;

/// Brings rows up to date.
pub(crate) async fn fold(tx: &mut Tx<'_>, folding: &Folding) -> Result<(), DbError> {
    if !folding.accounts.is_empty() {
        tx.execute_many(
            "UPDATE ledger_accounts SET posted = $2, held = $3, debt = $4, entries = $5, head = $6, version = $7,
                frozen = $8 WHERE id = $1",
            folding.accounts.iter().map(|a| {
                params![a.id, a.posted, a.held, a.debt, a.entries, a.head, a.version, a.frozen]
            }),
        )
        .await?;
    }
    if !folding.store.is_empty() {
        tx.execute_many(
            "INSERT INTO ledger_holds (id, account_id, cap_id, amount, expires_at) VALUES ($1, $2, $3, $4, $5)",
            folding.store.iter().map(|hold| {
                params![hold.id, hold.account, hold.cap, hold.amount, hold.expires_at]
            }),
        )
        .await?;
    }
    if !folding.delete.is_empty() {
        tx.execute_many(
            "DELETE FROM ledger_holds WHERE id = $1",
            folding.delete.iter().map(|id| params![*id]),
        )
        .await?;
    }
    if !folding.caps.is_empty() {
        fold_caps(tx, &folding.caps).await?;
    }
    if let Some(batch) = folding.prune_until {
        tx.execute("DELETE FROM ledger_journal WHERE batch <= $1", &params![batch]).await?;
    }
    Ok(())
}

async fn fold_caps(tx: &mut Tx<'_>, caps: &[Cap]) -> Result<(), DbError> {
    tx.execute_many(
        "UPDATE ledger_caps SET limit_total = $2, limit_day = $3, limit_week = $4, limit_month = $5, held = $6,
            spent = $7, day_start = $8, day_spent = $9, week_start = $10, week_spent = $11, month_start = $12,
            month_spent = $13 WHERE id = $1",
        caps.iter().map(|cap| {
            let Limits { total, day, week, month } = cap.limits;
            params![
                cap.id, total, day, week, month, cap.held, cap.spent, cap.day.start, cap.day.spent, cap.week.start,
                cap.week.spent, cap.month.start, cap.month.spent
            ]
        }),
    )
    .await
}

pub(crate) fn read_account(row: &Row) -> Result<Account, DbError> {
    let kind = AccountKind::from_number(row.get(1)?);
    Ok(Account {
        id: row.get(0)?,
        kind: kind.ok_or_else(|| DbError::Other("an account of unknown kind".to_owned()))?,
        posted: row.get(2)?,
        held: row.get(3)?,
        debt: row.get(4)?,
        entries: row.get(5)?,
        head: row.get(6)?,
        version: row.get(7)?,
        frozen: row.get(8)?,
    })
}

fn read_hold(row: &Row) -> Result<Hold, DbError> {
    Ok(Hold {
        id: row.get(0)?,
        account: row.get(1)?,
        cap: row.get(2)?,
        amount: row.get(3)?,
        expires_at: row.get(4)?,
    })
}

fn read_cap(row: &Row) -> Result<Cap, DbError> {
    let limits = Limits { total: row.get(1)?, day: row.get(2)?, week: row.get(3)?, month: row.get(4)? };
    let window = |column| Ok::<_, DbError>(Window { start: row.get(column)?, spent: row.get(column + 1)? });
    Ok(Cap {
        id: row.get(0)?,
        limits,
        held: row.get(5)?,
        spent: row.get(6)?,
        day: window(7)?,
        week: window(9)?,
        month: window(11)?,
    })
}

/// What a transfer is for, from its column.
pub(crate) fn read_kind(row: &Row, column: usize) -> Result<TransferKind, DbError> {
    TransferKind::from_number(row.get(column)?)
        .ok_or_else(|| DbError::Other("a transfer of unknown kind".to_owned()))
}

fn read_transfer(row: &Row) -> Result<Transfer, DbError> {
    Ok(Transfer {
        id: row.get(0)?,
        kind: read_kind(row, 1)?,
        from: row.get(2)?,
        to: row.get(3)?,
        amount: row.get(4)?,
        fee: row.get(5)?,
        held: row.get(6)?,
        cap: row.get(7)?,
        note: row.get(8)?,
        from_leg: read_leg(row, 9)?,
        to_leg: read_leg(row, 12)?,
        fee_leg: read_leg(row, 15)?,
    })
}

fn read_leg(row: &Row, column: usize) -> Result<Option<Leg>, DbError> {
    let Some(seq) = row.get(column)? else { return Ok(None) };
    Ok(Some(Leg { seq, balance: row.get(column + 1)?, prev: row.get(column + 2)? }))
}
