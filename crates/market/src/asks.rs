//! The Islands in the book: all of them in price order, and those with a free slot in a set of their own, so
//! that finding a winner never walks over busy ones.

use std::collections::{BTreeMap, BTreeSet};

use types::id::IslandId;
use types::money::MicroCredits;

use crate::command::Reservation;

/// An Island's ask as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskView<'a> {
    /// Whose ask.
    pub island: IslandId,
    /// How much, micro-credits per unit of the Cargo.
    pub ask: MicroCredits,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How many of its slots are reserved. More than `slots` after the Island lowered them under way.
    pub busy: u32,
    /// Where it is.
    pub region: Option<&'a str>,
}

impl AskView<'_> {
    /// Whether a job could go there now.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.busy < self.slots
    }
}

/// What an order says about where it may run. Two orders of the same suit can go to exactly the same Islands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Suit {
    pub(crate) region: Option<String>,
    /// Sorted, each once.
    pub(crate) excluded: Vec<IslandId>,
}

impl Suit {
    pub(crate) fn new(region: Option<String>, mut excluded: Vec<IslandId>) -> Self {
        excluded.sort_unstable();
        excluded.dedup();
        Self { region, excluded }
    }

    pub(crate) fn excludes(&self, island: IslandId) -> bool {
        self.excluded.binary_search(&island).is_ok()
    }
}

/// A place in the order of choice: lowest ask, then idle longest, then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Choice {
    pub(crate) ask: MicroCredits,
    idle_since: u64,
    pub(crate) island: IslandId,
}

#[derive(Clone, Debug)]
struct Listing {
    ask: MicroCredits,
    slots: u32,
    region: Option<String>,
    /// The turn at which it entered, was last matched or last released, whichever is the latest.
    idle_since: u64,
    /// Serials of the live reservations. How busy the Island is follows from them, so the two cannot disagree.
    live: BTreeSet<u64>,
}

impl Listing {
    fn choice(&self, island: IslandId) -> Choice {
        Choice { ask: self.ask, idle_since: self.idle_since, island }
    }

    fn view(&self, island: IslandId) -> AskView<'_> {
        AskView {
            island,
            ask: self.ask,
            slots: self.slots,
            busy: u32::try_from(self.live.len()).unwrap_or(u32::MAX),
            region: self.region.as_deref(),
        }
    }
}

/// Asks in the order of choice, all together and by region.
#[derive(Clone, Debug, Default)]
struct Shelf {
    all: BTreeSet<Choice>,
    regions: BTreeMap<String, BTreeSet<Choice>>,
}

impl Shelf {
    fn insert(&mut self, choice: Choice, region: Option<&str>) {
        self.all.insert(choice);
        let Some(region) = region else { return };
        match self.regions.get_mut(region) {
            Some(asks) => {
                asks.insert(choice);
            }
            None => {
                self.regions.insert(region.to_owned(), BTreeSet::from([choice]));
            }
        }
    }

    fn remove(&mut self, choice: Choice, region: Option<&str>) {
        self.all.remove(&choice);
        let Some(region) = region else { return };
        if let Some(asks) = self.regions.get_mut(region) {
            asks.remove(&choice);
            // Otherwise every name that was ever used would stay.
            if asks.is_empty() {
                self.regions.remove(region);
            }
        }
    }

    /// The first that an order of this suit may go to. Walks over excluded ones only, of which there are few.
    fn first(&self, suit: &Suit) -> Option<Choice> {
        let asks = match suit.region.as_deref() {
            Some(region) => self.regions.get(region)?,
            None => &self.all,
        };
        asks.iter().find(|choice| !suit.excludes(choice.island)).copied()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    islands: BTreeMap<IslandId, Listing>,
    /// Every ask.
    listed: Shelf,
    /// Those with a free slot.
    free: Shelf,
    /// Counts enterings, matches and releases; orders Islands by how long they are idle.
    turns: u64,
}

impl Asks {
    pub(crate) fn len(&self) -> usize {
        self.islands.len()
    }

