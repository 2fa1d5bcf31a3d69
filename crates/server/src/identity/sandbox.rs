//! The sandbox identity provider: a page of our own that believes what it is told, with a memory and webhooks.

use std::sync::Arc;

use db::{Db, DbError};
use types::rng::Random;
use types::time::Clock;

use super::provider::{IdentityProvider, IdentityRequest, IdentitySession, Verdict};
use crate::mail::BoxFuture;
use crate::providers::ProviderError;
use crate::providers::sandbox::{Event, queue, store};
use crate::secrets;

/// A round of verification, as the sandbox remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxIdentity {
    /// Its id.
    pub id: String,
    /// Where to afterwards.
    pub return_url: String,
    /// `open`, `processing`, `verified`, `rejected`.
    pub status: String,
    /// Who it is.
    pub name: Option<String>,
    /// From where.
    pub country: Option<String>,
    /// Why not.
    pub reason: Option<String>,
}

/// The sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// Where it remembers.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For ids.
    pub random: Arc<dyn Random>,
    /// Where its page is.
    pub public_url: String,
}

impl IdentityProvider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn open<'a>(
        &'a self,
        request: &'a IdentityRequest,
    ) -> BoxFuture<'a, Result<IdentitySession, ProviderError>> {
        Box::pin(async move {
            let session = secrets::new(&*self.random, "vs_sandbox_");
            let (id, back, now) = (session.clone(), request.return_url.clone(), self.clock.now());
            self.db
                .tx("sandbox_identity", async move |tx| store::insert_identity(tx, &id, &back, now).await)
                .await
                .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
            let url = format!("{}/sandbox/identity/{session}", self.public_url);
            Ok(IdentitySession { session, url })
        })
    }

    fn resume<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        let url = format!("{}/sandbox/identity/{session}", self.public_url);
        Box::pin(async move {
            let found = self.identity(session).await;
            let found = found.map_err(|error| ProviderError::Unavailable(error.to_string()))?;
            let open = found.is_some_and(|round| round.status == "open" || round.status == "processing");
            Ok(open.then_some(url))
        })
    }

    fn erase<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let id = session.to_owned();
            let erased = self.db.tx("sandbox_erase", async move |tx| store::erase_identity(tx, &id).await);
            erased.await.map_err(|error| ProviderError::Unavailable(error.to_string()))
        })
    }

    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<Verdict, ProviderError>> {
        Box::pin(async move {
            let found = self
                .identity(session)
                .await
                .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
            let identity = found.ok_or_else(|| ProviderError::NotFound(session.to_owned()))?;
            Ok(match identity.status.as_str() {
                "verified" => Verdict::Verified {
                    name: identity.name.unwrap_or_default(),
                    country: identity.country.unwrap_or_default(),
                },
                "erased" => Verdict::Erased,
                "rejected" => Verdict::Rejected { reason: identity.reason.unwrap_or_default() },
                _ => Verdict::Undecided,
            })
        })
    }
}

impl Sandbox {
    /// A round, for its page.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn identity(&self, id: &str) -> Result<Option<SandboxIdentity>, DbError> {
        let id = id.to_owned();
        self.db.read("sandbox_identity", async move |tx| store::identity(tx, &id).await).await
    }

    /// Writes what was chosen on the page, if the round is still open; answers whether it was.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn decide(&self, decided: SandboxIdentity) -> Result<bool, DbError> {
        let now = self.clock.now();
        let id = secrets::new(&*self.random, "evt_sandbox_");
        let event = Event { id, kind: "identity.updated".to_owned(), session: decided.id.clone() };
        self.db
            .tx("sandbox_decide", async move |tx| {
                let changed = store::decide_identity(tx, &decided).await?;
                if changed {
                    queue(tx, &event, now).await?;
                }
                Ok::<_, DbError>(changed)
            })
            .await
    }
}
