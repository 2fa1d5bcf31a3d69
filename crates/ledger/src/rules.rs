//! The rules, pure: what is known goes in, decisions and changes come out. No clock, no database.
//!
//! A command is checked to its end before anything is changed, so a refused one changes nothing.

use types::id::{AccountId, Id, TransferId};
use types::money::{MAX_AMOUNT, MicroCredits};

use crate::books::{Books, Open};
use crate::cap::Limits;
use crate::transfer::{Leg, Transfer};
use crate::{
    Account, AccountKind, Applied, Cap, Command, Hold, HoldState, Outcome, Refusal, TransferKind, system,
};

const ZERO: MicroCredits = MicroCredits::ZERO;

impl Books {
    /// Applies one command.
    ///
    /// # Errors
    /// The first [`Refusal`] that holds, in the order of the enum; then nothing was changed.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        match *command {
            Command::Hold { id, account, amount, cap, expires_at } => {
                self.hold(Hold { id, account, cap, amount, expires_at })
            }
            Command::Settle { hold, charge, fee, to } => self.settle(hold, charge, fee, to),
            Command::Release { hold } => self.give_back(hold, TransferKind::Released),
            Command::Expire { hold } => {
                if self.holds.get(&hold).is_some_and(|open| open.hold.expires_at > self.batch.now) {
                    return Err(Refusal::NotExpired);
                }
                self.give_back(hold, TransferKind::Expired)
            }
            Command::Transfer { id, kind, from, to, amount, ref note } => {
                let transfer = Transfer::new(id, kind, from, Some(to), amount);
                self.transfer(Transfer { note: note.clone(), ..transfer })
            }
            Command::TakeBack { id, from, to, amount, ref note } => {
                self.take_back(id, from, to, amount, note.as_ref())
            }
            Command::Freeze { account, frozen } => self.freeze(account, frozen),
            Command::Limit { cap, limits } => self.limit(cap, limits),
        }
    }

    fn hold(&mut self, hold: Hold) -> Outcome {
        in_range(hold.amount, "amount")?;
        if let Some(first) = self.holds.get(&hold.id) {
            let first = first.hold;
            return same_hold((first.account, first.amount, first.cap), &hold);
        }
        if let Some(first) = self.ended(hold.id) {
            return same_hold((first.from, first.held.unwrap_or(first.amount), first.cap), &hold);
        }
        let account = *self.account(hold.account)?;
        let cap = hold.cap.map(|id| self.caps.get(&id).copied().ok_or(Refusal::NoSuchCap)).transpose()?;
        may_spend(&account, hold.amount)?;
        let cap = cap.map(|cap| cap.at(self.batch.now).hold(hold.amount)).transpose()?;
        let held = sum(account.held, hold.amount)?;
        self.put_cap(cap);
        self.put(Account { held, version: account.version + 1, ..account });
        self.holds.insert(hold.id, Open { hold, opened_by: self.batch.number, stored: false });
        self.batch.opened.push(hold.id);
        Ok(Applied { replayed: false })
    }

    fn settle(&mut self, id: TransferId, charge: MicroCredits, fee: MicroCredits, to: AccountId) -> Outcome {
        in_range(charge, "charge")?;
        in_range(fee, "fee")?;
        let Some(hold) = self.holds.get(&id).map(|open| open.hold) else {
            return self.settle_again(id, charge, fee, to);
        };
        if fee > ZERO {
            self.account(system::fees())?;
        }
        self.account(to)?;
        if charge > hold.amount {
            return Err(Refusal::ChargeExceedsHold);
        }
        if fee > charge {
            return Err(Refusal::FeeExceedsCharge);
        }
        if hold.account == to || hold.account == system::fees() || to == system::fees() {
            return Err(Refusal::SameAccount);
        }
        let transfer = Transfer {
            fee,
            held: Some(hold.amount),
            cap: hold.cap,
            ..Transfer::new(id, TransferKind::Job, hold.account, Some(to), charge)
        };
        self.end_hold(&hold, transfer)
    }

    /// The hold is not open: it may have been settled by the very same command.
    fn settle_again(
        &self,
        id: TransferId,
        charge: MicroCredits,
        fee: MicroCredits,
        to: AccountId,
    ) -> Outcome {
        let first = self.ended(id).ok_or(Refusal::NoSuchHold)?;
        match first.hold_state() {
            None => Err(Refusal::NoSuchHold),
            Some(HoldState::Settled) if first.amount == charge => {
                let again =
                    Transfer { fee, ..Transfer::new(id, TransferKind::Job, first.from, Some(to), charge) };
                same_transfer(first, &again)
            }
            Some(state) => Err(Refusal::HoldEnded { state }),
        }
    }

    fn give_back(&mut self, id: TransferId, kind: TransferKind) -> Outcome {
        let Some(hold) = self.holds.get(&id).map(|open| open.hold) else {
            return match self.ended(id).ok_or(Refusal::NoSuchHold)?.hold_state() {
                None => Err(Refusal::NoSuchHold),
                Some(HoldState::Settled) => Err(Refusal::HoldEnded { state: HoldState::Settled }),
                // Released or expired: it has been given back, which is all that is asked.
                Some(HoldState::Released | HoldState::Expired) => Ok(Applied { replayed: true }),
            };
        };
        let nothing = Transfer::new(id, kind, hold.account, None, ZERO);
        self.end_hold(&hold, Transfer { held: Some(hold.amount), cap: hold.cap, ..nothing })
    }

    /// Ends an open hold by `transfer`, both at once.
    fn end_hold(&mut self, hold: &Hold, transfer: Transfer) -> Outcome {
        let account = *self.account(hold.account)?;
        let held = difference(account.held, hold.amount)?;
        let cap = hold.cap.and_then(|id| self.caps.get(&id).copied());
        let cap = cap.map(|cap| cap.at(self.batch.now).end(hold.amount, transfer.amount)).transpose()?;
        let (transfer, payer) =
            self.post(transfer, Account { held, version: account.version + 1, ..account })?;
        self.put_cap(cap);
        if let Some(open) = self.holds.remove(&hold.id)
            && open.opened_by != self.batch.number
        {
            self.batch.ended.push(open);
        }
        self.keep(transfer, payer);
        self.repay(hold.account, hold.id);
        Ok(Applied { replayed: false })
    }

    fn transfer(&mut self, transfer: Transfer) -> Outcome {
        let Some(to) = transfer.to else { return Err(Refusal::NoSuchAccount) };
        if !transfer.amount.is_positive() {
            return Err(Refusal::AmountOutOfRange { field: "amount" });
        }
        in_range(transfer.amount, "amount")?;
        if let Some(first) = self.ended(transfer.id) {
            return same_transfer(first, &transfer);
        }
        if self.holds.contains_key(&transfer.id) {
            return Err(Refusal::IdTaken { field: "kind" });
        }
        let from = *self.account(transfer.from)?;
        self.account(to)?;
        if transfer.from == to {
            return Err(Refusal::SameAccount);
        }
        may_spend(&from, transfer.amount)?;
        let id = transfer.id;
        let (transfer, payer) = self.post(transfer, from)?;
        self.keep(transfer, payer);
        self.repay(to, id);
        Ok(Applied { replayed: false })
    }

    fn take_back(
        &mut self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: MicroCredits,
        note: Option<&String>,
    ) -> Outcome {
        if !amount.is_positive() {
            return Err(Refusal::AmountOutOfRange { field: "amount" });
        }
        in_range(amount, "amount")?;
        // What was asked is kept as `held`: how much of it was there is what `amount` says.
        let asked = Transfer {
            held: Some(amount),
            ..Transfer::new(id, TransferKind::TakenBack, from, Some(to), ZERO)
        };
        if let Some(first) = self.ended(id) {
            return same_transfer(&Transfer { amount: ZERO, ..first.clone() }, &asked);
        }
        if self.holds.contains_key(&id) {
            return Err(Refusal::IdTaken { field: "kind" });
        }
        let wallet = *self.account(from)?;
        self.account(to)?;
        if from == to {
            return Err(Refusal::SameAccount);
        }
        if wallet.kind != AccountKind::Wallet {
            return Err(Refusal::NoSuchAccount);
        }
        let there = wallet.available().max(ZERO).min(amount);
        let owed = difference(amount, there)?;
        let debt = sum(wallet.debt, owed)?;
        // Both legs of the payee or neither: all that can be refused is refused before anything is changed.
        sum(self.account(to)?.posted, amount)?;
        let debtor = match owed {
            ZERO => None,
            owed => Some(*self.account(system::debt_of(from))?)
                .filter(|debtor| debtor.posted.minus(owed).is_ok())
                .map_or(Err(Refusal::AmountOutOfRange { field: "debt" }), |debtor| Ok(Some(debtor)))?,
        };
        let account = Account { debt, version: wallet.version + 1, ..wallet };
        let (taken, payer) = self.post(Transfer { amount: there, note: note.cloned(), ..asked }, account)?;
        self.keep(taken, payer);
        if let Some(debtor) = debtor {
            let rest = Transfer::new(negated(id), TransferKind::Owed, debtor.id, Some(to), owed);
            let (rest, debtor) = self.post(rest, debtor)?;
            self.keep(rest, debtor);
        }
        Ok(Applied { replayed: false })
    }

    /// What reaches a wallet pays its debt first. `cause` is the transfer that made credits available.
    fn repay(&mut self, wallet: AccountId, cause: TransferId) {
        let Ok(&account) = self.account(wallet) else { return };
        let amount = account.available().max(ZERO).min(account.debt);
        if !amount.is_positive() {
            return;
        }
        let Ok(debt) = difference(account.debt, amount) else { return };
        let repaid = Transfer::new(
            negated(cause),
            TransferKind::Repaid,
            wallet,
            Some(system::debt_of(wallet)),
            amount,
        );
        // It fits: what was owed is moved back to where it came from.
        if let Ok((repaid, payer)) = self.post(repaid, Account { debt, ..account }) {
            self.keep(repaid, payer);
        }
    }

    fn freeze(&mut self, id: AccountId, frozen: bool) -> Outcome {
        let account = *self.account(id)?;
        if account.frozen == frozen {
            return Ok(Applied { replayed: true });
        }
        self.put(Account { frozen, version: account.version + 1, ..account });
        Ok(Applied { replayed: false })
    }

    fn limit(&mut self, id: i64, limits: Limits) -> Outcome {
        for limit in [limits.total, limits.day, limits.week, limits.month].into_iter().flatten() {
            in_range(limit, "limit")?;
        }
        let cap = *self.caps.get(&id).ok_or(Refusal::NoSuchCap)?;
        if cap.limits == limits {
            return Ok(Applied { replayed: true });
        }
        self.put_cap(Some(Cap { limits, ..cap }));
        Ok(Applied { replayed: false })
    }

    /// Gives a transfer its legs and puts its payee and the network in the books. The payer is answered, as it is to be kept;
    /// `payer` is as it is before the leg. Nothing is changed when it is refused.
    fn post(&mut self, mut transfer: Transfer, payer: Account) -> Result<(Transfer, Account), Refusal> {
        let (payer, from_leg) = enter(payer, transfer.amount.negated(), transfer.id)?;
        transfer.from_leg = from_leg;
        let to_network = match transfer.fee {
            ZERO => None,
            fee => Some(enter(*self.account(system::fees())?, fee, transfer.id)?),
        };
        if let Some(to) = transfer.to {
            let rest = difference(transfer.amount, transfer.fee)?;
            let (payee, to_leg) = enter(*self.account(to)?, rest, transfer.id)?;
            transfer.to_leg = to_leg;
            if to_leg.is_some() {
                self.put(payee);
            }
        }
        if let Some((network, fee_leg)) = to_network {
            transfer.fee_leg = fee_leg;
            self.put(network);
        }
        Ok((transfer, payer))
    }
}

