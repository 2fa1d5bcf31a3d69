//! Limits of API keys, as people set them. Where they are and what was spent is the ledger's ([`ledger::Cap`]).

use ledger::{Limits, Period};
use types::money::MicroCredits;

use super::api_keys::KeyError;

/// Why a number is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not an amount, or not above zero: it would let nothing through.
    #[error("must be a number of credits above 0")]
    NotAnAmount,
    /// It would never be reached (incident 78).
    #[error("must not be more than the limit {}, {}", in_words(*longer), limit.display_grouped())]
    AboveLonger {
        /// The longer period.
        longer: Period,
        /// Its limit.
        limit: MicroCredits,
    },
}

/// New limits, or none, for some periods; others stay as they are.
#[derive(Clone, Debug, Default)]
pub struct LimitChange(Vec<(Period, Option<MicroCredits>)>);

impl LimitChange {
    /// Sets or takes away the limit of a period.
    ///
    /// # Errors
    /// [`KeyError::Limit`] when it is not above zero.
    pub fn set(&mut self, period: Period, limit: Option<MicroCredits>) -> Result<(), KeyError> {
        if limit.is_some_and(|limit| !limit.is_positive()) {
            return Err(KeyError::Limit(period, LimitError::NotAnAmount));
        }
        self.0.push((period, limit));
        Ok(())
    }

    /// Sets a limit that somebody typed; nothing takes it away.
    ///
    /// # Errors
    /// [`KeyError::Limit`] when it is no amount above zero.
    pub fn set_text(&mut self, period: Period, text: &str) -> Result<(), KeyError> {
        let limit = match text.trim() {
            "" => None,
            text => Some(text.parse().map_err(|_| KeyError::Limit(period, LimitError::NotAnAmount))?),
        };
        self.set(period, limit)
    }

    /// The limits after this change of others, if they go together.
    pub(super) fn on(&self, limits: Limits) -> Result<Limits, KeyError> {
        let limits = self.0.iter().fold(limits, |limits, (period, limit)| limits.with(*period, *limit));
        let mut longer: Vec<(Period, MicroCredits)> = Vec::new();
        for period in Period::ALL {
            let Some(limit) = limits.get(period) else { continue };
            if let Some(&(longer, most)) = longer.iter().find(|(_, most)| limit > *most) {
                return Err(KeyError::Limit(period, LimitError::AboveLonger { longer, limit: most }));
            }
            longer.push((period, limit));
        }
        Ok(limits)
    }
}

const fn in_words(period: Period) -> &'static str {
    match period {
        Period::Total => "in all",
        Period::Day => "per day",
        Period::Week => "per week",
        Period::Month => "per month",
    }
}

/// Whether more may be spent within the new limits than within the old ones, in any period.
#[must_use]
pub fn loosens(old: Limits, new: Limits) -> bool {
    let pairs = [(old.total, new.total), (old.day, new.day), (old.week, new.week), (old.month, new.month)];
    pairs.into_iter().any(|(old, new)| old.is_some_and(|old| new.is_none_or(|new| new > old)))
}
