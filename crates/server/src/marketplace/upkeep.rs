//! What is done for rates beside the hot path: snapshots of the books, and thinning.
//!
//! Every coordinator notes its own books under its own number; doing so twice in five minutes leaves one note. What cleared
//! is kept by the minute (its distribution, and snapshots, by five minutes) for 2 days, by the hour for 90 days, by the day
//! after that. Of the trades themselves the newest [`KEPT`] of each Cargo are kept. A round thins at most [`PERIODS`] periods
//! of a Cargo, each in a transaction of its own, so that no job waits for it; several coordinators may do it at once.

use db::DbError;
use types::time::{DAY_MS, MINUTE_MS};

use super::store;
use super::tape::BUCKET;
use crate::app::App;

/// Trades of a Cargo that are kept.
pub const KEPT: i64 = 200;
/// About as many trades are forgotten in one transaction, so that no job waits for it.
const AT_ONCE: u16 = 500;
/// Most hours or days of a Cargo that one round thins.
pub const PERIODS: i64 = 24;

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// Notes how the books stand.
///
/// # Errors
/// A [`DbError`].
pub async fn snapshot_once(app: &App) -> Result<(), DbError> {
    let books: Vec<_> =
        app.market.all().iter().map(|market| (market.workload.id, market.standing())).collect();
    let bucket = app.clock.now().as_millis() / MINUTE_MS / BUCKET * BUCKET;
    let key = (bucket, app.node.number);
    app.db.tx("snapshot", async move |tx| store::note_standing(tx, key, &books).await).await
}

/// Forgets trades nobody is shown any more.
///
/// # Errors
/// A [`DbError`].
pub async fn forget_once(app: &App) -> Result<(), DbError> {
    for market in app.market.all() {
        let id = market.workload.id;
        let forget =
            async move |tx: &mut db::Tx<'_>| store::forget_trades(tx, id, KEPT, AT_ONCE.into()).await;
        while app.db.tx("forget_trades", forget).await? >= AT_ONCE.into() {}
    }
    Ok(())
}

/// Adds old minutes up to hours, and old hours up to days.
///
/// # Errors
/// A [`DbError`].
pub async fn thin_once(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let before =
        |days: i64, length: i64| now.plus_millis(-days * DAY_MS).as_millis() / MINUTE_MS / length * length;
    let (fine, coarse) = (before(2, HOUR), before(90, DAY));
    for market in app.market.all() {
        let id = market.workload.id;
        for (range, length) in [((0, coarse), DAY), ((coarse, fine), HOUR)] {
            let due =
                app.db.read("to_thin", async move |tx| store::to_thin(tx, id, range, length, PERIODS).await);
            for start in due.await? {
                app.db.tx("thin", async move |tx| store::thin(tx, id, start, length).await).await?;
            }
        }
    }
    Ok(())
}
