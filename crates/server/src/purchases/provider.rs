//! What a payment provider must be able to do. Its page takes the card; we never see it.

use std::fmt;

use types::id::PurchaseId;
use types::money::Cents;
use types::time::Timestamp;

use crate::mail::BoxFuture;
use crate::providers::ProviderError;

/// Who pays, as the provider knows them.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// Our user.
    pub user: String,
    /// Where receipts go.
    pub email: String,
    /// The provider's name for them, if they have bought before.
    pub customer: Option<String>,
}

/// What is to be paid.
#[derive(Clone, Debug)]
pub struct CheckoutRequest {
    /// Our purchase; also the idempotency key, so that asking twice makes one checkout.
    pub purchase: String,
    /// Who pays.
    pub buyer: Buyer,
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
    /// When the checkout closes by itself.
    pub expires_at: Timestamp,
}

/// A checkout at the provider.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// The provider's name for it.
    pub session: String,
    /// The page that takes the money.
    pub url: String,
    /// The provider's name for who pays.
    pub customer: Option<String>,
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
    /// Its name for the charge, by which some of its messages speak of the payment.
    pub charge_ref: Option<String>,
    /// Our purchase, as the provider has noted it.
    pub purchase: Option<String>,
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

/// What became of a payment after it arrived, read from the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentState {
    /// Our purchase, as the provider has noted it.
    pub purchase: Option<String>,
    /// The provider's name for the payment.
    pub payment_ref: Option<String>,
    /// Its name for the charge.
    pub charge_ref: Option<String>,
    /// What was paid.
    pub amount: Cents,
    /// Everything that may have to be taken back.
    pub facts: Vec<Fact>,
}

/// A refund, a dispute, or a warning. The same one has the same `id` for ever, and only ever moves on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The provider's name for it.
    pub id: String,
    /// What it is.
    pub kind: FactKind,
    /// How much of the payment it is about.
    pub amount: Cents,
    /// How far it is.
    pub stage: Stage,
}

/// What can happen to a payment that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactKind {
    /// Money goes back to the one who paid.
    Refund,
    /// The one who paid asks their bank for the money.
    Dispute,
    /// A bank suspects that somebody else has paid.
    Warning,
}

/// How far a refund or a dispute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not decided: a dispute is open, a refund is on its way.
    Open,
    /// The money went back for good: a refund succeeded, a dispute was lost.
    Reversed,
    /// It came to nothing: a refund failed, a dispute was won.
    Void,
}

/// What to give back of a payment.
#[derive(Clone, Debug)]
pub struct RefundRequest {
    /// The same for the same refund, however often it is asked for.
    pub key: String,
    /// The payment.
    pub payment: String,
    /// Our purchase.
    pub purchase: PurchaseId,
    /// How much.
    pub amount: Cents,
}

/// A charge nobody is there for: of a method the customer has saved.
#[derive(Clone, Debug)]
pub struct SavedCharge {
    /// Our purchase.
    pub purchase: String,
    /// The same for the same try, however often it is asked for.
    pub key: String,
    /// It was asked for before, and the answer did not come.
    pub again: bool,
    /// The payment of an earlier try that was declined: it is tried again, so that a purchase has one payment.
    pub payment: Option<String>,
    /// Who pays.
    pub buyer: Buyer,
    /// Their name at the provider.
    pub customer: String,
    /// The saved method.
    pub method: String,
    /// The line on the card's statement.
    pub description: String,
    /// How much.
    pub amount: Cents,
    /// In what.
    pub currency: String,
}

/// A charge that was made, or is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The provider's name for the payment.
    pub payment: String,
    /// Its name for the charge.
    pub charge: Option<String>,
}

/// What happened at the provider of late, for those who compare.
#[derive(Debug, Default)]
pub struct Recent {
    /// Checkouts.
    pub checkouts: Vec<RecentCheckout>,
    /// Payments that arrived, were refunded, or are disputed.
    pub payments: Vec<RecentPayment>,
}

/// A checkout, at a glance.
#[derive(Clone, Debug)]
pub struct RecentCheckout {
    /// The provider's name for it.
    pub session: String,
    /// Our purchase, as noted there.
    pub purchase: Option<String>,
    /// Whether it was paid, or closed: while it is open there is nothing to compare.
    pub ended: bool,
}

/// A payment, at a glance.
#[derive(Clone, Debug)]
pub struct RecentPayment {
    /// The provider's name for it.
    pub payment: String,
    /// How much of it was refunded and whether it is disputed; nothing when that is to be looked up.
    pub glance: Option<(Cents, bool)>,
}

/// A payment provider.
pub trait PaymentProvider: Send + Sync + fmt::Debug {
    /// Its name, as stored with each purchase.
    fn name(&self) -> &'static str;

    /// Opens a checkout.
    fn open<'a>(&'a self, request: &'a CheckoutRequest) -> BoxFuture<'a, Result<Checkout, ProviderError>>;

    /// Reads a checkout.
    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>>;

    /// Reads how far a payment is that was made without a checkout.
    fn read_charge<'a>(&'a self, payment: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>>;

    /// The method a customer is charged with when nobody is there, if they have saved one.
    fn saved_method<'a>(&'a self, customer: &'a str) -> BoxFuture<'a, Result<Option<String>, ProviderError>>;

    /// Charges a saved method. A card that wants its owner is declined with `authentication_required`.
    fn charge_saved<'a>(&'a self, request: &'a SavedCharge) -> BoxFuture<'a, Result<Charged, ProviderError>>;

    /// Reads what became of a payment, named by itself or by its charge.
    fn payment<'a>(&'a self, payment: &'a str) -> BoxFuture<'a, Result<PaymentState, ProviderError>>;

    /// Gives money back.
    fn refund<'a>(&'a self, request: &'a RefundRequest) -> BoxFuture<'a, Result<Fact, ProviderError>>;

    /// The page where a customer manages how they pay, if there is one.
    fn portal<'a>(
        &'a self,
        customer: &'a str,
        return_url: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ProviderError>>;

    /// What happened since.
    fn recent(&self, since: Timestamp) -> BoxFuture<'_, Result<Recent, ProviderError>>;
}
