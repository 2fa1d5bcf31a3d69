//! Islands: other people's machines, connected by WebSocket, and what they offer.
//!
//! Guarantees: an Island is who its token says; it is in the book only while it is connected, heard of, and not suspended;
//! what it sends about an attempt that is not its own changes nothing; a broken connection loses and doubles no
//! output; it cannot slow down another.

pub mod alerts;
pub mod attempts;
pub mod config;
pub mod connection;
pub mod health;
pub mod karma;
pub mod limits;
pub mod link;
pub mod offers;
pub mod owner;
pub mod pairing;
pub mod profile;
mod reader;
pub mod registry;
pub mod session;
pub mod standing;
pub mod stats;
pub(crate) mod store;
pub mod upkeep;
mod vectors;

use std::sync::Arc;

use db::DbError;
use types::id::{AccountId, IslandId, UserId};
use types::island_protocol::{Capabilities, Offer};
use types::time::{SECOND_MS, Timestamp};

use crate::accounts::User;
use crate::app::App;
use crate::idempotency::Once;
use crate::secrets;

/// Most Islands one user may have.
pub const MAX_ISLANDS: usize = 200;
/// Longest name, in bytes. Existing clients cut at 14 and break inside a longer character, so names are ASCII.
pub const MAX_NAME: usize = 64;
/// How long a token is good after it was replaced, if nothing else is said, in seconds.
pub const GRACE_SECS: u32 = 3600;
/// Longest time that a token may be good after it was replaced, in seconds.
pub const MAX_GRACE_SECS: u32 = 86_400;

/// An Island, as far as running jobs on it goes.
#[derive(Clone, Debug)]
pub struct Island {
    /// Which one.
    pub id: IslandId,
    /// Whose.
    pub owner: UserId,
    /// Where its earnings go.
    pub earnings: AccountId,
    /// What its owner calls it.
    pub name: Arc<str>,
    /// What is stored of the token it connected with.
    pub token_hash: Arc<str>,
}

/// An Island, for people.
#[derive(Clone, Debug)]
pub struct IslandRecord {
    /// Which one.
    pub id: IslandId,
    /// Whose.
    pub owner: UserId,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of its token.
    pub token_prefix: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last connected.
    pub last_seen_at: Option<Timestamp>,
    /// What it runs.
    pub agent_version: Option<String>,
    /// What it is.
    pub capabilities: Capabilities,
    /// What it last offered.
    pub offers: Vec<Offer>,
    /// Since when it has been online, if it is and its coordinator lives.
    pub online_since: Option<Timestamp>,
    /// Whether it is approved or suspended.
    pub standing: profile::Standing,
    /// How it did when that was last stored.
    pub attempts: health::Record,
}

