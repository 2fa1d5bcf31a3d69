//! API keys: `ak_…`, shown once, stored hashed, with scopes and limits of what they may spend.
//!
//! Keys are looked up in memory; the transaction that spends asks the database once more whether the key is
//! revoked and what is left of its limits, so the copy here may only refuse sooner, never admit (incidents 7, 8).
//!
//! Every key has a ledger cap with its number, whether it is limited or not (incident 103). A key's limits are there and
//! nowhere else: what is shown is what is enforced.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use db::{DbError, Tx};
use ledger::{Cap, Command, Limits, Period};
use types::id::{ApiKeyId, Id, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::{SharedUser, User, store};
use crate::app::App;
use crate::idempotency::Once;
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
    /// Since when.
    pub created_at: Timestamp,
    /// When last, to the minute or so.
    pub last_used_at: Option<Timestamp>,
}

/// A key with what it may spend and has spent.
#[derive(Clone, Debug)]
pub struct KeyInUse {
    /// The key.
    pub key: ApiKey,
    /// Its limits and how far they are used, now.
    pub cap: Cap,
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

/// Why a key is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No name, or a long one.
    #[error("must have 1 to 64 characters")]
    Name,
    /// Neither read nor write, or an unknown word.
    #[error("must be read, write or both, separated by a comma")]
    Scopes,
    /// A limit that cannot be one: which, and why.
    #[error("{1}")]
    Limit(Period, LimitError),
    /// Too many.
    #[error("you have 50 API keys; revoke one first")]
    TooMany,
    /// Not there, or another's, or revoked.
    #[error("there is no such API key")]
    NotFound,
    /// The key it is asked with has limits: it could give itself others.
    #[error("a key with a spending limit cannot manage API keys")]
    Limited,
    /// The key it is asked with was revoked a moment ago.
    #[error("this API key has been revoked")]
    Revoked,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why a number is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not an amount, or not above zero: it would let nothing through.
    #[error("must be a number of credits above 0")]
    NotAnAmount,
    /// It would never be reached (incident 78).
    #[error("must not be more than the limit {}, {}", in_words(*longer), limit.display_grouped())]
    AboveLonger {
        /// The longer period.
        longer: Period,
        /// Its limit.
        limit: MicroCredits,
    },
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    name: String,
    scopes: Scopes,
    limits: Limits,
}

/// What is to be changed of a key.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// What its owner calls it from now on.
    pub name: Option<String>,
    /// Its limits from now on.
    pub limits: LimitChange,
}

/// New limits, or none, for some periods; others stay as they are.
#[derive(Clone, Debug, Default)]
pub struct LimitChange(Vec<(Period, Option<MicroCredits>)>);

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
    pub fn new(name: &str, scopes: Scopes, limits: &LimitChange) -> Result<Self, KeyError> {
        let name = check_name(name)?;
        if scopes.words().is_empty() {
            return Err(KeyError::Scopes);
        }
        Ok(Self { name, scopes, limits: limits.on(Limits::default())? })
    }
}

impl LimitChange {
    /// Sets or takes away the limit of a period.
    ///
    /// # Errors
    /// [`KeyError::Limit`] when it is not above zero.
    pub fn set(&mut self, period: Period, limit: Option<MicroCredits>) -> Result<(), KeyError> {
        if limit.is_some_and(|limit| !limit.is_positive()) {
            return Err(KeyError::Limit(period, LimitError::NotAnAmount));
        }
        self.0.push((period, limit));
        Ok(())
    }

    /// Sets a limit that somebody typed; nothing takes it away.
    ///
    /// # Errors
    /// [`KeyError::Limit`] when it is no amount above zero.
    pub fn set_text(&mut self, period: Period, text: &str) -> Result<(), KeyError> {
        let limit = match text.trim() {
            "" => None,
            text => Some(text.parse().map_err(|_| KeyError::Limit(period, LimitError::NotAnAmount))?),
        };
        self.set(period, limit)
    }

    /// The limits after this change of others, if they go together.
    fn on(&self, limits: Limits) -> Result<Limits, KeyError> {
        let limits = self.0.iter().fold(limits, |limits, (period, limit)| limits.with(*period, *limit));
        let mut longer: Vec<(Period, MicroCredits)> = Vec::new();
        for period in Period::ALL {
            let Some(limit) = limits.get(period) else { continue };
            if let Some(&(longer, most)) = longer.iter().find(|(_, most)| limit > *most) {
                return Err(KeyError::Limit(period, LimitError::AboveLonger { longer, limit: most }));
            }
            longer.push((period, limit));
        }
        Ok(limits)
    }
}

fn check_name(name: &str) -> Result<String, KeyError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(KeyError::Name);
    }
    Ok(name.to_owned())
}

const fn in_words(period: Period) -> &'static str {
    match period {
        Period::Total => "in all",
        Period::Day => "per day",
        Period::Week => "per week",
        Period::Month => "per month",
    }
}

