//! What an identity provider must be able to do. Its page sees the documents; we never do.

use std::fmt;

use crate::mail::BoxFuture;
use crate::providers::ProviderError;

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
    /// What was collected has been erased: whoever was verified by it is not any more.
    Erased,
}

/// Who is to be verified.
#[derive(Clone, Debug)]
pub struct IdentityRequest {
    /// Our round; also the idempotency key.
    pub round: String,
    /// Our user.
    pub user: String,
    /// Their address.
    pub email: String,
    /// Where the provider sends the browser afterwards.
    pub return_url: String,
}

/// An identity provider.
pub trait IdentityProvider: Send + Sync + fmt::Debug {
    /// Its name, as stored.
    fn name(&self) -> &'static str;

    /// Begins a round.
    fn open<'a>(
        &'a self,
        request: &'a IdentityRequest,
    ) -> BoxFuture<'a, Result<IdentitySession, ProviderError>>;

    /// The page of a round that was begun, if it can be gone on with.
    fn resume<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<Option<String>, ProviderError>>;

    /// Erases what was collected in a round.
    fn erase<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Reads a round.
    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<Verdict, ProviderError>>;
}
