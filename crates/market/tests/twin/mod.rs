//! The book again, naively: vectors, linear scans, everything sorted anew each time. Written from the rules,
//! not from the engine.

use std::cmp::Reverse;

use market::{Command, Event, Limits, Order, Refusal, Verdict};
use types::id::{Id, IslandId, JobId, UserId};
use types::money::{MAX_AMOUNT, MicroCredits};

/// What the twin says happened. Matches are numbered from 1; that number names the reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Matched {
        job: JobId,
        bid: MicroCredits,
        island: IslandId,
        number: usize,
        price: MicroCredits,
        considered: Vec<(IslandId, MicroCredits, Verdict)>,
    },
    Other(Event),
}

#[derive(Clone, Debug)]
struct Ask {
    island: IslandId,
    ask: MicroCredits,
    slots: u32,
    region: Option<String>,
    idle_since: usize,
    live: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Waiting {
    job: JobId,
    user: UserId,
    bid: MicroCredits,
    priority: u8,
    region: Option<String>,
    excluded: Vec<IslandId>,
    ticket: usize,
}

pub struct Twin {
    limits: Limits,
    asks: Vec<Ask>,
    waiting: Vec<Waiting>,
    turn: usize,
    tickets: usize,
    matches: usize,
}

impl Ask {
    fn eligible(&self, job: &Waiting) -> bool {
        !job.excluded.contains(&self.island) && (job.region.is_none() || job.region == self.region)
    }

    fn available(&self) -> bool {
        self.live.len() < self.slots as usize
    }
}

impl Twin {
    pub fn new(limits: Limits) -> Self {
        Self { limits, asks: vec![], waiting: vec![], turn: 0, tickets: 0, matches: 0 }
    }

    /// `released` is the number of the match whose reservation a release gives back.
    pub fn apply(&mut self, command: &Command, released: Option<usize>) -> Vec<Seen> {
        let mut seen = vec![];
        match command {
            Command::SetAsk { island, ask, slots, region } => {
                if let Some(reason) = self.set_ask(*island, *ask, *slots, region.clone()) {
                    return vec![Seen::Other(Event::AskRefused { island: *island, reason })];
                }
            }
            Command::RemoveAsk { island } => self.asks.retain(|ask| ask.island != *island),
            Command::Submit(order) => seen.push(self.submit(order)),
            Command::Withdraw { job } => self.waiting.retain(|waiting| waiting.job != *job),
            Command::Rebid { job, bid } => {
                if let Some(index) = self.waiting.iter().position(|waiting| waiting.job == *job) {
                    let mut moved = self.waiting.remove(index);
                    moved.bid = *bid;
                    self.queue(moved);
                }
            }
            Command::Release { .. } => {
                let number = released.unwrap();
                if let Some(ask) = self.asks.iter_mut().find(|ask| ask.live.contains(&number)) {
                    ask.live.retain(|live| *live != number);
                    self.turn += 1;
                    ask.idle_since = self.turn;
                }
            }
        }
        while let Some(matched) = self.serve_one() {
            seen.push(matched);
        }
        seen
    }

    /// The waiting jobs in the order they are served.
    pub fn order(&self) -> Vec<JobId> {
        let mut waiting: Vec<_> = self.waiting.iter().collect();
        waiting.sort_by_key(|waiting| (Reverse(waiting.bid), waiting.ticket));
        waiting.iter().map(|waiting| waiting.job).collect()
    }

