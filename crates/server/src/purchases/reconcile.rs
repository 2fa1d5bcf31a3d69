//! Comparing what the provider knows with what we know, to the cent, and healing what a lost message left.

use std::collections::BTreeMap;

use db::DbError;
use serde::Serialize;
use types::id::PurchaseId;
use types::money::Cents;
use types::time::{DAY_MS, Timestamp};

use super::provider::{Fact, Payment};
use super::reversals::{self, Standing};
use super::{Purchase, PurchaseError, State, store};
use crate::app::App;
use crate::providers::ProviderError;

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Our purchase, if there is one.
    pub purchase: Option<String>,
    /// What the provider calls it.
    pub subject: String,
    /// What differs, in a sentence.
    pub what: String,
    /// By how much the books are wrong, in cents: positive when we owe credits, negative when we gave too many.
    pub cents: i64,
    /// Whether it was put right.
    pub healed: bool,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Checkouts compared.
    pub checkouts: usize,
    /// Payments compared.
    pub payments: usize,
    /// What the payments compared are worth at the provider, in cents, after refunds and lost disputes.
    pub received_cents: i64,
    /// The same by our books.
    pub granted_cents: i64,
    /// Where they differ.
    pub differences: Vec<Difference>,
}

/// Compares everything since a time. With `apply`, puts right what can be.
///
/// # Errors
/// A [`PurchaseError`] when the provider or the database cannot be asked.
pub async fn run(app: &App, since: Timestamp, apply: bool) -> Result<Report, PurchaseError> {
    let recent = app.payments.recent(since).await?;
    let mut report = Report { checkouts: recent.checkouts.len(), ..Report::default() };
    for checkout in recent.checkouts.iter().filter(|checkout| checkout.ended) {
        compare_checkout(app, &checkout.session, checkout.purchase.as_deref(), apply, &mut report).await?;
    }
    let provider = app.payments.name();
    let ours = app
        .db
        .read("granted_since", async move |tx| store::payments_since(tx, provider, since).await)
        .await?;
    let mut payments: BTreeMap<String, Option<(Cents, bool)>> =
        recent.payments.into_iter().map(|recent| (recent.payment, recent.glance)).collect();
    // What we count and the provider did not name is looked up.
    for payment in ours {
        payments.entry(payment).or_insert(None);
    }
    report.payments = payments.len();
    for (payment, glance) in payments {
        if !agrees(app, &payment, glance, &mut report).await? {
            compare_payment(app, &payment, apply, &mut report).await?;
        }
    }
    Ok(report)
}

/// A checkout that is paid and not granted, or not ours although it says so.
async fn compare_checkout(
    app: &App,
    session: &str,
    noted: Option<&str>,
    apply: bool,
    report: &mut Report,
) -> Result<(), PurchaseError> {
    let Some(id) = noted.and_then(|text| text.parse::<PurchaseId>().ok()) else { return Ok(()) };
    let found = app.db.read("purchase", async move |tx| store::purchase(tx, id).await).await?;
    let Some(purchase) = found else { return Ok(()) };
    if purchase.state == State::Granted {
        return Ok(());
    }
    let checkout = app.payments.read(session).await?;
    let differs = match checkout.payment {
        Payment::Paid => Some(("was paid and not granted", purchase.amount.get())),
        Payment::Failed if purchase.state == State::Pending => {
            Some(("failed, and still counts as pending", 0))
        }
        Payment::Expired if purchase.state == State::Created => {
            Some(("has expired, and still counts as open", 0))
        }
        _ => None,
    };
    let Some((what, cents)) = differs else { return Ok(()) };
    let healed =
        apply && super::attach(app, id, session).await? && super::fulfil(app, id, None).await.is_ok();
    report.differences.push(Difference {
        purchase: Some(id.to_string()),
        subject: session.to_owned(),
        what: format!("the checkout {what}"),
        cents,
        healed,
    });
    Ok(())
}

/// Whether a payment is in our books as the provider's list has it, so that nothing need be looked up.
async fn agrees(
    app: &App,
    payment: &str,
    glance: Option<(Cents, bool)>,
    report: &mut Report,
) -> Result<bool, PurchaseError> {
    let Some((refunded, disputed)) = glance else { return Ok(false) };
    let Some(purchase) = purchase_of(app, vec![payment.to_owned()]).await? else { return Ok(false) };
    let standing = purchase.lot.standing;
    let known = standing.disputed.get() + standing.lost.get() > 0;
    // A dispute that was won stays on the charge.
    if purchase.state != State::Granted || standing.refunded != refunded || disputed != known {
        return Ok(false);
    }
    report.received_cents += our_worth(&purchase);
    report.granted_cents += our_worth(&purchase);
    Ok(true)
}

