//! The book again, naively: vectors, linear scans, everything sorted anew each time. Written from the rules,
//! not from the engine.

use std::cmp::Reverse;

use market::{Ask, Command, Event, Health, Limits, Order, Refusal, Verdict};
use types::id::{Id, IslandId, JobId};
use types::money::{MAX_AMOUNT, MicroCredits};
use types::time::Timestamp;

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
        complete: bool,
    },
    Other(Event),
}

#[derive(Clone, Debug)]
struct Listed {
    said: Ask,
    idle_since: usize,
    live: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Waiting {
    /// With the priority and the excluded Islands as they count.
    order: Order,
    ticket: usize,
}

pub struct Twin {
    limits: Limits,
    asks: Vec<Listed>,
    waiting: Vec<Waiting>,
    turn: usize,
    tickets: usize,
    matches: usize,
}

impl Listed {
    /// What makes it impossible that this order goes there, whatever else is free.
    fn unfit(&self, order: &Order) -> Option<Verdict> {
        let said = &self.said;
        if order.excluded.contains(&said.island) {
            return Some(Verdict::Excluded);
        }
        if order.region.is_some() && order.region != said.region {
            return Some(Verdict::OtherRegion);
        }
        if let Some(model) = &order.model
            && !said.models.contains(model)
        {
            return Some(Verdict::OtherModel);
        }
        (said.trust.min(2) < order.min_trust).then_some(Verdict::Untrusted)
    }

    fn available(&self) -> bool {
        self.live.len() < self.said.slots as usize
    }

    /// What decides who comes first.
    fn key(&self) -> (MicroCredits, usize, usize, usize, IslandId) {
        let steps = (0..32).take_while(|step| u64::from(self.said.latency_ms) >= 50 << step).count();
        (self.said.ask, health(self.said.health), steps, self.idle_since, self.said.island)
    }
}

fn health(health: Health) -> usize {
    [Health::Normal, Health::Low, Health::LastResort].iter().position(|known| *known == health).unwrap()
}

impl Twin {
    pub fn new(limits: Limits) -> Self {
        Self { limits, asks: vec![], waiting: vec![], turn: 0, tickets: 0, matches: 0 }
    }

