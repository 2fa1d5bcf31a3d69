//! Sending, and following what became of what was sent: whatever arrives, the truth is read from the provider.

use std::sync::Arc;
use std::time::Duration;

use db::{DbError, Tx};
use types::id::{MailId, PayoutId, TransferId};
use types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};

use super::provider::{Answer, BankStage, TransferRequest, TransferState};
use super::{Payout, PayoutError, State, event, give_back, store};
use crate::accounts;
use crate::app::App;
use crate::hooks::Hooks;
use crate::hooks::events::Kind;
use crate::mail::letters::{Letter, Line, PayoutFailed, PayoutSent};
use crate::mail::outbox;
use crate::providers::ProviderError;
use crate::providers::events::{self, Handled, ProviderEvent, store as event_store};

/// How long a taken payout is its taker's.
const LEASE_MS: i64 = 5 * MINUTE_MS;
/// Asking the provider takes less than that, or is given up.
const PATIENCE: Duration = Duration::from_secs(240);
/// Waits after the first try, the second, and so on; the last one is used again.
const WAITS_MS: [i64; 4] = [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS];
/// How long a transfer is looked at again, in case the news of its end were lost.
const LOOKED_AT_MS: i64 = 3 * DAY_MS;

/// What writing down the end of something needs: made before the transaction, used in it.
struct Pen {
    site: String,
    mail: MailId,
    back: TransferId,
    now: Timestamp,
    hooks: Arc<Hooks>,
}

impl Pen {
    fn new(app: &App) -> Self {
        let now = app.clock.now();
        Self {
            site: app.config.public_url(),
            mail: app.ids.next(now),
            back: app.ids.next(now),
            now,
            hooks: Arc::clone(&app.hooks),
        }
    }

    /// Tells the owner's programs.
    async fn tell_programs(&self, tx: &mut Tx<'_>, payout: &Payout, kind: Kind) -> Result<(), DbError> {
        self.hooks.tell(tx, payout.user, event(payout, kind), self.now).await
    }

    /// Queues a letter to the owner.
    async fn tell(&self, tx: &mut Tx<'_>, payout: &Payout, letter: &dyn Letter) -> Result<(), DbError> {
        let Some(user) = accounts::store::user_by_id(tx, payout.user).await? else { return Ok(()) };
        let key = format!("{}:{}", letter.kind().name(), payout.id);
        outbox::queue(tx, self.mail, letter, &user.email, &key, self.now).await
    }
}

/// What a payout is now, and the balances that changed.
type Written = Result<(Payout, Vec<ledger::Balance>), PayoutError>;

/// Sends a payout, if it is time (or `now`) and nobody else does. Answers how it stands; nothing when it was not taken.
///
/// # Errors
/// A [`PayoutError`] of the database; what the provider said is in the payout.
pub async fn send(app: &App, id: PayoutId, now: bool) -> Result<Option<Payout>, PayoutError> {
    let Some(payout) = claim(app, id, now).await? else { return Ok(None) };
    let asked = tokio::time::timeout(PATIENCE, ask(app, &payout)).await;
    let answer = asked.unwrap_or_else(|_| Err(ProviderError::Unavailable("no answer in time".to_owned())));
    let (pen, mine) = (Pen::new(app), payout.clone());
    let (payout, balances) = match answer {
        Ok(Answer::Made(transfer)) => {
            let note = async move |tx: &mut Tx<'_>| apply(tx, mine.id, &transfer, &pen).await;
            app.db.tx("payout_sent", note).await?
        }
        Ok(Answer::Refused(error)) => {
            tracing::warn!(payout = %id, %error, "payout {id} was refused; the credits were put back");
            let note = async move |tx: &mut Tx<'_>| refused(tx, &mine, &error, &pen).await;
            app.db.tx("payout_refused", note).await?
        }
        Ok(Answer::NotNow(error)) => {
            tracing::warn!(payout = %id, %error, "payout {id} waits: {error}");
            let note = async move |tx: &mut Tx<'_>| postponed(tx, &mine, &error, false, pen.now).await;
            app.db.tx("payout_waits", note).await?
        }
        Err(error) => {
            let error = error.to_string();
            tracing::warn!(payout = %id, %error, "it is not known whether payout {id} was sent; it is asked again");
            let note = async move |tx: &mut Tx<'_>| postponed(tx, &mine, &error, true, pen.now).await;
            app.db.tx("payout_unknown", note).await?
        }
    };
    metrics::counter!("archipelago_payout_tries_total", "state" => payout.state.name()).increment(1);
    app.live.balances(&balances);
    app.mail.wake();
    Ok(Some(payout))
}

