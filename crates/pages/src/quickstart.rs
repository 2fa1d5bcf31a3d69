//! `/quickstart`: from signing in to the first answer, with what is already done.

use askama::Template;

use crate::layout::Layout;

/// The checklist.
#[derive(Clone, Debug, Template)]
#[template(path = "quickstart.html")]
pub struct Quickstart {
    /// The frame.
    pub layout: Layout,
    /// Identity is verified.
    pub verified: bool,
    /// The identity check is running.
    pub verification_pending: bool,
    /// Credits were bought (or granted).
    pub bought: bool,
    /// A first chat was answered.
    pub chatted: bool,
    /// An Island has connected.
    pub has_island: bool,
    /// An API key exists.
    pub has_key: bool,
    /// Address of this coordinator, without a trailing slash.
    pub base_url: String,
}

impl Quickstart {
    pub(crate) fn done(&self) -> usize {
        1 + [self.verified, self.bought, self.chatted].iter().filter(|done| **done).count()
    }
}
