//! Live pages: one stream of events for each signed-in page.
//!
//! A balance carries a version that grows with each change, so that a late event cannot overwrite a newer one. A page that
//! cannot keep up loses old events, never the newest balance: it is told to read everything again. What another coordinator
//! did is read from the database (`background`) and told once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use db::DbError;
use ledger::Balance;
use serde::Serialize;
use tokio::sync::broadcast;
use types::id::{AccountId, PurchaseId, UserId};

use crate::accounts::User;
use crate::app::App;
use crate::{credits, identity, purchases};

/// Events a page may be behind before it is told to start again.
const BUFFER: usize = 64;

/// What happened, as pages hear of it.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Happening {
    /// The balance changed.
    Balance(credits::BalanceView),
    /// What one's Islands earned changed.
    Earnings {
        /// Grows with each change.
        version: i64,
        /// Ready for display.
        earnings: String,
    },
    /// A purchase went on.
    Purchase {
        /// Which one.
        id: PurchaseId,
        /// `pending`, `granted`, …
        state: &'static str,
    },
    /// The verification went on.
    Verification {
        /// `pending`, `verified`, …
        state: &'static str,
    },
    /// The market moved; the same for everybody.
    Market(std::sync::Arc<serde_json::Value>),
}

impl Happening {
    /// The event's name in the stream.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Balance(_) => "balance",
            Self::Earnings { .. } => "earnings",
            Self::Purchase { .. } => "purchase",
            Self::Verification { .. } => "verification",
            Self::Market(_) => "market",
        }
    }
}

/// Whose pages are open.
#[derive(Debug)]
pub struct Live {
    pages: Mutex<Pages>,
    low: types::money::MicroCredits,
}

#[derive(Debug, Default)]
struct Pages {
    by_user: HashMap<UserId, Audience>,
    by_account: HashMap<AccountId, (UserId, Account)>,
}

/// The pages of one user.
#[derive(Debug)]
struct Audience {
    sender: broadcast::Sender<Happening>,
    /// What they know; nothing until it was read.
    known: Option<Known>,
}

/// How a user's purchases and verification stand, as far as pages show themselves anew when that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The newest purchase that was granted.
    pub granted: Option<PurchaseId>,
    /// How the verification was decided, if it was.
    pub verified: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
enum Account {
    Wallet,
    Earnings,
}

impl Live {
    /// Nobody is looking yet. Balances below `low` are marked as low.
    #[must_use]
    pub fn new(low: types::money::MicroCredits) -> Self {
        Self { pages: Mutex::default(), low }
    }

    /// A page of this user begins to listen, unless `most` do already.
    #[must_use]
    pub fn listen(&self, user: &User, most: usize) -> Option<broadcast::Receiver<Happening>> {
        let mut pages = self.lock();
        pages.forget_closed();
        if pages.by_user.get(&user.id).is_some_and(|audience| audience.sender.receiver_count() >= most) {
            return None;
        }
        pages.by_account.insert(user.wallet, (user.id, Account::Wallet));
        pages.by_account.insert(user.earnings, (user.id, Account::Earnings));
        Some(pages.by_user.entry(user.id).or_insert_with(Audience::new).sender.subscribe())
    }

    /// Tells whoever is looking that these accounts changed.
    pub fn balances(&self, balances: &[Balance]) {
        let pages = self.lock();
        if pages.by_user.is_empty() {
            return;
        }
        for balance in balances {
            if let Some(&(user, account)) = pages.by_account.get(&balance.account)
                && let Some(audience) = pages.by_user.get(&user)
            {
                let happening = match account {
                    Account::Wallet => Happening::Balance(credits::BalanceView::new(balance, self.low)),
                    Account::Earnings => Happening::Earnings {
                        version: balance.version,
                        earnings: balance.available().display_grouped(),
                    },
                };
                audience.send(happening);
            }
        }
    }

    /// Tells one user's pages something.
    pub fn tell(&self, user: UserId, happening: &Happening) {
        if let Some(audience) = self.lock().by_user.get_mut(&user) {
            audience.note(happening);
            audience.send(happening.clone());
        }
    }

    /// Notes how things stand for a user's pages, and tells them what they did not know. What is noted first is what they
    /// were read with.
    pub fn learn(&self, user: UserId, now: Known) {
        let mut pages = self.lock();
        let Some(audience) = pages.by_user.get_mut(&user) else { return };
        let Some(before) = audience.known else {
            audience.known = Some(now);
            return;
        };
        // What was read before it was told here is no step back.
        let granted = now.granted.max(before.granted);
        let verified = now.verified.or(before.verified);
        audience.known = Some(Known { granted, verified });
        if let Some(id) = granted.filter(|_| granted != before.granted) {
            let state = purchases::State::Granted.name();
            audience.send(Happening::Purchase { id, state });
        }
        if let Some(verified) = verified.filter(|_| verified != before.verified) {
            audience.send(Happening::Verification { state: if verified { "verified" } else { "rejected" } });
        }
    }

    /// Tells all pages something.
    pub fn tell_all(&self, happening: &Happening) {
        for audience in self.lock().by_user.values() {
            audience.send(happening.clone());
        }
    }

    /// Whose pages are open.
    #[must_use]
    pub fn users(&self) -> Vec<UserId> {
        let mut pages = self.lock();
        pages.forget_closed();
        pages.by_user.keys().copied().collect()
    }

    /// Accounts somebody is looking at: to be read again when another process has written.
    #[must_use]
    pub fn watched(&self) -> Vec<AccountId> {
        let mut pages = self.lock();
        pages.forget_closed();
        pages.by_account.keys().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the pages of these users know how their purchases and verifications stand.
///
/// # Errors
/// A [`DbError`].
pub async fn learn(app: &App, users: Vec<UserId>) -> Result<(), DbError> {
    let asked = users.clone();
    let read = async move |tx: &mut db::Tx<'_>| {
        let granted = purchases::store::newest_granted(tx, &asked).await?;
        Ok::<_, DbError>((granted, identity::store::decisions(tx, &asked).await?))
    };
    let (granted, decided) = app.db.read("watched_users", read).await?;
    for ((user, granted), verified) in users.into_iter().zip(granted).zip(decided) {
        app.live.learn(user, Known { granted, verified });
    }
    Ok(())
}

impl Pages {
    fn forget_closed(&mut self) {
        self.by_user.retain(|_, audience| audience.sender.receiver_count() > 0);
        let Self { by_user, by_account } = self;
        by_account.retain(|_, (user, _)| by_user.contains_key(user));
    }
}

impl Audience {
    fn new() -> Self {
        Self { sender: broadcast::channel(BUFFER).0, known: None }
    }

    fn send(&self, happening: Happening) {
        // Nobody listens any more: the entry goes with the next page that opens.
        let _ = self.sender.send(happening);
    }

    /// Notes what they are told.
    fn note(&mut self, happening: &Happening) {
        let Some(known) = &mut self.known else { return };
        match happening {
            Happening::Purchase { id, state } if *state == purchases::State::Granted.name() => {
                known.granted = Some(*id);
            }
            Happening::Verification { state } => known.verified = Some(*state == "verified"),
            _ => {}
        }
    }
}
