//! What an order says about where it may run.

use types::id::IslandId;

use crate::names::{Name, Names};

/// What an order wishes for. An Island meets a limited number of wishes, so both sides find each other by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wish {
    pub(crate) region: Name,
    pub(crate) model: Name,
    pub(crate) min_trust: u8,
}

/// A wish and the Islands that are out of the question. Orders of the same suit can go to exactly the same Islands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Suit {
    pub(crate) wish: Wish,
    /// Sorted, each once.
    pub(crate) excluded: Vec<IslandId>,
}

impl Default for Suit {
    /// No wishes.
    fn default() -> Self {
        Self { wish: Wish { region: Name::ANY, model: Name::ANY, min_trust: 0 }, excluded: Vec::new() }
    }
}

impl Suit {
    /// With the names as the book knows them now.
    pub(crate) fn new(
        names: &Names,
        region: Option<&str>,
        model: Option<&str>,
        min_trust: u8,
        mut excluded: Vec<IslandId>,
    ) -> Self {
        excluded.sort_unstable();
        excluded.dedup();
        Self { wish: Wish { region: names.find(region), model: names.find(model), min_trust }, excluded }
    }

    pub(crate) fn excludes(&self, island: IslandId) -> bool {
        self.excluded.binary_search(&island).is_ok()
    }
}
