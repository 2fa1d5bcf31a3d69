//! What people, banks and Stripe itself do.
//!
//! These methods panic when what they are asked for cannot be: an id that names nothing, a checkout that is over.

use serde_json::{Value, json};

use crate::card::Card;
use crate::http::Recorded;
use crate::state::{Answer, State, int, text, yes};
use crate::{
    StripeFake, accounts, checkout, customers, disputes, fraud, identity, intents, methods, payouts, refunds,
};

#[track_caller]
#[expect(clippy::panic, reason = "only tests use this, and a mistake in a test should be told where it is")]
fn must(answer: Answer) -> Value {
    match answer {
        Ok(value) => value,
        Err(error) => panic!("the fake Stripe cannot do this: {}", Value::Object(error.body)),
    }
}

fn id_of(object: &Value) -> String {
    text(object, "id").to_owned()
}

impl StripeFake {
    /// Does something to the state, then sends what has to be sent.
    #[track_caller]
    fn act(&self, work: impl FnOnce(&mut State) -> Answer) -> Value {
        let answer = work(&mut self.lock());
        self.after_change();
        must(answer)
    }

    /// Somebody pays on the checkout's page, or tries to; the session afterwards.
    #[track_caller]
    pub fn pay(&self, session: &str, card: &Card) -> Value {
        self.act(|s| checkout::pay(s, session, card))
    }

    /// The money of a [`Card::Delayed`] checkout comes, or does not; the session afterwards.
    #[track_caller]
    pub fn settle_delayed(&self, session: &str, success: bool) -> Value {
        self.act(|s| checkout::settle(s, session, success))
    }

    /// An open checkout expires now; the session afterwards.
    #[track_caller]
    pub fn expire(&self, session: &str) -> Value {
        self.act(|s| checkout::expire(s, session))
    }

    /// A customer made elsewhere; its id.
    pub fn add_customer(&self, email: &str) -> String {
        id_of(&self.act(|s| Ok(customers::make(s, &json!(email), &Value::Null, &json!({})))))
    }

    /// The customer saves a card; its id.
    #[track_caller]
    pub fn save_card(&self, customer: &str, card: &Card) -> String {
        id_of(&self.act(|s| {
            s.get("customer", customer)?;
            let mut method = methods::make(s, card);
            methods::give(s, &mut method, customer);
            Ok(method)
        }))
    }

    /// From now on the card behaves otherwise.
    pub fn change_card(&self, method: &str, card: &Card) {
        self.lock().cards.insert(method.to_owned(), card.clone());
    }

    /// The customer takes a card away, in the billing portal.
    #[track_caller]
    pub fn remove_card(&self, method: &str) {
        self.act(|s| methods::detach(s, method));
    }

    /// The next card anybody uses is this one, by its fingerprint.
    pub fn next_fingerprint(&self, fingerprint: &str) {
        self.lock().next_fingerprint = Some(fingerprint.to_owned());
    }

    /// Whoever owns the card agrees to (or refuses) an intent that `requires_action`; the intent afterwards.
    #[track_caller]
    pub fn authenticate(&self, intent: &str, agreed: bool) -> Value {
        self.act(|s| intents::authenticate(s, intent, agreed))
    }

    /// Somebody refunds in Stripe's dashboard; the refund's id.
    #[track_caller]
    pub fn refund_in_dashboard(&self, charge: &str, amount: i64) -> String {
        id_of(&self.act(|s| {
            let charge = s.get("charge", charge)?;
            refunds::make(s, charge, Some(amount), &json!("requested_by_customer"), &json!({}))
        }))
    }

    /// Whether new refunds stay `pending` until [`StripeFake::settle_refund`].
    pub fn slow_refunds(&self, slow: bool) {
        self.lock().slow_refunds = slow;
    }

    /// A pending refund arrives; the refund afterwards.
    #[track_caller]
    pub fn settle_refund(&self, refund: &str) -> Value {
        self.act(|s| refunds::settle(s, refund))
    }

    /// The bank sends a refund back, pending or succeeded; the refund afterwards.
    #[track_caller]
    pub fn fail_refund(&self, refund: &str) -> Value {
        self.act(|s| refunds::fail(s, refund))
    }

    /// The cardholder's bank opens a dispute, or (`warning`) an inquiry. No money moves yet. The dispute's id.
    #[track_caller]
    pub fn dispute(&self, charge: &str, amount: i64, warning: bool) -> String {
        id_of(&self.act(|s| disputes::make(s, charge, amount, warning, "fraudulent")))
    }

    /// The same for a reason other than `fraudulent`: `product_not_received`, `duplicate`, `unrecognized` …
    #[track_caller]
    pub fn dispute_for(&self, charge: &str, amount: i64, warning: bool, reason: &str) -> String {
        id_of(&self.act(|s| disputes::make(s, charge, amount, warning, reason)))
    }

    /// The disputed money and the fee are withdrawn; an inquiry becomes a dispute by it.
    #[track_caller]
    pub fn withdraw_funds(&self, dispute: &str) -> Value {
        self.act(|s| disputes::withdraw(s, dispute))
    }

    /// The bank looks at the evidence.
    #[track_caller]
    pub fn under_review(&self, dispute: &str) -> Value {
        self.act(|s| disputes::to_status(s, dispute, "under_review"))
    }

