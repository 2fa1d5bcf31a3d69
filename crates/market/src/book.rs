//! The book of one Cargo: the one door for commands, and what can be seen of it.

use types::id::{Id, IslandId, JobId};
use types::money::{MAX_AMOUNT, MicroCredits};

use crate::asks::{AskView, Asks, Suit};
use crate::command::{Ask, Command, Considered, Event, Order, Refusal};
use crate::limits::Limits;
use crate::queue::{Queue, WaitingView};

/// More than this counts as this.
const MAX_PRIORITY: u8 = 100;

/// The asks and the waiting jobs of one Cargo. Changed by [`Book::apply`] only.
#[derive(Clone, Debug)]
pub struct Book {
    pub(crate) limits: Limits,
    pub(crate) asks: Asks,
    pub(crate) queue: Queue,
    /// How many matches there were; numbers the reservations.
    pub(crate) matches: u64,
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, asks: Asks::default(), queue: Queue::default(), matches: 0 }
    }

    /// Carries out a command and appends what it caused, in order. Afterwards no waiting job could be matched.
    pub fn apply(&mut self, command: Command, events: &mut Vec<Event>) {
        match command {
            Command::SetAsk(Ask { island, ask, slots, region, .. }) => {
                if let Some(reason) = self.ask_refusal(island, ask) {
                    events.push(Event::AskRefused { island, reason });
                    return;
                }
                self.asks.set(island, ask, slots, region);
                self.serve(events);
            }
            Command::RemoveAsk { island } => self.asks.remove(island),
            Command::Submit(order) => {
                let event = self.submit(order);
                events.push(event);
            }
            Command::Withdraw { job } => {
                self.queue.remove(job);
            }
            Command::Rebid { job, bid } => {
                self.queue.rebid(job, bid);
                self.serve(events);
            }
            Command::Expire { .. } => {}
            Command::Release { reservation } => {
                if self.asks.release(reservation) {
                    self.serve(events);
                }
            }
        }
    }

    /// The lowest ask with a free slot: what a job without wishes would pay now, micro-credits per unit.
    #[must_use]
    pub fn best_ask(&self) -> Option<MicroCredits> {
        self.asks.lowest_free()
    }

    /// The lowest ask, busy or not, micro-credits per unit.
    #[must_use]
    pub fn lowest_ask(&self) -> Option<MicroCredits> {
        self.asks.lowest()
    }

    /// Every ask in the order of choice: lowest first, among equals the one idle longest, busy ones included.
    pub fn asks(&self) -> impl Iterator<Item = AskView<'_>> {
        self.asks.in_order().map(|(_, ask)| ask)
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

    /// The place of a waiting job: 1 is next. Counts the jobs before it; to number them all, walk
    /// [`Book::waiting`] once.
    #[must_use]
    pub fn place(&self, job: JobId) -> Option<usize> {
        self.queue.place(job)
    }

    /// What the book would do with this order now, changing nothing: the asks in the order of choice, up to
    /// [`Limits::considered`]. Ends with the chosen one if there is one, otherwise with the first above the bid
    /// if there is room for it. For quotes and for saying why a job waits.
    #[must_use]
    pub fn consider(&self, order: &Order) -> Vec<Considered> {
        let suit = Suit::new(order.region.clone(), order.excluded.clone());
        self.considered(&suit, order.bid, self.choose(&suit, order.bid))
    }

    /// A hash of all that decides what the book will do, independent of how it is stored: FNV-1a (64 bits) over
    /// 8-byte little-endian integers and the bytes of region names, in this order:
    ///
    /// 1. the number of matches so far;
    /// 2. the number of asks, and for each, longest idle first: Island, ask, slots, region, number of live
    ///    reservations, their match numbers ascending;
    /// 3. the number of waiting jobs, and for each, oldest ticket first: job, user, bid, priority, region,
    ///    number of excluded Islands, those ascending.
    ///
    /// A region is 0 if there is none, otherwise 1, its length in bytes, its bytes. Linear; meant for tests and
    /// for comparing a replay with the original.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut hash = StateHash::default();
        hash.number(self.matches);
        hash.length(self.asks.len());
        for (ask, live) in self.asks.by_idleness() {
            hash.signed(ask.island.get());
            hash.signed(ask.ask.get());
            hash.number(u64::from(ask.slots));
            hash.region(ask.region);
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
            hash.region(waiter.suit.region.as_deref());
            hash.length(waiter.suit.excluded.len());
            for &island in &waiter.suit.excluded {
                hash.signed(island.get());
            }
        }
        hash.0
    }

    /// As nothing available suits any waiting job, a newcomer that something suits passes nobody by.
    fn submit(&mut self, order: Order) -> Event {
        let Order { job, user, bid, excluded, region, priority, may_wait, .. } = order;
        let suit = Suit::new(region, excluded);
        let best_ask = self.asks.lowest_eligible(&suit);
        let refused = |reason| Event::Refused { job, best_ask, reason };
        if self.queue.contains(job) {
            return refused(Refusal::AlreadyWaiting);
        }
        if suit.excluded.len() > self.limits.max_excluded {
            return refused(Refusal::TooManyExcluded);
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
        self.queue.push(job, user, bid, priority.min(MAX_PRIORITY), suit);
        Event::Waiting { job, best_ask }
    }

    fn ask_refusal(&self, island: IslandId, ask: MicroCredits) -> Option<Refusal> {
        if ask < MicroCredits::ZERO || ask > MAX_AMOUNT {
            Some(Refusal::AskOutOfRange)
        } else if !self.asks.contains(island) && self.asks.len() >= self.limits.max_asks {
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

    fn region(&mut self, region: Option<&str>) {
        self.number(u64::from(region.is_some()));
        if let Some(region) = region {
            self.length(region.len());
            self.bytes(region.as_bytes());
        }
    }
}
