//! What a connection remembers of the ledger from one transaction to the next, so that a batch need not read what
//! the batch before it has just written.
//!
//! Nothing is decided by a memory that may be out of date: every transaction first compares it with `ledger_head`, whose
//! mark is a digest of all that was written. If it is behind, because another process wrote, it catches up by the
//! journal; if it is not on the same history, because what it remembers was taken back, it is forgotten and built anew.

use std::collections::VecDeque;

use db::{DbError, Tx};
use rustc_hash::FxHashSet;
use types::id::{AccountId, TransferId};

use crate::Account;
use crate::books::{Books, Fold, Known, Open};
use crate::journal::{self, Changes};
use crate::store::{self, Entry, Head};

/// Most accounts remembered, about a hundred bytes each.
const MOST_ACCOUNTS: usize = 12_000_000;
/// Most caps remembered, about two hundred bytes each.
const MOST_CAPS: usize = 4_000_000;

#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub head: Head,
    pub books: Books,
    /// Accounts changed since the older part of the journal was closed.
    pub due: Vec<AccountId>,
    /// Accounts changed in the older part of the journal and not folded since, in falling order.
    pub next: Vec<AccountId>,
    /// The last batch of the older part, while there is one.
    pub older_until: i64,
    /// Holds that were opened and had no row then, by the batch that opened them, oldest first. Some have ended since.
    pub opened: VecDeque<(i64, TransferId)>,
    /// Holds that have ended and still have a row.
    pub ended: Vec<TransferId>,
    /// Caps changed since the older part of the journal was closed.
    pub caps: Vec<i64>,
    /// Caps changed in the older part of the journal and not folded since, in falling order.
    pub next_caps: Vec<i64>,
    /// The batches the journal holds and their sizes in bytes, oldest first.
    pub journal: VecDeque<(i64, usize)>,
    /// The sum of these sizes.
    pub journal_bytes: usize,
    /// It does not know which holds have a row: good for reading, not for writing.
    for_reading: bool,
}

/// The memory of this connection, as of this transaction, to write by.
pub(crate) async fn recall(tx: &mut Tx<'_>) -> Result<Memory, DbError> {
    let head = store::head(tx).await?;
    recall_at(tx, head).await
}

/// The same, when the head of this transaction is known.
pub(crate) async fn recall_at(tx: &mut Tx<'_>, head: Head) -> Result<Memory, DbError> {
    let Some(memory) = tx.take_memo::<Memory>() else { return build(tx, head).await };
    if memory.head == head && !memory.for_reading {
        return Ok(memory);
    }
    match catch_up(tx, memory, head).await? {
        Some(memory) if !memory.for_reading => Ok(memory),
        _ => build(tx, head).await,
    }
}

/// Likewise, to read by; nothing when the tables are as new as the ledger and can be read instead.
pub(crate) async fn recall_to_read(tx: &mut Tx<'_>) -> Result<Option<Memory>, DbError> {
    let head = store::head(tx).await?;
    if head.folded == head.batch {
        return Ok(None);
    }
    let Some(memory) = tx.take_memo::<Memory>() else { return build(tx, head).await.map(Some) };
    if memory.head == head {
        return Ok(Some(memory));
    }
    let mut memory = match catch_up(tx, memory, head).await? {
        Some(memory) => memory,
        None => build(tx, head).await?,
    };
    memory.bound();
    Ok(Some(memory))
}

/// Builds a memory from what is folded and the journal since.
async fn build(tx: &mut Tx<'_>, head: Head) -> Result<Memory, DbError> {
    let mut memory = Memory { head, ..Memory::default() };
    for hold in store::stored_holds(tx).await? {
        memory.books.holds.insert(hold.id, Open { hold, opened_by: 0, stored: true });
    }
    memory.journal = store::journal_sizes(tx).await?.into();
    memory.journal_bytes = memory.journal.iter().map(|(_, bytes)| bytes).sum();
    memory.replay(tx, head.folded).await?;
    Ok(memory)
}

