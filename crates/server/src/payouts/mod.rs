//! Payouts: what owners of Islands earned leaves the network as money.
//!
//! Guarantees: credits leave the earnings in the transaction that writes the payout down, before the provider is asked, and the
//! transfer's id is the payout's. They come back exactly once, and only when the provider has surely not paid or has taken the
//! money back; as long as that is not known they stay where they are, and the provider is asked again with the same key after
//! looking for the transfer that may be there. A payout is taken by moving it from `wanted` to `sending` in a transaction, so that
//! cancelling and sending have one outcome, and several coordinators send it once. 1 credit is paid as $0.01, whole credits
//! only. Earnings can be paid out when they are `hold_days` old; the network bears the disputes that come later.

pub mod accounts;
pub mod config;
pub mod provider;
pub mod reconcile;
pub mod sandbox;
pub mod schedule;
pub mod send;
pub(crate) mod store;
pub mod stripe;

use std::sync::Arc;

use db::{DbError, Tx};
use ledger::{Command, Refusal, TransferKind, system};
use types::id::{AccountId, Id, PayoutId, TransferId, UserId};
use types::money::{Cents, MICROS_PER_CREDIT, MicroCredits};
use types::time::Timestamp;

use crate::accounts::User;
use crate::app::App;
use crate::config::{Payouts, Schedule};
use crate::hooks::events::{Event, Kind, PayoutData};
use crate::idempotency::Once;
use crate::identity;
use crate::providers::ProviderError;

/// One payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Which one. Also the id of the transfer that takes the credits.
    pub id: PayoutId,
    /// To whom.
    pub user: UserId,
    /// Where the credits come from, and go back to.
    pub earnings: AccountId,
    /// How many: whole credits.
    pub amount: MicroCredits,
    /// The same in money.
    pub cents: Cents,
    /// How far it is.
    pub state: State,
    /// Who pays.
    pub provider: String,
    /// The provider's name for the account it goes to.
    pub account: String,
    /// The provider's name for the transfer.
    pub transfer: Option<String>,
    /// What went wrong last.
    pub error: Option<String>,
    /// Answers so far that surely nothing was done.
    pub round: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is taken up again.
    pub due_at: Timestamp,
    /// Since when.
    pub created_at: Timestamp,
    /// When the provider moved the money.
    pub sent_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The transfer that put the credits back; 0 if none did.
    pub back: i64,
}

/// How far a payout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Written down; the provider was surely not asked, or surely did nothing. Can be cancelled.
    Wanted,
    /// The provider is being asked, or it is not known what it did.
    Sending,
    /// The money is in the owner's account at the provider.
    Sent,
    /// It is at the bank.
    Paid,
    /// It was refused or came back; so did the credits.
    Failed,
    /// It was called off before; the credits are back.
    Cancelled,
}

impl State {
    /// As stored and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Wanted, Self::Sending, Self::Sent, Self::Paid, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// Where an owner is paid to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutAccount {
    /// Whose.
    pub user: UserId,
    /// The provider's name for it.
    pub account: String,
    /// Whether money can be sent there.
    pub ready: bool,
    /// What is missing until then.
    pub missing: String,
    /// When, if the owner has chosen.
    pub schedule: Option<Schedule>,
}

/// What an owner has earned, by what can be done with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earned {
    /// Can be paid out.
    pub available: MicroCredits,
    /// Too young for that.
    pub pending: MicroCredits,
    /// Was paid out and did not come back.
    pub paid: MicroCredits,
}

