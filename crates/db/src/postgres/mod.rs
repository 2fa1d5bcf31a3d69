//! The engine across a connection.

use crate::work::Queues;
use crate::{DbError, OpenOptions, Param, Row};

/// A connection and what is known about it.
#[derive(Debug)]
pub struct Session;

pub async fn open(_url: &str, _options: OpenOptions) -> Result<Queues, DbError> {
    Err(missing())
}

fn missing() -> DbError {
    DbError::Other("PostgreSQL is not supported yet".to_owned())
}

impl Session {
    pub fn execute(&mut self, _sql: &str, _params: &[Param<'_>]) -> Result<usize, DbError> {
        Err(missing())
    }

    pub fn execute_many<'p, const N: usize>(
        &mut self,
        _sql: &str,
        _rows: impl IntoIterator<Item = [Param<'p>; N]>,
    ) -> Result<(), DbError> {
        Err(missing())
    }

    pub fn query(&mut self, _sql: &str, _params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        Err(missing())
    }

    pub fn query_each(
        &mut self,
        _sql: &str,
        _params: &[Param<'_>],
        _each: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), DbError> {
        Err(missing())
    }

    pub fn query_many<'p, const N: usize>(
        &mut self,
        _sql: &str,
        _rows: impl IntoIterator<Item = [Param<'p>; N]>,
    ) -> Result<Vec<Option<Row>>, DbError> {
        Err(missing())
    }

    pub fn execute_script(&mut self, _sql: &str) -> Result<(), DbError> {
        Err(missing())
    }
}
