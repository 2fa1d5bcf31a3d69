//! A transfer and its legs.

use types::id::{AccountId, TransferId};
use types::money::MicroCredits;

use crate::{HoldState, TransferKind};

/// A movement: `amount` leaves `from`, `amount − fee` reaches `to`, `fee` reaches the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which one.
    pub id: TransferId,
    /// What for.
    pub kind: TransferKind,
    /// Who pays.
    pub from: AccountId,
    /// Who gets it; nobody when a hold was given back.
    pub to: Option<AccountId>,
    /// What is paid.
    pub amount: MicroCredits,
    /// The network's share of it.
    pub fee: MicroCredits,
    /// What had been reserved for it.
    pub held: Option<MicroCredits>,
    /// The cap it counted against.
    pub cap: Option<i64>,
    /// A sentence for the statement.
    pub note: Option<String>,
    /// The payer's leg. A leg of nothing is no leg.
    pub from_leg: Option<Leg>,
    /// The payee's leg.
    pub to_leg: Option<Leg>,
    /// The network's leg.
    pub fee_leg: Option<Leg>,
}

/// One side of a transfer, as it stands in the statement of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Its number within the account, from 1.
    pub seq: i64,
    /// What there was after it.
    pub balance: MicroCredits,
    /// The transfer of the leg before.
    pub prev: Option<TransferId>,
}

impl Transfer {
    /// A movement that has no legs yet.
    #[must_use]
    pub const fn new(
        id: TransferId,
        kind: TransferKind,
        from: AccountId,
        to: Option<AccountId>,
        amount: MicroCredits,
    ) -> Self {
        let (held, cap, note) = (None, None, None);
        let (from_leg, to_leg, fee_leg) = (None, None, None);
        let fee = MicroCredits::ZERO;
        Self { id, kind, from, to, amount, fee, held, cap, note, from_leg, to_leg, fee_leg }
    }

    /// How the hold it ended, ended.
    pub(crate) fn hold_state(&self) -> Option<HoldState> {
        match self.kind {
            TransferKind::Job => Some(HoldState::Settled),
            TransferKind::Released => Some(HoldState::Released),
            TransferKind::Expired => Some(HoldState::Expired),
            _ => None,
        }
    }
}
