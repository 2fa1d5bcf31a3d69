//! What a closure can do on a connection.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row as Received, Statement};

use super::connect::Prepared;
use super::copy::{Copy, WORTH_IT};
use super::sent::What;
use super::session::Session;
use super::value::{self, Column, Encoded, One};
use super::vector::{self, PlainInsert};
use crate::{DbError, Param, Row};

/// How long a script may take; an index on a large table takes its time.
const SCRIPT_ANSWER: Duration = Duration::from_secs(6 * 3600);

/// A query whose answer is on its way.
pub struct Coming {
    sql: Arc<str>,
    /// For how many rows of parameters.
    keys: usize,
    received: Rc<RefCell<Vec<Received>>>,
}

impl Session {
    pub fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, DbError> {
        let statement = self.statement(sql, params)?;
        if !statement.columns().is_empty() {
            return Err(DbError::answers_rows(sql));
        }
        let params = params.iter().map(|&param| One(param));
        let touched = self.ask(async |client| client.execute_raw(&statement, params).await)?;
        let row_by_row = ["INSERT", "UPDATE", "DELETE"].iter().any(|word| begins_with(sql, word));
        self.wrote |= touched > 0 || !row_by_row;
        count(touched)
    }

    /// Sends a statement that must touch exactly one row, without waiting for the answer.
    pub fn execute_one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), DbError> {
        let statement = self.statement(sql, params)?;
        if !statement.columns().is_empty() {
            return Err(DbError::answers_rows(sql));
        }
        let params = params.iter().zip(statement.params());
        let params: Vec<_> =
            params.map(|(&param, ty)| Encoded::new(&One(param), ty)).collect::<Result<_, _>>()?;
        let bytes = params.iter().map(Encoded::len).sum();
        let step = async move |client: Arc<Client>| client.execute_raw(&statement, params).await;
        self.send(step, What::Change { sql: sql.into(), rows: 1 }, bytes)
    }

    /// Sends a statement for many rows of parameters, each of which must touch one row, without waiting for the answer.
    pub fn execute_many<'p, R: AsRef<[Param<'p>]>>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<(), DbError> {
        let rows: Vec<_> = rows.into_iter().collect();
        let rows: Vec<&[Param<'p>]> = rows.iter().map(AsRef::as_ref).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let prepared = self.vector(sql, &rows)?;
        if prepared.answers {
            return Err(DbError::answers_rows(sql));
        }
        let wanted = rows.len();
        if let Some(copy) = prepared.copy.filter(|copy| wanted >= WORTH_IT && copy.takes(&rows)) {
            let pieces = copy.encode(&rows)?;
            let bytes = pieces.iter().map(Bytes::len).sum();
            let step = async move |client: Arc<Client>| copy.send(&client, pieces).await;
            return self.send(step, What::Change { sql: sql.into(), rows: wanted }, bytes);
        }
        let (columns, bytes) = encode(&rows, prepared.statement.params())?;
        let step = async move |client: Arc<Client>| client.execute_raw(&prepared.statement, columns).await;
        self.send(step, What::Change { sql: sql.into(), rows: wanted }, bytes)
    }

    pub fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let statement = self.query_statement(sql, params)?;
        let params = params.iter().map(|&param| One(param));
        let rows = self.ask(async |client| {
            let mut received = pin!(client.query_raw(&statement, params).await?);
            let mut rows = Vec::new();
            while let Some(row) = received.next().await {
                rows.push(row?);
            }
            Ok(rows)
        })?;
        rows.iter().map(|row| value::read_row(row, 0)).collect()
    }

    pub fn query_each(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(Row) -> bool,
    ) -> Result<(), DbError> {
        let statement = self.query_statement(sql, params)?;
        let params = params.iter().map(|&param| One(param));
        let mut rows = pin!(self.ask(async |client| client.query_raw(&statement, params).await)?);
        let mut wanted = true;
        // Those that are not wanted are on their way all the same, and so may be an error behind them.
        while let Some(row) = self.wait_for(async { rows.next().await.transpose() })? {
            wanted = wanted && each(value::read_row(&row, 0)?);
        }
        Ok(())
    }

    pub fn query_many<'p, R: AsRef<[Param<'p>]>>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Option<Row>>, DbError> {
        let coming = self.ask_many(sql, rows)?;
        self.answer(coming)
    }

    /// Sends a query for many rows of parameters, without waiting for the answer.
    pub fn ask_many<'p, R: AsRef<[Param<'p>]>>(
        &mut self,
        sql: &str,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Coming, DbError> {
        let rows: Vec<_> = rows.into_iter().collect();
        let rows: Vec<&[Param<'p>]> = rows.iter().map(AsRef::as_ref).collect();
        let received = Rc::default();
        if rows.is_empty() {
            return Ok(Coming { sql: sql.into(), keys: 0, received });
        }
        let prepared = self.vector(sql, &rows)?;
        if !prepared.answers {
            return Err(DbError::Other(format!("this statement answers no rows: {sql}")));
        }
        let (columns, bytes) = encode(&rows, prepared.statement.params())?;
        let place = Rc::clone(&received);
        let step = async move |client: Arc<Client>| {
            let mut rows = pin!(client.query_raw(&prepared.statement, columns).await?);
            while let Some(row) = rows.next().await {
                place.borrow_mut().push(row?);
            }
            Ok(0)
        };
        self.send(step, What::Query, bytes)?;
        Ok(Coming { sql: sql.into(), keys: rows.len(), received })
    }

    /// Waits for the answer to a query that was sent.
    pub fn answer(&mut self, coming: Coming) -> Result<Vec<Option<Row>>, DbError> {
        self.settle()?;
        let Coming { sql, keys, received } = coming;
        let mut answers: Vec<Option<Row>> = (0..keys).map(|_| None).collect();
        for row in received.take() {
            let number: i64 = row.try_get(0).map_err(|error| DbError::Other(error.to_string()))?;
            let place = usize::try_from(number - 1).ok().and_then(|position| answers.get_mut(position));
            let answer = value::read_row(&row, 1)?;
            if place.is_none_or(|place| place.replace(answer).is_some()) {
                return Err(DbError::RowCount { expected: 1, touched: 2, sql: sql.as_ref().to_owned() });
            }
        }
        Ok(answers)
    }

    pub fn execute_script(&mut self, sql: &str) -> Result<(), DbError> {
        self.wrote = true;
        self.ask_within(SCRIPT_ANSWER, async |client| {
            let unlimited = client.batch_execute("SET LOCAL statement_timeout = 0");
            let (unlimited, done) = tokio::join!(biased; unlimited, client.batch_execute(sql));
            unlimited.and(done)
        })
    }

    pub(super) fn statement(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Statement, DbError> {
        if let Some(statement) = self.link.as_mut().and_then(|link| link.statements.get(sql))
            && value::check(sql, statement.params(), params).is_ok()
        {
            return Ok(statement);
        }
        value::check_number(sql, params.len())?;
        let types: Vec<Type> = params.iter().map(value::natural_type).collect();
        let statement = self.ask(async |client| client.prepare_typed(sql, &types).await)?;
        value::check(sql, statement.params(), params)?;
        if let Some(link) = &mut self.link {
            link.statements.put(sql, statement.clone());
        }
        Ok(statement)
    }

    fn query_statement(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Statement, DbError> {
        let statement = self.statement(sql, params)?;
        self.wrote |= !begins_with(sql, "SELECT");
        Ok(statement)
    }

    /// The statement for one row is prepared for its types, which the one for many is made of.
    fn vector(&mut self, sql: &str, rows: &[&[Param<'_>]]) -> Result<Prepared, DbError> {
        let check = |types: &[Type]| rows.iter().try_for_each(|row| value::check(sql, types, row));
        if let Some(prepared) = self.link.as_mut().and_then(|link| link.vectors.get(sql))
            && check(&prepared.types).is_ok()
        {
            return Ok(prepared);
        }
        let width = rows.first().map_or(0, |row| row.len());
        value::check_number(sql, width)?;
        let types: Vec<Type> = (0..width)
            .map(|column| {
                let mut params = rows.iter().filter_map(|row| row.get(column));
                value::natural_type(params.find(|param| **param != Param::Null).unwrap_or(&Param::Null))
            })
            .collect();
        let one = self.ask(async |client| client.prepare_typed(sql, &types).await)?;
        check(one.params())?;
        let names: Vec<&str> = one.params().iter().map(Type::name).collect();
        let vector = vector::of(sql, &names)?;
        let statement = self.ask(async |client| client.prepare(&vector.sql).await)?;
        let copy = match vector.plain {
            Some(plain) => Some(self.copy(plain)?),
            None => None,
        };
        let prepared = Prepared { types: one.params().into(), statement, answers: vector.answers, copy };
        if let Some(link) = &mut self.link {
            link.vectors.put(sql, prepared.clone());
        }
        Ok(prepared)
    }

    fn copy(&mut self, plain: PlainInsert) -> Result<Copy, DbError> {
        let PlainInsert { table, columns, places } = plain;
        let look = format!("SELECT {columns} FROM {table} WHERE false");
        let copy = format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)");
        let (look, statement) = self.ask(async |client| {
            // One after the other, but without waiting in between.
            let (look, copy) = tokio::join!(biased; client.prepare(&look), client.prepare(&copy));
            Ok((look?, copy?))
        })?;
        let types = look.columns().iter().map(|column| column.type_().clone());
        Ok(Copy { statement, columns: places.into_iter().zip(types).collect() })
    }
}

/// The columns of these rows as arrays for the server, and how many bytes they have.
fn encode(rows: &[&[Param<'_>]], types: &[Type]) -> Result<(Vec<Encoded>, usize), DbError> {
    let columns = types.iter().enumerate().map(|(column, ty)| Encoded::new(&Column { rows, column }, ty));
    let columns: Vec<Encoded> = columns.collect::<Result<_, _>>()?;
    let bytes = columns.iter().map(Encoded::len).sum();
    Ok((columns, bytes))
}

fn begins_with(sql: &str, word: &str) -> bool {
    let start = sql.trim_start().get(..word.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn count(touched: u64) -> Result<usize, DbError> {
    usize::try_from(touched)
        .map_err(|_| DbError::Other("a statement touched more rows than can be".to_owned()))
}
