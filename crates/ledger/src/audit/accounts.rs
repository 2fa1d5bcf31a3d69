//! Checks of accounts, holds and caps against the history.

use std::collections::HashMap;

use db::{DbError, Row, Tx, params};
use types::id::{AccountId, Id, TransferId};
use types::money::MicroCredits;

use super::{Finding, Findings, transfers};
use crate::books::Fold;
use crate::memory::{self, Memory};
use crate::{Account, AccountKind, Cap, Hold, reading, store, system};

/// An account's row and its newest leg, as the history has it: its number and its balance.
const ACCOUNTS: &str =
    "SELECT a.id, a.kind, a.posted, a.held, a.debt, a.entries, a.head, a.version, a.frozen,
        CASE WHEN t.from_account = a.id AND t.from_seq IS NOT NULL THEN t.from_seq
             WHEN t.to_account = a.id AND t.to_seq IS NOT NULL THEN t.to_seq
             WHEN a.id = 3 THEN t.fee_seq END,
        CASE WHEN t.from_account = a.id AND t.from_seq IS NOT NULL THEN t.from_balance
             WHEN t.to_account = a.id AND t.to_seq IS NOT NULL THEN t.to_balance
             WHEN a.id = 3 THEN t.fee_balance END
    FROM ledger_accounts a LEFT JOIN ledger_transfers t ON t.id = a.head";
/// The newest leg of account $1, which is in transfer $2.
const LEG: &str = "SELECT
        CASE WHEN from_account = $1 AND from_seq IS NOT NULL THEN from_seq
             WHEN to_account = $1 AND to_seq IS NOT NULL THEN to_seq WHEN $1 = 3 THEN fee_seq END,
        CASE WHEN from_account = $1 AND from_seq IS NOT NULL THEN from_balance
             WHEN to_account = $1 AND to_seq IS NOT NULL THEN to_balance WHEN $1 = 3 THEN fee_balance END
    FROM ledger_transfers WHERE id = $2";
const CAPS: &str = "SELECT c.id, c.held, c.spent, coalesce(t.total, 0) FROM ledger_caps c
    LEFT JOIN (SELECT cap_id, sum(amount) AS total FROM ledger_transfers WHERE cap_id IS NOT NULL GROUP BY cap_id) t
    ON t.cap_id = c.id";

/// A leg: its number and the balance after it.
type Leg = (Option<i64>, Option<MicroCredits>);

/// What is added up on the way through the accounts.
#[derive(Default)]
struct Walk {
    findings: Findings,
    posted: i128,
    entries: i64,
    /// What is held by open holds, account by account; what remains in the end belongs to no account.
    held: HashMap<AccountId, i64>,
    /// What wallets say they owe, less what their debt accounts say.
    owed: HashMap<AccountId, i64>,
}

impl Walk {
    fn new(holds: &[Hold]) -> Self {
        let mut walk = Self::default();
        for hold in holds {
            *walk.held.entry(hold.account).or_default() += hold.amount.get();
        }
        walk
    }

    fn account(&mut self, account: &Account, leg: Leg) {
        let id = account.id.get();
        self.posted += i128::from(account.posted.get());
        self.entries += account.entries;
        let none = account.entries == 0 && account.posted == MicroCredits::ZERO && account.head.is_none();
        if !none && leg != (Some(account.entries), Some(account.posted)) {
            let row = format!(
                "account {id} posted {} entries {}, newest leg {leg:?}",
                account.posted, account.entries
            );
            let meaning = "The balance people see is not what their history adds up to.";
            self.findings.add("I1", "an account's balance is not that of its newest leg", meaning, &row);
        }
        let zero = MicroCredits::ZERO;
        if !account.kind.may_be_negative() && (account.posted < account.held || account.held < zero) {
            let row = format!("account {id} posted {} held {}", account.posted, account.held);
            let meaning = "More was spent or reserved than there was.";
            self.findings.add("I2", "a person's account is overdrawn", meaning, &row);
        }
        let held = self.held.remove(&account.id).unwrap_or(0);
        if held != account.held.get() {
            let row = format!("account {id} held {} open holds {}", account.held, MicroCredits::new(held));
            let meaning = "Credits are stuck: reserved by no hold, or a hold reserves nothing.";
            self.findings.add("I7", "what an account holds is not the sum of its open holds", meaning, &row);
        }
        match account.kind {
            AccountKind::Debt => {
                let wallet = system::debt_of(account.id);
                *self.owed.entry(wallet).or_default() += account.posted.get();
            }
            _ if account.debt != zero => *self.owed.entry(account.id).or_default() += account.debt.get(),
            _ => {}
        }
    }

