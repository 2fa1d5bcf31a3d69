//! Accounts and holds.

use types::id::{AccountId, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

/// What an account is for. Kinds below 10 belong to people and can never be overdrawn; the network's own may go
/// below zero, because credits come from somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// A user's spendable credits.
    Wallet,
    /// What a user's Islands earned.
    Earnings,
    /// Where sold credits come from.
    Sales,
    /// Where granted credits come from.
    Grants,
    /// The network's share of each job.
    Fees,
    /// Losses the network bears.
    Writeoff,
    /// Where paid-out earnings go.
    Payouts,
    /// What a wallet owes: below zero by that much.
    Debt,
}

/// The network's own accounts.
pub mod system {
    use types::id::{AccountId, Id};

    /// Ids below this are the network's.
    const NAMES: [&str; 5] = ["sales", "grants", "fees", "writeoff", "payouts"];

    /// Where sold credits come from.
    #[must_use]
    pub fn sales() -> AccountId {
        AccountId::from_i64(1)
    }

    /// Where granted credits come from.
    #[must_use]
    pub fn grants() -> AccountId {
        AccountId::from_i64(2)
    }

    /// The network's share of each job.
    #[must_use]
    pub fn fees() -> AccountId {
        AccountId::from_i64(3)
    }

    /// Losses the network bears.
    #[must_use]
    pub fn writeoff() -> AccountId {
        AccountId::from_i64(4)
    }

    /// Where paid-out earnings go.
    #[must_use]
    pub fn payouts() -> AccountId {
        AccountId::from_i64(5)
    }

    /// The account that keeps what the owner of a wallet owes. Its id is the wallet's, negated.
    #[must_use]
    pub fn debt_of(wallet: AccountId) -> AccountId {
        AccountId::from_i64(-wallet.get())
    }

    /// The name of a network account, if it is one.
    #[must_use]
    pub fn name(account: AccountId) -> Option<&'static str> {
        usize::try_from(account.get() - 1).ok().and_then(|index| NAMES.get(index)).copied()
    }
}

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Which one.
    pub id: AccountId,
    /// What it is for.
    pub kind: AccountKind,
    /// The sum of its entries.
    pub posted: MicroCredits,
    /// The sum of its open holds.
    pub held: MicroCredits,
    /// What its owner owes.
    pub debt: MicroCredits,
    /// How many legs it has.
    pub entries: i64,
    /// The transfer of its newest leg.
    pub head: Option<TransferId>,
    /// How often it changed.
    pub version: i64,
    /// Whether it may not spend.
    pub frozen: bool,
}

/// What there is, as shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Which account.
    pub account: AccountId,
    /// The sum of its entries.
    pub posted: MicroCredits,
    /// Reserved by open holds.
    pub held: MicroCredits,
    /// What its owner owes; while it is above zero nothing is spent.
    pub debt: MicroCredits,
    /// Grows with each change.
    pub version: i64,
    /// Whether it may not spend.
    pub frozen: bool,
}

/// Credits reserved for one attempt, still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which one; also the id of the transfer that ends it.
    pub id: TransferId,
    /// Whose credits.
    pub account: AccountId,
    /// The cap it counts against.
    pub cap: Option<i64>,
    /// How much is reserved.
    pub amount: MicroCredits,
    /// When it may be expired.
    pub expires_at: Timestamp,
}

/// How a hold ended. Each is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// Replaced by a charge.
    Settled,
    /// Given back.
    Released,
    /// Given back because its time had passed.
    Expired,
}

impl AccountKind {
    /// As stored.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Wallet => 1,
            Self::Earnings => 2,
            Self::Sales => 10,
            Self::Grants => 11,
            Self::Fees => 12,
            Self::Writeoff => 13,
            Self::Payouts => 14,
            Self::Debt => 20,
        }
    }

    /// From what is stored.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Wallet,
            2 => Self::Earnings,
            10 => Self::Sales,
            11 => Self::Grants,
            12 => Self::Fees,
            13 => Self::Writeoff,
            14 => Self::Payouts,
            20 => Self::Debt,
            _ => return None,
        })
    }

    /// Whether the account may go below zero.
    #[must_use]
    pub const fn may_be_negative(self) -> bool {
        self.number() >= 10
    }
}

impl Account {
    /// What may be spent: posted − held. Both are bounded far below `i64`, so this cannot overflow.
    #[must_use]
    pub const fn available(&self) -> MicroCredits {
        MicroCredits::new(self.posted.get().saturating_sub(self.held.get()))
    }

    /// As shown to people.
    #[must_use]
    pub const fn balance(&self) -> Balance {
        Balance {
            account: self.id,
            posted: self.posted,
            held: self.held,
            debt: self.debt,
            version: self.version,
            frozen: self.frozen,
        }
    }
}

impl Balance {
    /// What may be spent: posted − held.
    #[must_use]
    pub const fn available(&self) -> MicroCredits {
        MicroCredits::new(self.posted.get().saturating_sub(self.held.get()))
    }
}
