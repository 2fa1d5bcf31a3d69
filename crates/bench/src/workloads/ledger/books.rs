//! Our ledger as an engine: the same code for SQLite and PostgreSQL, through `ledger::submit` alone.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use db::{Db, DbError, OpenOptions, Tx, params};
use ledger::{AccountKind, Command, Outcome, TransferKind, system};
use types::id::{AccountId, Id, IdGenerator, TransferId};
use types::money::MicroCredits;
use types::time::{Clock, HOUR_MS, SystemClock, Timestamp};

use super::driver::{Item, Limits};
use super::trade::{Totals, Trade};
use crate::stats::grouped;
use crate::{Result, note};

/// How many accounts are opened, or granted their credits, in one transaction.
const CHUNK: u64 = 8192;
/// How many accounts' rows are brought up to date in one transaction.
const FOLDED_AT_ONCE: usize = 8192;
/// After how many accounts it is said how far it is.
const SAY: u64 = 1_000_000;

/// A ledger with accounts and funds.
#[derive(Debug)]
pub struct Books {
    /// What it is given at once.
    pub limits: Limits,
    db: Db,
    trade: Cell<Trade>,
    /// An id as of now, so that ids are as long as real ones: that of the first account. The others count up from it.
    first: i64,
    /// The id of cycle number 0. Ids grow in the order in which they are used, as real ones do.
    zero: Cell<i64>,
}

impl Books {
    /// Opens the database at `url`, which must be empty, and opens and funds the accounts of `trade`.
    pub async fn open(url: &str, trade: Trade, limits: Limits) -> Result<Self> {
        let db = Db::open(url, OpenOptions::server()).await?;
        db.migrate(&[ledger::MIGRATIONS]).await?;
        let first = IdGenerator::new(0).next::<AccountId>(SystemClock.now()).get();
        let books = Self {
            limits,
            db,
            trade: Cell::new(Trade { consumers: 0, ..trade }),
            first,
            zero: Cell::new(first),
        };
        books.open_accounts(AccountKind::Earnings, 0..trade.islands).await?;
        books.grow(trade.consumers, trade.grant(), 0).await?;
        Ok(books)
    }

    /// The database.
    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// Who trades now.
    pub const fn trade(&self) -> Trade {
        self.trade.get()
    }

    /// Opens further consumers' accounts until there are `consumers`, and grants each of the new ones `amount`. The next
    /// cycle has number `next`, and none is under way.
    pub async fn grow(&self, consumers: u64, amount: i64, next: u64) -> Result<()> {
        let trade = self.trade.get();
        let new = trade.consumers..consumers.max(trade.consumers);
        let ids = self.zero.get() + i64::try_from(next)?;
        self.zero.set(self.zero.get() + i64::try_from(new.end - new.start)?);
        let islands = trade.islands;
        self.open_accounts(AccountKind::Wallet, new.start + islands..new.end + islands).await?;
        for chunk in chunks(new.clone()) {
            let grant = |consumer| {
                let id = ids + i64::try_from(consumer - new.start)?;
                self.grant(id, consumer, amount)
            };
            self.submit(chunk.clone().map(grant).collect::<Result<Vec<_>>>()?).await?;
            if chunk.end.is_multiple_of(SAY) {
                note(&format!("  {} accounts have credits", grouped(chunk.end)));
            }
        }
        self.trade.set(Trade { consumers: new.end, ..trade });
        Ok(())
    }

    /// Does all of `items` in one transaction.
    pub async fn apply(&self, items: &[Item]) -> Result<()> {
        let expires_at = SystemClock.now().plus_millis(HOUR_MS);
        let commands = items.iter().map(|item| self.command(item, expires_at)).collect::<Result<Vec<_>>>();
        self.submit(commands?).await
    }

    /// That it holds `expected` and nothing else, and that the audit finds nothing.
    pub async fn verify(&self, expected: Totals) -> Result<()> {
        self.compare(expected).await?;
        let findings = self.db.read("audit", async |tx| ledger::audit::ledger(tx, &|_| {}).await).await?;
        match findings.first() {
            None => Ok(()),
            Some(first) => {
                Err(format!("the audit found {} things, the first: {}", findings.len(), first.what).into())
            }
        }
    }

