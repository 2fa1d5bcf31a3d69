//! Sessions: a secret in a cookie, good for thirty days from its last use.

use std::sync::Arc;

use db::{DbError, Tx};
use types::id::UserId;
use types::rng::Random;
use types::time::{DAY_MS, Timestamp};

use super::{SharedUser, store};
use crate::app::App;
use crate::idempotency::Once;
use crate::secrets;

/// How long a session lasts without being used.
pub const SESSION_MS: i64 = 30 * DAY_MS;

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who.
    pub user: SharedUser,
    /// What its forms must carry.
    pub csrf: String,
    /// The hash of its secret.
    pub hash: String,
}

/// A session to be begun.
#[derive(Debug)]
pub struct NewSession {
    /// What the cookie holds.
    pub secret: String,
    csrf: String,
    now: Timestamp,
}

impl NewSession {
    /// With fresh secrets.
    #[must_use]
    pub fn new(random: &dyn Random, now: Timestamp) -> Self {
        Self { secret: secrets::new(random, "ses_"), csrf: secrets::new(random, ""), now }
    }

    /// Begins it.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn insert(&self, tx: &mut Tx<'_>, user: UserId) -> Result<(), DbError> {
        let until = self.now.plus_millis(SESSION_MS);
        store::insert_session(tx, &secrets::hash(&self.secret), user, &self.csrf, (self.now, until)).await
    }
}

/// The session behind a cookie. Using it moves its end, at most once a day.
///
/// # Errors
/// A [`DbError`].
pub async fn find(app: &App, secret: &str) -> Result<Option<Session>, DbError> {
    let (hash, now) = (secrets::hash(secret), app.clock.now());
    let key = hash.clone();
    let found = app.db.read("session", async move |tx| store::session(tx, &key, now).await).await?;
    let Some((user, csrf, expires)) = found else { return Ok(None) };
    if expires.millis_since(now) < SESSION_MS - DAY_MS {
        let key = hash.clone();
        let until = now.plus_millis(SESSION_MS);
        app.db.tx("extend_session", async move |tx| store::extend_session(tx, &key, until).await).await?;
    }
    Ok(Some(Session { user: Arc::new(user), csrf, hash }))
}

/// Ends a session.
///
/// # Errors
/// A [`DbError`].
pub async fn end(app: &App, session: &Session) -> Result<(), DbError> {
    let hash = session.hash.clone();
    app.db.tx("sign_out", async move |tx| store::delete_session(tx, &hash).await).await
}

/// Ends all sessions of a user; answers how many there were.
///
/// # Errors
/// A [`DbError`].
pub async fn end_all(app: &App, user: UserId, once: &Once<usize>) -> Result<usize, DbError> {
    once.tx(app, "sign_out_everywhere", async move |tx| store::delete_sessions_of(tx, user).await).await
}
