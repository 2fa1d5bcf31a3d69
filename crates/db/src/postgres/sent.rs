//! What was sent to the server and is not answered yet.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio_postgres::Error;

use crate::DbError;

/// Most that is sent before an answer is waited for: statements, and bytes.
const MANY: usize = 64;
const MUCH: usize = 1 << 20;

/// What was sent, in order.
#[derive(Default)]
pub struct Sent {
    steps: Vec<(Answer, What)>,
    bytes: usize,
}

/// The server's answer to come: how many rows were touched.
pub type Answer = Pin<Box<dyn Future<Output = Result<u64, Error>>>>;

/// What was sent.
pub enum What {
    /// What opens a transaction or a savepoint.
    Beginning,
    /// A statement that must touch so many rows.
    Change { sql: Arc<str>, rows: usize },
    /// A query, which puts its rows where they are wanted.
    Query,
}

/// What failed, and how: with an error, or by touching a wrong number of rows.
pub type Failure = (What, Result<u64, Error>);

impl Sent {
    /// Sends something of about so many bytes.
    pub fn push(&mut self, mut answer: Answer, what: What, bytes: usize) {
        // A request is on its way once its future has been polled. Whoever waits for the answer polls it again.
        let answer = match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(early) => Box::pin(std::future::ready(early)),
            Poll::Pending => answer,
        };
        self.steps.push((answer, what));
        self.bytes += bytes;
    }

    /// Whether it is time to wait.
    pub const fn is_much(&self) -> bool {
        self.steps.len() >= MANY || self.bytes >= MUCH
    }

    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Nobody wants these answers any more: what was sent is taken back, or the connection is gone.
    pub fn forget(&mut self) {
        drop(self.take());
    }

    /// Waits for the answers; answers the first failure.
    pub async fn answers(self) -> Result<(), Failure> {
        let mut first = Ok(());
        for (answer, what) in self.steps {
            let answer = answer.await;
            let expected = match (&what, &answer) {
                (What::Beginning | What::Query, Ok(_)) => true,
                (What::Change { rows, .. }, Ok(touched)) => usize::try_from(*touched) == Ok(*rows),
                (_, Err(_)) => false,
            };
            // Those behind it fail because it did.
            if !expected && first.is_ok() {
                first = Err((what, answer));
            }
        }
        first
    }
}

impl What {
    /// What is said when it touched `touched` rows.
    pub fn wrong_count(&self, touched: u64) -> DbError {
        let (sql, expected) = match self {
            Self::Beginning | Self::Query => (String::new(), 0),
            Self::Change { sql, rows } => (sql.as_ref().to_owned(), *rows),
        };
        DbError::RowCount { expected, touched: usize::try_from(touched).unwrap_or(usize::MAX), sql }
    }
}
