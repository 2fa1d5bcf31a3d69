//! The embedded engine: one writer thread that owns the one writing connection, a few reading threads.
//!
//! A statement costs 1–2 µs here because a whole transaction runs on the writer's thread; a hop between threads for
//! each statement would cost a hundred. The writer takes whatever has queued up, runs each closure, commits
//! once, and only then answers all of them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::{CachedStatement, Connection, OpenFlags};

use crate::checkpoint::Checkpoints;
use crate::memory::Memory;
use crate::work::{GROUP, Inbox, Message, Queues, Work, lock, record_group, spawn, step_back};
use crate::{DbError, FaultPoint, Faults, OpenOptions, Param, Row, Tx, Value, tx};

const STATEMENT_CACHE: usize = 256;

/// Why each: `WAL` so that readers never wait for the writer; `FULL` because nothing may be acknowledged before it
/// is durable; a limit on what the log file keeps (when it is emptied is told in `checkpoint`); `busy_timeout` because admin
/// commands write beside a running server. The cache is small on purpose: a commit that split a page looks through all of it
/// (SQLite notes a page number beyond the end when it swaps pages, and forgets what lies there), which with 64 MiB took longer
/// than everything else; what is not in it is in the system's.
const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA busy_timeout = 5000;
    PRAGMA cache_size = -4096;
    PRAGMA temp_store = MEMORY;
    PRAGMA journal_size_limit = 268435456;
";

/// Where in a transaction a closure runs, which decides how its work is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the first: the transaction is begun anew. No savepoint, because with one open SQLite copies every page before
    /// it is changed, which costs more than the change.
    First,
    /// Others came before it: it has a savepoint.
    Further,
}

pub fn open(path: &Path, options: OpenOptions) -> Result<Queues, DbError> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(PRAGMAS)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Opening a read-only file succeeds; find out now, not at the first purchase.
    connection.execute_batch("BEGIN IMMEDIATE; PRAGMA user_version = 1; COMMIT")?;

    let (queues, ends) = Queues::new(options.queue);
    let mut writer_end = ends.writer;
    let checkpoints = Checkpoints::start(path, &mut connection)?;
    let mut writer = Writer { connection, checkpoints, memory: Memory::default(), faults: options.faults };
    spawn("db-writer", move || writer.run(&mut writer_end))?;

    let reader_end = Arc::new(Mutex::new(ends.readers));
    for _ in 0..options.readers.max(1) {
        let (connection, queue) = (open_reader(path)?, Arc::clone(&reader_end));
        spawn("db-reader", move || read_loop(&connection, || lock(&queue).recv().ok()))?;
    }
    let (connection, behind) = (open_reader(path)?, ends.behind);
    spawn("db-behind", move || {
        step_back();
        read_loop(&connection, || behind.recv().ok());
    })?;
    Ok(queues)
}

fn open_reader(path: &Path) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY")?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(connection)
}

/// The one who writes.
struct Writer {
    connection: Connection,
    checkpoints: Checkpoints,
    memory: Memory,
    faults: Option<Arc<dyn Faults>>,
}

impl Writer {
    fn run(&mut self, queue: &mut Inbox) {
        while let Some(message) = queue.wait() {
            match message {
                Message::Work(work) => self.write_group(work, queue),
                Message::ForeignWrites(answer) => drop(answer.send(data_version(&self.connection))),
            }
        }
    }

    /// Runs `first` and whatever else is waiting in one transaction.
    fn write_group(&mut self, first: Box<dyn Work>, queue: &mut Inbox) {
        if let Err(error) = self.begin() {
            tracing::error!(%error, "a transaction could not begin");
            return first.answer(Err(&error));
        }
        let mark = self.memory.mark();
        let mut group = vec![self.perform(first, Place::First)];
        let mut asked = Vec::new();
        while group.len() < GROUP && !self.connection.is_autocommit() {
            match queue.joining() {
                Some(Message::Work(work)) => group.push(self.perform(work, Place::Further)),
                Some(Message::ForeignWrites(answer)) => asked.push(answer),
                None => break,
            }
        }
        record_group(group.len());
        let committed = self.commit();
        if let Err(error) = &committed {
            tracing::error!(%error, group = group.len(), "a commit failed");
            roll_back(&self.connection);
            self.memory.forget_since(mark);
        }
        for work in group {
            work.answer(committed.as_ref().map(|&()| ()));
        }
        for answer in asked {
            let _ = answer.send(data_version(&self.connection));
        }
        self.checkpoints.after_commit(&self.connection);
    }

    fn begin(&self) -> Result<(), DbError> {
        self.fault(FaultPoint::BeforeBegin)?;
        execute(&self.connection, "BEGIN IMMEDIATE", &[]).map(drop)
    }

