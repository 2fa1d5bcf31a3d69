//! From values to places, and round values to write beside them.

use super::{BOX, Tick, percent};

/// A range of values that begins and ends with a round one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub low: i64,
    pub high: i64,
    step: i64,
}

impl Scale {
    /// Room for values from `least` to `most`, with about `ticks` round values; never below nothing.
    pub fn around(least: i64, most: i64, ticks: i64) -> Self {
        let (least, most) = (least.max(0), most.max(least).max(0));
        // A single value stands in the middle.
        let spare = if least == most { (least / 10).max(1) } else { 0 };
        let (least, most) = ((least - spare).max(0), most.saturating_add(spare));
        let step = round_step(most - least, ticks);
        let high = most.div_euclid(step) + i64::from(most.rem_euclid(step) > 0);
        Self { low: least.div_euclid(step) * step, high: high.saturating_mul(step), step }
    }

    /// The same for things that are counted: whole numbers from nothing.
    pub fn of_counts(most: i64, ticks: i64) -> Self {
        Self::around(0, most.max(1), ticks)
    }

    /// Where a value stands, 0 to 1000 from the low end.
    pub fn place(&self, value: i64) -> i64 {
        let range = i128::from(self.high) - i128::from(self.low);
        let above = i128::from(value.clamp(self.low, self.high)) - i128::from(self.low);
        i64::try_from(above * i128::from(BOX) / range.max(1)).unwrap_or(BOX)
    }

    /// Where a value stands from the top.
    pub fn down_to(&self, value: i64) -> i64 {
        BOX - self.place(value)
    }

    /// The round values.
    pub fn rounds(&self) -> impl Iterator<Item = i64> {
        let Self { low, high, step } = *self;
        (0..)
            .map(move |index| low.saturating_add(step.saturating_mul(index)))
            .take_while(move |&at| at <= high)
            .take(32)
    }

    /// Round amounts in millionths, as horizontal lines.
    pub fn amounts(&self) -> Vec<Tick> {
        self.levels(|value| self.amount(value))
    }

    /// Round numbers, as horizontal lines.
    pub fn counts(&self) -> Vec<Tick> {
        self.levels(|value| value.to_string())
    }

    /// An amount with the decimals that tell the round ones apart.
    pub fn amount(&self, micros: i64) -> String {
        let decimals = (0..6_u32).find(|&decimals| self.step % 10_i64.pow(6 - decimals) == 0).unwrap_or(6);
        let (whole, rest) = (micros / 1_000_000, micros % 1_000_000 / 10_i64.pow(6 - decimals));
        match usize::try_from(decimals) {
            Ok(width) if width > 0 => format!("{whole}.{rest:0width$}"),
            _ => whole.to_string(),
        }
    }

    fn levels(&self, write: impl Fn(i64) -> String) -> Vec<Tick> {
        let tick = |value| Tick { at: percent(self.down_to(value)), text: write(value), anchor: "start" };
        self.rounds().map(tick).collect()
    }
}

/// The smallest of 1, 2, 5, 10, 20, 50, … of which at most `ticks` make up the range.
fn round_step(range: i64, ticks: i64) -> i64 {
    let least = (range / ticks.max(1)).max(1);
    let mut power: i64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if step >= least {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scale: Scale) -> Vec<String> {
        scale.amounts().into_iter().map(|tick| tick.text).collect()
    }

    #[test]
    fn values_beside_a_chart_are_round() {
        assert_eq!(words(Scale::around(1_500_000, 3_250_000, 4)), ["1.5", "2.0", "2.5", "3.0", "3.5"]);
        assert_eq!(words(Scale::around(12_000_000, 47_000_000, 4)), ["10", "20", "30", "40", "50"]);
        assert_eq!(words(Scale::around(0, 3, 4)), ["0.000000", "0.000001", "0.000002", "0.000003"]);
    }

    #[test]
    fn one_value_stands_inside_and_nothing_is_divided_by() {
        for value in [0, 1, 2_000_000, i64::MAX] {
            let scale = Scale::around(value, value, 4);
            assert!(scale.low < scale.high, "{scale:?}");
            assert!((0..=BOX).contains(&scale.place(value)));
        }
        assert_eq!(Scale::of_counts(0, 3).counts().len(), 2);
    }

    #[test]
    fn places_go_from_one_end_to_the_other() {
        let scale = Scale::around(10, 20, 5);
        assert_eq!(
            (scale.place(10), scale.place(15), scale.place(20), scale.place(99)),
            (0, 500, 1000, 1000)
        );
        assert_eq!(scale.down_to(20), 0);
    }
}
