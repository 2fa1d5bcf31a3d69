//! What goes into a book and what comes out.

use types::id::{IslandId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;

/// A change to the book. Prices are micro-credits per unit of the Cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Puts an Island's ask in the book or replaces it, keeping the Island's reservations and its turn.
    ///
    /// A lower number of slots than are reserved voids nothing: the Island gets no job until enough are
    /// released. A refused ask leaves the one before it in place.
    SetAsk(Ask),
    /// The Island leaves: disconnected, draining, or no longer serving this Cargo. Its outstanding reservations
    /// become void. An unknown Island is no error.
    RemoveAsk {
        /// Which Island.
        island: IslandId,
    },
    /// A job looks for an Island now, or waits for one.
    Submit(Order),
    /// A waiting job no longer waits (cancelled, deadline passed). An unknown job causes no event.
    Withdraw {
        /// Which job.
        job: JobId,
    },
    /// A waiting job's bid changes, up or down; it keeps its place in time. No event unless it is matched by
    /// it; an unknown job causes none.
    Rebid {
        /// Which job.
        job: JobId,
        /// The new maximum price.
        bid: MicroCredits,
    },
    /// Time has come this far: waiting jobs whose deadline is not after it wait no longer, earliest deadline first, among
    /// equals the lowest number first. Nothing else looks at the time: until this is said, a job whose deadline has passed
    /// waits and can be matched.
    Expire {
        /// The time.
        now: Timestamp,
    },
    /// A reservation's slot is free again. One that was released before, or whose Island left since, is
    /// ignored.
    Release {
        /// As it came with the match.
        reservation: Reservation,
    },
}

/// What an Island asks for serving a Cargo, and what decides which jobs it may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose ask.
    pub island: IslandId,
    /// The price, from zero up to [`types::money::MAX_AMOUNT`], in micro-credits per unit.
    pub ask: MicroCredits,
    /// How many jobs it runs at once. Zero: in the book, but not available.
    pub slots: u32,
    /// Where it is, as orders name it.
    pub region: Option<String>,
    /// The models it can serve the Cargo with, as orders name them, at most [`types::island_protocol::MAX_MODELS`]. Empty:
    /// it does not say, and gets only jobs that name none.
    pub models: Vec<String>,
    /// How far it is trusted: 0 new, 1 established, 2 approved by the operator. More counts as 2.
    pub trust: u8,
    /// How its last attempts went.
    pub health: Health,
    /// How long it lately took to its first output, in milliseconds; 0 if not known. Among equal asks in equal health
    /// the faster comes first, but compared in steps: below 50 ms, below 100, 200, 400 and so on. Not known counts
    /// as fast: whoever gets no job would never become known.
    pub latency_ms: u32,
}

impl Ask {
    /// An ask of a healthy Island that says nothing else about itself.
    #[must_use]
    pub const fn new(island: IslandId, ask: MicroCredits, slots: u32) -> Self {
        Self {
            island,
            ask,
            slots,
            region: None,
            models: Vec::new(),
            trust: 0,
            health: Health::Normal,
            latency_ms: 0,
        }
    }
}

/// How an Island's last attempts went, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Nearly all of them succeeded, or there were too few to tell.
    #[default]
    Normal,
    /// Many failed: among equal asks it comes after those in good health.
    Low,
    /// Most failed: it gets a job only when no other available Island is within the bid.
    LastResort,
}

/// A job that wants an Island.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The job; at most one order of it waits at a time.
    pub job: JobId,
    /// Whose job it is.
    pub user: UserId,
    /// The highest price, in micro-credits per unit. Below zero it meets no ask.
    pub bid: MicroCredits,
    /// Islands that already failed this job, in any order. They are not eligible.
    pub excluded: Vec<IslandId>,
    /// If given, only Islands of exactly this region are eligible.
    pub region: Option<String>,
    /// If given, only Islands that name this model are eligible.
    pub model: Option<String>,
    /// Only Islands trusted at least this far are eligible. More than 2 is trusted to nobody.
    pub min_trust: u8,
    /// Until when it may wait; see [`Command::Expire`].
    pub deadline: Timestamp,
    /// 0 to 100 (more counts as 100). Decides only between waiting jobs of the same user with the same bid.
    pub priority: u8,
    /// Whether the job waits if nothing is available now; otherwise it is refused.
    pub may_wait: bool,
}

