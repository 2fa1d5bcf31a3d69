//! Receipts: a document for each purchase, as PDF, in the history and by mail.
//!
//! Guarantees: each purchase that was granted has one receipt; numbers count from 1 without a gap and none is given twice,
//! because the number is taken from a counter in the transaction that grants; what a receipt says is frozen when it is
//! issued, seller and tax included; the same receipt is always the same bytes. A purchase that was granted before there
//! were receipts gets its own when it is first asked for.

pub mod pdf;
pub mod seller;
pub(crate) mod store;
mod winansi;

use db::{DbError, Tx};
use serde_json::{Value, json};
use types::id::{MailId, PurchaseId, UserId};
use types::money::{Cents, Credits};
use types::time::Timestamp;

use crate::app::App;
use crate::mail::letters::{self, Line};
use crate::mail::outbox;
use crate::purchases::{self, Purchase, PurchaseError, State};
use seller::{Seller, included_tax};

/// The provider that moves no money.
const SANDBOX: &str = "sandbox";

/// Who bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Their address then.
    pub email: String,
    /// Their name then; may be empty.
    pub name: String,
}

/// A receipt to be issued.
#[derive(Clone, Debug)]
pub struct NewReceipt {
    /// For what.
    pub purchase: PurchaseId,
    /// By whom.
    pub seller: Seller,
    /// To whom.
    pub buyer: Party,
    /// What was bought.
    pub description: String,
    /// How many credits.
    pub credits: Credits,
    /// For how much, tax included.
    pub amount: Cents,
    /// In what, such as `usd`.
    pub currency: String,
    /// Who took the money.
    pub provider: String,
    /// The provider's name for the payment.
    pub payment_ref: Option<String>,
}

/// A receipt as it was issued.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Which one: 1, 2, 3, …
    pub number: i64,
    /// For what.
    pub purchase: PurchaseId,
    /// When.
    pub issued_at: Timestamp,
    /// By whom, as configured then.
    pub seller: Seller,
    /// To whom.
    pub buyer: Party,
    /// What was bought.
    pub description: String,
    /// How many credits.
    pub credits: Credits,
    /// For how much, tax included.
    pub amount: Cents,
    /// In what.
    pub currency: String,
    /// The tax that is included, in hundredths of a percent.
    pub tax_basis_points: i64,
    /// The same in money.
    pub tax: Cents,
    /// Who took the money.
    pub provider: String,
    /// The provider's name for the payment.
    pub payment_ref: Option<String>,
}

impl Receipt {
    /// The number as printed: `R-1042`.
    #[must_use]
    pub fn printed_number(&self) -> String {
        format!("{}{}", self.seller.receipt_prefix, self.number)
    }

    /// `includes 19% VAT: $0.80`; nothing without tax.
    #[must_use]
    pub fn tax_line(&self) -> Option<String> {
        let points = self.tax_basis_points;
        let percent = match points % 100 {
            0 => (points / 100).to_string(),
            rest => format!("{}.{rest:02}", points / 100).trim_end_matches('0').to_owned(),
        };
        (points > 0).then(|| format!("includes {percent}% {}: {}", self.seller.tax_label, self.tax))
    }

    /// Whether no real money moved.
    #[must_use]
    pub fn test_mode(&self) -> bool {
        self.provider == SANDBOX
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let number = self.printed_number();
        let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        format!("receipt-{}.pdf", number.chars().map(safe).collect::<String>())
    }

    /// For programs.
    #[must_use]
    pub fn json(&self, refunded: Cents) -> Value {
        let seller = &self.seller;
        json!({
            "number": self.printed_number(), "purchase": self.purchase, "issued_at": self.issued_at,
            "seller": {"name": seller.name, "address": seller.address, "email": seller.email,
                       "vat_id": seller.vat_id},
            "buyer": {"email": self.buyer.email, "name": self.buyer.name},
            "description": self.description, "credits": self.credits.get(),
            "amount_cents": self.amount.get(), "currency": self.currency,
            "tax": (self.tax_basis_points > 0).then(|| json!({
                "label": seller.tax_label, "basis_points": self.tax_basis_points,
                "included_cents": self.tax.get()})),
            "refunded_cents": refunded.get(), "payment_ref": self.payment_ref,
            "test_mode": self.test_mode(),
        })
    }
}

