//! What a copy notes in its two databases: whose copy it is, and how far it has come.
//!
//! None of these tables is ever copied itself.

use std::sync::Arc;

use super::CopyError;
use super::model::{Table, quoted};
use super::pages::Sum;
use crate::{Db, DbError, Engine, Tx, params};

/// Which migrations were applied; a database without this table is not ours.
pub const MIGRATIONS: &str = "schema_migrations";
/// Tables this crate keeps for itself.
pub const OURS: [&str; 5] = [MIGRATIONS, "db_writers", IDENTITY, COPY, COPIED];
const IDENTITY: &str = "db_identity";
const COPY: &str = "db_copy";
const COPIED: &str = "db_copied";

/// In a source: a name that no other database has, except copies of the whole file.
const MAKE_IDENTITY: &str = "CREATE TABLE IF NOT EXISTS db_identity (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL
)";
/// In a target: what it is a copy of, and whether it is finished; for each table, how many rows of it were copied and what they
/// add up to.
const MAKE_MARK: &str = "CREATE TABLE IF NOT EXISTS db_copy (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    source TEXT NOT NULL,
    finished BIGINT NOT NULL CHECK (finished IN (0, 1))
);
CREATE TABLE IF NOT EXISTS db_copied (
    table_name TEXT PRIMARY KEY,
    copied BIGINT NOT NULL,
    digest TEXT NOT NULL
)";

/// What a target says of itself.
#[derive(Clone, Debug)]
pub struct Mark {
    pub source: String,
    pub finished: bool,
}

/// The names of all tables.
pub async fn tables(db: &Db) -> Result<Vec<String>, DbError> {
    let sql = match db.engine() {
        Engine::Sqlite => {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'"
        }
        Engine::Postgres => "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
    };
    names(db, sql, None).await
}

/// The names of a table's columns.
pub async fn columns(db: &Db, table: &Table) -> Result<Vec<String>, DbError> {
    let sql = match db.engine() {
        Engine::Sqlite => "SELECT name FROM pragma_table_info($1)",
        Engine::Postgres => {
            "SELECT attname FROM pg_attribute
             WHERE attrelid = to_regclass(quote_ident($1)) AND attnum > 0 AND NOT attisdropped"
        }
    };
    names(db, sql, Some(table.name.clone())).await
}

async fn names(db: &Db, sql: &'static str, of: Option<String>) -> Result<Vec<String>, DbError> {
    db.read("copy_names", async move |tx| {
        let params: Vec<_> = of.iter().map(crate::Param::from).collect();
        tx.query(sql, &params).await?.iter().map(|row| row.get(0)).collect()
    })
    .await
}

/// How many rows a table has, counting no further than `most`.
pub async fn count(db: &Db, table: &Table, most: i64) -> Result<i64, DbError> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT $1) AS found", quoted(&table.name));
    db.read("copy_count", async move |tx| tx.query_one(&sql, &params![most]).await?.get(0)).await
}

/// What a database is called, if it was called anything; `there` are its tables.
pub async fn identity(db: &Db, there: &[String]) -> Result<Option<String>, DbError> {
    if !there.iter().any(|name| name == IDENTITY) {
        return Ok(None);
    }
    Ok(names(db, "SELECT name FROM db_identity WHERE id = 1", None).await?.into_iter().next())
}

/// What a database is called, from now on if not before.
pub async fn identify(db: &Db) -> Result<String, DbError> {
    if let Some(name) = identity(db, &tables(db).await?).await? {
        return Ok(name);
    }
    let insert = match db.engine() {
        Engine::Sqlite => "INSERT INTO db_identity (id, name) VALUES (1, lower(hex(randomblob(16))))",
        Engine::Postgres => "INSERT INTO db_identity (id, name) VALUES (1, gen_random_uuid()::text)",
    };
    db.tx("copy_identify", async move |tx| {
        tx.execute_script(MAKE_IDENTITY).await?;
        tx.execute_one(insert, &[]).await?;
        tx.query_one("SELECT name FROM db_identity WHERE id = 1", &[]).await?.get(0)
    })
    .await
}

/// What a database is a copy of, if it is one; `there` are its tables.
pub async fn of(db: &Db, there: &[String]) -> Result<Option<Mark>, DbError> {
    if !there.iter().any(|name| name == COPY) {
        return Ok(None);
    }
    db.read("copy_mark", async |tx| {
        let row = tx.query_opt("SELECT source, finished FROM db_copy WHERE id = 1", &[]).await?;
        row.map(|row| Ok(Mark { source: row.get(0)?, finished: row.get(1)? })).transpose()
    })
    .await
}

