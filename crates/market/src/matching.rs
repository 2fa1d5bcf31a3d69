//! Which Island a job gets, and the record that shows why.

use std::sync::Arc;

use types::id::{IslandId, JobId};
use types::money::MicroCredits;

use crate::asks::{Choice, Listing};
use crate::book::Book;
use crate::command::{Ask, Considered, Event, Match, Reservation, Verdict};
use crate::names::Name;
use crate::suit::{Suit, Wish};

impl Book {
    /// Reserves a slot for a job on the best available Island within its bid, if there is one.
    pub(crate) fn try_match(&mut self, job: JobId, bid: MicroCredits, suit: &Suit) -> Option<Match> {
        let chosen = self.choose(suit, bid)?;
        let (considered, complete) = self.considered(suit, bid, Some(chosen));
        self.matches += 1;
        let reservation = Reservation { island: chosen.island, serial: self.matches };
        self.asks.reserve(reservation);
        // The price is the ask, whatever the bid (incident 90).
        Some(Match { job, bid, reservation, price: chosen.ask, considered, complete })
    }

    /// Matches waiting jobs after something changed at one Island, first in the queue first.
    ///
    /// Before the change nothing available suited any of them, and nothing else became available by it. So only this
    /// Island can be what they get, and only jobs whose wishes it meets have to be looked at.
    pub(crate) fn serve(&mut self, island: IslandId, events: &mut Vec<Event>) {
        while let Some(job) = self.next_for(island)
            && let Some(matched) = self.match_waiting(job)
        {
            events.push(Event::Matched(matched));
        }
    }

    /// The waiting job that an Island gets, if it has a free slot and there is one.
    fn next_for(&self, island: IslandId) -> Option<JobId> {
        if self.queue.len() == 0 {
            return None;
        }
        let (ask, wishes) = self.asks.open_to(island)?;
        self.queue.first_for(island, ask, wishes)
    }

    /// A waiting job gets an Island, if there is one, and waits no longer.
    pub(crate) fn match_waiting(&mut self, job: JobId) -> Option<Match> {
        let waiter = self.queue.get(job)?;
        let (bid, suit) = (waiter.bid, Arc::clone(&waiter.suit));
        let matched = self.try_match(job, bid, &suit)?;
        self.queue.remove(job, &mut self.names);
        Some(matched)
    }

    /// The first Island in the order of choice that suits, has a free slot and is within the bid. One of last resort
    /// only if there is no other: then the first of those.
    pub(crate) fn choose(&self, suit: &Suit, bid: MicroCredits) -> Option<Choice> {
        self.asks.first_free(suit, bid)
    }

    /// The asks in the order of choice: up to the chosen one if there is one, otherwise up to the first above the bid; and
    /// whether all of them are there. What is walked over is written down, so the limit bounds the time as well.
    pub(crate) fn considered(
        &self,
        suit: &Suit,
        bid: MicroCredits,
        chosen: Option<Choice>,
    ) -> (Vec<Considered>, bool) {
        let limit = self.limits.considered.max(1);
        // Room for the chosen one, which is named even if the walk does not come to it.
        let room = limit - usize::from(chosen.is_some());
        let mut record = Vec::with_capacity(limit.min(16));
        let mut complete = false;
        for listing in self.asks.in_order() {
            let Ask { island, ask, .. } = listing.ask;
            if chosen.is_some_and(|chosen| chosen.island == island) {
                complete = true;
                break;
            }
            if record.len() == room {
                break;
            }
            let verdict = against(listing, suit, bid);
            record.push(Considered { island, ask, verdict });
            if verdict == Verdict::AboveBid {
                break;
            }
        }
        if let Some(Choice { island, ask, .. }) = chosen {
            record.push(Considered { island, ask, verdict: Verdict::Chosen });
        }
        (record, complete)
    }
}

/// What speaks against an ask that was not chosen. If nothing else does, that it is one of last resort: any other would
/// have been chosen.
fn against(listing: &Listing, suit: &Suit, bid: MicroCredits) -> Verdict {
    let Wish { region, model, min_trust } = suit.wish;
    if listing.ask.ask > bid {
        Verdict::AboveBid
    } else if suit.excludes(listing.ask.island) {
        Verdict::Excluded
    } else if region != Name::ANY && region != listing.region {
        Verdict::OtherRegion
    } else if model != Name::ANY && !listing.models.contains(&model) {
        Verdict::OtherModel
    } else if listing.ask.trust < min_trust {
        Verdict::Untrusted
    } else if listing.free_slots() == 0 {
        Verdict::Busy
    } else {
        Verdict::LastResort
    }
}
