//! Which Island a job gets, and the record that shows why.

use std::ops::Bound;
use std::sync::Arc;

use types::id::JobId;
use types::money::MicroCredits;

use crate::asks::{AskView, Choice, Suit};
use crate::book::Book;
use crate::command::{Considered, Event, Match, Reservation, Verdict};

impl Book {
    /// Reserves a slot for a job on the best available Island within its bid, if there is one.
    pub(crate) fn try_match(&mut self, job: JobId, bid: MicroCredits, suit: &Suit) -> Option<Match> {
        let chosen = self.choose(suit, bid)?;
        let considered = self.considered(suit, bid, Some(chosen));
        self.matches += 1;
        let reservation = Reservation { island: chosen.island, serial: self.matches };
        self.asks.reserve(reservation);
        // The price is the ask, whatever the bid (incident 90).
        Some(Match { job, bid, reservation, price: chosen.ask, considered })
    }

    /// Matches waiting jobs until nothing more matches, first in the queue first.
    pub(crate) fn serve(&mut self, events: &mut Vec<Event>) {
        // Serving only takes capacity away, so what could not be served once need not be looked at again: one
        // pass over the queue.
        let mut after = Bound::Unbounded;
        while let (Some(lowest), Some((place, job, waiter))) =
            (self.asks.lowest_free(), self.queue.next_head(after))
        {
            let (bid, suit) = (waiter.bid, Arc::clone(&waiter.suit));
            if bid < lowest {
                // So are all behind it.
                return;
            }
            after = Bound::Excluded(place);
            if let Some(matched) = self.try_match(job, bid, &suit) {
                self.queue.remove(job);
                events.push(Event::Matched(matched));
            }
        }
    }

    /// The first Island in the order of choice with a free slot, if the job may go there and pays enough. It
    /// is enough to look at one: if the cheapest is above the bid, all are.
    pub(crate) fn choose(&self, suit: &Suit, bid: MicroCredits) -> Option<Choice> {
        self.asks.first_free(suit).filter(|choice| choice.ask <= bid)
    }

    /// The asks in the order of choice: up to the chosen one if there is one, otherwise up to the first above
    /// the bid. Bounded, as the record is written for every match.
    pub(crate) fn considered(
        &self,
        suit: &Suit,
        bid: MicroCredits,
        chosen: Option<Choice>,
    ) -> Vec<Considered> {
        let limit = self.limits.considered.max(1);
        let mut record = Vec::with_capacity(limit.min(16));
        for (choice, ask) in self.asks.in_order() {
            let verdict = verdict(&ask, suit, bid);
            record.push(Considered { island: choice.island, ask: choice.ask, verdict });
            if record.len() == limit || matches!(verdict, Verdict::Chosen | Verdict::AboveBid) {
                break;
            }
        }
        // The chosen one is named even if there was no room to walk up to it.
        if let (Some(chosen), Some(last)) = (chosen, record.last_mut()) {
            *last = Considered { island: chosen.island, ask: chosen.ask, verdict: Verdict::Chosen };
        }
        record
    }
}

/// What speaks against an ask. One that nothing speaks against is the one to choose.
fn verdict(ask: &AskView<'_>, suit: &Suit, bid: MicroCredits) -> Verdict {
    if ask.ask > bid {
        Verdict::AboveBid
    } else if suit.excludes(ask.island) {
        Verdict::Excluded
    } else if suit.region.is_some() && suit.region.as_deref() != ask.region {
        Verdict::OtherRegion
    } else if !ask.is_available() {
        Verdict::Busy
    } else {
        Verdict::Chosen
    }
}
