//! What becomes of a purchase after it was paid: refunds, disputes, warnings.
//!
//! **State, not messages.** Whatever says that something happened (a webhook, the operator, the reconciler), the payment is read
//! from the provider, what is read is merged into `payment_facts`, and one function, [`settle`], moves the credits from
//! where they are to where the facts say they should be, in one transaction. So messages may be lost, repeated and
//! reordered. Facts only move on: an older reading cannot undo a newer one.
//!
//! **Rules.** A refund takes credits back in proportion to the money, as soon as it is on its way, and gives them back if it
//! fails. A dispute freezes what is left of its lot (I2 holds: it is a hold), takes the lot's credits when it is lost, and
//! lets go when it is won. What is taken and is not there any more becomes debt, which is paid by the next credits that
//! arrive; nothing is spent meanwhile. Credits are counted, not dollars: a package with bonus credits is taken and restored as
//! it was sold. Islands keep what they earned. A bank's early warning freezes the wallet until the operator has looked.

pub mod letters;
pub(crate) mod store;

use db::{DbError, Tx};
use ledger::{Command, Outcome, TransferKind, system};
use types::id::{Id, PurchaseId, TransferId};
use types::money::{Cents, MicroCredits};
use types::time::Timestamp;

use letters::Desk;

use super::provider::{Fact, FactKind, PaymentState, Stage};
use super::{Purchase, PurchaseError, State};
use crate::app::App;
use crate::live::Happening;
use crate::providers::ProviderError;
use crate::providers::events::{self, Handled, ProviderEvent};

/// A frozen lot stays frozen until the dispute is decided, however long that takes.
const NEVER: Timestamp = Timestamp::from_millis(i64::MAX / 4);

/// What a purchase's credits are in for, by the facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Money that went back, or is on its way back.
    pub refunded: Cents,
    /// Money that was lost in disputes.
    pub lost: Cents,
    /// Money of disputes that are not decided.
    pub disputed: Cents,
}

impl Standing {
    /// By the facts. The same money goes back once only: what is beyond the amount paid is not counted.
    #[must_use]
    pub fn of(facts: &[Fact], amount: Cents) -> Self {
        let sum = |kind: FactKind, stages: &[Stage]| {
            let counted = facts.iter().filter(|fact| fact.kind == kind && stages.contains(&fact.stage));
            counted.fold(0_i64, |sum, fact| sum.saturating_add(fact.amount.get().max(0)))
        };
        let refunded = sum(FactKind::Refund, &[Stage::Open, Stage::Reversed]).min(amount.get());
        let lost = sum(FactKind::Dispute, &[Stage::Reversed]).min(amount.get() - refunded);
        let disputed = sum(FactKind::Dispute, &[Stage::Open]).min(amount.get() - refunded - lost);
        Self { refunded: Cents::new(refunded), lost: Cents::new(lost), disputed: Cents::new(disputed) }
    }

    /// How many of the lot's credits are to have been taken back: its share of the money, all of it for all of it.
    fn taken(self, credits: MicroCredits, amount: Cents) -> MicroCredits {
        share(credits, self.refunded.get() + self.lost.get(), amount)
    }
}

/// `part` of `whole` of some credits, rounded down; exact at both ends.
fn share(credits: MicroCredits, part: i64, whole: Cents) -> MicroCredits {
    let share = i128::from(credits.get()) * i128::from(part) / i128::from(whole.get().max(1));
    MicroCredits::new(i64::try_from(share).unwrap_or(credits.get()))
}

