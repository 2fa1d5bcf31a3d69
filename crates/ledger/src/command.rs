//! What the ledger is asked and what it answers.

use types::id::{AccountId, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::HoldState;
use crate::cap::{Limits, Period};

/// One thing to do. Ids are chosen (or derived from the row that causes the movement) by the caller, so that doing it again
/// finds what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reserves credits.
    Hold {
        /// Its id.
        id: TransferId,
        /// Whose credits.
        account: AccountId,
        /// How much, zero allowed.
        amount: MicroCredits,
        /// The cap to count it against.
        cap: Option<i64>,
        /// When it may be expired.
        expires_at: Timestamp,
    },
    /// Replaces an open hold by the real charge.
    Settle {
        /// The hold. The transfer gets the same id.
        hold: TransferId,
        /// What is charged: at most the hold, zero allowed.
        charge: MicroCredits,
        /// The network's share of the charge.
        fee: MicroCredits,
        /// Who gets the rest.
        to: AccountId,
    },
    /// Gives an open hold back.
    Release {
        /// The hold.
        hold: TransferId,
    },
    /// Gives an open hold back because its time has passed.
    Expire {
        /// The hold.
        hold: TransferId,
    },
    /// Moves credits at once.
    Transfer {
        /// Its id.
        id: TransferId,
        /// What for.
        kind: TransferKind,
        /// Who pays.
        from: AccountId,
        /// Who gets it.
        to: AccountId,
        /// How much: more than nothing.
        amount: MicroCredits,
        /// A sentence for the statement.
        note: Option<String>,
    },
    /// Takes credits back that a lost dispute or a refund voids. What the wallet does not have becomes debt, which the
    /// next credits that arrive pay off, and while there is any nothing is spent (I11). The part that became debt is
    /// recorded as a transfer of its own, with the id negated; so is each repayment.
    TakeBack {
        /// Its id.
        id: TransferId,
        /// The wallet.
        from: AccountId,
        /// Who gets it.
        to: AccountId,
        /// How much: more than nothing.
        amount: MicroCredits,
        /// A sentence for the statement.
        note: Option<String>,
    },
    /// Freezes an account (it can receive but not spend) or thaws it.
    Freeze {
        /// Which account.
        account: AccountId,
        /// Whether it may not spend.
        frozen: bool,
    },
    /// Replaces the limits of a cap. What was spent stays counted.
    Limit {
        /// Which cap.
        cap: i64,
        /// The new limits.
        limits: Limits,
    },
}

/// What a transfer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    /// A job was charged.
    Job,
    /// A package was bought.
    Purchase,
    /// The operator granted credits.
    Grant,
    /// Earnings were moved into the wallet.
    EarningsToWallet,
    /// A hold was given back: nothing moved.
    Released,
    /// A hold was given back because its time had passed: nothing moved.
    Expired,
    /// Credits were taken back: a purchase was disputed or refunded.
    TakenBack,
    /// What was taken back beyond what the wallet had.
    Owed,
    /// A debt was paid.
    Repaid,
    /// What had been taken back was given back: a refund failed.
    GivenBack,
    /// Earnings are paid out in money.
    Payout,
    /// What was to be paid out came back.
    PayoutReturned,
}

impl TransferKind {
    /// As stored.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Job => 1,
            Self::Purchase => 2,
            Self::Grant => 3,
            Self::EarningsToWallet => 4,
            Self::Released => 5,
            Self::Expired => 6,
            Self::TakenBack => 7,
            Self::Owed => 8,
            Self::Repaid => 9,
            Self::GivenBack => 10,
            Self::Payout => 11,
            Self::PayoutReturned => 12,
        }
    }

    /// From what is stored.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Job,
            2 => Self::Purchase,
            3 => Self::Grant,
            4 => Self::EarningsToWallet,
            5 => Self::Released,
            6 => Self::Expired,
            7 => Self::TakenBack,
            8 => Self::Owed,
            9 => Self::Repaid,
            10 => Self::GivenBack,
            11 => Self::Payout,
            12 => Self::PayoutReturned,
            _ => return None,
        })
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..).map_while(Self::from_number)
    }

    /// Whether it moves credits, so that statements have lines of it.
    #[must_use]
    pub const fn moves(self) -> bool {
        !matches!(self, Self::Released | Self::Expired)
    }

    /// As written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Purchase => "purchase",
            Self::Grant => "grant",
            Self::EarningsToWallet => "earnings_to_wallet",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::TakenBack => "taken_back",
            Self::Owed => "owed",
            Self::Repaid => "repaid",
            Self::GivenBack => "given_back",
            Self::Payout => "payout",
            Self::PayoutReturned => "payout_returned",
        }
    }
}

/// A command that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whether the very same command had been applied before; then nothing was changed now.
    pub replayed: bool,
}

/// The answer to one command.
pub type Outcome = Result<Applied, Refusal>;

/// Why a command was refused, in order of precedence: the first that holds is answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An amount is negative, or zero where something must move, or beyond what any amount may be.
    #[error("{field} is out of range")]
    AmountOutOfRange {
        /// Which.
        field: &'static str,
    },
    /// The id was used before, by another command.
    #[error("the id was used before with another {field}")]
    IdTaken {
        /// The first field that differs.
        field: &'static str,
    },
    /// There is no such hold.
    #[error("there is no such hold")]
    NoSuchHold,
    /// The hold has ended, in another way than is asked for.
    #[error("the hold has ended already ({state:?})")]
    HoldEnded {
        /// How.
        state: HoldState,
    },
    /// The hold's time has not passed yet.
    #[error("the hold has not expired yet")]
    NotExpired,
    /// There is no such account.
    #[error("there is no such account")]
    NoSuchAccount,
    /// The charge is more than was held (I5).
    #[error("the charge is more than was held")]
    ChargeExceedsHold,
    /// The fee is more than the charge.
    #[error("the fee is more than the charge")]
    FeeExceedsCharge,
    /// Payer and payee are the same.
    #[error("an account cannot pay itself")]
    SameAccount,
    /// There is no such cap.
    #[error("there is no such cap")]
    NoSuchCap,
    /// The account may not spend.
    #[error("the account is frozen")]
    Frozen,
    /// The account's owner owes credits (I11).
    #[error("{owed} credits are owed")]
    InDebt {
        /// How much.
        owed: MicroCredits,
    },
    /// Not enough credits.
    #[error("not enough credits: {required} required, {available} available")]
    InsufficientCredits {
        /// What it takes.
        required: MicroCredits,
        /// What there is.
        available: MicroCredits,
    },
    /// The cap would be exceeded.
    #[error("over the limit: {required} required, {available} left{}", period.suffix())]
    CapExceeded {
        /// Which of its limits.
        period: Period,
        /// What it takes.
        required: MicroCredits,
        /// What is left.
        available: MicroCredits,
    },
}
