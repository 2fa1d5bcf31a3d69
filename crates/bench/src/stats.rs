//! Arithmetic of measurements: medians, ratios, percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Result;

/// The longest latency that is told apart, in microseconds.
const MAX_LATENCY_US: u64 = 60_000_000;

/// Latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    /// Half of all were faster.
    pub p50: f64,
    /// Nine of ten were.
    pub p90: f64,
    /// 99 of 100 were.
    pub p99: f64,
    /// 999 of 1,000 were.
    pub p99_9: f64,
    /// The slowest.
    pub max: f64,
}

impl Percentiles {
    /// Of a histogram of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| count(histogram.value_at_quantile(quantile)) / 1000.0;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: count(histogram.max()) / 1000.0,
        }
    }

    /// The median of each column.
    pub fn medians(all: &[Self]) -> Self {
        let of = |column: fn(&Self) -> f64| median(all.iter().map(column).collect());
        Self {
            p50: of(|one| one.p50),
            p90: of(|one| one.p90),
            p99: of(|one| one.p99),
            p99_9: of(|one| one.p99_9),
            max: of(|one| one.max),
        }
    }
}

/// An empty histogram of latencies in microseconds.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)?)
}

/// Adds `times` latencies of the same length.
pub fn record(histogram: &mut Histogram<u64>, time: Duration, times: u64) {
    histogram.saturating_record_n(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), times);
}

/// The middle one, or the mean of the two in the middle; nothing is 0.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values[..] {
        [] => 0.0,
        _ if values.len() % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// `one / other`, if there is anything to compare with.
pub fn ratio(one: f64, other: f64) -> Option<f64> {
    (other > 0.0).then(|| one / other)
}

/// A count as a number to calculate with; exact up to 2⁵³.
pub fn count(number: u64) -> f64 {
    let [high, low] = [number >> 32, number & u64::from(u32::MAX)];
    let half = |part| f64::from(u32::try_from(part).unwrap_or(u32::MAX));
    half(high).mul_add(4_294_967_296.0, half(low))
}

/// The nearest count.
pub fn whole(number: f64) -> Result<u64> {
    Ok(format!("{number:.0}").parse()?)
}

/// A time from a number of seconds, more than nothing.
pub fn seconds(number: f64) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(number)?;
    if time.is_zero() { Err("no time at all".into()) } else { Ok(time) }
}

/// A time in milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// With thousands separated: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        let one = |p99| Percentiles { p50: 1.0, p90: 2.0, p99, p99_9: 4.0, max: 5.0 };
        let medians = Percentiles::medians(&[one(30.0), one(10.0), one(20.0)]);
        assert_eq!((medians.p50, medians.p99, medians.max), (1.0, 20.0, 5.0));
    }

    #[test]
    fn ratios_need_something_to_compare_with() {
        assert_eq!(ratio(30.0, 2.0), Some(15.0));
        assert_eq!(ratio(30.0, 0.0), None);
    }

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut all = histogram().unwrap();
        record(&mut all, Duration::from_millis(2), 99);
        record(&mut all, Duration::from_millis(50), 1);
        let found = Percentiles::of(&all);
        assert!((1.9..2.1).contains(&found.p50) && (1.9..2.1).contains(&found.p99), "{found:?}");
        assert!((49.0..51.0).contains(&found.max), "{found:?}");
    }

    #[test]
    fn numbers() {
        assert_eq!(count(0), 0.0);
        assert_eq!(count(5_000_000_000), 5e9);
        assert_eq!((whole(0.4).unwrap(), whole(12_345.6).unwrap()), (0, 12_346));
        assert!(whole(f64::NAN).is_err() && whole(-3.0).is_err());
        assert_eq!(seconds(0.25).unwrap(), Duration::from_millis(250));
        assert!(seconds(0.0).is_err() && seconds(-1.0).is_err());
        assert_eq!(millis(Duration::from_micros(1500)), 1.5);
        let shown: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
