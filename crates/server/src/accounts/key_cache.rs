//! Keys seen lately, in memory: what stands before every request of the API reads no database.
//!
//! A key is remembered with all that decides whether it is let in. What is remembered may only refuse sooner: the transaction
//! that spends asks the database once more (incidents 7, 8).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use db::DbError;
use ledger::Period;
use types::id::ApiKeyId;
use types::time::{HOUR_MS, Timestamp};

use super::api_keys::{ApiKey, KeyError};
use super::{SharedUser, key_secret, store};
use crate::app::App;
use crate::secrets;

/// Who calls the API.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose key.
    pub user: SharedUser,
    /// Which key.
    pub key: Arc<ApiKey>,
    /// When the secret was replaced by another, the time until which it still opens.
    pub replaced: Option<Timestamp>,
}

impl Caller {
    /// Whether this secret opens now, and from there.
    ///
    /// # Errors
    /// [`KeyError::Expired`], [`KeyError::Replaced`] or [`KeyError::Elsewhere`].
    pub fn check(&self, now: Timestamp, from: impl FnOnce() -> IpAddr) -> Result<(), KeyError> {
        if self.key.is_expired(now) {
            return Err(KeyError::Expired);
        }
        if self.replaced.is_some_and(|until| until <= now) {
            return Err(KeyError::Replaced);
        }
        if self.key.allowed.is_empty() {
            return Ok(());
        }
        let from = from();
        let fine = self.key.allowed.iter().any(|network| network.contains(from));
        if fine { Ok(()) } else { Err(KeyError::Elsewhere(from)) }
    }
}

/// Keys seen lately, by the hash of their secret.
#[derive(Debug, Default)]
pub struct KeyCache {
    known: Mutex<Known>,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Known {
    callers: HashMap<String, Caller>,
    /// Counts how often everything was forgotten: what was read before that is not remembered after it.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Used {
    at: HashMap<ApiKeyId, Timestamp>,
    /// Up to when that was written down.
    noted: Timestamp,
    /// Limits that stood in the way of a job.
    met: Vec<(ApiKeyId, Period)>,
}

/// Most keys remembered; beyond that everything is forgotten, which only costs look-ups.
const MOST_KNOWN: usize = 100_000;
/// Most limits remembered that stood in the way of a job; each is told once, so what is beyond is told the next time.
const MOST_MET: usize = 500;

impl KeyCache {
    /// The caller behind a key. Whether it may come in now is for [`Caller::check`].
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn find(&self, app: &App, secret: &str) -> Result<Option<Caller>, DbError> {
        let hash = secrets::hash(secret);
        let (known, forgotten) = {
            let known = lock(&self.known);
            (known.callers.get(&hash).cloned(), known.forgotten)
        };
        if known.is_some() {
            return Ok(known);
        }
        if !key_secret::can_be(secret) {
            return Ok(None);
        }
        let key = hash.clone();
        let found = app.db.read("api_key", async move |tx| store::key_by_secret(tx, &key).await).await?;
        let Some((user, key, replaced)) = found else { return Ok(None) };
        let caller = Caller { user: Arc::new(user), key: Arc::new(key), replaced };
        self.remember(hash, &caller, forgotten);
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

    /// Forgets all keys: one was changed, or another process wrote to the database.
    pub fn forget(&self) {
        let mut known = lock(&self.known);
        known.callers.clear();
        known.forgotten += 1;
    }

    /// A key was used.
    pub fn note_used(&self, key: ApiKeyId, now: Timestamp) {
        lock(&self.used).at.insert(key, now);
    }

    /// Which keys were used since this was last asked.
    pub fn take_used(&self) -> Vec<(ApiKeyId, Timestamp)> {
        let mut used = lock(&self.used);
        let noted = used.noted;
        let mut new: Vec<_> =
            used.at.iter().filter(|(_, at)| **at > noted).map(|(key, at)| (*key, *at)).collect();
        if let Some(latest) = new.iter().map(|(_, at)| *at).max() {
            used.noted = latest;
            used.at.retain(|_, at| latest.millis_since(*at) < HOUR_MS);
        }
        drop(used);
        new.sort_unstable();
        new
    }

    /// Which keys were used since then.
    #[must_use]
    pub fn used_since(&self, since: Timestamp) -> Vec<ApiKeyId> {
        lock(&self.used).at.iter().filter(|(_, at)| **at >= since).map(|(key, _)| *key).collect()
    }

    /// A limit of a key stood in the way of a job.
    pub fn note_met(&self, key: ApiKeyId, period: Period) {
        let mut used = lock(&self.used);
        if used.met.len() < MOST_MET && !used.met.contains(&(key, period)) {
            used.met.push((key, period));
        }
    }

    /// Which limits that were since this was last asked.
    pub fn take_met(&self) -> Vec<(ApiKeyId, Period)> {
        std::mem::take(&mut lock(&self.used).met)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
