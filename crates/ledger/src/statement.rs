//! The statement of an account: its legs with the running balance, newest first.
//!
//! Each leg knows the transfer of the leg before it, so a statement is a chain that starts at the account's newest transfer.
//! A cursor names a leg; legs never change and new ones only come in front, so pages stay stable while rows
//! arrive.

use std::fmt;
use std::str::FromStr;

use db::{DbError, Row, Tx, params};
use types::id::{AccountId, Id, TransferId};
use types::money::MicroCredits;
use types::time::{HOUR_MS, Timestamp};

use crate::store::{self, MARK_EVERY};
use crate::{TransferKind, reading};

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number within the account, from 1 without gaps.
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
    /// The movement of the line below.
    prev: Option<TransferId>,
}

/// Where a page of a statement begins. Written as two numbers, to be handed to clients and taken back from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    seq: i64,
    transfer: TransferId,
}

/// Which lines of a statement are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that were for this.
    pub kind: Option<TransferKind>,
    /// None from before this.
    pub from: Option<Timestamp>,
    /// Only those from before this.
    pub to: Option<Timestamp>,
}

/// A part of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its lines, newest first.
    pub lines: Vec<Line>,
    /// Where to look on, if there may be more. A page may have few lines or none and still go on.
    pub next: Option<Cursor>,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this statement")]
pub struct BadCursor;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The cursor names no leg of this account.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Most legs looked at for one page: whoever wants what is rare goes on from there.
const LOOK: u32 = 4096;
/// Most legs read at a time when not all of them are wanted.
const CHUNK: u32 = 512;
/// By how much the times along a chain may go back: clocks are set, and those of several coordinators differ.
const SKEW_MS: i64 = HOUR_MS;

/// Walks down a chain from transfer $2, each step by its key, and shows the account's side of each.
const LINES: &str = "WITH RECURSIVE chain (n, id) AS (
        SELECT CAST(1 AS BIGINT), CAST($2 AS BIGINT)
        UNION ALL
        SELECT chain.n + 1,
               CASE WHEN t.from_account = $1 AND t.from_seq IS NOT NULL THEN t.from_prev
                    WHEN t.to_account = $1 AND t.to_seq IS NOT NULL THEN t.to_prev ELSE t.fee_prev END
        FROM chain JOIN ledger_transfers t ON t.id = chain.id WHERE chain.n < $3
    ), sides AS (
        SELECT chain.n, t.*,
               CASE WHEN t.from_account = $1 AND t.from_seq IS NOT NULL THEN 1
                    WHEN t.to_account = $1 AND t.to_seq IS NOT NULL THEN 2 ELSE 3 END AS side
        FROM chain JOIN ledger_transfers t ON t.id = chain.id
        WHERE t.from_account = $1 OR t.to_account = $1 OR $1 = 3
    )
    SELECT CASE side WHEN 1 THEN from_seq WHEN 2 THEN to_seq ELSE fee_seq END, id, kind,
           CASE side WHEN 1 THEN -amount WHEN 2 THEN amount - fee ELSE fee END,
           CASE side WHEN 1 THEN from_balance WHEN 2 THEN to_balance ELSE fee_balance END, note, at,
           CASE side WHEN 1 THEN from_prev WHEN 2 THEN to_prev ELSE fee_prev END
    FROM sides ORDER BY n";

/// The first mark after a time.
const MARK_AFTER: &str = "SELECT transfer_id FROM ledger_marks WHERE account_id = $1 AND at > $2
    ORDER BY at, seq LIMIT 1";

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.transfer.get())
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (seq, transfer) = text.split_once('.').ok_or(BadCursor)?;
        let seq = seq.parse().ok().filter(|&seq| seq > 0).ok_or(BadCursor)?;
        let transfer = transfer.parse().map_err(|_| BadCursor)?;
        Ok(Self { seq, transfer: TransferId::from_i64(transfer) })
    }
}

impl Line {
    /// Where the page below this line begins, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<Cursor> {
        self.prev.map(|transfer| Cursor { seq: self.seq - 1, transfer })
    }
}

impl Filter {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn wants(&self, line: &Line) -> bool {
        self.kind.is_none_or(|kind| line.kind == kind)
            && self.from.is_none_or(|from| line.at >= from)
            && self.to.is_none_or(|to| line.at < to)
    }

    /// Whether there is nothing more to be found below this line.
    fn is_past(&self, line: &Line) -> bool {
        self.from.is_some_and(|from| line.at < from.plus_millis(-SKEW_MS))
    }
}

