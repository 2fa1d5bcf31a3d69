//! All that can happen, and how often.

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client asks for a job, or asks again.
    Submit,
    /// A committer takes what has queued up.
    Commit,
    /// An answer of the committer arrives.
    Answer,
    /// A command that was answered is sent once more by mistake.
    SendAgain,
    /// An Island gives something, ends or fails.
    Island,
    /// A waiting job's turn comes, or its time is over.
    Turn,
    /// An Island asks another price, comes or goes.
    Market,
    /// A consumer cancels a job.
    Cancel,
    /// A consumer cancels a job through another coordinator.
    Wish,
    /// A coordinator looks for such wishes.
    Wishes,
    /// Somebody buys credits.
    Buy,
    /// The payment provider's answer arrives.
    Provider,
    /// Somebody pays, or does not.
    Pay,
    /// A webhook arrives.
    Deliver,
    /// A browser comes back from paying.
    Return,
    /// The reconciler looks for unfinished purchases.
    Reconcile,
    /// The operator grants credits.
    Grant,
    /// Earnings are moved into a wallet.
    Move,
    /// The operator takes credits back, freezes, limits.
    Operate,
    /// A key is revoked.
    Revoke,
    /// A hold is taken that belongs to no job.
    Stray,
    /// Several transactions share a commit.
    Together,
    /// A coordinator gives a sign of life.
    Beat,
    /// A coordinator takes the jobs of a silent one.
    TakeOver,
    /// A coordinator takes up a job, of its own or of another.
    Resume,
    /// Holds whose time has passed are ended.
    Expire,
    /// Jobs that are long over are ended.
    Forgotten,
    /// The tables catch up with the journal.
    Fold,
    /// A transaction is taken back, and what was remembered with it.
    InVain,
    /// A process is killed.
    Kill,
    /// A process is started.
    Start,
    /// A process falls asleep, or wakes up.
    Sleep,
    /// A clock jumps.
    Jump,
}

impl Step {
    /// Every step with its weight.
    pub const ALL: [(Self, u64); 33] = [
        (Self::Submit, 60),
        (Self::Commit, 90),
        (Self::Answer, 110),
        (Self::SendAgain, 4),
        (Self::Island, 120),
        (Self::Turn, 50),
        (Self::Market, 4),
        (Self::Cancel, 5),
        (Self::Wish, 3),
        (Self::Wishes, 3),
        (Self::Buy, 6),
        (Self::Provider, 16),
        (Self::Pay, 6),
        (Self::Deliver, 10),
        (Self::Return, 5),
        (Self::Reconcile, 2),
        (Self::Grant, 10),
        (Self::Move, 3),
        (Self::Operate, 6),
        (Self::Revoke, 1),
        (Self::Stray, 1),
        (Self::Together, 4),
        (Self::Beat, 6),
        (Self::TakeOver, 30),
        (Self::Resume, 20),
        (Self::Expire, 4),
        (Self::Forgotten, 2),
        (Self::Fold, 3),
        (Self::InVain, 4),
        (Self::Kill, 1),
        (Self::Start, 5),
        (Self::Sleep, 3),
        (Self::Jump, 2),
    ];

    /// Whether nothing would come to an end without it.
    pub const fn is_needed(self) -> bool {
        matches!(
            self,
            Self::Submit
                | Self::Commit
                | Self::Answer
                | Self::Island
                | Self::Provider
                | Self::Resume
                | Self::Start
                | Self::Sleep
                | Self::Beat
        )
    }
}
