//! The books: every job of the economy is held and settled on the real ledger, a step of the simulation in one transaction.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use db::{Db, DbError, OpenOptions, Tx};
use ledger::{AccountKind, Command, Refusal, TransferKind, system};
use tempfile::TempDir;
use types::id::{AccountId, Id, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::Result;

/// The network's share, in percent.
const FEE_PERCENT: u8 = 10;
/// How many accounts are read at once.
const READ: usize = 1000;
/// A file system in memory, where there is one.
const MEMORY: &str = "/dev/shm";

/// A ledger, and what it will be told next.
#[derive(Debug)]
pub struct Bank {
    db: Db,
    next: Vec<Command>,
    ids: i64,
    /// How many commands it has carried out.
    pub commands: u64,
    // Gone after the database.
    _folder: TempDir,
}

impl Bank {
    /// An empty ledger, in memory if the machine can.
    pub async fn open() -> Result<Self> {
        let memory = Path::new(MEMORY);
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let db = Db::open_sqlite(&folder.path().join("economy.db"), OpenOptions::server())?;
        db.migrate(&[ledger::MIGRATIONS]).await?;
        Ok(Self { db, next: Vec::new(), ids: 0, commands: 0, _folder: folder })
    }

    /// Opens accounts.
    pub async fn accounts(&self, accounts: Vec<(AccountId, AccountKind)>, now: Timestamp) -> Result<()> {
        let open = async move |tx: &mut Tx<'_>| ledger::open_accounts(tx, &accounts, now).await;
        self.db.tx::<_, DbError, _>("open accounts", open).await?;
        Ok(())
    }

    /// A consumer is given credits.
    pub fn grant(&mut self, to: AccountId, amount: i64) {
        let (id, amount) = (self.id(), MicroCredits::new(amount));
        let (kind, from) = (TransferKind::Grant, system::grants());
        self.next.push(Command::Transfer { id, kind, from, to, amount, note: None });
    }

    /// A job begins.
    pub fn hold(&mut self, account: AccountId, amount: MicroCredits, expires_at: Timestamp) -> TransferId {
        let id = self.id();
        self.next.push(Command::Hold { id, account, amount, cap: None, expires_at });
        id
    }

    /// A job is done: what it cost is charged. Answers what is left for the owner after the fee.
    pub fn settle(&mut self, hold: TransferId, charge: MicroCredits, to: AccountId) -> Result<MicroCredits> {
        let fee = charge.percent_rounded_down(FEE_PERCENT);
        self.next.push(Command::Settle { hold, charge, fee, to });
        Ok(charge.minus(fee)?)
    }

    /// A job failed: nothing is charged.
    pub fn release(&mut self, hold: TransferId) {
        self.next.push(Command::Release { hold });
    }

    /// Carries out what has come together, in one transaction. Answers the holds for which there were no credits.
    pub async fn flush(&mut self, now: Timestamp) -> Result<Vec<TransferId>> {
        if self.next.is_empty() {
            return Ok(Vec::new());
        }
        let commands = Arc::new(std::mem::take(&mut self.next));
        let asked = Arc::clone(&commands);
        let outcomes = self
            .db
            .tx("economy", async move |tx| Ok::<_, DbError>(ledger::submit(tx, &asked, now).await?.outcomes))
            .await?;
        self.commands += u64::try_from(commands.len())?;
        let mut refused = Vec::new();
        for (command, outcome) in commands.iter().zip(outcomes) {
            match (command, outcome) {
                (_, Ok(applied)) if !applied.replayed => {}
                (Command::Hold { id, .. }, Err(Refusal::InsufficientCredits { .. })) => refused.push(*id),
                (command, other) => return Err(format!("{command:?} was answered {other:?}").into()),
            }
        }
        Ok(refused)
    }

    /// What is in each account, in micro-credits; and that nothing is held.
    pub async fn posted(&self, accounts: Vec<AccountId>) -> Result<BTreeMap<AccountId, i64>> {
        let mut all = BTreeMap::new();
        for chunk in accounts.chunks(READ) {
            let ids = chunk.to_vec();
            let read = async move |tx: &mut Tx<'_>| ledger::balances(tx, &ids).await;
            let balances = self.db.read::<_, DbError, _>("balances", read).await?;
            for (account, balance) in chunk.iter().zip(balances) {
                let balance = balance.ok_or("an account is missing")?;
                if balance.held != MicroCredits::ZERO {
                    return Err(format!("{} micro-credits are still held", balance.held.get()).into());
                }
                all.insert(*account, balance.posted.get());
            }
        }
        Ok(all)
    }

    /// That the ledger's own audit finds nothing.
    pub async fn audit(&self) -> Result<()> {
        let findings = self.db.read("audit", async |tx| ledger::audit::ledger(tx, &|_| {}).await).await?;
        match findings.first() {
            None => Ok(()),
            Some(first) => {
                Err(format!("the audit found {} things, the first: {}", findings.len(), first.what).into())
            }
        }
    }

    fn id(&mut self) -> TransferId {
        self.ids += 1;
        TransferId::from_i64(self.ids)
    }
}
