//! The incremental audit: what was written since the last one, by the journal.

use std::collections::{BTreeSet, HashMap};

use db::{DbError, Tx};
use types::id::{AccountId, Id, TransferId};

use super::{Finding, Findings, accounts, transfers};
use crate::journal;
use crate::store::Entry;
use crate::{Account, reading, store, submit};

/// How far the incremental audit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    batch: i64,
    mark: i64,
}

/// What an incremental audit did.
#[derive(Debug)]
pub struct Recent {
    /// Where the next one begins.
    pub position: Position,
    /// How many batches were checked.
    pub batches: i64,
    /// How many transfers were checked.
    pub transfers: u64,
    /// How many batches could not be checked because their journal is gone; only a full audit covers them.
    pub skipped: i64,
    /// What was found.
    pub findings: Vec<Finding>,
}

const CHAIN: &str = "the journal is not the one that was written";
const CHAIN_MEANING: &str =
    "The digest of a batch does not follow from the one before: rows of the journal were changed.";

/// Checks what was written since `from`; without it, nothing yet: it only says where the next one begins.
///
/// # Errors
/// A [`DbError`].
pub async fn recent(tx: &mut Tx<'_>, from: Option<Position>) -> Result<Recent, DbError> {
    let head = store::head(tx).await?;
    let position = Position { batch: head.batch, mark: head.mark };
    let mut done = Recent { position, batches: 0, transfers: 0, skipped: 0, findings: Vec::new() };
    let Some(from) = from else { return Ok(done) };

    let mut at = from;
    let mut findings = Findings::default();
    let mut newest: HashMap<AccountId, Account> = HashMap::new();
    while at.batch < head.batch {
        let entries = store::journal_after(tx, at.batch).await?;
        if entries.is_empty() {
            break;
        }
        let mut transfers = BTreeSet::new();
        for Entry { batch, mark, changes } in entries {
            if batch != at.batch + 1 {
                done.skipped += batch - at.batch - 1;
            } else if mark != submit::mark(at.mark, &changes) {
                findings.add("I12", CHAIN, CHAIN_MEANING, &format!("batch {batch}"));
            }
            at = Position { batch, mark };
            let changes = journal::unpack(&changes)?;
            done.batches += 1;
            done.transfers += u64::try_from(changes.transfers.len()).unwrap_or(0);
            transfers.extend(changes.transfers);
            newest.extend(changes.accounts.into_iter().map(|account| (account.id, account)));
        }
        check_transfers(tx, transfers, &mut findings).await?;
    }
    done.skipped += head.batch - at.batch;
    check_accounts(tx, newest.into_values().collect(), &mut findings).await?;
    done.findings = findings.0;
    Ok(done)
}

async fn check_transfers(
    tx: &mut Tx<'_>,
    ids: BTreeSet<TransferId>,
    findings: &mut Findings,
) -> Result<(), DbError> {
    let ids: Vec<TransferId> = ids.into_iter().collect();
    for some in ids.chunks(1024) {
        findings.0.extend(transfers::links_of(tx, some).await?);
    }
    Ok(())
}

/// The accounts that changed, as they are after the last batch: against their newest legs and their open holds.
async fn check_accounts(
    tx: &mut Tx<'_>,
    accounts: Vec<Account>,
    findings: &mut Findings,
) -> Result<(), DbError> {
    let mut held: HashMap<AccountId, i64> = HashMap::new();
    for hold in reading::open_holds(tx).await? {
        *held.entry(hold.account).or_default() += hold.amount.get();
    }
    for some in accounts.chunks(1024) {
        for (account, leg) in some.iter().zip(accounts::newest_legs(tx, some).await?) {
            let id = account.id.get();
            if account.entries > 0 && leg != (Some(account.entries), Some(account.posted)) {
                let meaning = "The balance people see is not what their history adds up to.";
                let row = format!("account {id} posted {}, newest leg {leg:?}", account.posted);
                findings.add("I1", "an account's balance is not that of its newest leg", meaning, &row);
            }
            let open = held.get(&account.id).copied().unwrap_or(0);
            if account.held.get() != open {
                let meaning = "Credits are stuck: reserved by no hold, or a hold reserves nothing.";
                let row = format!("account {id} held {}", account.held);
                findings.add("I7", "what an account holds is not the sum of its open holds", meaning, &row);
            }
            if !account.kind.may_be_negative() && account.posted < account.held {
                let meaning = "More was spent or reserved than there was.";
                findings.add("I2", "a person's account is overdrawn", meaning, &format!("account {id}"));
            }
        }
    }
    Ok(())
}

/// The digests of all of the journal that is kept.
pub(super) async fn journal(tx: &mut Tx<'_>) -> Result<Vec<Finding>, DbError> {
    let head = store::head(tx).await?;
    let mut findings = Findings::default();
    let mut at: Option<Position> = None;
    loop {
        let entries = store::journal_after(tx, at.map_or(0, |at| at.batch)).await?;
        if entries.is_empty() {
            break;
        }
        for Entry { batch, mark, changes } in entries {
            let follows =
                at.is_none_or(|at| at.batch + 1 == batch && submit::mark(at.mark, &changes) == mark);
            if !follows {
                findings.add("I12", CHAIN, CHAIN_MEANING, &format!("batch {batch}"));
            }
            at = Some(Position { batch, mark });
        }
    }
    if at.is_some_and(|at| at != Position { batch: head.batch, mark: head.mark }) {
        findings.add("I12", CHAIN, CHAIN_MEANING, "its end is not the ledger's head");
    }
    Ok(findings.0)
}
