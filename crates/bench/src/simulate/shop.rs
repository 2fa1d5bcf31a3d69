//! The payment provider: outside of every process, so it forgets nothing when one is killed. Each question to it waits for its
//! answer until the simulation delivers one, which may be late, an error, or never.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use server::mail::BoxFuture;
use server::providers::ProviderError;
use server::purchases::provider::{
    Charged, Checkout, CheckoutRequest, CheckoutState, Fact, Payment, PaymentProvider, PaymentState, Recent,
    RefundRequest, SavedCharge,
};
use tokio::sync::{Notify, oneshot};
use types::money::Cents;
use types::time::Timestamp;

/// The provider.
#[derive(Debug, Default)]
pub struct Shop {
    state: Mutex<State>,
    /// Told when somebody asks something.
    pub asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<String, Session>,
    questions: VecDeque<Question>,
}

/// A checkout, as the provider remembers it.
#[derive(Clone, Debug)]
pub struct Session {
    pub amount: Cents,
    pub currency: String,
    pub payment: Payment,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub enum Question {
    /// To open a checkout.
    Open(Box<CheckoutRequest>, oneshot::Sender<Result<Checkout, ProviderError>>),
    /// How far one is.
    Read(String, oneshot::Sender<Result<CheckoutState, ProviderError>>),
}

impl Shop {
    /// The question that was asked last.
    pub fn question(&self) -> Option<Question> {
        self.lock().questions.pop_front()
    }

    /// Opens a checkout; asked again for the same purchase, it is the same one.
    pub fn open_session(&self, request: &CheckoutRequest) -> Checkout {
        let session = format!("cs_{}", request.purchase);
        self.lock().sessions.entry(session.clone()).or_insert_with(|| Session {
            amount: request.amount,
            currency: request.currency.clone(),
            payment: Payment::Open,
        });
        Checkout { url: format!("https://shop.invalid/{session}"), session, customer: None }
    }

    /// How far a checkout is.
    pub fn state_of(&self, session: &str) -> Option<CheckoutState> {
        let state = self.lock();
        let known = state.sessions.get(session)?;
        Some(CheckoutState {
            payment: known.payment,
            amount: known.amount,
            currency: known.currency.clone(),
            payment_ref: (known.payment == Payment::Paid).then(|| format!("pay_{session}")),
            charge_ref: None,
            purchase: None,
        })
    }

    /// Somebody pays, or does not; `wrong` takes one cent less than was asked.
    pub fn move_to(&self, session: &str, payment: Payment, wrong: bool) {
        if let Some(known) = self.lock().sessions.get_mut(session) {
            known.payment = payment;
            if wrong {
                known.amount = Cents::new(known.amount.get() - 1);
            }
        }
    }

    /// All checkouts there are.
    pub fn sessions(&self) -> Vec<(String, Session)> {
        self.lock().sessions.iter().map(|(name, session)| (name.clone(), session.clone())).collect()
    }

    fn ask(&self, question: Question) {
        self.lock().questions.push_back(question);
        self.asked.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PaymentProvider for Shop {
    fn name(&self) -> &'static str {
        "shop"
    }

    fn open<'a>(&'a self, request: &'a CheckoutRequest) -> BoxFuture<'a, Result<Checkout, ProviderError>> {
        let (sender, answer) = oneshot::channel();
        self.ask(Question::Open(Box::new(request.clone()), sender));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(unreachable())) })
    }

    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>> {
        let (sender, answer) = oneshot::channel();
        self.ask(Question::Read(session.to_owned(), sender));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(unreachable())) })
    }

    // What becomes of payments afterwards is not simulated.

    fn payment<'a>(&'a self, payment: &'a str) -> BoxFuture<'a, Result<PaymentState, ProviderError>> {
        Box::pin(async move { Err(ProviderError::NotFound(payment.to_owned())) })
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> BoxFuture<'a, Result<Fact, ProviderError>> {
        Box::pin(async move { Err(ProviderError::NotFound(request.payment.clone())) })
    }

    fn portal<'a>(
        &'a self,
        _customer: &'a str,
        _return_url: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        Box::pin(async { Ok(None) })
    }

    fn read_charge<'a>(&'a self, payment: &'a str) -> BoxFuture<'a, Result<CheckoutState, ProviderError>> {
        Box::pin(async move { Err(ProviderError::NotFound(payment.to_owned())) })
    }

    fn saved_method<'a>(
        &'a self,
        _customer: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        Box::pin(async { Ok(None) })
    }

    fn charge_saved<'a>(
        &'a self,
        _request: &'a SavedCharge,
    ) -> BoxFuture<'a, Result<Charged, ProviderError>> {
        Box::pin(async { Err(ProviderError::NotFound("a saved card".to_owned())) })
    }

    fn recent(&self, _since: Timestamp) -> BoxFuture<'_, Result<Recent, ProviderError>> {
        Box::pin(async { Ok(Recent::default()) })
    }
}

/// What a question that is not answered is answered with.
pub fn unreachable() -> ProviderError {
    ProviderError::Unavailable("no answer".to_owned())
}
