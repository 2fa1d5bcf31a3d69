//! Writing events, in the transaction of what they tell of.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use db::{DbError, Question, Tx};
use tokio::sync::Notify;
use types::id::{DeliveryId, EndpointId, EventId, IdGenerator, UserId};
use types::time::Timestamp;

use super::events::{Event, JobData, Kind};
use super::{MAX_WAITING, store};
use crate::jobs::State;
use crate::jobs::command::{Command, Finish};

/// Writes events; shared by all that happens. Who hands it to a transaction should [`Self::wake`] it when that is committed, or
/// what was written waits a second.
pub struct Hooks {
    ids: Arc<IdGenerator>,
    /// Names of the Cargos, by number.
    slugs: HashMap<i64, String>,
    listeners: Mutex<Listeners>,
    pub(super) due: Notify,
    pub(super) at_work: Mutex<HashMap<EndpointId, AtWork>>,
    pub(super) http: reqwest::Client,
}

/// Who has an endpoint, as of a version of the list.
#[derive(Clone, Default)]
struct Listeners {
    version: Option<i64>,
    users: Arc<HashSet<UserId>>,
}

/// What is known of an endpoint that was sent something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AtWork {
    /// Somebody sends it something.
    pub busy: bool,
    /// Tries that have failed one after another.
    pub failures: u32,
    /// It is left alone until then.
    pub paused_until: Timestamp,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// A question whether the list of listeners is still the one in memory.
pub struct Asked(Option<Question<Option<i64>>>);

impl Hooks {
    /// With the client that events are sent with, and the names of the Cargos by their numbers.
    #[must_use]
    pub fn new(ids: Arc<IdGenerator>, http: reqwest::Client, slugs: HashMap<i64, String>) -> Self {
        Self { ids, slugs, listeners: Mutex::default(), due: Notify::new(), at_work: Mutex::default(), http }
    }

    /// Something was written and committed.
    pub fn wake(&self) {
        self.due.notify_one();
    }

    /// Its owner did something about an endpoint: it is tried at once.
    pub fn forget_pause(&self, id: EndpointId) {
        if let Some(at_work) = lock(&self.at_work).get_mut(&id) {
            (at_work.failures, at_work.paused_until) = (0, Timestamp::default());
        }
    }

    /// Writes an event, if its user has endpoints that want it. To be called in the transaction of what it tells of.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn tell(
        &self,
        tx: &mut Tx<'_>,
        user: UserId,
        event: Event,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.write(tx, user, &[event], now).await
    }

    async fn write(
        &self,
        tx: &mut Tx<'_>,
        user: UserId,
        events: &[Event],
        now: Timestamp,
    ) -> Result<(), DbError> {
        let endpoints = store::listening(tx, user).await?;
        if endpoints.is_empty() {
            return Ok(());
        }
        let ids: Vec<EventId> = events.iter().map(|_| self.ids.next(now)).collect();
        let (mut wanted, mut deliveries) = (HashSet::new(), Vec::new());
        for (endpoint, kinds) in endpoints {
            let wants =
                |event: &Event| kinds.is_empty() || kinds.split_whitespace().any(|kind| kind == event.name());
            let mine: Vec<EventId> =
                ids.iter().zip(events).filter(|(_, event)| wants(event)).map(|(id, _)| *id).collect();
            if mine.is_empty() {
                continue;
            }
            let room = usize::try_from(MAX_WAITING - store::waiting(tx, endpoint).await?).unwrap_or(0);
            if mine.len() > room {
                store::missed(tx, endpoint, mine.len() - room).await?;
            }
            for event in mine.into_iter().take(room) {
                let id: DeliveryId = self.ids.next(now);
                wanted.insert(event);
                deliveries.push((id, endpoint, event));
            }
        }
        let rows: Vec<(EventId, &str, String)> = ids
            .into_iter()
            .zip(events)
            .filter(|(id, _)| wanted.contains(id))
            .map(|(id, event)| (id, event.name(), event.body(now)))
            .collect();
        store::insert_events(tx, user, &rows, now).await?;
        store::insert_deliveries(tx, &deliveries, now).await
    }

    /// Asks whether somebody began to listen since it was last asked; only if jobs end.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn ask(&self, tx: &mut Tx<'_>, commands: &[&Command]) -> Result<Asked, DbError> {
        let ends = commands.iter().any(|command| matches!(command, Command::Finish(_)));
        Ok(Asked(if ends { Some(store::ask_version(tx).await?) } else { None }))
    }

    /// Writes the events of the jobs that these commands end, for users who listen. Answers whether there were any.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn tell_jobs(
        &self,
        tx: &mut Tx<'_>,
        asked: Asked,
        written: &[&Command],
        now: Timestamp,
    ) -> Result<bool, DbError> {
        let Some(question) = asked.0 else { return Ok(false) };
        let Some(version) = tx.answer(question).await? else { return Ok(false) };
        let users = self.users(tx, version).await?;
        if users.is_empty() {
            return Ok(false);
        }
        let mut events: HashMap<UserId, Vec<Event>> = HashMap::new();
        for command in written {
            let Command::Finish(finish) = command else { continue };
            if !users.contains(&finish.user) {
                continue;
            }
            if let Some(event) = self.of_job(finish) {
                events.entry(finish.user).or_default().push(event);
            }
        }
        for (user, events) in &events {
            self.write(tx, *user, events, now).await?;
        }
        Ok(!events.is_empty())
    }

    /// Who listens, as of this version of the list.
    async fn users(&self, tx: &mut Tx<'_>, version: i64) -> Result<Arc<HashSet<UserId>>, DbError> {
        let known = lock(&self.listeners).clone();
        if known.version == Some(version) {
            return Ok(known.users);
        }
        let users: Arc<HashSet<UserId>> = Arc::new(store::listeners(tx).await?.into_iter().collect());
        *lock(&self.listeners) = Listeners { version: Some(version), users: Arc::clone(&users) };
        Ok(users)
    }

    fn of_job(&self, finish: &Finish) -> Option<Event> {
        let kind = match finish.state {
            State::Completed => Kind::JobCompleted,
            State::Failed | State::Timeout => Kind::JobFailed,
            _ => return None,
        };
        let error = finish.error.clone();
        let (error_code, error) = error.map_or((None, None), |(code, text)| (Some(code), Some(text)));
        Some(Event::new(
            kind,
            &JobData {
                id: finish.job,
                status: finish.state.name(),
                workload: self.slugs.get(&finish.workload).cloned(),
                cost: finish.charge,
                units: finish.units,
                error_code,
                error,
                completed_at: finish.at,
            },
        ))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