    fn finish(mut self, legs: i64) -> Vec<Finding> {
        if self.posted != 0 {
            let meaning = "Credits were made or lost.";
            self.findings.add(
                "I1",
                "the accounts do not sum to zero",
                meaning,
                &format!("sum {}", self.posted),
            );
        }
        if self.entries != legs {
            let row = format!("accounts count {}, there are {legs}", self.entries);
            let meaning =
                "There are legs in the history that no account's statement shows, or some were lost.";
            self.findings.add("I12", "the accounts do not count the legs there are", meaning, &row);
        }
        for account in self.held.keys() {
            let meaning = "A hold reserves credits of an account that does not exist.";
            self.findings.add("I7", "a hold belongs to no account", meaning, &account.get().to_string());
        }
        for (wallet, difference) in self.owed.iter().filter(|(_, difference)| **difference != 0) {
            let row = format!("account {} differs by {}", wallet.get(), MicroCredits::new(*difference));
            let meaning = "What its owner is told to owe is not what the books say.";
            self.findings.add("I1", "a wallet and its debt disagree", meaning, &row);
        }
        self.findings.0
    }
}

/// Every account, open hold and cap.
pub(super) async fn check(tx: &mut Tx<'_>) -> Result<Vec<Finding>, DbError> {
    let holds = reading::open_holds(tx).await?;
    let memory = memory::recall_to_read(tx).await?;
    let mut walk = Walk::new(&holds);
    let unfolded = |id: &AccountId| {
        let known = memory.as_ref().and_then(|memory| memory.books.accounts.get(id));
        known.filter(|known| known.fold != Fold::Done).map(|known| known.account)
    };
    tx.query_each(ACCOUNTS, &[], |row| {
        let account = store::read_account(row)?;
        if unfolded(&account.id).is_none() {
            walk.account(&account, (row.get(9)?, row.get(10)?));
        }
        Ok::<_, DbError>(())
    })
    .await?;
    if let Some(memory) = &memory {
        check_unfolded(tx, memory, &mut walk).await?;
    }
    let legs = transfers::count_legs(tx).await?;
    let mut findings = walk.finish(legs);
    findings.extend(check_caps(tx, memory.as_ref(), &holds).await?);
    findings.extend(check_open(tx, &holds).await?);
    if let Some(memory) = memory {
        tx.put_memo(memory);
    }
    Ok(findings)
}

async fn check_unfolded(tx: &mut Tx<'_>, memory: &Memory, walk: &mut Walk) -> Result<(), DbError> {
    let accounts: Vec<Account> = memory
        .due
        .iter()
        .chain(&memory.next)
        .filter_map(|id| memory.books.accounts.get(id))
        .map(|known| known.account)
        .collect();
    for some in accounts.chunks(1024) {
        for (account, leg) in some.iter().zip(newest_legs(tx, some).await?) {
            walk.account(account, leg);
        }
    }
    Ok(())
}

/// The newest leg of each account as the history has it.
pub(super) async fn newest_legs(tx: &mut Tx<'_>, accounts: &[Account]) -> Result<Vec<Leg>, DbError> {
    let rows = tx.query_many(LEG, accounts.iter().map(|account| params![account.id, account.head])).await?;
    let leg = |row: &Option<Row>| match row {
        Some(row) => Ok((row.get(0)?, row.get(1)?)),
        None => Ok((None, None)),
    };
    rows.iter().map(leg).collect()
}

/// An open hold has not ended.
async fn check_open(tx: &mut Tx<'_>, holds: &[Hold]) -> Result<Vec<Finding>, DbError> {
    let mut findings = Findings::default();
    let ids: Vec<TransferId> = holds.iter().map(|hold| hold.id).collect();
    for ended in store::transfers(tx, &ids).await? {
        let meaning = "It could be charged again.";
        findings.add("I3", "a hold is open and has ended", meaning, &format!("hold {}", ended.id.get()));
    }
    Ok(findings.0)
}

async fn check_caps(
    tx: &mut Tx<'_>,
    memory: Option<&Memory>,
    holds: &[Hold],
) -> Result<Vec<Finding>, DbError> {
    let mut findings = Findings::default();
    let mut held: HashMap<i64, i64> = HashMap::new();
    for hold in holds {
        if let Some(cap) = hold.cap {
            *held.entry(cap).or_default() += hold.amount.get();
        }
    }
    tx.query_each(CAPS, &[], |row| {
        let id: i64 = row.get(0)?;
        let newer: Option<&Cap> = memory.and_then(|memory| memory.books.caps.get(&id));
        let says = match newer {
            Some(cap) => (cap.held.get(), cap.spent.get()),
            None => (row.get(1)?, row.get(2)?),
        };
        let is = (held.get(&id).copied().unwrap_or(0), row.get(3)?);
        if says != is {
            let meaning = "A spending limit admits too much or too little.";
            let row = format!("cap {id} says held and spent are {says:?}, they are {is:?}");
            findings.add("I2", "a cap does not agree with its holds", meaning, &row);
        }
        Ok::<_, DbError>(())
    })
    .await?;
    Ok(findings.0)
}
