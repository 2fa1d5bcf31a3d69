//! `/settings`: profile, verification, API keys, sessions; and the page of one key.

use askama::Template;

use crate::layout::{Badge, Layout, When};

/// The settings.
#[derive(Clone, Debug, Template)]
#[template(path = "settings.html")]
pub struct Settings {
    /// The frame.
    pub layout: Layout,
    /// The name the user gave, or nothing.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// How the identity check stands: `verified`, `not verified`.
    pub verification: Badge,
    /// A sentence about it.
    pub verification_note: String,
    /// API keys that work.
    pub keys: Vec<KeyRow>,
    /// A key that was just made, shown this once.
    pub new_key: Option<NewKey>,
    /// The form of the next key.
    pub draft: KeyDraft,
    /// Letters about Islands are wanted.
    pub island_letters: bool,
    /// What is paid at most for each Cargo.
    pub bids: Vec<BidField>,
}

/// What is paid at most for one unit of a Cargo.
#[derive(Clone, Debug)]
pub struct BidField {
    /// Slug of the Cargo.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// What a unit of it is: `1,000 tokens`.
    pub unit: String,
    /// What holds when nothing is entered.
    pub ceiling: String,
    /// As in the field: the user's own, or what they typed.
    pub bid: String,
    /// What is wrong with that.
    pub error: Option<String>,
}

/// `/settings/keys/{id}`: name and limits of one key.
#[derive(Clone, Debug, Template)]
#[template(path = "key.html")]
pub struct Key {
    /// The frame.
    pub layout: Layout,
    /// For the form.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Its first letters: `ak_1a2b3`.
    pub prefix: String,
    /// `read, write`
    pub scopes: String,
    /// When it was made.
    pub created: When,
    /// What it has spent in all: `112.40`.
    pub spent: String,
    /// What is reserved for its running jobs, if anything.
    pub held: Option<String>,
    /// The name in the form.
    pub name: String,
    /// What is wrong with it.
    pub name_error: Option<String>,
    /// The limits in the form.
    pub limits: Vec<LimitField>,
    /// When it ends and where it may be used from, in the form.
    pub bounds: KeyBounds,
    /// It has ended.
    pub expired: bool,
    /// Until when a secret that was replaced still opens.
    pub old_until: Option<When>,
}

/// When a key ends and where it may be used from, as in a form.
#[derive(Clone, Debug, Default)]
pub struct KeyBounds {
    /// The last day: `2026-12-31`, or nothing.
    pub expires: String,
    /// What is wrong with that.
    pub expires_error: Option<String>,
    /// Addresses and ranges, separated by commas.
    pub allowed: String,
    /// What is wrong with that.
    pub allowed_error: Option<String>,
}

/// An API key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// For the forms that change it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its first letters: `ak_1a2b3`.
    pub prefix: String,
    /// `read, write`
    pub scopes: String,
    /// How far its limits are used, if it has any.
    pub uses: Vec<LimitUse>,
    /// What it has spent in all: `112.40`.
    pub spent: String,
    /// When it was made.
    pub created: When,
    /// When it was last used.
    pub last_used: Option<When>,
    /// When it ends, if it does.
    pub ends: Option<When>,
    /// It has ended.
    pub expired: bool,
    /// Addresses and ranges that it may be used from; 0 for anywhere.
    pub places: usize,
}

/// How far a limit is used.
#[derive(Clone, Debug)]
pub struct LimitUse {
    /// `12.40 of 50.00 this month`
    pub text: String,
    /// The same in whole percent, at most 100.
    pub percent: u8,
    /// Nothing is left of it.
    pub full: bool,
}

/// What was typed into the form of a new key.
#[derive(Clone, Debug)]
pub struct KeyDraft {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub name_error: Option<String>,
    /// It may read.
    pub read: bool,
    /// It may write.
    pub write: bool,
    /// It may manage.
    pub manage: bool,
    /// What is wrong with these.
    pub scopes_error: Option<String>,
    /// Its limits.
    pub limits: Vec<LimitField>,
    /// When it ends and where it may be used from.
    pub bounds: KeyBounds,
}

/// The field of a limit.
#[derive(Clone, Debug)]
pub struct LimitField {
    /// As in the form: `limit_day`.
    pub name: String,
    /// `Per day`
    pub label: String,
    /// What is in it.
    pub value: String,
    /// What is wrong with that.
    pub error: Option<String>,
    /// How far it is used: `12.40 used, begins anew 1 Dec 2026, 00:00 UTC`.
    pub used: Option<String>,
}

/// A key that was just made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// The key itself.
    pub key: String,
}

impl KeyDraft {
    /// Whether the limits are to be seen at once.
    pub(crate) fn shows_limits(&self) -> bool {
        self.limits.iter().any(|limit| limit.error.is_some() || !limit.value.is_empty())
    }
}

impl KeyBounds {
    /// Whether they are to be seen at once.
    pub(crate) fn is_shown(&self) -> bool {
        !self.expires.is_empty() || !self.allowed.is_empty()
    }
}

impl LimitUse {
    pub(crate) const fn class(&self) -> &'static str {
        if self.full { "meter full" } else { "meter" }
    }
}
