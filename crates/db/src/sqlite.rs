//! The embedded engine: one writer thread that owns the one writing connection, a few reading threads.
//!
//! A statement costs 1–2 µs here because a whole transaction runs on the writer's thread; a hop between threads for
//! each statement would cost a hundred. The writer takes whatever has queued up, runs each closure, commits
//! once, and only then answers all of them.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rusqlite::{CachedStatement, Connection, OpenFlags};
use tokio::sync::oneshot;

use crate::{DbError, OpenOptions, Param, Row, Tx, Value};

/// Most closures committed together. Bounds the latency of the first of them.
const GROUP: usize = 512;
const STATEMENT_CACHE: usize = 256;

/// Why each: `WAL` so that readers never wait for the writer; `FULL` because nothing may be acknowledged before it
/// is durable; a larger checkpoint interval so that commits are not slowed by frequent checkpoints, with a limit on what the log
/// file keeps; `busy_timeout` because admin commands write beside a running server.
const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA busy_timeout = 5000;
    PRAGMA cache_size = -65536;
    PRAGMA temp_store = MEMORY;
    PRAGMA wal_autocheckpoint = 16000;
    PRAGMA journal_size_limit = 67108864;
";

/// A closure on its way to a thread.
trait Work: Send {
    /// Runs it and hands back how to answer it once the commit has succeeded or failed.
    fn run(self: Box<Self>, connection: &Connection, place: Place) -> Answer;

    /// Answers it without running it.
    fn refuse(self: Box<Self>, error: DbError);
}

/// Where in a transaction a closure runs, which decides how its work is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the first: the transaction is begun anew. No savepoint, because with one open SQLite copies every page before
    /// it is changed, which costs more than the change.
    First,
    /// Others came before it: it has a savepoint.
    Further,
    /// It only reads: there is nothing to take back.
    Reading,
}

type Answer = Box<dyn FnOnce(Result<(), Arc<DbError>>) + Send>;

struct Package<T, E, F> {
    name: &'static str,
    work: F,
    answer: oneshot::Sender<Result<T, E>>,
}

enum Message {
    Work(Box<dyn Work>),
    ForeignWrites(oneshot::Sender<Result<i64, DbError>>),
}

pub struct Engine {
    writer: Mutex<mpsc::SyncSender<Message>>,
    readers: Mutex<mpsc::SyncSender<Box<dyn Work>>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SQLite")
    }
}

impl Engine {
    pub fn open(path: &Path, options: OpenOptions) -> Result<Self, DbError> {
        let connection = Connection::open(path)?;
        connection.execute_batch(PRAGMAS)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        // Opening a read-only file succeeds; find out now, not at the first purchase.
        connection.execute_batch("BEGIN IMMEDIATE; PRAGMA user_version = 1; COMMIT")?;

        let (writer, writer_queue) = mpsc::sync_channel(options.queue);
        spawn("db-writer", move || write_loop(&connection, &writer_queue))?;

        let (readers, reader_queue) = mpsc::sync_channel(options.queue);
        let reader_queue = Arc::new(Mutex::new(reader_queue));
        for _ in 0..options.readers.max(1) {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY")?;
            connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
            let queue = Arc::clone(&reader_queue);
            spawn("db-reader", move || read_loop(&connection, &queue))?;
        }
        Ok(Self { writer: Mutex::new(writer), readers: Mutex::new(readers) })
    }

