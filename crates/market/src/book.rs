//! The book of one Cargo: the one door for commands, and what can be seen of it.

use types::id::{Id, IslandId, JobId};
use types::island_protocol::MAX_MODELS;
use types::money::{MAX_AMOUNT, MicroCredits};
use types::time::Timestamp;

use crate::asks::{AskView, Asks, Listing};
use crate::command::{Ask, Command, Considered, Event, Health, Order, Refusal};
use crate::limits::Limits;
use crate::names::Names;
use crate::queue::{BidLevel, Newcomer, Queue, WaitingView};
use crate::shelves::PriceLevel;
use crate::suit::Suit;

/// More than this counts as this.
const MAX_PRIORITY: u8 = 100;

/// The asks and the waiting jobs of one Cargo. Changed by [`Book::apply`] only.
#[derive(Clone, Debug)]
pub struct Book {
    pub(crate) limits: Limits,
    pub(crate) asks: Asks,
    pub(crate) queue: Queue,
    /// Of regions and models, in asks and in orders that wait.
    pub(crate) names: Names,
    /// How many matches there were; numbers the reservations.
    pub(crate) matches: u64,
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, asks: Asks::default(), queue: Queue::default(), names: Names::default(), matches: 0 }
    }

    /// Carries out a command and appends what it caused, in order. Afterwards no waiting job could be matched.
    pub fn apply(&mut self, command: Command, events: &mut Vec<Event>) {
        match command {
            Command::SetAsk(ask) => {
                let island = ask.island;
                if let Some(reason) = self.ask_refusal(&ask) {
                    events.push(Event::AskRefused { island, reason });
                } else if self.asks.set(ask, &mut self.names) {
                    self.serve(island, events);
                }
            }
            Command::RemoveAsk { island } => self.asks.remove(island, &mut self.names),
            Command::Submit(order) => {
                let event = self.submit(order);
                events.push(event);
            }
            Command::Withdraw { job } => self.queue.remove(job, &mut self.names),
            Command::Rebid { job, bid } => {
                self.queue.rebid(job, bid);
                // Nothing changed for anybody else.
                events.extend(self.match_waiting(job).map(Event::Matched));
            }
            Command::Expire { now } => self.expire(now, events),
            Command::Release { reservation } => {
                if self.asks.release(reservation) {
                    self.serve(reservation.island, events);
                }
            }
        }
    }

    /// The lowest ask with a free slot, of last resort or not, micro-credits per unit: the lowest bid at which a job
    /// without wishes would start now. With a higher bid it may start elsewhere, if this one is of last resort.
    #[must_use]
    pub fn best_ask(&self) -> Option<MicroCredits> {
        self.asks.lowest_free()
    }

    /// The lowest ask, busy or not, micro-credits per unit.
    #[must_use]
    pub fn lowest_ask(&self) -> Option<MicroCredits> {
        self.asks.lowest()
    }

    /// Every ask in the order of choice: lowest first, among equals the one in better health, then the faster one (in
    /// steps: below 50 ms or not known, below 100, 200, 400 and so on), then the one idle longest. Busy ones and those
    /// of last resort are included.
    pub fn asks(&self) -> impl Iterator<Item = AskView<'_>> {
        self.asks.in_order().map(Listing::view)
    }

    /// How many Islands are in the book, busy or not.
    #[must_use]
    pub fn ask_count(&self) -> usize {
        self.asks.len()
    }

    /// An Island's place by price and how many there are: (3, 12) is the 3rd cheapest of 12. Those that ask the same share
    /// a place, and the next place counts them all.
    #[must_use]
    pub fn rank(&self, island: IslandId) -> Option<(usize, usize)> {
        Some((self.asks.cheaper_than(island)? + 1, self.asks.len()))
    }

    /// The lowest prices asked, at most so many, and what is offered at each. Islands of last resort count as others do.
    #[must_use]
    pub fn depth(&self, levels: usize) -> Vec<PriceLevel> {
        self.asks.levels().take(levels).collect()
    }

    /// The highest bids that wait, at most so many, and the number of jobs of each.
    #[must_use]
    pub fn demand(&self, levels: usize) -> Vec<BidLevel> {
        self.queue.levels().take(levels).collect()
    }

    /// An Island's ask, if it is in the book.
    #[must_use]
    pub fn ask_of(&self, island: IslandId) -> Option<AskView<'_>> {
        self.asks.view(island)
    }

    /// The waiting jobs in the order in which they are served.
    pub fn waiting(&self) -> impl Iterator<Item = WaitingView> {
        self.queue.in_order()
    }

    /// How many jobs wait.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.queue.len()
    }

    /// The place of a waiting job: 1 is next. Does not walk over those before it.
    #[must_use]
    pub fn place(&self, job: JobId) -> Option<usize> {
        self.queue.place(job)
    }

    /// What the book would do with this order now, changing nothing: the asks in the order of choice, up to
    /// [`Limits::considered`]. Ends with the chosen one if there is one, otherwise with the first above the bid
    /// if there is room for it. For quotes and for saying why a job waits.
    #[must_use]
    pub fn consider(&self, order: &Order) -> Vec<Considered> {
        let suit = self.suit(order, order.excluded.clone());
        self.considered(&suit, order.bid, self.choose(&suit, order.bid)).0
    }

    /// The lowest ask of any Island that this order could go to, busy or not, within the bid or not.
    #[must_use]
    pub fn lowest_eligible(&self, order: &Order) -> Option<MicroCredits> {
        self.asks.lowest_eligible(&self.suit(order, order.excluded.clone()))
    }

    /// A hash of all that decides what the book will do, independent of how it is stored: FNV-1a (64 bits) over
    /// 8-byte little-endian integers and the bytes of names, in this order:
    ///
    /// 1. the number of matches so far;
    /// 2. the number of asks, and for each, longest idle first: Island, ask, slots, region, number of models, those as
    ///    they were named, trust, health (0, 1, 2 from the best), latency in milliseconds, number of live reservations,
    ///    their match numbers ascending;
    /// 3. the number of waiting jobs, and for each, oldest ticket first: job, user, bid, priority, region, model, trust
    ///    wanted, deadline, number of excluded Islands, those ascending.
    ///
    /// A name is its length in bytes, its bytes. A region, or the model of a job, is 0 if there is none, otherwise 1
    /// and the name. Linear; meant for tests and for comparing a replay with the original.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut hash = StateHash::default();
        hash.number(self.matches);
        hash.length(self.asks.len());
        for (ask, live) in self.asks.by_idleness() {
            hash.ask(&ask);
            hash.length(live.len());
            for &serial in live {
                hash.number(serial);
            }
        }
        hash.length(self.queue.len());
        for (job, waiter) in self.queue.by_ticket() {
            hash.signed(job.get());
            hash.signed(waiter.user.get());
            hash.signed(waiter.bid.get());
            hash.number(u64::from(waiter.priority));
            hash.wish(waiter.region.as_deref());
            hash.wish(waiter.model.as_deref());
            hash.number(u64::from(waiter.suit.wish.min_trust));
            hash.signed(waiter.deadline.as_millis());
            hash.length(waiter.suit.excluded.len());
            for &island in &waiter.suit.excluded {
                hash.signed(island.get());
            }
        }
        hash.0
    }

    /// As nothing available suits any waiting job, a newcomer that something suits passes nobody by.
    fn submit(&mut self, mut order: Order) -> Event {
        let excluded = std::mem::take(&mut order.excluded);
        let suit = self.suit(&order, excluded);
        let Order { job, user, bid, region, model, min_trust, deadline, priority, may_wait, .. } = order;
        let best_ask = self.asks.lowest_eligible(&suit);
        let refused = |reason| Event::Refused { job, best_ask, reason };
        if self.queue.contains(job) {
            return refused(Refusal::AlreadyWaiting);
        }
        if suit.excluded.len() > self.limits.max_excluded {
            return refused(Refusal::TooManyExcluded);
        }
        if [&region, &model].into_iter().flatten().any(|name| name.len() > self.limits.max_name) {
            return refused(Refusal::NameTooLong);
        }
        if let Some(matched) = self.try_match(job, bid, &suit) {
            return Event::Matched(matched);
        }
        if !may_wait {
            return refused(Refusal::NoneAvailable);
        }
        if self.queue.len() >= self.limits.max_waiting {
            return refused(Refusal::TooManyWaiting);
        }
        if self.queue.len_of(user) >= self.limits.max_waiting_per_user {
            return refused(Refusal::TooManyWaitingOfUser);
        }
        let (priority, excluded) = (priority.min(MAX_PRIORITY), suit.excluded);
        let new = Newcomer { job, user, bid, priority, region, model, min_trust, excluded, deadline };
        self.queue.push(new, &mut self.names);
        Event::Waiting { job, best_ask }
    }

    fn expire(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        while let Some(job) = self.queue.overdue(now) {
            self.queue.remove(job, &mut self.names);
            events.push(Event::Expired { job });
        }
    }

    fn suit(&self, order: &Order, excluded: Vec<IslandId>) -> Suit {
        let (region, model) = (order.region.as_deref(), order.model.as_deref());
        Suit::new(&self.names, region, model, order.min_trust, excluded)
    }

    fn ask_refusal(&self, ask: &Ask) -> Option<Refusal> {
        if ask.ask < MicroCredits::ZERO || ask.ask > MAX_AMOUNT {
            Some(Refusal::AskOutOfRange)
        } else if ask.models.len() > MAX_MODELS {
            Some(Refusal::TooManyModels)
        } else if ask.region.iter().chain(&ask.models).any(|name| name.len() > self.limits.max_name) {
            Some(Refusal::NameTooLong)
        } else if !self.asks.contains(ask.island) && self.asks.len() >= self.limits.max_asks {
            Some(Refusal::TooManyAsks)
        } else {
            None
        }
    }
}

