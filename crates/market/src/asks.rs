//! The Islands in the book: all of them in price order, and those with a free slot under each thing an order may
//! wish for, so that finding a winner never walks over Islands that are busy or do not suit.

use std::collections::{BTreeMap, BTreeSet};

use types::id::{Id, IslandId};
use types::money::MicroCredits;

use crate::command::{Ask, Health, Reservation};
use crate::names::{Name, Names};
use crate::shelves::{PriceLevel, Shelves};
use crate::suit::{Suit, Wish};

/// The most any Island is trusted; more counts as this.
pub(crate) const MAX_TRUST: u8 = 2;

/// Latencies below this many milliseconds are the first step. Each further step reaches twice as far.
const LATENCY_STEP_MS: u32 = 50;

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
    /// The models it names, each once.
    pub models: &'a [String],
    /// How far it is trusted, from 0 to 2.
    pub trust: u8,
    /// How its last attempts went.
    pub health: Health,
    /// How long it lately took to its first output, in milliseconds; 0 if not known.
    pub latency_ms: u32,
}

impl AskView<'_> {
    /// Whether a job could go there now.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.busy < self.slots
    }
}

/// A place in the order of choice: lowest ask, then best health, then least latency in coarse steps, then idle
/// longest, then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Choice {
    pub(crate) ask: MicroCredits,
    health: Health,
    /// Coarse, so that noise does not decide: otherwise a hair's breadth would give all jobs to one Island.
    latency_step: u32,
    idle_since: u64,
    pub(crate) island: IslandId,
}

impl Choice {
    /// Before every other.
    pub(crate) fn first() -> Self {
        let (ask, island) = (MicroCredits::new(i64::MIN), IslandId::from_i64(i64::MIN));
        Self { ask, health: Health::Normal, latency_step: 0, idle_since: 0, island }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// As it was said, but with each model once and no more trust than there is.
    pub(crate) ask: Ask,
    pub(crate) region: Name,
    pub(crate) models: Vec<Name>,
    /// The turn at which it entered, was last matched or last released, whichever is the latest.
    idle_since: u64,
    /// Serials of the live reservations. How busy the Island is follows from them, so the two cannot disagree.
    live: BTreeSet<u64>,
}

impl Listing {
    pub(crate) fn choice(&self) -> Choice {
        let Ask { island, ask, health, latency_ms, .. } = self.ask;
        let latency_step = u32::BITS - (latency_ms / LATENCY_STEP_MS).leading_zeros();
        Choice { ask, health, latency_step, idle_since: self.idle_since, island }
    }

