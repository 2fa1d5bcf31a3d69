//! `archipelago audit`: the ledger's own checks, and those that need purchases, jobs and attempts beside it. While the server
//! runs, [`Watch`] checks what is written every few seconds and shows the result on `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};

use db::{Db, DbError, Tx, params};
use ledger::audit::{Check, Finding, Position};
use ledger::{Hold, system};
use types::id::Id;
use types::money::MicroCredits;
use types::time::{SECOND_MS, Timestamp};

const CHECKS: &[Check] = &[
    Check {
        invariant: "I4",
        what: "a purchase and its grant disagree",
        meaning: "Somebody paid without getting credits, or got credits without paying, or another number of them.",
        sql: "SELECT 'purchase ' || p.id || ' ' || p.state || ' transfer ' || coalesce(t.amount, -1)
              FROM purchases p LEFT JOIN ledger_transfers t ON t.id = p.id
              WHERE (p.state = 'granted' AND (t.id IS NULL OR t.kind <> 2 OR t.to_account <> p.wallet_id
                     OR t.amount <> p.credits * 1000000))
                 OR (p.state <> 'granted' AND t.id IS NOT NULL)",
    },
    Check {
        invariant: "I4",
        what: "credits were sold without a purchase",
        meaning: "Credits came into a wallet as if bought, and no purchase says so.",
        sql: "SELECT 'transfer ' || t.id FROM ledger_transfers t LEFT JOIN purchases p ON p.id = t.id
              WHERE t.kind = 2 AND p.id IS NULL",
    },
    Check {
        invariant: "I15",
        what: "a grant and its transfer disagree",
        meaning: "What the operator granted is not what reached the wallet.",
        sql: "SELECT 'grant ' || g.id FROM grants g LEFT JOIN ledger_transfers t ON t.id = g.id
              WHERE t.id IS NULL OR t.amount <> g.amount OR t.kind <> 3",
    },
    Check {
        invariant: "I3",
        what: "a job was charged more than once",
        meaning: "Two attempts of one job were settled with a charge: the consumer paid twice.",
        sql: "SELECT 'job ' || a.job_id || ' ' || count(*) || ' charges'
              FROM attempts a JOIN ledger_transfers t ON t.id = a.id
              WHERE t.kind = 1 AND t.amount > 0 GROUP BY a.job_id HAVING count(*) > 1",
    },
    Check {
        invariant: "I3",
        what: "a job's charge is not what its attempts were charged",
        meaning: "The price shown with the job is not what left the wallet.",
        sql: "SELECT 'job ' || j.id || ' ' || j.state || ' charge ' || j.charge || ' charged ' || coalesce(c.charged, 0)
              FROM jobs j LEFT JOIN
                (SELECT a.job_id, sum(t.amount) AS charged FROM attempts a JOIN ledger_transfers t ON t.id = a.id
                 GROUP BY a.job_id) c ON c.job_id = j.id
              WHERE j.charge <> coalesce(c.charged, 0)",
    },
    Check {
        invariant: "I3",
        what: "an attempt and its hold ended differently",
        meaning: "The attempt says settled or released, the ledger says otherwise.",
        sql: "SELECT 'attempt ' || a.id || ' ' || a.state || ' transfer kind ' || coalesce(t.kind, 0)
              FROM attempts a LEFT JOIN ledger_transfers t ON t.id = a.id
              WHERE (a.state = 'settled' AND coalesce(t.kind, 0) <> 1)
                 OR (a.state = 'released' AND coalesce(t.kind, 0) NOT IN (5, 6))
                 OR (a.state = 'running' AND t.id IS NOT NULL)",
    },
    Check {
        invariant: "I5",
        what: "a job was charged above its bid",
        meaning: "A consumer paid more than they offered.",
        sql: "SELECT 'job ' || id || ' bid ' || bid || ' charge ' || charge FROM jobs WHERE charge > bid",
    },
    Check {
        invariant: "I5",
        what: "an attempt's hold is not its frozen price",
        meaning: "The price of the match and what was reserved differ.",
        sql: "SELECT 'attempt ' || a.id || ' price ' || a.price || ' held ' || t.held
              FROM attempts a JOIN ledger_transfers t ON t.id = a.id WHERE a.price <> t.held",
    },
    Check {
        invariant: "I6",
        what: "a job was charged without an output",
        meaning: "A consumer paid for nothing.",
        sql: "SELECT 'job ' || j.id || ' ' || j.state || ' charge ' || j.charge
              FROM jobs j LEFT JOIN job_outputs o ON o.job_id = j.id WHERE j.charge > 0 AND o.job_id IS NULL",
    },
    Check {
        invariant: "I8",
        what: "an attempt's charge did not go to its Island's owner",
        meaning: "Somebody else earned what this Island did.",
        sql: "SELECT 'attempt ' || a.id FROM attempts a JOIN ledger_transfers t ON t.id = a.id
              WHERE t.to_account <> a.earnings_id",
    },
    Check {
        invariant: "I15",
        what: "a day's usage is not what its jobs came to",
        meaning: "Usage shows another number of jobs, or other costs, than the jobs and the ledger do.",
        sql: "SELECT 'user ' || user_id || ' day ' || day || ' jobs off by ' || sum(jobs) || ' charge off by ' || sum(charge)
              FROM (SELECT user_id, completed_at / 86400000 AS day, -1 AS jobs, -charge AS charge
                    FROM jobs WHERE completed_at IS NOT NULL
                    UNION ALL SELECT user_id, day, jobs, charge FROM usage_days) both_sides
              GROUP BY user_id, day HAVING sum(jobs) <> 0 OR sum(charge) <> 0",
    },
    Check {
        invariant: "I15",
        what: "a payout and its transfers disagree",
        meaning: "Earnings were paid out without being taken, or were not put back, or not where they came from.",
        sql: "SELECT 'payout ' || p.id || ' ' || p.state FROM payouts p
              LEFT JOIN ledger_transfers t ON t.id = p.id LEFT JOIN ledger_transfers b ON b.id = p.return_id
              WHERE t.id IS NULL OR t.kind <> 11 OR t.from_account <> p.earnings_id OR t.amount <> p.amount
                 OR (p.return_id <> 0 AND (b.id IS NULL OR b.kind <> 12 OR b.to_account <> p.earnings_id
                     OR b.amount <> p.amount))",
    },
];