/// The purchase a payment is of, by any of its names.
async fn purchase_of(app: &App, names: Vec<String>) -> Result<Option<Purchase>, DbError> {
    app.db
        .read("purchase_by_payment", async move |tx| {
            for name in &names {
                if let Some(id) = reversals::store::by_payment(tx, name).await? {
                    return store::purchase(tx, id).await;
                }
            }
            Ok::<_, DbError>(None)
        })
        .await
}

/// A payment whose refunds and disputes we do not know, or whose credits are not where they should be.
async fn compare_payment(
    app: &App,
    payment: &str,
    apply: bool,
    report: &mut Report,
) -> Result<(), PurchaseError> {
    let state = match app.payments.payment(payment).await {
        Ok(state) => state,
        Err(ProviderError::NotFound(_)) => {
            report.differences.push(unknown(payment, "the provider does not know this payment"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let names = [Some(payment.to_owned()), state.payment_ref.clone(), state.charge_ref.clone()];
    let noted: Option<PurchaseId> = state.purchase.as_deref().and_then(|text| text.parse().ok());
    let mut found = purchase_of(app, names.into_iter().flatten().collect()).await?;
    if let (None, Some(noted)) = (&found, noted) {
        // Of a saved card, and all messages of it were lost. Checkouts are compared by themselves.
        let named = app.db.read("purchase", async move |tx| store::purchase(tx, noted).await).await?;
        found = named.filter(|purchase| purchase.session.is_none());
    }
    let Some(purchase) = found else {
        // Money of another program on the same account has no note of ours.
        if state.purchase.is_some() {
            report.differences.push(unknown(payment, "a payment of ours has no purchase"));
        }
        return Ok(());
    };
    let (theirs, ours) = (worth(&state.facts, &purchase), our_worth(&purchase));
    report.received_cents += theirs;
    report.granted_cents += ours;
    let wanted = Standing::of(&state.facts, purchase.amount);
    if theirs == ours && wanted == purchase.lot.standing {
        return Ok(());
    }
    let healed = apply
        && reversals::sync(app, payment, None)
            .await?
            .is_some_and(|now| now.lot.standing == wanted && our_worth(&now) == theirs);
    if healed {
        report.granted_cents += theirs - ours;
    }
    report.differences.push(Difference {
        purchase: Some(purchase.id.to_string()),
        subject: payment.to_owned(),
        what: format!(
            "refunded {}, lost {}, disputed {} at the provider; {}, {}, {} by our books",
            wanted.refunded,
            wanted.lost,
            wanted.disputed,
            purchase.lot.standing.refunded,
            purchase.lot.standing.lost,
            purchase.lot.standing.disputed
        ),
        cents: theirs - ours,
        healed,
    });
    Ok(())
}

fn unknown(payment: &str, what: &str) -> Difference {
    Difference { purchase: None, subject: payment.to_owned(), what: what.to_owned(), cents: 0, healed: false }
}

/// What is left of a payment at the provider, in cents.
fn worth(facts: &[Fact], purchase: &Purchase) -> i64 {
    let standing = Standing::of(facts, purchase.amount);
    purchase.amount.get() - standing.refunded.get() - standing.lost.get()
}

/// What is left of it by our books.
fn our_worth(purchase: &Purchase) -> i64 {
    if purchase.state != State::Granted {
        return 0;
    }
    purchase.amount.get() - purchase.lot.standing.refunded.get() - purchase.lot.standing.lost.get()
}

/// Compares the last day and puts right what differs; what is late is told to the operator.
///
/// # Errors
/// A [`PurchaseError`].
pub async fn once(app: &App) -> Result<(), PurchaseError> {
    let now = app.clock.now();
    let report = run(app, now.plus_millis(-DAY_MS), true).await?;
    let open = report.differences.iter().filter(|difference| !difference.healed).count();
    metrics::gauge!("archipelago_reconcile_open_differences").set(u32::try_from(open).unwrap_or(u32::MAX));
    for difference in &report.differences {
        tracing::warn!(?difference, "the provider's books and ours differ: {}", difference.what);
    }
    Ok(())
}