    pub(crate) fn contains(&self, island: IslandId) -> bool {
        self.islands.contains_key(&island)
    }

    pub(crate) fn set(&mut self, island: IslandId, ask: MicroCredits, slots: u32, region: Option<String>) {
        if !self.contains(island) {
            self.turns += 1;
            let idle_since = self.turns;
            // Without slots it is on no shelf of free ones; the change below puts it where it belongs.
            let listing = Listing { ask, slots: 0, region: None, idle_since, live: BTreeSet::new() };
            self.listed.insert(listing.choice(island), None);
            self.islands.insert(island, listing);
        }
        self.change(island, |listing| {
            listing.ask = ask;
            listing.slots = slots;
            listing.region = region;
        });
    }

    pub(crate) fn remove(&mut self, island: IslandId) {
        if let Some(listing) = self.islands.remove(&island) {
            let choice = listing.choice(island);
            self.listed.remove(choice, listing.region.as_deref());
            self.free.remove(choice, listing.region.as_deref());
        }
    }

    /// Takes a slot, which the caller has found to be free.
    pub(crate) fn reserve(&mut self, reservation: Reservation) {
        self.turns += 1;
        let turn = self.turns;
        self.change(reservation.island, |listing| {
            listing.live.insert(reservation.serial);
            listing.idle_since = turn;
        });
    }

    /// Gives a slot back; answers whether the reservation was live.
    pub(crate) fn release(&mut self, reservation: Reservation) -> bool {
        let Reservation { island, serial } = reservation;
        if !self.islands.get(&island).is_some_and(|listing| listing.live.contains(&serial)) {
            return false;
        }
        self.turns += 1;
        let turn = self.turns;
        self.change(island, |listing| {
            listing.live.remove(&serial);
            listing.idle_since = turn;
        });
        true
    }

    /// The Island that a job of this suit goes to, if it pays enough.
    pub(crate) fn first_free(&self, suit: &Suit) -> Option<Choice> {
        self.free.first(suit)
    }

    /// The lowest ask that a job of this suit could ever meet, busy or not.
    pub(crate) fn lowest_eligible(&self, suit: &Suit) -> Option<MicroCredits> {
        self.listed.first(suit).map(|choice| choice.ask)
    }

    pub(crate) fn lowest_free(&self) -> Option<MicroCredits> {
        self.free.all.first().map(|choice| choice.ask)
    }

    pub(crate) fn lowest(&self) -> Option<MicroCredits> {
        self.listed.all.first().map(|choice| choice.ask)
    }

    pub(crate) fn view(&self, island: IslandId) -> Option<AskView<'_>> {
        self.islands.get(&island).map(|listing| listing.view(island))
    }

    /// Every ask in the order of choice.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (Choice, AskView<'_>)> {
        self.listed.all.iter().filter_map(|&choice| Some((choice, self.view(choice.island)?)))
    }

    /// Every ask, longest idle first, with the serials of its live reservations.
    pub(crate) fn by_idleness(&self) -> Vec<(AskView<'_>, &BTreeSet<u64>)> {
        let mut asks: Vec<_> = self.islands.iter().collect();
        asks.sort_unstable_by_key(|(_, listing)| listing.idle_since);
        asks.into_iter().map(|(&island, listing)| (listing.view(island), &listing.live)).collect()
    }

    /// The one way to change a listing: off the shelves under its old place, on them under its new one.
    fn change(&mut self, island: IslandId, edit: impl FnOnce(&mut Listing)) {
        let Some(listing) = self.islands.get_mut(&island) else { return };
        let choice = listing.choice(island);
        self.listed.remove(choice, listing.region.as_deref());
        self.free.remove(choice, listing.region.as_deref());
        edit(listing);
        let choice = listing.choice(island);
        self.listed.insert(choice, listing.region.as_deref());
        if listing.view(island).is_available() {
            self.free.insert(choice, listing.region.as_deref());
        }
    }
}
