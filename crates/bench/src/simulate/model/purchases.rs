//! Purchases, told once more: one grant for each payment, whatever is said of it how often.

use ledger::{Command, TransferKind, system};
use server::purchases::State;
use server::purchases::provider::{CheckoutState, Payment};
use types::id::{AccountId, Id, TransferId};
use types::money::MicroCredits;

use super::Model;
use crate::simulate::faults::{Fate, Told};

/// A purchase.
#[derive(Clone, Debug)]
pub struct Purchase {
    pub user: i64,
    pub wallet: i64,
    pub attempt: String,
    pub slug: String,
    pub credits: i64,
    pub amount: i64,
    pub state: State,
    pub session: Option<String>,
    pub created_at: i64,
}

impl Model {
    /// The purchase of a click, if it was made before.
    pub fn purchase_of(&self, user: i64, attempt: &str) -> Option<(i64, &Purchase)> {
        let mut all = self.purchases.iter();
        all.find(|(_, one)| one.user == user && one.attempt == attempt).map(|(id, one)| (*id, one))
    }

    /// The purchase of a checkout.
    pub fn purchase_by_session(&self, session: &str) -> Option<i64> {
        let mut all = self.purchases.iter();
        all.find(|(_, one)| one.session.as_deref() == Some(session)).map(|(id, _)| *id)
    }

    /// Purchases a reconciler looks at, oldest first: those that are not over, and not older than two days unless the
    /// money is on its way.
    pub fn unfinished(&self, now: i64) -> Vec<i64> {
        let since = now - 2 * 86_400_000;
        let open = |one: &Purchase| match one.state {
            State::Pending => true,
            State::Created => one.created_at > since,
            _ => false,
        };
        self.purchases
            .iter()
            .filter(|(_, one)| one.session.is_some() && open(one))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Whether what the provider says is what was to be paid.
    pub fn is_mismatch(&self, id: i64, checkout: &CheckoutState) -> bool {
        let Some(purchase) = self.purchases.get(&id) else { return false };
        checkout.payment == Payment::Paid && checkout.amount.get() != purchase.amount
    }

    /// The one transaction of a purchase: event, grant and state.
    pub fn fulfil(
        &mut self,
        id: i64,
        checkout: &CheckoutState,
        event: Option<&str>,
        now: i64,
        fate: Fate,
    ) -> Told {
        let Some(purchase) = self.purchases.get(&id).cloned() else { return Told::Refused };
        let next = match (purchase.state, checkout.payment) {
            (State::Granted, _) => State::Granted,
            (_, Payment::Paid) => State::Granted,
            (State::Created | State::Pending, Payment::Pending) => State::Pending,
            (State::Created | State::Pending, Payment::Failed) => State::Failed,
            (State::Created, Payment::Expired) => State::Expired,
            (state, _) => state,
        };
        if next == State::Granted && purchase.state != State::Granted {
            let grant = Command::Transfer {
                id: TransferId::from_i64(id),
                kind: TransferKind::Purchase,
                from: system::sales(),
                to: AccountId::from_i64(purchase.wallet),
                amount: MicroCredits::new(purchase.credits * 1_000_000),
                note: None,
            };
            let told = self.submit_one(&grant, now, fate);
            if told == Told::Refused {
                return told;
            }
        }
        if fate.is_kept() {
            if let Some(purchase) = self.purchases.get_mut(&id) {
                purchase.state = next;
            }
            self.events.extend(event.map(str::to_owned));
        }
        fate.told()
    }
}
