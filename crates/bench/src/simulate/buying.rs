//! Purchases: clicks, checkouts, payments, webhooks that come late, often and in any order, browsers that come back, and the
//! reconciler. Between two of its transactions each waits for the payment provider, and anything may happen meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use db::{DbError, params};
use server::providers::ProviderError;
use server::providers::events::{ProviderEvent, Subject};
use server::purchases::provider::{Checkout, CheckoutState, Payment};
use server::purchases::{self, PurchaseError, State};
use tokio::task::JoinHandle;
use types::id::{Id, PurchaseId};

use super::faults::{Fate, Told};
use super::model::purchases::Purchase;
use super::operator::differs;
use super::process::Process;
use super::shop::{Question, unreachable};
use super::world::World;
use crate::Result;

/// Somebody who buys.
#[derive(Clone, Debug)]
pub struct Buyer {
    pub person: usize,
    /// Tells one click from another.
    pub attempt: String,
    pub slug: &'static str,
    /// What the browser was told.
    pub bought: Option<(PurchaseId, String)>,
}

/// An event the provider tells of until it is heard.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub event: ProviderEvent,
    /// How often it is still sent, heard or not.
    pub copies: usize,
    pub heard: bool,
}

/// Something that waits for the provider.
#[derive(Debug)]
pub struct Flight {
    what: What,
    task: JoinHandle<End>,
    question: Option<Question>,
    /// What the provider would have said when it was asked.
    seen: Option<CheckoutState>,
}

#[derive(Clone, Debug)]
enum What {
    Buy(usize),
    Fulfil(i64, Option<ProviderEvent>),
    Reconcile(VecDeque<i64>),
}

#[derive(Debug)]
enum End {
    Purchase(std::result::Result<Box<purchases::Purchase>, PurchaseError>),
    Nothing(std::result::Result<(), PurchaseError>),
}

/// How far a flight came, as far as that is foretold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Asks,
    Purchase(State),
    Done,
    Mismatch,
    KeyTaken,
    Provider,
    Db(Told),
}

impl Flight {
    /// Cuts it off.
    pub async fn abort(self) {
        self.task.abort();
        drop(self.task.await);
    }

    /// Whether the provider has been asked something.
    pub const fn asks(&self) -> bool {
        self.question.is_some()
    }
}

impl Outcome {
    fn of(end: &End) -> Self {
        let error = match end {
            End::Purchase(Ok(purchase)) => return Self::Purchase(purchase.state),
            End::Nothing(Ok(())) => return Self::Done,
            End::Purchase(Err(error)) | End::Nothing(Err(error)) => error,
        };
        match error {
            PurchaseError::Mismatch => Self::Mismatch,
            PurchaseError::KeyTaken => Self::KeyTaken,
            PurchaseError::Provider(_) => Self::Provider,
            PurchaseError::Db(error) => Self::Db(Told::of_error(error)),
            PurchaseError::UnknownPackage | PurchaseError::BadKey | PurchaseError::NotFound => {
                Self::Db(Told::Refused)
            }
        }
    }

    /// What is told, if the transaction is.
    const fn unless_lost(self, fate: Fate) -> Self {
        match fate.told() {
            Told::Ok => self,
            told => Self::Db(told),
        }
    }
}

impl World {
    /// Somebody clicks on a package; or clicks again.
    pub async fn buy(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(Process::serves) else { return Ok(false) };
        let index = self.buyer();
        let Buyer { person, attempt, slug, .. } = self.buyers[index].clone();
        let user = self.people[person].user.clone();
        self.log.say(&format!("{}: person {person} buys {slug} ({attempt})", process.name()));
        let fate = self.break_something(&process.saboteur).next();
        let (app, key) = (Arc::clone(&process.app), attempt.clone());
        let buyer = user.clone();
        let task = tokio::spawn(async move {
            End::Purchase(purchases::buy(&app, &buyer, slug, &key).await.map(Box::new))
        });
        let foretold = match self.model.purchase_of(user.id.get(), &attempt) {
            Some((_, first)) if first.slug != slug => Outcome::KeyTaken,
            Some((_, first)) if first.session.is_some() => Outcome::Purchase(first.state),
            _ => Outcome::Asks,
        };
        let is_new = self.model.purchase_of(user.id.get(), &attempt).is_none();
        let flight = Flight { what: What::Buy(index), task, question: None, seen: None };
        self.fly(&mut process, flight, foretold.unless_lost(fate)).await?;
        if is_new {
            self.look_up(&process, index, fate).await?;
        }
        self.put(process);
        Ok(true)
    }

