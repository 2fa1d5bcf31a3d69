//! What there is: accounts, open holds and caps as they are now, wherever their newest state is written.

use std::collections::HashMap;

use db::{DbError, Tx};
use types::id::{AccountId, TransferId};
use types::time::Timestamp;

use crate::memory::recall_to_read;
use crate::{Account, Balance, Cap, Hold, store};

/// What there is in an account.
///
/// # Errors
/// A [`DbError`]; [`DbError::RowCount`] if there is no such account.
pub async fn balance(tx: &mut Tx<'_>, id: AccountId) -> Result<Balance, DbError> {
    Ok(account(tx, id).await?.balance())
}

/// What there is in each of some accounts, in a fixed number of statements; `None` for one that does not exist.
///
/// # Errors
/// A [`DbError`].
pub async fn balances(tx: &mut Tx<'_>, ids: &[AccountId]) -> Result<Vec<Option<Balance>>, DbError> {
    let mut found: HashMap<AccountId, Account> = HashMap::new();
    if let Some(memory) = recall_to_read(tx).await? {
        found.extend(ids.iter().filter_map(|id| Some((*id, memory.books.accounts.get(id)?.account))));
        tx.put_memo(memory);
    }
    let mut stored: Vec<AccountId> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    stored.sort_unstable();
    stored.dedup();
    found.extend(store::accounts(tx, &stored).await?.into_iter().map(|account| (account.id, account)));
    Ok(ids.iter().map(|id| found.get(id).map(Account::balance)).collect())
}

pub(crate) async fn account(tx: &mut Tx<'_>, id: AccountId) -> Result<Account, DbError> {
    if let Some(memory) = recall_to_read(tx).await? {
        let known = memory.books.accounts.get(&id).map(|known| known.account);
        tx.put_memo(memory);
        if let Some(account) = known {
            return Ok(account);
        }
    }
    store::account(tx, id).await
}

/// Open holds whose time has passed, oldest first, at most `limit`.
///
/// # Errors
/// A [`DbError`].
pub async fn holds_expired(
    tx: &mut Tx<'_>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<TransferId>, DbError> {
    let mut due: Vec<_> = open_holds(tx).await?.into_iter().filter(|hold| hold.expires_at <= now).collect();
    due.sort_unstable_by_key(|hold| (hold.expires_at, hold.id));
    Ok(due.into_iter().take(limit).map(|hold| hold.id).collect())
}

/// All open holds, by id.
///
/// # Errors
/// A [`DbError`].
pub async fn open_holds(tx: &mut Tx<'_>) -> Result<Vec<Hold>, DbError> {
    let Some(memory) = recall_to_read(tx).await? else { return store::stored_holds(tx).await };
    let mut holds: Vec<_> = memory.books.holds.values().map(|open| open.hold).collect();
    tx.put_memo(memory);
    holds.sort_unstable_by_key(|hold| hold.id);
    Ok(holds)
}

/// A cap as it is at `now`.
///
/// # Errors
/// A [`DbError`]; [`DbError::RowCount`] if there is none.
pub async fn cap(tx: &mut Tx<'_>, id: i64, now: Timestamp) -> Result<Cap, DbError> {
    let missing = || DbError::RowCount { expected: 1, touched: 0, sql: "ledger_caps".to_owned() };
    caps(tx, &[id], now).await?.into_iter().next().flatten().ok_or_else(missing)
}

/// Each of some caps as it is at `now`, in a fixed number of statements; `None` for one that does not exist.
///
/// # Errors
/// A [`DbError`].
pub async fn caps(tx: &mut Tx<'_>, ids: &[i64], now: Timestamp) -> Result<Vec<Option<Cap>>, DbError> {
    let mut found: HashMap<i64, Cap> = HashMap::new();
    if let Some(memory) = recall_to_read(tx).await? {
        found.extend(ids.iter().filter_map(|id| Some((*id, *memory.books.caps.get(id)?))));
        tx.put_memo(memory);
    }
    let stored: Vec<i64> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    found.extend(store::caps(tx, &stored).await?.into_iter().map(|cap| (cap.id, cap)));
    Ok(ids.iter().map(|id| found.get(id).map(|cap| cap.at(now))).collect())
}
