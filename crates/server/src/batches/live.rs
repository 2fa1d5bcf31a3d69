//! Batches that are driven here: who watches, and the wish to cancel.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use types::id::JobId;

/// A batch that is driven here.
#[derive(Debug, Default)]
pub struct LiveBatch {
    changed: watch::Sender<()>,
    cancelled: AtomicBool,
    cancel: Notify,
}

impl LiveBatch {
    /// Something became of an input, or of the batch.
    pub fn note_changed(&self) {
        self.changed.send_replace(());
    }

    /// Told of every change from now on; closed when the batch is driven here no more.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Asks for the batch to be cancelled.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel.notify_one();
    }

    /// Whether somebody asked for that.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Waits until somebody asks for that.
    pub async fn cancelled(&self) {
        while !self.is_cancelled() {
            self.cancel.notified().await;
        }
    }
}

/// All batches that are driven here.
#[derive(Debug, Default)]
pub struct LiveBatches(Mutex<HashMap<JobId, Arc<LiveBatch>>>);

impl LiveBatches {
    /// A batch, if it is driven here.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<Arc<LiveBatch>> {
        self.lock().get(&id).cloned()
    }

    /// Notes that a batch is driven here; nothing if it is already.
    #[must_use]
    pub fn insert(&self, id: JobId) -> Option<Arc<LiveBatch>> {
        let mut all = self.lock();
        if all.contains_key(&id) {
            return None;
        }
        let live = Arc::new(LiveBatch::default());
        all.insert(id, Arc::clone(&live));
        Some(live)
    }

    /// Notes that a batch is driven here no more.
    pub fn remove(&self, id: JobId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<LiveBatch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
