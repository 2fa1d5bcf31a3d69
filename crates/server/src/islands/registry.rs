//! Which Islands are connected, or were a moment ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use types::id::{IslandId, UserId};
use types::time::Timestamp;

use super::alerts::Watching;
use super::limits::Bucket;
use super::profile::Profile;
use super::session::{Link, Session};
use super::stats::Hour;

/// With this many, full buckets are forgotten.
const MOST: usize = 10_000;

/// All Islands of this coordinator.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<HashMap<IslandId, Arc<Session>>>,
    /// Of connected Islands, and of those that left since they were last stored.
    profiles: Mutex<HashMap<IslandId, Arc<Profile>>>,
    /// How often Islands connect.
    connects: Mutex<HashMap<IslandId, Bucket>>,
    /// Milliseconds online that are not stored yet, and until when they were counted.
    online: Mutex<HashMap<IslandId, Online>>,
    /// Since when it is watched whether they are there.
    pub watching: Watching,
}

/// How long an Island has been online.
#[derive(Clone, Copy, Debug)]
struct Online {
    counted_until: Timestamp,
    connected: bool,
    unsaved_ms: i64,
}

impl Registry {
    /// A connected Island.
    #[must_use]
    pub fn get(&self, id: IslandId) -> Option<Arc<Session>> {
        self.session(id).filter(|session| session.is_connected())
    }

    /// An Island that is connected, or may come back to what it was doing.
    #[must_use]
    pub fn session(&self, id: IslandId) -> Option<Arc<Session>> {
        lock(&self.sessions).get(&id).cloned()
    }

    /// All that are connected.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Session>> {
        lock(&self.sessions).values().filter(|session| session.is_connected()).cloned().collect()
    }

    /// All, also those that may come back.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.sessions).values().cloned().collect()
    }

    /// Whether a user has an Island connected.
    #[must_use]
    pub fn owns_any(&self, user: UserId) -> bool {
        lock(&self.sessions).values().any(|session| session.island.owner == user && session.is_connected())
    }

    /// A session begins; answers the one it replaces, which is to be ended. `leave_the_book` takes the
    /// asks of the one before out, before anybody else can change them.
    pub fn insert(&self, session: &Arc<Session>, leave_the_book: impl FnOnce()) -> Option<Arc<Session>> {
        let mut sessions = lock(&self.sessions);
        let replaced = sessions.insert(session.island.id, Arc::clone(session));
        leave_the_book();
        replaced
    }

    /// Changes the asks of an Island, unless another session has taken its place or it is gone: what an old one still
    /// says is not about the new one.
    pub fn if_current(&self, session: &Arc<Session>, change: impl FnOnce()) {
        let sessions = lock(&self.sessions);
        let current = sessions.get(&session.island.id).is_some_and(|one| Arc::ptr_eq(one, session));
        if current && session.is_connected() {
            change();
        }
    }

    /// Runs something while no session comes or goes.
    pub fn undisturbed<T>(&self, work: impl FnOnce() -> T) -> T {
        let _sessions = lock(&self.sessions);
        work()
    }

    /// A link is broken: if it was still the session's, and that the Island's, its asks leave the book. Answers whether so.
    pub fn broke(&self, session: &Arc<Session>, link: &Arc<Link>, leave_the_book: impl FnOnce()) -> bool {
        let sessions = lock(&self.sessions);
        let current = sessions.get(&session.island.id).is_some_and(|one| Arc::ptr_eq(one, session));
        let broke = session.broke(link) && current;
        if broke {
            leave_the_book();
        }
        broke
    }

    /// A session is over: if it was still the Island's, it leaves the list.
    pub fn remove(&self, session: &Arc<Session>, leave_the_book: impl FnOnce()) {
        let mut sessions = lock(&self.sessions);
        if sessions.get(&session.island.id).is_some_and(|one| Arc::ptr_eq(one, session)) {
            sessions.remove(&session.island.id);
            leave_the_book();
        }
    }

    /// What is known of an Island, if it is here.
    #[must_use]
    pub fn profile(&self, id: IslandId) -> Option<Arc<Profile>> {
        lock(&self.profiles).get(&id).cloned()
    }

    /// Keeps what was read of an Island, unless somebody was faster.
    pub fn keep_profile(&self, profile: Arc<Profile>) -> Arc<Profile> {
        Arc::clone(lock(&self.profiles).entry(profile.id).or_insert(profile))
    }

    /// All that is known.
    #[must_use]
    pub fn profiles(&self) -> Vec<Arc<Profile>> {
        lock(&self.profiles).values().cloned().collect()
    }

    /// Forgets what is known of an Island that is not here any more.
    pub fn forget_profile(&self, id: IslandId) {
        let sessions = lock(&self.sessions);
        if !sessions.contains_key(&id) {
            let mut profiles = lock(&self.profiles);
            if profiles.get(&id).is_some_and(|profile| !profile.has_unsaved()) {
                profiles.remove(&id);
            }
        }
    }

    /// A batch of attempts was paid.
    pub fn earned(&self, hours: &[Hour], now: Timestamp) {
        for hour in hours.iter().filter(|hour| hour.paid > 0) {
            if let Some(profile) = self.profile(hour.island) {
                profile.paid(hour.paid.unsigned_abs(), hour.earned, now);
            }
        }
    }

    /// Whether an Island may connect now; with how many it may in a minute.
    #[must_use]
    pub fn may_connect(&self, id: IslandId, per_minute: u32, now: Timestamp) -> bool {
        let mut connects = lock(&self.connects);
        if connects.len() >= MOST {
            connects.retain(|_, bucket| !bucket.is_full(now));
        }
        connects.entry(id).or_insert_with(|| Bucket::per_minute(per_minute, per_minute, now)).take(1, now)
    }

    /// An Island came.
    pub fn came(&self, id: IslandId, now: Timestamp) {
        let mut online = lock(&self.online);
        let one = online.entry(id).or_insert(Online { counted_until: now, connected: false, unsaved_ms: 0 });
        (one.counted_until, one.connected) = (now, true);
    }

    /// An Island went.
    pub fn went(&self, id: IslandId, now: Timestamp) {
        if let Some(one) = lock(&self.online).get_mut(&id) {
            one.count(now);
            one.connected = false;
        }
    }

    /// Takes the whole seconds that Islands were online since they were last taken.
    #[must_use]
    pub fn take_online(&self, now: Timestamp) -> Vec<(IslandId, i64)> {
        let mut online = lock(&self.online);
        let mut taken = Vec::new();
        online.retain(|&id, one| {
            one.count(now);
            let seconds = one.unsaved_ms.div_euclid(1000);
            one.unsaved_ms -= seconds * 1000;
            if seconds > 0 {
                taken.push((id, seconds));
            }
            one.connected
        });
        taken.sort_unstable();
        taken
    }
}

impl Online {
    fn count(&mut self, now: Timestamp) {
        if self.connected {
            self.unsaved_ms += now.millis_since(self.counted_until).max(0);
        }
        self.counted_until = now;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
