//! Stripe's objects, as far as we read them. Fields that may be missing are optional, so that a new version of the API that adds
//! or leaves out something else changes nothing.

use serde::Deserialize;
use std::collections::HashMap;

use super::Seconds;

/// What has an id to go on from in a list.
pub trait HasId {
    /// The id.
    fn id(&self) -> &str;
}

macro_rules! has_id {
    ($($name:ident),*) => { $(impl HasId for $name { fn id(&self) -> &str { &self.id } })* };
}
has_id!(Session, Intent, Charge, Refund, Dispute, FraudWarning, Verification, Transfer);

/// A part of a list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// The objects, newest first.
    pub data: Vec<T>,
    /// Whether there are more.
    #[serde(default)]
    pub has_more: bool,
}

/// An object, or only its id when it was not asked to be put in its place.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Or<T> {
    /// Its id.
    Id(String),
    /// Itself.
    Object(Box<T>),
}

impl<T: HasId> Or<T> {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::Object(object) => object.id(),
        }
    }

    /// Itself, if it is here.
    pub fn object(&self) -> Option<&T> {
        match self {
            Self::Id(_) => None,
            Self::Object(object) => Some(object),
        }
    }
}

/// Something we only want the id of.
#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    /// The id.
    pub id: String,
}

impl HasId for Named {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Notes of ours on an object.
pub type Metadata = HashMap<String, String>;

/// A checkout session.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Session {
    pub id: String,
    pub url: Option<String>,
    pub status: Option<String>,
    pub payment_status: String,
    pub amount_total: Option<i64>,
    pub currency: Option<String>,
    pub payment_intent: Option<Or<Intent>>,
    pub client_reference_id: Option<String>,
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub created: Seconds,
}

/// A payment intent.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Intent {
    pub id: String,
    pub status: String,
    #[serde(default)]
    pub amount: i64,
    pub currency: Option<String>,
    pub latest_charge: Option<Or<Charge>>,
    pub payment_method: Option<Or<Named>>,
    pub last_payment_error: Option<Error>,
    #[serde(default)]
    pub metadata: Metadata,
}

/// A customer.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Customer {
    pub invoice_settings: Option<InvoiceSettings>,
}

/// What a customer pays with.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct InvoiceSettings {
    pub default_payment_method: Option<Or<Named>>,
}

/// A charge.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Charge {
    pub id: String,
    pub amount: i64,
    #[serde(default)]
    pub amount_refunded: i64,
    pub currency: Option<String>,
    #[serde(default)]
    pub paid: bool,
    #[serde(default)]
    pub disputed: bool,
    pub payment_intent: Option<Or<Intent>>,
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub created: Seconds,
}

/// A refund.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Refund {
    pub id: String,
    pub amount: i64,
    pub status: Option<String>,
    pub charge: Option<Or<Charge>>,
    pub payment_intent: Option<Or<Intent>>,
    #[serde(default)]
    pub created: Seconds,
}

/// A dispute.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Dispute {
    pub id: String,
    pub amount: i64,
    pub status: String,
    pub charge: Option<Or<Charge>>,
    pub payment_intent: Option<Or<Intent>>,
    #[serde(default)]
    pub created: Seconds,
}

/// An early fraud warning.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct FraudWarning {
    pub id: String,
    pub charge: Or<Charge>,
    pub payment_intent: Option<Or<Intent>>,
}

/// A verification session.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Verification {
    pub id: String,
    pub status: String,
    pub url: Option<String>,
    pub last_error: Option<VerificationProblem>,
    pub verified_outputs: Option<VerifiedOutputs>,
    pub redaction: Option<Redaction>,
    #[serde(default)]
    pub created: Seconds,
}

/// Why a verification did not succeed.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct VerificationProblem {
    pub code: Option<String>,
    pub reason: Option<String>,
}

/// Who was verified.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct VerifiedOutputs {
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub address: Option<Address>,
    pub dob: Option<BirthDate>,
}

/// Where somebody lives.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Address {
    pub country: Option<String>,
}

/// When somebody was born.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct BirthDate {
    pub day: Option<i64>,
    pub month: Option<i64>,
    pub year: Option<i64>,
}

/// Whether what was collected has been erased.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Redaction {
    pub status: String,
}

/// A connected account.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Account {
    pub id: String,
    #[serde(default)]
    pub payouts_enabled: bool,
    #[serde(default)]
    pub details_submitted: bool,
    #[serde(default)]
    pub capabilities: HashMap<String, String>,
    pub requirements: Option<Requirements>,
}

/// What a connected account still has to give.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Requirements {
    #[serde(default)]
    pub currently_due: Vec<String>,
    pub disabled_reason: Option<String>,
}

/// A transfer to a connected account.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Transfer {
    pub id: String,
    pub amount: i64,
    #[serde(default)]
    pub amount_reversed: i64,
    pub destination: Option<Or<Named>>,
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub created: Seconds,
}

/// A payout from a connected account to its bank.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct BankPayout {
    pub id: String,
    pub status: String,
    pub failure_message: Option<String>,
    #[serde(default)]
    pub created: Seconds,
}

/// What an account has.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct StripeBalance {
    #[serde(default)]
    pub available: Vec<BalancePart>,
}

/// The same in one currency.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct BalancePart {
    pub amount: i64,
    pub currency: String,
}

/// A page to send somebody to.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Link {
    pub url: String,
}

/// The body of an answer that is an error.
#[derive(Debug, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: Error,
}

/// An error.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "Stripe's own names")]
pub struct Error {
    #[serde(rename = "type", default)]
    pub kind: String,
    pub code: Option<String>,
    pub message: Option<String>,
    pub decline_code: Option<String>,
    pub payment_intent: Option<Named>,
}
