//! `[payouts]` of the configuration.

use serde::{Deserialize, Serialize};
use types::money::{Credits, MicroCredits};
use types::time::{DAY_MS, Timestamp};

use crate::config::{Config, ConfigError, ProviderName};

/// `[payouts]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Payouts {
    pub provider: ProviderName,
    pub minimum_credits: i64,
    pub schedule: Schedule,
    pub hold_days: u32,
}

/// When an owner is paid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// When they ask.
    Manual,
    /// Once a day.
    Daily,
    /// Once a week, from Monday.
    Weekly,
    /// Once a month.
    Monthly,
}

impl Schedule {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Manual, Self::Daily, Self::Weekly, Self::Monthly];

    /// As stored and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|schedule| schedule.name() == name)
    }

    /// The period a time lies in, by a name that no other has; nothing if there are none.
    #[must_use]
    pub fn period(self, now: Timestamp) -> Option<String> {
        let start = match self {
            Self::Manual => return None,
            Self::Daily => now.day_start(),
            Self::Weekly => now.week_start(),
            Self::Monthly => now.month_start(),
        };
        Some(format!("{} {}", self.name(), start.date()))
    }
}

impl Payouts {
    /// The fewest credits that are paid out at once.
    #[must_use]
    pub fn minimum(&self) -> MicroCredits {
        Credits::new(self.minimum_credits).micros().unwrap_or_default()
    }

    /// Earnings up to this moment are old enough.
    #[must_use]
    pub const fn old_enough(&self, now: Timestamp) -> Timestamp {
        now.plus_millis(-(self.hold_days as i64) * DAY_MS)
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// A [`ConfigError`] naming the key.
    pub fn check(&self, payments: ProviderName) -> Result<(), ConfigError> {
        if self.provider == ProviderName::Stripe && payments == ProviderName::Sandbox {
            return Err(ConfigError(
                "payouts.provider = \"stripe\" needs payments.provider = \"stripe\": credits bought with play money must not be paid out as money".to_owned(),
            ));
        }
        if !(1..=1_000_000_000).contains(&self.minimum_credits) {
            return Err(ConfigError("payouts.minimum_credits must be between 1 and 1000000000".to_owned()));
        }
        if self.hold_days > 365 {
            return Err(ConfigError("payouts.hold_days must be at most 365".to_owned()));
        }
        Ok(())
    }
}

impl Config {
    /// Whether owners can be paid out. Play money is not paid for earnings that real money funded.
    #[must_use]
    pub fn payouts_offered(&self) -> bool {
        self.payouts.provider == ProviderName::Stripe || self.payments.provider == ProviderName::Sandbox
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_has_a_name_of_its_own() {
        let sunday = Timestamp::from_millis(1_795_348_800_000);
        assert_eq!(Schedule::Manual.period(sunday), None);
        for (schedule, name) in [
            (Schedule::Daily, "daily 2026-11-22"),
            (Schedule::Weekly, "weekly 2026-11-16"),
            (Schedule::Monthly, "monthly 2026-11-01"),
        ] {
            assert_eq!(schedule.period(sunday).as_deref(), Some(name));
            assert_eq!(Schedule::from_name(schedule.name()), Some(schedule));
        }
    }
}