/// Brings a purchase to where its payment is at the provider. May be called any number of times, by anybody, at once; `event`
/// is the webhook that caused the call, stored with its effect.
///
/// # Errors
/// A [`PurchaseError`]; then nothing was changed and calling again may help.
pub async fn sync(
    app: &App,
    payment: &str,
    event: Option<ProviderEvent>,
) -> Result<Option<Purchase>, PurchaseError> {
    let state = match app.payments.payment(payment).await {
        Ok(state) => state,
        // Not the payment of anything we sold, or of another account.
        Err(ProviderError::NotFound(_)) if event.is_some() => PaymentState::default(),
        Err(error) => return Err(error.into()),
    };
    let payment = payment.to_owned();
    let id = app
        .db
        .read("purchase_by_payment", async move |tx| {
            find(tx, &payment, &state).await.map(|id| (id, state.clone()))
        })
        .await?;
    let (Some(id), state) = id else {
        if let Some(event) = event {
            events::note(app, &event, Handled::Done).await?;
        }
        return Ok(None);
    };
    let names = (state.payment_ref.clone(), state.charge_ref.clone());
    app.db
        .tx("name_payment", async move |tx| {
            // A purchase without a checkout is read by its payment.
            let nameless = super::store::purchase(tx, id).await?.is_some_and(|one| one.session.is_none());
            if nameless {
                store::set_names(tx, id, names.0.as_deref(), names.1.as_deref()).await?;
            }
            Ok::<_, DbError>(())
        })
        .await?;
    // A message about a payment may come before the one that says that it arrived.
    super::fulfil(app, id, None).await?;
    let now = app.clock.now();
    let ids = [app.ids.next(now), app.ids.next(now)];
    let (provider, desk) = (app.payments.name(), Desk::new(app, now));
    let settled = app
        .db
        .tx("settle_purchase", async move |tx| {
            if let Some(event) = &event {
                events::store::note(tx, event, Handled::Done, now).await?;
            }
            store::set_names(tx, id, state.payment_ref.as_deref(), state.charge_ref.as_deref()).await?;
            store::merge(tx, provider, id, &state.facts, now).await?;
            let settled = settle(tx, id, ids, now).await?;
            desk.write(tx, &settled, now).await?;
            Ok::<_, PurchaseError>(settled)
        })
        .await?;
    tell(app, &settled);
    Ok(Some(settled.purchase))
}

async fn find(tx: &mut Tx<'_>, payment: &str, state: &PaymentState) -> Result<Option<PurchaseId>, DbError> {
    let names = [Some(payment), state.payment_ref.as_deref(), state.charge_ref.as_deref()];
    for name in names.into_iter().flatten() {
        if let Some(id) = store::by_payment(tx, name).await? {
            return Ok(Some(id));
        }
    }
    let Some(id) = state.purchase.as_deref().and_then(|text| text.parse().ok()) else { return Ok(None) };
    Ok(super::store::purchase(tx, id).await?.map(|purchase| purchase.id))
}

/// What a settling did.
#[derive(Debug)]
pub struct Settled {
    /// The purchase, as it is now.
    pub purchase: Purchase,
    /// The balances that changed.
    pub balances: Vec<ledger::Balance>,
    /// How its money stood before.
    pub before: Standing,
    /// What is new, for those who are told.
    pub news: Vec<News>,
}

impl Settled {
    /// Nothing had to be done.
    #[must_use]
    pub fn nothing(purchase: Purchase) -> Self {
        Self { before: purchase.lot.standing, purchase, balances: Vec::new(), news: Vec::new() }
    }
}

/// Something people are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Credits were taken back, or given back when negative.
    Taken(MicroCredits),
    /// A dispute was opened; so much is frozen.
    Disputed(MicroCredits),
    /// No dispute is open any more.
    Decided,
    /// The wallet was frozen because of a warning.
    Warned,
}

