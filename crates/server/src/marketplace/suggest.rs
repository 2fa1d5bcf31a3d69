//! What to bid, and what to ask: two simple rules, said in full to whoever is given their answer.

use types::money::MicroCredits;

use super::depth::Standing;
use super::rates::{Spread, Window};

/// Free slots at the best ask that count as plenty.
pub const PLENTY: u64 = 3;

/// Why a bid is suggested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BidReason {
    /// There are free slots enough at the best ask.
    Plenty,
    /// Few are free at it, and nothing was traded: the best ask.
    Few,
    /// Nine of ten jobs of the last 24 hours cleared at or below it.
    Recent,
    /// Nothing is free and nothing was traded: the lowest ask there is.
    Busy,
}

/// Why an ask is suggested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskReason {
    /// The median of what cleared.
    Median,
    /// As low as the lowest free ask, which is below the median: above it one waits for others to be busy.
    Undercut,
    /// Jobs went unserved that bid more than the median.
    Unserved,
    /// Nothing cleared, but jobs went unserved: what they bid.
    Demand,
}

/// What would be matched at once. With [`PLENTY`] of free slots at the best ask that is the best ask. With fewer it is the
/// price at or below which nine of ten jobs of the last 24 hours cleared, and no less than the best ask. When nothing
/// was traded, the best ask; when nothing is free either, the lowest ask of those who are busy.
#[must_use]
pub fn bid(book: &Standing, day: &Spread) -> Option<(MicroCredits, BidReason)> {
    if let Some(best) = book.best_ask.filter(|_| book.free_at_best >= PLENTY) {
        return Some((best, BidReason::Plenty));
    }
    let (recent, best, busy) = (day.at_most(90), book.best_ask, book.lowest_ask);
    recent
        .map(|price| (best.map_or(price, |best| price.max(best)), BidReason::Recent))
        .or_else(|| best.map(|price| (price, BidReason::Few)))
        .or_else(|| busy.map(|price| (price, BidReason::Busy)))
}

/// What an Island would do well to ask. It begins with the median of what cleared in `recent`. If more than one job for ten
/// that cleared went unserved, and the median of their bids is higher, it is that. If another Island is free for less
/// (`cheapest_other`) it is that Island's ask, because jobs go to the cheapest. Without trades it is the median of the unserved bids.
#[must_use]
pub fn ask(
    recent: &Window,
    unserved: &Spread,
    cheapest_other: Option<MicroCredits>,
) -> Option<(MicroCredits, AskReason)> {
    let wanted = unserved.median();
    let Some(median) = recent.median else {
        return wanted.map(|bid| (bid, AskReason::Demand));
    };
    if let Some(lower) = cheapest_other.filter(|&other| other < median) {
        return Some((lower, AskReason::Undercut));
    }
    let missed = unserved.count().saturating_mul(10) > recent.trades;
    match wanted.filter(|&bid| missed && bid > median) {
        Some(bid) => Some((cheapest_other.map_or(bid, |other| bid.min(other)), AskReason::Unserved)),
        None => Some((median, AskReason::Median)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn price(micros: i64) -> MicroCredits {
        MicroCredits::new(micros)
    }

    fn spread(prices: &[(i64, i64)]) -> Spread {
        Spread::new(prices.iter().map(|&(at, count)| (price(at), count)).collect())
    }

    fn book(best: Option<i64>, free_at_best: u64, lowest: Option<i64>) -> Standing {
        let (best_ask, lowest_ask) = (best.map(price), lowest.map(price));
        Standing { best_ask, lowest_ask, free_at_best, ..Standing::default() }
    }

    #[test]
    fn a_bid_is_what_is_matched_at_once() {
        let day = spread(&[(2, 80), (3, 15), (9, 5)]);
        for (book, day, expected) in [
            (book(Some(2), 3, Some(2)), &day, Some((2, BidReason::Plenty))),
            (book(Some(2), 1, Some(2)), &day, Some((3, BidReason::Recent))),
            (book(Some(5), 1, Some(5)), &day, Some((5, BidReason::Recent))),
            (book(Some(2), 1, Some(2)), &spread(&[]), Some((2, BidReason::Few))),
            (book(None, 0, Some(4)), &day, Some((3, BidReason::Recent))),
            (book(None, 0, Some(4)), &spread(&[]), Some((4, BidReason::Busy))),
            (book(None, 0, None), &spread(&[]), None),
        ] {
            assert_eq!(bid(&book, day), expected.map(|(at, why)| (price(at), why)), "{book:?}");
        }
    }

    #[test]
    fn an_ask_follows_what_cleared_and_what_did_not() {
        let recent = Window { trades: 100, median: Some(price(20)), ..Window::default() };
        let none = Window::default();
        for (recent, unserved, other, expected) in [
            (&recent, &[][..], None, Some((20, AskReason::Median))),
            (&recent, &[(25, 5)], None, Some((20, AskReason::Median))),
            (&recent, &[(25, 50)], None, Some((25, AskReason::Unserved))),
            (&recent, &[(25, 50)], Some(22), Some((22, AskReason::Unserved))),
            (&recent, &[(15, 50)], None, Some((20, AskReason::Median))),
            (&recent, &[(25, 50)], Some(18), Some((18, AskReason::Undercut))),
            (&none, &[(7, 1)], Some(3), Some((7, AskReason::Demand))),
            (&none, &[], Some(3), None),
        ] {
            let expected = expected.map(|(at, why)| (price(at), why));
            assert_eq!(ask(recent, &spread(unserved), other.map(price)), expected);
        }
    }
}
