//! The jobs that wait: best bid first, then oldest.
//!
//! "Oldest" is a ticket, drawn on arrival. Priority must order a user's own jobs without moving anybody else,
//! so it never changes who is before whom among users: jobs of the same user with the same bid trade tickets
//! among themselves, such that the higher priority holds the older ticket. A job that leaves takes along the
//! ticket it holds then; so an unimportant old job cannot serve as a bookmark for one important job after the
//! other.
//!
//! Jobs with the same [`Wish`] have a line of their own, and in it those that exclude the same Islands (the same
//! [`Suit`]). When a slot becomes free, only the lines whose wish its Island meets are looked at, and in each the
//! first job of every suit until one does not exclude that Island.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use types::id::{IslandId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::names::{Name, Names};
use crate::ranked::Ranked;
use crate::suit::{Suit, Wish};

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

/// All waiting jobs that bid the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BidLevel {
    /// What they bid, micro-credits per unit of the Cargo.
    pub bid: MicroCredits,
    /// How many they are.
    pub jobs: usize,
}

/// A job that is to wait.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) job: JobId,
    pub(crate) user: UserId,
    pub(crate) bid: MicroCredits,
    pub(crate) priority: u8,
    pub(crate) region: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) min_trust: u8,
    pub(crate) excluded: Vec<IslandId>,
    pub(crate) deadline: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) user: UserId,
    pub(crate) bid: MicroCredits,
    pub(crate) priority: u8,
    pub(crate) region: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) suit: Arc<Suit>,
    pub(crate) deadline: Timestamp,
    job: JobId,
    ticket: u64,
}

/// A place in the queue. No two jobs have the same ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    bid: Reverse<MicroCredits>,
    ticket: u64,
    job: JobId,
}

impl Waiter {
    const fn place(&self) -> Place {
        Place { bid: Reverse(self.bid), ticket: self.ticket, job: self.job }
    }
}

/// The jobs of one wish.
#[derive(Clone, Debug, Default)]
struct Line {
    by_suit: BTreeMap<Arc<Suit>, BTreeSet<Place>>,
    /// The first place of each suit.
    heads: BTreeMap<Place, Arc<Suit>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    jobs: BTreeMap<JobId, Waiter>,
    in_order: Ranked<Place>,
    lines: BTreeMap<Wish, Line>,
    deadlines: BTreeSet<(Timestamp, JobId)>,
    by_bid: BTreeMap<Reverse<MicroCredits>, usize>,
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

    pub(crate) fn get(&self, job: JobId) -> Option<&Waiter> {
        self.jobs.get(&job)
    }

    pub(crate) fn len_of(&self, user: UserId) -> usize {
        self.per_user.get(&user).copied().unwrap_or(0)
    }

    /// Adds a job that does not wait yet.
    pub(crate) fn push(&mut self, new: Newcomer, names: &mut Names) {
        let Newcomer { job, user, bid, priority, region, model, min_trust, excluded, deadline } = new;
        let mut number = |name: &Option<String>| name.as_deref().map_or(Name::ANY, |name| names.take(name));
        let wish = Wish { region: number(&region), model: number(&model), min_trust };
        let suit = Suit { wish, excluded };
        // Jobs of one suit share it; there may be many of them.
        let shared = self.lines.get(&wish).and_then(|line| line.by_suit.get_key_value(&suit));
        let suit = shared.map_or_else(|| Arc::new(suit.clone()), |(shared, _)| Arc::clone(shared));
        self.tickets += 1;
        let ticket = self.tickets;
        self.insert(Waiter { user, bid, priority, region, model, suit, deadline, job, ticket });
    }

    pub(crate) fn rebid(&mut self, job: JobId, bid: MicroCredits) {
        if let Some(waiter) = self.step_out(job) {
            self.insert(Waiter { bid, ..waiter });
        }
    }

    pub(crate) fn remove(&mut self, job: JobId, names: &mut Names) {
        if let Some(waiter) = self.step_out(job) {
            for name in waiter.region.iter().chain(&waiter.model) {
                names.give_back(name);
            }
        }
    }

