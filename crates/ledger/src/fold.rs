//! Folding: bringing the rows of accounts, holds and caps up to date with the journal.
//!
//! Under light load everything a batch changed is folded with it, in the same transaction: the tables are always current and
//! the journal only serves other processes to catch up by. Under heavy load an account may change many times before its row is
//! worth an update. Then the journal grows to a limit, its older part is closed, and each further batch folds a
//! share of the accounts changed in it, in the order of their rows, so that accounts which share a page of the file
//! are written together and no batch has to wait for much. When all are done the older part can go. A hold that ended
//! meanwhile never had a row at all.

use db::{DbError, Tx};
use types::id::AccountId;

use crate::books::Fold;
use crate::memory::Memory;
use crate::store::{self, Folding};

/// When the tables follow the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Up to this many changed accounts, and holds, everything is folded at once.
    pub at_once: usize,
    /// The journal's older part is closed when the journal since the last fold has this many bytes for each account known,
    /// within the bounds below: with many accounts a change is more worth folding when its neighbours on the page have
    /// changed too.
    pub bytes_per_account: usize,
    /// It is never closed with fewer bytes than this.
    pub least_bytes: usize,
    /// It is always closed with this many.
    pub most_bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { at_once: 16, bytes_per_account: 128, least_bytes: 16 << 20, most_bytes: 512 << 20 }
    }
}

/// What is folded is kept for other processes to catch up by: so many batches, if they have no more than so many bytes.
const KEPT_BATCHES: usize = 8192;
const KEPT_BYTES: usize = 16 << 20;
/// Journal rows deleted with one batch: a large row takes a while to free.
const PRUNED_AT_ONCE: usize = 8;

impl Memory {
    /// Takes note of what the batch changed.
    pub(crate) fn note_batch(&mut self, bytes: usize) {
        let Self { books, due, opened, ended, caps, journal, journal_bytes, .. } = self;
        for id in &books.batch.accounts {
            if let Some(known) = books.accounts.get_mut(id)
                && known.fold == Fold::Done
            {
                known.fold = Fold::Due;
                due.push(*id);
            }
        }
        let number = books.batch.number;
        opened.extend(books.batch.opened.iter().map(|&id| (number, id)));
        ended.extend(books.batch.ended.iter().filter(|open| open.stored).map(|open| open.hold.id));
        caps.append(&mut books.batch.caps);
        journal.push_back((number, bytes));
        *journal_bytes += bytes;
    }

    /// What is to be written to the tables now. `share` is how much is due in proportion to the batch.
    pub(crate) fn plan(&mut self, pace: &Pace, share: usize) -> Folding {
        let mut folding = Folding::default();
        if self.older_until == 0 {
            let little = self.due.len() <= pace.at_once && self.opened.len() <= pace.at_once;
            if little || self.unfolded_bytes() >= self.journal_limit(pace) {
                self.close_older_part();
            }
        }
        if self.older_until > 0 {
            self.sweep(&mut folding, share.max(pace.at_once));
        }
        self.prune(&mut folding);
        folding
    }

    fn close_older_part(&mut self) {
        self.older_until = self.head.batch;
        self.next = std::mem::take(&mut self.due);
        // Taken from the end: so the smallest id comes first.
        self.next.sort_unstable_by(|one, other| other.cmp(one));
        self.next_caps.append(&mut self.caps);
        self.next_caps.sort_unstable_by(|one, other| other.cmp(one));
        self.next_caps.dedup();
        for id in &self.next {
            if let Some(known) = self.books.accounts.get_mut(id) {
                known.fold = Fold::Next;
            }
        }
    }

    fn sweep(&mut self, folding: &mut Folding, share: usize) {
        let first = self.next.len().saturating_sub(share);
        let ids: Vec<AccountId> = self.next.drain(first..).rev().collect();
        for id in ids {
            if let Some(known) = self.books.accounts.get_mut(&id) {
                known.fold = Fold::Done;
                folding.accounts.push(known.account);
            }
        }
        let first = self.next_caps.len().saturating_sub(share);
        folding.caps.extend(self.next_caps.drain(first..).rev().filter_map(|id| self.books.caps.get(&id)));
        for _ in 0..share.saturating_mul(4) {
            let Some(&(_, id)) = self.opened.front().filter(|(batch, _)| *batch <= self.older_until) else {
                break;
            };
            self.opened.pop_front();
            if let Some(open) = self.books.holds.get_mut(&id)
                && !open.stored
            {
                open.stored = true;
                folding.store.push(open.hold);
            }
        }
        let opened = self.opened.front().is_some_and(|(batch, _)| *batch <= self.older_until);
        let swept = self.next.is_empty() && self.next_caps.is_empty() && !opened;
        if swept {
            folding.delete.append(&mut self.ended);
            self.head.folded = self.older_until;
            self.older_until = 0;
        } else if !folding.store.is_empty() {
            self.head.swept += 1;
        }
    }

    /// Lets go of the oldest of the journal that nobody needs.
    fn prune(&mut self, folding: &mut Folding) {
        for _ in 0..PRUNED_AT_ONCE {
            let Some(&(batch, bytes)) = self.journal.front() else { return };
            let much = self.journal.len() > KEPT_BATCHES || self.journal_bytes > KEPT_BYTES;
            if !much || batch > self.head.folded || batch == self.head.batch {
                return;
            }
            self.journal.pop_front();
            self.journal_bytes -= bytes;
            folding.prune_until = Some(batch);
        }
    }

    fn unfolded_bytes(&self) -> usize {
        let newest_first = self.journal.iter().rev();
        newest_first.take_while(|(batch, _)| *batch > self.head.folded).map(|(_, bytes)| bytes).sum()
    }

    fn journal_limit(&self, pace: &Pace) -> usize {
        (self.books.accounts.len() * pace.bytes_per_account).clamp(pace.least_bytes, pace.most_bytes)
    }
}

/// Whether the tables are as new as the ledger, so that [`fold`] has nothing to do.
///
/// # Errors
/// A [`DbError`].
pub async fn is_folded(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    let head = store::head(tx).await?;
    Ok(head.folded == head.batch)
}

/// Folds everything that is not folded yet, as far as `share` goes. Answers whether all is done.
///
/// # Errors
/// A [`DbError`].
pub async fn fold(tx: &mut Tx<'_>, share: usize) -> Result<bool, DbError> {
    let head = store::head(tx).await?;
    if head.folded == head.batch {
        return Ok(true);
    }
    let mut memory = crate::memory::recall(tx).await?;
    if memory.older_until == 0 {
        memory.close_older_part();
    }
    let mut folding = Folding::default();
    memory.sweep(&mut folding, share);
    memory.prune(&mut folding);
    store::fold(tx, &folding).await?;
    store::move_head(tx, memory.head, memory.head.batch).await?;
    let done = memory.head.folded == memory.head.batch;
    tx.put_memo(memory);
    Ok(done)
}
