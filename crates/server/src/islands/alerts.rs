//! Letters to owners whose Island dropped, and when it is back: one of each for an outage.
//!
//! An outage is told of by when the Island was last seen, so it is found out too when the coordinator it was connected to died.

use db::{DbError, Tx};
use types::id::MailId;
use types::time::Timestamp;

use super::session::Session;
use crate::app::App;

/// Tells an owner that an Island is back, if they were told that it was gone.
pub struct Back {
    _id: MailId,
}

/// An Island is back.
#[must_use]
pub fn back(app: &App, _session: &Session, now: Timestamp) -> Back {
    Back { _id: app.ids.next(now) }
}

impl Back {
    /// Queues the letter, if there is anything to tell.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn tell(&self, _tx: &mut Tx<'_>) -> Result<(), DbError> {
        Ok(())
    }
}