/// The right to one slot of an Island, from a match until its release or until the Island leaves.
///
/// No two reservations of a book are equal, also not after the Island left and came back: that is what makes a
/// late or repeated release harmless (incident 95).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// The Island that runs the job.
    pub island: IslandId,
    /// The number of the match in this book, from 1.
    pub(crate) serial: u64,
}

/// What a command caused, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A job, just submitted or waiting, got an Island.
    Matched(Match),
    /// The submitted job waits.
    Waiting {
        /// Which job.
        job: JobId,
        /// The lowest ask of any Island in the book that is eligible for it, busy or not, of last resort or not,
        /// within the bid or not.
        best_ask: Option<MicroCredits>,
    },
    /// A waiting job's deadline has passed.
    Expired {
        /// Which job.
        job: JobId,
    },
    /// The submitted job neither runs nor waits because of this order. (If the same job waited before, that
    /// one still does.)
    Refused {
        /// Which job.
        job: JobId,
        /// As in [`Event::Waiting`].
        best_ask: Option<MicroCredits>,
        /// Why.
        reason: Refusal,
    },
    /// The ask is not in the book; one that was there before still is.
    AskRefused {
        /// Whose ask.
        island: IslandId,
        /// Why.
        reason: Refusal,
    },
}

/// Why an order or an ask was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No eligible Island within the bid has a free slot, and the order may not wait.
    NoneAvailable,
    /// An order of this job waits already.
    AlreadyWaiting,
    /// More than [`crate::Limits::max_excluded`] different Islands are excluded.
    TooManyExcluded,
    /// [`crate::Limits::max_waiting`] jobs wait already.
    TooManyWaiting,
    /// [`crate::Limits::max_waiting_per_user`] jobs of this user wait already.
    TooManyWaitingOfUser,
    /// The region or a model has a name of more than [`crate::Limits::max_name`] bytes.
    NameTooLong,
    /// The ask names more than [`types::island_protocol::MAX_MODELS`] models.
    TooManyModels,
    /// The ask is below zero or above [`types::money::MAX_AMOUNT`].
    AskOutOfRange,
    /// [`crate::Limits::max_asks`] Islands are in the book already.
    TooManyAsks,
}

/// A job and the Island it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which job.
    pub job: JobId,
    /// Its bid at this moment, micro-credits per unit.
    pub bid: MicroCredits,
    /// The slot it got.
    pub reservation: Reservation,
    /// The clearing price: the ask of the Island at this moment, micro-credits per unit. Never above the bid;
    /// later changes of the ask do not touch it.
    pub price: MicroCredits,
    /// The cheapest asks at this moment, in the order of choice, up to and including the chosen one, which is
    /// always the last: the proof of I10. If more than [`crate::Limits::considered`], those nearest to the
    /// chosen one are left out.
    ///
    /// If the chosen one is of last resort, that no other was available shows in those cheaper than it only; dearer ones
    /// within the bid are not in the record.
    pub considered: Vec<Considered>,
    /// Whether every ask that comes before the chosen one is in the record.
    pub complete: bool,
}

/// An ask that was looked at for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Considered {
    /// Whose ask.
    pub island: IslandId,
    /// How much, micro-credits per unit.
    pub ask: MicroCredits,
    /// What spoke against it, if anything.
    pub verdict: Verdict,
}

/// What came of an ask. If several are true of it, the first in the order `AboveBid`, `Excluded`,
/// `OtherRegion`, `OtherModel`, `Untrusted`, `Busy`, `LastResort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The job goes there.
    Chosen,
    /// No free slot.
    Busy,
    /// It failed this job before.
    Excluded,
    /// The job wants another region.
    OtherRegion,
    /// The job wants a model that it does not name.
    OtherModel,
    /// The job wants an Island that is trusted further.
    Untrusted,
    /// So many of its attempts failed that it gets a job only when no other is available within the bid.
    LastResort,
    /// More than the job pays, as is every ask after it. Never in a match; see [`crate::Book::consider`].
    AboveBid,
}