/// Moves the credits of a purchase to where the facts say they should be. Does nothing when they are there.
///
/// # Errors
/// A [`DbError`].
pub async fn settle(
    tx: &mut Tx<'_>,
    id: PurchaseId,
    [take, freeze]: [TransferId; 2],
    now: Timestamp,
) -> Result<Settled, PurchaseError> {
    let purchase = super::store::purchase(tx, id).await?.ok_or(PurchaseError::NotFound)?;
    let mut done = Settled::nothing(purchase);
    if done.purchase.state != State::Granted {
        return Ok(done);
    }
    let purchase = done.purchase.clone();
    let facts = store::facts(tx, id).await?;
    let standing = Standing::of(&facts, purchase.amount);
    let credits = purchase.credits.micros().map_err(|error| DbError::Other(error.to_string()))?;
    let wallet = purchase.wallet;
    let wanted = standing.taken(credits, purchase.amount);
    let change = wanted.get() - purchase.lot.taken.get();

    let commands = movements(&purchase, change, take);
    let warned = store::new_warnings(tx, id, now).await?;
    let left = MicroCredits::new(credits.get() - wanted.get());
    let disputed = share(credits, standing.disputed.get(), purchase.amount).get().min(left.get());
    if commands.is_empty() && disputed == 0 && !warned && standing == purchase.lot.standing {
        return Ok(done);
    }
    submit(tx, &commands, now, &mut done.balances).await?;
    let frozen = if disputed > 0 {
        freeze_lot(tx, &purchase, (MicroCredits::new(disputed), left), freeze, now, &mut done.balances)
            .await?
    } else {
        MicroCredits::ZERO
    };
    if warned {
        submit(tx, &[Command::Freeze { account: wallet, frozen: true }], now, &mut done.balances).await?;
        done.news.push(News::Warned);
    }
    if change != 0 {
        done.news.push(News::Taken(MicroCredits::new(change)));
    }
    match (purchase.lot.standing.disputed.get(), standing.disputed.get()) {
        (0, 1..) => done.news.push(News::Disputed(frozen)),
        (1.., 0) => done.news.push(News::Decided),
        _ => {}
    }
    let lot = super::Lot {
        taken: wanted,
        frozen,
        freeze: if frozen.is_positive() { freeze.get() } else { 0 },
        standing,
    };
    store::set_lot(tx, id, &lot).await?;
    done.purchase.lot = lot;
    Ok(done)
}

/// First everything is let go, then taken or given back. What is left of the lot is frozen again afterwards.
fn movements(purchase: &Purchase, change: i64, id: TransferId) -> Vec<Command> {
    let mut commands = Vec::new();
    if purchase.lot.freeze != 0 {
        commands.push(Command::Release { hold: TransferId::from_i64(purchase.lot.freeze) });
    }
    let (wallet, note) = (purchase.wallet, Some(purchase.package_name.clone()));
    match change {
        1.. => commands.push(Command::TakeBack {
            id,
            from: wallet,
            to: system::sales(),
            amount: MicroCredits::new(change),
            note,
        }),
        ..0 => commands.push(Command::Transfer {
            id,
            kind: TransferKind::GivenBack,
            from: system::sales(),
            to: wallet,
            amount: MicroCredits::new(-change),
            note,
        }),
        0 => {}
    }
    commands
}

/// Freezes what is left of a lot: of the disputed part what has not been spent and is not reserved. Lots are spent oldest first,
/// so what came later is all there before anything of this lot is.
async fn freeze_lot(
    tx: &mut Tx<'_>,
    purchase: &Purchase,
    (disputed, left): (MicroCredits, MicroCredits),
    freeze: TransferId,
    now: Timestamp,
    balances: &mut Vec<ledger::Balance>,
) -> Result<MicroCredits, DbError> {
    let wallet = purchase.wallet;
    let balance = ledger::balance(tx, wallet).await?;
    let later = store::came_later(tx, purchase).await?;
    let unspent = (balance.posted.get() - later).clamp(0, left.get());
    let amount = unspent.min(disputed.get()).min(balance.available().get());
    // Whoever owes has nothing that could be frozen.
    if amount <= 0 || balance.debt.is_positive() {
        return Ok(MicroCredits::ZERO);
    }
    let amount = MicroCredits::new(amount);
    let hold = Command::Hold { id: freeze, account: wallet, amount, cap: None, expires_at: NEVER };
    // Nothing can be reserved in a wallet the operator has frozen: it is thawed for the moment.
    let commands = if balance.frozen {
        vec![
            Command::Freeze { account: wallet, frozen: false },
            hold,
            Command::Freeze { account: wallet, frozen: true },
        ]
    } else {
        vec![hold]
    };
    submit(tx, &commands, now, balances).await?;
    Ok(amount)
}

async fn submit(
    tx: &mut Tx<'_>,
    commands: &[Command],
    now: Timestamp,
    balances: &mut Vec<ledger::Balance>,
) -> Result<(), DbError> {
    let submitted = ledger::submit(tx, commands, now).await?;
    for (outcome, command) in submitted.outcomes.into_iter().zip(commands) {
        let outcome: Outcome = outcome;
        outcome.map_err(|refusal| DbError::Other(format!("the ledger refused {command:?}: {refusal}")))?;
    }
    balances.extend(submitted.balances);
    Ok(())
}

