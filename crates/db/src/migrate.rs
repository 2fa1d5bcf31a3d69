//! Migrations: numbered scripts, applied once each, in order, each in a transaction of its own.

use crate::{Db, DbError, Engine, params};

/// One step of a schema.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// What it does, in a few words.
    pub name: &'static str,
    /// The script for `SQLite`.
    pub sqlite: &'static str,
    /// The script for `PostgreSQL`.
    pub postgres: &'static str,
}

/// The schema of one part of the program. The position in the list is the number, so migrations are only ever
/// added at the end.
#[derive(Clone, Copy, Debug)]
pub struct MigrationSet {
    /// Which part.
    pub name: &'static str,
    /// Its steps.
    pub migrations: &'static [Migration],
}

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    set_name TEXT NOT NULL,
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (set_name, number)
)";
const NEWEST: &str = "SELECT coalesce(max(number), 0) FROM schema_migrations WHERE set_name = $1";
const RECORD: &str = "INSERT INTO schema_migrations (set_name, number, name) VALUES ($1, $2, $3)";

pub async fn run(db: &Db, sets: &'static [MigrationSet]) -> Result<Vec<String>, DbError> {
    db.tx("migrate", async |tx| tx.execute_script(CREATE).await).await?;
    let mut applied = Vec::new();
    for set in sets {
        applied.extend(db.tx("migrate", async move |tx| run_set(tx, set).await).await?);
    }
    Ok(applied)
}

async fn run_set(tx: &mut crate::Tx<'_>, set: &'static MigrationSet) -> Result<Vec<String>, DbError> {
    let newest: i64 = tx.query_one(NEWEST, &params![set.name]).await?.get(0)?;
    let known = i64::try_from(set.migrations.len()).unwrap_or(i64::MAX);
    if newest > known {
        return Err(DbError::Newer { set: set.name, found: newest, known });
    }
    let mut applied = Vec::new();
    for (number, migration) in (1_i64..).zip(set.migrations) {
        if number > newest {
            tx.execute_script(match tx.engine() {
                Engine::Sqlite => migration.sqlite,
                Engine::Postgres => migration.postgres,
            })
            .await?;
            tx.execute_one(RECORD, &params![set.name, number, migration.name]).await?;
            applied.push(format!("{} {number}: {}", set.name, migration.name));
        }
    }
    Ok(applied)
}
