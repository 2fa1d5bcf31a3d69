//! The book of a Cargo as everybody may see it: asks and waiting bids by price, without names.

use types::id::IslandId;
use types::money::MicroCredits;

use super::Market;

/// All asks at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Per unit.
    pub price: MicroCredits,
    /// Jobs that could begin now.
    pub free: u64,
    /// Jobs that run at once when all are busy.
    pub slots: u64,
    /// Islands.
    pub islands: u64,
}

/// All waiting jobs of one bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Per unit.
    pub bid: MicroCredits,
    /// Jobs.
    pub jobs: u64,
}

/// The book in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The lowest ask of a free slot.
    pub best_ask: Option<MicroCredits>,
    /// The lowest ask, busy or not.
    pub lowest_ask: Option<MicroCredits>,
    /// Islands.
    pub islands: u64,
    /// Their slots.
    pub slots: u64,
    /// Free ones.
    pub free: u64,
    /// Free ones at the best ask.
    pub free_at_best: u64,
    /// Jobs that wait.
    pub waiting: u64,
    /// The highest bid of them.
    pub best_bid: Option<MicroCredits>,
}

/// An Island's place among the asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// 1 is the cheapest; those that ask the same share a place.
    pub place: u64,
    /// Islands in the book.
    pub of: u64,
    /// The next lower ask of another Island.
    pub cheaper: Option<MicroCredits>,
    /// The lowest ask of another Island that has a free slot.
    pub best_other: Option<MicroCredits>,
}

impl Market {
    /// The asks by price, lowest first; at most so many prices.
    #[must_use]
    pub fn depth(&self, most: usize) -> Vec<Level> {
        let state = self.lock();
        let mut levels: Vec<Level> = Vec::new();
        for ask in state.book.asks() {
            let (slots, free) = (u64::from(ask.slots), u64::from(ask.slots.saturating_sub(ask.busy)));
            if let Some(level) = levels.last_mut().filter(|level| level.price == ask.ask) {
                level.slots += slots;
                level.free += free;
                level.islands += 1;
            } else if levels.len() == most {
                break;
            } else {
                levels.push(Level { price: ask.ask, free, slots, islands: 1 });
            }
        }
        levels
    }

    /// What waiting jobs bid, highest first; at most so many bids.
    #[must_use]
    pub fn demand(&self, most: usize) -> Vec<Demand> {
        let state = self.lock();
        let mut demand: Vec<Demand> = Vec::new();
        for waiting in state.book.waiting() {
            if let Some(last) = demand.last_mut().filter(|last| last.bid == waiting.bid) {
                last.jobs += 1;
            } else if demand.len() == most {
                break;
            } else {
                demand.push(Demand { bid: waiting.bid, jobs: 1 });
            }
        }
        demand
    }

    /// How the book stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let state = self.lock();
        let best_ask = state.book.best_ask();
        let mut standing = Standing {
            best_ask,
            lowest_ask: state.book.lowest_ask(),
            waiting: state.book.waiting_count().try_into().unwrap_or(u64::MAX),
            best_bid: state.book.waiting().next().map(|waiting| waiting.bid),
            ..Standing::default()
        };
        for ask in state.book.asks() {
            let free = u64::from(ask.slots.saturating_sub(ask.busy));
            standing.islands += 1;
            standing.slots += u64::from(ask.slots);
            standing.free += free;
            if Some(ask.ask) == best_ask {
                standing.free_at_best += free;
            }
        }
        standing
    }

    /// An Island's place among the asks, if it is there.
    #[must_use]
    pub fn rank(&self, island: IslandId) -> Option<Rank> {
        let state = self.lock();
        let mine = state.book.ask_of(island)?.ask;
        let mut rank = Rank { place: 1, of: 0, cheaper: None, best_other: None };
        for ask in state.book.asks() {
            rank.of += 1;
            if ask.island == island {
                continue;
            }
            if ask.ask < mine {
                rank.place += 1;
                rank.cheaper = Some(ask.ask);
            }
            if rank.best_other.is_none() && ask.is_available() {
                rank.best_other = Some(ask.ask);
            }
        }
        Some(rank)
    }
}
