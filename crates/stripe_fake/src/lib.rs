//! Stripe's HTTP API in this process, for tests.
//!
//! A [`StripeFake`] listens on a port of its own and answers as Stripe's public documentation says Stripe does: forms,
//! errors, idempotency keys, lists, expansion, events. What people, banks and Stripe itself do is done by the handle:
//! [`StripeFake::pay`], [`StripeFake::dispute`], [`StripeFake::verify`] … ([`control`]). What goes wrong on the way is
//! [`StripeFake::fail_next`]. A key of idempotency is forgotten after a day of the fake's clock, as Stripe may do. Webhooks go out when they are asked for, or at once, or as a storm.

#![recursion_limit = "512"]

mod accounts;
mod balance;
mod card;
mod charges;
mod checkout;
pub mod control;
mod customers;
mod disputes;
mod error;
mod faults;
mod fraud;
mod http;
mod identity;
mod intents;
mod known;
mod lists;
mod methods;
mod pages;
mod params;
mod payouts;
mod portal;
mod refunds;
mod route;
mod state;
mod transfers;
mod webhooks;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::runtime::Handle;

pub use crate::card::Card;
pub use crate::faults::Fault;
pub use crate::http::Recorded;
use crate::state::{State, text};
use crate::webhooks::Deliveries;
pub use crate::webhooks::{Delivered, Mode, sign};

/// A Stripe of one's own. Clones are the same Stripe.
#[derive(Clone)]
pub struct StripeFake(Arc<Shared>);

struct Shared {
    base: String,
    secret_key: String,
    webhook_secret: String,
    runtime: Handle,
    client: reqwest::Client,
    state: Mutex<State>,
    deliveries: Mutex<Deliveries>,
}

impl fmt::Debug for StripeFake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeFake").field("base", &self.0.base).finish_non_exhaustive()
    }
}

impl StripeFake {
    /// Starts on a free port of this machine; it ends with the current runtime.
    ///
    /// # Panics
    /// Without a runtime, or when there is no port.
    #[must_use]
    #[expect(clippy::expect_used, reason = "only tests use this, and a test without its Stripe cannot go on")]
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let base = format!("http://{}", listener.local_addr().expect("the port's number"));
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        let seed = seed();
        let mut state = State::new(base.clone(), Arc::new(system_clock), seed);
        let shared = Shared {
            base,
            secret_key: format!("sk_test_{}", state.letters(32)),
            webhook_secret: format!("whsec_{}", state.letters(32)),
            runtime: Handle::current(),
            client: reqwest::Client::new(),
            state: Mutex::new(state),
            deliveries: Mutex::default(),
        };
        let fake = Self(Arc::new(shared));
        fake.0.runtime.spawn(http::serve(fake.clone(), listener));
        fake
    }

    /// Where the API is, for instance `http://127.0.0.1:4321`, without a slash at the end; paths begin with `/v1/`.
    #[must_use]
    pub fn api_base(&self) -> &str {
        &self.0.base
    }

    /// The only key that is right.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.0.secret_key
    }

    /// What deliveries are signed with.
    #[must_use]
    pub fn webhook_secret(&self) -> &str {
        &self.0.webhook_secret
    }

    /// Seconds since 1970, as this Stripe believes.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.lock().now()
    }

    /// Takes the time from somewhere else.
    pub fn set_clock(&self, clock: impl Fn() -> i64 + Send + Sync + 'static) {
        self.lock().clock = Arc::new(clock);
    }

    /// Moves the clock; what expires by it does so now.
    pub fn advance(&self, seconds: i64) {
        let mut state = self.lock();
        state.clock_offset += seconds;
        checkout::expire_due(&mut state);
        drop(state);
        self.after_change();
    }

    /// The next `count` requests go wrong in this way.
    pub fn fail_next(&self, count: u32, fault: Fault) {
        self.lock().faults.plan(count, fault, "");
    }

    /// The next `count` requests whose path begins with `prefix` (`/v1/refunds`) go wrong in this way.
    pub fn fail_next_at(&self, count: u32, fault: Fault, prefix: &str) {
        self.lock().faults.plan(count, fault, prefix);
    }

    /// Forgets the faults that have not happened.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// From now on every connection is ended at once.
    pub fn go_down(&self) {
        self.lock().faults.down = true;
    }

    /// Answers again.
    pub fn come_back(&self) {
        self.lock().faults.down = false;
    }

    /// Where events are sent to.
    pub fn deliver_to(&self, url: &str) {
        self.deliveries().url = Some(url.to_owned());
        self.after_change();
    }

    /// When events are sent: at the beginning they are held. Live mode begins with the next event.
    pub fn set_mode(&self, mode: Mode) {
        let made = self.lock().events.len();
        let mut deliveries = self.deliveries();
        deliveries.taken = made;
        deliveries.mode = mode;
    }

    /// The next `count` deliveries get lost, and look like a status of 0.
    pub fn drop_next(&self, count: u32) {
        self.deliveries().drop_next = count;
    }

    /// Sends one event once.
    ///
    /// # Panics
    /// If there is no such event.
    #[expect(clippy::expect_used, reason = "only tests use this")]
    pub async fn deliver(&self, event: &str) -> Delivered {
        let found = self.lock().events.iter().find(|one| text(one, "id") == event).cloned();
        webhooks::send(self, &self.client(), &found.expect("an event with this id")).await
    }

    /// Sends each event nobody has taken yet once, oldest first, one after the other.
    pub async fn deliver_all(&self) -> Vec<Delivered> {
        let events: Vec<Value> = {
            let state = self.lock();
            state
                .events
                .iter()
                .filter(|event| !state.delivered.contains(text(event, "id")))
                .cloned()
                .collect()
        };
        let mut all = Vec::new();
        for event in events {
            all.push(webhooks::send(self, &self.client(), &event).await);
        }
        all
    }

    /// Sends every event there has ever been one to `most` times, in disorder, over several connections at once.
    pub async fn deliver_storm(&self, seed: u64, most: u32, connections: usize) -> Vec<Delivered> {
        let events = self.lock().events.clone();
        webhooks::storm(self, events, seed, most, connections).await
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.0.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn client(&self) -> reqwest::Client {
        self.0.client.clone()
    }

    /// Sends what live mode has to send.
    pub(crate) fn after_change(&self) {
        let mut deliveries = self.deliveries();
        if deliveries.mode == Mode::Held || deliveries.url.is_none() {
            return;
        }
        let state = self.lock();
        for event in state.events.iter().skip(deliveries.taken) {
            self.0.runtime.spawn(webhooks::send_until_taken(self.clone(), event.clone()));
        }
        deliveries.taken = state.events.len();
    }
}

/// Another number for each fake, so that no two have the same ids.
fn seed() -> u64 {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let time = u64::try_from(system_clock()).unwrap_or_default();
    state::mix(time) ^ state::mix(u64::from(std::process::id())) ^ STARTED.fetch_add(1, Ordering::Relaxed)
}

#[expect(clippy::disallowed_methods, reason = "Stripe has a clock of its own; a test may give it another")]
fn system_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
