//! A backend and how it is doing.
//!
//! Guarantees: a backend that cannot be reached, or that fails one job after another, is not offered until it is
//! better; how often it is asked is bounded by a back-off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::config::{BackendKind, ConfigError};

/// How often a backend that is well is looked at, and its models read.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The first wait before one that is down is asked again; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);
/// After so many failed jobs in a row a backend rests, whatever it says of itself.
const FAILURES_IN_A_ROW: u32 = 5;
/// How long it rests; it doubles each time.
const FIRST_REST: Duration = Duration::from_secs(30);
const LAST_REST: Duration = Duration::from_secs(900);

/// A backend and what is known of it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) kind: BackendKind,
    pub(crate) backend: Backend,
    /// Its name in messages and counters: no secrets in it.
    pub(crate) label: String,
    health: Mutex<Health>,
    /// Told when somebody should look after the backends.
    alarm: Arc<Notify>,
}

#[derive(Debug)]
struct Health {
    state: State,
    /// What its own list of models says, if it has one.
    models: Option<Vec<String>>,
    look_at: Instant,
    wait: Duration,
    failures: u32,
    rest: Duration,
}

/// How a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not asked yet.
    Unknown,
    Up,
    /// Not to be offered; why.
    Down(String),
}

impl Site {
    /// `slots` is how many requests it gets at once, `number` where it stands in the configuration.
    pub(crate) fn new(
        number: usize,
        kind: &BackendKind,
        slots: usize,
        alarm: &Arc<Notify>,
    ) -> Result<Self, ConfigError> {
        let backend = Backend::new(&format!("backend[{number}]"), kind, slots)?;
        let label = backend.label().unwrap_or_else(|| format!("demo {}", number + 1));
        // What has no server behind it is always there.
        let state = if backend.is_own() { State::Up } else { State::Unknown };
        let health = Health {
            state,
            models: None,
            look_at: Instant::now(),
            wait: FIRST_WAIT,
            failures: 0,
            rest: FIRST_REST,
        };
        Ok(Self { kind: kind.clone(), backend, label, health: Mutex::new(health), alarm: Arc::clone(alarm) })
    }

    /// With what is known of another site at the same server, so that a change of its width is no break.
    pub(crate) fn knowing(self, other: Option<&Self>) -> Self {
        if let Some(other) = other {
            let known = other.lock();
            let mut health = self.lock();
            health.state = known.state.clone();
            health.models.clone_from(&known.models);
        }
        self
    }

    pub(crate) fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Whether a job may be begun on it at this moment, and how many jobs failed on it since the last that did not.
    pub(crate) fn failures_if_up(&self) -> Option<u32> {
        let health = self.lock();
        (health.state == State::Up).then_some(health.failures)
    }

    /// The models it lists, if it lists any.
    pub(crate) fn models(&self) -> Option<Vec<String>> {
        self.lock().models.clone()
    }

    /// When it is to be looked at next; `None` if that is not needed.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        (!self.backend.is_own() || self.lock().state != State::Up).then(|| self.lock().look_at)
    }

    /// Looks at it at the next opportunity.
    pub(crate) fn look_soon(&self) {
        self.lock().look_at = Instant::now();
    }

    /// Looks at it and says whether it came or went.
    pub(crate) async fn look(&self) {
        let found = self.backend.probe().await;
        let mut health = self.lock();
        let before = health.state.clone();
        let now = Instant::now();
        match found {
            Ok(models) => {
                health.state = State::Up;
                health.models = models;
                health.wait = FIRST_WAIT;
                health.look_at = now + LOOK_EVERY;
                // One more failure is enough for another rest.
                health.failures = health.failures.min(FAILURES_IN_A_ROW - 1);
            }
            Err(trouble) => {
                health.state = State::Down(trouble);
                health.look_at = now + health.wait;
                health.wait = (health.wait * 2).min(LAST_WAIT);
            }
        }
        match (&before, &health.state) {
            (State::Down(_), State::Up) => tracing::info!("The backend {} is back.", self.label),
            (State::Up | State::Unknown, State::Down(trouble)) => {
                tracing::warn!(
                    "The backend {} {trouble}. Its offers leave the book until it is back.",
                    self.label
                );
            }
            _ => {}
        }
    }

    /// A job was done.
    pub(crate) fn worked(&self) {
        let mut health = self.lock();
        health.failures = 0;
        health.rest = FIRST_REST;
    }

    /// A job failed, and not by its own fault.
    pub(crate) fn failed(&self) {
        let mut health = self.lock();
        health.failures = health.failures.saturating_add(1);
        if health.failures >= FAILURES_IN_A_ROW && health.state == State::Up {
            let rest = health.rest;
            health.state = State::Down(format!("failed {FAILURES_IN_A_ROW} jobs in a row"));
            health.look_at = Instant::now() + rest;
            health.rest = (rest * 2).min(LAST_REST);
            tracing::warn!(
                "The backend {} failed {FAILURES_IN_A_ROW} jobs in a row. It is not offered for {} s.",
                self.label,
                rest.as_secs()
            );
        } else if health.state == State::Up {
            health.look_at = Instant::now();
        }
        drop(health);
        self.alarm.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
