//! The one way credits move: know, decide, write.

use std::collections::{BTreeSet, HashMap};

use db::{DbError, Tx};
use sha2::{Digest, Sha256};
use types::id::{AccountId, Id, TransferId};
use types::time::Timestamp;

use crate::books::{Books, Known};
use crate::fold::Pace;
use crate::memory::{self, Memory};
use crate::{Account, Balance, Command, Outcome, journal, store, system};

/// What became of a batch.
#[derive(Debug)]
pub struct Submitted {
    /// One answer for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// The accounts that changed, as they are now.
    pub balances: Vec<Balance>,
}

/// Applies a batch of commands inside a transaction. Refused commands change nothing; the others take effect in order, when
/// the transaction commits. At most 13 statements, each vectorised, whatever the number of commands; 4 for holds and
/// settlements of accounts that are known. The caller bounds the batch.
///
/// # Errors
/// A [`DbError`]; the caller's transaction must then be rolled back (it is, when the error is passed on).
pub async fn submit(tx: &mut Tx<'_>, commands: &[Command], now: Timestamp) -> Result<Submitted, DbError> {
    submit_at(tx, commands, now, &Pace::default()).await
}

/// [`submit`] with another [`Pace`].
///
/// # Errors
/// A [`DbError`].
pub async fn submit_at(
    tx: &mut Tx<'_>,
    commands: &[Command],
    now: Timestamp,
    pace: &Pace,
) -> Result<Submitted, DbError> {
    if commands.is_empty() {
        return Ok(Submitted { outcomes: Vec::new(), balances: Vec::new() });
    }
    let mut memory = memory::recall(tx).await?;
    memory.books.begin(memory.head.batch + 1, now);
    learn(tx, &mut memory, commands, now).await?;

    let outcomes = commands.iter().map(|command| memory.books.apply(command)).collect();

    let books = &memory.books;
    let changed = books.batch.accounts.iter().filter_map(|id| books.accounts.get(id));
    let balances = changed.map(|known| known.account.balance()).collect();
    if !(books.batch.accounts.is_empty() && books.batch.caps.is_empty()) {
        write(tx, &mut memory, pace).await?;
    }
    memory.bound();
    tx.put_memo(memory);
    Ok(Submitted { outcomes, balances })
}

/// Reads what the commands name and is not known yet: earlier transfers, accounts, caps.
async fn learn(
    tx: &mut Tx<'_>,
    memory: &mut Memory,
    commands: &[Command],
    now: Timestamp,
) -> Result<(), DbError> {
    let wallets: Vec<AccountId> = commands
        .iter()
        .filter_map(|command| if let Command::TakeBack { from, .. } = command { Some(*from) } else { None })
        .collect();
    if !wallets.is_empty() {
        store::open_debts(tx, &wallets, now).await?;
    }
    let high = memory.head.high;
    let books = &mut memory.books;
    let mut wanted = Wanted::default();
    for command in commands {
        wanted.add(command, books, high);
    }
    wanted.tidy();
    if !wanted.transfers.is_empty() {
        let earlier = store::transfers(tx, &wanted.transfers).await?;
        books.batch.earlier = earlier.into_iter().map(|transfer| (transfer.id, transfer)).collect();
    }
    let mut accounts = wanted.accounts;
    while !accounts.is_empty() {
        let found = store::accounts(tx, &accounts).await?;
        // A debt is moved together with its wallet.
        let indebted = found.iter().filter(|account| account.debt.is_positive());
        accounts = indebted
            .map(|account| system::debt_of(account.id))
            .filter(|id| !books.accounts.contains_key(id))
            .collect();
        books.accounts.extend(found.into_iter().map(|account| (account.id, Known::folded(account))));
    }
    if !wanted.caps.is_empty() {
        let caps = store::caps(tx, &wanted.caps).await?;
        books.caps.extend(caps.into_iter().map(|cap| (cap.id, cap)));
    }
    Ok(())
}

/// What a batch needs and is not known yet.
#[derive(Default)]
struct Wanted {
    accounts: Vec<AccountId>,
    caps: Vec<i64>,
    transfers: Vec<TransferId>,
}

impl Wanted {
    fn add(&mut self, command: &Command, books: &Books, high: i64) {
        match *command {
            Command::Hold { id, account, cap, .. } => {
                self.transfer(id, books, high);
                self.account(account, books);
                self.cap(cap, books);
            }
            Command::Settle { hold, to, .. } => {
                self.hold(hold, books, high);
                self.account(to, books);
                self.account(system::fees(), books);
            }
            Command::Release { hold } | Command::Expire { hold } => self.hold(hold, books, high),
            Command::Transfer { id, from, to, .. } => {
                self.transfer(id, books, high);
                self.account(from, books);
                self.account(to, books);
            }
            Command::TakeBack { id, from, to, .. } => {
                self.transfer(id, books, high);
                for account in [from, to, system::debt_of(from)] {
                    self.account(account, books);
                }
            }
            Command::Freeze { account, .. } => self.account(account, books),
            Command::Limit { cap, .. } => self.cap(Some(cap), books),
        }
    }

    fn hold(&mut self, id: TransferId, books: &Books, high: i64) {
        match books.holds.get(&id) {
            Some(open) => {
                self.account(open.hold.account, books);
                self.cap(open.hold.cap, books);
            }
            None => self.transfer(id, books, high),
        }
    }

    /// An id above all there have been was never used; one below may have been.
    fn transfer(&mut self, id: TransferId, books: &Books, high: i64) {
        if id.get() <= high && !books.holds.contains_key(&id) {
            self.transfers.push(id);
        }
    }