    /// A buyer: a new one, or one that clicks again, maybe on another package with the same key.
    fn buyer(&mut self) -> usize {
        let made = self.buyers.len();
        if made > 0 && self.dice.percent(50) {
            let index = made - 1 - self.dice.below(made.min(4));
            if !self.dice.percent(10) {
                return index;
            }
            let other = Buyer { slug: "small", bought: None, ..self.buyers[index].clone() };
            self.buyers.push(other);
            return made;
        }
        let slug = self.dice.one_of(["small", "large"]);
        let person = self.dice.below(self.people.len());
        self.buyers.push(Buyer { person, attempt: format!("click-{made}"), slug, bought: None });
        made
    }

    /// The program chose the id of a new purchase: which one it is, if it was kept, is looked up.
    async fn look_up(&mut self, process: &Process, index: usize, fate: Fate) -> Result<()> {
        let Buyer { person, attempt, slug, .. } = self.buyers[index].clone();
        let user = &self.people[person].user;
        let (id, key) = (user.id, attempt.clone());
        let read = process.app.db.read("look_up", async move |tx| {
            let sql = "SELECT id, credits, amount_cents, created_at FROM purchases WHERE user_id = $1 AND attempt_key = $2";
            let row = tx.query_opt(sql, &params![id, &key]).await?;
            row.map(|row| Ok::<[i64; 4], DbError>([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])).transpose()
        });
        let found = read.await?;
        if found.is_some() != fate.is_kept() {
            return differs("a new purchase", fate, found);
        }
        let Some([id, credits, amount, created_at]) = found else { return Ok(()) };
        let package = if slug == "small" { (3, 3) } else { (40, 37) };
        if (credits, amount) != package {
            return differs("the package that was bought", package, (credits, amount));
        }
        let (user, wallet) = (user.id.get(), user.wallet.get());
        let (slug, state, session) = (slug.to_owned(), State::Created, None);
        let purchase = Purchase { user, wallet, attempt, slug, credits, amount, state, session, created_at };
        self.model.purchases.insert(id, purchase);
        Ok(())
    }

    /// Lets something run until it asks the provider or ends, and compares.
    async fn fly(&mut self, process: &mut Process, mut flight: Flight, foretold: Outcome) -> Result<()> {
        let end = tokio::select! {
            biased;
            end = &mut flight.task => Some(end?),
            () = self.shop.asked.notified() => None,
        };
        process.saboteur.follow(None);
        let outcome = end.as_ref().map_or(Outcome::Asks, Outcome::of);
        self.log.say(&format!("{}: {:?}: {outcome:?}", process.name(), flight.what));
        if outcome != foretold {
            return differs("a purchase", foretold, (outcome, end));
        }
        let Some(end) = end else {
            flight.question = self.shop.question();
            flight.seen = match &flight.question {
                Some(Question::Read(session, _)) => self.shop.state_of(session),
                _ => None,
            };
            process.flights.push(flight);
            return Ok(());
        };
        match (flight.what, end) {
            (What::Buy(index), End::Purchase(Ok(purchase))) => {
                self.buyers[index].bought = purchase.session.map(|session| (purchase.id, session));
            }
            (What::Fulfil(_, Some(event)), End::Nothing(Ok(()))) => self.heard(&event),
            // Somebody has to look at that; sending it again does not help.
            (What::Fulfil(_, Some(event)), End::Nothing(Err(PurchaseError::Mismatch))) => self.heard(&event),
            _ => {}
        }
        Ok(())
    }

    fn heard(&mut self, event: &ProviderEvent) {
        if let Some(delivery) = self.deliveries.iter_mut().find(|delivery| delivery.event == *event) {
            delivery.heard = true;
        }
    }

