//! The statement of an account: its entries with the running balance, newest first.

use db::{DbError, Row, Tx, params};
use types::id::{AccountId, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::TransferKind;

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number within the account, from 1 without gaps: the cursor for paging.
    pub seq: i64,
    /// The movement it belongs to.
    pub transfer: TransferId,
    /// What the movement was for.
    pub kind: TransferKind,
    /// What was added or, negative, taken away.
    pub amount: MicroCredits,
    /// What there was after it.
    pub balance: MicroCredits,
    /// A sentence, for some movements.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

const LINES: &str = "SELECT e.seq, e.transfer_id, t.kind, e.amount, e.balance, t.note, e.at
    FROM ledger_entries e JOIN ledger_transfers t ON t.id = e.transfer_id
    WHERE e.account_id = $1 AND e.seq < $2
    ORDER BY e.seq DESC LIMIT $3";

/// At most `limit` lines before number `before` (or the newest). Numbers never change, so pages stay stable while rows
/// arrive.
///
/// # Errors
/// A [`DbError`].
pub async fn lines(
    tx: &mut Tx<'_>,
    account: AccountId,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Line>, DbError> {
    let before = before.unwrap_or(i64::MAX);
    tx.query(LINES, &params![account, before, limit]).await?.iter().map(read_line).collect()
}

fn read_line(row: &Row) -> Result<Line, DbError> {
    Ok(Line {
        seq: row.get(0)?,
        transfer: row.get(1)?,
        kind: TransferKind::from_number(row.get(2)?)
            .ok_or_else(|| DbError::Other("a transfer of unknown kind".to_owned()))?,
        amount: row.get(3)?,
        balance: row.get(4)?,
        note: row.get(5)?,
        at: row.get(6)?,
    })
}