    fn account(&mut self, id: AccountId, books: &Books) {
        match books.accounts.get(&id) {
            None => self.accounts.push(id),
            Some(known) if known.account.debt.is_positive() => self.account(system::debt_of(id), books),
            Some(_) => {}
        }
    }

    fn cap(&mut self, id: Option<i64>, books: &Books) {
        self.caps.extend(id.filter(|id| !books.caps.contains_key(id)));
    }

    fn tidy(&mut self) {
        self.accounts.sort_unstable();
        self.accounts.dedup();
        self.caps.sort_unstable();
        self.caps.dedup();
        self.transfers.sort_unstable();
        self.transfers.dedup();
    }
}

/// Writes what the batch did: its transfers, its journal entry, what is to be folded, and the new head.
async fn write(tx: &mut Tx<'_>, memory: &mut Memory, pace: &Pace) -> Result<(), DbError> {
    let changes = journal::pack(&memory.books)?;
    let before = memory.head;
    let batch = &memory.books.batch;
    let ids = batch.opened.iter().copied().chain(batch.transfers.iter().map(|transfer| transfer.id));
    memory.head.high = ids.map(Id::get).fold(before.high, i64::max);
    memory.head.batch = batch.number;
    memory.head.mark = mark(before.mark, &changes);

    store::add_transfers(tx, &batch.transfers, batch.now).await?;
    store::add_journal(tx, memory.head, batch.now, &changes).await?;
    let share = 2 * (batch.accounts.len() + batch.opened.len());
    memory.note_batch(changes.len());
    let folding = memory.plan(pace, share);
    store::fold(tx, &folding).await?;
    store::move_head(tx, memory.head, before.batch).await
}

/// A digest of a history: of the last batch and the digest before it.
pub(crate) fn mark(before: i64, changes: &[u8]) -> i64 {
    let digest = Sha256::new().chain_update(before.to_le_bytes()).chain_update(changes).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(first)
}

/// What there is in an account.
///
/// # Errors
/// A [`DbError`]; [`DbError::RowCount`] if there is no such account.
pub async fn balance(tx: &mut Tx<'_>, id: AccountId) -> Result<Balance, DbError> {
    Ok(account(tx, id).await?.balance())
}

/// What there is in each of some accounts, in one statement; `None` for one that does not exist.
///
/// # Errors
/// A [`DbError`].
pub async fn balances(tx: &mut Tx<'_>, ids: &[AccountId]) -> Result<Vec<Option<Balance>>, DbError> {
    let head = store::head(tx).await?;
    let memory = if head.folded < head.batch { Some(memory::recall(tx).await?) } else { None };
    let mut stored: BTreeSet<AccountId> = ids.iter().copied().collect();
    let mut found = HashMap::new();
    if let Some(memory) = memory {
        for (id, known) in ids.iter().filter_map(|id| Some((id, memory.books.accounts.get(id)?))) {
            stored.remove(id);
            found.insert(*id, known.account);
        }
        tx.put_memo(memory);
    }
    let stored: Vec<AccountId> = stored.into_iter().collect();
    found.extend(store::accounts(tx, &stored).await?.into_iter().map(|account| (account.id, account)));
    Ok(ids.iter().map(|id| found.get(id).map(Account::balance)).collect())
}

/// An account as it is now, wherever its newest state is written.
pub(crate) async fn account(tx: &mut Tx<'_>, id: AccountId) -> Result<Account, DbError> {
    let head = store::head(tx).await?;
    if head.folded < head.batch {
        let memory = memory::recall(tx).await?;
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
pub async fn open_holds(tx: &mut Tx<'_>) -> Result<Vec<crate::Hold>, DbError> {
    let head = store::head(tx).await?;
    if head.folded == head.batch {
        return store::stored_holds(tx).await;
    }
    let memory = memory::recall(tx).await?;
    let mut holds: Vec<_> = memory.books.holds.values().map(|open| open.hold).collect();
    tx.put_memo(memory);
    holds.sort_unstable_by_key(|hold| hold.id);
    Ok(holds)
}

/// A cap as it is at `now`.
///
/// # Errors
/// A [`DbError`]; [`DbError::RowCount`] if there is none.
pub async fn cap(tx: &mut Tx<'_>, id: i64, now: Timestamp) -> Result<crate::Cap, DbError> {
    let missing = || DbError::RowCount { expected: 1, touched: 0, sql: "ledger_caps".to_owned() };
    caps(tx, &[id], now).await?.into_iter().next().flatten().ok_or_else(missing)
}

/// Each of some caps as it is at `now`, in one statement; `None` for one that does not exist.
///
/// # Errors
/// A [`DbError`].
pub async fn caps(
    tx: &mut Tx<'_>,
    ids: &[i64],
    now: Timestamp,
) -> Result<Vec<Option<crate::Cap>>, DbError> {
    let head = store::head(tx).await?;
    let mut found: HashMap<i64, crate::Cap> = HashMap::new();
    if head.folded < head.batch {
        let memory = memory::recall(tx).await?;
        found.extend(ids.iter().filter_map(|id| Some((*id, *memory.books.caps.get(id)?))));
        tx.put_memo(memory);
    }
    let stored: Vec<i64> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    found.extend(store::caps(tx, &stored).await?.into_iter().map(|cap| (cap.id, cap)));
    Ok(ids.iter().map(|id| found.get(id).map(|cap| cap.at(now))).collect())
}