    /// `released` is the number of the match whose reservation a release gives back.
    pub fn apply(&mut self, command: &Command, released: Option<usize>) -> Vec<Seen> {
        let mut seen = vec![];
        match command {
            Command::SetAsk(ask) => {
                if let Some(reason) = self.set_ask(ask) {
                    return vec![Seen::Other(Event::AskRefused { island: ask.island, reason })];
                }
            }
            Command::RemoveAsk { island } => self.asks.retain(|ask| ask.said.island != *island),
            Command::Submit(order) => seen.push(self.submit(order)),
            Command::Withdraw { job } => self.waiting.retain(|waiting| waiting.order.job != *job),
            Command::Rebid { job, bid } => {
                if let Some(index) = self.waiting.iter().position(|waiting| waiting.order.job == *job) {
                    let mut moved = self.waiting.remove(index);
                    moved.order.bid = *bid;
                    self.queue(moved);
                }
            }
            Command::Expire { now } => {
                let mut over: Vec<(Timestamp, JobId)> =
                    self.waiting.iter().map(|waiting| (waiting.order.deadline, waiting.order.job)).collect();
                over.retain(|(deadline, _)| deadline <= now);
                over.sort();
                self.waiting.retain(|waiting| waiting.order.deadline > *now);
                seen.extend(over.into_iter().map(|(_, job)| Seen::Other(Event::Expired { job })));
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
        waiting.sort_by_key(|waiting| (Reverse(waiting.order.bid), waiting.ticket));
        waiting.iter().map(|waiting| waiting.order.job).collect()
    }

    /// The Islands in the order of choice.
    pub fn choices(&self) -> Vec<IslandId> {
        let mut asks: Vec<&Listed> = self.asks.iter().collect();
        asks.sort_by_key(|ask| ask.key());
        asks.iter().map(|ask| ask.said.island).collect()
    }

    pub fn rank(&self, island: IslandId) -> Option<(usize, usize)> {
        let own = self.asks.iter().find(|ask| ask.said.island == island)?.said.ask;
        Some((1 + self.asks.iter().filter(|ask| ask.said.ask < own).count(), self.asks.len()))
    }

    /// (ask, free slots, slots, Islands)
    pub fn depth(&self) -> Vec<(MicroCredits, u64, u64, usize)> {
        let mut prices: Vec<MicroCredits> = self.asks.iter().map(|ask| ask.said.ask).collect();
        prices.sort();
        prices.dedup();
        let level = |price| {
            let asks: Vec<&Listed> = self.asks.iter().filter(|ask| ask.said.ask == price).collect();
            let free = |ask: &&Listed| (ask.said.slots as usize).saturating_sub(ask.live.len()) as u64;
            let slots = |ask: &&Listed| u64::from(ask.said.slots);
            (price, asks.iter().map(free).sum(), asks.iter().map(slots).sum(), asks.len())
        };
        prices.into_iter().map(level).collect()
    }

    /// (bid, jobs)
    pub fn demand(&self) -> Vec<(MicroCredits, usize)> {
        let mut bids: Vec<MicroCredits> = self.waiting.iter().map(|waiting| waiting.order.bid).collect();
        bids.sort_by_key(|bid| Reverse(*bid));
        let count = |bid| self.waiting.iter().filter(|waiting| waiting.order.bid == bid).count();
        let mut levels: Vec<_> = bids.into_iter().map(|bid| (bid, count(bid))).collect();
        levels.dedup();
        levels
    }

    /// As documented at `Book::state_hash`.
    pub fn state_hash(&mut self) -> u64 {
        let mut bytes: Vec<u8> = vec![];
        let number = |bytes: &mut Vec<u8>, number: usize| bytes.extend((number as u64).to_le_bytes());
        let name = |bytes: &mut Vec<u8>, name: &str| {
            number(bytes, name.len());
            bytes.extend(name.as_bytes());
        };
        let wish = |bytes: &mut Vec<u8>, wish: &Option<String>| {
            number(bytes, usize::from(wish.is_some()));
            wish.iter().for_each(|wish| name(bytes, wish));
        };
        number(&mut bytes, self.matches);
        number(&mut bytes, self.asks.len());
        self.asks.sort_by_key(|ask| ask.idle_since);
        for Listed { said, live, .. } in &self.asks {
            bytes.extend(said.island.get().to_le_bytes());
            bytes.extend(said.ask.get().to_le_bytes());
            number(&mut bytes, said.slots as usize);
            wish(&mut bytes, &said.region);
            let mut models: Vec<&String> = vec![];
            for model in &said.models {
                if !models.contains(&model) {
                    models.push(model);
                }
            }
            number(&mut bytes, models.len());
            models.iter().for_each(|model| name(&mut bytes, model));
            number(&mut bytes, usize::from(said.trust.min(2)));
            number(&mut bytes, health(said.health));
            number(&mut bytes, said.latency_ms as usize);
            number(&mut bytes, live.len());
            let mut live = live.clone();
            live.sort_unstable();
            live.iter().for_each(|serial| number(&mut bytes, *serial));
        }
        number(&mut bytes, self.waiting.len());
        self.waiting.sort_by_key(|waiting| waiting.ticket);
        for Waiting { order, .. } in &self.waiting {
            bytes.extend(order.job.get().to_le_bytes());
            bytes.extend(order.user.get().to_le_bytes());
            bytes.extend(order.bid.get().to_le_bytes());
            number(&mut bytes, usize::from(order.priority));
            wish(&mut bytes, &order.region);
            wish(&mut bytes, &order.model);
            number(&mut bytes, usize::from(order.min_trust));
            bytes.extend(order.deadline.as_millis().to_le_bytes());
            number(&mut bytes, order.excluded.len());
            order.excluded.iter().for_each(|island| bytes.extend(island.get().to_le_bytes()));
        }
        bytes.iter().fold(14_695_981_039_346_656_037, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211)
        })
    }

    fn set_ask(&mut self, ask: &Ask) -> Option<Refusal> {
        if ask.ask.get() < 0 || ask.ask > MAX_AMOUNT {
            return Some(Refusal::AskOutOfRange);
        }
        if ask.models.len() > 8 {
            return Some(Refusal::TooManyModels);
        }
        if ask.region.iter().chain(&ask.models).any(|name| name.len() > self.limits.max_name) {
            return Some(Refusal::NameTooLong);
        }
        let Some(index) = self.asks.iter().position(|known| known.said.island == ask.island) else {
            if self.asks.len() >= self.limits.max_asks {
                return Some(Refusal::TooManyAsks);
            }
            self.turn += 1;
            self.asks.push(Listed { said: ask.clone(), idle_since: self.turn, live: vec![] });
            return None;
        };
        self.asks[index].said = ask.clone();
        None
    }

