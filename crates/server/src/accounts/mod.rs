//! People and what they prove themselves with: magic links, sessions, API keys.
//!
//! Guarantees: an address has one user; a link works once, for fifteen minutes; a session lasts thirty days from its last use; no
//! secret is stored, only its hash; a revoked key is refused at once.

pub mod api_keys;
pub mod bids;
pub mod key_alerts;
mod key_cache;
mod key_limits;
pub mod key_secret;
pub mod magic_link;
pub mod networks;
pub mod sessions;
pub(crate) mod store;

use std::sync::Arc;

use db::{DbError, Tx};
use ledger::AccountKind;
use types::id::{AccountId, IdGenerator, UserId};
use types::time::Timestamp;

use self::bids::Bids;
use crate::app::App;
use crate::idempotency::Once;

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Which one.
    pub id: UserId,
    /// The address they sign in with, in lower case.
    pub email: String,
    /// What they want to be called; may be empty.
    pub name: String,
    /// Their spendable credits.
    pub wallet: AccountId,
    /// What their Islands earned.
    pub earnings: AccountId,
    /// Since when.
    pub created_at: Timestamp,
    /// What they pay at most, by Cargo.
    pub bids: Bids,
}

/// A user shared by the requests of a connection.
pub type SharedUser = Arc<User>;

/// The ids of a user to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewUser {
    id: UserId,
    wallet: AccountId,
    earnings: AccountId,
    now: Timestamp,
}

impl NewUser {
    /// Fresh ids.
    #[must_use]
    pub fn new(ids: &IdGenerator, now: Timestamp) -> Self {
        Self { id: ids.next(now), wallet: ids.next(now), earnings: ids.next(now), now }
    }
}

/// The user with this address, made if there is none.
///
/// # Errors
/// A [`DbError`].
pub async fn find_or_create(tx: &mut Tx<'_>, email: &str, new: NewUser) -> Result<User, DbError> {
    if let Some(user) = store::user_by_email(tx, email).await? {
        return Ok(user);
    }
    let user = User {
        id: new.id,
        email: email.to_owned(),
        name: String::new(),
        wallet: new.wallet,
        earnings: new.earnings,
        created_at: new.now,
        bids: Bids::default(),
    };
    ledger::open_account(tx, user.wallet, AccountKind::Wallet, new.now).await?;
    ledger::open_account(tx, user.earnings, AccountKind::Earnings, new.now).await?;
    store::insert_user(tx, &user).await?;
    Ok(user)
}

/// Longest name, in characters.
pub const MAX_NAME: usize = 80;

/// Changes what a user is called. Answers whether the name can be one.
///
/// # Errors
/// A [`DbError`].
pub async fn rename(app: &App, user: &User, name: &str, once: &Once<()>) -> Result<bool, DbError> {
    let name = name.trim().to_owned();
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Ok(false);
    }
    let id = user.id;
    once.tx(app, "rename", async move |tx| store::rename_user(tx, id, &name).await).await?;
    app.keys.forget();
    Ok(true)
}

/// An address as it is stored, if it can be one. Only the shape is checked; the mail decides.
#[must_use]
pub fn normalise_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.split_once('@')?;
    let strange = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '@' | ',' | ';' | '<' | '>' | '"' | '\\')
    };
    let fine = email.len() <= 254
        && !local.is_empty()
        && local.len() <= 64
        && !domain.is_empty()
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !domain.contains("..")
        && !local.contains(strange)
        && !domain.contains(strange);
    fine.then_some(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = [
            ("Ana@Example.org", "ana@example.org"),
            ("  a+b@c.d ", "a+b@c.d"),
            ("ana@localhost", "ana@localhost"),
        ];
        for (text, stored) in good {
            assert_eq!(normalise_email(text).as_deref(), Some(stored));
        }
        let long = format!("{}@x.org", "a".repeat(65));
        for text in ["", "ana", "@x", "a@", "a@b@c", "a b@c.d", "a@b\n.c", "a@.x", "a@x..y", "<a>@x.y", &long]
        {
            assert_eq!(normalise_email(text), None, "{text:?}");
        }
    }
}
