//! Letters to owners whose Island dropped, and when it is back: at most one of each for an outage.
//!
//! An outage is told of by when the Island was last seen, so it is found out too when the coordinator it was connected to died.

use std::sync::OnceLock;

use db::{DbError, Tx};
use types::id::{IslandId, MailId, UserId};
use types::time::{DAY_MS, MINUTE_MS, SECOND_MS, Timestamp};

use super::store;
use crate::app::App;
use crate::idempotency::Once;
use crate::mail::letters::{IslandBack, IslandGone, Line};
use crate::mail::outbox;

/// Nobody is told of an Island that has been gone for longer: it was not noticed when it mattered.
const STALE_MS: i64 = DAY_MS;
/// An Island that was gone for less is back without a letter.
const LONG_MS: i64 = 30 * MINUTE_MS;
/// Letters of one round.
const MOST: u32 = 200;

/// An Island that dropped.
#[derive(Clone, Debug)]
pub struct Outage {
    /// Which one.
    pub island: IslandId,
    /// What it is called.
    pub name: String,
    /// Its owner's address.
    pub email: String,
    /// When it was last seen.
    pub last_seen_at: Timestamp,
    /// When its owner was told, if they were.
    pub told_at: Option<Timestamp>,
}

/// Whether a user wants letters about their Islands.
///
/// # Errors
/// A [`DbError`].
pub async fn wanted(app: &App, user: UserId) -> Result<bool, DbError> {
    app.db.read("island_letters", async move |tx| store::wants_letters(tx, user).await).await
}

/// Notes whether they do.
///
/// # Errors
/// A [`DbError`].
pub async fn want(app: &App, user: UserId, wanted: bool, once: &Once<()>) -> Result<(), DbError> {
    once.tx(app, "island_letters", async move |tx| store::want_letters(tx, user, wanted).await).await
}

/// Since when this process has looked on: Islands get the same time to come back to it before anybody is told.
#[derive(Debug, Default)]
pub struct Watching(OnceLock<Timestamp>);

/// Tells owners of Islands that are gone.
///
/// # Errors
/// A [`DbError`].
pub async fn once(app: &App, now: Timestamp) -> Result<(), DbError> {
    let patience = i64::from(app.config.islands.offline_alert_secs) * SECOND_MS;
    let since = *app.islands.watching.0.get_or_init(|| now);
    if patience == 0 || now.millis_since(since) < patience {
        return Ok(());
    }
    let between = (now.plus_millis(-STALE_MS), now.plus_millis(-patience));
    let gone = app.db.read("islands_gone", async move |tx| store::gone(tx, between, MOST).await).await?;
    for outage in gone {
        tell(app, &outage, between, now).await?;
    }
    Ok(())
}

async fn tell(
    app: &App,
    outage: &Outage,
    between: (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<(), DbError> {
    let (mail, site, outage): (MailId, _, _) = (app.ids.next(now), app.config.public_url(), outage.clone());
    app.db
        .tx("tell_of_outage", async move |tx| {
            // It may have come back, or another coordinator may have told.
            if !store::tell(tx, outage.island, between, now).await? {
                return Ok(());
            }
            let letter = IslandGone {
                site: site.clone(),
                island: Line::from(outage.name.as_str()),
                last_seen: Line::from(minute(outage.last_seen_at)),
            };
            let key = format!("island_gone:{}:{}", outage.island, outage.last_seen_at.as_millis());
            outbox::queue(tx, mail, &letter, &outage.email, &key, now).await
        })
        .await?;
    app.mail.wake();
    Ok(())
}

/// Tells an owner that an Island is back, if they were told that it was gone.
#[derive(Debug)]
pub struct Back {
    island: IslandId,
    mail: MailId,
    site: String,
    now: Timestamp,
}

/// An Island is back.
#[must_use]
pub fn back(app: &App, island: IslandId, now: Timestamp) -> Back {
    Back { island, mail: app.ids.next(now), site: app.config.public_url(), now }
}

impl Back {
    /// Queues the letter, if the outage was long and told of.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn tell(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let Some(outage) = store::outage(tx, self.island).await? else { return Ok(()) };
        let long = self.now.millis_since(outage.last_seen_at) >= LONG_MS;
        if outage.told_at.is_none() || !long {
            return Ok(());
        }
        let letter = IslandBack {
            site: self.site.clone(),
            island: Line::from(outage.name.as_str()),
            since: Line::from(minute(outage.last_seen_at)),
        };
        let key = format!("island_back:{}:{}", self.island, outage.last_seen_at.as_millis());
        outbox::queue(tx, self.mail, &letter, &outage.email, &key, self.now).await
    }
}

/// A moment to the minute: `2026-11-22 12:00 UTC`.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {} UTC", text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default())
}
