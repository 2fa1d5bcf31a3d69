//! The ledger, told once more and naively: open holds are a list, a balance is what moved, a debt is a balance of its own.
//!
//! A transaction is tried on a [`Draft`]; [`Books::keep`] makes it true when the transaction is kept.

use std::collections::BTreeMap;
use std::rc::Rc;

use ledger::{Applied, Command, HoldState, Limits, Outcome, Refusal, TransferKind};
use types::id::Id;
use types::money::MicroCredits;

use super::caps::Cap;

const FEES: i64 = 3;
const AGAIN: Outcome = Ok(Applied { replayed: true });
const NEWLY: Outcome = Ok(Applied { replayed: false });

/// An account, without what it holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sheet {
    pub posted: i64,
    pub frozen: bool,
    /// People's accounts cannot be overdrawn.
    pub personal: bool,
}

/// An open hold.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub account: i64,
    pub amount: i64,
    pub cap: Option<i64>,
    pub expires_at: i64,
}

/// A movement, or a hold that ended without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub kind: TransferKind,
    pub from: i64,
    pub to: Option<i64>,
    pub amount: i64,
    pub fee: i64,
    /// The hold it ended; or how much was asked back.
    pub held: Option<i64>,
    pub cap: Option<i64>,
}

/// A line of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub kind: TransferKind,
    pub amount: i64,
    pub balance: i64,
}

/// What is the case.
#[derive(Clone, Debug, Default)]
struct Now {
    accounts: BTreeMap<i64, Sheet>,
    holds: BTreeMap<i64, Held>,
    caps: BTreeMap<i64, Rc<Cap>>,
}

/// What was, and is never changed.
#[derive(Clone, Debug, Default)]
struct Past {
    moved: BTreeMap<i64, Moved>,
    lines: Vec<(i64, Line)>,
}

/// The books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    now: Now,
    past: Past,
    /// Of each account.
    lines: BTreeMap<i64, Vec<Line>>,
}

/// A transaction that is tried.
#[derive(Debug)]
pub struct Draft<'b> {
    now: Now,
    past: &'b Past,
    new: Past,
    at: i64,
}

/// What a transaction changes.
#[derive(Debug)]
pub struct Changes {
    now: Now,
    new: Past,
}

impl Books {
    /// The network's own accounts.
    pub fn new() -> Self {
        let mut books = Self::default();
        for id in 1..=5 {
            books.now.accounts.insert(id, Sheet::default());
        }
        books
    }

    /// A person's account is opened.
    pub fn open_account(&mut self, id: i64) {
        self.now.accounts.insert(id, Sheet { personal: true, ..Sheet::default() });
    }

    /// A cap is opened.
    pub fn open_cap(&mut self, id: i64, limits: Limits) {
        self.now.caps.insert(id, Rc::new(Cap::new(limits)));
    }

    /// Begins a transaction at a time.
    pub fn draft(&self, at: i64) -> Draft<'_> {
        Draft { now: self.now.clone(), past: &self.past, new: Past::default(), at }
    }

    /// A transaction was kept.
    pub fn keep(&mut self, changes: Changes) {
        self.now = changes.now;
        self.past.moved.extend(changes.new.moved);
        for (account, line) in changes.new.lines {
            self.lines.entry(account).or_default().push(line);
        }
    }

    /// The accounts there are.
    pub fn accounts(&self) -> impl Iterator<Item = (i64, &Sheet)> {
        self.now.accounts.iter().map(|(id, sheet)| (*id, sheet))
    }

    /// The caps there are.
    pub fn caps(&self) -> impl Iterator<Item = (i64, &Cap)> {
        self.now.caps.iter().map(|(id, cap)| (*id, &**cap))
    }

    /// The open holds.
    pub const fn holds(&self) -> &BTreeMap<i64, Held> {
        &self.now.holds
    }

    /// The statement of an account, oldest first.
    pub fn lines(&self, account: i64) -> &[Line] {
        self.lines.get(&account).map_or(&[], Vec::as_slice)
    }

    /// What an account holds.
    pub fn held(&self, account: i64) -> i64 {
        self.now.held(account)
    }

    /// What a cap holds.
    pub fn held_by_cap(&self, cap: i64) -> i64 {
        self.now.held_by_cap(cap)
    }

    /// What the owner of a wallet owes.
    pub fn debt(&self, wallet: i64) -> i64 {
        self.now.debt(wallet)
    }

    /// What there is in an account.
    pub fn available(&self, account: i64) -> i64 {
        self.now.available(account)
    }

    /// Whether an account may not spend.
    pub fn is_frozen(&self, account: i64) -> bool {
        self.now.accounts.get(&account).is_some_and(|sheet| sheet.frozen)
    }

    /// How an ended hold, or a transfer, went.
    pub fn moved(&self, id: i64) -> Option<&Moved> {
        self.past.moved.get(&id)
    }
}

