//! Whether an Island may be in the book: approved by the operator, suspended by its owner or by the operator, revoked. What is
//! written here takes effect at once; what another process writes, as soon as this one notices.
//!
//! A suspended Island, and one that waits for approval, stays connected and is told so; it is out of the book, and what it runs
//! is finished.

use std::sync::Arc;

use db::DbError;
use types::id::{IslandId, UserId};
use types::island_protocol::ToIsland;
use types::time::{HOUR_MS, MINUTE_MS};

use super::profile::{Known, Profile, Standing};
use super::session::Session;
use super::{offers, stats, store};
use crate::app::App;

/// Clocks of coordinators and commands differ by less than this.
const CLOCKS_MS: i64 = 10 * MINUTE_MS;

/// A change of how an Island stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its owner wants no work for it, or wants it again.
    ByOwner {
        /// Whose Island it must be.
        owner: UserId,
        /// Which of both.
        suspended: bool,
    },
    /// The operator wants no work for it, or wants it again.
    ByOperator {
        /// Which of both.
        suspended: bool,
    },
    /// The operator approves it, or takes that back.
    Approval {
        /// Which of both.
        approved: bool,
    },
}

/// Changes how an Island stands; nothing if there is no such Island (of this owner).
///
/// # Errors
/// A [`DbError`].
pub async fn change(app: &App, id: IslandId, change: Change) -> Result<Option<Standing>, DbError> {
    let now = app.clock.now();
    let standing = app
        .db
        .tx("island_standing", async move |tx| {
            if !store::change(tx, id, change, now).await? {
                return Ok(None);
            }
            Ok::<_, DbError>(store::standing(tx, id).await?.map(|found| found.standing))
        })
        .await?;
    if let Some(standing) = standing {
        apply(app, id, standing);
    }
    Ok(standing)
}

/// Takes an Island's standing into account.
fn apply(app: &App, id: IslandId, standing: Standing) {
    let Some(profile) = app.islands.profile(id) else { return };
    if !profile.set_standing(standing) {
        return;
    }
    if let Some(session) = app.islands.get(id) {
        offers::put_in_book(app, &session);
        session.send(ToIsland::OffersTaken { refused_offers: offers::hindered(app, &session) });
    }
}

/// How an Island stands, and the tokens it may connect with.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which one.
    pub id: IslandId,
    /// How it stands.
    pub standing: Standing,
    /// It was revoked.
    pub revoked: bool,
    /// What is stored of its tokens: of the present one, and of the one before while that is good.
    pub tokens: Vec<String>,
}

/// Reads what others wrote about Islands that are here.
///
/// # Errors
/// A [`DbError`].
pub async fn follow_once(app: &App) -> Result<(), DbError> {
    let since = app.clock.now().plus_millis(-CLOCKS_MS);
    for found in app.db.read("islands_changed", async move |tx| store::changed(tx, since).await).await? {
        let session = app.islands.session(found.id);
        take_note(app, session.as_ref(), &found);
        apply(app, found.id, found.standing);
    }
    Ok(())
}

/// What is known of an Island, read if it is not in mind.
///
/// # Errors
/// A [`DbError`].
pub async fn profile(app: &App, id: IslandId) -> Result<Arc<Profile>, DbError> {
    if let Some(profile) = app.islands.profile(id) {
        return Ok(profile);
    }
    let day = app.clock.now().day_start();
    let stored = app
        .db
        .read("island_profile", async move |tx| {
            let Some((created_at, record)) = store::profile(tx, id).await? else { return Ok(None) };
            let standing = store::standing(tx, id).await?.map(|found| found.standing).unwrap_or_default();
            let (paid, today) = stats::store::totals(tx, id, day.as_millis() / HOUR_MS).await?;
            let known = Known::stored(record, standing, paid, (day, today));
            Ok::<_, DbError>(Some(Profile::new(id, created_at, known)))
        })
        .await?;
    let gone = || Profile::new(id, app.clock.now(), Known::default());
    Ok(app.islands.keep_profile(stored.unwrap_or_else(gone)))
}

/// Reads how a connected Island stands, and dismisses one that may not be here. If that cannot be read, it is as it was.
pub async fn look_again(app: &App, session: &Arc<Session>) {
    let id = session.island.id;
    match app.db.read("island_standing", async move |tx| store::standing(tx, id).await).await {
        Ok(Some(found)) => {
            take_note(app, Some(session), &found);
            session.profile.set_standing(found.standing);
        }
        Ok(None) => dismiss(app, session, "The token of this Island was revoked."),
        Err(error) => tracing::warn!(%error, "how an Island stands could not be read"),
    }
}

fn take_note(app: &App, session: Option<&Arc<Session>>, found: &Found) {
    let Some(session) = session else { return };
    if found.revoked {
        dismiss(app, session, "The token of this Island was revoked.");
    } else if !found.tokens.iter().any(|token| **token == *session.island.token_hash) {
        dismiss(app, session, "The token of this Island was replaced by another.");
    }
}

/// Ends a session whose token is not good any more.
pub fn dismiss(app: &App, session: &Arc<Session>, text: &str) {
    app.islands.if_current(session, || {
        session.dismiss("revoked", text);
        offers::leave_the_book(app, session.island.id);
    });
    // One that is not connected comes back to nothing.
    session.end();
}
