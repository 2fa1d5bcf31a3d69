//! The indexes over the asks. They say nothing that the listings do not say; they only find it quickly.

use std::collections::{BTreeMap, BTreeSet};

use types::id::IslandId;
use types::money::MicroCredits;

use crate::asks::{Choice, Listing, MAX_TRUST};
use crate::command::Health;
use crate::names::Name;
use crate::ranked::Ranked;
use crate::suit::Suit;

/// All Islands that ask the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceLevel {
    /// What they ask, micro-credits per unit of the Cargo.
    pub ask: MicroCredits,
    /// How many of their slots are free.
    pub free_slots: u64,
    /// How many slots they have.
    pub slots: u64,
    /// How many they are.
    pub islands: usize,
}

/// The Islands of one region, model and trust, as far as an order can tell them apart. An Island stands on one shelf
/// for each pair of region and model it may be found by, but for one trust: an order that wants some trust looks at the
/// shelves of each that is enough, of which there are three at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shelf {
    region: Name,
    model: Name,
    trust: u8,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Shelves {
    /// Every ask.
    all: BTreeSet<Choice>,
    /// Every ask by shelf, whatever its turn: does not change when jobs come and go.
    listed: BTreeSet<(Shelf, MicroCredits, IslandId)>,
    /// Those with a free slot by shelf, the ones of last resort apart.
    free: BTreeSet<(Shelf, bool, Choice)>,
    levels: BTreeMap<MicroCredits, PriceLevel>,
    by_price: Ranked<(MicroCredits, IslandId)>,
}

impl Shelves {
    pub(crate) fn add(&mut self, listing: &Listing) {
        let (ask, island) = (listing.ask.ask, listing.ask.island);
        for shelf in shelves(listing) {
            self.listed.insert((shelf, ask, island));
        }
        self.by_price.insert((ask, island));
        let none = PriceLevel { ask, free_slots: 0, slots: 0, islands: 0 };
        let level = self.levels.entry(ask).or_insert(none);
        level.islands += 1;
        level.slots += u64::from(listing.ask.slots);
        self.stand(listing);
    }

    pub(crate) fn remove(&mut self, listing: &Listing) {
        let (ask, island) = (listing.ask.ask, listing.ask.island);
        self.leave(listing);
        for shelf in shelves(listing) {
            self.listed.remove(&(shelf, ask, island));
        }
        self.by_price.remove((ask, island));
        if let Some(level) = self.levels.get_mut(&ask) {
            level.islands -= 1;
            level.slots -= u64::from(listing.ask.slots);
            if level.islands == 0 {
                self.levels.remove(&ask);
            }
        }
    }

    /// A slot is taken or given back, and with it the turn changes; nothing else does.
    pub(crate) fn turn(&mut self, listing: &mut Listing, edit: impl FnOnce(&mut Listing)) {
        self.leave(listing);
        edit(listing);
        self.stand(listing);
    }

    /// The first with a free slot that suits, among those of last resort or among the others. Walks over excluded ones
    /// only, of which there are few.
    pub(crate) fn first_free(&self, suit: &Suit, last_resort: bool) -> Option<Choice> {
        let start = Choice::first();
        let first = |shelf| {
            let from = (shelf, last_resort, start);
            let row = self.free.range(from..).take_while(|entry| (entry.0, entry.1) == (shelf, last_resort));
            row.map(|entry| entry.2).find(|choice| !suit.excludes(choice.island))
        };
        wanted(suit).filter_map(first).min()
    }

    /// The lowest ask that suits, busy or not.
    pub(crate) fn lowest_eligible(&self, suit: &Suit) -> Option<MicroCredits> {
        let Choice { ask, island, .. } = Choice::first();
        let first = |shelf| {
            let from = (shelf, ask, island);
            let row = self.listed.range(from..).take_while(|entry| entry.0 == shelf);
            row.filter(|entry| !suit.excludes(entry.2)).map(|entry| entry.1).next()
        };
        wanted(suit).filter_map(first).min()
    }

    pub(crate) fn in_order(&self) -> impl Iterator<Item = Choice> {
        self.all.iter().copied()
    }

    pub(crate) fn levels(&self) -> impl Iterator<Item = PriceLevel> {
        self.levels.values().copied()
    }

    /// How many ask less.
    pub(crate) fn cheaper_than(&self, ask: MicroCredits) -> usize {
        self.by_price.count_below((ask, Choice::first().island))
    }

    fn stand(&mut self, listing: &Listing) {
        let choice = listing.choice();
        self.all.insert(choice);
        let free = listing.free_slots();
        if free > 0 {
            let last_resort = listing.ask.health == Health::LastResort;
            for shelf in shelves(listing) {
                self.free.insert((shelf, last_resort, choice));
            }
            if let Some(level) = self.levels.get_mut(&choice.ask) {
                level.free_slots += u64::from(free);
            }
        }
    }

    fn leave(&mut self, listing: &Listing) {
        let choice = listing.choice();
        self.all.remove(&choice);
        let free = listing.free_slots();
        if free > 0 {
            let last_resort = listing.ask.health == Health::LastResort;
            for shelf in shelves(listing) {
                self.free.remove(&(shelf, last_resort, choice));
            }
            if let Some(level) = self.levels.get_mut(&choice.ask) {
                level.free_slots -= u64::from(free);
            }
        }
    }
}

fn shelves(listing: &Listing) -> impl Iterator<Item = Shelf> {
    let trust = listing.ask.trust;
    listing.labels().map(move |(region, model)| Shelf { region, model, trust })
}

/// The shelves on which a job finds what suits it.
fn wanted(suit: &Suit) -> impl Iterator<Item = Shelf> {
    let wish = suit.wish;
    (wish.min_trust..=MAX_TRUST).map(move |trust| Shelf { region: wish.region, model: wish.model, trust })
}
