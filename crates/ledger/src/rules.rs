//! The rules, pure: what is known goes in, decisions and changes come out. No clock, no database.

use std::collections::{HashMap, HashSet};

use types::id::{AccountId, TransferId};
use types::money::{MAX_AMOUNT, MicroCredits};
use types::time::Timestamp;

use crate::{Account, Applied, Cap, Command, Hold, HoldState, Outcome, Refusal, TransferKind, system};

/// Everything a batch touches, loaded before and written after.
#[derive(Debug, Default)]
pub struct Books {
    /// Accounts by id.
    pub accounts: HashMap<AccountId, Account>,
    /// Holds by id.
    pub holds: HashMap<TransferId, Hold>,
    /// Caps by id.
    pub caps: HashMap<i64, Cap>,
    /// Transfers by id.
    pub transfers: HashMap<TransferId, Transfer>,
    /// Holds made by this batch.
    pub new_holds: HashSet<TransferId>,
    /// Holds ended by this batch that were there before, in order.
    pub ended_holds: Vec<TransferId>,
    /// Transfers made by this batch, in order.
    pub new_transfers: Vec<TransferId>,
    /// Entries made by this batch, in order.
    pub new_entries: Vec<Entry>,
}

/// A movement: `amount` leaves `from`, `amount − fee` reaches `to`, `fee` reaches the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which one.
    pub id: TransferId,
    /// What for.
    pub kind: TransferKind,
    /// Who pays.
    pub from: AccountId,
    /// Who gets it.
    pub to: AccountId,
    /// What is paid.
    pub amount: MicroCredits,
    /// The network's share of it.
    pub fee: MicroCredits,
    /// A sentence for the statement.
    pub note: Option<String>,
}

/// One leg of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub account: AccountId,
    /// Its number within the account, from 1.
    pub seq: i64,
    /// The transfer it belongs to.
    pub transfer: TransferId,
    /// What was added (or, negative, taken away).
    pub amount: MicroCredits,
    /// Posted after it.
    pub balance: MicroCredits,
}

impl Books {
    /// Decides one command and applies it to these books if it is not refused.
    ///
    /// # Errors
    /// The [`Refusal`]; then the books are as before.
    pub fn apply(&mut self, command: &Command, now: Timestamp) -> Outcome {
        match *command {
            Command::Hold { id, account, amount, cap, expires_at } => self.hold(Hold {
                id,
                account,
                cap,
                amount,
                state: HoldState::Open,
                charged: MicroCredits::ZERO,
                expires_at,
            }),
            Command::Settle { hold, charge, fee, to } => self.settle(hold, charge, fee, to),
            Command::Release { hold } => self.give_back(hold, HoldState::Released),
            Command::Expire { hold } => {
                if self
                    .holds
                    .get(&hold)
                    .is_some_and(|hold| hold.state == HoldState::Open && hold.expires_at > now)
                {
                    return Err(Refusal::NotExpired);
                }
                self.give_back(hold, HoldState::Expired)
            }
            Command::Transfer { id, kind, from, to, amount, ref note } => {
                let fee = MicroCredits::ZERO;
                self.transfer(Transfer { id, kind, from, to, amount, fee, note: note.clone() })
            }
        }
    }

    fn hold(&mut self, hold: Hold) -> Outcome {
        in_range(hold.amount, "amount")?;
        if let Some(first) = self.holds.get(&hold.id) {
            return same_hold(first, &hold);
        }
        let account = *self.account(hold.account)?;
        let cap = hold.cap.map(|id| self.caps.get(&id).copied().ok_or(Refusal::NoSuchCap)).transpose()?;
        may_spend(&account, hold.amount)?;
        if let Some(cap) = cap {
            within_cap(&cap, hold.amount)?;
            self.caps.insert(cap.id, Cap { held: sum(cap.held, hold.amount)?, ..cap });
        }
        self.put(Account { held: sum(account.held, hold.amount)?, version: account.version + 1, ..account });
        self.holds.insert(hold.id, hold);
        self.new_holds.insert(hold.id);
        Ok(Applied { replayed: false })
    }

    fn settle(&mut self, id: TransferId, charge: MicroCredits, fee: MicroCredits, to: AccountId) -> Outcome {
        in_range(charge, "charge")?;
        in_range(fee, "fee")?;
        let hold = *self.holds.get(&id).ok_or(Refusal::NoSuchHold)?;
        let transfer =
            Transfer { id, kind: TransferKind::Job, from: hold.account, to, amount: charge, fee, note: None };
        match hold.state {
            HoldState::Open => {}
            HoldState::Settled if hold.charged == charge => {
                return match self.transfers.get(&id) {
                    Some(first) => same_transfer(first, &transfer),
                    None => Err(Refusal::HoldEnded { state: hold.state }),
                };
            }
            state => return Err(Refusal::HoldEnded { state }),
        }
        self.account(to)?;
        self.account(system::fees())?;
        if charge > hold.amount {
            return Err(Refusal::ChargeExceedsHold);
        }
        if fee > charge {
            return Err(Refusal::FeeExceedsCharge);
        }
        if hold.account == to {
            return Err(Refusal::SameAccount);
        }
        self.room_for(&transfer)?;
        self.end_hold(&hold, HoldState::Settled, charge)?;
        self.post(transfer)
    }

    fn give_back(&mut self, id: TransferId, state: HoldState) -> Outcome {
        let hold = *self.holds.get(&id).ok_or(Refusal::NoSuchHold)?;
        match hold.state {
            HoldState::Open => {}
            HoldState::Settled => return Err(Refusal::HoldEnded { state: hold.state }),
            // Released or expired: it has been given back, which is all that is asked.
            HoldState::Released | HoldState::Expired => return Ok(Applied { replayed: true }),
        }
        self.end_hold(&hold, state, MicroCredits::ZERO)?;
        Ok(Applied { replayed: false })
    }