/// Takes a payout. From here on the provider may have been asked, and nobody cancels it.
async fn claim(app: &App, id: PayoutId, at_once: bool) -> Result<Option<Payout>, DbError> {
    let (now, provider) = (app.clock.now(), app.payouts.name());
    app.db
        .tx("claim_payout", async move |tx| {
            let Some(payout) = store::payout(tx, id).await? else { return Ok(None) };
            let free = match payout.state {
                State::Wanted => at_once || payout.due_at <= now,
                // Somebody else may be asking: not before their time is over, or they have said how it went.
                State::Sending => payout.due_at <= now || (at_once && payout.error.is_some()),
                _ => false,
            };
            if !free || payout.provider != provider {
                return Ok(None);
            }
            // Whoever was frozen since is not paid; what may have been sent is followed to its end.
            if payout.state == State::Wanted && is_frozen(tx, &payout).await? {
                return Ok(None);
            }
            store::claim(tx, id, now.plus_millis(LEASE_MS)).await?;
            store::payout(tx, id).await
        })
        .await
}

async fn is_frozen(tx: &mut Tx<'_>, payout: &Payout) -> Result<bool, DbError> {
    match accounts::store::user_by_id(tx, payout.user).await? {
        Some(user) => Ok(ledger::balance(tx, user.wallet).await?.frozen),
        None => Ok(true),
    }
}

/// Asks for the transfer, after looking whether there is one from before.
async fn ask(app: &App, payout: &Payout) -> Result<Answer, ProviderError> {
    if payout.attempts > 1
        && let Some(transfer) = app.payouts.find(payout.id).await?
    {
        return Ok(Answer::Made(transfer));
    }
    let request = TransferRequest {
        key: format!("{}-{}", payout.id, payout.round),
        payout: payout.id,
        account: payout.account.clone(),
        amount: payout.cents,
    };
    app.payouts.transfer(&request).await
}

/// Brings a payout to where its transfer is.
async fn apply(tx: &mut Tx<'_>, id: PayoutId, transfer: &TransferState, pen: &Pen) -> Written {
    let payout = store::payout(tx, id).await?.ok_or(PayoutError::NotFound)?;
    if payout.cents != transfer.amount || payout.account != transfer.account {
        tracing::error!(payout = %id, ?transfer, "the transfer of payout {id} is not what was asked for; nothing was changed");
        return Ok((payout, Vec::new()));
    }
    let came_back = transfer.reversed.get() >= transfer.amount.get();
    let mut balances = Vec::new();
    match payout.state {
        State::Failed | State::Cancelled if !came_back => {
            tracing::error!(payout = %id, ?transfer, "payout {id} has ended, and there is a transfer for it; take it back at the provider");
        }
        State::Failed | State::Cancelled => {}
        State::Wanted | State::Sending if !came_back => {
            let state = if transfer.arrived { State::Paid } else { State::Sent };
            store::sent(tx, id, state, transfer, pen.now).await?;
            let kind = if transfer.arrived { Kind::PayoutPaid } else { Kind::PayoutSent };
            pen.tell_programs(tx, &payout, kind).await?;
            let letter = PayoutSent {
                site: pen.site.clone(),
                amount: payout.cents,
                destination: Line::from("your bank account, by way of your payout account"),
                arrives: Line::default(),
            };
            pen.tell(tx, &payout, &letter).await?;
        }
        _ if came_back => {
            balances = fail(tx, &payout, "the transfer was taken back", pen).await?;
        }
        _ => {}
    }
    if !came_back && transfer.reversed.get() > 0 {
        let error = format!("{} of the transfer was taken back", transfer.reversed);
        tracing::warn!(payout = %id, %error, "a part of payout {id} was taken back; the credits stay paid out");
        store::set_error(tx, id, &error).await?;
    }
    Ok((store::payout(tx, id).await?.ok_or(PayoutError::NotFound)?, balances))
}

/// The provider has surely not paid and will not.
async fn refused(tx: &mut Tx<'_>, mine: &Payout, error: &str, pen: &Pen) -> Written {
    let payout = store::payout(tx, mine.id).await?.ok_or(PayoutError::NotFound)?;
    // Somebody else has taken it since, and knows more.
    if payout.state != State::Sending || payout.attempts != mine.attempts {
        return Ok((payout, Vec::new()));
    }
    let balances = fail(tx, &payout, error, pen).await?;
    Ok((store::payout(tx, mine.id).await?.ok_or(PayoutError::NotFound)?, balances))
}

async fn fail(
    tx: &mut Tx<'_>,
    payout: &Payout,
    error: &str,
    pen: &Pen,
) -> Result<Vec<ledger::Balance>, PayoutError> {
    let balances = give_back(tx, payout, State::Failed, Some(error), pen.back, pen.now).await?;
    let told = Payout { error: Some(error.to_owned()), ..payout.clone() };
    pen.tell_programs(tx, &told, Kind::PayoutFailed).await?;
    let (site, amount, reason) = (pen.site.clone(), payout.cents, Line::from(error));
    pen.tell(tx, payout, &PayoutFailed { site, amount, reason }).await?;
    Ok(balances)
}

