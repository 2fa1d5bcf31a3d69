//! Recomputes from the stored rows what must always hold, and names the rows where it does not.
//!
//! Each check is one query that answers the offending rows; the columns of such a row are written into the finding as
//! they are. The queries look at the rows only, never at what the rules believe.

use db::{DbError, Tx, params};
use serde::Serialize;

/// A row that breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which invariant of the design: `I1`, …
    pub invariant: &'static str,
    /// What is wrong, as a sentence with the row in it.
    pub what: String,
}

/// A query that gives one text for each offending row.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Which invariant.
    pub invariant: &'static str,
    /// What an offending row means, in front of what the query says of it.
    pub what: &'static str,
    /// Gives the rows; the first column is a text.
    pub sql: &'static str,
}

/// Most rows reported for one check; where one row is wrong thousands may be.
const MOST: i64 = 20;

const CHECKS: &[Check] = &[
    Check {
        invariant: "I1",
        what: "the accounts do not sum to zero",
        sql: "SELECT 'sum ' || coalesce(sum(posted), 0) FROM ledger_accounts HAVING coalesce(sum(posted), 0) <> 0",
    },
    Check {
        invariant: "I1",
        what: "the entries of a transfer do not sum to zero",
        sql: "SELECT 'transfer ' || transfer_id || ' sum ' || sum(amount) FROM ledger_entries
              GROUP BY transfer_id HAVING sum(amount) <> 0",
    },
    Check {
        invariant: "I1",
        what: "an account's balance is not the sum of its entries",
        sql: "SELECT 'account ' || a.id || ' posted ' || a.posted || ' entries ' || coalesce(e.total, 0)
              FROM ledger_accounts a LEFT JOIN
                (SELECT account_id, sum(amount) AS total FROM ledger_entries GROUP BY account_id) e
                ON e.account_id = a.id
              WHERE a.posted <> coalesce(e.total, 0)",
    },
    Check {
        invariant: "I12",
        what: "an account's entries are not numbered without gaps",
        sql: "SELECT 'account ' || a.id || ' counts ' || a.entries || ' finds ' || coalesce(e.n, 0)
              FROM ledger_accounts a LEFT JOIN
                (SELECT account_id, count(*) AS n, max(seq) AS top FROM ledger_entries GROUP BY account_id) e
                ON e.account_id = a.id
              WHERE a.entries <> coalesce(e.n, 0) OR a.entries <> coalesce(e.top, 0)",
    },
    Check {
        invariant: "I1",
        what: "a running balance does not follow from the one before",
        sql: "SELECT 'account ' || account_id || ' seq ' || seq FROM
                (SELECT account_id, seq, balance,
                        sum(amount) OVER (PARTITION BY account_id ORDER BY seq) AS total FROM ledger_entries) r
              WHERE balance <> total",
    },
    Check {
        invariant: "I2",
        what: "a person's account is overdrawn",
        sql: "SELECT 'account ' || id || ' posted ' || posted || ' held ' || held FROM ledger_accounts
              WHERE kind < 10 AND (posted < 0 OR posted - held < 0 OR held < 0)",
    },
    Check {
        invariant: "I7",
        what: "what an account holds is not the sum of its open holds",
        sql: "SELECT 'account ' || a.id || ' held ' || a.held || ' open ' || coalesce(h.total, 0)
              FROM ledger_accounts a LEFT JOIN
                (SELECT account_id, sum(amount) AS total FROM ledger_holds WHERE state = 0 GROUP BY account_id) h
                ON h.account_id = a.id
              WHERE a.held <> coalesce(h.total, 0)",
    },
    Check {
        invariant: "I3",
        what: "a settled hold and its transfer disagree",
        sql: "SELECT 'hold ' || h.id || ' charged ' || h.charged || ' transfer ' || coalesce(t.amount, -1)
              FROM ledger_holds h LEFT JOIN ledger_transfers t ON t.id = h.id
              WHERE h.state = 1 AND (t.id IS NULL OR t.amount <> h.charged OR t.from_account <> h.account_id)",
    },
    Check {
        invariant: "I3",
        what: "a hold that was not settled was charged",
        sql: "SELECT 'hold ' || h.id || ' state ' || h.state
              FROM ledger_holds h LEFT JOIN ledger_transfers t ON t.id = h.id
              WHERE h.state <> 1 AND (t.id IS NOT NULL OR h.charged <> 0)",
    },
    Check {
        invariant: "I3",
        what: "a job was charged without a hold",
        sql: "SELECT 'transfer ' || t.id FROM ledger_transfers t LEFT JOIN ledger_holds h ON h.id = t.id
              WHERE t.kind = 1 AND h.id IS NULL",
    },
    Check {
        invariant: "I5",
        what: "more was charged than held",
        sql: "SELECT 'hold ' || id || ' amount ' || amount || ' charged ' || charged FROM ledger_holds
              WHERE charged > amount OR charged < 0",
    },
    Check {
        invariant: "I8",
        what: "payer, payee and network do not agree on a transfer",
        sql: "SELECT 'transfer ' || t.id || ' amount ' || t.amount || ' fee ' || t.fee
              FROM ledger_transfers t LEFT JOIN ledger_entries e ON e.transfer_id = t.id
              GROUP BY t.id, t.amount, t.fee, t.from_account, t.to_account
              HAVING coalesce(sum(CASE WHEN e.account_id = t.from_account THEN e.amount ELSE 0 END), 0) <> -t.amount
                  OR coalesce(sum(CASE WHEN e.account_id = t.to_account THEN e.amount ELSE 0 END), 0) <> t.amount - t.fee
                  OR coalesce(sum(CASE WHEN e.account_id = 3 THEN e.amount ELSE 0 END), 0) <> t.fee",
    },
    Check {
        invariant: "I1",
        what: "an entry belongs to no transfer",
        sql: "SELECT 'account ' || e.account_id || ' seq ' || e.seq
              FROM ledger_entries e LEFT JOIN ledger_transfers t ON t.id = e.transfer_id WHERE t.id IS NULL",
    },
    Check {
        invariant: "I2",
        what: "a cap's held does not agree with its holds",
        sql: "SELECT 'cap ' || c.id || ' held ' || c.held || ' spent ' || c.spent
              FROM ledger_caps c LEFT JOIN
                (SELECT cap_id, sum(CASE WHEN state = 0 THEN amount ELSE 0 END) AS held, sum(charged) AS spent
                 FROM ledger_holds WHERE cap_id IS NOT NULL GROUP BY cap_id) h ON h.cap_id = c.id
              WHERE c.held <> coalesce(h.held, 0) OR c.spent <> coalesce(h.spent, 0)",
    },
];

/// Checks the ledger's own tables.
///
/// # Errors
/// A [`DbError`].
pub async fn ledger(tx: &mut Tx<'_>) -> Result<Vec<Finding>, DbError> {
    run(tx, CHECKS).await
}

/// Runs checks, the ledger's or another's; at most twenty findings for each.
///
/// # Errors
/// A [`DbError`].
pub async fn run(tx: &mut Tx<'_>, checks: &'static [Check]) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    for check in checks {
        let limited = format!("SELECT * FROM ({}) found LIMIT $1", check.sql);
        for row in tx.query(&limited, &params![MOST]).await? {
            let what = format!("{}: {}", check.what, row.get::<String>(0)?);
            findings.push(Finding { invariant: check.invariant, what });
        }
    }
    Ok(findings)
}
