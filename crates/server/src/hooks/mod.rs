//! Webhooks: telling programs of users what happened.
//!
//! Guarantees: an event is written in the transaction of what it tells of, or not at all (I15), for each endpoint that wants it
//! at that moment; it is sent at least once, with the same `webhook-id` each time, until the receiver answers 2xx or the tries
//! are used up; one endpoint that does not answer delays no other; nothing is sent to private addresses ([`address`]).
//!
//! Users without endpoints cost nothing: who listens is kept in memory, with the version of the list, which the transaction
//! that ends jobs compares with the one in the database. So nobody who began to listen a moment ago misses anything.

pub mod address;
pub mod deliver;
pub mod events;
pub mod sign;
pub(crate) mod store;
mod tell;

use db::{DbError, Tx};
use types::id::{ApiKeyId, DeliveryId, EndpointId, EventId, UserId};
use types::time::{DAY_MS, SECOND_MS, Timestamp};

pub use self::tell::Hooks;

use self::address::AddressError;
use self::events::{Event, Kind, Test};
use crate::accounts::User;
use crate::accounts::api_keys::{self, KeyError};
use crate::app::App;
use crate::idempotency::Once;

/// Most endpoints a user may have.
pub const MAX_ENDPOINTS: usize = 10;
/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 200;
/// Deliveries that may wait for one endpoint; of what happens beyond that it is not told.
pub const MAX_WAITING: i64 = 5000;
/// For how long a replaced secret signs too, in seconds, unless something else is wanted.
pub const GRACE_SECS: i64 = DAY_MS / SECOND_MS;
/// The longest time for which it may.
pub const MAX_GRACE_SECS: i64 = 7 * DAY_MS / SECOND_MS;
/// How long what was sent can be looked at.
pub const KEPT_MS: i64 = 30 * DAY_MS;
/// Secrets of one endpoint that sign at the same time.
const MAX_SECRETS: usize = 5;

/// An address that events are sent to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Which one.
    pub id: EndpointId,
    /// Where.
    pub url: String,
    /// What its owner says of it.
    pub description: String,
    /// What it is told of; empty for everything.
    pub events: Vec<Kind>,
    /// Since when.
    pub created_at: Timestamp,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// Since when not.
    pub disabled_at: Option<Timestamp>,
    /// Why not, if its owner did not want it so.
    pub disabled_reason: Option<String>,
    /// When the first of the tries was that have failed since the last one that did not.
    pub failing_since: Option<Timestamp>,
    /// How many events it was not told of, because too many waited.
    pub missed: i64,
    /// How many wait to be sent.
    pub waiting: i64,
}

/// The sending of an event to an endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which one.
    pub id: DeliveryId,
    /// The event: `webhook-id`.
    pub event: EventId,
    /// What it is about.
    pub kind: String,
    /// `waiting`, `delivered` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// When it is tried next, if it waits.
    pub due_at: Timestamp,
    /// When it was tried last.
    pub tried_at: Option<Timestamp>,
    /// How long that took.
    pub took_ms: Option<i64>,
    /// The HTTP status that was answered then.
    pub status: Option<i64>,
    /// The beginning of that answer.
    pub answer: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// What is sent.
    pub body: String,
}

/// Why something is not done to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// Its address.
    #[error("{0}")]
    Url(#[from] AddressError),
    /// A long description.
    #[error("must have at most 200 characters, on one line")]
    Description,
    /// Something that never happens.
    #[error("must be names of events, such as job.completed; {0:?} is none")]
    Events(String),
    /// A time for which a replaced secret shall not sign.
    #[error("must be a whole number of seconds from 0 to 604800, which is seven days")]
    Grace,
    /// Too many.
    #[error("you have 10 webhooks; delete one first")]
    TooMany,
    /// It is switched off.
    #[error("this webhook is switched off; switch it on first")]
    Off,
    /// Too much waits for it.
    #[error("5000 events wait for this webhook already")]
    Full,
    /// Not there, or another's.
    #[error("there is no such webhook")]
    NotFound,
    /// Not there, or of another endpoint.
    #[error("there is no such delivery")]
    NoDelivery,
    /// What the key it is asked with may not.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What an endpoint shall be. What is not given stays as it is, or is as usual.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Where events are sent.
    pub url: Option<String>,
    /// What is said of it.
    pub description: Option<String>,
    /// What it is told of; empty for everything.
    pub events: Option<Vec<Kind>>,
    /// Whether anything is sent.
    pub enabled: Option<bool>,
}

/// Who asks: a user, and the key they ask with, if they do not sit in front of the page.
pub type By<'a> = (&'a User, Option<ApiKeyId>);

