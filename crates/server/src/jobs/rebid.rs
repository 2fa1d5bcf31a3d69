//! A waiting job's bid is raised. It is written before the market hears of it, so that no match is ever above what is stored (I5),
//! and only while the job waits, so that it cannot change under an attempt.

use db::DbError;
use types::id::{JobId, UserId};
use types::money::MicroCredits;

use super::input;
use super::live::Event;
use super::look::find;
use super::{Job, JobError, State, store};
use crate::app::App;
use crate::idempotency::Once;

/// Lets a waiting job of this user cost up to `bid`, which must be more than before.
///
/// # Errors
/// [`JobError::NotWaiting`], [`JobError::Invalid`] when it is not more, and any other [`JobError`].
pub async fn raise(
    app: &App,
    user: UserId,
    id: JobId,
    bid: MicroCredits,
    once: &Once<Job>,
) -> Result<Job, JobError> {
    let (job, _) = find(app, user, id).await?;
    if job.state != State::Pending {
        return Err(JobError::NotWaiting);
    }
    if bid <= job.bid {
        let message = format!("must be above the present bid, {}", job.bid);
        return Err(JobError::Invalid { field: "bid_price".to_owned(), message });
    }
    let market = app.market.by_id(job.workload).ok_or(JobError::UnknownWorkload)?;
    let raw = serde_json::value::RawValue::from_string(job.input.to_string());
    let raw = raw.map_err(|_| JobError::Internal)?;
    let most = market.workload.measure.most(&input::check(&market.workload, &raw)?.request);
    let unit_bid = most.price_within(bid);
    let now = app.clock.now();
    let raised = once.tx(app, "raise_bid", async move |tx| {
        if store::raise_bid(tx, id, (bid, unit_bid), now).await? {
            store::job(tx, id).await?.ok_or(JobError::NotFound)
        } else {
            Err(JobError::NotWaiting)
        }
    });
    let raised = raised.await?;
    apply(app, id, bid);
    Ok(raised)
}

/// Tells the market what a waiting job that is driven here may cost now.
fn apply(app: &App, id: JobId, bid: MicroCredits) {
    let Some(live) = app.jobs.get(id) else { return };
    if live.bid() >= bid {
        return;
    }
    live.raise_bid(bid);
    if let Some(market) = app.market.by_id(live.workload.id) {
        // Whoever watches is told before the job can run.
        live.push(Event::Waiting { best_ask: market.lowest_ask() });
        // The highest of those that came meanwhile.
        market.rebid(id, live.most.price_within(live.bid()));
    }
}

/// Raises the bids of jobs of this coordinator that were raised through another.
///
/// # Errors
/// A [`DbError`].
pub async fn apply_raised_once(app: &App) -> Result<(), DbError> {
    let node = app.node;
    for (id, bid) in app.db.read("raised_bids", async move |tx| store::raised(tx, node).await).await? {
        apply(app, id, bid);
    }
    Ok(())
}