impl Now {
    fn held(&self, account: i64) -> i64 {
        self.holds.values().filter(|hold| hold.account == account).map(|hold| hold.amount).sum()
    }

    fn held_by_cap(&self, cap: i64) -> i64 {
        self.holds.values().filter(|hold| hold.cap == Some(cap)).map(|hold| hold.amount).sum()
    }

    fn posted(&self, account: i64) -> i64 {
        self.accounts.get(&account).map_or(0, |sheet| sheet.posted)
    }

    fn available(&self, account: i64) -> i64 {
        self.posted(account) - self.held(account)
    }

    /// The books of a debt are the account with the wallet's id negated, below zero by what is owed.
    fn debt(&self, wallet: i64) -> i64 {
        -self.posted(-wallet)
    }
}

impl Draft<'_> {
    /// What it would change.
    pub fn changes(self) -> Changes {
        Changes { now: self.now, new: self.new }
    }

    /// Applies a command.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        match *command {
            Command::Hold { id, account, amount, cap, expires_at } => {
                let (account, amount) = (account.get(), amount.get());
                self.hold(id.get(), Held { account, amount, cap, expires_at: expires_at.as_millis() })
            }
            Command::Settle { hold, charge, fee, to } => {
                self.settle(hold.get(), charge.get(), fee.get(), to.get())
            }
            Command::Release { hold } => self.give_back(hold.get(), TransferKind::Released),
            Command::Expire { hold } => match self.now.holds.get(&hold.get()) {
                Some(open) if open.expires_at > self.at => Err(Refusal::NotExpired),
                _ => self.give_back(hold.get(), TransferKind::Expired),
            },
            Command::Transfer { id, kind, from, to, amount, .. } => {
                self.transfer(id.get(), kind, (from.get(), to.get()), amount.get())
            }
            Command::TakeBack { id, from, to, amount, .. } => {
                self.take_back(id.get(), from.get(), to.get(), amount.get())
            }
            Command::Freeze { account, frozen } => {
                let Some(sheet) = self.now.accounts.get_mut(&account.get()) else {
                    return Err(Refusal::NoSuchAccount);
                };
                let same = sheet.frozen == frozen;
                sheet.frozen = frozen;
                Ok(Applied { replayed: same })
            }
            Command::Limit { cap, limits } => {
                let Some(cap) = self.now.caps.get_mut(&cap) else { return Err(Refusal::NoSuchCap) };
                let same = cap.limits == limits;
                Rc::make_mut(cap).limits = limits;
                Ok(Applied { replayed: same })
            }
        }
    }

    fn hold(&mut self, id: i64, hold: Held) -> Outcome {
        let first = match (self.now.holds.get(&id), self.ended(id)) {
            (Some(open), _) => Some((open.account, open.amount, open.cap)),
            (None, Some(ended)) => Some((ended.from, ended.held.unwrap_or(ended.amount), ended.cap)),
            (None, None) => None,
        };
        if let Some((account, amount, cap)) = first {
            let fields = [
                ("account", account == hold.account),
                ("amount", amount == hold.amount),
                ("cap", cap == hold.cap),
            ];
            return again(&fields);
        }
        self.may_spend(hold.account, hold.amount)?;
        if let Some(id) = hold.cap {
            let held = self.now.held_by_cap(id);
            let cap = self.now.caps.get_mut(&id).ok_or(Refusal::NoSuchCap)?;
            cap.admits(hold.amount, held, self.at)?;
            Rc::make_mut(cap).touch(self.at);
        }
        self.now.holds.insert(id, hold);
        NEWLY
    }

    fn settle(&mut self, id: i64, charge: i64, fee: i64, to: i64) -> Outcome {
        let Some(hold) = self.now.holds.get(&id).copied() else {
            let first = self.ended(id).ok_or(Refusal::NoSuchHold)?;
            return match ended_as(first) {
                None => Err(Refusal::NoSuchHold),
                Some(HoldState::Settled) if first.amount == charge => {
                    again(&[("to", first.to == Some(to)), ("fee", first.fee == fee)])
                }
                Some(state) => Err(Refusal::HoldEnded { state }),
            };
        };
        if charge > hold.amount {
            return Err(Refusal::ChargeExceedsHold);
        }
        if fee > charge {
            return Err(Refusal::FeeExceedsCharge);
        }
        self.end_hold(id, charge);
        let kind = TransferKind::Job;
        let held = Some(hold.amount);
        self.post(
            id,
            Moved { kind, from: hold.account, to: Some(to), amount: charge, fee, held, cap: hold.cap },
        );
        self.repay(hold.account);
        NEWLY
    }

    fn give_back(&mut self, id: i64, kind: TransferKind) -> Outcome {
        let Some(hold) = self.now.holds.get(&id).copied() else {
            return match self.ended(id).map(ended_as) {
                None | Some(None) => Err(Refusal::NoSuchHold),
                Some(Some(HoldState::Settled)) => Err(Refusal::HoldEnded { state: HoldState::Settled }),
                Some(Some(_)) => AGAIN,
            };
        };
        self.end_hold(id, 0);
        let held = Some(hold.amount);
        self.post(id, Moved { kind, from: hold.account, to: None, amount: 0, fee: 0, held, cap: hold.cap });
        self.repay(hold.account);
        NEWLY
    }

    fn end_hold(&mut self, id: i64, charge: i64) {
        let cap = self.now.holds.remove(&id).and_then(|hold| hold.cap);
        if let Some(cap) = cap.and_then(|cap| self.now.caps.get_mut(&cap)) {
            Rc::make_mut(cap).charge(charge, self.at);
        }
    }

    fn transfer(&mut self, id: i64, kind: TransferKind, (from, to): (i64, i64), amount: i64) -> Outcome {
        if amount <= 0 {
            return Err(Refusal::AmountOutOfRange { field: "amount" });
        }
        if let Some(first) = self.ended(id) {
            return again(&[
                ("kind", first.kind == kind),
                ("from", first.from == from),
                ("to", first.to == Some(to)),
                ("amount", first.amount == amount),
            ]);
        }
        self.may_spend(from, amount)?;
        self.post(id, Moved { kind, from, to: Some(to), amount, fee: 0, held: None, cap: None });
        self.repay(to);
        NEWLY
    }

    fn take_back(&mut self, id: i64, from: i64, to: i64, amount: i64) -> Outcome {
        if amount <= 0 {
            return Err(Refusal::AmountOutOfRange { field: "amount" });
        }
        let kind = TransferKind::TakenBack;
        if let Some(first) = self.ended(id) {
            return again(&[
                ("kind", first.kind == kind),
                ("from", first.from == from),
                ("to", first.to == Some(to)),
                ("amount", first.held == Some(amount)),
            ]);
        }
        let there = self.now.available(from).clamp(0, amount);
        let owed = amount - there;
        // The books of a debt are opened when something is taken back for the first time, owed or not.
        self.now.accounts.entry(-from).or_default();
        let taken = Moved { kind, from, to: Some(to), amount: there, fee: 0, held: Some(amount), cap: None };
        self.post(id, taken);
        if owed > 0 {
            let kind = TransferKind::Owed;
            self.post(-id, Moved { kind, from: -from, amount: owed, held: None, ..taken });
        }
        NEWLY
    }

    /// Whatever reaches a wallet, or is given back to it, pays its debt first.
    fn repay(&mut self, wallet: i64) {
        let amount = self.now.available(wallet).min(self.now.debt(wallet));
        if amount > 0 {
            self.line(wallet, TransferKind::Repaid, -amount);
            self.line(-wallet, TransferKind::Repaid, amount);
        }
    }

    fn post(&mut self, id: i64, moved: Moved) {
        self.line(moved.from, moved.kind, -moved.amount);
        if let Some(to) = moved.to {
            self.line(to, moved.kind, moved.amount - moved.fee);
        }
        self.line(FEES, moved.kind, moved.fee);
        self.new.moved.insert(id, moved);
    }

    fn line(&mut self, account: i64, kind: TransferKind, amount: i64) {
        if amount == 0 {
            return;
        }
        let sheet = self.now.accounts.entry(account).or_default();
        sheet.posted += amount;
        let balance = sheet.posted;
        self.new.lines.push((account, Line { kind, amount, balance }));
    }

    fn ended(&self, id: i64) -> Option<&Moved> {
        self.new.moved.get(&id).or_else(|| self.past.moved.get(&id))
    }

    fn may_spend(&self, account: i64, amount: i64) -> Result<(), Refusal> {
        let sheet = self.now.accounts.get(&account).ok_or(Refusal::NoSuchAccount)?;
        if sheet.frozen {
            return Err(Refusal::Frozen);
        }
        let owed = self.now.debt(account);
        if owed > 0 {
            return Err(Refusal::InDebt { owed: MicroCredits::new(owed) });
        }
        let available = self.now.available(account);
        if sheet.personal && available < amount {
            let (required, available) = (MicroCredits::new(amount), MicroCredits::new(available));
            return Err(Refusal::InsufficientCredits { required, available });
        }
        Ok(())
    }
}

/// The same id again: the first answer if everything else is the same, else a refusal that names the first difference.
fn again(fields: &[(&'static str, bool)]) -> Outcome {
    match fields.iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(Refusal::IdTaken { field }),
        None => AGAIN,
    }
}

const fn ended_as(moved: &Moved) -> Option<HoldState> {
    match moved.kind {
        TransferKind::Job => Some(HoldState::Settled),
        TransferKind::Released => Some(HoldState::Released),
        TransferKind::Expired => Some(HoldState::Expired),
        _ => None,
    }
}

/// Whether an account is where a wallet's debt is kept.
pub const fn is_debt(account: i64) -> bool {
    account < 0
}
