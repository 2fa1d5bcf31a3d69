//! The sandbox identity provider: a page of our own that believes what it is told, with a memory and webhooks.

use std::sync::Arc;

use db::{Db, DbError};
use types::rng::Random;
use types::time::Clock;

use super::provider::{IdentityProvider, IdentitySession, Verdict};
use crate::mail::BoxFuture;
use crate::providers::sandbox::{Event, queue, store};
use crate::providers::{ProviderError, SignatureError, verify};
use crate::purchases::provider::ProviderEvent;
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
    /// What its webhooks are signed with.
    pub secret: String,
    /// Where its page is.
    pub public_url: String,
}

impl IdentityProvider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn open<'a>(&'a self, return_url: &'a str) -> BoxFuture<'a, Result<IdentitySession, ProviderError>> {
        Box::pin(async move {
            let session = secrets::new(&*self.random, "vs_sandbox_");
            let (id, back, now) = (session.clone(), return_url.to_owned(), self.clock.now());
            self.db
                .tx("sandbox_identity", async move |tx| store::insert_identity(tx, &id, &back, now).await)
                .await
                .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
            let url = format!("{}/sandbox/identity/{session}", self.public_url);
            Ok(IdentitySession { session, url })
        })
    }

    fn url(&self, session: &str) -> Option<String> {
        session.starts_with("vs_sandbox_").then(|| format!("{}/sandbox/identity/{session}", self.public_url))
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
                "rejected" => Verdict::Rejected { reason: identity.reason.unwrap_or_default() },
                _ => Verdict::Undecided,
            })
        })
    }

    fn webhook(&self, signature: Option<&str>, body: &[u8]) -> Result<ProviderEvent, SignatureError> {
        verify(std::slice::from_ref(&self.secret), signature, body, self.clock.now())?;
        let event: Event = serde_json::from_slice(body).map_err(|_| SignatureError::Missing)?;
        Ok(ProviderEvent { id: event.id, kind: event.kind, session: event.session })
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
