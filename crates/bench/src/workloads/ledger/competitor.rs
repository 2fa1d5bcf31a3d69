//! Who is measured, and how each is made ready.

use std::path::Path;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

use super::baseline::{Baseline, Style};
use super::books::Books;
use super::driver::Limits;
use super::engine::Engine;
use super::trade::Trade;
use crate::Result;
use crate::postgres::Server;

/// Numbers of clients of the baseline.
const CLIENTS: [usize; 2] = [16, 64];

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineName {
    /// Our ledger in an SQLite file.
    Sqlite,
    /// Our ledger in PostgreSQL.
    Postgres,
    /// What people write without one, in the same PostgreSQL: `BEGIN`, `UPDATE`, `INSERT`, `COMMIT` for each job.
    Baseline,
    /// The same as a single statement.
    Statement,
}

/// One that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Competitor {
    /// Our ledger in an SQLite file.
    Sqlite,
    /// Our ledger in PostgreSQL.
    Postgres,
    /// What people write without one, with so many clients.
    Baseline(Style, usize),
    /// TigerBeetle.
    TigerBeetle,
}

/// What competitors need.
#[derive(Debug)]
pub struct Places<'a> {
    /// Where files are kept.
    pub folder: &'a Path,
    /// The PostgreSQL server, if one is wanted.
    pub postgres: Option<&'a Server>,
    /// TigerBeetle's address.
    pub tigerbeetle: Option<&'a str>,
}

/// All that were asked for.
pub fn competitors(engines: &[EngineName], tigerbeetle: bool) -> Vec<Competitor> {
    let mut all = Vec::new();
    for engine in engines {
        match engine {
            EngineName::Sqlite => all.push(Competitor::Sqlite),
            EngineName::Postgres => all.push(Competitor::Postgres),
            EngineName::Baseline => all.extend(CLIENTS.map(|n| Competitor::Baseline(Style::Transaction, n))),
            EngineName::Statement => all.extend(CLIENTS.map(|n| Competitor::Baseline(Style::Statement, n))),
        }
    }
    all.extend(tigerbeetle.then_some(Competitor::TigerBeetle));
    all
}

impl Competitor {
    /// Its name in tables.
    pub fn name(self) -> String {
        match self {
            Self::Sqlite => "SQLite".to_owned(),
            Self::Postgres => "PostgreSQL".to_owned(),
            Self::Baseline(Style::Transaction, clients) => format!("baseline, {clients} clients"),
            Self::Baseline(Style::Statement, clients) => format!("one statement, {clients}"),
            Self::TigerBeetle => "TigerBeetle".to_owned(),
        }
    }

    /// A new database with the accounts of `trade`.
    pub async fn open(self, places: &Places<'_>, trade: Trade, limits: Limits) -> Result<Engine> {
        match self {
            Self::Sqlite => {
                // A name of its own: what is left of an earlier database may still be closing.
                let path = places.folder.join(format!("ledger-{}.db", trade.consumers));
                let url = format!("sqlite:{}", path.display());
                Ok(Engine::Books(Books::open(&url, trade, limits).await?))
            }
            Self::Postgres => {
                let url = places.database("ledger").await?;
                Ok(Engine::Books(Books::open(&url, trade, limits).await?))
            }
            Self::Baseline(style, clients) => {
                let url = places.database("baseline").await?;
                Ok(Engine::Baseline(Baseline::open(&url, trade, style, clients).await?))
            }
            Self::TigerBeetle => {
                let address = places.tigerbeetle.ok_or("TigerBeetle's address is not known")?;
                tigerbeetle(address, trade, limits).await
            }
        }
    }
}

impl Serialize for Competitor {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl Places<'_> {
    async fn database(&self, name: &str) -> Result<String> {
        self.postgres.ok_or("there is no PostgreSQL server")?.create(name).await
    }
}

#[cfg(feature = "tigerbeetle")]
async fn tigerbeetle(address: &str, trade: Trade, limits: Limits) -> Result<Engine> {
    Ok(Engine::TigerBeetle(super::tigerbeetle::TigerBeetle::open(address, trade, limits).await?))
}

#[cfg(not(feature = "tigerbeetle"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
async fn tigerbeetle(address: &str, _: Trade, _: Limits) -> Result<Engine> {
    Err(format!("{address} cannot be asked: built without the feature tigerbeetle").into())
}
