//! What a job costs its owner in electricity, and so the least that may be asked for it.
//!
//! Integers only, rounded up: the floor never lies below the cost it was computed from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::money::{MAX_AMOUNT, MicroCredits};

/// Jobs that must have been measured before there is a floor: the first ones load the model.
const MEASURED_JOBS: u64 = 3;
/// A new job counts for one part in so many, once that many have been measured.
const MEMORY_JOBS: u64 = 32;
/// The most Cargos that are remembered.
const MAX_CARGOS: usize = 1024;
/// The longest one job may count: a day, in microseconds.
const MAX_SHARE_US: u64 = 24 * 60 * 60 * 1_000_000;
/// Joules in a kilowatt-hour, times microseconds in a second, times percent.
const SCALE: u128 = 3_600_000 * 1_000_000 * 100;

/// What running costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The price of a kilowatt-hour, at 100 credits a dollar.
    pub per_kwh: MicroCredits,
    /// What the machine draws while it works, in watts.
    pub watts: u32,
    /// What is wanted on top, in percent.
    pub margin_percent: u32,
}

/// What an asking price is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Unit {
    /// One job, whatever its size; also one image.
    #[serde(rename = "request", alias = "image")]
    Request,
    /// A thousand tokens.
    #[serde(rename = "1k_tokens")]
    ThousandTokens,
}

/// How fast a Cargo is served: moving averages over finished jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Speed {
    /// How many jobs were measured.
    pub(crate) jobs: u64,
    /// The machine's time a job takes, in microseconds: of two jobs that run together each takes half.
    pub(crate) share_us: u64,
    /// The tokens a job gives, in thousandths.
    pub(crate) millitokens: u64,
}

/// The speeds of all Cargos.
pub(crate) type Speeds = BTreeMap<String, Speed>;

impl Speed {
    /// Takes a finished job into the averages.
    pub(crate) fn add(&mut self, share_us: u64, tokens: u64) {
        self.jobs = self.jobs.saturating_add(1);
        let weight = self.jobs.min(MEMORY_JOBS);
        let mean =
            |old: u64, new: u64| (old / weight * (weight - 1)) + (old % weight * (weight - 1) + new) / weight;
        self.share_us = mean(self.share_us, share_us.min(MAX_SHARE_US));
        self.millitokens = mean(self.millitokens, tokens.min(1_000_000_000).saturating_mul(1000));
    }

    /// Tokens a second of the machine's time, in thousandths.
    pub(crate) fn millitokens_per_second(&self) -> u64 {
        self.millitokens.saturating_mul(1_000_000).checked_div(self.share_us).unwrap_or(0)
    }
}

/// Takes a finished job into the averages of its Cargo.
pub(crate) fn measure(speeds: &mut Speeds, workload: &str, share_us: u64, tokens: u64) {
    if speeds.len() < MAX_CARGOS || speeds.contains_key(workload) {
        speeds.entry(workload.to_owned()).or_default().add(share_us, tokens);
    }
}

impl Cost {
    /// The least that may be asked for a unit, once enough jobs were measured. Rounded up to two digits, so that
    /// it does not change with every job.
    pub(crate) fn floor(&self, speed: &Speed, unit: Unit) -> Option<MicroCredits> {
        if speed.jobs < MEASURED_JOBS {
            return None;
        }
        let price = u128::try_from(self.per_kwh.get()).ok()?;
        let percent = 100 + u128::from(self.margin_percent);
        let job = price * u128::from(self.watts) * u128::from(speed.share_us) * percent;
        let micros = match unit {
            Unit::Request => job.div_ceil(SCALE),
            // A thousand tokens are a million thousandths.
            Unit::ThousandTokens => (job * 1_000_000)
                .div_ceil(SCALE.checked_mul(u128::from(speed.millitokens)).filter(|&part| part > 0)?),
        };
        let micros = i64::try_from(two_digits_up(micros)).unwrap_or(i64::MAX);
        Some(MicroCredits::new(micros.min(MAX_AMOUNT.get())))
    }
}

fn two_digits_up(number: u128) -> u128 {
    let mut step = 1;
    while number / step >= 100 {
        step *= 10;
    }
    number.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(margin_percent: u32) -> Cost {
        // 30 cents a kilowatt-hour.
        Cost { per_kwh: MicroCredits::new(30_000_000), watts: 360, margin_percent }
    }

    #[test]
    fn the_floor_is_the_cost_rounded_up() {
        // 360 W for ten seconds are a thousandth of a kilowatt-hour: 0.03 credits; 20 tokens each.
        let speed = Speed { jobs: 3, share_us: 10_000_000, millitokens: 20_000 };
        let cases = [
            (0, Unit::Request, speed, "0.03"),
            (20, Unit::Request, speed, "0.036"),
            (7, Unit::Request, speed, "0.033"),
            (0, Unit::ThousandTokens, speed, "1.5"),
            (0, Unit::Request, Speed { share_us: 1, ..speed }, "0.000001"),
            (0, Unit::Request, Speed { share_us: 0, ..speed }, "0"),
            (0, Unit::Request, Speed { share_us: u64::MAX, ..speed }, "56000000000"),
        ];
        for (margin, unit, speed, expected) in cases {
            let floor = cost(margin).floor(&speed, unit).unwrap();
            let expected = MicroCredits::parse_decimal(expected).unwrap_or(MAX_AMOUNT);
            assert_eq!(floor, expected, "{margin} {unit:?} {speed:?}");
        }
        assert_eq!(cost(0).floor(&Speed { jobs: 2, ..speed }, Unit::Request), None, "not measured yet");
        assert_eq!(cost(0).floor(&Speed { millitokens: 0, ..speed }, Unit::ThousandTokens), None);
    }

    #[test]
    fn averages_follow_what_is_measured() {
        let mut speed = Speed::default();
        speed.add(3_000_000, 30);
        assert_eq!(speed, Speed { jobs: 1, share_us: 3_000_000, millitokens: 30_000 });
        speed.add(1_000_000, 10);
        assert_eq!(speed, Speed { jobs: 2, share_us: 2_000_000, millitokens: 20_000 });
        assert_eq!(speed.millitokens_per_second(), 10_000);
        for _ in 0..1000 {
            speed.add(500_000, 10);
        }
        assert!((500_000..520_000).contains(&speed.share_us), "{speed:?}");
        speed.add(u64::MAX, u64::MAX);
        assert!(speed.share_us <= MAX_SHARE_US);
    }

    #[test]
    fn two_digits_are_kept() {
        for (number, expected) in [(0, 0), (99, 99), (100, 100), (101, 110), (999, 1000), (12_345, 13_000)] {
            assert_eq!(two_digits_up(number), expected);
        }
    }
}
