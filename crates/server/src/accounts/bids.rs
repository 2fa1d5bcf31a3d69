//! What a user pays at most for a Cargo, unless a job says otherwise.

use std::collections::BTreeMap;

use db::DbError;
use types::money::MicroCredits;

use super::{User, store};
use crate::app::App;
use crate::idempotency::Once;

/// Maxima by Cargo, in micro-credits per unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bids(BTreeMap<i64, MicroCredits>);

impl Bids {
    /// The maximum for a Cargo, by its number.
    #[must_use]
    pub fn get(&self, workload: i64) -> Option<MicroCredits> {
        self.0.get(&workload).copied()
    }

    /// From what is stored. What cannot be read is no maximum: the ceiling of the Cargo holds.
    #[must_use]
    pub(super) fn from_stored(text: &str) -> Self {
        let stored: BTreeMap<i64, String> = serde_json::from_str(text).unwrap_or_default();
        let bids = stored.into_iter().filter_map(|(workload, bid)| Some((workload, bid.parse().ok()?)));
        Self(bids.filter(|(_, bid): &(i64, MicroCredits)| bid.is_positive()).collect())
    }

    pub(super) fn to_stored(&self) -> String {
        let stored: BTreeMap<i64, String> =
            self.0.iter().map(|(workload, bid)| (*workload, bid.to_string())).collect();
        serde_json::to_string(&stored).unwrap_or_default()
    }
}

/// Sets or takes away the maximum of a user for a Cargo of this network. The caller has checked that it is above zero.
///
/// # Errors
/// A [`DbError`].
pub async fn set(
    app: &App,
    user: &User,
    workload: i64,
    bid: Option<MicroCredits>,
    once: &Once<()>,
) -> Result<(), DbError> {
    set_all(app, user, vec![(workload, bid)], once).await
}

/// The same for several Cargos at once.
///
/// # Errors
/// A [`DbError`].
pub async fn set_all(
    app: &App,
    user: &User,
    wanted: Vec<(i64, Option<MicroCredits>)>,
    once: &Once<()>,
) -> Result<(), DbError> {
    let id = user.id;
    let set = once.tx(app, "set_bids", async move |tx| {
        let mut bids = store::bids_of(tx, id).await?;
        for &(workload, bid) in &wanted {
            match bid {
                Some(bid) => drop(bids.0.insert(workload, bid)),
                None => drop(bids.0.remove(&workload)),
            }
        }
        store::set_bids(tx, id, &bids).await
    });
    let set = set.await;
    // Whatever was answered: it may have been written.
    app.keys.forget();
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        let bids = Bids([(1, MicroCredits::new(2_500_000)), (7, MicroCredits::new(1))].into());
        assert_eq!(bids.to_stored(), r#"{"1":"2.5","7":"0.000001"}"#);
        assert_eq!(Bids::from_stored(&bids.to_stored()), bids);
        for broken in ["", "[]", "{", r#"{"1":"x","2":"-1","3":"0"}"#] {
            assert_eq!(Bids::from_stored(broken), Bids::default(), "{broken}");
        }
    }
}
