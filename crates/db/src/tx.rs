//! What a closure is handed.

use crate::memory::Memory;
use crate::{DbError, Engine, Param, Row, postgres, sqlite};

/// A transaction in progress.
///
/// Its functions are `async` for the sake of how they read; an engine blocks its own thread in them. After one of them
/// has answered an error the transaction is over: the others answer the same error, and nothing is kept.
#[derive(Debug)]
pub struct Tx<'c> {
    connection: Connection<'c>,
    memory: &'c mut Memory,
    failed: Option<DbError>,
}

/// What a transaction runs on.
#[derive(Debug)]
pub(crate) enum Connection<'c> {
    Sqlite(&'c rusqlite::Connection),
    Postgres(&'c mut postgres::Session),
}

/// A question that was asked with [`Tx::ask_many`], for [`Tx::answer`].
pub struct Question<T> {
    answer: Answer,
    read: Read<T>,
}

/// Makes of the rows what is wanted.
type Read<T> = Box<dyn FnOnce(Vec<Option<Row>>) -> Result<T, DbError>>;

impl<T> std::fmt::Debug for Question<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Question")
    }
}

enum Answer {
    Here(Vec<Option<Row>>),
    Coming(postgres::Coming),
}

impl<'c> Tx<'c> {
    pub(crate) fn new(connection: Connection<'c>, memory: &'c mut Memory) -> Self {
        Self { connection, memory, failed: None }
    }

    /// The error that ended the transaction, if one did.
    fn failure(&self) -> Option<DbError> {
        self.failed.as_ref().map(DbError::duplicate)
    }

