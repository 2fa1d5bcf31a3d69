//! A price over time, as small as a word.

use super::scale::Scale;
use super::{BOX, line, middle, runs};

/// A small line, ready to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spark {
    /// Its path, in a box of 1000 by 1000.
    pub path: String,
    /// What is to be seen in it, in words.
    pub label: String,
}

/// Draws prices in millionths, oldest first; nothing where nothing was traded. Nothing at all gives no line, but its words.
#[must_use]
pub fn spark(prices: &[Option<i64>], label: String) -> Spark {
    let traded = || prices.iter().flatten().copied();
    let (Some(low), Some(high)) = (traded().min(), traded().max()) else {
        return Spark { path: String::new(), label };
    };
    let scale = Scale::around(low, high, 2);
    let mut path = String::new();
    for run in runs(prices.iter().copied()) {
        // A tenth above and below, so that no line lies on the edge.
        let place = |&(index, price): &(usize, i64)| {
            (middle(index, prices.len()), BOX / 10 + scale.down_to(price) * 8 / 10)
        };
        path.push_str(&line(&run.iter().map(place).collect::<Vec<_>>()));
    }
    Spark { path, label }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_trades_are_no_line() {
        assert_eq!(spark(&[None, None], "none".into()).path, "");
        assert_eq!(spark(&[], "none".into()).label, "none");
        assert_eq!(spark(&[Some(2), None, Some(2)], String::new()).path.matches("h0").count(), 2);
    }
}
