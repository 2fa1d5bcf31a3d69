//! What the coordinator keeps in mind of an Island while it is connected, and a little longer: how it does, what it earned
//! today, and whether it may be in the book.

use std::sync::{Arc, Mutex, PoisonError};

use market::Health;
use types::id::IslandId;
use types::island_protocol::Today;
use types::money::MicroCredits;
use types::time::Timestamp;

use super::health::{Record, trust};
use crate::config::Approval;

/// The first offence of an Island counts as a failed attempt, and so does each of this number after it.
const OFFENCES: u64 = 25;

/// Whether an Island may be in the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The operator approved it.
    pub approved: bool,
    /// Its owner wants no work for it.
    pub owner_suspended: bool,
    /// The operator wants no work for it.
    pub operator_suspended: bool,
}

impl Standing {
    /// Why it is not in the book: a code and a sentence.
    #[must_use]
    pub const fn hindrance(self, approval: Approval) -> Option<(&'static str, &'static str)> {
        if self.operator_suspended {
            Some(("suspended", "this Island is suspended by the operator of the network"))
        } else if self.owner_suspended {
            Some(("suspended", "this Island is suspended by its owner, on the page Islands"))
        } else if !self.approved && matches!(approval, Approval::Required) {
            Some(("not_approved", "this Island waits for the approval of the operator of the network"))
        } else {
            None
        }
    }

    /// For people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        if self.operator_suspended || self.owner_suspended {
            "suspended"
        } else if self.approved {
            "approved"
        } else {
            "open"
        }
    }
}

/// What the book is told of an Island besides its offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How its last attempts went.
    pub health: Health,
    /// How soon it answers, coarsely.
    pub latency_ms: u32,
    /// How far it is trusted.
    pub trust: u8,
}

/// What is known of an Island.
#[derive(Debug)]
pub struct Profile {
    /// Which one.
    pub id: IslandId,
    /// Since when there is this Island.
    pub created_at: Timestamp,
    known: Mutex<Known>,
}

/// What changes of that.
#[derive(Clone, Debug, Default)]
pub struct Known {
    record: Record,
    standing: Standing,
    /// How often it was ever paid.
    paid: u64,
    /// Midnight before what `today` counts.
    day: Timestamp,
    today: Today,
    /// What it broke, since it connected first.
    offences: u64,
    /// What the book was last told.
    in_book: Option<Weight>,
    /// There is something that is not stored yet.
    unsaved: bool,
}

impl Known {
    /// What was stored: how it does and stands, how often it was ever paid, and what it did on the day that began then.
    #[must_use]
    pub fn stored(record: Record, standing: Standing, paid: u64, (day, today): (Timestamp, Today)) -> Self {
        Self { record, standing, paid, day, today, ..Self::default() }
    }
}

impl Profile {
    /// What is known of an Island.
    #[must_use]
    pub fn new(id: IslandId, created_at: Timestamp, known: Known) -> Arc<Self> {
        Arc::new(Self { id, created_at, known: Mutex::new(known) })
    }

    /// An attempt ended by the Island's own doing.
    pub fn note(&self, succeeded: bool, now: Timestamp) {
        let mut known = self.lock();
        known.record.note(succeeded, now);
        known.unsaved = true;
    }

    /// The first output of an attempt came.
    pub fn answered_after(&self, milliseconds: i64) {
        let mut known = self.lock();
        known.record.answered_after(milliseconds);
        known.unsaved = true;
    }

    /// The Island broke the rules: said something of an attempt that is not its own, or counted more than it sent.
    pub fn offended(&self, now: Timestamp) {
        let mut known = self.lock();
        if known.offences.is_multiple_of(OFFENCES) {
            known.record.note(false, now);
            known.unsaved = true;
        }
        known.offences += 1;
    }

    /// So many attempts were paid, with so much.
    pub fn paid(&self, jobs: u64, earned: MicroCredits, now: Timestamp) {
        let mut known = self.lock();
        known.begin_day(now);
        known.paid = known.paid.saturating_add(jobs);
        known.today.jobs = known.today.jobs.saturating_add(jobs);
        known.today.earned = known.today.earned.plus(earned).unwrap_or(known.today.earned);
    }