    /// The dispute is won (an inquiry: closed). The money comes back with [`StripeFake::reinstate_funds`].
    #[track_caller]
    pub fn win(&self, dispute: &str) -> Value {
        self.act(|s| disputes::to_status(s, dispute, "won"))
    }

    /// The dispute is lost.
    #[track_caller]
    pub fn lose(&self, dispute: &str) -> Value {
        self.act(|s| disputes::to_status(s, dispute, "lost"))
    }

    /// The disputed money comes back.
    #[track_caller]
    pub fn reinstate_funds(&self, dispute: &str) -> Value {
        self.act(|s| disputes::reinstate(s, dispute))
    }

    /// The card's network believes that a charge is fraud; the warning's id.
    #[track_caller]
    pub fn fraud_warning(&self, charge: &str) -> String {
        id_of(&self.act(|s| fraud::make(s, charge)))
    }

    /// A person's documents are there and are looked at.
    #[track_caller]
    pub fn process(&self, session: &str) -> Value {
        self.act(|s| identity::process(s, session))
    }

    /// A person is who they say; the session afterwards.
    #[track_caller]
    pub fn verify(&self, session: &str, first: &str, last: &str, country: &str) -> Value {
        self.act(|s| identity::verify(s, session, first, last, country))
    }

    /// A check fails with a code such as `document_expired`; the person may try again.
    #[track_caller]
    pub fn reject(&self, session: &str, code: &str, reason: &str) -> Value {
        self.act(|s| identity::reject(s, session, code, reason))
    }

    /// A connected account has given everything that was asked for.
    #[track_caller]
    pub fn onboard(&self, account: &str) -> Value {
        self.act(|s| accounts::onboard(s, account))
    }

    /// Something is missing from a connected account: no money goes in or out.
    #[track_caller]
    pub fn restrict(&self, account: &str) -> Value {
        self.act(|s| accounts::restrict(s, account))
    }

    /// Stripe pays out all an account has, by its schedule; the payout's id, or none if there is nothing.
    #[track_caller]
    pub fn pay_out(&self, account: &str) -> Option<String> {
        let amount = self.balance_of(account);
        (amount > 0).then(|| id_of(&self.act(|s| payouts::make(s, account, amount, true, &json!({})))))
    }

    /// A payout is `in_transit`.
    #[track_caller]
    pub fn send_payout(&self, payout: &str) -> Value {
        self.act(|s| payouts::send(s, payout))
    }

    /// A payout arrives (`paid`) or comes back (`failed`, also after it was paid).
    #[track_caller]
    pub fn settle_payout(&self, payout: &str, ok: bool) -> Value {
        self.act(|s| payouts::settle(s, payout, ok))
    }

    /// What the platform has available, in cents. Payments come in as pending and do not change it.
    pub fn set_platform_balance(&self, cents: i64) {
        self.lock().available.insert(String::new(), cents);
    }

    /// What the platform has pending becomes available.
    pub fn release_pending(&self) {
        let mut state = self.lock();
        let cents = state.pending.insert(String::new(), 0).unwrap_or_default();
        *state.available.entry(String::new()).or_default() += cents;
    }

    /// What an account has available, in cents; "" is the platform.
    #[must_use]
    pub fn balance_of(&self, account: &str) -> i64 {
        self.lock().available.get(account).copied().unwrap_or_default()
    }

    /// The checkout as it is.
    #[must_use]
    #[track_caller]
    pub fn session(&self, id: &str) -> Value {
        self.act(|s| {
            checkout::expire_due(s);
            s.get("checkout.session", id)
        })
    }

    /// Any object as it is: `charge`, `payment_intent`, `refund`, `dispute`, `transfer`, `payout`, `account` … by its id.
    #[must_use]
    pub fn object(&self, id: &str) -> Option<Value> {
        self.lock().find_any(id).cloned()
    }

    /// All objects of a kind (`charge`, `checkout.session`, `identity.verification_session` …), oldest first.
    #[must_use]
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.lock().all(kind).to_vec()
    }

    /// The id of the charge that paid a checkout, if one has.
    #[must_use]
    pub fn charge_of(&self, session: &str) -> Option<String> {
        let state = self.lock();
        let intent = state.find("checkout.session", session)?["payment_intent"].as_str()?;
        state.find("payment_intent", intent)?["latest_charge"].as_str().map(str::to_owned)
    }

    /// The API's requests so far, also those that went wrong.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.lock().recorded.clone()
    }

    /// The events so far, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let mut state = self.lock();
        checkout::expire_due(&mut state);
        state.events.clone()
    }

    /// The transfers so far, oldest first.
    #[must_use]
    pub fn transfers(&self) -> Vec<Value> {
        self.all("transfer")
    }

    /// Cents paid, less what was refunded and what was lost in disputes.
    #[must_use]
    pub fn total_received_cents(&self) -> i64 {
        let state = self.lock();
        let charges = state.all("charge").iter().filter(|charge| yes(charge, "paid"));
        let kept: i64 = charges.map(|charge| int(charge, "amount") - int(charge, "amount_refunded")).sum();
        let lost = state.all("dispute").iter().filter(|dispute| text(dispute, "status") == "lost");
        kept - lost.map(|dispute| int(dispute, "amount")).sum::<i64>()
    }
}