/// Issues a receipt under the next number; a purchase that has one keeps it.
///
/// # Errors
/// A [`DbError`]; the transaction must then not be kept, or a number is lost.
pub async fn issue(tx: &mut Tx<'_>, new: NewReceipt, now: Timestamp) -> Result<Receipt, DbError> {
    if let Some(issued) = store::by_purchase(tx, new.purchase).await? {
        return Ok(issued);
    }
    let tax_basis_points =
        new.seller.tax_basis_points().map_err(|error| DbError::Other(error.to_string()))?;
    let receipt = Receipt {
        number: store::next_number(tx).await?,
        purchase: new.purchase,
        issued_at: now,
        tax: included_tax(new.amount, tax_basis_points),
        tax_basis_points,
        seller: new.seller,
        buyer: new.buyer,
        description: new.description,
        credits: new.credits,
        amount: new.amount,
        currency: new.currency,
        provider: new.provider,
        payment_ref: new.payment_ref,
    };
    store::insert(tx, &receipt).await?;
    Ok(receipt)
}

/// What is written down when a purchase changes: made before its transaction, used in it.
#[derive(Clone, Debug)]
pub struct Paperwork {
    seller: Seller,
    site: String,
    mail: MailId,
}

impl Paperwork {
    /// With a fresh id for the letter.
    #[must_use]
    pub fn new(app: &App, now: Timestamp) -> Self {
        Self { seller: app.config.seller.clone(), site: app.config.public_url(), mail: app.ids.next(now) }
    }

    /// Issues the receipt of a purchase that was granted and queues it as a letter; tells of a payment that did not
    /// arrive. To be called in the transaction that changes the purchase, after the change.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn follow(&self, tx: &mut Tx<'_>, purchase: &Purchase, now: Timestamp) -> Result<(), DbError> {
        match purchase.state {
            State::Granted => {
                let receipt = self.issue(tx, purchase, now).await?;
                let key = format!("receipt:{}", purchase.id);
                outbox::queue(tx, self.mail, &self.letter(&receipt), &receipt.buyer.email, &key, now).await
            }
            State::Failed => {
                let (buyer, _) = store::buyer(tx, purchase.id).await?;
                let letter = letters::PaymentFailed {
                    site: self.site.clone(),
                    package: Line::from(purchase.package_name.as_str()),
                    amount: purchase.amount,
                };
                let key = format!("payment_failed:{}", purchase.id);
                outbox::queue(tx, self.mail, &letter, &buyer.email, &key, now).await
            }
            State::Created | State::Pending | State::Expired => Ok(()),
        }
    }

    async fn issue(&self, tx: &mut Tx<'_>, purchase: &Purchase, now: Timestamp) -> Result<Receipt, DbError> {
        let (buyer, payment_ref) = store::buyer(tx, purchase.id).await?;
        let new = NewReceipt {
            purchase: purchase.id,
            seller: self.seller.clone(),
            buyer,
            description: format!("{}: {} credits", purchase.package_name, purchase.credits),
            credits: purchase.credits,
            amount: purchase.amount,
            currency: purchase.currency.clone(),
            provider: purchase.provider.clone(),
            payment_ref,
        };
        issue(tx, new, now).await
    }

    fn letter(&self, receipt: &Receipt) -> letters::Receipt {
        letters::Receipt {
            site: self.site.clone(),
            number: Line::from(receipt.printed_number()),
            date: receipt.issued_at.date(),
            description: Line::from(receipt.description.as_str()),
            credits: receipt.credits,
            amount: receipt.amount,
            tax: receipt.tax_line().map(Line::from),
            test_mode: receipt.test_mode(),
            pdf: pdf::render(receipt, Cents::default()),
        }
    }
}

/// The receipt of a purchase of this user, and how much of it was refunded since. One that was granted before there were receipts gets its own now.
///
/// # Errors
/// [`PurchaseError::NotFound`] when the purchase is not there, another's, or not granted.
pub async fn find(app: &App, user: UserId, id: PurchaseId) -> Result<(Receipt, Cents), PurchaseError> {
    let purchase = purchases::find(app, user, id).await?;
    if purchase.state != State::Granted {
        return Err(PurchaseError::NotFound);
    }
    let issued = app.db.read("receipt", async move |tx| store::by_purchase(tx, id).await).await?;
    let refunded = purchase.lot.standing.refunded;
    if let Some(receipt) = issued {
        return Ok((receipt, refunded));
    }
    let now = app.clock.now();
    let paperwork = Paperwork::new(app, now);
    let issued = async move |tx: &mut Tx<'_>| paperwork.issue(tx, &purchase, now).await;
    Ok((app.db.tx("issue_receipt", issued).await?, refunded))
}
