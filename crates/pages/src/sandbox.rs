//! The sandbox payment and identity pages. They look unlike the rest on purpose, so that nobody takes them
//! for a real card processor or a real identity check.

use askama::Template;

/// `/sandbox/checkout/{id}`: pay with nothing.
#[derive(Clone, Debug, Template)]
#[template(path = "sandbox_checkout.html")]
pub struct SandboxCheckout {
    /// Id of the checkout session.
    pub id: String,
    /// The token that every form of this session carries.
    pub csrf: String,
    /// What is being bought: `Explorer · 500 credits`.
    pub item: String,
    /// `$4.99`
    pub amount: String,
    /// How the session stands.
    pub state: CheckoutState,
    /// Where the buyer goes back to.
    pub return_url: String,
}

/// How a sandbox checkout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckoutState {
    /// Waiting for the buyer.
    Open,
    /// The card was declined; another try is possible.
    Declined,
    /// Paid.
    Paid,
    /// Submitted, settles later.
    Settling,
    /// Too old, or given up.
    Expired,
}

/// `/sandbox/identity/{id}`: be whoever you like.
#[derive(Clone, Debug, Template)]
#[template(path = "sandbox_identity.html")]
pub struct SandboxIdentity {
    /// Id of the verification session.
    pub id: String,
    /// The token that every form of this session carries.
    pub csrf: String,
    /// The session was decided already.
    pub closed: bool,
}

/// `/sandbox/payouts/{id}`: where owners of Islands are paid to.
#[derive(Clone, Debug, Template)]
#[template(path = "sandbox_payouts.html")]
pub struct SandboxPayouts {
    /// Id of the account.
    pub id: String,
    /// The token that every form of this session carries.
    pub csrf: String,
    /// The button was pressed already.
    pub ready: bool,
    /// Where the owner goes back to.
    pub return_url: String,
}

/// Countries of the sandbox form.
pub const COUNTRIES: [(&str, &str); 14] = [
    ("AU", "Australia"),
    ("BR", "Brazil"),
    ("CA", "Canada"),
    ("FR", "France"),
    ("DE", "Germany"),
    ("IN", "India"),
    ("IT", "Italy"),
    ("JP", "Japan"),
    ("NL", "Netherlands"),
    ("PT", "Portugal"),
    ("ES", "Spain"),
    ("SE", "Sweden"),
    ("GB", "United Kingdom"),
    ("US", "United States"),
];

/// Reasons for a rejection on the sandbox form.
pub const REASONS: [(&str, &str); 4] = [
    ("document_unreadable", "The document could not be read"),
    ("document_expired", "The document has expired"),
    ("face_mismatch", "The face does not match the document"),
    ("under_age", "The person is too young"),
];