    fn submit(&mut self, order: &Order) -> Seen {
        let mut order = order.clone();
        order.excluded.sort();
        order.excluded.dedup();
        order.priority = order.priority.min(100);
        let (job, user) = (order.job, order.user);
        let could = self.asks.iter().filter(|ask| ask.unfit(&order).is_none());
        let best_ask = could.map(|ask| ask.said.ask).min();
        let refused = |reason| Seen::Other(Event::Refused { job, best_ask, reason });
        if self.waiting.iter().any(|waiting| waiting.order.job == job) {
            return refused(Refusal::AlreadyWaiting);
        }
        if order.excluded.len() > self.limits.max_excluded {
            return refused(Refusal::TooManyExcluded);
        }
        if order.region.iter().chain(&order.model).any(|name| name.len() > self.limits.max_name) {
            return refused(Refusal::NameTooLong);
        }
        if let Some(index) = self.best_for(&order) {
            return self.assign(&order, index);
        }
        if !order.may_wait {
            return refused(Refusal::NoneAvailable);
        }
        if self.waiting.len() >= self.limits.max_waiting {
            return refused(Refusal::TooManyWaiting);
        }
        let of_user = self.waiting.iter().filter(|waiting| waiting.order.user == user).count();
        if of_user >= self.limits.max_waiting_per_user {
            return refused(Refusal::TooManyWaitingOfUser);
        }
        self.tickets += 1;
        self.queue(Waiting { order, ticket: self.tickets });
        Seen::Other(Event::Waiting { job, best_ask })
    }

    /// The user's jobs of this bid keep their tickets, but hand them out anew: highest priority first, among
    /// equals the one that had the older ticket.
    fn queue(&mut self, new: Waiting) {
        let (user, bid) = (new.order.user, new.order.bid);
        self.waiting.push(new);
        let same = |waiting: &&mut Waiting| waiting.order.user == user && waiting.order.bid == bid;
        let mut own: Vec<&mut Waiting> = self.waiting.iter_mut().filter(same).collect();
        let mut tickets: Vec<usize> = own.iter().map(|waiting| waiting.ticket).collect();
        tickets.sort_unstable();
        own.sort_by_key(|waiting| (Reverse(waiting.order.priority), waiting.ticket));
        for (waiting, ticket) in own.into_iter().zip(tickets) {
            waiting.ticket = ticket;
        }
    }

    fn serve_one(&mut self) -> Option<Seen> {
        for job in self.order() {
            let index = self.waiting.iter().position(|waiting| waiting.order.job == job).unwrap();
            if let Some(ask) = self.best_for(&self.waiting[index].order) {
                let waiting = self.waiting.remove(index);
                return Some(self.assign(&waiting.order, ask));
            }
        }
        None
    }

    fn best_for(&self, order: &Order) -> Option<usize> {
        let open = |index: &usize| {
            let ask = &self.asks[*index];
            ask.available() && ask.unfit(order).is_none() && ask.said.ask <= order.bid
        };
        let mut open: Vec<usize> = (0..self.asks.len()).filter(open).collect();
        let regular = |index: &usize| self.asks[*index].said.health != Health::LastResort;
        if open.iter().any(regular) {
            open.retain(regular);
        }
        open.into_iter().min_by_key(|index| self.asks[*index].key())
    }

    fn assign(&mut self, order: &Order, index: usize) -> Seen {
        let (considered, complete) = self.considered(order, index);
        self.matches += 1;
        self.turn += 1;
        let ask = &mut self.asks[index];
        ask.live.push(self.matches);
        ask.idle_since = self.turn;
        Seen::Matched {
            job: order.job,
            bid: order.bid,
            island: ask.said.island,
            number: self.matches,
            price: ask.said.ask,
            considered,
            complete,
        }
    }

    fn considered(&self, order: &Order, chosen: usize) -> (Vec<(IslandId, MicroCredits, Verdict)>, bool) {
        let chosen = &self.asks[chosen];
        let mut before: Vec<&Listed> = self.asks.iter().filter(|ask| ask.key() < chosen.key()).collect();
        before.sort_by_key(|ask| ask.key());
        let verdict = |ask: &Listed| match ask.unfit(order) {
            Some(verdict) => verdict,
            None if !ask.available() => Verdict::Busy,
            None => Verdict::LastResort,
        };
        let mut list: Vec<_> =
            before.iter().map(|ask| (ask.said.island, ask.said.ask, verdict(ask))).collect();
        let room = self.limits.considered.max(1) - 1;
        let complete = list.len() <= room;
        list.truncate(room);
        list.push((chosen.said.island, chosen.said.ask, Verdict::Chosen));
        (list, complete)
    }
}
