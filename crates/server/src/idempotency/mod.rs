//! Repeating a request that changes something returns the first answer (I9): the caller sends an `Idempotency-Key`, and the
//! answer is written in the transaction of the effect. So there is never an effect without its answer, nor an answer without
//! its effect; a request that was refused changed nothing, left nothing, and may be sent again with the same key.
//!
//! A record is kept for 24 hours. The same key with another request is refused; with the same request that is still being
//! answered, too. Answers that show a secret are sealed with a key made from the caller's API key ([`seal`]), which is
//! stored nowhere: what lies in the database shows the secret to nobody.

mod seal;
pub(crate) mod store;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use db::{DbError, Tx};
use serde::Serialize;
use types::id::{JobId, UserId};
use types::time::{DAY_MS, Timestamp};

pub use seal::Seal;

use crate::app::App;
use crate::secrets;

/// How long an answer is kept.
pub const KEPT_MS: i64 = DAY_MS;

/// A request's claim on its key.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose key it is.
    pub user: UserId,
    /// The key.
    pub key: String,
    /// The request's fingerprint.
    pub hash: String,
    /// What the answer is sealed with, if it shows a secret.
    pub seal: Option<Seal>,
    /// Whether the record was written.
    written: Arc<AtomicBool>,
    /// Whether another coordinator was found to have been faster.
    taken: Arc<AtomicBool>,
}

/// What was answered first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON.
    pub body: String,
}

/// A record, as stored.
#[derive(Clone, Debug)]
pub struct Record {
    /// The fingerprint of the first request.
    pub hash: String,
    /// The job it made, if it did.
    pub job: Option<JobId>,
    /// Its answer, still sealed if it was; nothing if it is the job's end.
    pub answer: Option<Answer>,
}

/// What a key says about a request.
#[derive(Debug)]
pub enum Before {
    /// Nothing: it is the first.
    Nothing,
    /// This was answered.
    Answered(Answer),
    /// Its job is there, and the answer is how that ends.
    Job(JobId),
    /// The key was used for another request.
    Another,
}

impl Claim {
    /// A claim that nobody has made yet.
    #[must_use]
    pub fn new(user: UserId, key: String, hash: String, seal: Option<Seal>) -> Self {
        Self { user, key, hash, seal, written: Arc::default(), taken: Arc::default() }
    }

    /// Whether the record was written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written.load(Ordering::SeqCst)
    }

    /// Notes that the record was written.
    pub fn note_written(&self) {
        self.written.store(true, Ordering::SeqCst);
    }

    /// Whether another coordinator was asked the same in the same moment and was faster. Then this one did nothing.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::SeqCst)
    }

    /// Notes that another coordinator was faster.
    pub fn note_taken(&self) {
        self.taken.store(true, Ordering::SeqCst);
    }

    /// A name for what this request does, for those who keep such names: the same for the same request under the same key.
    #[must_use]
    pub fn attempt(&self) -> String {
        format!("api:{}", secrets::fingerprint(&[&self.key, &self.hash]))
    }

    /// What the key says about this request.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn before(&self, app: &App) -> Result<Before, DbError> {
        let (user, key) = (self.user, self.key.clone());
        let found = app.db.read("idempotency", async move |tx| store::find(tx, user, &key).await).await?;
        let Some(record) = found else { return Ok(Before::Nothing) };
        if record.hash != self.hash {
            return Ok(Before::Another);
        }
        Ok(match (record.answer, record.job) {
            (Some(answer), _) => match &self.seal {
                None => Before::Answered(answer),
                // Sealed by another API key of this user: only that one may see it.
                Some(seal) => seal
                    .open(&answer.body)
                    .map_or(Before::Another, |body| Before::Answered(Answer { body, ..answer })),
            },
            (None, Some(job)) => Before::Job(job),
            (None, None) => return Err(DbError::Other("a record of a request has no answer".to_owned())),
        })
    }

    fn sealed(&self, answer: Answer) -> Answer {
        match &self.seal {
            None => answer,
            Some(seal) => Answer { body: seal.close(&answer.body), ..answer },
        }
    }
}

impl Answer {
    /// A status with a body.
    #[must_use]
    pub fn new(status: u16, body: &impl Serialize) -> Self {
        Self { status, body: serde_json::to_string(body).unwrap_or_default() }
    }

    /// 200.
    #[must_use]
    pub fn ok(body: &impl Serialize) -> Self {
        Self::new(200, body)
    }

    /// 201.
    #[must_use]
    pub fn created(body: &impl Serialize) -> Self {
        Self::new(201, body)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (status, json, self.body).into_response()
    }
}

type Writer<T> = dyn Fn(&T) -> Answer + Send + Sync;

