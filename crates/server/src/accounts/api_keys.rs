//! API keys: `ak_…`, shown once, stored hashed, with scopes and limits of what they may spend.
//!
//! Keys are looked up in memory; the transaction that spends asks the database once more whether the key is
//! revoked or has expired and what is left of its limits, so the copy in memory may only refuse sooner, never admit
//! (incidents 7, 8). No key makes or changes another so that it could do what the first may not.
//!
//! Every key has a ledger cap with its number, whether it is limited or not (incident 103). A key's limits are there and
//! nowhere else: what is shown is what is enforced.

use std::fmt;
use std::net::IpAddr;

use db::{DbError, Tx};
use ledger::{Cap, Command, Limits, Period};
use types::id::{ApiKeyId, Id, UserId};
use types::time::{DAY_MS, SECOND_MS, Timestamp};

pub use super::key_cache::{Caller, KeyCache};
use super::key_limits::loosens;
pub use super::key_limits::{LimitChange, LimitError};
use super::networks::{BadNetwork, Network};
use super::{User, key_secret, store};
use crate::app::App;
use crate::idempotency::Once;
use crate::secrets;

/// Most keys a user may have.
pub const MAX_KEYS: usize = 50;
/// Longest name, in characters.
pub const MAX_NAME: usize = 64;
/// Most ranges of addresses a key may be bound to.
pub const MAX_NETWORKS: usize = 20;
/// Longest time for which a replaced secret still opens, in seconds.
pub const MAX_GRACE_SECS: i64 = 7 * DAY_MS / SECOND_MS;
/// Replaced secrets that may open at the same time.
const MAX_OLD_SECRETS: usize = 5;

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
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// Where it may be used from; empty for anywhere.
    pub allowed: Vec<Network>,
    /// Until when the last of its replaced secrets opens or opened.
    pub old_until: Option<Timestamp>,
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
    /// Submit jobs, buy, and whatever `manage` may.
    pub write: bool,
    /// Keys, webhooks and Islands, without spending.
    pub manage: bool,
}

/// Why a key is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No name, or a long one.
    #[error("must have 1 to 64 characters")]
    Name,
    /// None, or an unknown word.
    #[error("must be one or more of read, write and manage, separated by commas")]
    Scopes,
    /// An end that is over.
    #[error("must be a time to come, such as 2030-01-31T12:00:00Z")]
    Expiry,
    /// Something that is no address, or too many.
    #[error("{0}")]
    Networks(BadNetwork),
    /// More ranges than a key may have.
    #[error("must be at most 20 addresses or ranges of them")]
    TooManyNetworks,
    /// A time for which a replaced secret shall not open.
    #[error("must be a whole number of seconds from 0 to 604800, which is seven days")]
    Grace,
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
    /// It would let another key do what the key it is asked with may not: in which respect.
    #[error("an API key cannot give a key more than it has itself: {0}")]
    Beyond(&'static str),
    /// The key has expired.
    #[error("this API key has expired")]
    Expired,
    /// The secret was replaced by another.
    #[error("this API key was replaced by a new secret")]
    Replaced,
    /// The key may not be used from this address.
    #[error("this API key may not be used from the address {0}")]
    Elsewhere(IpAddr),
    /// The key it is asked with was revoked a moment ago.
    #[error("this API key has been revoked")]
    Revoked,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    name: String,
    scopes: Scopes,
    limits: Limits,
    expires_at: Option<Timestamp>,
    allowed: Vec<Network>,
}

/// What is to be changed of a key.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// What its owner calls it from now on.
    pub name: Option<String>,
    /// Its limits from now on.
    pub limits: LimitChange,
    /// When it ends from now on; `Some(None)` for never.
    pub expires_at: Option<Option<Timestamp>>,
    /// Where it may be used from; empty for anywhere.
    pub allowed: Option<Vec<Network>>,
}

impl Scopes {
    /// Everything: whoever may write may manage.
    pub const ALL: Self = Self { read: true, write: true, manage: false };