impl Wish {
    fn check(&self, allow_private: bool) -> Result<(), HookError> {
        if let Some(url) = &self.url {
            address::read(url, allow_private)?;
        }
        let long =
            |text: &String| text.chars().count() > MAX_DESCRIPTION || text.chars().any(char::is_control);
        if self.description.as_ref().is_some_and(long) { Err(HookError::Description) } else { Ok(()) }
    }
}

/// Reads names of events; none are all.
///
/// # Errors
/// [`HookError::Events`].
pub fn read_events<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Kind>, HookError> {
    let mut kinds = Vec::new();
    for name in names {
        let short: String = name.chars().take(64).collect();
        let kind = Kind::from_name(name).ok_or(HookError::Events(short))?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// The endpoints of a user, newest first.
///
/// # Errors
/// A [`DbError`].
pub async fn list(app: &App, user: UserId) -> Result<Vec<Endpoint>, DbError> {
    app.db.read("webhooks", async move |tx| store::endpoints(tx, user).await).await
}

/// An endpoint of this user.
///
/// # Errors
/// A [`HookError`].
pub async fn find(app: &App, user: UserId, id: EndpointId) -> Result<Endpoint, HookError> {
    let found = app.db.read("webhook", async move |tx| store::endpoint(tx, user, id).await).await?;
    found.ok_or(HookError::NotFound)
}

/// Makes an endpoint; answers it with the secret that its events are signed with.
///
/// # Errors
/// A [`HookError`].
pub async fn create(
    app: &App,
    (user, by): By<'_>,
    wish: Wish,
    once: &Once<(Endpoint, String)>,
) -> Result<(Endpoint, String), HookError> {
    wish.check(app.config.webhooks.allow_private)?;
    let (now, user) = (app.clock.now(), user.id);
    let endpoint = Endpoint {
        id: app.ids.next(now),
        url: wish.url.ok_or(AddressError::Unreadable)?,
        description: wish.description.unwrap_or_default(),
        events: wish.events.unwrap_or_default(),
        created_at: now,
        enabled: wish.enabled.unwrap_or(true),
        disabled_at: None,
        disabled_reason: None,
        failing_since: None,
        missed: 0,
        waiting: 0,
    };
    let secret = sign::new_secret(&*app.random);
    once.tx(app, "create_webhook", async move |tx| {
        api_keys::may_manage(tx, by, now).await?;
        if store::endpoints(tx, user).await?.len() >= MAX_ENDPOINTS {
            return Err(HookError::TooMany);
        }
        store::insert_endpoint(tx, user, &endpoint).await?;
        store::insert_secret(tx, endpoint.id, &secret, now).await?;
        store::bump(tx).await?;
        Ok((endpoint.clone(), secret.clone()))
    })
    .await
}

/// Changes an endpoint, all that is wanted or nothing.
///
/// # Errors
/// A [`HookError`].
pub async fn change(
    app: &App,
    (user, by): By<'_>,
    id: EndpointId,
    wish: Wish,
    once: &Once<Endpoint>,
) -> Result<Endpoint, HookError> {
    wish.check(app.config.webhooks.allow_private)?;
    let (now, user) = (app.clock.now(), user.id);
    let changed = once
        .tx(app, "change_webhook", async move |tx| {
            api_keys::may_manage(tx, by, now).await?;
            let mut endpoint = store::endpoint(tx, user, id).await?.ok_or(HookError::NotFound)?;
            let wish = wish.clone();
            endpoint.url = wish.url.unwrap_or(endpoint.url);
            endpoint.description = wish.description.unwrap_or(endpoint.description);
            endpoint.events = wish.events.unwrap_or(endpoint.events);
            if let Some(enabled) = wish.enabled.filter(|enabled| *enabled != endpoint.enabled) {
                endpoint.enabled = enabled;
                endpoint.disabled_at = (!enabled).then_some(now);
                (endpoint.disabled_reason, endpoint.failing_since) = (None, None);
            }
            store::update_endpoint(tx, &endpoint).await?;
            store::bump(tx).await?;
            Ok::<_, HookError>(endpoint)
        })
        .await?;
    app.hooks.forget_pause(id);
    app.hooks.wake();
    Ok(changed)
}

/// Deletes an endpoint; nothing more is sent to it.
///
/// # Errors
/// A [`HookError`].
pub async fn remove(app: &App, (user, by): By<'_>, id: EndpointId, once: &Once<()>) -> Result<(), HookError> {
    let (now, user) = (app.clock.now(), user.id);
    once.tx(app, "delete_webhook", async move |tx| {
        api_keys::may_manage(tx, by, now).await?;
        if store::delete_endpoint(tx, user, id, now).await? { Ok(()) } else { Err(HookError::NotFound) }
    })
    .await
}

/// Gives an endpoint another secret; the one it had signs too for so many seconds more.
///
/// # Errors
/// A [`HookError`].
pub async fn rotate(
    app: &App,
    (user, by): By<'_>,
    id: EndpointId,
    grace_secs: i64,
    once: &Once<(Endpoint, String)>,
) -> Result<(Endpoint, String), HookError> {
    if !(0..=MAX_GRACE_SECS).contains(&grace_secs) {
        return Err(HookError::Grace);
    }
    let (now, user) = (app.clock.now(), user.id);
    let (secret, until) = (sign::new_secret(&*app.random), now.plus_millis(grace_secs * SECOND_MS));
    once.tx(app, "rotate_webhook", async move |tx| {
        api_keys::may_manage(tx, by, now).await?;
        let endpoint = store::endpoint(tx, user, id).await?.ok_or(HookError::NotFound)?;
        store::end_secrets(tx, id, until).await?;
        store::drop_secrets(tx, id, (grace_secs > 0).then_some(now), MAX_SECRETS - 1).await?;
        store::insert_secret(tx, id, &secret, now).await?;
        Ok((endpoint, secret.clone()))
    })
    .await
}

/// Sends an event to an endpoint that says that it is a test.
///
/// # Errors
/// A [`HookError`].
pub async fn test(
    app: &App,
    (user, by): By<'_>,
    id: EndpointId,
    once: &Once<Delivery>,
) -> Result<Delivery, HookError> {
    let (now, user) = (app.clock.now(), user.id);
    let (event, delivery): (EventId, DeliveryId) = (app.ids.next(now), app.ids.next(now));
    let data = Test { webhook_id: id, message: "If you can read this, the webhook works." };
    let what = Event::test(&data);
    let sent = once
        .tx(app, "test_webhook", async move |tx| {
            api_keys::may_manage(tx, by, now).await?;
            ready(tx, user, id).await?;
            store::insert_events(tx, user, &[(event, what.name(), what.body(now))], now).await?;
            store::insert_deliveries(tx, &[(delivery, id, event)], now).await?;
            store::delivery(tx, id, delivery).await?.ok_or(HookError::NoDelivery)
        })
        .await?;
    app.hooks.forget_pause(id);
    app.hooks.wake();
    Ok(sent)
}

/// Sends once more what was sent, or could not be, as it was: with the same `webhook-id`.
///
/// # Errors
/// A [`HookError`].
pub async fn replay(
    app: &App,
    (user, by): By<'_>,
    (id, delivery): (EndpointId, DeliveryId),
    once: &Once<Delivery>,
) -> Result<Delivery, HookError> {
    let (now, user) = (app.clock.now(), user.id);
    let again: DeliveryId = app.ids.next(now);
    let sent = once
        .tx(app, "replay_webhook", async move |tx| {
            api_keys::may_manage(tx, by, now).await?;
            ready(tx, user, id).await?;
            let first = store::delivery(tx, id, delivery).await?.ok_or(HookError::NoDelivery)?;
            store::insert_deliveries(tx, &[(again, id, first.event)], now).await?;
            store::delivery(tx, id, again).await?.ok_or(HookError::NoDelivery)
        })
        .await?;
    app.hooks.forget_pause(id);
    app.hooks.wake();
    Ok(sent)
}

/// Whether something can be sent to an endpoint of this user.
async fn ready(tx: &mut Tx<'_>, user: UserId, id: EndpointId) -> Result<(), HookError> {
    let endpoint = store::endpoint(tx, user, id).await?.ok_or(HookError::NotFound)?;
    if !endpoint.enabled {
        return Err(HookError::Off);
    }
    if endpoint.waiting >= MAX_WAITING { Err(HookError::Full) } else { Ok(()) }
}

/// What was sent to an endpoint of this user, newest first, before that one; and whether there is more.
///
/// # Errors
/// A [`HookError`].
pub async fn deliveries(
    app: &App,
    user: UserId,
    id: EndpointId,
    before: Option<DeliveryId>,
    limit: u32,
) -> Result<(Vec<Delivery>, bool), HookError> {
    let mut found = app
        .db
        .read("webhook_log", async move |tx| {
            store::endpoint(tx, user, id).await?.ok_or(HookError::NotFound)?;
            Ok::<_, HookError>(store::deliveries(tx, id, before, limit + 1).await?)
        })
        .await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > most;
    found.truncate(most);
    Ok((found, more))
}

/// Forgets what was sent long ago, and endpoints that were deleted.
///
/// # Errors
/// A [`DbError`].
pub async fn forget_once(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let before = now.plus_millis(-KEPT_MS);
    while app.db.tx("forget_webhooks", async move |tx| store::forget(tx, before, now).await).await? {}
    Ok(())
}
