//! Payments through Stripe: Checkout for the page, the customer portal for saved cards, and everything that can become of a
//! payment afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::money::Cents;
use types::time::{Clock, Timestamp};

use super::provider::{
    Charged, Checkout, CheckoutRequest, CheckoutState, Fact, FactKind, Payment, PaymentProvider,
    PaymentState, Recent, RecentCheckout, RecentPayment, RefundRequest, SavedCharge, Stage,
};
use crate::mail::BoxFuture;
use crate::providers::ProviderError;
use crate::providers::stripe::objects::{
    Charge, Dispute, FraudWarning, HasId, Intent, Link, Named, Or, Refund, Session,
};
use crate::providers::stripe::{Form, Seconds, Stripe, segment};

/// Payments through Stripe.
#[derive(Debug)]
pub struct StripePayments {
    /// The connection.
    pub stripe: Arc<Stripe>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl PaymentProvider for StripePayments {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn open<'a>(&'a self, request: &'a CheckoutRequest) -> BoxFuture<'a, Result<Checkout, ProviderError>> {
        Box::pin(async move {
            let customer = match &request.buyer.customer {
                Some(customer) => customer.clone(),
                None => self.new_customer(request).await?,
            };
            let key = format!("checkout-{}", request.purchase);
            let form = checkout_form(request, &customer);
            let opened: Result<Session, _> = self.stripe.post("/v1/checkout/sessions", form, &key).await;
            let (session, customer) = match opened {
                // The customer was deleted at Stripe, or is of another account: the purchase goes on with a new one.
                Err(ProviderError::NotFound(_)) if request.buyer.customer.is_some() => {
                    let customer = self.new_customer(request).await?;
                    let form = checkout_form(request, &customer);
                    let key = format!("checkout-{}-{customer}", request.purchase);
                    (self.stripe.post::<Session>("/v1/checkout/sessions", form, &key).await?, customer)
                }
                opened => (opened?, customer),
            };
            let url =
                session.url.ok_or_else(|| ProviderError::Strange("a checkout without a page".to_owned()))?;
            Ok(Checkout { session: session.id, url, customer: Some(customer) })
        })
    }

    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>> {
        Box::pin(async move {
            let path = format!("/v1/checkout/sessions/{}", segment(session)?);
            let expand = vec![("expand[]", "payment_intent".to_owned())];
            let session: Session = self.stripe.get(&path, expand).await?;
            let intent = match &session.payment_intent {
                Some(Or::Id(id)) => Some(
                    self.stripe
                        .get::<Intent>(&format!("/v1/payment_intents/{}", segment(id)?), Vec::new())
                        .await?,
                ),
                Some(Or::Object(intent)) => Some((**intent).clone()),
                None => None,
            };
            Ok(CheckoutState {
                payment: how_far(&session, intent.as_ref()),
                amount: Cents::new(session.amount_total.unwrap_or_default()),
                currency: session.currency.unwrap_or_default(),
                payment_ref: intent.as_ref().map(|intent| intent.id.clone()),
                charge_ref: intent.and_then(|intent| Some(intent.latest_charge?.id().to_owned())),
                purchase: session.metadata.get("purchase").cloned().or(session.client_reference_id),
            })
        })
    }

    fn read_charge<'a>(&'a self, payment: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>> {
        Box::pin(async move { Ok(super::stripe_saved::state_of(self.intent(payment).await?)) })
    }

    fn saved_method<'a>(&'a self, customer: &'a str) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        Box::pin(async move { self.method_of(customer).await })
    }

    fn charge_saved<'a>(&'a self, request: &'a SavedCharge) -> BoxFuture<'a, Result<Charged, ProviderError>> {
        Box::pin(async move { self.charge(request).await })
    }

    fn payment<'a>(&'a self, payment: &'a str) -> BoxFuture<'a, Result<PaymentState, ProviderError>> {
        Box::pin(async move { self.read_payment(payment).await })
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> BoxFuture<'a, Result<Fact, ProviderError>> {
        Box::pin(async move {
            let form = vec![
                ("payment_intent", request.payment.clone()),
                ("amount", request.amount.get().to_string()),
                ("metadata[purchase]", request.purchase.to_string()),
            ];
            let refund: Refund = self.stripe.post("/v1/refunds", form, &request.key).await?;
            Ok(fact_of_refund(&refund))
        })
    }