/// An account after a leg, and the leg.
fn enter(
    account: Account,
    amount: MicroCredits,
    transfer: TransferId,
) -> Result<(Account, Option<Leg>), Refusal> {
    if amount == ZERO {
        return Ok((account, None));
    }
    let (posted, seq) = (sum(account.posted, amount)?, account.entries + 1);
    let leg = Leg { seq, balance: posted, prev: account.head };
    let (head, version) = (Some(transfer), account.version + 1);
    Ok((Account { posted, entries: seq, head, version, ..account }, Some(leg)))
}

/// The id of the transfer that follows from another.
fn negated(id: TransferId) -> TransferId {
    TransferId::from_i64(-id.get())
}

fn in_range(amount: MicroCredits, field: &'static str) -> Result<(), Refusal> {
    if amount < ZERO || amount > MAX_AMOUNT {
        return Err(Refusal::AmountOutOfRange { field });
    }
    Ok(())
}

fn may_spend(account: &Account, amount: MicroCredits) -> Result<(), Refusal> {
    if account.frozen {
        return Err(Refusal::Frozen);
    }
    if account.debt.is_positive() {
        return Err(Refusal::InDebt { owed: account.debt });
    }
    let available = account.available();
    if !account.kind.may_be_negative() && available < amount {
        return Err(Refusal::InsufficientCredits { required: amount, available });
    }
    Ok(())
}

fn same_hold(first: (AccountId, MicroCredits, Option<i64>), again: &Hold) -> Outcome {
    let differs = if first.0 != again.account {
        "account"
    } else if first.1 != again.amount {
        "amount"
    } else if first.2 != again.cap {
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
    } else if first.amount != again.amount
        || again.kind == TransferKind::TakenBack && first.held != again.held
    {
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
