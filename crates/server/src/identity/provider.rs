//! What an identity provider must be able to do. Its page sees the documents; we never do.

use std::fmt;

use crate::mail::BoxFuture;
use crate::providers::{ProviderError, SignatureError};
use crate::purchases::provider::ProviderEvent;

/// A round of verification at the provider.
#[derive(Clone, Debug)]
pub struct IdentitySession {
    /// The provider's name for it.
    pub session: String,
    /// The page that verifies.
    pub url: String,
}

/// What the provider says, read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet.
    Undecided,
    /// It is a person.
    Verified {
        /// Who.
        name: String,
        /// Two letters.
        country: String,
    },
    /// Not like this.
    Rejected {
        /// Why, for the user.
        reason: String,
    },
}

/// An identity provider.
pub trait IdentityProvider: Send + Sync + fmt::Debug {
    /// Its name, as stored.
    fn name(&self) -> &'static str;

    /// Begins a round.
    fn open<'a>(&'a self, return_url: &'a str) -> BoxFuture<'a, Result<IdentitySession, ProviderError>>;

    /// The page of a round that was begun, if it can be gone on with.
    fn url(&self, session: &str) -> Option<String>;

    /// Reads a round.
    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<Verdict, ProviderError>>;

    /// Checks a webhook's signature on the raw body, then reads it.
    ///
    /// # Errors
    /// A [`SignatureError`].
    fn webhook(&self, signature: Option<&str>, body: &[u8]) -> Result<ProviderEvent, SignatureError>;
}
