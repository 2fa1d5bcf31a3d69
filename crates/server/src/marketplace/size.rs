//! How large the network is. Anybody may ask as often as they like, so it is counted once in a while and remembered.

use std::collections::BTreeSet;

use db::DbError;
use tokio::sync::Mutex;
use types::time::Timestamp;

use super::store;
use crate::app::App;

/// How long a count is told, in milliseconds.
const FRESH_MS: i64 = 10_000;

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Islands that are connected to this coordinator.
    pub islands: usize,
    /// Regions they name.
    pub regions: usize,
    /// Jobs that cleared, ever. One's own jobs on one's own Islands are none.
    pub trades: i64,
}

/// The last count, and when it was made.
#[derive(Debug, Default)]
pub struct LastSize(Mutex<Option<(Timestamp, Size)>>);

impl LastSize {
    /// How large the network is, or was a moment ago.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn look(&self, app: &App) -> Result<Size, DbError> {
        // Whoever comes meanwhile waits for this one count instead of making another.
        let mut last = self.0.lock().await;
        let now = app.clock.now();
        if let Some((at, size)) = *last
            && (0..FRESH_MS).contains(&(now.as_millis() - at.as_millis()))
        {
            return Ok(size);
        }
        let records = crate::islands::online(app).await?;
        let regions: BTreeSet<&str> =
            records.iter().filter_map(|record| record.capabilities.region.as_deref()).collect();
        let trades = app.db.read("trades_ever", async |tx| store::trades_ever(tx).await).await?;
        let size = Size { islands: records.len(), regions: regions.len(), trades };
        *last = Some((now, size));
        Ok(size)
    }
}