/// The lot a hold freezes.
const FROZEN: &str = "SELECT frozen, disputed_cents FROM purchases WHERE freeze_id = $1";
const ATTEMPT: &str =
    "SELECT a.state, a.price, j.state FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE a.id = $1";
/// Holds looked up at a time.
const AT_ONCE: usize = 1024;
/// Rows folded in one transaction: a few milliseconds' worth.
const FOLDED_AT_ONCE: usize = 1000;

/// Checks everything; an empty list means that the books balance.
///
/// # Errors
/// A [`DbError`].
pub async fn run(db: &Db, progress: Arc<dyn Fn(&str) + Send + Sync>) -> Result<Vec<Finding>, DbError> {
    // One snapshot for all checks, so that a running server cannot make them disagree.
    db.read("audit", async move |tx| {
        let progress = &*progress;
        let mut findings = ledger::audit::ledger(tx, progress).await?;
        findings.extend(ledger::audit::run(tx, CHECKS, progress).await?);
        progress("every open hold belongs to an attempt in progress");
        let open = ledger::open_holds(tx).await?;
        for some in open.chunks(AT_ONCE) {
            findings.extend(check_open(tx, some).await?);
        }
        progress("credits sold are credits paid for");
        findings.extend(check_sales(tx).await?);
        progress("credits paid out are those of payouts");
        findings.extend(check_payouts(tx).await?);
        Ok(findings)
    })
    .await
}

/// What must be the same in a database and its copy: how far the ledger has come, and what its accounts add up to.
#[derive(Debug, PartialEq, Eq)]
pub struct Books {
    head: [i64; 5],
    accounts: [i64; 4],
}

/// The books of a database, at a glance.
///
/// # Errors
/// A [`DbError`].
pub async fn books(db: &Db) -> Result<Books, DbError> {
    db.read("books", async |tx| {
        let head = "SELECT batch, mark, folded, swept, high FROM ledger_head WHERE id = 1";
        let sums = "SELECT count(*), CAST(sum(posted) AS BIGINT), CAST(sum(held) AS BIGINT), CAST(sum(debt) AS BIGINT)
                    FROM ledger_accounts";
        let (head, sums) = (tx.query_one(head, &[]).await?, tx.query_one(sums, &[]).await?);
        let head = [head.get(0)?, head.get(1)?, head.get(2)?, head.get(3)?, head.get(4)?];
        Ok(Books { head, accounts: [sums.get(0)?, sums.get(1)?, sums.get(2)?, sums.get(3)?] })
    })
    .await
}

