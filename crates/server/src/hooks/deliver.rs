//! Sending what waits. Each endpoint has a task of its own while something is due for it, so that one which does not answer
//! delays no other; one that fails is left alone for a while, and longer each time.
//!
//! A delivery is taken by pushing its time forward, in a transaction, before it is sent, so that several coordinators do not send
//! it at the same time. Between the receiver's answer and noting it lies the one moment in which a crash sends again, with
//! the same `webhook-id`.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use db::{DbError, Tx};
use futures_util::future::join_all;
use reqwest::Response;
use types::id::{DeliveryId, EndpointId, EventId, MailId, UserId};
use types::rng::Random;
use types::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};

use super::address::{self, AddressError};
use super::tell::lock;
use super::{sign, store};
use crate::accounts;
use crate::app::App;
use crate::mail::letters::{Line, WebhookOff};
use crate::mail::outbox;

/// How long a taken delivery is its taker's. A try takes less.
const LEASE_MS: i64 = MINUTE_MS;
/// Deliveries to one endpoint at once.
const AT_ONCE: u32 = 4;
/// Endpoints that are sent to at once.
const MOST_BUSY: usize = 256;
/// How often is looked for what is to be tried again, or others wrote.
const PERIOD: Duration = Duration::from_secs(1);
/// Waits after the first try, the second, and so on.
const WAITS_MS: [i64; 9] = [
    5 * SECOND_MS,
    30 * SECOND_MS,
    2 * MINUTE_MS,
    10 * MINUTE_MS,
    HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    24 * HOUR_MS,
];
/// An endpoint that has failed for so long is switched off.
const GIVEN_UP_MS: i64 = 3 * DAY_MS;
/// How much of an answer is kept, in bytes.
const KEPT: usize = 1024;
/// The longest for which an endpoint is left alone.
const LONGEST_PAUSE_MS: i64 = MINUTE_MS;

/// A delivery that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// Which one.
    pub id: DeliveryId,
    /// To whom.
    pub endpoint: EndpointId,
    /// The event.
    pub event: EventId,
    /// What it is about.
    pub kind: String,
    /// What is sent.
    pub body: String,
    /// How often it was tried, this time included once it is taken.
    pub attempts: i64,
    /// Where to.
    pub url: String,
    /// Whose endpoint.
    pub user: UserId,
    /// What is signed with, the newest first.
    pub secrets: Vec<String>,
}

/// How a try went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What was answered.
    pub status: Option<u16>,
    /// The beginning of that.
    pub answer: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// How long it took.
    pub took_ms: i64,
}

impl Outcome {
    /// Whether the receiver has it.
    #[must_use]
    pub const fn is_fine(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }

    /// Whether the receiver says that it wants no more.
    const fn is_gone(&self) -> bool {
        matches!(self.status, Some(410))
    }
}

/// Sends until the program stops.
pub async fn run(app: Arc<App>) {
    while !app.is_stopping() {
        if let Err(error) = start_due(&app).await {
            tracing::warn!(%error, "what waits for webhooks could not be read");
        }
        tokio::select! {
            () = app.hooks.due.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
            () = app.stopping() => {}
        }
    }
}

/// Begins to send to each endpoint that something is due for.
async fn start_due(app: &Arc<App>) -> Result<(), DbError> {
    let now = app.clock.now();
    let due = app.db.read("webhooks_due", async move |tx| store::endpoints_due(tx, now).await).await?;
    for endpoint in due {
        if begin(app, endpoint, now) {
            let app = Arc::clone(app);
            tokio::spawn(async move {
                let fine = match send_all(&app, endpoint).await {
                    Ok(fine) => fine,
                    Err(error) => {
                        tracing::warn!(%error, %endpoint, "a webhook could not be worked on");
                        false
                    }
                };
                end(&app, endpoint, fine);
            });
        }
    }
    Ok(())
}

/// Whether an endpoint can be sent to now: nobody does, it is not left alone, and not too many are.
fn begin(app: &App, endpoint: EndpointId, now: Timestamp) -> bool {
    let mut all = lock(&app.hooks.at_work);
    if all.get(&endpoint).is_some_and(|one| one.busy || one.paused_until > now) {
        return false;
    }
    if all.values().filter(|one| one.busy).count() >= MOST_BUSY {
        return false;
    }
    all.entry(endpoint).or_default().busy = true;
    true
}

fn end(app: &App, endpoint: EndpointId, fine: bool) {
    let mut all = lock(&app.hooks.at_work);
    if fine {
        all.remove(&endpoint);
    } else if let Some(one) = all.get_mut(&endpoint) {
        one.busy = false;
        let pause = (SECOND_MS << one.failures.min(6)).min(LONGEST_PAUSE_MS);
        one.failures += 1;
        one.paused_until = app.clock.now().plus_millis(pause);
    }
    drop(all);
    // Something may have come in while the last of it was sent.
    app.hooks.wake();
}

