//! Credits in words of ours: what there is, how it is shown, and the operator's grants.
//!
//! Guarantee (I13): every place that shows a balance gets it from [`BalanceView`].

pub mod export;
pub(crate) mod store;

use db::{DbError, Tx};
use ledger::statement::{Cursor, Filter, Page, StatementError};
use ledger::{Balance, Command, TransferKind, system};
use serde::Serialize;
use types::id::{AccountId, GrantId, Id, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::accounts::User;
use crate::app::App;
use crate::idempotency::Once;

/// A balance, ready for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BalanceView {
    /// Grows with each change.
    pub version: i64,
    /// What may be spent: `494.00`.
    pub available: String,
    /// What is reserved by running jobs, if anything: `2.50`.
    pub held: Option<String>,
    /// The approximate value: `≈ $4.94`.
    pub usd: String,
    /// Whether it is time to buy.
    pub low: bool,
    /// What may be spent, in micro-credits, for arithmetic in pages.
    pub available_micros: String,
}

impl BalanceView {
    /// Shows a balance; below `low` it is low.
    #[must_use]
    pub fn new(balance: &Balance, low: MicroCredits) -> Self {
        let available = balance.available();
        Self {
            version: balance.version,
            available: available.display_grouped(),
            held: balance.held.is_positive().then(|| balance.held.display_grouped()),
            usd: format!("≈ {}", available.approximate_usd()),
            low: available < low,
            available_micros: available.get().to_string(),
        }
    }
}

/// What there is in an account.
///
/// # Errors
/// A [`DbError`].
pub async fn balance(app: &App, account: AccountId) -> Result<Balance, DbError> {
    app.db.read("balance", async move |tx| ledger::balance(tx, account).await).await
}

/// The lines of an account's statement that a filter wants, from a cursor on, or the newest.
///
/// # Errors
/// A [`StatementError`].
pub async fn statement(
    app: &App,
    account: AccountId,
    filter: Filter,
    from: Option<Cursor>,
    limit: u32,
) -> Result<Page, StatementError> {
    let page = async move |tx: &mut Tx<'_>| ledger::statement::page(tx, account, &filter, from, limit).await;
    app.db.read("statement", page).await
}

/// Freezes a user's wallet, or thaws it.
///
/// # Errors
/// A [`DbError`].
pub async fn freeze(app: &App, user: &User, frozen: bool) -> Result<(), DbError> {
    let (account, now) = (user.wallet, app.clock.now());
    let balances = app
        .db
        .tx("freeze", async move |tx| {
            let submitted = ledger::submit(tx, &[Command::Freeze { account, frozen }], now).await?;
            for outcome in submitted.outcomes {
                outcome
                    .map_err(|refusal| DbError::Other(format!("the wallet cannot be frozen: {refusal}")))?;
            }
            Ok::<_, DbError>(submitted.balances)
        })
        .await?;
    app.live.balances(&balances);
    Ok(())
}

/// The account of a user that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Their spendable credits.
    Wallet,
    /// What their Islands earned.
    Earnings,
}

impl Account {
    /// From what a caller wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Wallet, Self::Earnings].into_iter().find(|account| account.name() == name)
    }

    /// As written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::Earnings => "earnings",
        }
    }

    /// This account of a user.
    #[must_use]
    pub const fn of(self, user: &User) -> AccountId {
        match self {
            Self::Wallet => user.wallet,
            Self::Earnings => user.earnings,
        }
    }
}

/// What there was in an account at a time, and what its owner owed.
///
/// # Errors
/// A [`DbError`].
pub async fn balance_at(
    app: &App,
    account: AccountId,
    time: Timestamp,
) -> Result<(MicroCredits, MicroCredits), DbError> {
    app.db
        .read("balance_at", async move |tx| {
            let posted = ledger::statement::balance_at(tx, account, time).await?;
            // Whoever never owed anything has no account for it.
            let debts = system::debt_of(account);
            let owed = match ledger::balances(tx, &[debts]).await?.pop().flatten() {
                Some(_) => ledger::statement::balance_at(tx, debts, time).await?.negated(),
                None => MicroCredits::ZERO,
            };
            Ok::<_, DbError>((posted, owed))
        })
        .await
}

/// Grants credits to a user by the operator's word.
///
/// # Errors
/// A [`DbError`].
pub async fn grant(app: &App, user: &User, amount: MicroCredits, note: &str) -> Result<Balance, DbError> {
    let now = app.clock.now();
    let id: GrantId = app.ids.next(now);
    let (user_id, wallet, note) = (user.id, user.wallet, note.to_owned());
    let balances = app
        .db
        .tx("grant", async move |tx| {
            store::insert_grant(tx, id, user_id, amount, &note, now).await?;
            let command = Command::Transfer {
                id: TransferId::from_i64(id.get()),
                kind: TransferKind::Grant,
                from: system::grants(),
                to: wallet,
                amount,
                note: Some(note.clone()),
            };
            let submitted = ledger::submit(tx, &[command], now).await?;
            for outcome in submitted.outcomes {
                outcome.map_err(|refusal| DbError::Other(format!("the grant was refused: {refusal}")))?;
            }
            Ok::<_, DbError>(submitted.balances)
        })
        .await?;
    app.live.balances(&balances);
    balance(app, wallet).await
}

/// Why earnings are not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is nothing to move.
    #[error("there are no earnings to move yet")]
    Nothing,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Moves all of a user's earnings into the wallet; answers how much that was.
///
/// # Errors
/// A [`MoveError`].
pub async fn move_earnings(
    app: &App,
    user: &User,
    once: &Once<MicroCredits>,
) -> Result<MicroCredits, MoveError> {
    let now = app.clock.now();
    let id: TransferId = app.ids.next(now);
    let (wallet, earnings) = (user.wallet, user.earnings);
    let writes = once.clone();
    let (moved, balances) = app
        .db
        .tx("move_earnings", async move |tx| {
            writes.first(tx).await?;
            // Read and moved in one transaction: two clicks move it once.
            let amount = ledger::balance(tx, earnings).await?.available();
            if !amount.is_positive() {
                return Err(MoveError::Nothing);
            }
            let kind = TransferKind::EarningsToWallet;
            let command = Command::Transfer { id, kind, from: earnings, to: wallet, amount, note: None };
            let submitted = ledger::submit(tx, &[command], now).await?;
            for outcome in submitted.outcomes {
                outcome.map_err(|refusal| DbError::Other(format!("earnings were not moved: {refusal}")))?;
            }
            writes.write(tx, &amount, now).await?;
            Ok((amount, submitted.balances))
        })
        .await?;
    once.note_written();
    app.live.balances(&balances);
    Ok(moved)
}