    /// The provider answers one of the questions, or the answer is lost.
    pub async fn provider(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(|one| !one.asleep && one.flights.iter().any(Flight::asks)) else {
            return Ok(false);
        };
        let index = self.dice.below(process.flights.len());
        let mut flight = process.flights.remove(index);
        let fate = self.break_something(&process.saboteur).next();
        let lost = self.dice.percent(8) && !self.calm;
        let foretold = match flight.question.take() {
            Some(Question::Open(request, answer)) => {
                let checkout = self.shop.open_session(&request);
                let told = if lost { Err(unreachable()) } else { Ok(checkout.clone()) };
                drop(answer.send(told));
                if lost {
                    Outcome::Provider
                } else {
                    self.foretell_opened(&request.purchase, &checkout, fate)
                }
            }
            Some(Question::Read(session, answer)) => {
                let old = flight.seen.take().filter(|_| self.dice.percent(40));
                let state = old.or_else(|| self.shop.state_of(&session)).filter(|_| !lost);
                drop(answer.send(state.clone().ok_or(ProviderError::NotFound(session))));
                self.foretell_read(&mut flight, state.as_ref(), process.now(), fate)
            }
            None => return Err("a flight that asks nothing".into()),
        };
        self.fly(&mut process, flight, foretold).await?;
        self.put(process);
        Ok(true)
    }

    /// The checkout is noted with the purchase.
    fn foretell_opened(&mut self, purchase: &str, checkout: &Checkout, fate: Fate) -> Outcome {
        let id = purchase.parse::<PurchaseId>().map_or(0, Id::get);
        let Some(purchase) = self.model.purchases.get_mut(&id) else { return Outcome::Db(Told::Refused) };
        if fate.is_kept() {
            purchase.session = Some(checkout.session.clone());
        }
        Outcome::Purchase(purchase.state).unless_lost(fate)
    }

    /// The provider said how far a checkout is.
    fn foretell_read(
        &mut self,
        flight: &mut Flight,
        state: Option<&CheckoutState>,
        now: i64,
        fate: Fate,
    ) -> Outcome {
        let (id, event) = match &mut flight.what {
            What::Fulfil(id, event) => (*id, event.clone()),
            What::Reconcile(list) => (list.pop_front().unwrap_or_default(), None),
            What::Buy(_) => return Outcome::Db(Told::Refused),
        };
        let outcome = match state {
            None => Outcome::Provider,
            Some(state) if self.model.is_mismatch(id, state) => Outcome::Mismatch,
            Some(state) => {
                let told =
                    self.model.fulfil(id, state, event.as_ref().map(|event| event.id.as_str()), now, fate);
                match self.model.purchases.get(&id) {
                    Some(purchase) if told == Told::Ok => Outcome::Purchase(purchase.state),
                    _ => Outcome::Db(told),
                }
            }
        };
        match (&mut flight.what, outcome) {
            // One that cannot be finished does not keep the reconciler from the others.
            (What::Reconcile(list), _) => self.next_to_reconcile(list),
            (What::Fulfil(_, Some(_)), Outcome::Purchase(_)) => Outcome::Done,
            (_, outcome) => outcome,
        }
    }

    fn next_to_reconcile(&self, list: &mut VecDeque<i64>) -> Outcome {
        let granted = |id: &i64| self.model.purchases.get(id).is_some_and(|one| one.state == State::Granted);
        while list.front().is_some_and(granted) {
            list.pop_front();
        }
        if list.is_empty() { Outcome::Done } else { Outcome::Asks }
    }