    /// As documented at `Book::state_hash`.
    pub fn state_hash(&mut self) -> u64 {
        let mut bytes: Vec<u8> = vec![];
        let number = |bytes: &mut Vec<u8>, number: usize| bytes.extend((number as u64).to_le_bytes());
        let region = |bytes: &mut Vec<u8>, region: &Option<String>| match region {
            None => number(bytes, 0),
            Some(name) => {
                number(bytes, 1);
                number(bytes, name.len());
                bytes.extend(name.as_bytes());
            }
        };
        number(&mut bytes, self.matches);
        number(&mut bytes, self.asks.len());
        self.asks.sort_by_key(|ask| ask.idle_since);
        for ask in &self.asks {
            bytes.extend(ask.island.get().to_le_bytes());
            bytes.extend(ask.ask.get().to_le_bytes());
            number(&mut bytes, ask.slots as usize);
            region(&mut bytes, &ask.region);
            number(&mut bytes, ask.live.len());
            let mut live = ask.live.clone();
            live.sort_unstable();
            live.iter().for_each(|serial| number(&mut bytes, *serial));
        }
        number(&mut bytes, self.waiting.len());
        self.waiting.sort_by_key(|waiting| waiting.ticket);
        for waiting in &self.waiting {
            bytes.extend(waiting.job.get().to_le_bytes());
            bytes.extend(waiting.user.get().to_le_bytes());
            bytes.extend(waiting.bid.get().to_le_bytes());
            number(&mut bytes, usize::from(waiting.priority));
            region(&mut bytes, &waiting.region);
            number(&mut bytes, waiting.excluded.len());
            waiting.excluded.iter().for_each(|island| bytes.extend(island.get().to_le_bytes()));
        }
        bytes.iter().fold(14_695_981_039_346_656_037, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211)
        })
    }

    fn set_ask(
        &mut self,
        island: IslandId,
        ask: MicroCredits,
        slots: u32,
        region: Option<String>,
    ) -> Option<Refusal> {
        if ask.get() < 0 || ask > MAX_AMOUNT {
            return Some(Refusal::AskOutOfRange);
        }
        let Some(index) = self.asks.iter().position(|known| known.island == island) else {
            if self.asks.len() >= self.limits.max_asks {
                return Some(Refusal::TooManyAsks);
            }
            self.turn += 1;
            self.asks.push(Ask { island, ask, slots, region, idle_since: self.turn, live: vec![] });
            return None;
        };
        let known = &mut self.asks[index];
        (known.ask, known.slots, known.region) = (ask, slots, region);
        None
    }

    fn submit(&mut self, order: &Order) -> Seen {
        let mut excluded = order.excluded.clone();
        excluded.sort();
        excluded.dedup();
        let (job, user, region) = (order.job, order.user, order.region.clone());
        let priority = order.priority.min(100);
        let new = Waiting { job, user, bid: order.bid, priority, region, excluded, ticket: 0 };
        let best_ask = self.asks.iter().filter(|ask| ask.eligible(&new)).map(|ask| ask.ask).min();
        let refused = |reason| Seen::Other(Event::Refused { job, best_ask, reason });
        if self.waiting.iter().any(|waiting| waiting.job == job) {
            return refused(Refusal::AlreadyWaiting);
        }
        if new.excluded.len() > self.limits.max_excluded {
            return refused(Refusal::TooManyExcluded);
        }
        if let Some(index) = self.best_for(&new) {
            return self.assign(&new, index);
        }
        if !order.may_wait {
            return refused(Refusal::NoneAvailable);
        }
        if self.waiting.len() >= self.limits.max_waiting {
            return refused(Refusal::TooManyWaiting);
        }
        let of_user = self.waiting.iter().filter(|waiting| waiting.user == user).count();
        if of_user >= self.limits.max_waiting_per_user {
            return refused(Refusal::TooManyWaitingOfUser);
        }
        self.tickets += 1;
        self.queue(Waiting { ticket: self.tickets, ..new });
        Seen::Other(Event::Waiting { job, best_ask })
    }

    /// The user's jobs of this bid keep their tickets, but hand them out anew: highest priority first, among
    /// equals the one that had the older ticket.
    fn queue(&mut self, new: Waiting) {
        let (user, bid) = (new.user, new.bid);
        self.waiting.push(new);
        let mut own: Vec<&mut Waiting> =
            self.waiting.iter_mut().filter(|waiting| waiting.user == user && waiting.bid == bid).collect();
        let mut tickets: Vec<usize> = own.iter().map(|waiting| waiting.ticket).collect();
        tickets.sort_unstable();
        own.sort_by_key(|waiting| (Reverse(waiting.priority), waiting.ticket));
        for (waiting, ticket) in own.into_iter().zip(tickets) {
            waiting.ticket = ticket;
        }
    }

    fn serve_one(&mut self) -> Option<Seen> {
        for job in self.order() {
            let index = self.waiting.iter().position(|waiting| waiting.job == job).unwrap();
            if let Some(ask) = self.best_for(&self.waiting[index]) {
                let waiting = self.waiting.remove(index);
                return Some(self.assign(&waiting, ask));
            }
        }
        None
    }

    fn best_for(&self, job: &Waiting) -> Option<usize> {
        (0..self.asks.len())
            .filter(|index| {
                let ask = &self.asks[*index];
                ask.available() && ask.eligible(job) && ask.ask <= job.bid
            })
            .min_by_key(|index| {
                let ask = &self.asks[*index];
                (ask.ask, ask.idle_since, ask.island)
            })
    }

    fn assign(&mut self, job: &Waiting, index: usize) -> Seen {
        let considered = self.considered(job, index);
        self.matches += 1;
        self.turn += 1;
        let ask = &mut self.asks[index];
        ask.live.push(self.matches);
        ask.idle_since = self.turn;
        Seen::Matched {
            job: job.job,
            bid: job.bid,
            island: ask.island,
            number: self.matches,
            price: ask.ask,
            considered,
        }
    }

    fn considered(&self, job: &Waiting, chosen: usize) -> Vec<(IslandId, MicroCredits, Verdict)> {
        let chosen = &self.asks[chosen];
        let mut asks: Vec<&Ask> = self.asks.iter().collect();
        asks.sort_by_key(|ask| (ask.ask, ask.idle_since, ask.island));
        let before = asks.iter().take_while(|ask| ask.island != chosen.island);
        let mut list: Vec<_> = before
            .map(|ask| {
                let verdict = if job.excluded.contains(&ask.island) {
                    Verdict::Excluded
                } else if !ask.eligible(job) {
                    Verdict::OtherRegion
                } else {
                    Verdict::Busy
                };
                (ask.island, ask.ask, verdict)
            })
            .collect();
        list.truncate(self.limits.considered.max(1) - 1);
        list.push((chosen.island, chosen.ask, Verdict::Chosen));
        list
    }
}
