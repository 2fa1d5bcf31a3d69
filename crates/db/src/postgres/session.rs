//! One thread's connection and the transaction on it.
//!
//! What asks for rows blocks its thread until the server has answered. What opens a transaction or a savepoint is not sent by
//! itself but in front of the statement that needs it, without waiting between the two; so it costs no round trip. And what
//! only writes is sent without waiting at all: its answer is taken when the next one is waited for, at the latest when the
//! closure is done. So a closure waits once for each of its questions, however much it writes between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Error};

use super::connect::{Backend, Link, Role, Target};
use super::errors::{Meaning, may_pass, unreachable, with_causes};
use super::sent::{Failure, Sent, What};
use crate::{DbError, params};

/// How long the server may take for one step. It allows itself less, so when this is over it is gone.
const WRITER_ANSWER: Duration = Duration::from_secs(45);
const READER_ANSWER: Duration = Duration::from_secs(16 * 60);
/// How long it may take to connect, with all that belongs to it.
const CONNECT: Duration = Duration::from_secs(10);
/// For how long a lost server is looked for before those who wait are told.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What is said of a server that does not answer in time.
const SILENT: &str = "it does not answer";

const SAVE: &str = "SAVEPOINT work";
const SAVE_AGAIN: &str = "RELEASE work; SAVEPOINT work";
const BACK: &str = "ROLLBACK TO work";

/// One thread's connection.
pub struct Session {
    runtime: Runtime,
    target: Target,
    /// What begins a transaction, and what begins one in place of another.
    begin: Arc<str>,
    begin_anew: Arc<str>,
    pub(super) link: Option<Link>,
    sent: Sent,
    /// The server's process of the connection that was lost.
    predecessor: Option<Backend>,
    /// Whether the last attempt to connect failed.
    away: bool,
    stage: Stage,
    /// Whether the closure that was entered last has sent nothing yet, so that its beginning is still to be sent.
    owed: bool,
    /// Whether anything in this transaction may have changed the database.
    pub(super) wrote: bool,
    trouble: Option<Trouble>,
}

/// How far the transaction on a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Outside,
    /// In a transaction that has no savepoint yet: everything in it is the work of one closure.
    Inside,
    /// Behind a savepoint.
    Saved,
    /// In a transaction nobody wants any more.
    Over,
}

/// What makes a whole transaction useless, not just the closure that met it. Nothing of it was kept.
#[derive(Debug)]
pub enum Trouble {
    /// It must run again; this is what to say when that does not help.
    Again(DbError),
    /// No transaction can be begun for now.
    NotNow(DbError),
    /// It cannot be.
    Refused(DbError),
}

impl Trouble {
    /// What to say of it.
    pub fn into_error(self) -> DbError {
        match self {
            Self::Again(error) | Self::NotNow(error) | Self::Refused(error) => error,
        }
    }
}

/// How a commit ended.
#[derive(Debug)]
pub enum Ended {
    Kept,
    NotKept(Trouble),
    /// The connection broke before the answer was here.
    Unanswered(String),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?}, {:?})", self.target.role, self.stage)
    }
}

