//! Database access, and nothing about our domain.
//!
//! * A transaction is a value you are handed: [`Db::tx`] runs a closure with a [`Tx`], commits when it answers
//!   `Ok`, takes everything back when it answers `Err` or panics. The closure may run on another thread and more
//!   than once, so it does nothing to the outside world. It cannot wait for anything but the database: a
//!   closure that does is refused (I14).
//! * SQL is plain text with `$1`, `$2`, … for its parameters, the same for every engine.
//! * Transactions that write run one after another, also those of different processes, so that what a closure has read
//!   stays true until it is committed.
//! * Closures that arrive while a commit is being made durable share the next commit (group commit). A failing one
//!   takes back nothing of its neighbours. No closure's answer is given before the
//!   commit it is part of is on disk.
//! * A statement that failed ends its closure: whatever the closure does then, nothing of it is kept.
//! * [`Db::read`] is the same on a read-only connection that never waits for the writer.

mod checkpoint;
mod copy;
mod error;
mod faults;
mod memory;
mod migrate;
mod postgres;
mod sqlite;
mod tx;
mod value;
mod work;

use std::path::Path;
use std::sync::Arc;

pub use copy::{Copied, CopyError, CopyProgress, CopyStep};
pub use error::DbError;
pub use faults::{FaultPoint, Faults};
pub use migrate::{Migration, MigrationSet};
pub use tx::{Question, Tx};
pub use value::{FromValue, Param, Row, Value};

/// A database. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Db {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    queues: work::Queues,
}

/// Which program keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `SQLite`, in this process.
    Sqlite,
    /// `PostgreSQL`, across a connection.
    Postgres,
}

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How many reading threads there are, at least one.
    pub readers: usize,
    /// How many closures may wait for the writer before further ones are answered with [`DbError::Busy`].
    pub queue: usize,
    /// What goes wrong on purpose; `None` outside of tests.
    pub faults: Option<Arc<dyn Faults>>,
}

impl OpenOptions {
    /// What a server uses: four readers, and a queue of 4,096.
    #[must_use]
    pub const fn server() -> Self {
        Self { readers: 4, queue: 4096, faults: None }
    }

    /// What a single command uses.
    #[must_use]
    pub const fn command() -> Self {
        Self { readers: 1, queue: 64, faults: None }
    }
}

impl Db {
    /// Opens the database `url` names: `sqlite:PATH` (a file, created if there is none), or
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE` (which must exist). With `?sslmode=require` the connection is encrypted
    /// and the server proves who it is, to the roots of this machine or to those in the file `&sslrootcert=PATH`.
    ///
    /// # Errors
    /// When the database cannot be opened or written, or `url` names none. No error repeats a password.
    pub async fn open(url: &str, options: OpenOptions) -> Result<Self, DbError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return Self::open_sqlite(Path::new(path), options);
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let queues = postgres::open(url, options).await?;
            return Ok(Self { inner: Arc::new(Inner { engine: Engine::Postgres, queues }) });
        }
        Err(DbError::Other("a database is named sqlite:PATH or postgres://…".to_owned()))
    }

    /// Opens (and creates, if there is none) the `SQLite` file at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn open_sqlite(path: &Path, options: OpenOptions) -> Result<Self, DbError> {
        let queues = sqlite::open(path, options)?;
        Ok(Self { inner: Arc::new(Inner { engine: Engine::Sqlite, queues }) })
    }

    /// Which program keeps the data.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.inner.engine
    }

    /// Runs `work` in a transaction called `name` (for logs and metrics) and answers what it answered once that
    /// is durable.
    ///
    /// # Errors
    /// What `work` answers; or a [`DbError`] when the database refuses, in which case nothing of `work` was kept
    /// (with [`DbError::Unknown`] that is not known).
    pub async fn tx<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.inner.queues.write(name, false, work).await
    }

    /// Like [`Self::tx`], in a transaction that begins with `work`: it never joins one in progress. For work that decides
    /// what to do when it runs, and so can wait in the queue while the one before it is being committed.
    ///
    /// # Errors
    /// Those of [`Self::tx`].
    pub async fn tx_anew<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.inner.queues.write(name, true, work).await
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
        self.inner.queues.read(name, false, work).await
    }

    /// Like [`Self::read`], for work nobody waits for, such as an audit: on a thread of its own, which steps back when there is
    /// not enough of the processor for all.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub async fn read_behind<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.inner.queues.read(name, true, work).await
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
        self.inner.queues.foreign_writes().await
    }
}

/// Parameters of a statement: `params![id, name]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::Param::from($value)),*] };
}