/// Makes a key; answers it with its secret, which nobody will see again. `by` is the key it is asked with, if it is one.
///
/// # Errors
/// A [`KeyError`].
pub async fn create(
    app: &App,
    user: &User,
    by: Option<ApiKeyId>,
    request: KeyRequest,
    once: &Once<(KeyInUse, String)>,
) -> Result<(KeyInUse, String), KeyError> {
    let now = app.clock.now();
    let secret = secrets::new(&*app.random, "ak_");
    let key = ApiKey {
        id: app.ids.next(now),
        name: request.name,
        prefix: secret.chars().take(8).collect(),
        scopes: request.scopes,
        created_at: now,
        last_used_at: None,
    };
    let cap = Cap::new(key.id.get(), request.limits).at(now);
    let (hash, user) = (secrets::hash(&secret), user.id);
    once.tx(app, "create_key", async move |tx| {
        may_manage(tx, by, now).await?;
        if store::keys_of(tx, user).await?.len() >= MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        store::insert_key(tx, user, &key, &hash).await?;
        ledger::open_cap(tx, cap.id, cap.limits).await?;
        Ok((KeyInUse { key: key.clone(), cap }, secret.clone()))
    })
    .await
}

/// Whether a key may do what reaches beyond spending: it has no limits and was not revoked.
///
/// # Errors
/// [`KeyError::Limited`] or [`KeyError::Revoked`] if it may not.
pub async fn check_may_manage(app: &App, key: ApiKeyId) -> Result<(), KeyError> {
    let now = app.clock.now();
    app.db.read("may_manage", async move |tx| may_manage(tx, Some(key), now).await).await
}

/// A key with limits manages no keys, nor does one that was revoked. Asked in the transaction that changes something:
/// what the caller was let in by may be out of date.
///
/// # Errors
/// A [`KeyError`].
pub async fn may_manage(tx: &mut Tx<'_>, by: Option<ApiKeyId>, now: Timestamp) -> Result<(), KeyError> {
    let Some(by) = by else { return Ok(()) };
    let revoked = store::ask_revoked(tx, &[by]).await?;
    if !tx.answer(revoked).await?.is_empty() {
        return Err(KeyError::Revoked);
    }
    if ledger::cap(tx, by.get(), now).await?.limits.is_none() { Ok(()) } else { Err(KeyError::Limited) }
}

/// The keys of a user, newest first, with what they may spend and have spent.
///
/// # Errors
/// A [`DbError`].
pub async fn list(app: &App, user: &User) -> Result<Vec<KeyInUse>, DbError> {
    let (user, now) = (user.id, app.clock.now());
    app.db
        .read("api_keys", async move |tx| {
            let keys = store::keys_of(tx, user).await?;
            in_use(tx, keys, now).await
        })
        .await
}

/// A key of this user.
///
/// # Errors
/// A [`KeyError`].
pub async fn find(app: &App, user: &User, id: ApiKeyId) -> Result<KeyInUse, KeyError> {
    let (user, now) = (user.id, app.clock.now());
    app.db.read("one_api_key", async move |tx| one(tx, user, id, now).await).await
}

async fn one(tx: &mut Tx<'_>, user: UserId, id: ApiKeyId, now: Timestamp) -> Result<KeyInUse, KeyError> {
    let key = store::key_of(tx, user, id).await?.ok_or(KeyError::NotFound)?;
    in_use(tx, vec![key], now).await?.pop().ok_or(KeyError::NotFound)
}

async fn in_use(tx: &mut Tx<'_>, keys: Vec<ApiKey>, now: Timestamp) -> Result<Vec<KeyInUse>, DbError> {
    let ids: Vec<i64> = keys.iter().map(|key| key.id.get()).collect();
    let caps = ledger::caps(tx, &ids, now).await?;
    let both = keys.into_iter().zip(caps);
    both.map(|(key, cap)| {
        let missing = || DbError::Other(format!("the API key {} has no cap", key.id));
        cap.ok_or_else(missing).map(|cap| KeyInUse { key, cap })
    })
    .collect()
}

/// Changes name and limits of a key of this user, all of it or nothing. What was spent stays counted.
///
/// # Errors
/// A [`KeyError`].
pub async fn change(
    app: &App,
    user: &User,
    by: Option<ApiKeyId>,
    id: ApiKeyId,
    change: KeyChange,
) -> Result<KeyInUse, KeyError> {
    let (user, now) = (user.id, app.clock.now());
    let name = change.name.as_deref().map(check_name).transpose()?;
    let changed = app
        .db
        .tx("change_key", async move |tx| {
            may_manage(tx, by, now).await?;
            let KeyInUse { mut key, cap } = one(tx, user, id, now).await?;
            let limits = change.limits.on(cap.limits)?;
            if let Some(name) = &name {
                store::rename_key(tx, id, name).await?;
                key.name.clone_from(name);
            }
            let limit = Command::Limit { cap: cap.id, limits };
            for outcome in ledger::submit(tx, &[limit], now).await?.outcomes {
                outcome.map_err(|refusal| DbError::Other(format!("a limit was refused: {refusal}")))?;
            }
            Ok::<_, KeyError>(KeyInUse { key, cap: Cap { limits, ..cap } })
        })
        .await?;
    app.keys.forget();
    Ok(changed)
}

/// Revokes a key of this user.
///
/// # Errors
/// A [`KeyError`].
pub async fn revoke(app: &App, user: &User, by: Option<ApiKeyId>, id: ApiKeyId) -> Result<(), KeyError> {
    let (user, now) = (user.id, app.clock.now());
    app.db
        .tx("revoke_key", async move |tx| {
            may_manage(tx, by, now).await?;
            if store::revoke_key(tx, user, id, now).await? { Ok(()) } else { Err(KeyError::NotFound) }
        })
        .await?;
    app.keys.forget();
    Ok(())
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
