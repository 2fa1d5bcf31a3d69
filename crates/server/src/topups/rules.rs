//! What a rule of auto top-up may be, and what a declined card means for it. No clock, no database, no provider.

use types::id::{PurchaseId, UserId};
use types::money::{Cents, MicroCredits};
use types::time::{HOUR_MS, Timestamp};

use crate::config::Package;

/// Waits after the first decline, the second and the third; the next one pauses.
const WAITS_MS: [i64; 3] = [HOUR_MS, 3 * HOUR_MS, 7 * HOUR_MS];
/// Declines after which asking again is of no use, and is held against us.
const HARD: [&str; 8] = [
    "lost_card",
    "stolen_card",
    "expired_card",
    "pickup_card",
    "fraudulent",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "stop_payment_order",
];
/// What a provider says when the owner of a card has to be there.
const AUTHENTICATION: &str = "authentication_required";

/// Whether a rule may charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may.
    Active,
    /// Not before its user has done something.
    Paused,
}

impl State {
    /// As stored and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Paused].into_iter().find(|state| state.name() == name)
    }
}

/// The rule of a user, and how far its episode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whose.
    pub user: UserId,
    /// It is switched on.
    pub enabled: bool,
    /// Below how many available credits it buys.
    pub threshold: MicroCredits,
    /// What it buys.
    pub package_slug: String,
    /// The most it may charge in a calendar month, UTC.
    pub monthly_max: Cents,
    /// Whether it may charge.
    pub state: State,
    /// The number of the low episode.
    pub epoch: i64,
    /// The purchase of this episode, once there is one.
    pub purchase: Option<PurchaseId>,
    /// The provider was asked and has not answered.
    pub in_flight: bool,
    /// How often it was asked for this purchase.
    pub tries: i64,
    /// How often the card was declined in this episode.
    pub declines: i64,
    /// Not before.
    pub next_try_at: Timestamp,
    /// Why it did not buy, in a few words.
    pub last_error: Option<String>,
    /// Where its user does what the bank wants.
    pub confirm_url: Option<String>,
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It would never fire.
    #[error("must be above 0")]
    Threshold,
    /// No such package.
    #[error("is not one of our packages")]
    Package,
    /// One purchase would leave the balance low: it would fire once and never again.
    #[error("has fewer credits than the threshold; choose a larger package or a lower threshold")]
    TooSmall,
    /// It would never fire.
    #[error("is less than one purchase of this package, {0}; raise it or choose a smaller package")]
    Maximum(Cents),
}

impl Unfit {
    /// The field that is wrong.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Package | Self::TooSmall => "package",
            Self::Maximum(_) => "monthly_max",
        }
    }
}

/// The package of a rule that can do what it is for.
///
/// # Errors
/// [`Unfit`] says why it could not.
pub fn check<'a>(
    packages: &'a [Package],
    slug: &str,
    threshold: MicroCredits,
    monthly_max: Cents,
) -> Result<&'a Package, Unfit> {
    if !threshold.is_positive() {
        return Err(Unfit::Threshold);
    }
    let package = packages.iter().find(|package| package.slug == slug).ok_or(Unfit::Package)?;
    if package.credits.micros().is_ok_and(|credits| credits < threshold) {
        return Err(Unfit::TooSmall);
    }
    if monthly_max < package.price {
        return Err(Unfit::Maximum(package.price));
    }
    Ok(package)
}

/// What follows from a decline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again after so many milliseconds.
    Wait(i64),
    /// It is not tried again by itself.
    Pause,
    /// The owner of the card has to be there.
    Confirm,
}

/// What follows from a decline for this reason, so many included.
#[must_use]
pub fn after_decline(reason: &str, declines: i64) -> Next {
    if reason == AUTHENTICATION {
        return Next::Confirm;
    }
    let wait = usize::try_from(declines - 1).ok().and_then(|index| WAITS_MS.get(index));
    match wait {
        Some(wait) if !HARD.contains(&reason) => Next::Wait(*wait),
        _ => Next::Pause,
    }
}

/// A bank's reason, for people.
#[must_use]
pub fn in_words(reason: &str) -> String {
    let words = match reason {
        "insufficient_funds" => "there is not enough money on the card",
        "lost_card" | "stolen_card" | "pickup_card" => "the bank has blocked the card",
        "expired_card" => "the card has expired",
        _ => "the card was declined",
    };
    words.to_owned()
}

/// Whether a balance is low for a rule: only what may be spent counts, and what is on its way.
#[must_use]
pub fn is_low(available: MicroCredits, pending: MicroCredits, threshold: MicroCredits) -> bool {
    available.get().saturating_add(pending.get()) < threshold.get()
}

#[cfg(test)]
mod tests {
    use types::money::Credits;

    use super::*;

    #[test]
    fn incident_075_declines_wait_longer_and_then_pause() {
        let hours: Vec<Next> = (1..=5).map(|many| after_decline("generic_decline", many)).collect();
        let wait = |hours: i64| Next::Wait(hours * HOUR_MS);
        assert_eq!(hours, [wait(1), wait(3), wait(7), Next::Pause, Next::Pause]);
        assert_eq!(after_decline("do_not_honor", 1), wait(1));
        for reason in HARD {
            assert_eq!(after_decline(reason, 1), Next::Pause, "{reason}");
        }
        assert_eq!(after_decline(AUTHENTICATION, 4), Next::Confirm);
    }

    #[test]
    fn incident_078_a_rule_that_can_never_fire_is_refused() {
        let package = |slug: &str, credits, cents| Package {
            slug: slug.to_owned(),
            name: String::new(),
            credits: Credits::new(credits),
            price: Cents::new(cents),
        };
        let packages = [package("small", 500, 499), package("large", 1100, 999)];
        let check = |slug: &str, threshold: i64, most: i64| {
            check(&packages, slug, MicroCredits::new(threshold), Cents::new(most)).err()
        };
        assert_eq!(check("small", 500_000_000, 499), None);
        assert_eq!(check("small", 0, 499), Some(Unfit::Threshold));
        assert_eq!(check("none", 1, 499), Some(Unfit::Package));
        assert_eq!(check("small", 500_000_001, 499), Some(Unfit::TooSmall));
        assert_eq!(check("large", 500_000_000, 998), Some(Unfit::Maximum(Cents::new(999))));
    }

    #[test]
    fn incident_076_what_is_on_its_way_counts() {
        let of = |available, pending| {
            is_low(MicroCredits::new(available), MicroCredits::new(pending), MicroCredits::new(100))
        };
        assert!(of(99, 0) && of(0, 99));
        assert!(!of(100, 0) && !of(0, 100) && !of(i64::MAX, i64::MAX));
    }
}
