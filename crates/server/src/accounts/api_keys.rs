//! API keys: `ak_…`, shown once, stored hashed, with scopes and an optional spending limit.
//!
//! Keys are looked up in memory; the transaction that spends asks the database once more whether the key is
//! revoked and what is left of its limit, so the copy here may only refuse sooner, never admit (incidents 7, 8).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use db::DbError;
use ledger::Limits;
use types::id::{ApiKeyId, Id};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::{SharedUser, User, store};
use crate::app::App;
use crate::secrets;

/// Most keys a user may have.
pub const MAX_KEYS: usize = 50;
/// Longest name, in characters.
pub const MAX_NAME: usize = 64;

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Which one. Also the number of its ledger cap.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub name: String,
    /// The first eight characters.
    pub prefix: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The most it may ever spend.
    pub spend_limit: Option<MicroCredits>,
    /// Since when.
    pub created_at: Timestamp,
    /// When last, to the minute or so.
    pub last_used_at: Option<Timestamp>,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// Look at jobs, Cargos, balance.
    pub read: bool,
    /// Submit jobs, buy, manage.
    pub write: bool,
}

/// Who calls the API.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose key.
    pub user: SharedUser,
    /// Which key.
    pub key: Arc<ApiKey>,
}

/// Why a key is not made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No name, or a long one.
    #[error("must have 1 to 64 characters")]
    Name,
    /// Neither read nor write, or an unknown word.
    #[error("must be read, write or both, separated by a comma")]
    Scopes,
    /// Not an amount, or not above zero.
    #[error("must be a number of credits above 0")]
    Limit,
    /// Too many.
    #[error("you have 50 API keys; revoke one first")]
    TooMany,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The most it may ever spend.
    pub spend_limit: Option<MicroCredits>,
}

impl Scopes {
    /// Both.
    pub const ALL: Self = Self { read: true, write: true };

    /// From `read,write`; unknown words count for nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let has = |word| text.split(',').any(|part| part.trim() == word);
        Self { read: has("read"), write: has("write") }
    }

    /// From what a caller gave: only known words, at least one.
    ///
    /// # Errors
    /// [`KeyError::Scopes`].
    pub fn parse_strict(text: &str) -> Result<Self, KeyError> {
        let known = text.split(',').all(|part| matches!(part.trim(), "read" | "write"));
        if known { Ok(Self::parse(text)) } else { Err(KeyError::Scopes) }
    }

    /// The words.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        [("read", self.read), ("write", self.write)]
            .into_iter()
            .filter(|(_, has)| *has)
            .map(|(word, _)| word)
            .collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(","))
    }
}

impl KeyRequest {
    /// Checks what a caller gave.
    ///
    /// # Errors
    /// A [`KeyError`] for the first field that is wrong.
    pub fn new(name: &str, scopes: Scopes, limit: Option<&str>) -> Result<Self, KeyError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(KeyError::Name);
        }
        if scopes.words().is_empty() {
            return Err(KeyError::Scopes);
        }
        let spend_limit = match limit.map(str::trim).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let limit: MicroCredits = text.parse().map_err(|_| KeyError::Limit)?;
                Some(limit)
                    .filter(|limit| limit.is_positive())
                    .map_or(Err(KeyError::Limit), |limit| Ok(Some(limit)))?
            }
        };
        Ok(Self { name: name.to_owned(), scopes, spend_limit })
    }
}

/// Makes a key; answers it with its secret, which nobody will see again.
///
/// # Errors
/// [`KeyError::TooMany`] or the database's.
pub async fn create(app: &App, user: &User, request: KeyRequest) -> Result<(ApiKey, String), KeyError> {
    let now = app.clock.now();
    let secret = secrets::new(&*app.random, "ak_");
    let key = ApiKey {
        id: app.ids.next(now),
        name: request.name,
        prefix: secret.chars().take(8).collect(),
        scopes: request.scopes,
        spend_limit: request.spend_limit,
        created_at: now,
        last_used_at: None,
    };
    let (row, hash, user) = (key.clone(), secrets::hash(&secret), user.id);
    app.db
        .tx("create_key", async move |tx| {
            if store::keys_of(tx, user).await?.len() >= MAX_KEYS {
                return Err(KeyError::TooMany);
            }
            store::insert_key(tx, user, &row, &hash).await?;
            if let Some(limit) = row.spend_limit {
                ledger::open_cap(tx, row.id.get(), Limits::total(Some(limit))).await?;
            }
            Ok(())
        })
        .await?;
    Ok((key, secret))
}

/// The keys of a user, newest first.
///
/// # Errors
/// A [`DbError`].
pub async fn list(app: &App, user: &User) -> Result<Vec<ApiKey>, DbError> {
    let user = user.id;
    app.db.read("api_keys", async move |tx| store::keys_of(tx, user).await).await
}

/// Revokes a key of this user; answers whether there was such a one.
///
/// # Errors
/// A [`DbError`].
pub async fn revoke(app: &App, user: &User, id: ApiKeyId) -> Result<bool, DbError> {
    let (user, now) = (user.id, app.clock.now());
    let revoked = app.db.tx("revoke_key", async move |tx| store::revoke_key(tx, user, id, now).await).await?;
    app.keys.forget();
    Ok(revoked)
}

/// Keys seen lately, by the hash of their secret.
#[derive(Debug, Default)]
pub struct KeyCache {
    known: Mutex<Known>,
    used: Mutex<HashMap<ApiKeyId, Timestamp>>,
}

#[derive(Debug, Default)]
struct Known {
    callers: HashMap<String, Caller>,
    /// Counts how often everything was forgotten: what was read before that is not remembered after it.
    forgotten: u64,
}

/// Most keys remembered; beyond that everything is forgotten, which only costs look-ups.
const MOST_KNOWN: usize = 100_000;

impl KeyCache {
    /// The caller behind a key.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn find(&self, app: &App, secret: &str) -> Result<Option<Caller>, DbError> {
        let hash = secrets::hash(secret);
        let (known, forgotten) = {
            let known = lock(&self.known);
            (known.callers.get(&hash).cloned(), known.forgotten)
        };
        let caller = match known {
            Some(caller) => caller,
            None => {
                let key = hash.clone();
                let found =
                    app.db.read("api_key", async move |tx| store::key_by_secret(tx, &key).await).await?;
                let Some((user, key)) = found else { return Ok(None) };
                let caller = Caller { user: Arc::new(user), key: Arc::new(key) };
                self.remember(hash, &caller, forgotten);
                caller
            }
        };
        lock(&self.used).insert(caller.key.id, app.clock.now());
        Ok(Some(caller))
    }

    fn remember(&self, hash: String, caller: &Caller, forgotten: u64) {
        let mut known = lock(&self.known);
        if known.forgotten == forgotten {
            if known.callers.len() >= MOST_KNOWN {
                known.callers.clear();
            }
            known.callers.insert(hash, caller.clone());
        }
    }

    /// Forgets all keys: one was revoked, or another process wrote to the database.
    pub fn forget(&self) {
        let mut known = lock(&self.known);
        known.callers.clear();
        known.forgotten += 1;
    }

    /// Which keys were used since this was last asked.
    pub fn take_used(&self) -> Vec<(ApiKeyId, Timestamp)> {
        let mut used: Vec<_> = std::mem::take(&mut *lock(&self.used)).into_iter().collect();
        used.sort_unstable();
        used
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
