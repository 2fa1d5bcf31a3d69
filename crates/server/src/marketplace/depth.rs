//! The book of a Cargo as everybody may see it: asks and waiting bids by price, without names.

pub use market::{BidLevel, PriceLevel};
use types::id::IslandId;
use types::money::MicroCredits;

use super::Market;

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
    pub place: usize,
    /// Islands in the book.
    pub of: usize,
    /// The next lower ask of another Island.
    pub cheaper: Option<MicroCredits>,
    /// The lowest ask of another Island that has a free slot.
    pub best_other: Option<MicroCredits>,
}

impl Market {
    /// The asks by price, lowest first; at most so many prices.
    #[must_use]
    pub fn depth(&self, most: usize) -> Vec<PriceLevel> {
        self.lock().book.depth(most)
    }

    /// What waiting jobs bid, highest first; at most so many bids.
    #[must_use]
    pub fn demand(&self, most: usize) -> Vec<BidLevel> {
        self.lock().book.demand(most)
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
        for level in state.book.depth(usize::MAX) {
            standing.islands += u64::try_from(level.islands).unwrap_or(u64::MAX);
            standing.slots += level.slots;
            standing.free += level.free_slots;
            if Some(level.ask) == best_ask {
                standing.free_at_best = level.free_slots;
            }
        }
        standing
    }

    /// The place among the asks that an Island that is there would have with this ask.
    #[must_use]
    pub fn rank_at(&self, island: IslandId, mine: MicroCredits) -> Option<Rank> {
        let state = self.lock();
        state.book.ask_of(island)?;
        let mut rank = Rank { place: 1, of: state.book.ask_count(), cheaper: None, best_other: None };
        for ask in state.book.asks().filter(|ask| ask.island != island) {
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

    /// An Island's place among the asks, if it is there.
    #[must_use]
    pub fn rank(&self, island: IslandId) -> Option<Rank> {
        let state = self.lock();
        let mine = state.book.ask_of(island)?.ask;
        let (place, of) = state.book.rank(island)?;
        let mut rank = Rank { place, of, cheaper: None, best_other: None };
        for ask in state.book.asks().filter(|ask| ask.island != island) {
            if ask.ask < mine {
                rank.cheaper = Some(ask.ask);
            } else if rank.best_other.is_some() {
                break;
            }
            if rank.best_other.is_none() && ask.is_available() {
                rank.best_other = Some(ask.ask);
            }
        }
        Some(rank)
    }
}
