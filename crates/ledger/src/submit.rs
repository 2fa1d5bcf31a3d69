//! The one way credits move: read, decide, write.

use std::collections::{BTreeSet, HashMap};

use db::{DbError, Tx};
use types::id::{AccountId, TransferId};
use types::time::Timestamp;

use crate::rules::Books;
use crate::store::{self, Changed};
use crate::{Account, Balance, Command, HoldState, Outcome, system};

/// What became of a batch.
#[derive(Debug)]
pub struct Submitted {
    /// One answer for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// The accounts that changed, as they are now.
    pub balances: Vec<Balance>,
}

/// Applies a batch of commands inside a transaction. Refused commands change nothing; the others take effect in order,
/// when the transaction commits. At most 10 statements, each vectorised, whatever the number of commands. The caller bounds
/// the batch.
///
/// # Errors
/// A [`DbError`]; the caller's transaction must then be rolled back (it is, when the error is passed on).
pub async fn submit(tx: &mut Tx<'_>, commands: &[Command], now: Timestamp) -> Result<Submitted, DbError> {
    // Read what is touched, in sorted order, so that two writers lock in the same one.
    let mut books = read_holds_and_transfers(tx, commands).await?;
    let before = read_accounts_and_caps(tx, commands, &mut books).await?;

    // Decide in memory.
    let outcomes = commands.iter().map(|command| books.apply(command, now)).collect();

    // Write what changed.
    let changed = changed(&books, &before);
    if !changed.accounts.is_empty() {
        store::write(tx, &books, &changed, now).await?;
    } else if !books.new_transfers.is_empty() || !changed.new_holds.is_empty() {
        return Err(DbError::Other("a batch moved credits without changing an account".to_owned()));
    }
    let balances = changed.accounts.iter().map(Account::balance).collect();
    Ok(Submitted { outcomes, balances })
}

async fn read_holds_and_transfers(tx: &mut Tx<'_>, commands: &[Command]) -> Result<Books, DbError> {
    let mut hold_ids = BTreeSet::new();
    let mut transfer_ids = BTreeSet::new();
    for command in commands {
        match command {
            Command::Hold { id, .. } => hold_ids.insert(*id),
            Command::Settle { hold, .. } | Command::Release { hold } | Command::Expire { hold } => {
                hold_ids.insert(*hold)
            }
            Command::Transfer { id, .. } => transfer_ids.insert(*id),
        };
    }
    let hold_ids: Vec<TransferId> = hold_ids.into_iter().collect();
    let holds = store::holds(tx, &hold_ids).await?;
    // A settled hold may be asked to settle again: its transfer says whether that is the same request.
    transfer_ids.extend(holds.iter().filter(|hold| hold.state == HoldState::Settled).map(|hold| hold.id));
    let transfer_ids: Vec<TransferId> = transfer_ids.into_iter().collect();
    let transfers = store::transfers(tx, &transfer_ids).await?;
    Ok(Books {
        holds: holds.into_iter().map(|hold| (hold.id, hold)).collect(),
        transfers: transfers.into_iter().map(|transfer| (transfer.id, transfer)).collect(),
        ..Books::default()
    })
}

/// Loads the accounts and caps into the books; answers the accounts as they were.
async fn read_accounts_and_caps(
    tx: &mut Tx<'_>,
    commands: &[Command],
    books: &mut Books,
) -> Result<HashMap<AccountId, Account>, DbError> {
    let mut account_ids = BTreeSet::new();
    let mut cap_ids = BTreeSet::new();
    for hold in books.holds.values() {
        account_ids.insert(hold.account);
        cap_ids.extend(hold.cap);
    }
    for command in commands {
        match command {
            Command::Hold { account, cap, .. } => {
                account_ids.insert(*account);
                cap_ids.extend(*cap);
            }
            Command::Settle { to, .. } => account_ids.extend([*to, system::fees()]),
            Command::Transfer { from, to, .. } => account_ids.extend([*from, *to, system::fees()]),
            Command::Release { .. } | Command::Expire { .. } => {}
        }
    }
    let account_ids: Vec<AccountId> = account_ids.into_iter().collect();
    let cap_ids: Vec<i64> = cap_ids.into_iter().collect();
    books.accounts =
        store::accounts(tx, &account_ids).await?.into_iter().map(|account| (account.id, account)).collect();
    if !cap_ids.is_empty() {
        books.caps = store::caps(tx, &cap_ids).await?.into_iter().map(|cap| (cap.id, cap)).collect();
    }
    Ok(books.accounts.clone())
}

fn changed(books: &Books, before: &HashMap<AccountId, Account>) -> Changed {
    let mut accounts: Vec<Account> =
        books.accounts.values().filter(|account| before.get(&account.id) != Some(account)).copied().collect();
    accounts.sort_unstable_by_key(|account| account.id);
    let mut new_holds: Vec<_> =
        books.new_holds.iter().filter_map(|id| books.holds.get(id)).copied().collect();
    new_holds.sort_unstable_by_key(|hold| hold.id);
    let ended_holds: Vec<_> =
        books.ended_holds.iter().filter_map(|id| books.holds.get(id)).copied().collect();
    let touched: BTreeSet<i64> = new_holds.iter().chain(&ended_holds).filter_map(|hold| hold.cap).collect();
    let mut caps: Vec<_> = books.caps.values().filter(|cap| touched.contains(&cap.id)).copied().collect();
    caps.sort_unstable_by_key(|cap| cap.id);
    Changed { accounts, caps, new_holds, ended_holds }
}
