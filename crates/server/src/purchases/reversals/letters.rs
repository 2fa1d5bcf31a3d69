//! What a buyer is written when something becomes of a payment. Each letter is queued in the transaction of what it tells of.

use std::sync::Arc;

use db::{DbError, Tx};
use types::id::MailId;
use types::money::{Cents, MicroCredits};
use types::time::Timestamp;

use super::{News, Settled};
use crate::app::App;
use crate::hooks::Hooks;
use crate::hooks::events::{DisputeData, Event, Kind};
use crate::mail::letters::{self, DisputeOutcome, Letter, Line};
use crate::mail::outbox;
use crate::receipts;

/// What is needed to write: made before the transaction, used in it.
#[derive(Clone, Debug)]
pub struct Desk {
    site: String,
    contact: String,
    /// Ids for as many letters as one change can cause.
    ids: [MailId; 4],
    hooks: Arc<Hooks>,
}

impl Desk {
    /// With fresh ids.
    #[must_use]
    pub fn new(app: &App, now: Timestamp) -> Self {
        let ids = [app.ids.next(now), app.ids.next(now), app.ids.next(now), app.ids.next(now)];
        let contact = app.config.seller.email.clone();
        Self { site: app.config.public_url(), contact, ids, hooks: Arc::clone(&app.hooks) }
    }

    /// Queues a letter for each thing that is new to the buyer.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn write(&self, tx: &mut Tx<'_>, settled: &Settled, now: Timestamp) -> Result<(), DbError> {
        self.tell_programs(tx, settled, now).await?;
        let letters = self.letters(tx, settled).await?;
        if letters.is_empty() {
            return Ok(());
        }
        let (buyer, _) = receipts::store::buyer(tx, settled.purchase.id).await?;
        for (letter, id) in letters.iter().zip(self.ids) {
            // The change happens once, and so does its letter.
            let key = format!("reversal:{}:{id}", settled.purchase.id);
            outbox::queue(tx, id, &**letter, &buyer.email, &key, now).await?;
        }
        Ok(())
    }

    async fn tell_programs(&self, tx: &mut Tx<'_>, settled: &Settled, now: Timestamp) -> Result<(), DbError> {
        let (purchase, before) = (&settled.purchase, settled.before);
        let after = purchase.lot.standing;
        for news in &settled.news {
            let (kind, amount) = match news {
                News::Disputed(_) => (Kind::DisputeOpened, after.disputed),
                News::Decided if after.lost > before.lost => (Kind::DisputeLost, before.disputed),
                News::Decided => (Kind::DisputeWon, before.disputed),
                News::Taken(_) | News::Warned => continue,
            };
            let data = DisputeData {
                purchase_id: purchase.id,
                amount_cents: amount.get(),
                frozen: purchase.lot.frozen,
            };
            self.hooks.tell(tx, purchase.user, Event::new(kind, &data), now).await?;
        }
        Ok(())
    }

    async fn letters(&self, tx: &mut Tx<'_>, settled: &Settled) -> Result<Vec<Box<dyn Letter>>, DbError> {
        let (purchase, before) = (&settled.purchase, settled.before);
        let (after, site) = (purchase.lot.standing, || self.site.clone());
        let package = || Line::from(purchase.package_name.as_str());
        let mut letters: Vec<Box<dyn Letter>> = Vec::new();
        for news in &settled.news {
            match *news {
                News::Taken(credits) if credits.is_positive() && after.refunded > before.refunded => {
                    let amount = Cents::new(after.refunded.get() - before.refunded.get());
                    letters.push(Box::new(letters::RefundMade {
                        site: site(),
                        package: package(),
                        amount,
                        credits,
                    }));
                }
                News::Taken(_) => {}
                News::Disputed(frozen) => letters.push(Box::new(letters::DisputeOpened {
                    site: site(),
                    package: package(),
                    amount: after.disputed,
                    frozen,
                })),
                News::Decided => {
                    let outcome = if after.lost > before.lost {
                        DisputeOutcome::MoneyReturned
                    } else {
                        DisputeOutcome::PaymentStands
                    };
                    let credits = purchase.credits.micros().unwrap_or(MicroCredits::ZERO);
                    let amount = before.disputed;
                    letters.push(Box::new(letters::DisputeDecided {
                        site: site(),
                        package: package(),
                        amount,
                        credits,
                        outcome,
                    }));
                }
                News::Warned => letters.push(Box::new(letters::AccountFrozen {
                    site: site(),
                    reason: Line::from("the bank of a card suspects that somebody else has paid with it"),
                    contact: Line::from(self.contact.as_str()),
                })),
            }
        }
        let debt = ledger::balance(tx, purchase.wallet).await?.debt;
        let taken =
            settled.news.iter().any(|news| matches!(news, News::Taken(credits) if credits.is_positive()));
        if taken && debt.is_positive() {
            letters.push(Box::new(letters::Debt { site: site(), debt }));
        }
        Ok(letters)
    }
}