    fn portal<'a>(
        &'a self,
        customer: &'a str,
        return_url: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        Box::pin(async move {
            let form = vec![("customer", customer.to_owned()), ("return_url", return_url.to_owned())];
            // Each visit is a page of its own.
            let key = format!("portal-{customer}-{}", self.clock.now().as_millis());
            let link: Link = self.stripe.post("/v1/billing_portal/sessions", form, &key).await?;
            Ok(Some(link.url))
        })
    }

    fn recent(&self, since: Timestamp) -> BoxFuture<'_, Result<Recent, ProviderError>> {
        Box::pin(async move {
            let since: Form<'_> = vec![("created[gte]", Seconds::of(since).0.to_string())];
            let sessions: Vec<Session> = self.stripe.list("/v1/checkout/sessions", &since).await?;
            let charges: Vec<Charge> = self.stripe.list("/v1/charges", &since).await?;
            let refunds: Vec<Refund> = self.stripe.list("/v1/refunds", &since).await?;
            let disputes: Vec<Dispute> = self.stripe.list("/v1/disputes", &since).await?;
            let checkouts = sessions.into_iter().map(|session| RecentCheckout {
                ended: session.status.as_deref() != Some("open"),
                purchase: session.metadata.get("purchase").cloned().or(session.client_reference_id),
                session: session.id,
            });
            // What has just changed is looked up; of all the others the charge says enough.
            let refunds = refunds.iter().filter_map(|refund| name_of(&refund.payment_intent, &refund.charge));
            let disputes =
                disputes.iter().filter_map(|dispute| name_of(&dispute.payment_intent, &dispute.charge));
            let mut payments: BTreeMap<String, Option<(Cents, bool)>> =
                refunds.chain(disputes).map(|payment| (payment, None)).collect();
            for charge in charges.iter().filter(|charge| charge.paid) {
                let glance = (Cents::new(charge.amount_refunded), charge.disputed);
                payments.entry(name_of_charge(charge)).or_insert(Some(glance));
            }
            let payments =
                payments.into_iter().map(|(payment, glance)| RecentPayment { payment, glance }).collect();
            Ok(Recent { checkouts: checkouts.collect(), payments })
        })
    }
}

impl StripePayments {
    async fn new_customer(&self, request: &CheckoutRequest) -> Result<String, ProviderError> {
        let buyer = &request.buyer;
        // Nothing that may have changed when it is asked for again: the key would be refused.
        let form = vec![("email", buyer.email.clone()), ("metadata[user]", buyer.user.clone())];
        // One customer for a user, whatever crashes; another only when the first is gone.
        let key = match &buyer.customer {
            None => format!("customer-{}", buyer.user),
            Some(gone) => format!("customer-{}-after-{gone}", buyer.user),
        };
        let customer: Named = self.stripe.post("/v1/customers", form, &key).await?;
        Ok(customer.id)
    }

    /// A key that may not read Radar, or an account without it, must not keep refunds and disputes from being seen.
    async fn warnings(&self, about: &Form<'_>) -> Result<Vec<FraudWarning>, ProviderError> {
        match self.stripe.list("/v1/radar/early_fraud_warnings", about).await {
            Err(error @ (ProviderError::Refused { .. } | ProviderError::NotFound(_))) => {
                tracing::debug!(%error, "early fraud warnings cannot be read");
                Ok(Vec::new())
            }
            answer => answer,
        }
    }