/// Why there is no payout.
#[derive(Debug, thiserror::Error)]
pub enum PayoutError {
    /// This network pays with play money only.
    #[error("payouts are not set up on this network; ask its operator")]
    Off,
    /// Their identity is not known.
    #[error("please verify your identity before you are paid out")]
    Unverified,
    /// The account may not spend.
    #[error("this account is frozen; please contact the operator")]
    Frozen,
    /// Something is owed.
    #[error("{0} credits are owed; move earnings to the wallet to pay them")]
    InDebt(MicroCredits),
    /// There is no account to pay to, or it misses something.
    #[error("set up payouts first")]
    NotReady,
    /// Another one is on its way.
    #[error("another payout is on its way; wait until it is sent")]
    Open,
    /// Too little.
    #[error("at least {0} credits are paid out at once")]
    BelowMinimum(MicroCredits),
    /// More than there is.
    #[error("only {0} credits can be paid out now")]
    TooMuch(MicroCredits),
    /// Not whole credits.
    #[error("must be whole credits")]
    NotWhole,
    /// It cannot be called off any more.
    #[error("this payout cannot be called off any more")]
    TooLate,
    /// Not there, or another's.
    #[error("there is no such payout")]
    NotFound,
    /// The provider.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What is to be paid out.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// How much; all that can be if it is not said.
    pub amount: Option<MicroCredits>,
    /// Tells one click from another: the same gets the same payout.
    pub attempt: Option<String>,
    /// The period it is for, if it is a scheduled one.
    pub period: Option<String>,
}

/// Takes credits out of the earnings and pays them. The answer may be `wanted` or `sending`: then it goes on by itself.
///
/// # Errors
/// A [`PayoutError`]; then nothing was changed.
pub async fn request(app: &App, user: &User, wish: Wish) -> Result<Payout, PayoutError> {
    let payout = want(app, user, wish).await?;
    if payout.state == State::Wanted && payout.attempts == 0 {
        return Ok(send::send(app, payout.id, true).await?.unwrap_or(payout));
    }
    Ok(payout)
}

/// Writes a payout down and takes its credits, in one transaction.
async fn want(app: &App, user: &User, wish: Wish) -> Result<Payout, PayoutError> {
    if !app.config.payouts_offered() {
        return Err(PayoutError::Off);
    }
    let (now, user, provider) = (app.clock.now(), user.clone(), app.payouts.name());
    let (id, config) = (app.ids.next(now), app.config.payouts.clone());
    let hooks = Arc::clone(&app.hooks);
    let (payout, balances) = app
        .db
        .tx("want_payout", async move |tx| {
            if let Some(attempt) = wish.attempt.as_deref()
                && let Some(first) = store::by_attempt(tx, user.id, attempt).await?
            {
                return Ok((first, Vec::new()));
            }
            let account = allowed(tx, &user, provider).await?;
            if let Some(period) = wish.period.as_deref()
                && store::by_period(tx, user.id, period).await?
            {
                return Err(PayoutError::Open);
            }
            let amount = size(&config, earned(tx, &user, &config, now).await?.available, wish.amount)?;
            let payout = Payout {
                id,
                user: user.id,
                earnings: user.earnings,
                amount,
                cents: Cents::new(amount.get() / MICROS_PER_CREDIT),
                state: State::Wanted,
                provider: provider.to_owned(),
                account: account.account,
                transfer: None,
                error: None,
                round: 0,
                attempts: 0,
                due_at: now,
                created_at: now,
                sent_at: None,
                ended_at: None,
                back: 0,
            };
            store::insert(tx, &payout, wish.attempt.as_deref(), wish.period.as_deref()).await?;
            let kind = TransferKind::Payout;
            let taken = TransferId::from_i64(id.get());
            let balances = post(tx, kind, taken, (user.earnings, system::payouts()), amount, now).await?;
            hooks.tell(tx, user.id, event(&payout, Kind::PayoutCreated), now).await?;
            Ok((payout, balances))
        })
        .await?;
    app.live.balances(&balances);
    Ok(payout)
}

