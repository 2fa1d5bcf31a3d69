//! The jobs that wait: best bid first, then oldest.
//!
//! "Oldest" is a ticket, drawn on arrival. Priority must order a user's own jobs without moving anybody else,
//! so it never changes who is before whom among users: jobs of the same user with the same bid trade tickets
//! among themselves, such that the higher priority holds the older ticket. A job that leaves takes along the
//! ticket it holds then; so an unimportant old job cannot serve as a bookmark for one important job after the
//! other.
//!
//! Jobs that may run on exactly the same Islands (the same [`Suit`]) have a line of their own. If the first of
//! a line cannot be served, none of its line can, so serving looks at one job per suit, not at every job.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use types::id::{JobId, UserId};
use types::money::MicroCredits;

use crate::asks::Suit;

/// A waiting job as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingView {
    /// Which job.
    pub job: JobId,
    /// Whose job.
    pub user: UserId,
    /// Its highest price, micro-credits per unit of the Cargo.
    pub bid: MicroCredits,
}

#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) user: UserId,
    pub(crate) bid: MicroCredits,
    pub(crate) priority: u8,
    pub(crate) suit: Arc<Suit>,
    ticket: u64,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    bid: Reverse<MicroCredits>,
    ticket: u64,
}

impl Waiter {
    const fn place(&self) -> Place {
        Place { bid: Reverse(self.bid), ticket: self.ticket }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    jobs: BTreeMap<JobId, Waiter>,
    line: BTreeMap<Place, JobId>,
    lines_by_suit: BTreeMap<Arc<Suit>, BTreeSet<Place>>,
    /// The first place of each suit's line.
    heads: BTreeMap<Place, Arc<Suit>>,
    /// For each user and bid, that user's jobs by ticket.
    own: BTreeMap<(UserId, MicroCredits, u64), JobId>,
    per_user: BTreeMap<UserId, usize>,
    tickets: u64,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    pub(crate) fn len_of(&self, user: UserId) -> usize {
        self.per_user.get(&user).copied().unwrap_or(0)
    }

    /// Adds a job that does not wait yet.
    pub(crate) fn push(&mut self, job: JobId, user: UserId, bid: MicroCredits, priority: u8, suit: Suit) {
        // Jobs of one suit share it; there may be many of them.
        let suit = match self.lines_by_suit.get_key_value(&suit) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::new(suit),
        };
        self.tickets += 1;
        self.insert(job, Waiter { user, bid, priority, suit, ticket: self.tickets });
    }

    pub(crate) fn rebid(&mut self, job: JobId, bid: MicroCredits) {
        if let Some(waiter) = self.remove(job) {
            self.insert(job, Waiter { bid, ..waiter });
        }
    }

    pub(crate) fn remove(&mut self, job: JobId) -> Option<Waiter> {
        let waiter = self.jobs.remove(&job)?;
        self.line.remove(&waiter.place());
        self.own.remove(&(waiter.user, waiter.bid, waiter.ticket));
        self.leave_line(waiter.place(), &waiter.suit);
        if let Some(count) = self.per_user.get_mut(&waiter.user) {
            *count -= 1;
            if *count == 0 {
                self.per_user.remove(&waiter.user);
            }
        }
        Some(waiter)
    }

    /// The first job of the next suit's line behind a place.
    pub(crate) fn next_head(&self, after: Bound<Place>) -> Option<(Place, JobId, &Waiter)> {
        let (&place, _) = self.heads.range((after, Bound::Unbounded)).next()?;
        let &job = self.line.get(&place)?;
        Some((place, job, self.jobs.get(&job)?))
    }

    /// How many stand up to and including this job. Walks over them.
    pub(crate) fn place(&self, job: JobId) -> Option<usize> {
        let waiter = self.jobs.get(&job)?;
        Some(self.line.range(..=waiter.place()).count())
    }

    pub(crate) fn in_order(&self) -> impl Iterator<Item = WaitingView> {
        self.line.values().filter_map(|&job| {
            self.jobs.get(&job).map(|waiter| WaitingView { job, user: waiter.user, bid: waiter.bid })
        })
    }

    /// Every job, oldest ticket first, whatever the bid.
    pub(crate) fn by_ticket(&self) -> Vec<(JobId, &Waiter)> {
        let mut jobs: Vec<_> = self.jobs.iter().map(|(&job, waiter)| (job, waiter)).collect();
        jobs.sort_unstable_by_key(|(_, waiter)| waiter.ticket);
        jobs
    }

    /// Lets the job in with the ticket it brings, trading tickets with the user's own jobs of the same bid
    /// where they and the priorities disagree. As they agreed before, those are one run of jobs directly before
    /// or directly behind, and each moves by one.
    fn insert(&mut self, job: JobId, mut waiter: Waiter) {
        let Waiter { user, bid, priority, ticket, .. } = waiter;
        let less_important: Vec<JobId> = self
            .own
            .range((user, bid, 0)..(user, bid, ticket))
            .rev()
            .map(|(_, &other)| other)
            .take_while(|other| self.priority(*other) < priority)
            .collect();
        let more_important: Vec<JobId> = self
            .own
            .range((user, bid, ticket)..=(user, bid, u64::MAX))
            .map(|(_, &other)| other)
            .take_while(|other| self.priority(*other) > priority)
            .collect();
        for other in less_important.into_iter().chain(more_important) {
            if let Some(mut moved) = self.remove(other) {
                std::mem::swap(&mut moved.ticket, &mut waiter.ticket);
                self.stand(other, moved);
            }
        }
        self.stand(job, waiter);
    }

    fn priority(&self, job: JobId) -> u8 {
        self.jobs.get(&job).map_or(0, |waiter| waiter.priority)
    }

    fn stand(&mut self, job: JobId, waiter: Waiter) {
        self.line.insert(waiter.place(), job);
        self.own.insert((waiter.user, waiter.bid, waiter.ticket), job);
        *self.per_user.entry(waiter.user).or_default() += 1;
        self.join_line(waiter.place(), &waiter.suit);
        self.jobs.insert(job, waiter);
    }

    fn join_line(&mut self, place: Place, suit: &Arc<Suit>) {
        let line = self.lines_by_suit.entry(Arc::clone(suit)).or_default();
        let head = line.first().copied();
        line.insert(place);
        if head.is_none_or(|head| place < head) {
            if let Some(head) = head {
                self.heads.remove(&head);
            }
            self.heads.insert(place, Arc::clone(suit));
        }
    }

    fn leave_line(&mut self, place: Place, suit: &Arc<Suit>) {
        let Some(line) = self.lines_by_suit.get_mut(suit) else { return };
        line.remove(&place);
        let head = line.first().copied();
        if head.is_none() {
            self.lines_by_suit.remove(suit);
        }
        if self.heads.remove(&place).is_some()
            && let Some(head) = head
        {
            self.heads.insert(head, Arc::clone(suit));
        }
    }
}