/// Applies what was written since; `None` when the memory is not on this history.
async fn catch_up(tx: &mut Tx<'_>, mut memory: Memory, head: Head) -> Result<Option<Memory>, DbError> {
    let before = memory.head;
    let all_folded = head.folded == head.batch;
    if head.batch < before.batch {
        return Ok(None);
    }
    // A process that folded some of it has stored holds that this memory does not know are stored.
    memory.for_reading |= (head.folded, head.swept) != (before.folded, before.swept);
    let mark = match head.batch == before.batch {
        true => Some(head.mark),
        false => store::journal_mark(tx, before.batch).await?,
    };
    if mark != Some(before.mark) {
        return Ok(None);
    }
    memory.head = head;
    if !memory.replay(tx, before.batch).await? {
        return Ok(None);
    }
    if all_folded {
        memory.all_is_folded();
    }
    Ok(Some(memory))
}

impl Memory {
    /// Applies the journal after batch `after`, up to the head. Answers whether it is all there.
    async fn replay(&mut self, tx: &mut Tx<'_>, after: i64) -> Result<bool, DbError> {
        let mut at = after;
        while at < self.head.batch {
            let entries = store::journal_after(tx, at).await?;
            if entries.is_empty() {
                return Ok(false);
            }
            for Entry { batch, changes, .. } in entries {
                if batch != at + 1 {
                    return Ok(false);
                }
                at = batch;
                if self.journal.back().is_none_or(|&(newest, _)| newest < batch) {
                    self.journal.push_back((batch, changes.len()));
                    self.journal_bytes += changes.len();
                }
                self.apply(batch, journal::unpack(&changes)?);
            }
        }
        Ok(true)
    }

    fn apply(&mut self, batch: i64, changes: Changes) {
        for account in changes.accounts {
            self.learn(account, batch);
        }
        for hold in changes.opened {
            // It may have its row already: what is swept while the journal is still there is in both.
            let stored = self.books.holds.get(&hold.id).is_some_and(|open| open.stored);
            self.books.holds.insert(hold.id, Open { hold, opened_by: batch, stored });
            if !stored {
                self.opened.push_back((batch, hold.id));
            }
        }
        for id in changes.ended {
            if self.books.holds.remove(&id).is_some_and(|open| open.stored) {
                self.ended.push(id);
            }
        }
        for cap in changes.caps {
            self.caps.push(cap.id);
            self.books.caps.insert(cap.id, cap);
        }
    }

    fn learn(&mut self, account: Account, changed_by: i64) {
        let known = self.books.accounts.entry(account.id).or_insert(Known::folded(account));
        known.account = account;
        known.changed_by = changed_by;
        if known.fold == Fold::Done {
            known.fold = Fold::Due;
            self.due.push(account.id);
        }
    }

    /// Everything has its row.
    pub fn all_is_folded(&mut self) {
        for id in self.due.drain(..).chain(self.next.drain(..)) {
            if let Some(known) = self.books.accounts.get_mut(&id) {
                known.fold = Fold::Done;
            }
        }
        for (_, id) in self.opened.drain(..) {
            if let Some(open) = self.books.holds.get_mut(&id) {
                open.stored = true;
            }
        }
        self.ended.clear();
        self.caps.clear();
        self.next_caps.clear();
        self.older_until = 0;
        self.for_reading = false;
    }

    /// Forgets what can be read again, when there is too much of it.
    pub fn bound(&mut self) {
        if self.books.accounts.len() > MOST_ACCOUNTS {
            self.books.accounts.retain(|_, known| known.fold != Fold::Done);
        }
        if self.caps.len() > 2 * self.books.caps.len() + 1024 {
            self.caps.sort_unstable();
            self.caps.dedup();
        }
        if self.books.caps.len() > MOST_CAPS {
            let behind: FxHashSet<i64> = self.caps.iter().chain(&self.next_caps).copied().collect();
            self.books.caps.retain(|id, _| behind.contains(id));
        }
    }
}
