//! The way to an Island: what is to be sent to it, and the wish to close it. A socket's writer empties it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};
use types::island_protocol::ToIsland;

/// Messages that may wait for an Island that does not read. Beyond that its connection is given up.
const OUTBOX: usize = 8192;

/// The way to an Island, while there is one.
#[derive(Debug)]
pub struct Link {
    outbox: mpsc::Sender<ToIsland>,
    /// Told when the connection is to be closed.
    pub closing: Notify,
    /// Told when the Island's place in the book should be looked at.
    pub changed: Notify,
    refusal: Mutex<Option<ToIsland>>,
}

impl Link {
    /// A way, and the messages that are to be sent on it.
    #[must_use]
    pub fn new() -> (Arc<Self>, mpsc::Receiver<ToIsland>) {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let (closing, changed) = (Notify::new(), Notify::new());
        (Arc::new(Self { outbox, closing, changed, refusal: Mutex::default() }), messages)
    }

    /// Sends a message, unless too many wait already.
    pub fn send(&self, message: ToIsland) -> bool {
        self.outbox.try_send(message).is_ok()
    }

    /// Closes the connection with a reason.
    pub fn close(&self, code: &str, message: &str) {
        let retry = !matches!(code, "revoked" | "replaced");
        *lock(&self.refusal) =
            Some(ToIsland::Refused { code: code.to_owned(), message: message.to_owned(), retry });
        self.closing.notify_one();
    }

    /// The last message to send before closing.
    #[must_use]
    pub fn take_refusal(&self) -> Option<ToIsland> {
        lock(&self.refusal).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
