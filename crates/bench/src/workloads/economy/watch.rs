//! Watches every match, from outside: whether the job went where the rules say, found by looking at all Islands one by one
//! in the simulation's own books. Shares no code with the market.

use market::{Health, Match, Order};
use types::money::MicroCredits;

use super::agents::Island;
use crate::Result;

/// All Islands, and the Cargo it is about.
#[derive(Debug)]
pub struct Rivals<'a> {
    pub islands: &'a [Island],
    pub cargo: usize,
}

impl Rivals<'_> {
    /// That the price is within the bid and is the ask of the chosen one, which may have the job; and that nobody else who
    /// may have it asks less. The slot is not taken yet.
    pub fn check(&self, order: &Order, matched: &Match) -> Result<()> {
        let wrong = |what: &str| Err(format!("{what}: {matched:?} for {order:?}").into());
        if matched.price > order.bid || matched.bid != order.bid {
            return wrong("above the bid");
        }
        let mut chosen = None;
        // The lowest ask of those in order, and of those of last resort.
        let mut lowest: [Option<MicroCredits>; 2] = [None, None];
        for island in self.islands.iter().filter(|island| self.may_have(island, order)) {
            let last_resort = island.ask.health == Health::LastResort;
            let ask = island.ask.ask;
            if island.ask.island == matched.reservation.island {
                chosen = Some((ask, last_resort));
            }
            let found = &mut lowest[usize::from(last_resort)];
            *found = Some(found.map_or(ask, |lowest| lowest.min(ask)));
        }
        let Some((ask, last_resort)) = chosen else { return wrong("not eligible or not free") };
        if ask != matched.price {
            return wrong("the price is not the ask");
        }
        if last_resort && lowest[0].is_some() {
            return wrong("of last resort, and another was free");
        }
        if lowest[usize::from(last_resort)] != Some(ask) {
            return wrong("a cheaper one was free");
        }
        Ok(())
    }

    fn may_have(&self, island: &Island, order: &Order) -> bool {
        let ask = &island.ask;
        island.cargo == self.cargo
            && island.online
            && island.busy < ask.slots
            && ask.ask <= order.bid
            && ask.trust >= order.min_trust
            && (order.region.is_none() || order.region == ask.region)
            && order.model.iter().all(|model| ask.models.contains(model))
            && !order.excluded.contains(&ask.island)
    }
}