/// Every open hold belongs to an attempt in progress of a job that has not ended (I7), at its frozen price (I5).
async fn check_open(tx: &mut Tx<'_>, holds: &[Hold]) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    let rows = tx.query_many(ATTEMPT, holds.iter().map(|hold| params![hold.id])).await?;
    let frozen = tx.query_many(FROZEN, holds.iter().map(|hold| params![hold.id])).await?;
    for ((hold, row), frozen) in holds.iter().zip(rows).zip(frozen) {
        let mut add = |invariant, what: &str, meaning| {
            findings.push(Finding { invariant, what: format!("{what}: hold {}", hold.id.get()), meaning });
        };
        if let Some(frozen) = frozen {
            if frozen.get::<MicroCredits>(0)? != hold.amount || frozen.get::<i64>(1)? == 0 {
                add(
                    "I7",
                    "a disputed lot is not what is frozen",
                    "Credits are stuck, or a dispute freezes too little.",
                );
            }
            continue;
        }
        let Some(row) = row else {
            add("I7", "an open hold belongs to no attempt", "Credits are stuck until the hold expires.");
            continue;
        };
        let (attempt, price, job): (String, _, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if attempt != "running" {
            add(
                "I7",
                "an open hold belongs to no attempt in progress",
                "Credits are stuck until the hold expires.",
            );
        }
        if job != "pending" && job != "running" {
            add(
                "I7",
                "a job that has ended still holds credits",
                "Credits are stuck until the hold expires.",
            );
        }
        if hold.amount != price {
            add(
                "I5",
                "an attempt's hold is not its frozen price",
                "The price of the match and what is reserved differ.",
            );
        }
    }
    Ok(findings)
}

/// What the network has sold is what purchases were granted and not taken back (I4).
async fn check_sales(tx: &mut Tx<'_>) -> Result<Option<Finding>, DbError> {
    let granted = "SELECT CAST(coalesce(sum(credits * 1000000 - taken), 0) AS BIGINT) FROM purchases
                   WHERE state = 'granted'";
    let granted: MicroCredits = tx.query_one(granted, &[]).await?.get(0)?;
    let sold = ledger::balance(tx, system::sales()).await?.posted.negated();
    Ok((granted != sold).then(|| Finding {
        invariant: "I4",
        what: format!("purchases were granted {granted} credits, and {sold} were sold"),
        meaning: "Credits were granted without a purchase, twice, or not at all.",
    }))
}

/// What left earnings to be paid out is what payouts took and did not give back (I15).
async fn check_payouts(tx: &mut Tx<'_>) -> Result<Option<Finding>, DbError> {
    let out = crate::payouts::store::total_out(tx).await?;
    let posted = ledger::balance(tx, system::payouts()).await?.posted;
    Ok((out != posted).then(|| Finding {
        invariant: "I15",
        what: format!("payouts took {out} credits, and {posted} were paid out"),
        meaning: "Earnings were paid out twice, or put back twice, or not at all.",
    }))
}

/// The incremental audit of a running server.
#[derive(Debug, Default)]
pub struct Watch {
    position: Mutex<Option<Position>>,
}

impl Watch {
    /// Checks what was written to the ledger since the last round, and shows the result on `/metrics`:
    /// `archipelago_audit_findings` (of the last round), `archipelago_audit_finished_seconds` (Unix time of it),
    /// `archipelago_audit_{batches,transfers,skipped_batches,findings}_total`. The first round only notes where to begin.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn once(&self, db: &Db, now: Timestamp) -> Result<Vec<Finding>, DbError> {
        let from = *self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let recent =
            db.read_behind("audit_recent", async move |tx| ledger::audit::recent(tx, from).await).await?;
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = Some(recent.position);
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        metrics::counter!("archipelago_audit_batches_total").increment(count(recent.batches));
        metrics::counter!("archipelago_audit_transfers_total").increment(recent.transfers);
        metrics::counter!("archipelago_audit_skipped_batches_total").increment(count(recent.skipped));
        let found = u32::try_from(recent.findings.len()).unwrap_or(u32::MAX);
        metrics::counter!("archipelago_audit_findings_total").increment(u64::from(found));
        metrics::gauge!("archipelago_audit_findings").set(found);
        let seconds = u32::try_from(now.as_millis() / SECOND_MS).unwrap_or(u32::MAX);
        metrics::gauge!("archipelago_audit_finished_seconds").set(seconds);
        for Finding { invariant, what, meaning } in &recent.findings {
            tracing::error!(invariant, "the audit found that {what}. {meaning} Run `archipelago audit`.");
        }
        if recent.skipped > 0 {
            tracing::warn!(
                batches = recent.skipped,
                "the audit could not keep up with {} batches",
                recent.skipped
            );
        }
        Ok(recent.findings)
    }
}

/// Lets the ledger's tables catch up with its journal after heavy load, a share at a time.
///
/// # Errors
/// A [`DbError`].
pub async fn fold_once(db: &Db) -> Result<(), DbError> {
    while !db.read_behind("is_folded", async |tx| ledger::is_folded(tx).await).await? {
        db.tx("fold", async |tx| ledger::fold(tx, FOLDED_AT_ONCE).await).await?;
    }
    Ok(())
}
