//! The books: what is known of accounts, open holds and caps, and what a batch has done to them.

use rustc_hash::FxHashMap;
use types::id::{AccountId, TransferId};
use types::time::Timestamp;

use crate::transfer::Transfer;
use crate::{Account, Cap, Hold, Refusal};

/// What is known, and what a batch has changed.
#[derive(Debug, Default)]
pub struct Books {
    pub(crate) accounts: FxHashMap<AccountId, Known>,
    /// All holds that are open.
    pub(crate) holds: FxHashMap<TransferId, Open>,
    pub(crate) caps: FxHashMap<i64, Cap>,
    pub(crate) batch: Batch,
}

/// What a batch has done so far.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub number: i64,
    pub now: Timestamp,
    /// Accounts that changed, once each.
    pub accounts: Vec<AccountId>,
    /// Caps that changed, maybe more than once.
    pub caps: Vec<i64>,
    /// Holds opened; some may have ended since.
    pub opened: Vec<TransferId>,
    /// Holds ended that were open before.
    pub ended: Vec<Open>,
    /// Transfers made, in order.
    pub transfers: Vec<Transfer>,
    /// Where in `transfers` an id is.
    made: FxHashMap<TransferId, usize>,
    /// Transfers from before this batch that its commands name.
    pub earlier: FxHashMap<TransferId, Transfer>,
}

/// An account, and what is remembered of it beside its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub account: Account,
    /// The last batch that changed it.
    pub changed_by: i64,
    pub fold: Fold,
}

/// Whether an account's row in the tables is as new as the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// It is.
    Done,
    /// Its newest state is only in the journal.
    Due,
    /// Likewise, and it is to be folded before the older part of the journal goes.
    Next,
}

/// An open hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub hold: Hold,
    /// The batch that opened it.
    pub opened_by: i64,
    /// Whether it has a row in the tables, or is only in the journal.
    pub stored: bool,
}

impl Known {
    pub(crate) const fn folded(account: Account) -> Self {
        Self { account, changed_by: 0, fold: Fold::Done }
    }
}

impl Books {
    /// Begins a batch.
    pub fn begin(&mut self, number: i64, now: Timestamp) {
        self.batch = Batch { number, now, ..Batch::default() };
    }

    pub(crate) fn keep(&mut self, transfer: Transfer, payer: Account) {
        self.put(payer);
        self.batch.made.insert(transfer.id, self.batch.transfers.len());
        self.batch.transfers.push(transfer);
    }

    /// The transfer with this id, if the batch made it or it is from before.
    pub(crate) fn ended(&self, id: TransferId) -> Option<&Transfer> {
        match self.batch.made.get(&id) {
            Some(&index) => self.batch.transfers.get(index),
            None => self.batch.earlier.get(&id),
        }
    }

    pub(crate) fn account(&self, id: AccountId) -> Result<&Account, Refusal> {
        self.accounts.get(&id).map(|known| &known.account).ok_or(Refusal::NoSuchAccount)
    }

    pub(crate) fn put(&mut self, account: Account) {
        let Some(known) = self.accounts.get_mut(&account.id) else { return };
        known.account = account;
        if known.changed_by != self.batch.number {
            known.changed_by = self.batch.number;
            self.batch.accounts.push(account.id);
        }
    }

    pub(crate) fn put_cap(&mut self, cap: Option<Cap>) {
        if let Some(cap) = cap {
            self.caps.insert(cap.id, cap);
            self.batch.caps.push(cap.id);
        }
    }
}