/// Why an Island is not made.
#[derive(Debug, thiserror::Error)]
pub enum IslandError {
    /// No name, or a long or strange one.
    #[error("must have 1 to 64 letters, digits, spaces or .-_ and no others")]
    Name,
    /// Not there, or another's, or revoked.
    #[error("there is no such Island")]
    NotFound,
    /// Too many.
    #[error("you have 200 Islands; revoke one first")]
    TooMany,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Makes an Island and its token, which nobody will see again.
///
/// # Errors
/// An [`IslandError`].
pub async fn create(
    app: &App,
    user: &User,
    name: &str,
    demo: bool,
    once: &Once<(IslandId, String)>,
) -> Result<(IslandId, String), IslandError> {
    let name = check_name(name)?;
    let now = app.clock.now();
    let id: IslandId = app.ids.next(now);
    let token = secrets::new(&*app.random, "it_");
    let (hash, prefix) = (secrets::hash(&token), token.chars().take(8).collect::<String>());
    let owner = user.id;
    let made = once.tx(app, "create_island", async move |tx| {
        if store::islands_of(tx, owner).await?.len() >= MAX_ISLANDS {
            return Err(IslandError::TooMany);
        }
        store::insert(tx, (id, owner), &name, (&hash, &prefix), now, demo).await?;
        Ok((id, token.clone()))
    });
    made.await
}

/// Revokes an Island of this user and closes its connection.
///
/// # Errors
/// [`IslandError::NotFound`] if there is no such Island of this user.
pub async fn revoke(app: &App, user: &User, id: IslandId, once: &Once<()>) -> Result<(), IslandError> {
    let (owner, now) = (user.id, app.clock.now());
    let revoked = once.tx(app, "revoke_island", async move |tx| {
        if store::revoke(tx, id, owner, now).await? { Ok(()) } else { Err(IslandError::NotFound) }
    });
    revoked.await?;
    if let Some(session) = app.islands.session(id) {
        standing::dismiss(app, &session, "The token of this Island was revoked.");
    }
    Ok(())
}

/// Gives an Island of this user another token, which nobody will see again. The one before is good for `grace_secs` more; at 0
/// it ends at once, and so does the connection that was made with it.
///
/// # Errors
/// [`IslandError::NotFound`] if there is no such Island of this user.
pub async fn rotate(
    app: &App,
    user: &User,
    id: IslandId,
    grace_secs: u32,
    once: &Once<String>,
) -> Result<String, IslandError> {
    let (owner, now) = (user.id, app.clock.now());
    let token = secrets::new(&*app.random, "it_");
    let (hash, prefix) = (secrets::hash(&token), token.chars().take(8).collect::<String>());
    let until =
        (grace_secs > 0).then(|| now.plus_millis(i64::from(grace_secs.min(MAX_GRACE_SECS)) * SECOND_MS));
    let rotated = once.tx(app, "rotate_island_token", async move |tx| {
        if store::set_token(tx, (id, owner), (&hash, &prefix), until, now).await? {
            Ok(token.clone())
        } else {
            Err(IslandError::NotFound)
        }
    });
    let token = rotated.await?;
    if until.is_none()
        && let Some(session) = app.islands.session(id)
    {
        standing::dismiss(app, &session, "The token of this Island was replaced by another.");
    }
    Ok(token)
}

/// A user's Islands, each with its connection if it is connected.
///
/// # Errors
/// A [`DbError`].
pub async fn mine(
    app: &App,
    user: &User,
) -> Result<Vec<(IslandRecord, Option<Arc<session::Session>>)>, DbError> {
    let owner = user.id;
    let records = app.db.read("islands", async move |tx| store::islands_of(tx, owner).await).await?;
    Ok(records.into_iter().map(|record| (app.islands.get(record.id), record)).map(|(c, r)| (r, c)).collect())
}

/// All connected Islands, as they are stored.
///
/// # Errors
/// A [`DbError`].
pub async fn online(app: &App) -> Result<Vec<IslandRecord>, DbError> {
    let mut ids: Vec<IslandId> = app.islands.all().iter().map(|connection| connection.island.id).collect();
    ids.sort_unstable();
    app.db.read("online_islands", async move |tx| store::records(tx, &ids).await).await
}

/// An Island that was not revoked.
///
/// # Errors
/// A [`DbError`].
pub async fn find(app: &App, id: IslandId) -> Result<Option<IslandRecord>, DbError> {
    app.db.read("island", async move |tx| store::record(tx, id).await).await
}

/// The Island behind a token.
///
/// # Errors
/// A [`DbError`].
pub async fn by_token(app: &App, token: &str) -> Result<Option<Island>, DbError> {
    let (hash, now) = (secrets::hash(token), app.clock.now());
    app.db.read("island_by_token", async move |tx| store::by_token(tx, &hash, now).await).await
}

/// What an Island is called, also after it was revoked.
///
/// # Errors
/// A [`DbError`].
pub async fn name(app: &App, id: IslandId) -> Result<Option<String>, DbError> {
    if let Some(connection) = app.islands.get(id) {
        return Ok(Some(connection.island.name.to_string()));
    }
    app.db.read("island_name", async move |tx| store::name(tx, id).await).await
}

fn check_name(name: &str) -> Result<String, IslandError> {
    let name = name.trim();
    let fine = |b: u8| b.is_ascii_alphanumeric() || b" .-_".contains(&b);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(fine) {
        return Err(IslandError::Name);
    }
    Ok(name.to_owned())
}

fn shorten(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}