    /// What it did since midnight.
    #[must_use]
    pub fn today(&self, now: Timestamp) -> Today {
        let mut known = self.lock();
        known.begin_day(now);
        known.today
    }

    /// How it does.
    #[must_use]
    pub fn record(&self) -> Record {
        self.lock().record.clone()
    }

    /// Whether it may be in the book.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().standing
    }

    /// Notes that; answers whether it is another than before.
    pub fn set_standing(&self, standing: Standing) -> bool {
        let mut known = self.lock();
        std::mem::replace(&mut known.standing, standing) != standing
    }

    /// What the book is to be told; it counts as told.
    #[must_use]
    pub fn weigh(&self, now: Timestamp) -> Weight {
        let mut known = self.lock();
        let weight = known.weight(self.created_at, now);
        known.in_book = Some(weight);
        weight
    }

    /// Whether that is another than what the book was told.
    #[must_use]
    pub fn weighs_differently(&self, now: Timestamp) -> bool {
        let mut known = self.lock();
        let weight = known.weight(self.created_at, now);
        known.in_book.is_some_and(|told| told != weight)
    }

    /// What is to be stored, if anything is; it counts as stored.
    #[must_use]
    pub fn take_unsaved(&self) -> Option<Record> {
        let mut known = self.lock();
        std::mem::take(&mut known.unsaved).then(|| known.record.clone())
    }

    /// Whether there is something to store.
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        self.lock().unsaved
    }

    /// It could not be stored after all.
    pub fn keep_unsaved(&self) {
        self.lock().unsaved = true;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn weight(&mut self, created_at: Timestamp, now: Timestamp) -> Weight {
        if self.record.forgive(now) {
            self.unsaved = true;
        }
        Weight {
            health: self.record.band(),
            latency_ms: self.record.coarse_latency_ms(),
            trust: trust(self.standing.approved, now.millis_since(created_at), self.paid),
        }
    }

    fn begin_day(&mut self, now: Timestamp) {
        let day = now.day_start();
        if day > self.day {
            (self.day, self.today) = (day, Today::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use types::id::Id;
    use types::time::DAY_MS;

    use super::*;

    fn profile() -> Arc<Profile> {
        Profile::new(IslandId::from_i64(1), Timestamp::from_millis(0), Known::default())
    }

    #[test]
    fn today_ends_at_midnight() {
        let profile = profile();
        let noon = Timestamp::from_millis(20_000 * DAY_MS + DAY_MS / 2);
        profile.paid(2, MicroCredits::new(5), noon);
        assert_eq!(profile.today(noon), Today { jobs: 2, earned: MicroCredits::new(5) });
        assert_eq!(profile.today(noon.plus_millis(DAY_MS / 2)), Today::default());
    }

    #[test]
    fn offences_count_as_failures_but_not_each_of_them() {
        let profile = profile();
        for _ in 0..26 {
            profile.offended(Timestamp::from_millis(5));
        }
        assert_eq!(profile.record().counts(), (0, 2));
    }

    #[test]
    fn the_book_is_told_when_something_changed() {
        let (profile, now) = (profile(), Timestamp::from_millis(5));
        assert!(!profile.weighs_differently(now), "it was told nothing yet");
        assert_eq!(profile.weigh(now), Weight::default());
        for _ in 0..10 {
            profile.note(false, now);
        }
        assert!(profile.weighs_differently(now));
        assert_eq!(profile.weigh(now).health, Health::LastResort);
        assert!(!profile.weighs_differently(now));
        profile.set_standing(Standing { approved: true, ..Standing::default() });
        assert!(profile.weighs_differently(now));
    }

    #[test]
    fn what_keeps_an_island_out_of_the_book() {
        let standing = |approved, owner_suspended, operator_suspended| Standing {
            approved,
            owner_suspended,
            operator_suspended,
        };
        let code = |standing: Standing, approval| standing.hindrance(approval).map(|(code, _)| code);
        assert_eq!(code(standing(false, false, false), Approval::Open), None);
        assert_eq!(code(standing(false, false, false), Approval::Required), Some("not_approved"));
        assert_eq!(code(standing(true, false, false), Approval::Required), None);
        assert_eq!(code(standing(true, true, false), Approval::Open), Some("suspended"));
        assert_eq!(code(standing(true, false, true), Approval::Open), Some("suspended"));
    }
}
