//! Keeps what is offered true: looks after the backends, and watches the hour and the measured cost.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use crate::agent::Updater;

/// How often the offers are computed anew: for schedules, whose unit is the minute, and for the floor.
const REFRESH_EVERY: Duration = Duration::from_secs(15);
/// The shortest time between two looks at the backends, however many jobs fail.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);

/// Looks at all backends once.
pub(crate) async fn look_at_all(updater: &Updater) {
    let sites = updater.sites();
    join_all(sites.iter().map(|site| site.look_if_due(Instant::now()))).await;
}

/// Looks after everything for ever.
pub(crate) async fn keep(updater: &Updater) -> Infallible {
    loop {
        look_at_all(updater).await;
        updater.refresh();
        let next = updater.sites().iter().filter_map(|site| site.look_at()).min();
        let latest = Instant::now() + REFRESH_EVERY;
        let next = next.map_or(latest, |next| next.clamp(Instant::now() + SHORTEST_WAIT, latest));
        let looked = Instant::now();
        tokio::select! {
            // At once, but not all the time.
            () = updater.alarm().notified() => {
                updater.refresh();
                sleep_until(looked + SHORTEST_WAIT).await;
            }
            () = sleep_until(next) => {}
        }
    }
}

impl crate::site::Site {
    async fn look_if_due(self: &Arc<Self>, now: Instant) {
        if self.look_at().is_some_and(|at| at <= now) {
            self.look().await;
        }
    }
}