/// Makes an empty database the unfinished copy of a source. What migrations put into it goes: it comes from the source.
pub async fn begin(target: &Db, tables: &[Arc<Table>], source: String) -> Result<(), CopyError> {
    let tables = tables.to_vec();
    target
        .tx("copy_begin", async move |tx| {
            tx.execute_script(MAKE_MARK).await?;
            let mark =
                "INSERT INTO db_copy (id, source, finished) VALUES (1, $1, 0) ON CONFLICT (id) DO NOTHING";
            if tx.execute(mark, &params![&source]).await? == 0 {
                return Err(CopyError::Overtaken);
            }
            add(tx, &tables).await?;
            Ok(delete_all(tx, &tables).await?)
        })
        .await
}

/// Notes of tables that are new since the copy was begun that nothing of them was copied.
pub async fn add_tables(target: &Db, tables: &[Arc<Table>]) -> Result<(), DbError> {
    let tables = tables.to_vec();
    target.tx("copy_add_tables", async move |tx| add(tx, &tables).await).await
}

async fn add(tx: &mut Tx<'_>, tables: &[Arc<Table>]) -> Result<(), DbError> {
    let sql = "INSERT INTO db_copied (table_name, copied, digest) VALUES ($1, 0, $2)
               ON CONFLICT (table_name) DO NOTHING";
    for table in tables {
        tx.execute(sql, &params![&table.name, &text(Sum::default())]).await?;
    }
    Ok(())
}

/// How far each table was copied.
pub async fn recorded(target: &Db, tables: &[Arc<Table>]) -> Result<Vec<Sum>, DbError> {
    let tables = tables.to_vec();
    target
        .read("copy_recorded", async move |tx| {
            let sql = "SELECT copied, digest FROM db_copied WHERE table_name = $1";
            let rows = tx.query_many(sql, tables.iter().map(|table| params![&table.name])).await?;
            rows.into_iter()
                .map(|row| {
                    let Some(row) = row else { return Ok(Sum::default()) };
                    let digest: String = row.get(1)?;
                    let strange = |_| DbError::Other(format!("db_copied has a strange digest: {digest}"));
                    Ok(Sum { rows: row.get(0)?, digest: u128::from_str_radix(&digest, 16).map_err(strange)? })
                })
                .collect()
        })
        .await
}

/// Notes how far a table is copied now, in the transaction that copies; it must have been as far as `before`.
pub async fn record(tx: &mut Tx<'_>, table: &Table, before: Sum, now: Sum) -> Result<(), CopyError> {
    let sql = "UPDATE db_copied SET copied = $1, digest = $2
               WHERE table_name = $3 AND copied = $4 AND digest = $5";
    let (was, is) = (text(before), text(now));
    let params = params![now.rows, &is, &table.name, before.rows, &was];
    if tx.execute(sql, &params).await? == 0 {
        return Err(CopyError::Overtaken);
    }
    tx.execute("UPDATE db_copy SET finished = 0 WHERE id = 1 AND finished = 1", &[]).await?;
    Ok(())
}

fn text(sum: Sum) -> String {
    format!("{:032x}", sum.digest)
}

/// Empties the tables, except those that are only ever added to.
pub async fn empty(target: &Db, tables: &[Arc<Table>]) -> Result<(), DbError> {
    let tables = tables.to_vec();
    target
        .tx("copy_empty", async move |tx| {
            let sql = "UPDATE db_copied SET copied = 0, digest = $2 WHERE table_name = $1";
            let none = text(Sum::default());
            tx.execute_many(sql, emptied(&tables).map(|table| params![&table.name, &none])).await?;
            tx.execute_one("UPDATE db_copy SET finished = 0 WHERE id = 1", &[]).await?;
            delete_all(tx, &tables).await
        })
        .await
}

fn emptied(tables: &[Arc<Table>]) -> impl DoubleEndedIterator<Item = &Arc<Table>> {
    tables.iter().filter(|table| !table.append_only)
}

async fn delete_all(tx: &mut Tx<'_>, tables: &[Arc<Table>]) -> Result<(), DbError> {
    let names: Vec<String> = emptied(tables).rev().map(|table| quoted(&table.name)).collect();
    let script = match tx.engine() {
        _ if names.is_empty() => return Ok(()),
        Engine::Sqlite => names.iter().map(|name| format!("DELETE FROM {name};")).collect(),
        Engine::Postgres => format!("TRUNCATE {}", names.join(", ")),
    };
    tx.execute_script(&script).await
}

/// The copy is all there.
pub async fn finish(target: &Db) -> Result<(), DbError> {
    let sql = "UPDATE db_copy SET finished = 1 WHERE id = 1";
    target.tx("copy_finish", async |tx| tx.execute_one(sql, &[]).await).await
}