/// Whether this user may be paid out now, and where to.
async fn allowed(tx: &mut Tx<'_>, user: &User, provider: &str) -> Result<PayoutAccount, PayoutError> {
    if !identity::store::state(tx, user.id).await?.may_spend() {
        return Err(PayoutError::Unverified);
    }
    let wallet = ledger::balance(tx, user.wallet).await?;
    if wallet.frozen {
        return Err(PayoutError::Frozen);
    }
    if wallet.debt.is_positive() {
        return Err(PayoutError::InDebt(wallet.debt));
    }
    let account = store::account(tx, user.id, provider).await?;
    let account = account.filter(|account| account.ready).ok_or(PayoutError::NotReady)?;
    if store::open(tx, user.id).await?.is_some() {
        return Err(PayoutError::Open);
    }
    Ok(account)
}

/// How much is paid out: whole credits, not below the minimum, not more than there is.
fn size(
    config: &Payouts,
    available: MicroCredits,
    wanted: Option<MicroCredits>,
) -> Result<MicroCredits, PayoutError> {
    let whole = MicroCredits::new(available.get() - available.get().rem_euclid(MICROS_PER_CREDIT));
    let amount = wanted.unwrap_or(whole);
    if amount.get() % MICROS_PER_CREDIT != 0 {
        return Err(PayoutError::NotWhole);
    }
    if amount < config.minimum() {
        return Err(PayoutError::BelowMinimum(config.minimum()));
    }
    if amount > whole {
        return Err(PayoutError::TooMuch(whole));
    }
    Ok(amount)
}

/// Moves credits to where payouts go, or back.
async fn post(
    tx: &mut Tx<'_>,
    kind: TransferKind,
    id: TransferId,
    (from, to): (AccountId, AccountId),
    amount: MicroCredits,
    now: Timestamp,
) -> Result<Vec<ledger::Balance>, PayoutError> {
    let command = Command::Transfer { id, kind, from, to, amount, note: None };
    let submitted = ledger::submit(tx, &[command], now).await?;
    for outcome in submitted.outcomes {
        outcome.map_err(|refusal| match refusal {
            Refusal::InsufficientCredits { available, .. } => PayoutError::TooMuch(available),
            Refusal::Frozen => PayoutError::Frozen,
            refusal => PayoutError::Db(DbError::Other(format!("a payout was refused: {refusal}"))),
        })?;
    }
    Ok(submitted.balances)
}

/// What a user has earned, by what can be done with it. What goes out is taken from the oldest.
async fn earned(tx: &mut Tx<'_>, user: &User, config: &Payouts, now: Timestamp) -> Result<Earned, DbError> {
    let there = ledger::balance(tx, user.earnings).await?.available();
    let available = if config.hold_days == 0 {
        there
    } else {
        let since = config.old_enough(now);
        let then = ledger::statement::balance_at(tx, user.earnings, since).await?;
        let moved = store::moved_since(tx, user.id, user.earnings, since).await?;
        let old = MicroCredits::new(then.get().saturating_add(moved.get()));
        old.min(there).max(MicroCredits::ZERO)
    };
    let pending = MicroCredits::new(there.get() - available.get());
    Ok(Earned { available, pending, paid: store::paid_out(tx, user.id).await? })
}

/// What an owner sees: what was earned, where it is paid to, and what was paid, newest first.
///
/// # Errors
/// A [`DbError`].
pub async fn overview(
    app: &App,
    user: &User,
    limit: u32,
) -> Result<(Earned, Option<PayoutAccount>, Vec<Payout>), DbError> {
    let (now, user, config) = (app.clock.now(), user.clone(), app.config.payouts.clone());
    let provider = app.payouts.name();
    app.db
        .read("payouts", async move |tx| {
            let earned = earned(tx, &user, &config, now).await?;
            let account = store::account(tx, user.id, provider).await?;
            Ok((earned, account, store::history(tx, user.id, limit).await?))
        })
        .await
}

/// A payout of this user.
///
/// # Errors
/// [`PayoutError::NotFound`] if it is not there or another's.
pub async fn find(app: &App, user: UserId, id: PayoutId) -> Result<Payout, PayoutError> {
    let found = app.db.read("payout", async move |tx| store::payout(tx, id).await).await?;
    found.filter(|payout| payout.user == user).ok_or(PayoutError::NotFound)
}

