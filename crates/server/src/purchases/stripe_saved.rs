//! Charges through Stripe that nobody is there for: of a card the customer has saved.
//!
//! A purchase has one payment intent, whatever becomes of it: a try after a decline confirms the same one again, and one whose
//! answer was lost is looked for before it is asked for again. An intent succeeds once, so a purchase is paid once.

use types::money::Cents;

use super::provider::{Charged, CheckoutState, Payment, SavedCharge};
use super::stripe::StripePayments;
use crate::providers::ProviderError;
use crate::providers::stripe::objects::{Customer, Intent, List, Named};
use crate::providers::stripe::{Form, segment};

/// What Stripe says when the owner of a card has to be there.
pub const AUTHENTICATION: &str = "authentication_required";

impl StripePayments {
    /// The card a customer chose, or the one they saved last.
    pub(super) async fn method_of(&self, customer: &str) -> Result<Option<String>, ProviderError> {
        let path = format!("/v1/customers/{}", segment(customer)?);
        let found = match self.stripe.get::<Customer>(&path, Vec::new()).await {
            Err(ProviderError::NotFound(_)) => return Ok(None),
            found => found?,
        };
        if let Some(chosen) = found.invoice_settings.and_then(|settings| settings.default_payment_method) {
            return Ok(Some(chosen.id().to_owned()));
        }
        let newest: Form<'_> = vec![("type", "card".to_owned()), ("limit", "1".to_owned())];
        match self.stripe.get::<List<Named>>(&format!("{path}/payment_methods"), newest).await {
            Err(ProviderError::NotFound(_)) => Ok(None),
            methods => Ok(methods?.data.into_iter().next().map(|method| method.id)),
        }
    }

    /// Charges a saved card.
    pub(super) async fn charge(&self, request: &SavedCharge) -> Result<Charged, ProviderError> {
        if let Some(payment) = &request.payment {
            let intent = self.intent(payment).await?;
            if !matches!(intent.status.as_str(), "requires_payment_method" | "requires_confirmation") {
                return outcome(intent);
            }
            let form = vec![("payment_method", request.method.clone()), ("off_session", "true".to_owned())];
            let path = format!("/v1/payment_intents/{}/confirm", segment(payment)?);
            return outcome(self.stripe.post(&path, form, &request.key).await?);
        }
        if request.again
            && let Some(intent) = self.intent_of(request).await?
        {
            return outcome(intent);
        }
        let form = vec![
            ("amount", request.amount.get().to_string()),
            ("currency", request.currency.clone()),
            ("customer", request.customer.clone()),
            ("payment_method", request.method.clone()),
            ("off_session", "true".to_owned()),
            ("confirm", "true".to_owned()),
            ("description", request.description.clone()),
            ("metadata[purchase]", request.purchase.clone()),
            ("metadata[user]", request.buyer.user.clone()),
        ];
        outcome(self.stripe.post("/v1/payment_intents", form, &request.key).await?)
    }

    /// The intent of a purchase, if there is one. Keys are forgotten after a day; what is on it is not.
    async fn intent_of(&self, request: &SavedCharge) -> Result<Option<Intent>, ProviderError> {
        let of: Form<'_> = vec![("customer", request.customer.clone())];
        let intents: Vec<Intent> = self.stripe.list("/v1/payment_intents", &of).await?;
        Ok(intents.into_iter().find(|intent| intent.metadata.get("purchase") == Some(&request.purchase)))
    }
}

/// What an intent says of the last try.
fn outcome(intent: Intent) -> Result<Charged, ProviderError> {
    let reason = match intent.status.as_str() {
        "succeeded" | "processing" => {
            let charge = intent.latest_charge.as_ref().map(|charge| charge.id().to_owned());
            return Ok(Charged { payment: intent.id, charge });
        }
        "requires_action" => Some(AUTHENTICATION.to_owned()),
        "canceled" => Some("canceled".to_owned()),
        "requires_payment_method" => None,
        other => return Err(ProviderError::Strange(format!("a payment that is {other}"))),
    };
    let error = intent.last_payment_error.unwrap_or_default();
    Err(ProviderError::Declined {
        reason: reason.or(error.decline_code).or(error.code).unwrap_or_else(|| "declined".to_owned()),
        message: error.message.unwrap_or_else(|| "The card was not charged.".to_owned()),
        payment: Some(intent.id),
    })
}

/// How far an intent is, for whoever grants.
pub(super) fn state_of(intent: Intent) -> CheckoutState {
    let payment = match intent.status.as_str() {
        "succeeded" => Payment::Paid,
        "processing" => Payment::Pending,
        "canceled" => Payment::Expired,
        "requires_payment_method" if intent.last_payment_error.is_some() => Payment::Failed,
        _ => Payment::Open,
    };
    CheckoutState {
        payment,
        amount: Cents::new(intent.amount),
        currency: intent.currency.unwrap_or_default(),
        charge_ref: intent.latest_charge.map(|charge| charge.id().to_owned()),
        purchase: intent.metadata.get("purchase").cloned(),
        payment_ref: Some(intent.id),
    }
}
