//! Deliveries of events: signed, held or sent at once, repeated and in disorder.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::StripeFake;
use crate::state::{mix, text};

/// How often a live delivery is tried.
const LIVE_TRIES: u32 = 8;
/// How long Stripe waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// When events are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// When they are asked for.
    #[default]
    Held,
    /// At once, in the background, and again until a 2xx comes back.
    Live,
}

/// One delivery of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Which event.
    pub event: String,
    /// Its type.
    pub kind: String,
    /// The HTTP status that came back; 0 is none: nobody there, no answer, or dropped on purpose.
    pub status: u16,
}

/// Where and how events are sent.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    pub(crate) url: Option<String>,
    pub(crate) mode: Mode,
    /// How many of the next deliveries get lost.
    pub(crate) drop_next: u32,
    /// How many events live mode has taken up.
    pub(crate) taken: usize,
}

/// The header `Stripe-Signature` for a body sent at `time`.
#[must_use]
pub fn sign(secret: &str, time: i64, body: &str) -> String {
    let mut hex = String::new();
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        mac.update(format!("{time}.{body}").as_bytes());
        for byte in mac.finalize().into_bytes() {
            hex.push_str(&format!("{byte:02x}"));
        }
    }
    format!("t={time},v1={hex}")
}

/// Sends one event once.
pub(crate) async fn send(fake: &StripeFake, client: &reqwest::Client, event: &Value) -> Delivered {
    let id = text(event, "id").to_owned();
    let nothing = Delivered { event: id.clone(), kind: text(event, "type").to_owned(), status: 0 };
    let url = {
        let mut deliveries = fake.deliveries();
        if deliveries.drop_next > 0 {
            deliveries.drop_next -= 1;
            return nothing;
        }
        deliveries.url.clone()
    };
    let Some(url) = url else { return nothing };
    let body = format!("{event:#}");
    let request = client
        .post(url)
        .timeout(PATIENCE)
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .header("stripe-signature", sign(fake.webhook_secret(), fake.now(), &body))
        .body(body);
    let Ok(answer) = request.send().await else { return nothing };
    let status = answer.status();
    if status.is_success() {
        fake.lock().delivered.insert(id);
    }
    Delivered { status: status.as_u16(), ..nothing }
}

/// Sends an event until it is taken.
pub(crate) async fn send_until_taken(fake: StripeFake, event: Value) {
    let client = fake.client();
    for round in 0..LIVE_TRIES {
        let delivered = send(&fake, &client, &event).await;
        if (200..300).contains(&delivered.status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50 << round)).await;
    }
}

/// Sends every event one to `most` times, in an order that depends on `seed`, over several connections at once.
pub(crate) async fn storm(
    fake: &StripeFake,
    events: Vec<Value>,
    seed: u64,
    most: u32,
    connections: usize,
) -> Vec<Delivered> {
    let mut chance = Chance(seed);
    let mut queue = Vec::new();
    for event in events {
        for _ in 0..=chance.below(u64::from(most.max(1))) {
            queue.push(event.clone());
        }
    }
    for at in (1..queue.len()).rev() {
        let other =
            usize::try_from(chance.below(u64::try_from(at).unwrap_or_default() + 1)).unwrap_or_default();
        queue.swap(at, other);
    }
    let queue = Arc::new(Mutex::new(queue));
    let mut workers = Vec::new();
    for _ in 0..connections.max(1) {
        let (fake, queue) = (fake.clone(), Arc::clone(&queue));
        workers.push(tokio::spawn(async move {
            let client = reqwest::Client::new();
            let mut done = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(event) = next else { return done };
                done.push(send(&fake, &client, &event).await);
            }
        }));
    }
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap_or_default());
    }
    all
}

struct Chance(u64);

impl Chance {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % end.max(1)
    }
}
