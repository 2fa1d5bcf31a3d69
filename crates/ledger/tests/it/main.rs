//! The ledger through its one door, on a real database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod caps;
mod incidents;
mod model;
mod pages;
mod tables;
mod upgrade;

use std::sync::Arc;

use db::{Db, DbError, OpenOptions};
use ledger::{AccountKind, Command, Limits, MIGRATIONS, Outcome, Pace, TransferKind, audit, system};
use tempfile::TempDir;
use types::id::{AccountId, Id, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

/// Nothing is ever folded at once, and the journal is closed after a few batches: what happens under heavy load, with the
/// few commands a test has.
pub(crate) const BUSY: Pace = Pace { at_once: 0, bytes_per_account: 0, least_bytes: 600, most_bytes: 600 };

/// Runs tests that take an engine on each of them.
#[macro_export]
macro_rules! on_both_engines {
    ($($test:ident),* $(,)?) => {
        mod sqlite {$(
            #[tokio::test]
            async fn $test() {
                super::$test($crate::Engine::Sqlite).await;
            }
        )*}

        mod postgres {$(
            #[tokio::test]
            async fn $test() {
                super::$test($crate::Engine::Postgres).await;
            }
        )*}
    };
}

/// Where a test's ledger is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    /// In a file.
    Sqlite,
    /// In a database of its own on a server that all tests share.
    Postgres,
}

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) pace: Pace,
    pub(crate) url: String,
    folder: Arc<TempDir>,
}

pub(crate) const ANA: i64 = 101;
pub(crate) const BEN: i64 = 102;
/// What an Island's owner earns.
pub(crate) const EARNINGS: i64 = 103;
pub(crate) const CAP: i64 = 7;

pub(crate) fn account(id: i64) -> AccountId {
    AccountId::from_i64(id)
}

pub(crate) fn transfer(id: i64) -> TransferId {
    TransferId::from_i64(id)
}

pub(crate) fn micros(amount: i64) -> MicroCredits {
    MicroCredits::new(amount)
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn grant(id: i64, to: i64, amount: i64) -> Command {
    Command::Transfer {
        id: transfer(id),
        kind: TransferKind::Grant,
        from: system::grants(),
        to: account(to),
        amount: micros(amount),
        note: None,
    }
}

pub(crate) fn hold(id: i64, of: i64, amount: i64) -> Command {
    Command::Hold {
        id: transfer(id),
        account: account(of),
        amount: micros(amount),
        cap: None,
        expires_at: at(1000),
    }
}

pub(crate) fn settle(id: i64, charge: i64, fee: i64) -> Command {
    Command::Settle { hold: transfer(id), charge: micros(charge), fee: micros(fee), to: account(EARNINGS) }
}

pub(crate) fn release(id: i64) -> Command {
    Command::Release { hold: transfer(id) }
}

impl World {
    pub(crate) async fn new(engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match engine {
            Engine::Sqlite => format!("sqlite:{}", folder.path().join("ledger.db").display()),
            Engine::Postgres => pg_temp::PgTemp::shared().unwrap().fresh_database().unwrap(),
        };
        let db = Db::open(&url, OpenOptions::command()).await.unwrap();
        db.migrate(&[MIGRATIONS]).await.unwrap();
        db.tx("accounts", async |tx| {
            for (id, kind) in
                [(ANA, AccountKind::Wallet), (BEN, AccountKind::Wallet), (EARNINGS, AccountKind::Earnings)]
            {
                ledger::open_account(tx, account(id), kind, at(0)).await?;
            }
            ledger::open_cap(tx, CAP, Limits::total(Some(micros(50)))).await
        })
        .await
        .unwrap();
        Self { db, pace: Pace::default(), url, folder: Arc::new(folder) }
    }

    /// Another process on the same database.
    pub(crate) async fn second_process(&self) -> Self {
        let db = Db::open(&self.url, OpenOptions::command()).await.unwrap();
        Self { db, pace: self.pace, url: self.url.clone(), folder: Arc::clone(&self.folder) }
    }

    pub(crate) async fn submit_at(&self, now: i64, commands: &[Command]) -> Vec<Outcome> {
        let (commands, pace) = (commands.to_vec(), self.pace);
        self.db
            .tx("submit", async move |tx| {
                Ok::<_, DbError>(ledger::submit_at(tx, &commands, at(now), &pace).await?.outcomes)
            })
            .await
            .unwrap()
    }

    pub(crate) async fn submit(&self, commands: &[Command]) -> Vec<Outcome> {
        self.submit_at(0, commands).await
    }

    /// (posted, held) of an account.
    pub(crate) async fn balance(&self, id: i64) -> (i64, i64) {
        let balance =
            self.db.read("balance", async move |tx| ledger::balance(tx, account(id)).await).await.unwrap();
        (balance.posted.get(), balance.held.get())
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<usize, DbError> {
        let sql = sql.to_owned();
        self.db.tx("run", async move |tx| tx.execute(&sql, &[]).await).await
    }

    /// Lets history be changed, as somebody with access to the database can.
    pub(crate) async fn without_triggers(&self) {
        let drop = match self.db.engine() {
            db::Engine::Sqlite => {
                "DROP TRIGGER ledger_transfers_no_update; DROP TRIGGER ledger_transfers_no_delete;"
            }
            db::Engine::Postgres => "DROP TRIGGER ledger_transfers_append_only ON ledger_transfers;",
        };
        self.db.tx("drop", async move |tx| tx.execute_script(drop).await).await.unwrap();
    }

    pub(crate) async fn audit(&self) -> Vec<audit::Finding> {
        self.db.read("audit", async |tx| audit::ledger(tx, &|_| {}).await).await.unwrap()
    }

    /// What must hold at the end of every test.
    pub(crate) async fn check(&self) {
        assert_eq!(self.audit().await, []);
    }
}
