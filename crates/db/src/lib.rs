//! Database access, and nothing about our domain.
//!
//! * A transaction is a value you are handed: [`Db::tx`] runs a closure with a [`Tx`], commits when it answers
//!   `Ok`, takes everything back when it answers `Err` or panics. The closure may run on another thread and more
//!   than once, so it does nothing to the outside world. It cannot wait for anything but the database: a
//!   closure that does is refused (I14).
//! * SQL is plain text with `$1`, `$2`, … for its parameters, the same for every engine.
//! * Closures that arrive while a commit is being made durable share the next commit (group commit). A failing one
//!   takes back nothing of its neighbours. No closure's answer is given before the
//!   commit it is part of is on disk.
//! * [`Db::read`] is the same on a read-only connection that never waits for the writer.

mod error;
mod migrate;
mod sqlite;
mod value;

use std::path::Path;
use std::sync::Arc;

pub use error::DbError;
pub use migrate::{Migration, MigrationSet};
pub use value::{FromValue, Param, Row, Value};

/// A database. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Db {
    engine: Arc<sqlite::Engine>,
}

/// How a database is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// How many reading threads there are, at least one.
    pub readers: usize,
    /// How many closures may wait for the writer before further ones are answered with [`DbError::Busy`].
    pub queue: usize,
}

impl OpenOptions {
    /// What a server uses: four readers, and a queue of 4,096.
    #[must_use]
    pub const fn server() -> Self {
        Self { readers: 4, queue: 4096 }
    }

    /// What a single command uses.
    #[must_use]
    pub const fn command() -> Self {
        Self { readers: 1, queue: 64 }
    }
}

impl Db {
    /// Opens (and creates, if there is none) the SQLite file at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn open_sqlite(path: &Path, options: OpenOptions) -> Result<Self, DbError> {
        Ok(Self { engine: Arc::new(sqlite::Engine::open(path, options)?) })
    }

    /// Runs `work` in a transaction called `name` (for logs and metrics) and answers what it answered once that
    /// is durable.
    ///
    /// # Errors
    /// What `work` answers; or a [`DbError`] when the database refuses, in which case nothing of `work` was kept.
    pub async fn tx<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.engine.write(name, work).await
    }

    /// Runs `work` on a read-only snapshot.
    ///
    /// # Errors
    /// What `work` answers, or a [`DbError`].
    pub async fn read<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.engine.read(name, work).await
    }

    /// Applies what of `sets` has not been applied yet, in order. Running it again does nothing.
    ///
    /// # Errors
    /// A [`DbError`]; a migration that fails leaves nothing of itself.
    pub async fn migrate(&self, sets: &'static [MigrationSet]) -> Result<Vec<String>, DbError> {
        migrate::run(self, sets).await
    }

    /// A number that changes when another process has written to this database.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn foreign_writes(&self) -> Result<i64, DbError> {
        self.engine.foreign_writes().await
    }
}

/// A transaction in progress. Its functions are `async` because an engine across a network waits in them.
#[derive(Debug)]
pub struct Tx<'c> {
    connection: &'c rusqlite::Connection,
}

impl Tx<'_> {
    /// Runs a statement; answers how many rows it touched.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, DbError> {
        sqlite::execute(self.connection, sql, params)
    }

    /// Runs a statement that must touch exactly one row.
    ///
    /// # Errors
    /// [`DbError::RowCount`] if it touched another number of rows, and any other [`DbError`].
    pub async fn execute_one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), DbError> {
        match self.execute(sql, params).await? {
            1 => Ok(()),
            touched => Err(DbError::RowCount { expected: 1, touched, sql: sql.to_owned() }),
        }
    }

    /// Runs one statement for each row of parameters, as one vector; each must touch exactly one row.
    ///
    /// # Errors
    /// [`DbError::RowCount`] if one did not, and any other [`DbError`].
    pub async fn execute_many<'p, const N: usize>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = [Param<'p>; N]>,
    ) -> Result<(), DbError> {
        sqlite::execute_many(self.connection, sql, rows)
    }

    /// All rows a query gives.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        sqlite::query(self.connection, sql, params)
    }

    /// The first row a query gives, if any.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn query_opt(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, DbError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// The row a query must give.
    ///
    /// # Errors
    /// [`DbError::RowCount`] if there is none, and any other [`DbError`].
    pub async fn query_one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Row, DbError> {
        self.query_opt(sql, params).await?.ok_or_else(|| DbError::RowCount {
            expected: 1,
            touched: 0,
            sql: sql.to_owned(),
        })
    }

    /// Runs a query that gives at most one row for each row of parameters, as one vector; answers in the same order.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn query_many<'p, const N: usize>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = [Param<'p>; N]>,
    ) -> Result<Vec<Option<Row>>, DbError> {
        sqlite::query_many(self.connection, sql, rows)
    }

    /// Runs several statements without parameters, as migrations have them.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn execute_script(&mut self, sql: &str) -> Result<(), DbError> {
        self.connection.execute_batch(sql).map_err(DbError::from)
    }
}

/// Parameters of a statement: `params![id, name]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::Param::from($value)),*] };
}
