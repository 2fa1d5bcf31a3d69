//! How large a book may get.

/// Bounds of one book. A command that would pass one is refused and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Islands in the book.
    pub max_asks: usize,
    /// Jobs waiting, of all users together.
    pub max_waiting: usize,
    /// Jobs waiting of one user, so that nobody fills the queue alone, and so that reordering a user's own jobs
    /// by priority stays cheap.
    pub max_waiting_per_user: usize,
    /// Different Islands that one order may exclude.
    pub max_excluded: usize,
    /// Bytes of the name of a region or a model.
    pub max_name: usize,
    /// Entries of [`crate::Match::considered`]. Zero counts as one: the chosen Island is always named.
    pub considered: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_asks: 1_000_000,
            max_waiting: 100_000,
            max_waiting_per_user: 10_000,
            max_excluded: 16,
            max_name: 256,
            considered: 8,
        }
    }
}
