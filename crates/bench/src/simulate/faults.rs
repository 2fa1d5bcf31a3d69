//! What goes wrong in the database, on purpose and by plan, so that the model knows what was kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

use db::{DbError, FaultPoint, Faults};

/// Where a single transaction can fail.
pub const POINTS: [FaultPoint; 3] =
    [FaultPoint::BeforeBegin, FaultPoint::BeforeCommit, FaultPoint::AfterCommit];

/// One fault: at this point of the transaction with this number, counted from the next one, which is 0.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub point: FaultPoint,
    pub number: u32,
}

/// The saboteur in a database handle.
#[derive(Debug, Default)]
pub struct Saboteur(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    begun: u32,
}

impl Saboteur {
    /// Follows a plan from now on, or none.
    pub fn follow(&self, plan: Option<Plan>) {
        *self.lock() = State { plan, begun: 0 };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Faults for Saboteur {
    fn fails(&self, point: FaultPoint) -> bool {
        let mut state = self.lock();
        if point == FaultPoint::BeforeBegin {
            state.begun += 1;
        }
        let now = state.begun;
        let due = |plan: &mut Plan| plan.point == point && plan.number + 1 == now;
        state.plan.take_if(due).is_some()
    }
}

/// What becomes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not begin.
    NotBegun,
    /// It runs, and its commit fails.
    NotKept,
    /// It is kept, and its answer is lost.
    KeptUntold,
    /// It is kept.
    Kept,
}

/// The same plan, for the model: what becomes of one transaction after another.
#[derive(Clone, Copy, Debug)]
pub struct Fates {
    plan: Option<Plan>,
    /// Whether the database finds out by itself what became of a commit whose answer was lost.
    finds_out: bool,
}

impl Fates {
    /// The fates by a plan.
    pub const fn new(plan: Option<Plan>, finds_out: bool) -> Self {
        Self { plan, finds_out }
    }

    /// What becomes of the next transaction.
    pub fn next(&mut self) -> Fate {
        let Some(plan) = &mut self.plan else { return Fate::Kept };
        if plan.number > 0 {
            plan.number -= 1;
            return Fate::Kept;
        }
        let point = plan.point;
        self.plan = None;
        match point {
            FaultPoint::BeforeBegin => Fate::NotBegun,
            FaultPoint::BeforeCommit => Fate::NotKept,
            FaultPoint::AfterCommit if self.finds_out => Fate::Kept,
            FaultPoint::AfterCommit => Fate::KeptUntold,
        }
    }
}

impl Fate {
    /// Whether the transaction's work is there afterwards.
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Kept | Self::KeptUntold)
    }

    /// What a caller whose closure answered `Ok` is told.
    pub const fn told(self) -> Told {
        match self {
            Self::NotBegun | Self::NotKept => Told::Unwritable,
            Self::KeptUntold => Told::Unknown,
            Self::Kept => Told::Ok,
        }
    }

    /// What a caller whose closure answered an error is told: that error, if it ran.
    pub const fn told_refusal(self) -> Told {
        if matches!(self, Self::NotBegun) { Told::Unwritable } else { Told::Refused }
    }
}

/// An answer of the database, as far as the model foretells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was kept.
    Ok,
    /// It was not kept, for want of a disk.
    Unwritable,
    /// Nobody knows.
    Unknown,
    /// The closure refused.
    Refused,
}

impl Told {
    /// What an answer says.
    pub fn of<T>(answer: &Result<T, DbError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(error) => Self::of_error(error),
        }
    }

    /// What an error says.
    pub const fn of_error(error: &DbError) -> Self {
        match error {
            DbError::Unwritable(_) => Self::Unwritable,
            DbError::Unknown(_) => Self::Unknown,
            _ => Self::Refused,
        }
    }
}
