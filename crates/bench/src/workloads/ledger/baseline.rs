//! What people write without a ledger: each job takes its price from the consumer's row and notes what it was for, in a
//! transaction of its own.
//!
//! As fair as it can be: prepared statements, a connection for each client, and what does not need an answer is sent
//! together, so that a transaction takes two round trips ([`Style::Transaction`]) or is a single statement
//! ([`Style::Statement`]). It is spared what a ledger does: no hold, nobody is paid, no fee, no balance after each
//! movement, no index over the history.

use std::cell::RefCell;

use serde::Serialize;
use tokio::join;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use super::driver::{Item, Limits};
use super::trade::{Totals, Trade};
use crate::Result;

const TABLES: &str = "
    CREATE TABLE accounts (id BIGINT PRIMARY KEY, credits BIGINT NOT NULL CHECK (credits >= 0));
    CREATE TABLE usage (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account_id BIGINT NOT NULL,
        credits BIGINT NOT NULL,
        at TIMESTAMPTZ NOT NULL DEFAULT now()
    );";
const ACCOUNTS: &str =
    "INSERT INTO accounts SELECT id, $1 FROM generate_series(0::bigint, $2::bigint - 1) id";
const PAY: &str = "UPDATE accounts SET credits = credits - $2 WHERE id = $1 AND credits >= $2";
const NOTE: &str = "INSERT INTO usage (account_id, credits) VALUES ($1, $2)";
const BOTH: &str = "WITH paid AS (UPDATE accounts SET credits = credits - $2 WHERE id = $1 AND credits >= $2
                                  RETURNING id)
                    INSERT INTO usage (account_id, credits) SELECT id, $2 FROM paid";
const SUMS: &str =
    "SELECT (SELECT count(*) FROM usage), (SELECT coalesce(sum(credits), 0)::bigint FROM usage),
                           (SELECT sum(credits)::bigint FROM accounts)";

/// How a job is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Style {
    /// `BEGIN`, `UPDATE`, `INSERT`, `COMMIT`.
    Transaction,
    /// One statement that does both.
    Statement,
}

/// Clients of a database.
#[derive(Debug)]
pub struct Baseline {
    trade: Trade,
    style: Style,
    clients: usize,
    /// Those that have nothing to do.
    idle: RefCell<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    pay: Statement,
    note: Statement,
    both: Statement,
}

impl Baseline {
    /// Makes the tables and the accounts, and connects so many clients.
    pub async fn open(url: &str, trade: Trade, style: Style, clients: usize) -> Result<Self> {
        let client = connect(url).await?;
        client.batch_execute(TABLES).await?;
        client.execute(ACCOUNTS, &[&trade.grant(), &i64::try_from(trade.consumers)?]).await?;
        client.batch_execute("VACUUM ANALYZE accounts").await?;
        let mut idle = Vec::with_capacity(clients);
        for _ in 0..clients {
            idle.push(Connection::open(url).await?);
        }
        Ok(Self { trade, style, clients, idle: RefCell::new(idle) })
    }

    /// Each client has one transaction at a time.
    pub const fn limits(&self) -> Limits {
        Limits { batch: 1, lanes: self.clients, outstanding: self.clients }
    }

    /// Does all of `items`, each in a transaction.
    pub async fn apply(&self, items: &[Item]) -> Result<()> {
        let connection = self.idle.borrow_mut().pop().ok_or("more transactions than connections")?;
        for item in items {
            let cycle = self.trade.cycle(item.cycle);
            let consumer = i64::try_from(cycle.consumer)?;
            match self.style {
                Style::Transaction => connection.transaction(consumer, cycle.price).await?,
                Style::Statement => connection.statement(consumer, cycle.price).await?,
            }
        }
        self.idle.borrow_mut().push(connection);
        Ok(())
    }

    /// That so many rows were written, and that exactly their sum has left the accounts.
    pub async fn verify(&self, expected: Totals) -> Result<()> {
        let connection = self.idle.borrow_mut().pop().ok_or("all connections are in use")?;
        let row = connection.client.query_one(SUMS, &[]).await?;
        let (rows, charged, left): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        self.idle.borrow_mut().push(connection);
        let paid = self.trade.grant() * i64::try_from(self.trade.consumers)? - left;
        if (u64::try_from(rows)?, charged, paid) == (expected.cycles, expected.charged, expected.charged) {
            return Ok(());
        }
        Err(format!("the baseline holds {rows} rows of {charged}, paid {paid}, instead of {expected:?}")
            .into())
    }
}

impl Connection {
    async fn open(url: &str) -> Result<Self> {
        let client = connect(url).await?;
        let (pay, note, both) =
            (client.prepare(PAY).await?, client.prepare(NOTE).await?, client.prepare(BOTH).await?);
        Ok(Self { client, pay, note, both })
    }

    async fn transaction(&self, consumer: i64, price: i64) -> Result<()> {
        let Self { client, pay, note, .. } = self;
        let values: [&(dyn ToSql + Sync); 2] = [&consumer, &price];
        // Whether there were enough credits must be known before anything is committed; the rest can go together.
        let (begun, paid) = join!(biased; client.batch_execute("BEGIN"), client.execute(pay, &values));
        begun?;
        if paid? != 1 {
            client.batch_execute("ROLLBACK").await?;
            return Err("the baseline's consumer has too little".into());
        }
        let (noted, committed) = join!(biased; client.execute(note, &values), client.batch_execute("COMMIT"));
        noted?;
        Ok(committed?)
    }

    async fn statement(&self, consumer: i64, price: i64) -> Result<()> {
        match self.client.execute(&self.both, &[&consumer, &price]).await? {
            1 => Ok(()),
            _ => Err("the baseline's consumer has too little".into()),
        }
    }
}

/// A connection; its traffic is a task of its own, which ends with the client.
async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // What goes wrong with the connection is told to whoever uses the client.
    drop(tokio::task::spawn_local(async move { drop(connection.await) }));
    Ok(client)
}