    fn commit(&self) -> Result<(), DbError> {
        if self.connection.is_autocommit() {
            return Err(DbError::Unwritable("the transaction was ended by the database".to_owned()));
        }
        self.fault(FaultPoint::BeforeCommit)?;
        execute(&self.connection, "COMMIT", &[])?;
        self.fault(FaultPoint::AfterCommit)
    }

    fn fault(&self, point: FaultPoint) -> Result<(), DbError> {
        match &self.faults {
            Some(faults) if faults.fails(point) => Err(match point {
                FaultPoint::AfterCommit => DbError::Unknown("a fault on purpose".to_owned()),
                _ => DbError::Unwritable("a fault on purpose".to_owned()),
            }),
            _ => Ok(()),
        }
    }

    fn perform(&mut self, mut work: Box<dyn Work>, place: Place) -> Box<dyn Work> {
        if place == Place::Further
            && let Err(error) = execute(&self.connection, "SAVEPOINT work", &[])
        {
            work.fail(error);
            return work;
        }
        let mark = self.memory.mark();
        let keep = work.run(&mut Tx::new(tx::Connection::Sqlite(&self.connection), &mut self.memory));
        if !keep {
            self.memory.forget_since(mark);
        }
        // A full disk may have ended the whole transaction already; then there is nothing left to take back.
        if !self.connection.is_autocommit() {
            match place {
                Place::First if !keep => begin_anew(&self.connection),
                Place::First => {}
                Place::Further => {
                    if let Err(error) = leave_savepoint(&self.connection, keep) {
                        work.fail(error);
                    }
                }
            }
        }
        work
    }
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

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = execute(connection, "ROLLBACK", &[])
    {
        tracing::error!(%error, "a rollback failed");
    }
}

fn read_loop(connection: &Connection, mut next: impl FnMut() -> Option<Box<dyn Work>>) {
    let mut memory = Memory::default();
    while let Some(mut work) = next() {
        match execute(connection, "BEGIN DEFERRED", &[]) {
            Ok(_) => {
                work.run(&mut Tx::new(tx::Connection::Sqlite(connection), &mut memory));
                roll_back(connection);
                work.answer(Ok(()));
            }
            Err(error) => work.answer(Err(&error)),
        }
    }
}

fn data_version(connection: &Connection) -> Result<i64, DbError> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(DbError::from)
}

/// `$1` is a name to SQLite, numbered by first appearance; `?1` is what it means everywhere else.
fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<CachedStatement<'c>, DbError> {
    connection.prepare_cached(&sql.replace('$', "?")).map_err(DbError::from)
}

pub fn execute(connection: &Connection, sql: &str, params: &[Param<'_>]) -> Result<usize, DbError> {
    let mut statement = prepare(connection, sql)?;
    if statement.column_count() > 0 {
        return Err(DbError::answers_rows(sql));
    }
    statement.execute(rusqlite::params_from_iter(params)).map_err(DbError::from)
}

pub fn execute_many<'p, R: AsRef<[Param<'p>]>>(
    connection: &Connection,
    sql: &str,
    rows: impl IntoIterator<Item = R>,
) -> Result<(), DbError> {
    let mut statement = prepare(connection, sql)?;
    if statement.column_count() > 0 {
        return Err(DbError::answers_rows(sql));
    }
    for row in rows {
        let touched = statement.execute(rusqlite::params_from_iter(row.as_ref()))?;
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

pub fn query_many<'p, R: AsRef<[Param<'p>]>>(
    connection: &Connection,
    sql: &str,
    keys: impl IntoIterator<Item = R>,
) -> Result<Vec<Option<Row>>, DbError> {
    let mut statement = prepare(connection, sql)?;
    let columns = statement.column_count();
    if columns == 0 {
        return Err(DbError::Other(format!("this statement answers no rows: {sql}")));
    }
    let mut result = Vec::new();
    for key in keys {
        let mut rows = statement.query(rusqlite::params_from_iter(key.as_ref()))?;
        let first = rows.next()?.map(|row| read_row(row, columns)).transpose()?;
        if first.is_some() && rows.next()?.is_some() {
            return Err(DbError::RowCount { expected: 1, touched: 2, sql: sql.to_owned() });
        }
        result.push(first);
    }
    Ok(result)
}

pub fn query_each(
    connection: &Connection,
    sql: &str,
    params: &[Param<'_>],
    each: &mut dyn FnMut(Row) -> bool,
) -> Result<(), DbError> {
    let mut statement = prepare(connection, sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        if !each(read_row(row, columns)?) {
            return Ok(());
        }
    }
    Ok(())
}

pub fn execute_script(connection: &Connection, sql: &str) -> Result<(), DbError> {
    connection.execute_batch(sql).map_err(DbError::from)
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