    /// From `read,write`; unknown words count for nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let has = |word| text.split(',').any(|part| part.trim() == word);
        Self { read: has("read"), write: has("write"), manage: has("manage") }
    }

    /// Whether keys, webhooks and Islands may be managed.
    #[must_use]
    pub const fn may_manage(self) -> bool {
        self.manage || self.write
    }

    /// Whether nothing of the other is missing here.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write) && (self.may_manage() || !other.manage)
    }

    /// From what a caller gave: only known words, at least one.
    ///
    /// # Errors
    /// [`KeyError::Scopes`].
    pub fn parse_strict(text: &str) -> Result<Self, KeyError> {
        let known = text.split(',').all(|part| matches!(part.trim(), "read" | "write" | "manage"));
        if known { Ok(Self::parse(text)) } else { Err(KeyError::Scopes) }
    }

    /// The words.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        [("read", self.read), ("write", self.write), ("manage", self.manage)]
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
        let limits = limits.on(Limits::default())?;
        Ok(Self { name, scopes, limits, expires_at: None, allowed: Vec::new() })
    }

    /// With an end.
    #[must_use]
    pub fn expiring(self, expires_at: Option<Timestamp>) -> Self {
        Self { expires_at, ..self }
    }

    /// To be used from there only; empty for anywhere.
    ///
    /// # Errors
    /// [`KeyError::TooManyNetworks`].
    pub fn only_from(self, allowed: Vec<Network>) -> Result<Self, KeyError> {
        Ok(Self { allowed: check_networks(allowed)?, ..self })
    }
}

fn check_name(name: &str) -> Result<String, KeyError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(KeyError::Name);
    }
    Ok(name.to_owned())
}

/// Without repetitions.
fn check_networks(mut allowed: Vec<Network>) -> Result<Vec<Network>, KeyError> {
    let mut seen = std::collections::HashSet::new();
    allowed.retain(|network| seen.insert(*network));
    if allowed.len() > MAX_NETWORKS { Err(KeyError::TooManyNetworks) } else { Ok(allowed) }
}

/// From a text with addresses, separated by commas, spaces or line ends.
///
/// # Errors
/// [`KeyError::Networks`].
pub fn read_networks(text: &str) -> Result<Vec<Network>, KeyError> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(KeyError::Networks)).collect()
}

fn check_expiry(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), KeyError> {
    if expires_at.is_some_and(|end| end <= now) { Err(KeyError::Expiry) } else { Ok(()) }
}