    fn transfer(&mut self, transfer: Transfer) -> Outcome {
        if !transfer.amount.is_positive() {
            return Err(Refusal::AmountOutOfRange { field: "amount" });
        }
        in_range(transfer.amount, "amount")?;
        if let Some(first) = self.transfers.get(&transfer.id) {
            return same_transfer(first, &transfer);
        }
        let from = *self.account(transfer.from)?;
        self.account(transfer.to)?;
        if transfer.from == transfer.to {
            return Err(Refusal::SameAccount);
        }
        may_spend(&from, transfer.amount)?;
        self.room_for(&transfer)?;
        self.post(transfer)
    }

    /// Whether all balances a transfer touches stay in range, so that nothing is refused half-way.
    fn room_for(&self, transfer: &Transfer) -> Result<(), Refusal> {
        difference(self.account(transfer.from)?.posted, transfer.amount)?;
        sum(self.account(transfer.to)?.posted, transfer.amount)?;
        sum(self.account(system::fees())?.posted, transfer.amount)?;
        Ok(())
    }

    /// Takes the hold off its account and its cap.
    fn end_hold(&mut self, hold: &Hold, state: HoldState, charged: MicroCredits) -> Result<(), Refusal> {
        let account = *self.account(hold.account)?;
        let held = difference(account.held, hold.amount)?;
        if let Some(cap) = hold.cap.and_then(|id| self.caps.get(&id).copied()) {
            let (held, spent) = (difference(cap.held, hold.amount)?, sum(cap.spent, charged)?);
            self.caps.insert(cap.id, Cap { held, spent, ..cap });
        }
        self.put(Account { held, version: account.version + 1, ..account });
        self.holds.insert(hold.id, Hold { state, charged, ..*hold });
        if !self.new_holds.contains(&hold.id) {
            self.ended_holds.push(hold.id);
        }
        Ok(())
    }

    /// Writes a transfer's legs. The caller has checked everything that can be refused.
    fn post(&mut self, transfer: Transfer) -> Outcome {
        let rest = difference(transfer.amount, transfer.fee)?;
        let legs =
            [(transfer.from, transfer.amount.negated()), (transfer.to, rest), (system::fees(), transfer.fee)];
        for (account, amount) in legs {
            // A leg of nothing is no leg; the transfer itself records that nothing was charged.
            if amount != MicroCredits::ZERO {
                self.enter(account, transfer.id, amount)?;
            }
        }
        self.new_transfers.push(transfer.id);
        self.transfers.insert(transfer.id, transfer);
        Ok(Applied { replayed: false })
    }

    fn enter(&mut self, id: AccountId, transfer: TransferId, amount: MicroCredits) -> Result<(), Refusal> {
        let account = *self.account(id)?;
        let balance = sum(account.posted, amount)?;
        let seq = account.entries + 1;
        self.put(Account { posted: balance, entries: seq, version: account.version + 1, ..account });
        self.new_entries.push(Entry { account: id, seq, transfer, amount, balance });
        Ok(())
    }

    fn account(&self, id: AccountId) -> Result<&Account, Refusal> {
        self.accounts.get(&id).ok_or(Refusal::NoSuchAccount)
    }

    fn put(&mut self, account: Account) {
        self.accounts.insert(account.id, account);
    }
}

fn in_range(amount: MicroCredits, field: &'static str) -> Result<(), Refusal> {
    if amount < MicroCredits::ZERO || amount > MAX_AMOUNT {
        return Err(Refusal::AmountOutOfRange { field });
    }
    Ok(())
}

fn may_spend(account: &Account, amount: MicroCredits) -> Result<(), Refusal> {
    if account.frozen {
        return Err(Refusal::Frozen);
    }
    let available = account.available();
    if !account.kind.may_be_negative() && available < amount {
        return Err(Refusal::InsufficientCredits { required: amount, available });
    }
    Ok(())
}

fn within_cap(cap: &Cap, amount: MicroCredits) -> Result<(), Refusal> {
    let used = sum(cap.held, cap.spent)?;
    let available = difference(cap.limit, used)?;
    if available < amount {
        return Err(Refusal::CapExceeded { required: amount, available });
    }
    Ok(())
}

fn same_hold(first: &Hold, again: &Hold) -> Outcome {
    let differs = if first.account != again.account {
        "account"
    } else if first.amount != again.amount {
        "amount"
    } else if first.cap != again.cap {
        "cap"
    } else {
        return Ok(Applied { replayed: true });
    };
    Err(Refusal::IdTaken { field: differs })
}

fn same_transfer(first: &Transfer, again: &Transfer) -> Outcome {
    let differs = if first.kind != again.kind {
        "kind"
    } else if first.from != again.from {
        "from"
    } else if first.to != again.to {
        "to"
    } else if first.amount != again.amount {
        "amount"
    } else if first.fee != again.fee {
        "fee"
    } else {
        return Ok(Applied { replayed: true });
    };
    Err(Refusal::IdTaken { field: differs })
}

fn sum(one: MicroCredits, other: MicroCredits) -> Result<MicroCredits, Refusal> {
    one.plus(other).map_err(|_| Refusal::AmountOutOfRange { field: "balance" })
}

fn difference(one: MicroCredits, other: MicroCredits) -> Result<MicroCredits, Refusal> {
    one.minus(other).map_err(|_| Refusal::AmountOutOfRange { field: "balance" })
}