    /// That the Islands and the network have earned what was charged, nothing is still held, and so many were settled.
    pub async fn compare(&self, expected: Totals) -> Result<()> {
        let mut ids = vec![system::fees()];
        for island in 0..self.trade.get().islands {
            ids.push(self.account(island)?);
        }
        let compare = async move |tx: &mut Tx<'_>| {
            let balances = ledger::balances(tx, &ids).await?;
            let posted: Vec<i64> = balances.iter().flatten().map(|balance| balance.posted.get()).collect();
            let open = ledger::open_holds(tx).await?.len();
            let sql = "SELECT count(*) FROM ledger_transfers WHERE kind = $1";
            let settled: i64 = tx.query_one(sql, &params![TransferKind::Job.number()]).await?.get(0)?;
            Ok::<_, DbError>((posted, open, settled))
        };
        let (posted, open, settled) = self.db.read("compare", compare).await?;
        let fees = posted.first().copied().unwrap_or_default();
        let found = Totals { cycles: u64::try_from(settled)?, charged: posted.iter().sum(), fees };
        if found == expected && open == 0 {
            return Ok(());
        }
        Err(format!("the ledger holds {found:?} instead of {expected:?}; {open} holds are open").into())
    }

    /// Does what the ledger has put off: brings the rows of accounts up to date with its journal.
    pub async fn fold(&self) -> Result<()> {
        let fold = async |tx: &mut Tx<'_>| ledger::fold(tx, FOLDED_AT_ONCE).await;
        while !self.db.tx::<_, DbError, _>("fold", fold).await? {}
        Ok(())
    }

    async fn open_accounts(&self, kind: AccountKind, numbers: Range<u64>) -> Result<()> {
        let now = SystemClock.now();
        for chunk in chunks(numbers) {
            let ids = chunk.map(|number| Ok((self.account(number)?, kind)));
            let accounts: Vec<(AccountId, AccountKind)> = ids.collect::<Result<_>>()?;
            let open = async move |tx: &mut Tx<'_>| ledger::open_accounts(tx, &accounts, now).await;
            self.db.tx::<_, DbError, _>("open accounts", open).await?;
        }
        Ok(())
    }

    async fn submit(&self, commands: Vec<Command>) -> Result<()> {
        let (commands, now) = (Arc::new(commands), SystemClock.now());
        let outcomes: Vec<Outcome> = self
            .db
            .tx("ledger", async move |tx| {
                Ok::<_, DbError>(ledger::submit(tx, &commands, now).await?.outcomes)
            })
            .await?;
        for outcome in outcomes {
            if outcome?.replayed {
                return Err("a command had been done before".into());
            }
        }
        Ok(())
    }

    /// Islands come first, then consumers.
    fn account(&self, number: u64) -> Result<AccountId> {
        Ok(AccountId::from_i64(self.first + i64::try_from(number)?))
    }

    fn consumer(&self, number: u64) -> Result<AccountId> {
        self.account(self.trade.get().islands + number)
    }

    fn grant(&self, id: i64, consumer: u64, amount: i64) -> Result<Command> {
        Ok(Command::Transfer {
            id: TransferId::from_i64(id),
            kind: TransferKind::Grant,
            from: system::grants(),
            to: self.consumer(consumer)?,
            amount: MicroCredits::new(amount),
            note: None,
        })
    }

    fn command(&self, item: &Item, expires_at: Timestamp) -> Result<Command> {
        let cycle = self.trade.get().cycle(item.cycle);
        let id = TransferId::from_i64(self.zero.get() + i64::try_from(item.cycle)?);
        let price = MicroCredits::new(cycle.price);
        Ok(if item.last {
            let fee = MicroCredits::new(cycle.fee);
            Command::Settle { hold: id, charge: price, fee, to: self.account(cycle.island)? }
        } else {
            let account = self.consumer(cycle.consumer)?;
            Command::Hold { id, account, amount: price, cap: None, expires_at }
        })
    }
}

/// `numbers` in pieces.
fn chunks(numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = numbers;
    (0..(end.saturating_sub(start)).div_ceil(CHUNK)).map(move |piece| {
        let from = start + piece * CHUNK;
        from..(from + CHUNK).min(end)
    })
}