/// FNV-1a: short, and easily written again by whoever wants to check.
struct StateHash(u64);

impl Default for StateHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl StateHash {
    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn signed(&mut self, number: i64) {
        self.bytes(&number.to_le_bytes());
    }

    fn length(&mut self, length: usize) {
        self.number(u64::try_from(length).unwrap_or(u64::MAX));
    }

    fn name(&mut self, name: &str) {
        self.length(name.len());
        self.bytes(name.as_bytes());
    }

    fn wish(&mut self, name: Option<&str>) {
        self.number(u64::from(name.is_some()));
        if let Some(name) = name {
            self.name(name);
        }
    }

    fn ask(&mut self, ask: &AskView<'_>) {
        self.signed(ask.island.get());
        self.signed(ask.ask.get());
        self.number(u64::from(ask.slots));
        self.wish(ask.region);
        self.length(ask.models.len());
        for model in ask.models {
            self.name(model);
        }
        self.number(u64::from(ask.trust));
        self.number(match ask.health {
            Health::Normal => 0,
            Health::Low => 1,
            Health::LastResort => 2,
        });
        self.number(u64::from(ask.latency_ms));
    }
}

#[cfg(test)]
mod tests {
    use types::id::UserId;

    use super::*;

    /// Whoever changes names all the time must not fill the memory.
    #[test]
    fn names_go_with_whoever_used_them() {
        let mut book = Book::new(Limits::default());
        let events = &mut Vec::new();
        for round in 0..100_i64 {
            let (region, model) = (Some(format!("region {round}")), Some(format!("model {round}")));
            let models = vec![format!("model {round}"), "usual".to_owned()];
            let ask = Ask::new(IslandId::from_i64(round % 2), MicroCredits::new(9), 0);
            book.apply(Command::SetAsk(Ask { region: region.clone(), models, ..ask }), events);
            let order = Order {
                job: JobId::from_i64(round),
                user: UserId::from_i64(1),
                bid: MicroCredits::new(5),
                excluded: Vec::new(),
                region,
                model,
                min_trust: 0,
                deadline: Timestamp::from_millis(round),
                priority: 0,
                may_wait: true,
            };
            book.apply(Command::Submit(order), events);
            book.apply(Command::Rebid { job: JobId::from_i64(round), bid: MicroCredits::new(6) }, events);
        }
        assert_eq!(book.names.len(), 201);
        book.apply(Command::Expire { now: Timestamp::from_millis(98) }, events);
        assert_eq!(book.names.len(), 5, "of two Islands and one job");
        for island in 0..2 {
            book.apply(Command::RemoveAsk { island: IslandId::from_i64(island) }, events);
        }
        assert_eq!(book.names.len(), 2);
        book.apply(Command::Withdraw { job: JobId::from_i64(99) }, events);
        assert_eq!(book.names.len(), 0);
    }
}