/// Payouts of everybody, newest first; only those that wait, unless all are wanted.
///
/// # Errors
/// A [`DbError`].
pub async fn list(app: &App, all: bool, limit: u32) -> Result<Vec<Payout>, DbError> {
    app.db.read("all_payouts", async move |tx| store::list(tx, all, limit).await).await
}

/// Calls a payout off while the provider surely has not paid it, and puts the credits back. `user`: whose it must be, if not
/// the operator asks.
///
/// # Errors
/// [`PayoutError::TooLate`] when it may have been sent.
pub async fn cancel(
    app: &App,
    user: Option<UserId>,
    id: PayoutId,
    once: &Once<Payout>,
) -> Result<Payout, PayoutError> {
    let now = app.clock.now();
    let back = app.ids.next(now);
    let hooks = Arc::clone(&app.hooks);
    let writes = once.clone();
    let (payout, balances) = app
        .db
        .tx("cancel_payout", async move |tx| {
            writes.first(tx).await?;
            let payout = store::payout(tx, id).await?;
            let payout = payout.filter(|payout| user.is_none_or(|user| payout.user == user));
            let payout = payout.ok_or(PayoutError::NotFound)?;
            let balances = match payout.state {
                State::Cancelled => Vec::new(),
                State::Wanted => give_back(tx, &payout, State::Cancelled, None, back, now).await?,
                _ => return Err(PayoutError::TooLate),
            };
            let called_off = payout.state == State::Wanted;
            let payout = store::payout(tx, id).await?.ok_or(PayoutError::NotFound)?;
            if called_off {
                hooks.tell(tx, payout.user, event(&payout, Kind::PayoutCancelled), now).await?;
            }
            writes.write(tx, &payout, now).await?;
            Ok((payout, balances))
        })
        .await?;
    once.note_written();
    app.live.balances(&balances);
    Ok(payout)
}

/// What programs are told of a payout.
fn event(payout: &Payout, kind: Kind) -> Event {
    Event::new(kind, &PayoutData::new(payout.id, payout.amount, payout.cents, payout.error.as_deref()))
}

/// Ends a payout and puts its credits back. The state was read in this very transaction, and was none of those in which they
/// are back already.
async fn give_back(
    tx: &mut Tx<'_>,
    payout: &Payout,
    state: State,
    error: Option<&str>,
    back: TransferId,
    now: Timestamp,
) -> Result<Vec<ledger::Balance>, PayoutError> {
    store::returned(tx, payout.id, state, error, back, now).await?;
    let kind = TransferKind::PayoutReturned;
    post(tx, kind, back, (system::payouts(), payout.earnings), payout.amount, now).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProviderName;

    #[test]
    fn whole_credits_between_the_minimum_and_what_there_is() {
        let config = Payouts {
            provider: ProviderName::Sandbox,
            minimum_credits: 100,
            schedule: Schedule::Manual,
            hold_days: 7,
        };
        let credits = |text: &str| text.parse::<MicroCredits>().unwrap();
        let size = |there: &str, wanted: Option<&str>| size(&config, credits(there), wanted.map(credits));
        assert_eq!(size("250.999999", None).unwrap(), credits("250"));
        assert_eq!(size("250", Some("100")).unwrap(), credits("100"));
        assert!(matches!(size("250", Some("99")), Err(PayoutError::BelowMinimum(_))));
        assert!(matches!(size("99.9", None), Err(PayoutError::BelowMinimum(_))));
        assert!(matches!(size("250.5", Some("251")), Err(PayoutError::TooMuch(_))));
        assert!(matches!(size("250", Some("100.5")), Err(PayoutError::NotWhole)));
        assert!(matches!(size("250", Some("-100")), Err(PayoutError::BelowMinimum(_))));
    }
}
