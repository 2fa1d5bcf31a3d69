//! The one way credits move: know, decide, write.

use db::{DbError, Question, Tx};
use sha2::{Digest, Sha256};
use types::id::{AccountId, Id, TransferId};
use types::time::Timestamp;

use crate::books::{Books, Known};
use crate::fold::Pace;
use crate::memory::{self, Memory};
use crate::store::Head;
use crate::{Balance, Command, Outcome, journal, store, system};

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
    let beginning = begin(tx).await?;
    beginning.submit(tx, commands, now, pace).await
}

/// What [`submit_at`] asks of the database first, asked already: for one who asks other things at the same time. Nothing else
/// may be submitted in the transaction before it is used.
#[derive(Debug)]
pub struct Beginning(Question<Head>);

/// Begins a [`submit_at`].
///
/// # Errors
/// A [`DbError`].
pub async fn begin(tx: &mut Tx<'_>) -> Result<Beginning, DbError> {
    store::ask_head(tx).await.map(Beginning)
}

impl Beginning {
    /// [`submit_at`].
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn submit(
        self,
        tx: &mut Tx<'_>,
        commands: &[Command],
        now: Timestamp,
        pace: &Pace,
    ) -> Result<Submitted, DbError> {
        if commands.is_empty() {
            return Ok(Submitted { outcomes: Vec::new(), balances: Vec::new() });
        }
        let head = tx.answer(self.0).await?;
        let memory = memory::recall_at(tx, head).await?;
        apply(tx, memory, commands, (now, pace)).await
    }
}

async fn apply(
    tx: &mut Tx<'_>,
    mut memory: Memory,
    commands: &[Command],
    (now, pace): (Timestamp, &Pace),
) -> Result<Submitted, DbError> {
    memory.books.begin(memory.head.batch + 1, now);
    learn(tx, &mut memory, commands, now).await?;

    let outcomes = commands.iter().map(|command| memory.books.apply(command)).collect();

    let caps = &mut memory.books.batch.caps;
    caps.sort_unstable();
    caps.dedup();
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