/// A change that happens once for each key, and how its answer is written.
pub struct Once<T> {
    claim: Option<Claim>,
    answer: Option<Arc<Writer<T>>>,
    /// The answer that was written down. What it is made from may change in the next moment, but who asked first is told the
    /// very same as who asks again.
    kept: Arc<Mutex<Option<Answer>>>,
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self { claim: self.claim.clone(), answer: self.answer.clone(), kept: Arc::clone(&self.kept) }
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Once<T> {
    /// A change that nobody will repeat with a key: a form of a page, a command.
    #[must_use]
    pub fn unclaimed() -> Self {
        Self { claim: None, answer: None, kept: Arc::default() }
    }

    /// A change whose answer is written by `answer`.
    #[must_use]
    pub fn new(claim: Option<Claim>, answer: impl Fn(&T) -> Answer + Send + Sync + 'static) -> Self {
        Self { claim, answer: Some(Arc::new(answer)), kept: Arc::default() }
    }

    /// A change whose answer is how its job ends.
    #[must_use]
    pub fn ends_later(claim: Option<Claim>) -> Self {
        Self { claim, answer: None, kept: Arc::default() }
    }

    /// The claim, if there is one.
    #[must_use]
    pub const fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// The answer to this effect.
    #[must_use]
    pub fn answer(&self, value: &T) -> Option<Answer> {
        self.answer.as_ref().map(|answer| answer(value))
    }

    /// The answer to this effect, on its way: the one that was written down, if one was.
    #[must_use]
    pub fn respond(&self, value: &T) -> Response {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = kept.or_else(|| self.answer(value));
        answer.unwrap_or_else(|| Answer::ok(&serde_json::Value::Null)).into_response()
    }

    /// The answer to this effect as it is stored.
    #[must_use]
    pub fn stored(&self, value: &T) -> Option<Answer> {
        let answer = self.answer(value)?;
        // A transaction may run several times; what its last run answers is what is stored.
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.clone());
        Some(self.claim.as_ref().map_or_else(|| answer.clone(), |claim| claim.sealed(answer.clone())))
    }

    /// Runs a transaction that has the effect, and writes the answer in it.
    ///
    /// # Errors
    /// Those of [`db::Db::tx`]; [`DbError::Busy`] if another coordinator was asked the same in this moment.
    pub async fn tx<E, F>(&self, app: &App, name: &'static str, work: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        if self.claim.is_none() {
            return app.db.tx(name, work).await;
        }
        let (once, now) = (self.clone(), app.clock.now());
        let value = app
            .db
            .tx(name, async move |tx| {
                once.first(tx).await?;
                let value = work(tx).await?;
                once.write(tx, &value, now).await?;
                Ok::<_, E>(value)
            })
            .await?;
        self.note_written();
        Ok(value)
    }

    /// Writes the answer to an effect that was made before, by something that does the same when it is repeated: a provider
    /// that was given a key of ours, a wish that stays.
    ///
    /// # Errors
    /// A [`DbError`]; [`DbError::Busy`] if another coordinator was asked the same in this moment, and has answered.
    pub async fn keep(&self, app: &App, value: T) -> Result<T, DbError> {
        if self.claim.is_none() {
            return Ok(value);
        }
        let (once, now) = (self.clone(), app.clock.now());
        let Some(answer) = self.stored(&value) else { return Ok(value) };
        app.db
            .tx("keep_answer", async move |tx| {
                once.first(tx).await?;
                store::insert_answer(tx, &once, &answer, now).await
            })
            .await?;
        self.note_written();
        Ok(value)
    }

    /// Begins the effect in a transaction that has other ends too, one of which [`Self::write`]s the answer; the caller
    /// [notes](Self::note_written) that once it is committed.
    ///
    /// # Errors
    /// [`DbError::Busy`] if another coordinator was faster: the guard gives the answer that one wrote.
    pub async fn first(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let Some(claim) = &self.claim else { return Ok(()) };
        if store::find(tx, claim.user, &claim.key).await?.is_none() {
            return Ok(());
        }
        claim.note_taken();
        Err(DbError::Busy)
    }

    /// Writes the answer to the effect of this transaction.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn write(&self, tx: &mut Tx<'_>, value: &T, now: Timestamp) -> Result<(), DbError> {
        store::insert(tx, self, value, now).await
    }

    /// Notes that the record was written.
    pub fn note_written(&self) {
        if let Some(claim) = &self.claim {
            claim.note_written();
        }
    }
}

/// Requests with a key that are being answered here.
#[derive(Debug, Default)]
pub struct Running(Mutex<HashSet<(UserId, String)>>);

/// A request that is being answered.
#[derive(Debug)]
pub struct Entry {
    app: Arc<App>,
    which: (UserId, String),
}

impl Running {
    /// Notes that a request is being answered; nothing if it is already.
    #[must_use]
    pub fn begin(app: &Arc<App>, claim: &Claim) -> Option<Entry> {
        let which = (claim.user, claim.key.clone());
        let mut running = app.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(which.clone()).then(|| Entry { app: Arc::clone(app), which })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.app.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.which);
    }
}

/// Forgets answers older than [`KEPT_MS`].
///
/// # Errors
/// A [`DbError`].
pub async fn forget_once(app: &App) -> Result<(), DbError> {
    let until = app.clock.now().plus_millis(-KEPT_MS);
    // In parts, so that writers wait for no long time.
    while app.db.tx("forget_answers", async move |tx| store::delete_until(tx, until).await).await?
        >= store::AT_ONCE
    {}
    Ok(())
}