    pub(crate) fn busy(&self) -> u32 {
        u32::try_from(self.live.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn free_slots(&self) -> u32 {
        self.ask.slots.saturating_sub(self.busy())
    }

    /// Each pair of a region and a model that an order may name and find this Island by.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (Name, Name)> {
        let regions = [Some(Name::ANY), Some(self.region).filter(|region| *region != Name::ANY)];
        regions.into_iter().flatten().flat_map(|region| {
            let models = std::iter::once(Name::ANY).chain(self.models.iter().copied());
            models.map(move |model| (region, model))
        })
    }

    /// Every wish it meets.
    fn wishes(&self) -> impl Iterator<Item = Wish> {
        let trust = self.ask.trust;
        self.labels().flat_map(move |(region, model)| {
            (0..=trust).map(move |min_trust| Wish { region, model, min_trust })
        })
    }

    pub(crate) fn view(&self) -> AskView<'_> {
        let Ask { island, ask, slots, ref region, ref models, trust, health, latency_ms } = self.ask;
        let busy = self.busy();
        let region = region.as_deref();
        AskView { island, ask, slots, busy, region, models, trust, health, latency_ms }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    islands: BTreeMap<IslandId, Listing>,
    shelves: Shelves,
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

    /// Puts an ask in or replaces it. Answers whether that can have made a match possible: what an Island says
    /// again and again, unchanged but for its latency, costs a look.
    pub(crate) fn set(&mut self, mut ask: Ask, names: &mut Names) -> bool {
        ask.trust = ask.trust.min(MAX_TRUST);
        let mut known = 0;
        while known < ask.models.len() {
            if ask.models[..known].contains(&ask.models[known]) {
                ask.models.remove(known);
            } else {
                known += 1;
            }
        }
        let Some(listing) = self.islands.get_mut(&ask.island) else {
            self.turns += 1;
            let (region, models) = take_names(&ask, names);
            let listing = Listing { region, models, idle_since: self.turns, live: BTreeSet::new(), ask };
            self.shelves.add(&listing);
            self.islands.insert(listing.ask.island, listing);
            return true;
        };
        if listing.ask == ask {
            return false;
        }
        let same_names = listing.ask.region == ask.region && listing.ask.models == ask.models;
        let (slots, trust) = (listing.ask.slots, listing.ask.trust);
        let before = listing.choice();
        if same_names && slots == ask.slots && trust == ask.trust {
            // No index knows the exact latency.
            let exact = std::mem::replace(&mut listing.ask, ask);
            if listing.choice() == before {
                return false;
            }
            // Otherwise the old places are needed to leave them.
            let ask = std::mem::replace(&mut listing.ask, exact);
            self.shelves.remove(listing);
            listing.ask = ask;
        } else {
            self.shelves.remove(listing);
            // The new names are taken first: those that stay need not be learnt again.
            (listing.region, listing.models) = take_names(&ask, names);
            let old = std::mem::replace(&mut listing.ask, ask);
            give_names_back(&old, names);
        }
        self.shelves.add(listing);
        true
    }

    pub(crate) fn remove(&mut self, island: IslandId, names: &mut Names) {
        if let Some(listing) = self.islands.remove(&island) {
            self.shelves.remove(&listing);
            give_names_back(&listing.ask, names);
        }
    }

    /// Takes a slot, which the caller has found to be free.
    pub(crate) fn reserve(&mut self, reservation: Reservation) {
        if let Some(listing) = self.islands.get_mut(&reservation.island) {
            self.turns += 1;
            let turn = self.turns;
            self.shelves.turn(listing, |listing| {
                listing.live.insert(reservation.serial);
                listing.idle_since = turn;
            });
        }
    }

    /// Gives a slot back; answers whether the reservation was live.
    pub(crate) fn release(&mut self, reservation: Reservation) -> bool {
        let Reservation { island, serial } = reservation;
        let Some(listing) = self.islands.get_mut(&island) else { return false };
        if !listing.live.contains(&serial) {
            return false;
        }
        self.turns += 1;
        let turn = self.turns;
        self.shelves.turn(listing, |listing| {
            listing.live.remove(&serial);
            listing.idle_since = turn;
        });
        true
    }

    /// The Island that a job of this suit goes to, if there is one.
    pub(crate) fn first_free(&self, suit: &Suit, bid: MicroCredits) -> Option<Choice> {
        let regular = self.shelves.first_free(suit, false).filter(|choice| choice.ask <= bid);
        regular.or_else(|| self.shelves.first_free(suit, true).filter(|choice| choice.ask <= bid))
    }

    /// The lowest ask that a job of this suit could ever meet, busy or not.
    pub(crate) fn lowest_eligible(&self, suit: &Suit) -> Option<MicroCredits> {
        self.shelves.lowest_eligible(suit)
    }

    pub(crate) fn lowest_free(&self) -> Option<MicroCredits> {
        let first = |last_resort| self.shelves.first_free(&Suit::default(), last_resort);
        [first(false), first(true)].into_iter().flatten().map(|choice| choice.ask).min()
    }

    pub(crate) fn lowest(&self) -> Option<MicroCredits> {
        self.shelves.levels().next().map(|level| level.ask)
    }

    /// The prices asked, lowest first.
    pub(crate) fn levels(&self) -> impl Iterator<Item = PriceLevel> {
        self.shelves.levels()
    }

    /// How many ask less than this Island does.
    pub(crate) fn cheaper_than(&self, island: IslandId) -> Option<usize> {
        let listing = self.islands.get(&island)?;
        Some(self.shelves.cheaper_than(listing.ask.ask))
    }

    pub(crate) fn view(&self, island: IslandId) -> Option<AskView<'_>> {
        self.islands.get(&island).map(Listing::view)
    }

    /// The ask and the wishes it meets, if a job could go to this Island now.
    pub(crate) fn open_to(&self, island: IslandId) -> Option<(MicroCredits, impl Iterator<Item = Wish>)> {
        let listing = self.islands.get(&island).filter(|listing| listing.free_slots() > 0)?;
        Some((listing.ask.ask, listing.wishes()))
    }

    /// Every ask in the order of choice.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Listing> {
        self.shelves.in_order().filter_map(|choice| self.islands.get(&choice.island))
    }

    /// Every ask, longest idle first, with the serials of its live reservations.
    pub(crate) fn by_idleness(&self) -> Vec<(AskView<'_>, &BTreeSet<u64>)> {
        let mut asks: Vec<_> = self.islands.values().collect();
        asks.sort_unstable_by_key(|listing| listing.idle_since);
        asks.into_iter().map(|listing| (listing.view(), &listing.live)).collect()
    }
}

fn take_names(ask: &Ask, names: &mut Names) -> (Name, Vec<Name>) {
    let region = ask.region.as_deref().map_or(Name::ANY, |region| names.take(region));
    (region, ask.models.iter().map(|model| names.take(model)).collect())
}

fn give_names_back(ask: &Ask, names: &mut Names) {
    for name in ask.region.iter().chain(&ask.models) {
        names.give_back(name);
    }
}