/// Sends what is due for one endpoint, a few at once, until nothing is or one failed. Answers whether none did.
async fn send_all(app: &Arc<App>, endpoint: EndpointId) -> Result<bool, DbError> {
    while !app.is_stopping() {
        let now = app.clock.now();
        let taken = app.db.tx("take_webhooks", async move |tx| take(tx, endpoint, now).await).await?;
        if taken.is_empty() {
            break;
        }
        let outcomes = join_all(taken.iter().map(|due| send(app, due))).await;
        let fine = outcomes.iter().all(Outcome::is_fine);
        for (due, outcome) in taken.into_iter().zip(outcomes) {
            note(app, due, outcome).await?;
        }
        if !fine {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn take(tx: &mut Tx<'_>, endpoint: EndpointId, now: Timestamp) -> Result<Vec<Due>, DbError> {
    let mut due = store::due(tx, endpoint, now, AT_ONCE).await?;
    let ids: Vec<DeliveryId> = due.iter().map(|one| one.id).collect();
    store::take(tx, &ids, now.plus_millis(LEASE_MS)).await?;
    for one in &mut due {
        one.attempts += 1;
    }
    Ok(due)
}

async fn send(app: &App, due: &Due) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome::default();
    match ask(app, due).await {
        Ok(response) => {
            let status = response.status();
            outcome.status = Some(status.as_u16());
            if status.is_redirection() {
                outcome.error = Some("a redirect was answered; they are not followed".to_owned());
            } else if !status.is_success() {
                outcome.error = Some(format!("{status} was answered"));
            }
            outcome.answer = beginning(response).await;
        }
        Err(text) => outcome.error = Some(text),
    }
    outcome.took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    outcome
}

async fn ask(app: &App, due: &Due) -> Result<Response, String> {
    let url = address::read(&due.url, app.config.webhooks.allow_private)
        .map_err(|error| format!("the address {error}"))?;
    let (id, seconds) = (sign::message_id(due.event), sign::seconds(app.clock.now()));
    let request = app
        .hooks
        .http
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", sign::signature(&due.secrets, &id, seconds, &due.body))
        .body(due.body.clone());
    request.send().await.map_err(|error| in_words(&error))
}

/// What went wrong, for the owner of the endpoint. No more of our network than that.
fn in_words(error: &reqwest::Error) -> String {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(one) = source {
        if let Some(private) = one.downcast_ref::<AddressError>() {
            return format!("the address {private}");
        }
        source = one.source();
    }
    if error.is_timeout() {
        "there was no answer within 10 seconds"
    } else if error.is_connect() {
        "no connection could be made"
    } else {
        "the connection broke"
    }
    .to_owned()
}

/// The first of what was answered, as text that any database can keep.
async fn beginning(mut response: Response) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < KEPT
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(KEPT - bytes.len())]);
    }
    let text = String::from_utf8_lossy(&bytes).replace('\0', "");
    (!text.is_empty()).then_some(text)
}

async fn note(app: &App, due: Due, outcome: Outcome) -> Result<(), DbError> {
    let now = app.clock.now();
    let again = wait_ms(due.attempts, &*app.random).filter(|_| !outcome.is_fine() && !outcome.is_gone());
    let again = again.map(|wait| now.plus_millis(wait));
    let word = if outcome.is_fine() { "delivered" } else { "failed" };
    metrics::counter!("archipelago_webhooks_total", "outcome" => word).increment(1);
    let (mail, site): (MailId, _) = (app.ids.next(now), app.config.public_url());
    app.db
        .tx("note_webhook", async move |tx| {
            store::note(tx, &due, &outcome, again, now).await?;
            let failing = store::note_health(tx, due.endpoint, outcome.is_fine(), now).await?;
            let reason = if outcome.is_gone() {
                "it answered 410 Gone, which means that it wants no more events"
            } else if failing.is_some_and(|since| now.millis_since(since) >= GIVEN_UP_MS) {
                "it has not taken anything for three days"
            } else {
                return Ok::<_, DbError>(());
            };
            if store::disable(tx, due.endpoint, reason, now).await?
                && let Some(user) = accounts::store::user_by_id(tx, due.user).await?
            {
                let letter = WebhookOff {
                    site: site.clone(),
                    url: Line::from(due.url.as_str()),
                    reason: Line::from(reason),
                };
                let key = format!("webhook_off:{}:{}", due.endpoint, now.as_millis());
                outbox::queue(tx, mail, &letter, &user.email, &key, now).await?;
            }
            Ok(())
        })
        .await?;
    app.mail.wake();
    Ok(())
}

/// How long to wait after so many tries, give or take a tenth so that many do not come back together; nothing when they were
/// enough.
fn wait_ms(attempts: i64, random: &dyn Random) -> Option<i64> {
    let wait = *WAITS_MS.get(usize::try_from(attempts - 1).ok()?)?;
    let mut byte = [0];
    random.fill(&mut byte);
    Some(wait - wait / 10 + wait * i64::from(byte[0]) / 1275)
}

#[cfg(test)]
mod tests {
    use types::rng::SeededRandom;

    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let random = SeededRandom::new(1);
        for (index, wait) in WAITS_MS.iter().enumerate() {
            let waited = wait_ms(i64::try_from(index).unwrap() + 1, &random).unwrap();
            assert!((waited - wait).abs() <= wait / 10 + 1, "{waited} for {wait}");
        }
        assert_eq!(wait_ms(10, &random), None);
        assert_eq!(wait_ms(0, &random), None);
    }

    #[test]
    fn only_2xx_is_success() {
        let of = |status| Outcome { status: Some(status), ..Outcome::default() };
        assert!(of(200).is_fine() && of(204).is_fine() && of(299).is_fine());
        assert!(!of(199).is_fine() && !of(301).is_fine() && !of(410).is_fine() && of(410).is_gone());
        assert!(!Outcome::default().is_fine());
    }
}