impl ApiKey {
    /// Whether it has ended.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether another key may do nothing that this one may not: scopes, time and place.
    fn check_covers(&self, other: &Self) -> Result<(), KeyError> {
        if !self.scopes.covers(other.scopes) {
            return Err(KeyError::Beyond("scopes"));
        }
        if self.expires_at.is_some_and(|end| other.expires_at.is_none_or(|other| other > end)) {
            return Err(KeyError::Beyond("expires_at"));
        }
        let inside = |network: &Network| self.allowed.iter().any(|own| own.covers(*network));
        if !self.allowed.is_empty() && (other.allowed.is_empty() || !other.allowed.iter().all(inside)) {
            return Err(KeyError::Beyond("allowed_ips"));
        }
        Ok(())
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
    check_expiry(request.expires_at, now)?;
    let secret = key_secret::new(&*app.random);
    let key = ApiKey {
        id: app.ids.next(now),
        name: request.name,
        prefix: secret.chars().take(8).collect(),
        scopes: request.scopes,
        created_at: now,
        last_used_at: None,
        expires_at: request.expires_at,
        allowed: request.allowed,
        old_until: None,
    };
    let cap = Cap::new(key.id.get(), request.limits).at(now);
    let (hash, user) = (secrets::hash(&secret), user.id);
    once.tx(app, "create_key", async move |tx| {
        if let Some(by) = may_manage(tx, by, now).await? {
            by.check_covers(&key)?;
        }
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
    app.db.read("may_manage", async move |tx| may_manage(tx, Some(key), now).await.map(drop)).await
}

/// A key with limits manages no keys, nor does one that was revoked or has expired. Asked in the transaction that changes
/// something: what the caller was let in by may be out of date. Answers the key, if it is one.
///
/// # Errors
/// A [`KeyError`].
pub async fn may_manage(
    tx: &mut Tx<'_>,
    by: Option<ApiKeyId>,
    now: Timestamp,
) -> Result<Option<ApiKey>, KeyError> {
    let Some(by) = by else { return Ok(None) };
    let key = store::key_by_id(tx, by).await?.ok_or(KeyError::Revoked)?;
    if key.is_expired(now) {
        return Err(KeyError::Expired);
    }
    let limits = ledger::cap(tx, by.get(), now).await?.limits;
    if limits.is_none() { Ok(Some(key)) } else { Err(KeyError::Limited) }
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

/// Changes a key of this user, all that is wanted or nothing. What was spent stays counted.
///
/// # Errors
/// A [`KeyError`].
pub async fn change(
    app: &App,
    user: &User,
    by: Option<ApiKeyId>,
    id: ApiKeyId,
    change: KeyChange,
    once: &Once<KeyInUse>,
) -> Result<KeyInUse, KeyError> {
    let (user, now) = (user.id, app.clock.now());
    let name = change.name.as_deref().map(check_name).transpose()?;
    let allowed = change.allowed.map(check_networks).transpose()?;
    check_expiry(change.expires_at.flatten(), now)?;
    let (limits, expires_at) = (change.limits, change.expires_at);
    let changed = once
        .tx(app, "change_key", async move |tx| {
            let by = may_manage(tx, by, now).await?;
            let KeyInUse { mut key, cap } = one(tx, user, id, now).await?;
            let limits = limits.on(cap.limits)?;
            key.name = name.clone().unwrap_or(key.name);
            key.expires_at = expires_at.unwrap_or(key.expires_at);
            key.allowed = allowed.clone().unwrap_or(key.allowed);
            let freer = expires_at.is_some() || allowed.is_some() || loosens(cap.limits, limits);
            if let Some(by) = by.filter(|_| freer) {
                by.check_covers(&key)?;
            }
            store::update_key(tx, &key).await?;
            let limit = Command::Limit { cap: cap.id, limits };
            for outcome in ledger::submit(tx, &[limit], now).await?.outcomes {
                outcome.map_err(|refusal| DbError::Other(format!("a limit was refused: {refusal}")))?;
            }
            Ok::<_, KeyError>(KeyInUse { key, cap: Cap { limits, ..cap } })
        })
        .await;
    // Whatever was answered: it may have been written.
    app.keys.forget();
    changed
}

/// Gives a key a new secret, which nobody will see again; the one it had opens for so many seconds more. All else stays.
///
/// # Errors
/// A [`KeyError`].
pub async fn rotate(
    app: &App,
    user: &User,
    by: Option<ApiKeyId>,
    id: ApiKeyId,
    grace_secs: i64,
    once: &Once<(KeyInUse, String)>,
) -> Result<(KeyInUse, String), KeyError> {
    if !(0..=MAX_GRACE_SECS).contains(&grace_secs) {
        return Err(KeyError::Grace);
    }
    let (user, now) = (user.id, app.clock.now());
    let secret = key_secret::new(&*app.random);
    let until = now.plus_millis(grace_secs * SECOND_MS);
    let rotated = once
        .tx(app, "rotate_key", async move |tx| {
            let by = may_manage(tx, by, now).await?;
            let KeyInUse { mut key, cap } = one(tx, user, id, now).await?;
            if let Some(by) = by {
                by.check_covers(&key)?;
            }
            // A grace of nothing ends those of before too: something leaked.
            if grace_secs == 0 {
                store::end_old_secrets(tx, id).await?;
            } else {
                store::keep_old_secret(tx, id, until).await?;
                store::drop_oldest_secrets(tx, id, MAX_OLD_SECRETS).await?;
            }
            key.prefix = secret.chars().take(8).collect();
            key.old_until = (grace_secs > 0).then_some(until.max(key.old_until.unwrap_or(until)));
            store::replace_secret(tx, &key, &secrets::hash(&secret)).await?;
            Ok::<_, KeyError>((KeyInUse { key, cap }, secret.clone()))
        })
        .await;
    // Whatever was answered: it may have been written.
    app.keys.forget();
    rotated
}

/// Revokes a key of this user.
///
/// # Errors
/// A [`KeyError`].
pub async fn revoke(
    app: &App,
    user: &User,
    by: Option<ApiKeyId>,
    id: ApiKeyId,
    once: &Once<()>,
) -> Result<(), KeyError> {
    let (user, now) = (user.id, app.clock.now());
    let revoked = once
        .tx(app, "revoke_key", async move |tx| {
            may_manage(tx, by, now).await?;
            if store::revoke_key(tx, user, id, now).await? { Ok(()) } else { Err(KeyError::NotFound) }
        })
        .await;
    // Whatever was answered: it may have been written, now or by a request before that nobody waited for.
    app.keys.forget();
    revoked
}
