//! Batches that nobody drives: after a start, after a takeover, after a failure of the database.

use std::sync::Arc;

use db::{DbError, Tx};

use super::{drive, store};
use crate::app::App;
use crate::nodes::Node;

/// Drives the open batches of this coordinator that are not driven.
///
/// # Errors
/// A [`DbError`].
pub async fn resume_once(app: &Arc<App>) -> Result<(), DbError> {
    let node = app.node;
    let open = app.db.read("open_batches", async move |tx| store::open_of(tx, node).await).await?;
    open.into_iter().for_each(|id| drive::start(app, id));
    Ok(())
}

/// Gives the open batches of one coordinator to another, together with their jobs.
///
/// # Errors
/// A [`DbError`].
pub async fn hand_over(tx: &mut Tx<'_>, from: u16, to: Node) -> Result<(), DbError> {
    store::hand_over(tx, from, to).await
}

/// Does what was wished through another coordinator for batches of this one: cancels them.
///
/// # Errors
/// A [`DbError`].
pub async fn wishes_once(app: &App) -> Result<(), DbError> {
    let node = app.node;
    let wanted = app.db.read("batches_to_cancel", async move |tx| store::to_cancel(tx, node).await).await?;
    wanted.into_iter().filter_map(|id| app.batches.get(id)).for_each(|live| live.cancel());
    Ok(())
}
