//! `archipelago audit`: the ledger's own checks, and those that need purchases, jobs and attempts beside it.

use db::{Db, DbError};
use ledger::audit::{Check, Finding};

const CHECKS: &[Check] = &[
    Check {
        invariant: "I4",
        what: "a purchase and its grant disagree",
        sql: "SELECT 'purchase ' || p.id || ' ' || p.state || ' transfer ' || coalesce(t.amount, -1)
              FROM purchases p LEFT JOIN ledger_transfers t ON t.id = p.id
              WHERE (p.state = 'granted' AND (t.id IS NULL OR t.kind <> 2 OR t.to_account <> p.wallet_id
                     OR t.amount <> p.credits * 1000000))
                 OR (p.state <> 'granted' AND t.id IS NOT NULL)",
    },
    Check {
        invariant: "I4",
        what: "credits were sold without a purchase",
        sql: "SELECT 'transfer ' || t.id FROM ledger_transfers t LEFT JOIN purchases p ON p.id = t.id
              WHERE t.kind = 2 AND p.id IS NULL",
    },
    Check {
        invariant: "I15",
        what: "a grant and its transfer disagree",
        sql: "SELECT 'grant ' || g.id FROM grants g LEFT JOIN ledger_transfers t ON t.id = g.id
              WHERE t.id IS NULL OR t.amount <> g.amount OR t.kind <> 3",
    },
    Check {
        invariant: "I3",
        what: "a job was charged more than once",
        sql: "SELECT 'job ' || a.job_id || ' ' || count(*) || ' charges'
              FROM attempts a JOIN ledger_holds h ON h.id = a.id
              WHERE h.state = 1 AND h.charged > 0 GROUP BY a.job_id HAVING count(*) > 1",
    },
    Check {
        invariant: "I3",
        what: "a job's charge is not what its attempts were charged",
        sql: "SELECT 'job ' || j.id || ' ' || j.state || ' charge ' || j.charge || ' charged ' || coalesce(c.charged, 0)
              FROM jobs j LEFT JOIN
                (SELECT a.job_id, sum(h.charged) AS charged FROM attempts a JOIN ledger_holds h ON h.id = a.id
                 GROUP BY a.job_id) c ON c.job_id = j.id
              WHERE j.charge <> coalesce(c.charged, 0)",
    },
    Check {
        invariant: "I5",
        what: "a job was charged above its bid",
        sql: "SELECT 'job ' || id || ' bid ' || bid || ' charge ' || charge FROM jobs WHERE charge > bid",
    },
    Check {
        invariant: "I6",
        what: "a job was charged without an output",
        sql: "SELECT 'job ' || j.id || ' ' || j.state || ' charge ' || j.charge
              FROM jobs j LEFT JOIN job_outputs o ON o.job_id = j.id WHERE j.charge > 0 AND o.job_id IS NULL",
    },
    Check {
        invariant: "I7",
        what: "a job that has ended still holds credits",
        sql: "SELECT 'job ' || j.id || ' ' || j.state || ' hold ' || h.id
              FROM ledger_holds h JOIN attempts a ON a.id = h.id JOIN jobs j ON j.id = a.job_id
              WHERE h.state = 0 AND j.state NOT IN ('pending', 'running')",
    },
    Check {
        invariant: "I7",
        what: "an open hold belongs to no attempt in progress",
        sql: "SELECT 'hold ' || h.id FROM ledger_holds h LEFT JOIN attempts a ON a.id = h.id
              WHERE h.state = 0 AND (a.id IS NULL OR a.state <> 'running')",
    },
    Check {
        invariant: "I8",
        what: "an attempt's charge did not go to its Island's owner",
        sql: "SELECT 'attempt ' || a.id FROM attempts a JOIN ledger_transfers t ON t.id = a.id
              WHERE t.to_account <> a.earnings_id",
    },
    Check {
        invariant: "I5",
        what: "an attempt's hold is not its frozen price",
        sql: "SELECT 'attempt ' || a.id || ' price ' || a.price || ' hold ' || h.amount
              FROM attempts a JOIN ledger_holds h ON h.id = a.id WHERE a.price <> h.amount",
    },
];

/// Checks everything; an empty list means that the books balance.
///
/// # Errors
/// A [`DbError`].
pub async fn run(db: &Db) -> Result<Vec<Finding>, DbError> {
    // One snapshot for all checks, so that a running server cannot make them disagree.
    db.read("audit", async |tx| {
        let mut findings = ledger::audit::ledger(tx).await?;
        findings.extend(ledger::audit::run(tx, CHECKS).await?);
        Ok(findings)
    })
    .await
}
