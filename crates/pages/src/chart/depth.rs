//! The depth of a book: how many jobs could run at or below a price, and how many wait with a bid at or above it.

use super::scale::Scale;
use super::{BOX, Plot, Shape, Spot, moment, percent};

/// All asks at one price, lowest first.
#[derive(Clone, Debug)]
pub struct Ask {
    /// In millionths.
    pub price: i64,
    /// Free slots.
    pub free: i64,
    /// All slots.
    pub slots: i64,
    /// The price in words.
    pub text: String,
}

/// All waiting jobs with one bid, highest first.
#[derive(Clone, Debug)]
pub struct Bid {
    /// In millionths.
    pub price: i64,
    /// How many.
    pub jobs: i64,
    /// The bid in words.
    pub text: String,
}

/// The chart; nothing if the book is empty.
#[must_use]
pub fn depth(id: &'static str, label: String, summary: String, asks: &[Ask], bids: &[Bid]) -> Option<Plot> {
    let prices = || asks.iter().map(|ask| ask.price).chain(bids.iter().map(|bid| bid.price));
    let (low, high) = (prices().min()?, prices().max()?);
    // Some room on both sides, so that the outermost steps are seen.
    let room = ((high - low) / 12).max(low / 50).max(1);
    let across = Scale::around((low - room).max(0), high.saturating_add(room), 4);
    let (offered, free) = (sums(asks.iter().map(|ask| ask.slots)), sums(asks.iter().map(|ask| ask.free)));
    let wanted = sums(bids.iter().map(|bid| bid.jobs));
    let most = offered.last().copied().unwrap_or(0).max(wanted.last().copied().unwrap_or(0));
    let up = Scale::of_counts(most, 3);
    let rising = |heights: &[i64]| {
        let mut path = format!("M{} {BOX}", asks.first().map_or(0, |ask| across.place(ask.price)));
        for (ask, &height) in asks.iter().zip(heights) {
            path.push_str(&format!("H{}V{}", across.place(ask.price), up.down_to(height)));
        }
        path.push_str(&format!("H{BOX}V{BOX}Z"));
        path
    };
    let mut falling = format!("M{} {BOX}", bids.first().map_or(0, |bid| across.place(bid.price)));
    for (bid, &height) in bids.iter().zip(&wanted) {
        falling.push_str(&format!("H{}V{}", across.place(bid.price), up.down_to(height)));
    }
    falling.push_str(&format!("H0V{BOX}Z"));
    let mut shapes = Vec::new();
    let mut keys = Vec::new();
    if !asks.is_empty() {
        shapes.push(Shape { class: "slots", path: rising(&offered) });
        shapes.push(Shape { class: "free", path: rising(&free) });
        keys.extend([("free", "Free slots at or below a price"), ("slots", "All slots")]);
    }
    if !bids.is_empty() {
        shapes.push(Shape { class: "bids", path: falling });
        keys.push(("bids", "Jobs waiting at or above a bid"));
    }
    Some(Plot {
        id,
        label,
        summary,
        keys,
        levels: up.counts(),
        moments: across.rounds().map(|value| moment(across.place(value), across.amount(value))).collect(),
        shapes,
        volume: None,
        spots: spots(asks, bids, (&offered, &free, &wanted), (&across, &up)),
    })
}

fn spots(
    asks: &[Ask],
    bids: &[Bid],
    (offered, free, wanted): (&[i64], &[i64], &[i64]),
    (across, up): (&Scale, &Scale),
) -> Vec<Spot> {
    let asks = asks.iter().zip(offered).zip(free).map(|((ask, offered), free)| {
        let text = format!("At or below {}: {free} of {offered} slots free", ask.text);
        (ask.price, *offered, text)
    });
    let bids = bids.iter().zip(wanted).map(|(bid, jobs)| {
        let are = if *jobs == 1 { "job waits" } else { "jobs wait" };
        (bid.price, *jobs, format!("{jobs} {are} with a bid of {} or more", bid.text))
    });
    let mut all: Vec<_> = asks.chain(bids).collect();
    all.sort_by_key(|(price, _, _)| *price);
    all.into_iter()
        .map(|(price, height, text)| Spot {
            x: percent(across.place(price)),
            y: Some(percent(up.down_to(height))),
            text,
        })
        .collect()
}

fn sums(counts: impl Iterator<Item = i64>) -> Vec<i64> {
    counts
        .scan(0_i64, |sum, count| {
            *sum = sum.saturating_add(count);
            Some(*sum)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_book_is_no_chart() {
        assert!(depth("d", String::new(), String::new(), &[], &[]).is_none());
    }

    #[test]
    fn slots_add_up_as_the_price_rises_and_jobs_as_it_falls() {
        let ask = |price, free, slots| Ask { price, free, slots, text: price.to_string() };
        let bid = |price, jobs| Bid { price, jobs, text: price.to_string() };
        let asks = [ask(20, 0, 2), ask(30, 1, 4)];
        let bids = [bid(15, 1), bid(10, 2)];
        let plot = depth("d", String::new(), String::new(), &asks, &bids).unwrap();
        let said: Vec<&str> = plot.spots.iter().map(|spot| spot.text.as_str()).collect();
        assert_eq!(
            said,
            [
                "3 jobs wait with a bid of 10 or more",
                "1 job waits with a bid of 15 or more",
                "At or below 20: 0 of 2 slots free",
                "At or below 30: 1 of 6 slots free"
            ]
        );
        assert_eq!(plot.shapes.len(), 3);
    }
}