/// At most `limit` lines that a filter wants, from a cursor on, or the newest. Reads a bounded part of the statement,
/// whatever is asked for.
///
/// # Errors
/// A [`StatementError`].
pub async fn page(
    tx: &mut Tx<'_>,
    account: AccountId,
    filter: &Filter,
    from: Option<Cursor>,
    limit: u32,
) -> Result<Page, StatementError> {
    if filter.is_none() {
        let lines = lines(tx, account, from, limit).await?;
        let next = lines.last().and_then(Line::next);
        return Ok(Page { lines, next });
    }
    let mut page = Page { lines: Vec::new(), next: from };
    let mut start = match (from, filter.to) {
        (Some(_), _) => None,
        (None, Some(to)) => newest_at(tx, account, to.plus_millis(SKEW_MS)).await?,
        (None, None) => reading::account(tx, account).await?.head,
    };
    let (wanted, mut looked) = (usize::try_from(limit).unwrap_or(usize::MAX), 0);
    while looked < LOOK && page.lines.len() < wanted {
        let most = limit.max(looked).min(CHUNK);
        let some = match (start.take(), page.next) {
            (Some(start), _) => chain(tx, account, start, most.into()).await?,
            (None, Some(cursor)) => lines(tx, account, Some(cursor), most).await?,
            (None, None) => break,
        };
        looked += most;
        page.next = None;
        for line in some {
            if filter.is_past(&line) {
                return Ok(Page { next: None, ..page });
            }
            page.next = line.next();
            if filter.wants(&line) {
                page.lines.push(line);
            }
            if page.lines.len() >= wanted {
                break;
            }
        }
    }
    Ok(page)
}

/// At most `limit` lines from `from` on (or the newest), one statement.
///
/// # Errors
/// A [`StatementError`].
pub async fn lines(
    tx: &mut Tx<'_>,
    account: AccountId,
    from: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Line>, StatementError> {
    let start = match from {
        Some(cursor) => Some(cursor.transfer),
        None => reading::account(tx, account).await?.head,
    };
    let Some(start) = start else { return Ok(Vec::new()) };
    let lines = chain(tx, account, start, limit.into()).await;
    let Some(cursor) = from else { return Ok(lines?) };
    // What a client hands in may be anything, also the leg of another account.
    let lines = lines.map_err(|error| {
        if matches!(error, DbError::Type { .. }) { BadCursor.into() } else { StatementError::Db(error) }
    })?;
    if lines.first().is_none_or(|line| line.seq != cursor.seq) {
        return Err(BadCursor.into());
    }
    Ok(lines)
}

/// What there was in an account at a time: after the last leg that is not later.
///
/// # Errors
/// A [`DbError`]; [`DbError::RowCount`] if there is no such account.
pub async fn balance_at(
    tx: &mut Tx<'_>,
    account: AccountId,
    time: Timestamp,
) -> Result<MicroCredits, DbError> {
    let mut next = newest_at(tx, account, time).await?;
    while let Some(transfer) = next {
        let lines = chain(tx, account, transfer, MARK_EVERY).await?;
        if let Some(line) = lines.iter().find(|line| line.at <= time) {
            return Ok(line.balance);
        }
        next = lines.last().and_then(|line| line.prev);
    }
    Ok(MicroCredits::ZERO)
}

/// A leg from which all legs up to a time can be reached, not far above them.
async fn newest_at(
    tx: &mut Tx<'_>,
    account: AccountId,
    time: Timestamp,
) -> Result<Option<TransferId>, DbError> {
    match tx.query_opt(MARK_AFTER, &params![account, time]).await? {
        Some(mark) => mark.get(0),
        None => Ok(reading::account(tx, account).await?.head),
    }
}

async fn chain(
    tx: &mut Tx<'_>,
    account: AccountId,
    start: TransferId,
    limit: i64,
) -> Result<Vec<Line>, DbError> {
    if limit < 1 {
        return Ok(Vec::new());
    }
    tx.query(LINES, &params![account, start, limit]).await?.iter().map(read_line).collect()
}

fn read_line(row: &Row) -> Result<Line, DbError> {
    Ok(Line {
        seq: row.get(0)?,
        transfer: row.get(1)?,
        kind: store::read_kind(row, 2)?,
        amount: row.get(3)?,
        balance: row.get(4)?,
        note: row.get(5)?,
        at: row.get(6)?,
        prev: row.get(7)?,
    })
}