    pub async fn write<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let package = Box::new(Package { name, work, answer: sender });
        lock(&self.writer).try_send(Message::Work(package)).map_err(|error| E::from(refused(&error)))?;
        answer.await.unwrap_or_else(|_| Err(E::from(DbError::Closed)))
    }

    pub async fn read<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let package = Box::new(Package { name, work, answer: sender });
        lock(&self.readers).try_send(package).map_err(|error| E::from(refused(&error)))?;
        answer.await.unwrap_or_else(|_| Err(E::from(DbError::Closed)))
    }

    pub async fn foreign_writes(&self) -> Result<i64, DbError> {
        let (sender, answer) = oneshot::channel();
        lock(&self.writer).try_send(Message::ForeignWrites(sender)).map_err(|error| refused(&error))?;
        answer.await.unwrap_or(Err(DbError::Closed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused<T>(error: &mpsc::TrySendError<T>) -> DbError {
    match error {
        mpsc::TrySendError::Full(_) => DbError::Busy,
        mpsc::TrySendError::Disconnected(_) => DbError::Closed,
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), DbError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map(drop).map_err(|error| DbError::Other(format!("cannot start a database thread: {error}")))
}

impl<T, E, F> Work for Package<T, E, F>
where
    F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
{
    fn run(self: Box<Self>, connection: &Connection, place: Place) -> Answer {
        let Self { name, work, answer } = *self;
        let started = Instant::now();
        let result = perform(connection, place, &work);
        metrics::histogram!("archipelago_db_transaction_seconds", "name" => name).record(started.elapsed());
        Box::new(move |committed| {
            let result = match (committed, result) {
                // What the closure wanted to keep was not kept.
                (Err(error), Ok(_)) => Err(E::from(copy(&error))),
                (_, result) => result,
            };
            // The one who asked may be gone; the transaction stands all the same.
            let _ = answer.send(result);
        })
    }

    fn refuse(self: Box<Self>, error: DbError) {
        let _ = self.answer.send(Err(E::from(error)));
    }
}

fn perform<T, E, F>(connection: &Connection, place: Place, work: &F) -> Result<T, E>
where
    F: AsyncFn(&mut Tx<'_>) -> Result<T, E>,
    E: From<DbError>,
{
    if place == Place::Further {
        execute(connection, "SAVEPOINT work", &[])?;
    }
    let mut tx = Tx { connection };
    let polled = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let future = pin!(work(&mut tx));
        future.poll(&mut Context::from_waker(Waker::noop()))
    }));
    let result = match polled {
        Ok(Poll::Ready(result)) => result,
        Ok(Poll::Pending) => Err(E::from(DbError::Waited)),
        Err(_) => Err(E::from(DbError::Panicked)),
    };
    // A full disk may have ended the whole transaction already; then there is nothing left to take back.
    if !connection.is_autocommit() {
        match place {
            Place::First if result.is_err() => begin_anew(connection),
            Place::Further => leave_savepoint(connection, result.is_ok())?,
            Place::First | Place::Reading => {}
        }
    }
    result
}

/// Takes back all there is, which is the work of one closure, so that the others of the group can follow.
fn begin_anew(connection: &Connection) {
    roll_back(connection);
    if let Err(error) = execute(connection, "BEGIN IMMEDIATE", &[]) {
        tracing::error!(%error, "a transaction could not begin anew");
    }
}

fn leave_savepoint(connection: &Connection, keep: bool) -> Result<(), DbError> {
    if !keep && execute(connection, "ROLLBACK TO work", &[]).is_err() {
        // What cannot be taken back alone is taken back with the whole group, which is then answered with an error.
        roll_back(connection);
        return Ok(());
    }
    execute(connection, "RELEASE work", &[]).map(drop)
}

fn write_loop(connection: &Connection, queue: &mpsc::Receiver<Message>) {
    while let Ok(message) = queue.recv() {
        match message {
            Message::Work(work) => write_group(connection, work, queue),
            Message::ForeignWrites(answer) => drop(answer.send(data_version(connection))),
        }
    }
}

/// Runs `first` and whatever else is waiting in one transaction.
fn write_group(connection: &Connection, first: Box<dyn Work>, queue: &mpsc::Receiver<Message>) {
    if let Err(error) = execute(connection, "BEGIN IMMEDIATE", &[]) {
        tracing::error!(%error, "a transaction could not begin");
        return first.refuse(error);
    }
    let mut answers = vec![first.run(connection, Place::First)];
    let mut asked = Vec::new();
    while answers.len() < GROUP && !connection.is_autocommit() {
        match queue.try_recv() {
            Ok(Message::Work(work)) => answers.push(work.run(connection, Place::Further)),
            Ok(Message::ForeignWrites(answer)) => asked.push(answer),
            Err(_) => break,
        }
    }
    let committed = if connection.is_autocommit() {
        Err(DbError::Unwritable("the transaction was ended by the database".to_owned()))
    } else {
        execute(connection, "COMMIT", &[]).map(drop)
    };
    metrics::histogram!("archipelago_db_group_size").record(u32::try_from(answers.len()).unwrap_or(u32::MAX));
    if let Err(error) = &committed {
        tracing::error!(%error, group = answers.len(), "a commit failed; nothing of it was kept");
        roll_back(connection);
    }
    let committed = committed.map_err(Arc::new);
    for answer in answers {
        answer(committed.clone());
    }
    for answer in asked {
        let _ = answer.send(data_version(connection));
    }
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = execute(connection, "ROLLBACK", &[])
    {
        tracing::error!(%error, "a rollback failed");
    }
}

fn read_loop(connection: &Connection, queue: &Mutex<mpsc::Receiver<Box<dyn Work>>>) {
    loop {
        let next = lock(queue).recv();
        let Ok(work) = next else { return };
        match execute(connection, "BEGIN DEFERRED", &[]) {
            Ok(_) => {
                let answer = work.run(connection, Place::Reading);
                roll_back(connection);
                answer(Ok(()));
            }
            Err(error) => work.refuse(error),
        }
    }
}

fn data_version(connection: &Connection) -> Result<i64, DbError> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(DbError::from)
}

