//! Checks of the history: each transfer by itself, and each leg against the leg before it.

use db::{DbError, Tx, params};
use types::id::{Id, TransferId};

use super::{Check, Finding, MOST};

pub(super) const CHECKS: &[Check] = &[
    Check {
        invariant: "I8",
        what: "the legs of a transfer are not those its amounts want",
        meaning: "Somebody paid or received what the books of the other side do not show. Rows were changed by hand.",
        sql: "SELECT 'transfer ' || id || ' kind ' || kind || ' amount ' || amount || ' fee ' || fee FROM ledger_transfers
              WHERE (amount > 0 AND from_seq IS NULL) OR (amount = 0 AND from_seq IS NOT NULL)
                 OR (amount > fee AND (to_seq IS NULL OR to_account IS NULL)) OR (amount = fee AND to_seq IS NOT NULL)
                 OR (fee > 0 AND fee_seq IS NULL) OR (fee = 0 AND fee_seq IS NOT NULL)
                 OR fee < 0 OR fee > amount",
    },
    Check {
        invariant: "I5",
        what: "more was charged than held",
        meaning: "A consumer paid more than the frozen price of the match.",
        sql: "SELECT 'transfer ' || id || ' held ' || held || ' amount ' || amount FROM ledger_transfers
              WHERE held IS NOT NULL AND amount > held",
    },
    Check {
        invariant: "I3",
        what: "a job was charged without a hold",
        meaning: "Every charge of a job settles a hold; this one came from somewhere else.",
        sql: "SELECT 'transfer ' || id FROM ledger_transfers WHERE kind = 1 AND held IS NULL",
    },
    Check {
        invariant: "I3",
        what: "a hold that was given back moved credits",
        meaning: "A release or an expiry returns a hold; it never charges.",
        sql: "SELECT 'transfer ' || id || ' kind ' || kind || ' amount ' || amount FROM ledger_transfers
              WHERE kind IN (5, 6) AND (amount <> 0 OR held IS NULL OR to_account IS NOT NULL)",
    },
    Check {
        invariant: "I2",
        what: "a person's account was below zero",
        meaning: "A running balance in the history is negative.",
        sql: "SELECT 'transfer ' || id FROM ledger_transfers
              WHERE (from_account > 5 AND from_balance < 0) OR (to_account > 5 AND to_balance < 0)",
    },
    Check {
        invariant: "I12",
        what: "a mark names a leg that is not there",
        meaning: "Balances at a time in the past may be answered wrongly for this account.",
        sql: "SELECT 'account ' || m.account_id || ' seq ' || m.seq FROM ledger_marks m
              LEFT JOIN ledger_transfers t ON t.id = m.transfer_id
              WHERE CASE WHEN (t.from_account = m.account_id AND t.from_seq = m.seq)
                           OR (t.to_account = m.account_id AND t.to_seq = m.seq)
                           OR (m.account_id = 3 AND t.fee_seq = m.seq) THEN 0 ELSE 1 END = 1",
    },
];

const BROKEN_LINK: &str = "a leg does not follow from the leg before it";
const BROKEN_LINK_MEANING: &str = "The running balance or the numbering of this account is broken here: a leg was lost, repeated or changed.";

/// A side of a transfer: whose it is and what its leg adds.
struct Side {
    name: &'static str,
    account: &'static str,
    amount: &'static str,
}

const SIDES: [Side; 3] = [
    Side { name: "from", account: "t.from_account", amount: "-t.amount" },
    Side { name: "to", account: "t.to_account", amount: "t.amount - t.fee" },
    Side { name: "fee", account: "3", amount: "t.fee" },
];

impl Side {
    /// The transfer before, under a name of its own.
    fn join(&self) -> String {
        let Self { name, .. } = self;
        format!("LEFT JOIN ledger_transfers {name}_before ON {name}_before.id = t.{name}_prev")
    }

    /// 1 when the leg follows from the one before, or there is none.
    fn follows(&self) -> String {
        let Self { name, account, amount } = self;
        let follows_as = |side: &str, whose: &str| {
            format!(
                "WHEN {whose} = {account} AND {name}_before.{side}_seq = t.{name}_seq - 1
                      AND {name}_before.{side}_balance + ({amount}) = t.{name}_balance THEN 1"
            )
        };
        format!(
            "CASE WHEN t.{name}_seq IS NULL THEN 1
                  WHEN t.{name}_seq = 1 AND t.{name}_prev IS NULL AND t.{name}_balance = {amount} THEN 1
                  {} {} {} ELSE 0 END",
            follows_as("from", &format!("{name}_before.from_account")),
            follows_as("to", &format!("{name}_before.to_account")),
            follows_as("fee", "3"),
        )
    }
}

fn broken_link(row: &str) -> Finding {
    Finding { invariant: "I1", what: format!("{BROKEN_LINK}: {row}"), meaning: BROKEN_LINK_MEANING }
}

/// Every leg against the leg before it.
pub(super) async fn links(tx: &mut Tx<'_>) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    for side in SIDES {
        let Side { name, account, .. } = side;
        let sql = format!(
            "SELECT 'transfer ' || t.id || ' account ' || {account} || ' seq ' || t.{name}_seq
             FROM ledger_transfers t {} WHERE t.{name}_seq IS NOT NULL AND {} = 0 LIMIT {MOST}",
            side.join(),
            side.follows()
        );
        tx.query_each(&sql, &[], |row| {
            findings.push(broken_link(&row.get::<String>(0)?));
            Ok::<_, DbError>(())
        })
        .await?;
    }
    Ok(findings)
}

/// The legs of some transfers against the legs before them; a transfer that is not there is a finding too.
pub(super) async fn links_of(tx: &mut Tx<'_>, ids: &[TransferId]) -> Result<Vec<Finding>, DbError> {
    let [from, to, fee] = &SIDES;
    let sql = format!(
        "SELECT {} + {} + {} FROM ledger_transfers t {} {} {} WHERE t.id = $1",
        from.follows(),
        to.follows(),
        fee.follows(),
        from.join(),
        to.join(),
        fee.join()
    );
    let rows = tx.query_many(&sql, ids.iter().map(|id| params![*id])).await?;
    let mut findings = Vec::new();
    for (id, row) in ids.iter().zip(&rows) {
        match row.as_ref().map(|row| row.get::<i64>(0)).transpose()? {
            Some(3) => {}
            Some(_) => findings.push(broken_link(&format!("transfer {}", id.get()))),
            None => findings.push(broken_link(&format!("transfer {} is not there", id.get()))),
        }
    }
    Ok(findings)
}

/// How many legs there are.
pub(super) async fn count_legs(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let sql = "SELECT count(from_seq) + count(to_seq) + count(fee_seq) FROM ledger_transfers";
    tx.query_one(sql, &[]).await?.get(0)
}