/// Tells the pages of the one who bought.
pub fn tell(app: &App, settled: &Settled) {
    app.live.balances(&settled.balances);
    for news in &settled.news {
        let what = match news {
            News::Taken(_) => "taken",
            News::Disputed(_) => "disputed",
            News::Decided => "decided",
            News::Warned => "warned",
        };
        metrics::counter!("archipelago_reversals_total", "what" => what).increment(1);
        tracing::warn!(purchase = %settled.purchase.id, ?news, "purchase {}: {what}", settled.purchase.id);
    }
    if !settled.news.is_empty() {
        app.mail.wake();
        let (id, user) = (settled.purchase.id, settled.purchase.user);
        app.live.tell(user, &Happening::Purchase { id, state: settled.purchase.standing_name() });
    }
}

/// Brings the frozen part of disputed lots up to date: credits that were reserved for jobs when the dispute was opened are
/// frozen as they come back.
///
/// # Errors
/// A [`DbError`].
pub async fn refreeze_once(app: &App) -> Result<(), DbError> {
    let disputed = app.db.read("disputed", async |tx| store::disputed(tx).await).await?;
    for id in disputed {
        let now = app.clock.now();
        let ids = [app.ids.next(now), app.ids.next(now)];
        let settled = app.db.tx("refreeze", async move |tx| settle_if_loose(tx, id, ids, now).await).await;
        match settled {
            Ok(Some(settled)) => tell(app, &settled),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, purchase = %id, "a disputed lot could not be frozen"),
        }
    }
    Ok(())
}

async fn settle_if_loose(
    tx: &mut Tx<'_>,
    id: PurchaseId,
    ids: [TransferId; 2],
    now: Timestamp,
) -> Result<Option<Settled>, PurchaseError> {
    let purchase = super::store::purchase(tx, id).await?.ok_or(PurchaseError::NotFound)?;
    let credits = purchase.credits.micros().map_err(|error| DbError::Other(error.to_string()))?;
    let disputed = share(credits, purchase.lot.standing.disputed.get(), purchase.amount);
    let available = ledger::balance(tx, purchase.wallet).await?.available();
    if purchase.lot.frozen >= disputed || !available.is_positive() {
        return Ok(None);
    }
    settle(tx, id, ids, now).await.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(kind: FactKind, cents: i64, stage: Stage) -> Fact {
        Fact { id: String::new(), kind, amount: Cents::new(cents), stage }
    }

    #[test]
    fn the_same_money_goes_back_once() {
        use FactKind::{Dispute, Refund};
        let of = |facts: &[Fact]| {
            let Standing { refunded, lost, disputed } = Standing::of(facts, Cents::new(1000));
            (refunded.get(), lost.get(), disputed.get())
        };
        assert_eq!(of(&[]), (0, 0, 0));
        assert_eq!(of(&[fact(Refund, 300, Stage::Open), fact(Refund, 200, Stage::Reversed)]), (500, 0, 0));
        assert_eq!(of(&[fact(Refund, 300, Stage::Void)]), (0, 0, 0));
        assert_eq!(
            of(&[fact(Refund, 300, Stage::Reversed), fact(Dispute, 1000, Stage::Reversed)]),
            (300, 700, 0)
        );
        assert_eq!(
            of(&[fact(Dispute, 1000, Stage::Open), fact(Refund, 1000, Stage::Reversed)]),
            (1000, 0, 0)
        );
        assert_eq!(of(&[fact(Dispute, 400, Stage::Open), fact(Dispute, 400, Stage::Void)]), (0, 0, 400));
    }

    #[test]
    fn a_share_is_exact_at_both_ends_and_never_too_much() {
        // A package with bonus credits: 1,100 for $9.99.
        let (credits, price) = (MicroCredits::new(1_100_000_000), Cents::new(999));
        assert_eq!(share(credits, 999, price), credits);
        assert_eq!(share(credits, 0, price), MicroCredits::ZERO);
        let mut before = 0;
        for cents in 1..=999 {
            let now = share(credits, cents, price).get();
            assert!(now > before && now <= credits.get());
            before = now;
        }
    }
}