impl Session {
    /// A session that is not connected yet, whose transactions begin with `begin`.
    pub fn new(target: Target, begin: String) -> Result<Self, DbError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| DbError::Other(format!("the database has no runtime: {error}")))?;
        Ok(Self {
            runtime,
            target,
            begin_anew: format!("ROLLBACK; {begin}").into(),
            begin: begin.into(),
            link: None,
            sent: Sent::default(),
            predecessor: None,
            away: true,
            stage: Stage::Outside,
            owed: false,
            wrote: false,
            trouble: None,
        })
    }

    /// Connects if there is no connection. A server that was there a moment ago is looked for patiently; one that was away
    /// the last time is tried once, so that those who wait for it are told soon.
    pub fn connect(&mut self) -> Result<(), DbError> {
        self.trouble = None;
        if self.link.is_some() {
            return Ok(());
        }
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = async { timeout(CONNECT, self.target.connect(self.predecessor.as_ref())).await };
            let error = match self.runtime.block_on(attempt) {
                Ok(Ok(link)) => {
                    self.link = Some(link);
                    self.predecessor = None;
                    self.away = false;
                    return Ok(());
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(self.unreachable(SILENT)),
            };
            if self.away || !may_pass(&error) || started.elapsed() > PATIENCE {
                return Err(self.unreachable(&with_causes(&error)));
            }
            self.runtime.block_on(async { sleep(pause).await });
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits a little.
    pub fn pause(&self) {
        self.runtime.block_on(async { sleep(LONGEST_PAUSE).await });
    }

    fn unreachable(&mut self, why: &str) -> DbError {
        self.away = true;
        unreachable(why)
    }

    /// Begins the work of a closure: in a transaction of its own, or behind a savepoint when others came before it.
    pub fn enter(&mut self) {
        self.owed = true;
    }

    /// What happened to the whole transaction while a closure ran, if anything did.
    pub fn take_trouble(&mut self) -> Option<Trouble> {
        self.trouble.take()
    }

    /// Takes back the work of the closure that was entered last.
    pub fn take_back(&mut self) -> Result<(), Trouble> {
        self.sent.forget();
        if std::mem::take(&mut self.owed) {
            // It sent nothing.
            return Ok(());
        }
        match self.stage {
            Stage::Outside => Ok(()),
            Stage::Inside | Stage::Over => self.roll_back(),
            Stage::Saved => self.batch(BACK),
        }
    }

    /// Takes back all there is.
    pub fn roll_back(&mut self) -> Result<(), Trouble> {
        self.owed = false;
        self.trouble = None;
        self.sent.forget();
        if self.stage == Stage::Outside {
            return Ok(());
        }
        self.batch("ROLLBACK")?;
        self.stage = Stage::Outside;
        self.wrote = false;
        Ok(())
    }

    /// Takes back all there is, but only when the next transaction begins, which has to be soon.
    pub fn roll_back_later(&mut self) {
        self.sent.forget();
        if self.stage != Stage::Outside {
            self.stage = Stage::Over;
        }
    }

    fn batch(&mut self, sql: &str) -> Result<(), Trouble> {
        let done = self.ask(async |client| client.batch_execute(sql).await);
        done.map_err(|error| self.trouble.take().unwrap_or(Trouble::Refused(error)))
    }

    /// Commits. If anything was written, the writer's `mark` is written with it: its id and the number of the commit.
    pub fn commit(&mut self, mark: (i64, i64)) -> Ended {
        self.owed = false;
        if self.stage == Stage::Outside {
            return Ended::Kept;
        }
        if !self.wrote {
            // Whether a transaction that changed nothing was committed makes no difference.
            if self.batch("COMMIT").is_err() {
                self.lose("a transaction could not be ended");
                self.trouble = None;
            }
            self.stage = Stage::Outside;
            return Ended::Kept;
        }
        let marking = match self.statement(super::writer::MARK, &params![mark.0, mark.1]) {
            Ok(marking) => marking,
            Err(error) => return Ended::NotKept(self.trouble.take().unwrap_or(Trouble::Refused(error))),
        };
        let Some(link) = &self.link else { return Ended::Unanswered("the connection is gone".to_owned()) };
        let answered = self.runtime.block_on(async {
            let both = async {
                let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&mark.0, &mark.1];
                let marked = link.client.execute(&marking, &params);
                tokio::join!(biased; marked, link.client.batch_execute("COMMIT"))
            };
            timeout(WRITER_ANSWER, both).await
        });
        let error = match answered {
            Ok((Ok(_), Ok(()))) => {
                self.stage = Stage::Outside;
                self.wrote = false;
                return Ended::Kept;
            }
            // When the mark could not be made, COMMIT was a rollback, whatever it answered.
            Ok((Err(error), _) | (Ok(_), Err(error))) => error,
            Err(_) => {
                self.lose(SILENT);
                return Ended::Unanswered(SILENT.to_owned());
            }
        };
        self.stage = Stage::Outside;
        self.wrote = false;
        match Meaning::of(&error) {
            Meaning::Statement(error) => Ended::NotKept(Trouble::Refused(error)),
            Meaning::Again(error) => Ended::NotKept(Trouble::Again(error)),
            Meaning::Lost(why) => {
                self.lose(&why);
                Ended::Unanswered(why)
            }
        }
    }

    /// Lets the connection go as if it had broken.
    pub fn lose(&mut self, why: &str) {
        if let Some(link) = self.link.take() {
            tracing::warn!(%why, "a connection to the database server was lost");
            self.predecessor = Some(link.backend.clone());
        }
        self.stage = Stage::Outside;
        self.owed = false;
        self.wrote = false;
        self.sent.forget();
        self.trouble = Some(Trouble::Again(unreachable(why)));
    }

    /// Ends the connection in order.
    pub fn close(&mut self) {
        if let Some(link) = self.link.take() {
            self.runtime.block_on(async { link.close().await });
        }
    }

    /// Lets `step` speak with the server, behind what is owed, and waits until it has its answer.
    pub(super) fn ask<R>(
        &mut self,
        step: impl AsyncFnOnce(&Client) -> Result<R, Error>,
    ) -> Result<R, DbError> {
        self.ask_within(self.patience(), step)
    }

    /// The same with a limit of its own.
    pub(super) fn ask_within<R>(
        &mut self,
        limit: Duration,
        step: impl AsyncFnOnce(&Client) -> Result<R, Error>,
    ) -> Result<R, DbError> {
        self.check_trouble()?;
        self.begin_if_owed()?;
        let client = self.client()?;
        let sent = self.sent.take();
        let answered = self.runtime.block_on(async {
            // In this order, so that the server gets them in this order.
            timeout(limit, async { tokio::join!(biased; sent.answers(), step(&client)) }).await
        });
        match answered {
            Ok((Ok(()), answer)) => answer.map_err(|error| self.failed(Meaning::of(&error))),
            Ok((Err(failure), _)) => Err(self.sent_failed(failure)),
            Err(_) => Err(self.failed(Meaning::Lost(SILENT.to_owned()))),
        }
    }

    /// Sends something behind what is owed, and does not wait for the answer. `bytes` is about how much is sent.
    pub(super) fn send<F>(
        &mut self,
        step: impl FnOnce(Arc<Client>) -> F,
        what: What,
        bytes: usize,
    ) -> Result<(), DbError>
    where
        F: Future<Output = Result<u64, Error>> + 'static,
    {
        self.check_trouble()?;
        self.begin_if_owed()?;
        let answer = Box::pin(step(self.client()?));
        self.wrote |= matches!(what, What::Change { .. });
        self.sent.push(answer, what, bytes);
        if self.sent.is_much() { self.settle() } else { Ok(()) }
    }

    /// Waits for the answers to everything that was sent.
    pub fn settle(&mut self) -> Result<(), DbError> {
        self.check_trouble()?;
        let sent = self.sent.take();
        if sent.is_empty() {
            return Ok(());
        }
        let limit = self.patience();
        match self.runtime.block_on(async { timeout(limit, sent.answers()).await }) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(self.sent_failed(failure)),
            Err(_) => Err(self.failed(Meaning::Lost(SILENT.to_owned()))),
        }
    }

    fn check_trouble(&self) -> Result<(), DbError> {
        match &self.trouble {
            Some(Trouble::Again(error) | Trouble::NotNow(error) | Trouble::Refused(error)) => {
                Err(error.duplicate())
            }
            None => Ok(()),
        }
    }

    fn client(&self) -> Result<Arc<Client>, DbError> {
        let link = self.link.as_ref().ok_or_else(|| unreachable("there is no connection"))?;
        Ok(Arc::clone(&link.client))
    }

    /// Sends what opens the transaction or the savepoint of the closure that was entered last.
    fn begin_if_owed(&mut self) -> Result<(), DbError> {
        let client = self.client()?;
        if !std::mem::take(&mut self.owed) {
            return Ok(());
        }
        let (sql, then) = match self.stage {
            Stage::Outside => (Arc::clone(&self.begin), Stage::Inside),
            Stage::Over => (Arc::clone(&self.begin_anew), Stage::Inside),
            Stage::Inside => (SAVE.into(), Stage::Saved),
            Stage::Saved => (SAVE_AGAIN.into(), Stage::Saved),
        };
        self.stage = then;
        let answer = async move { client.batch_execute(&sql).await.map(|()| 0) };
        self.sent.push(Box::pin(answer), What::Beginning, 0);
        Ok(())
    }

    /// Notes what it means that something failed that was sent.
    fn sent_failed(&mut self, (what, error): Failure) -> DbError {
        let error = match error {
            Ok(touched) => return what.wrong_count(touched),
            Err(error) => self.failed(Meaning::of(&error)),
        };
        if matches!(what, What::Beginning) {
            self.trouble.get_or_insert_with(|| Trouble::NotNow(error.duplicate()));
        }
        error
    }

    /// Waits for something the server is sending already.
    pub(super) fn wait_for<R>(&mut self, step: impl Future<Output = Result<R, Error>>) -> Result<R, DbError> {
        let limit = self.patience();
        match self.runtime.block_on(async { timeout(limit, step).await }) {
            Ok(answer) => answer.map_err(|error| self.failed(Meaning::of(&error))),
            Err(_) => Err(self.failed(Meaning::Lost(SILENT.to_owned()))),
        }
    }

    fn patience(&self) -> Duration {
        match self.target.role {
            Role::Writer => WRITER_ANSWER,
            Role::Reader => READER_ANSWER,
        }
    }

    /// Notes what an error means for the transaction.
    fn failed(&mut self, meaning: Meaning) -> DbError {
        match meaning {
            Meaning::Statement(error) => error,
            Meaning::Again(error) => {
                self.trouble = Some(Trouble::Again(error.duplicate()));
                error
            }
            Meaning::Lost(why) => {
                self.lose(&why);
                unreachable(&why)
            }
        }
    }
}
