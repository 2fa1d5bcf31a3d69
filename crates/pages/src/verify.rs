//! `/verify`: the identity check, which is needed before credits can be spent.

use askama::Template;

use crate::layout::Layout;

/// How the identity check stands, and what to do next.
#[derive(Clone, Debug, Template)]
#[template(path = "verify.html")]
pub struct Verify {
    /// The frame.
    pub layout: Layout,
    /// How it stands.
    pub state: VerifyState,
}

/// How the identity check stands.
#[derive(Clone, Debug)]
pub enum VerifyState {
    /// Not started.
    Unverified,
    /// Being looked at.
    Pending {
        /// Where an unfinished check can be continued, if it can.
        continue_url: Option<String>,
    },
    /// Done.
    Verified {
        /// `22 Nov 2026`
        date: String,
        /// Name of the country.
        country: String,
    },
    /// Refused; may be tried again.
    Rejected {
        /// A sentence.
        reason: String,
    },
}
