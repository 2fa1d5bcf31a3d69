//! What a payment provider must be able to do. Its page takes the card; we never see it.

use std::fmt;

use types::money::Cents;

use crate::mail::BoxFuture;
use crate::providers::{ProviderError, SignatureError};

/// What is to be paid.
#[derive(Clone, Debug)]
pub struct CheckoutRequest {
    /// Our purchase; also the idempotency key, so that asking twice makes one checkout.
    pub purchase: String,
    /// The line on the provider's page.
    pub description: String,
    /// How much.
    pub amount: Cents,
    /// In what, such as `usd`.
    pub currency: String,
    /// Where the provider sends the browser after paying.
    pub return_url: String,
    /// Where it sends the browser that gives up.
    pub cancel_url: String,
}

/// A checkout at the provider.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// The provider's name for it.
    pub session: String,
    /// The page that takes the money.
    pub url: String,
}

/// What the provider says of a checkout, read from it, never from a webhook or a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckoutState {
    /// How far it is.
    pub payment: Payment,
    /// How much is asked.
    pub amount: Cents,
    /// In what.
    pub currency: String,
    /// The provider's name for the payment, once there is one.
    pub payment_ref: Option<String>,
}

/// How far a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// Nobody has paid yet.
    Open,
    /// Promised, but not arrived.
    Pending,
    /// Arrived.
    Paid,
    /// Will not arrive.
    Failed,
    /// The checkout is closed unpaid.
    Expired,
}

/// A webhook whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEvent {
    /// The provider's id of the event: the same event has the same one, however often it is sent.
    pub id: String,
    /// What happened, in the provider's words.
    pub kind: String,
    /// The checkout (or other session) it is about.
    pub session: String,
}

/// A payment provider.
pub trait PaymentProvider: Send + Sync + fmt::Debug {
    /// Its name, as stored with each purchase.
    fn name(&self) -> &'static str;

    /// Opens a checkout.
    fn open<'a>(&'a self, request: &'a CheckoutRequest) -> BoxFuture<'a, Result<Checkout, ProviderError>>;

    /// Reads a checkout.
    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>>;

    /// Checks a webhook's signature on the raw body, then reads it.
    ///
    /// # Errors
    /// A [`SignatureError`]; a body that is not understood although it is signed is a [`SignatureError::Missing`].
    fn webhook(&self, signature: Option<&str>, body: &[u8]) -> Result<ProviderEvent, SignatureError>;
}