    /// Somebody pays, promises to, fails to, or goes away; the provider tells of it, up to five times.
    pub fn pay(&mut self) -> bool {
        let known: Vec<String> =
            self.buyers.iter().filter_map(|buyer| Some(buyer.bought.as_ref()?.1.clone())).collect();
        let Some(session) = self.dice.pick(&known).cloned() else { return false };
        let Some(state) = self.shop.state_of(&session) else { return false };
        let (payment, kind) = match (state.payment, self.dice.below(8)) {
            (Payment::Open, 0..5) => (Payment::Paid, "checkout.completed"),
            (Payment::Open, 5 | 6) => (Payment::Pending, "checkout.completed"),
            (Payment::Open, _) => (Payment::Expired, "checkout.expired"),
            (Payment::Pending, 0..6) => (Payment::Paid, "checkout.async_succeeded"),
            (Payment::Pending, _) => (Payment::Failed, "checkout.async_failed"),
            _ => return false,
        };
        let wrong = payment == Payment::Paid && self.dice.percent(4);
        self.shop.move_to(&session, payment, wrong);
        self.log.say(&format!("at the provider {session} is {payment:?}, wrong amount: {wrong}"));
        let id = format!("evt_{}", self.deliveries.len());
        let subject = Subject::Checkout(session);
        let event =
            ProviderEvent { provider: "shop", id, kind: kind.to_owned(), subject, body: String::new() };
        self.deliveries.push(Delivery { event, copies: 1 + self.dice.below(5), heard: false });
        true
    }

    /// A webhook arrives.
    pub async fn deliver(&mut self) -> Result<bool> {
        // Of a checkout whose opening was not answered nobody has been told, so nobody pays it.
        let due: Vec<usize> = (0..self.deliveries.len())
            .filter(|&index| self.deliveries[index].copies > 0 || !self.deliveries[index].heard)
            .filter(|&index| {
                self.model.purchase_by_session(self.deliveries[index].event.subject.name()).is_some()
            })
            .collect();
        let Some(&index) = self.dice.pick(&due) else { return Ok(false) };
        let Some(mut process) = self.take(Process::serves) else { return Ok(false) };
        let delivery = &mut self.deliveries[index];
        delivery.copies = delivery.copies.saturating_sub(1);
        let event = delivery.event.clone();
        self.break_something(&process.saboteur);
        let (app, sent) = (Arc::clone(&process.app), event.clone());
        let session = event.subject.name().to_owned();
        let id = self.model.purchase_by_session(&session);
        let task = tokio::spawn(async move { End::Nothing(purchases::receive(&app, &session, sent).await) });
        let foretold = Outcome::Asks;
        let what = What::Fulfil(id.unwrap_or_default(), Some(event));
        self.fly(&mut process, Flight { what, task, question: None, seen: None }, foretold).await?;
        self.put(process);
        Ok(true)
    }

    /// A browser comes back from the provider.
    pub async fn come_back(&mut self) -> Result<bool> {
        let known: Vec<PurchaseId> =
            self.buyers.iter().filter_map(|buyer| Some(buyer.bought.as_ref()?.0)).collect();
        let Some(&id) = self.dice.pick(&known) else { return Ok(false) };
        let Some(mut process) = self.take(Process::serves) else { return Ok(false) };
        let foretold = match self.model.purchases.get(&id.get()) {
            Some(one) if one.state == State::Granted || one.session.is_none() => Outcome::Purchase(one.state),
            Some(_) => Outcome::Asks,
            None => Outcome::Db(Told::Refused),
        };
        let app = Arc::clone(&process.app);
        let task =
            tokio::spawn(async move { End::Purchase(purchases::fulfil(&app, id, None).await.map(Box::new)) });
        let what = What::Fulfil(id.get(), None);
        self.fly(&mut process, Flight { what, task, question: None, seen: None }, foretold).await?;
        self.put(process);
        Ok(true)
    }

    /// The reconciler makes a round.
    pub async fn reconcile(&mut self) -> Result<bool> {
        let Some(mut process) = self.take(Process::serves) else { return Ok(false) };
        let mut list: VecDeque<i64> = self.model.unfinished(process.now()).into();
        let foretold = self.next_to_reconcile(&mut list);
        let app = Arc::clone(&process.app);
        let task = tokio::spawn(async move {
            End::Nothing(purchases::reconcile_once(&app).await.map_err(PurchaseError::Db))
        });
        let what = What::Reconcile(list);
        self.fly(&mut process, Flight { what, task, question: None, seen: None }, foretold).await?;
        self.put(process);
        Ok(true)
    }
}
