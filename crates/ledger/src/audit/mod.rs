//! Recomputes from the stored rows what must always hold, and names the rows where it does not.
//!
//! The balance of an account is proved along its chain: every leg follows from the one before it (number, balance and
//! amount), the newest is what the account says of itself, and all accounts together count exactly the legs there are. So
//! everything is checked row by row, in constant memory, however long the history is. The checks look at rows only, never at what
//! the rules believe; what is still only in the journal is laid over the tables as a reader would.
//!
//! [`ledger`] checks everything. [`recent`] checks what was written since it was last asked, fast enough for a running system.

mod accounts;
mod recent;
mod transfers;

use db::{DbError, Tx, params};
pub use recent::{Position, Recent, recent};
use serde::Serialize;

/// A row that breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which invariant of the design: `I1`, …
    pub invariant: &'static str,
    /// What is wrong, as a sentence with the row in it.
    pub what: String,
    /// What that means and where to look.
    pub meaning: &'static str,
}

/// A query that gives one text for each offending row.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Which invariant.
    pub invariant: &'static str,
    /// What an offending row means, in front of what the query says of it.
    pub what: &'static str,
    /// What that means and where to look.
    pub meaning: &'static str,
    /// Gives the rows; the first column is a text.
    pub sql: &'static str,
}

/// Told what is being checked, as a few words, when a check begins.
pub type Progress<'p> = &'p (dyn Fn(&str) + Send + Sync);

/// Most rows reported for one check; where one row is wrong thousands may be.
const MOST: usize = 20;

/// What was found so far, at most [`MOST`] of a kind.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, invariant: &'static str, kind: &'static str, meaning: &'static str, row: &str) {
        let same = |found: &&Finding| found.invariant == invariant && found.what.starts_with(kind);
        if self.0.iter().filter(same).count() < MOST {
            self.0.push(Finding { invariant, what: format!("{kind}: {row}"), meaning });
        }
    }
}

/// Checks the ledger's own tables, all of them.
///
/// # Errors
/// A [`DbError`].
pub async fn ledger(tx: &mut Tx<'_>, progress: Progress<'_>) -> Result<Vec<Finding>, DbError> {
    let mut findings = run(tx, transfers::CHECKS, progress).await?;
    progress("every leg follows from the leg before it");
    findings.extend(transfers::links(tx).await?);
    progress("every account, hold and cap agrees with the history");
    findings.extend(accounts::check(tx).await?);
    progress("the journal is the one that was written");
    findings.extend(recent::journal(tx).await?);
    Ok(findings)
}

/// Runs checks, the ledger's or another's; at most twenty findings for each.
///
/// # Errors
/// A [`DbError`].
pub async fn run(
    tx: &mut Tx<'_>,
    checks: &'static [Check],
    progress: Progress<'_>,
) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    for check in checks {
        progress(&format!("looking for: {}", check.what));
        let limited = format!("SELECT * FROM ({}) found LIMIT $1", check.sql);
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        tx.query_each(&limited, &params![most], |row| {
            let what = format!("{}: {}", check.what, row.get::<String>(0)?);
            findings.push(Finding { invariant: check.invariant, what, meaning: check.meaning });
            Ok::<_, DbError>(())
        })
        .await?;
    }
    Ok(findings)
}