    /// Which program keeps the data, for the few who must know.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.connection {
            Connection::Sqlite(_) => Engine::Sqlite,
            Connection::Postgres(_) => Engine::Postgres,
        }
    }

    /// Takes the value of type `T` that was left on this connection, if there is one.
    ///
    /// What it says was true when it was put there; other connections have their own and write too, so check it against
    /// the database before it is believed.
    pub fn take_memo<T: Send + 'static>(&mut self) -> Option<T> {
        self.memory.take()
    }

    /// Leaves a value for a later closure on this connection, in place of one of the same type.
    ///
    /// It is dropped when this closure's work is taken back, or with the connection.
    pub fn put_memo<T: Send + 'static>(&mut self, value: T) {
        self.memory.put(value);
    }

    /// Runs a statement; answers how many rows it touched.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, DbError> {
        self.run(|connection| match connection {
            Connection::Sqlite(connection) => sqlite::execute(connection, sql, params),
            Connection::Postgres(session) => session.execute(sql, params),
        })
    }

    /// Runs a statement that must touch exactly one row.
    ///
    /// # Errors
    /// [`DbError::RowCount`] if it touched another number of rows, and any other [`DbError`]. Where the answer takes a
    /// while the statement may only have been sent: what went wrong is then the error of a later one, or of the
    /// transaction.
    pub async fn execute_one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), DbError> {
        self.run(|connection| match connection {
            Connection::Sqlite(connection) => match sqlite::execute(connection, sql, params)? {
                1 => Ok(()),
                touched => Err(DbError::RowCount { expected: 1, touched, sql: sql.to_owned() }),
            },
            Connection::Postgres(session) => session.execute_one(sql, params),
        })
    }

    /// Runs one statement for each row of parameters, as one vector; each must touch exactly one row. Rows are arrays, or
    /// anything else with as many parameters as the statement takes.
    ///
    /// The rows are independent of each other: no two may touch the same row of the table (the same key twice in a vector
    /// is a mistake that some engines report and others do not), and none sees what another did.
    ///
    /// # Errors
    /// [`DbError::RowCount`] if one touched no row or several (the numbers in it are of that row or of the whole vector),
    /// and any other [`DbError`]; perhaps later, as with [`Self::execute_one`].
    pub async fn execute_many<'p, R: AsRef<[Param<'p>]>>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<(), DbError> {
        self.run(|connection| match connection {
            Connection::Sqlite(connection) => sqlite::execute_many(connection, sql, rows),
            Connection::Postgres(session) => session.execute_many(sql, rows),
        })
    }

    /// All rows a query gives.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.run(|connection| match connection {
            Connection::Sqlite(connection) => sqlite::query(connection, sql, params),
            Connection::Postgres(session) => session.query(sql, params),
        })
    }

    /// Hands each row a query gives to `each`, in the query's order, without keeping them: for results larger than memory.
    ///
    /// # Errors
    /// The first error `each` answers, which ends the query; or a [`DbError`].
    pub async fn query_each<E: From<DbError>>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut each: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut refusal = None;
        let hand_over = |row: Row| {
            refusal = each(&row).err();
            refusal.is_none()
        };
        self.take_each(sql, params, hand_over).await?;
        refusal.map_or(Ok(()), Err)
    }

    /// The same for one who keeps the rows; `each` answers whether it wants more.
    pub(crate) async fn take_each(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut each: impl FnMut(Row) -> bool,
    ) -> Result<(), DbError> {
        self.run(|connection| match connection {
            Connection::Sqlite(connection) => sqlite::query_each(connection, sql, params, &mut each),
            Connection::Postgres(session) => session.query_each(sql, params, &mut each),
        })
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
        let row = self.query_opt(sql, params).await?;
        self.run(|_| row.ok_or_else(|| DbError::RowCount { expected: 1, touched: 0, sql: sql.to_owned() }))
    }

    /// Runs a query that gives at most one row for each row of parameters, as one vector; answers in the same order.
    ///
    /// # Errors
    /// [`DbError::RowCount`] if it gives several, and any other [`DbError`].
    pub async fn query_many<'p, R: AsRef<[Param<'p>]>>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Option<Row>>, DbError> {
        self.run(|connection| match connection {
            Connection::Sqlite(connection) => sqlite::query_many(connection, sql, rows),
            Connection::Postgres(session) => session.query_many(sql, rows),
        })
    }

    /// Asks what [`Self::query_many`] asks, for an answer that is wanted later. Questions asked one after another and then
    /// answered wait for the database once, where each by itself would wait.
    ///
    /// `read` makes of the rows what is wanted, in the order of the rows of parameters.
    ///
    /// # Errors
    /// A [`DbError`], perhaps later.
    pub async fn ask_many<'p, T, R: AsRef<[Param<'p>]>>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = R>,
        read: impl FnOnce(Vec<Option<Row>>) -> Result<T, DbError> + 'static,
    ) -> Result<Question<T>, DbError> {
        let answer = self.run(|connection| match connection {
            Connection::Sqlite(connection) => sqlite::query_many(connection, sql, rows).map(Answer::Here),
            Connection::Postgres(session) => session.ask_many(sql, rows).map(Answer::Coming),
        })?;
        Ok(Question { answer, read: Box::new(read) })
    }

    /// The answer to a question asked in this transaction.
    ///
    /// # Errors
    /// [`DbError::RowCount`] if there are several rows for one row of parameters, and any other [`DbError`].
    pub async fn answer<T>(&mut self, asked: Question<T>) -> Result<T, DbError> {
        let Question { answer, read } = asked;
        self.run(|connection| {
            let rows = match (answer, connection) {
                (Answer::Here(rows), _) => rows,
                (Answer::Coming(question), Connection::Postgres(session)) => session.answer(question)?,
                (Answer::Coming(_), Connection::Sqlite(_)) => return Err(DbError::Closed),
            };
            read(rows)
        })
    }

    /// Runs several statements without parameters, as migrations have them.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn execute_script(&mut self, sql: &str) -> Result<(), DbError> {
        self.run(|connection| match connection {
            Connection::Sqlite(connection) => sqlite::execute_script(connection, sql),
            Connection::Postgres(session) => session.execute_script(sql),
        })
    }

    /// Waits until everything that was sent has been done; answers the error that ended the transaction, if one did.
    pub(crate) fn settle(&mut self) -> Result<(), DbError> {
        self.run(|connection| match connection {
            Connection::Sqlite(_) => Ok(()),
            Connection::Postgres(session) => session.settle(),
        })
    }

    fn run<R>(
        &mut self,
        statement: impl FnOnce(&mut Connection<'c>) -> Result<R, DbError>,
    ) -> Result<R, DbError> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let result = statement(&mut self.connection);
        self.failed = result.as_ref().err().map(DbError::duplicate);
        result
    }
}