    async fn read_payment(&self, payment: &str) -> Result<PaymentState, ProviderError> {
        let (intent, charge) = if payment.starts_with("ch_") || payment.starts_with("py_") {
            let charge: Charge =
                self.stripe.get(&format!("/v1/charges/{}", segment(payment)?), Vec::new()).await?;
            let intent = match charge.payment_intent.as_ref().map(HasIdOf::name) {
                Some(id) => Some(self.intent(&id).await?),
                None => None,
            };
            (intent, Some(charge))
        } else {
            let intent = self.intent(payment).await?;
            (Some(intent), None)
        };
        let purchase = intent.as_ref().and_then(|intent| intent.metadata.get("purchase"));
        let purchase = purchase.or_else(|| charge.as_ref()?.metadata.get("purchase")).cloned();
        let latest = intent.as_ref().and_then(|intent| Some(intent.latest_charge.as_ref()?.id().to_owned()));
        let charge_ref = charge.as_ref().map(|charge| charge.id.clone()).or(latest);
        let amount = intent.as_ref().map(|intent| intent.amount).or(charge.map(|charge| charge.amount));
        let payment_ref = intent.map(|intent| intent.id);
        let about: Form<'_> = match (&payment_ref, &charge_ref) {
            (Some(intent), _) => vec![("payment_intent", intent.clone())],
            (None, Some(charge)) => vec![("charge", charge.clone())],
            (None, None) => return Err(ProviderError::NotFound(payment.to_owned())),
        };
        let refunds: Vec<Refund> = self.stripe.list("/v1/refunds", &about).await?;
        let disputes: Vec<Dispute> = self.stripe.list("/v1/disputes", &about).await?;
        let warnings = self.warnings(&about).await?;
        let mut facts: Vec<Fact> = refunds.iter().map(fact_of_refund).collect();
        facts.extend(disputes.iter().map(fact_of_dispute));
        facts.extend(warnings.into_iter().map(|warning| Fact {
            id: warning.id,
            kind: FactKind::Warning,
            amount: Cents::new(0),
            stage: Stage::Open,
        }));
        let amount = Cents::new(amount.unwrap_or_default());
        Ok(PaymentState { purchase, payment_ref, charge_ref, amount, facts })
    }

    pub(super) async fn intent(&self, id: &str) -> Result<Intent, ProviderError> {
        self.stripe.get(&format!("/v1/payment_intents/{}", segment(id)?), Vec::new()).await
    }
}

fn checkout_form(request: &CheckoutRequest, customer: &str) -> Form<'static> {
    vec![
        ("mode", "payment".to_owned()),
        ("customer", customer.to_owned()),
        ("client_reference_id", request.purchase.clone()),
        ("metadata[purchase]", request.purchase.clone()),
        ("metadata[user]", request.buyer.user.clone()),
        ("payment_intent_data[metadata][purchase]", request.purchase.clone()),
        ("payment_intent_data[description]", request.description.clone()),
        ("line_items[0][quantity]", "1".to_owned()),
        ("line_items[0][price_data][currency]", request.currency.clone()),
        ("line_items[0][price_data][unit_amount]", request.amount.get().to_string()),
        ("line_items[0][price_data][product_data][name]", request.description.clone()),
        ("success_url", request.return_url.clone()),
        ("cancel_url", request.cancel_url.clone()),
        ("expires_at", Seconds::of(request.expires_at).0.to_string()),
        ("saved_payment_method_options[payment_method_save]", "enabled".to_owned()),
    ]
}

/// A checkout that is complete is paid at once by card; other methods take days and may fail.
fn how_far(session: &Session, intent: Option<&Intent>) -> Payment {
    match (session.status.as_deref(), session.payment_status.as_str()) {
        (Some("complete"), "paid" | "no_payment_required") => Payment::Paid,
        (Some("complete"), _) => match intent.map(|intent| intent.status.as_str()) {
            Some("succeeded") => Payment::Paid,
            Some("requires_payment_method" | "canceled") => Payment::Failed,
            _ => Payment::Pending,
        },
        (Some("expired"), _) => Payment::Expired,
        _ => Payment::Open,
    }
}

fn fact_of_refund(refund: &Refund) -> Fact {
    let stage = match refund.status.as_deref() {
        Some("failed" | "canceled") => Stage::Void,
        Some("succeeded") => Stage::Reversed,
        _ => Stage::Open,
    };
    Fact { id: refund.id.clone(), kind: FactKind::Refund, amount: Cents::new(refund.amount), stage }
}

fn fact_of_dispute(dispute: &Dispute) -> Fact {
    let stage = match dispute.status.as_str() {
        "lost" => Stage::Reversed,
        "won" | "warning_closed" | "prevented" => Stage::Void,
        _ => Stage::Open,
    };
    Fact { id: dispute.id.clone(), kind: FactKind::Dispute, amount: Cents::new(dispute.amount), stage }
}

fn name_of_charge(charge: &Charge) -> String {
    charge.payment_intent.as_ref().map_or_else(|| charge.id.clone(), HasIdOf::name)
}

fn name_of(intent: &Option<Or<Intent>>, charge: &Option<Or<Charge>>) -> Option<String> {
    intent.as_ref().map(HasIdOf::name).or_else(|| charge.as_ref().map(HasIdOf::name))
}

/// The id of something that may be there in full.
trait HasIdOf {
    fn name(&self) -> String;
}

impl<T: HasId> HasIdOf for Or<T> {
    fn name(&self) -> String {
        self.id().to_owned()
    }
}
