//! `/settings`: profile, verification, API keys, sessions.

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
}

/// An API key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// For the form that revokes it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its first letters: `ak_1a2b3`.
    pub prefix: String,
    /// `read, write`
    pub scopes: String,
    /// What it may spend in all, if that is limited: `100.00`.
    pub limit: Option<String>,
    /// When it was made.
    pub created: When,
    /// When it was last used.
    pub last_used: Option<When>,
}

/// A key that was just made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// The key itself.
    pub key: String,
}