/// To be tried again: with the same key when it is not known what happened, with another when surely nothing did.
async fn postponed(tx: &mut Tx<'_>, mine: &Payout, error: &str, unknown: bool, now: Timestamp) -> Written {
    let payout = store::payout(tx, mine.id).await?.ok_or(PayoutError::NotFound)?;
    if payout.state == State::Sending && payout.attempts == mine.attempts {
        let tried = usize::try_from(payout.attempts - 1).unwrap_or(0);
        let wait = WAITS_MS[tried.min(WAITS_MS.len() - 1)];
        let due = now.plus_millis(wait);
        if unknown {
            store::unknown(tx, mine.id, error, due).await?;
        } else {
            store::not_now(tx, mine.id, error, due).await?;
        }
    }
    Ok((store::payout(tx, mine.id).await?.ok_or(PayoutError::NotFound)?, Vec::new()))
}

/// Sends what waits and is due: what a crash, a provider that was away or an empty balance left.
///
/// # Errors
/// A [`DbError`].
pub async fn send_once(app: &App) -> Result<(), DbError> {
    let (now, provider) = (app.clock.now(), app.payouts.name());
    let due = app.db.read("due_payouts", async move |tx| store::due(tx, provider, now).await).await?;
    for id in due {
        if let Err(error) = send(app, id, false).await {
            tracing::warn!(%error, payout = %id, "payout {id} could not be sent");
        }
    }
    let stuck = app.db.read("stuck_payouts", async |tx| store::stuck(tx).await).await?;
    metrics::gauge!("archipelago_payouts_waiting").set(u32::try_from(stuck).unwrap_or(u32::MAX));
    Ok(())
}

/// Reads again what was sent lately, in case news were lost.
///
/// # Errors
/// A [`DbError`].
pub async fn look_once(app: &App) -> Result<(), DbError> {
    let (since, provider) = (app.clock.now().plus_millis(-LOOKED_AT_MS), app.payouts.name());
    let sent =
        app.db.read("sent_payouts", async move |tx| store::sent_since(tx, provider, since).await).await?;
    for transfer in sent {
        if let Err(error) = sync_transfer(app, &transfer, None).await {
            tracing::warn!(%error, transfer, "a transfer could not be read");
        }
    }
    Ok(())
}

/// Takes an event about a transfer: brings the payout it was made for to where it is.
///
/// # Errors
/// A [`PayoutError`] when it could not be done; the provider is then told to send it again.
pub async fn sync_transfer(
    app: &App,
    transfer: &str,
    event: Option<ProviderEvent>,
) -> Result<(), PayoutError> {
    let state = match app.payouts.read(transfer).await {
        Ok(state) => state,
        // Of another account or mode.
        Err(ProviderError::NotFound(_)) => return Ok(note(app, event).await?),
        Err(error) => return Err(error.into()),
    };
    let Some(id) = state.payout else { return Ok(note(app, event).await?) };
    let pen = Pen::new(app);
    let balances = app
        .db
        .tx("payout_transfer", async move |tx| {
            if let Some(event) = &event {
                event_store::note(tx, event, Handled::Done, pen.now).await?;
            }
            // One of another network on the same account.
            if store::payout(tx, id).await?.is_none() {
                return Ok(Vec::new());
            }
            apply(tx, id, &state, &pen).await.map(|(_, balances)| balances)
        })
        .await?;
    app.live.balances(&balances);
    app.mail.wake();
    Ok(())
}

/// Takes an event about a payment from an owner's account to their bank. The credits went with the transfer; this says whether the
/// money arrived.
///
/// # Errors
/// A [`PayoutError`] when it could not be done; the provider is then told to send it again.
pub async fn sync_bank(
    app: &App,
    account: &str,
    payment: &str,
    event: ProviderEvent,
) -> Result<(), PayoutError> {
    let (provider, wanted) = (app.payouts.name(), account.to_owned());
    let known =
        app.db.read("payout_owner", async move |tx| store::owner(tx, provider, &wanted).await).await?;
    if known.is_none() {
        return Ok(note(app, Some(event)).await?);
    }
    let bank = match app.payouts.bank(account, payment).await {
        Ok(bank) => bank,
        Err(ProviderError::NotFound(_)) => return Ok(note(app, Some(event)).await?),
        Err(error) => return Err(error.into()),
    };
    let (account, now) = (account.to_owned(), app.clock.now());
    let hooks = Arc::clone(&app.hooks);
    app.db
        .tx("payout_bank", async move |tx| {
            event_store::note(tx, &event, Handled::Done, now).await?;
            let place = (provider, &*account);
            match &bank.stage {
                BankStage::Open => Ok(()),
                BankStage::Paid => {
                    for payout in store::on_the_way(tx, place, bank.made_at).await? {
                        hooks.tell(tx, payout.user, super::event(&payout, Kind::PayoutPaid), now).await?;
                    }
                    store::bank_paid(tx, place, &bank.id, bank.made_at, now).await
                }
                BankStage::Failed(reason) => {
                    let error = format!("the bank did not take it: {reason}");
                    store::bank_failed(tx, place, &bank.id, bank.made_at, &error).await
                }
            }
        })
        .await?;
    Ok(())
}

/// Remembers an event that is about nothing of ours.
pub(super) async fn note(app: &App, event: Option<ProviderEvent>) -> Result<(), DbError> {
    match event {
        Some(event) => events::note(app, &event, Handled::Done).await,
        None => Ok(()),
    }
}
