//! Identity verification: required before credits are spent (I11), not before they are bought.
//!
//! A user is unverified, pending, verified or rejected. The state is what the provider says when it is read; webhook and
//! return page both call [`refresh`]. Verified is not undone by a late or repeated message.

pub mod provider;
pub mod sandbox;
pub(crate) mod store;
pub mod stripe;

use std::sync::Arc;

use db::DbError;
use types::id::{UserId, VerificationId};
use types::time::Timestamp;

use crate::accounts::User;
use crate::app::App;
use crate::hooks::events::{Event, Kind, VerificationData};
use crate::live::Happening;
use crate::providers::ProviderError;
use provider::{IdentityRequest, Verdict};

/// Where a user stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Has not begun.
    Unverified,
    /// Has begun; the provider has not decided.
    Pending {
        /// The provider's session.
        session: String,
    },
    /// May spend.
    Verified {
        /// Two letters.
        country: String,
        /// Since when.
        at: Timestamp,
    },
    /// May try again.
    Rejected {
        /// Why.
        reason: String,
    },
}

impl Verification {
    /// As written in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Pending { .. } => "pending",
            Self::Verified { .. } => "verified",
            Self::Rejected { .. } => "rejected",
        }
    }

    /// Whether the user may spend.
    #[must_use]
    pub const fn may_spend(&self) -> bool {
        matches!(self, Self::Verified { .. })
    }
}

/// Why a verification does not go on.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The user is verified already.
    #[error("you are verified already")]
    AlreadyVerified,
    /// The provider.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Where a user stands.
///
/// # Errors
/// A [`DbError`].
pub async fn state(app: &App, user: UserId) -> Result<Verification, DbError> {
    app.db.read("verification", async move |tx| store::state(tx, user).await).await
}

/// Begins a verification (or goes on with the one begun); answers the page at the provider.
///
/// # Errors
/// An [`IdentityError`].
pub async fn start(app: &App, user: &User) -> Result<String, IdentityError> {
    match state(app, user.id).await? {
        Verification::Verified { .. } => return Err(IdentityError::AlreadyVerified),
        Verification::Pending { session } => {
            if let Some(url) = app.identity.resume(&session).await? {
                return Ok(url);
            }
            // It may have been decided meanwhile; then nothing new is begun.
            read(app, &session).await?;
            if state(app, user.id).await?.may_spend() {
                return Err(IdentityError::AlreadyVerified);
            }
        }
        // The same round can be tried again, if the provider lets one.
        Verification::Rejected { .. } => {
            let id = user.id;
            let known = app.db.read("verification", async move |tx| store::session_of(tx, id).await).await?;
            if let Some((provider, session)) = known
                && provider == app.identity.name()
                && let Some(url) = app.identity.resume(&session).await?
            {
                return Ok(url);
            }
        }
        Verification::Unverified => {}
    }
    let id: VerificationId = app.ids.next(app.clock.now());
    let request = IdentityRequest {
        round: id.to_string(),
        user: user.id.to_string(),
        email: user.email.clone(),
        return_url: format!("{}/verify/return", app.config.public_url()),
    };
    let session = app.identity.open(&request).await?;
    let (user, now) = (user.id, app.clock.now());
    let (provider, reference) = (app.identity.name(), session.session.clone());
    app.db
        .tx("start_verification", async move |tx| store::begin(tx, user, id, provider, &reference, now).await)
        .await?;
    Ok(session.url)
}

/// Reads a user's verification from the provider and writes what it says.
///
/// # Errors
/// An [`IdentityError`].
pub async fn refresh(app: &App, user: UserId) -> Result<Verification, IdentityError> {
    if let Verification::Pending { session } = state(app, user).await? {
        read(app, &session).await?;
    }
    Ok(state(app, user).await?)
}

/// Reads one session from the provider and writes what it says. Called for webhooks too.
///
/// # Errors
/// An [`IdentityError`]; the provider is then told to send it again.
pub async fn read(app: &App, session: &str) -> Result<(), IdentityError> {
    let verdict = match app.identity.read(session).await {
        Ok(verdict) => verdict,
        // A round of another account or program; none of our users waits for it.
        Err(ProviderError::NotFound(_)) => Verdict::Undecided,
        Err(error) => return Err(error.into()),
    };
    let (reference, now) = (session.to_owned(), app.clock.now());
    let hooks = Arc::clone(&app.hooks);
    let changed = app
        .db
        .tx("decide_verification", async move |tx| {
            let decided = match &verdict {
                Verdict::Undecided => return Ok(None),
                Verdict::Verified { name, country } => {
                    store::verified(tx, &reference, name, country, now).await?
                }
                Verdict::Rejected { reason } => store::rejected(tx, &reference, reason, now).await?,
                Verdict::Erased => store::erased(tx, &reference, now).await?,
            };
            if !decided {
                return Ok::<_, DbError>(None);
            }
            let user = store::user_of(tx, &reference).await?;
            if let Some(user) = user {
                let status = match &verdict {
                    Verdict::Verified { .. } => "verified",
                    Verdict::Rejected { .. } => "rejected",
                    Verdict::Undecided | Verdict::Erased => "unverified",
                };
                let data = VerificationData { status };
                hooks.tell(tx, user, Event::new(Kind::VerificationUpdated, &data), now).await?;
            }
            Ok(user)
        })
        .await?;
    if let Some(user) = changed {
        let others = namesakes(app, user).await?;
        if !others.is_empty() {
            metrics::counter!("archipelago_identity_shared_total").increment(1);
            tracing::warn!(%user, ?others, "user {user} was verified by a name that others were verified by");
        }
        let state = state(app, user).await?.name();
        app.live.tell(user, &Happening::Verification { state });
    }
    Ok(())
}

/// Erases what is known of who a user is, here and at the provider, because they ask for it. They are not verified afterwards.
///
/// # Errors
/// An [`IdentityError`].
pub async fn erase(app: &App, user: UserId) -> Result<(), IdentityError> {
    let session = app.db.read("verification", async move |tx| store::session_of(tx, user).await).await?;
    let Some((provider, session)) = session else { return Ok(()) };
    if provider == app.identity.name() {
        app.identity.erase(&session).await?;
    }
    let now = app.clock.now();
    app.db.tx("erase_verification", async move |tx| store::erased(tx, &session, now).await).await?;
    app.live.tell(user, &Happening::Verification { state: Verification::Unverified.name() });
    Ok(())
}

/// Other users who were verified by the same name from the same country: perhaps one person with several accounts, which the
/// operator may want to look at.
///
/// # Errors
/// A [`DbError`].
pub async fn namesakes(app: &App, user: UserId) -> Result<Vec<UserId>, DbError> {
    app.db.read("namesakes", async move |tx| store::namesakes(tx, user).await).await
}

/// Verifies a user by the operator's word.
///
/// # Errors
/// A [`DbError`].
pub async fn verify_by_operator(
    tx: &mut db::Tx<'_>,
    user: UserId,
    id: VerificationId,
    now: Timestamp,
) -> Result<(), DbError> {
    let session = format!("operator:{id}");
    store::begin(tx, user, id, "operator", &session, now).await?;
    store::verified(tx, &session, "verified by the operator", "", now).await.map(drop)
}
