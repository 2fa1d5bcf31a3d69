//! Spending limits: every charge there was, added up anew at every look.

use ledger::{Limits, Period, Refusal};
use types::money::MicroCredits;

const DAY_MS: i64 = 86_400_000;

/// A cap.
#[derive(Clone, Debug)]
pub struct Cap {
    pub limits: Limits,
    charges: Vec<Charge>,
    /// The latest day, week and month it was used in; a clock that goes back does not bring an earlier one back.
    latest: Calendar,
}

#[derive(Clone, Copy, Debug)]
struct Charge {
    amount: i64,
    at: Calendar,
}

/// The numbers of a day, a week and a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calendar {
    day: i64,
    week: i64,
    month: i64,
}

impl Calendar {
    fn of(now: i64) -> Self {
        let day = now.div_euclid(DAY_MS);
        // Day 0 was a Thursday; weeks begin on Mondays.
        Self { day, week: (day + 3).div_euclid(7), month: month_of(day) }
    }

    fn max(self, other: Self) -> Self {
        Self {
            day: self.day.max(other.day),
            week: self.week.max(other.week),
            month: self.month.max(other.month),
        }
    }
}

/// The number of the month a day is in, counted through the years since 1970 one by one.
fn month_of(mut day: i64) -> i64 {
    let mut year = 1970;
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, days) in (0_i64..).zip(months) {
            if day < days {
                return (year - 1970) * 12 + month;
            }
            day -= days;
        }
        year += 1;
    }
}

impl Cap {
    /// A cap of which nothing was used.
    pub const fn new(limits: Limits) -> Self {
        let latest = Calendar { day: 0, week: 0, month: 0 };
        Self { limits, charges: Vec::new(), latest }
    }

    /// What was charged in a period, seen at `now`.
    pub fn spent(&self, period: Period, now: i64) -> i64 {
        let today = self.latest.max(Calendar::of(now));
        let counts = |charge: &&Charge| match period {
            Period::Total => true,
            Period::Day => charge.at.day == today.day,
            Period::Week => charge.at.week == today.week,
            Period::Month => charge.at.month == today.month,
        };
        self.charges.iter().filter(counts).map(|charge| charge.amount).sum()
    }

    /// Whether `amount` may be held beside `held`.
    ///
    /// # Errors
    /// A [`Refusal`] with the limit that leaves least.
    pub fn admits(&self, amount: i64, held: i64, now: i64) -> Result<(), Refusal> {
        let mut tightest: Option<(Period, i64)> = None;
        for period in Period::ALL {
            let Some(limit) = self.limits.get(period) else { continue };
            let left = limit.get() - held - self.spent(period, now);
            if tightest.is_none_or(|(_, least)| left < least) {
                tightest = Some((period, left));
            }
        }
        match tightest {
            Some((period, left)) if left < amount => Err(Refusal::CapExceeded {
                period,
                required: MicroCredits::new(amount),
                available: MicroCredits::new(left.max(0)),
            }),
            _ => Ok(()),
        }
    }

    /// It was used: what day it is counts from now on.
    pub fn touch(&mut self, now: i64) {
        self.latest = self.latest.max(Calendar::of(now));
    }

    /// Something was charged.
    pub fn charge(&mut self, amount: i64, now: i64) {
        self.touch(now);
        if amount > 0 {
            self.charges.push(Charge { amount, at: self.latest });
        }
    }
}

#[cfg(test)]
mod tests {
    use types::time::Timestamp;

    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        let days = |text: &str| {
            let moment: Vec<i64> = text.split('-').map(|part| part.parse().unwrap()).collect();
            (moment[0] - 1970) * 12 + moment[1] - 1
        };
        for day in (0..20_000).step_by(3) {
            let date = Timestamp::from_millis(day * DAY_MS + 5).date();
            assert_eq!(month_of(day), days(&date), "{date}");
        }
    }
}