/// A commit error reaches every closure of the group; errors of the driver cannot be cloned.
fn copy(error: &DbError) -> DbError {
    match error {
        DbError::Busy => DbError::Busy,
        DbError::Unwritable(text) => DbError::Unwritable(text.clone()),
        other => DbError::Other(other.to_string()),
    }
}

/// `$1` is a name to SQLite, numbered by first appearance; `?1` is what it means everywhere else.
fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<CachedStatement<'c>, DbError> {
    connection.prepare_cached(&sql.replace('$', "?")).map_err(DbError::from)
}

pub fn execute(connection: &Connection, sql: &str, params: &[Param<'_>]) -> Result<usize, DbError> {
    let mut statement = prepare(connection, sql)?;
    statement.execute(rusqlite::params_from_iter(params)).map_err(DbError::from)
}

pub fn execute_many<'p, const N: usize>(
    connection: &Connection,
    sql: &str,
    rows: impl IntoIterator<Item = [Param<'p>; N]>,
) -> Result<(), DbError> {
    let mut statement = prepare(connection, sql)?;
    for row in rows {
        let touched = statement.execute(rusqlite::params_from_iter(&row))?;
        if touched != 1 {
            return Err(DbError::RowCount { expected: 1, touched, sql: sql.to_owned() });
        }
    }
    Ok(())
}

pub fn query(connection: &Connection, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
    let mut statement = prepare(connection, sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    let mut result = Vec::new();
    while let Some(row) = rows.next()? {
        result.push(read_row(row, columns)?);
    }
    Ok(result)
}

pub fn query_many<'p, const N: usize>(
    connection: &Connection,
    sql: &str,
    keys: impl IntoIterator<Item = [Param<'p>; N]>,
) -> Result<Vec<Option<Row>>, DbError> {
    let mut statement = prepare(connection, sql)?;
    let columns = statement.column_count();
    let mut result = Vec::new();
    for key in keys {
        let mut rows = statement.query(rusqlite::params_from_iter(&key))?;
        result.push(match rows.next()? {
            Some(row) => Some(read_row(row, columns)?),
            None => None,
        });
    }
    Ok(result)
}

fn read_row(row: &rusqlite::Row<'_>, columns: usize) -> Result<Row, DbError> {
    use rusqlite::types::ValueRef;
    let mut values = Vec::with_capacity(columns);
    for column in 0..columns {
        values.push(match row.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Int(number),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
            ValueRef::Real(_) => {
                return Err(DbError::Type { column, expected: "no float", found: "a float" });
            }
        });
    }
    Ok(Row(values))
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::ValueRef;
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match *self {
            Param::Null => ValueRef::Null,
            Param::Int(number) => ValueRef::Integer(number),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