    /// The first job that an Island may have at this price, if these are the wishes it meets.
    pub(crate) fn first_for(
        &self,
        island: IslandId,
        ask: MicroCredits,
        wishes: impl Iterator<Item = Wish>,
    ) -> Option<JobId> {
        let mut best: Option<Place> = None;
        for line in wishes.filter_map(|wish| self.lines.get(&wish)) {
            // Behind the first that bids too little all do.
            let near = line
                .heads
                .iter()
                .take_while(|(place, _)| place.bid.0 >= ask && best.is_none_or(|best| **place < best));
            let mut fit = near.filter(|(_, suit)| !suit.excludes(island));
            if let Some((&place, _)) = fit.next() {
                best = Some(place);
            }
        }
        best.map(|place| place.job)
    }

    /// The job whose deadline is the earliest, if it is not after this time.
    pub(crate) fn overdue(&self, now: Timestamp) -> Option<JobId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|&(_, job)| job)
    }

    /// How many stand up to and including this job.
    pub(crate) fn place(&self, job: JobId) -> Option<usize> {
        let waiter = self.jobs.get(&job)?;
        Some(self.in_order.count_below(waiter.place()) + 1)
    }

    pub(crate) fn in_order(&self) -> impl Iterator<Item = WaitingView> {
        self.in_order.iter().filter_map(|Place { job, .. }| {
            self.jobs.get(&job).map(|waiter| WaitingView { job, user: waiter.user, bid: waiter.bid })
        })
    }

    /// The bids, highest first.
    pub(crate) fn levels(&self) -> impl Iterator<Item = BidLevel> {
        self.by_bid.iter().map(|(&Reverse(bid), &jobs)| BidLevel { bid, jobs })
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
    fn insert(&mut self, mut waiter: Waiter) {
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
            if let Some(mut moved) = self.step_out(other) {
                std::mem::swap(&mut moved.ticket, &mut waiter.ticket);
                self.stand(moved);
            }
        }
        self.stand(waiter);
    }

    fn priority(&self, job: JobId) -> u8 {
        self.jobs.get(&job).map_or(0, |waiter| waiter.priority)
    }

    fn stand(&mut self, waiter: Waiter) {
        let place = waiter.place();
        self.in_order.insert(place);
        self.own.insert((waiter.user, waiter.bid, waiter.ticket), waiter.job);
        self.deadlines.insert((waiter.deadline, waiter.job));
        *self.per_user.entry(waiter.user).or_default() += 1;
        *self.by_bid.entry(place.bid).or_default() += 1;
        self.lines.entry(waiter.suit.wish).or_default().join(place, &waiter.suit);
        self.jobs.insert(waiter.job, waiter);
    }

    /// The names it uses stay taken.
    fn step_out(&mut self, job: JobId) -> Option<Waiter> {
        let waiter = self.jobs.remove(&job)?;
        let place = waiter.place();
        self.in_order.remove(place);
        self.own.remove(&(waiter.user, waiter.bid, waiter.ticket));
        self.deadlines.remove(&(waiter.deadline, job));
        one_less(&mut self.per_user, &waiter.user);
        one_less(&mut self.by_bid, &place.bid);
        let wish = waiter.suit.wish;
        if let Some(line) = self.lines.get_mut(&wish) {
            line.leave(place, &waiter.suit);
            if line.by_suit.is_empty() {
                self.lines.remove(&wish);
            }
        }
        Some(waiter)
    }
}

impl Line {
    fn join(&mut self, place: Place, suit: &Arc<Suit>) {
        let places = self.by_suit.entry(Arc::clone(suit)).or_default();
        let head = places.first().copied();
        places.insert(place);
        if head.is_none_or(|head| place < head) {
            if let Some(head) = head {
                self.heads.remove(&head);
            }
            self.heads.insert(place, Arc::clone(suit));
        }
    }

    fn leave(&mut self, place: Place, suit: &Arc<Suit>) {
        let Some(places) = self.by_suit.get_mut(suit) else { return };
        places.remove(&place);
        let head = places.first().copied();
        if head.is_none() {
            self.by_suit.remove(suit);
        }
        if self.heads.remove(&place).is_some()
            && let Some(head) = head
        {
            self.heads.insert(head, Arc::clone(suit));
        }
    }
}

/// Counts down, and forgets what there is none of.
fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
