//! One readable case per rule. Islands, jobs and users are small numbers; prices are micro-credits.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::slice;

use market::{
    Ask, BidLevel, Book, Command, Considered, Event, Health, Limits, Match, Order, PriceLevel, Refusal,
    Reservation, Verdict,
};
use types::id::{Id, IslandId, JobId, UserId};
use types::island_protocol::MAX_MODELS;
use types::money::{MAX_AMOUNT, MicroCredits};
use types::time::Timestamp;

const ANA: i64 = 1;
const BEN: i64 = 2;

fn island(number: i64) -> IslandId {
    IslandId::from_i64(number)
}

fn job(number: i64) -> JobId {
    JobId::from_i64(number)
}

fn micros(number: i64) -> MicroCredits {
    MicroCredits::new(number)
}

/// Ana's, without wishes, patient.
fn order(number: i64, bid: i64) -> Order {
    Order {
        job: job(number),
        user: UserId::from_i64(ANA),
        bid: micros(bid),
        excluded: vec![],
        region: None,
        model: None,
        min_trust: 0,
        deadline: Timestamp::from_millis(i64::MAX),
        priority: 0,
        may_wait: true,
    }
}

fn of(user: i64, order: Order) -> Order {
    Order { user: UserId::from_i64(user), ..order }
}

fn in_region(region: &str, order: Order) -> Order {
    Order { region: Some(region.to_owned()), ..order }
}

fn with_model(model: &str, order: Order) -> Order {
    Order { model: Some(model.to_owned()), ..order }
}

fn trusted(min_trust: u8, order: Order) -> Order {
    Order { min_trust, ..order }
}

fn until(deadline: i64, order: Order) -> Order {
    Order { deadline: Timestamp::from_millis(deadline), ..order }
}

fn without(excluded: &[i64], order: Order) -> Order {
    Order { excluded: excluded.iter().copied().map(island).collect(), ..order }
}

fn urgent(priority: u8, order: Order) -> Order {
    Order { priority, ..order }
}

fn impatient(order: Order) -> Order {
    Order { may_wait: false, ..order }
}

/// The book with words for what tests do to it.
struct Desk(Book);

impl Desk {
    fn new() -> Self {
        Self(Book::new(Limits::default()))
    }

    fn apply(&mut self, command: Command) -> Vec<Event> {
        let mut events = vec![];
        self.0.apply(command, &mut events);
        events
    }

    fn ask(&mut self, number: i64, ask: i64, slots: u32) -> Vec<Event> {
        self.says(Ask::new(island(number), micros(ask), slots))
    }

    fn ask_in(&mut self, region: &str, number: i64, ask: i64, slots: u32) -> Vec<Event> {
        self.says(Ask { region: Some(region.to_owned()), ..Ask::new(island(number), micros(ask), slots) })
    }

    fn says(&mut self, ask: Ask) -> Vec<Event> {
        self.apply(Command::SetAsk(ask))
    }

    fn expire(&mut self, now: i64) -> Vec<i64> {
        let events = self.apply(Command::Expire { now: Timestamp::from_millis(now) });
        let expired = |event: &Event| match event {
            Event::Expired { job } => job.get(),
            other => panic!("not expired: {other:?}"),
        };
        events.iter().map(expired).collect()
    }

    fn leaves(&mut self, number: i64) -> Vec<Event> {
        self.apply(Command::RemoveAsk { island: island(number) })
    }

    fn submit(&mut self, order: Order) -> Event {
        let mut events = self.apply(Command::Submit(order));
        assert_eq!(events.len(), 1, "a submission is answered by one event");
        events.remove(0)
    }

    /// Submits what must match.
    fn runs(&mut self, order: Order) -> Match {
        match self.submit(order) {
            Event::Matched(matched) => matched,
            other => panic!("no match: {other:?}"),
        }
    }

    /// Submits what must wait; answers the best ask it was told.
    fn waits(&mut self, order: Order) -> Option<i64> {
        match self.submit(order) {
            Event::Waiting { best_ask, .. } => best_ask.map(MicroCredits::get),
            other => panic!("does not wait: {other:?}"),
        }
    }

    fn refuses(&mut self, order: Order) -> (Refusal, Option<i64>) {
        match self.submit(order) {
            Event::Refused { reason, best_ask, .. } => (reason, best_ask.map(MicroCredits::get)),
            other => panic!("not refused: {other:?}"),
        }
    }

    fn release(&mut self, reservation: Reservation) -> Vec<Event> {
        self.apply(Command::Release { reservation })
    }

    fn rebid(&mut self, number: i64, bid: i64) -> Vec<Event> {
        self.apply(Command::Rebid { job: job(number), bid: micros(bid) })
    }

    fn queue(&self) -> Vec<i64> {
        self.0.waiting().map(|waiting| waiting.job.get()).collect()
    }

    fn busy(&self, number: i64) -> u32 {
        self.0.ask_of(island(number)).map_or(0, |ask| ask.busy)
    }
}

/// (job, island, price) of each match.
fn matched(events: &[Event]) -> Vec<(i64, i64, i64)> {
    let describe = |event: &Event| match event {
        Event::Matched(matched) => (matched.job.get(), matched.reservation.island.get(), matched.price.get()),
        other => panic!("not a match: {other:?}"),
    };
    events.iter().map(describe).collect()
}

/// One slot at this price, and nothing else said.
fn one(number: i64, ask: i64) -> Ask {
    Ask::new(island(number), micros(ask), 1)
}

fn models(models: &[&str], ask: Ask) -> Ask {
    Ask { models: models.iter().map(|&model| model.to_owned()).collect(), ..ask }
}

fn verdicts(considered: &[Considered]) -> Vec<(i64, Verdict)> {
    considered.iter().map(|entry| (entry.island.get(), entry.verdict)).collect()
}

#[test]
fn the_lowest_ask_wins() {
    let mut desk = Desk::new();
    for (number, ask) in [(1, 30), (2, 10), (3, 20)] {
        desk.ask(number, ask, 1);
    }
    let winners: Vec<_> =
        (1..=3).map(|number| desk.runs(order(number, 100)).reservation.island.get()).collect();
    assert_eq!(winners, [2, 3, 1]);
}

/// The bid is a maximum: it decides whether there is a match, and who is first, never the price.
#[test]
fn incident_090_the_clearing_price_is_the_ask() {
    let mut desk = Desk::new();
    desk.ask(1, 10, 1);
    let direct = desk.runs(order(1, 1000));
    assert_eq!((direct.price, direct.bid), (micros(10), micros(1000)));

    desk.waits(order(2, 500));
    let after_waiting = desk.release(direct.reservation);
    assert_eq!(matched(&after_waiting), [(2, 1, 10)]);

    desk.waits(order(3, 5));
    desk.ask(2, 50, 1);
    assert_eq!(matched(&desk.rebid(3, 70)), [(3, 2, 50)], "a raised bid does not raise the price");

    let exact = {
        desk.ask(3, 7, 1);
        desk.runs(order(4, 7))
    };
    assert_eq!(exact.price, micros(7), "a bid equal to the ask meets it");
}

#[test]
fn the_price_is_frozen_at_the_match() {
    let mut desk = Desk::new();
    desk.ask(1, 10, 2);
    let first = desk.runs(order(1, 100));
    desk.ask(1, 90, 2);
    assert_eq!(first.price, micros(10));
    assert_eq!(desk.runs(order(2, 100)).price, micros(90));
}

#[test]
fn among_equal_asks_the_one_idle_longest_wins() {
    let mut desk = Desk::new();
    for number in [3, 1, 2] {
        desk.ask(number, 10, 2);
    }
    let mut run = |number| {
        let matched = desk.runs(order(number, 10));
        matched.reservation.island.get()
    };
    assert_eq!([run(1), run(2), run(3)], [3, 1, 2], "in order of entry, and a match sends to the back");
    assert_eq!([run(4), run(5), run(6)], [3, 1, 2]);

    let mut desk = Desk::new();
    desk.ask(1, 10, 1);
    desk.ask(2, 10, 1);
    let (one, two) = (desk.runs(order(1, 10)), desk.runs(order(2, 10)));
    desk.release(two.reservation);
    desk.release(one.reservation);
    assert_eq!(desk.runs(order(3, 10)).reservation.island, island(2), "released earlier, so idle longer");

    let mut desk = Desk::new();
    desk.ask(1, 20, 1);
    desk.ask(2, 10, 1);
    desk.ask(1, 10, 1);
    assert_eq!(desk.runs(order(1, 10)).reservation.island, island(1), "a new ask does not cost the turn");
}

#[test]
fn a_bid_below_every_free_ask_waits_and_learns_the_best_ask() {
    let mut desk = Desk::new();
    assert_eq!(desk.waits(order(1, 5)), None, "an empty book has no ask to tell");
    desk.ask(1, 30, 1);
    desk.ask(2, 20, 1);
    assert_eq!(desk.waits(order(2, 19)), Some(20));
    desk.runs(order(3, 20));
    assert_eq!(desk.waits(order(4, 20)), Some(20), "also if that Island is busy");
    desk.ask(3, 1, 0);
    assert_eq!(desk.waits(order(5, 0)), Some(1), "or takes no jobs at the moment");
    assert_eq!(desk.waits(without(&[3, 2], order(6, 0))), Some(30), "but it must be eligible");
}

#[test]
fn an_ask_of_zero_is_legal() {
    let mut desk = Desk::new();
    assert_eq!(desk.ask(1, 0, 1), []);
    assert_eq!(desk.runs(order(1, 0)).price, MicroCredits::ZERO);
    assert_eq!(desk.waits(order(2, -1)), Some(0), "a bid below zero meets no ask");
}

#[test]
fn an_order_may_wait_or_be_refused() {
    let mut desk = Desk::new();
    assert_eq!(desk.refuses(impatient(order(1, 5))), (Refusal::NoneAvailable, None));
    desk.ask(1, 6, 1);
    assert_eq!(desk.refuses(impatient(order(1, 5))), (Refusal::NoneAvailable, Some(6)));
    assert_eq!(desk.queue(), [0; 0]);
    assert_eq!(desk.runs(impatient(order(1, 6))).price, micros(6));
}

#[test]
fn a_region_is_met_exactly() {
    let mut desk = Desk::new();
    desk.ask(1, 1, 9);
    desk.ask_in("us", 2, 2, 9);
    desk.ask_in("eu-west", 3, 3, 9);
    desk.ask_in("eu", 4, 4, 9);
    let mut run = |order| desk.runs(order).reservation.island.get();
    assert_eq!(run(in_region("eu", order(1, 9))), 4);
    assert_eq!(run(in_region("us", order(2, 9))), 2);
    assert_eq!(run(order(3, 9)), 1, "no wish: anywhere");
    assert_eq!(desk.waits(in_region("EU", order(4, 9))), None);
}

/// An Island that does not name a model does not get a job that wants it, however cheap.
#[test]
fn a_model_is_met_by_those_that_name_it() {
    let mut desk = Desk::new();
    desk.ask(1, 1, 9);
    desk.says(models(&["qwen3", "llama", "llama"], Ask { slots: 9, ..one(2, 2) }));
    desk.says(models(&["gemma"], Ask { slots: 9, region: Some("eu".to_owned()), ..one(3, 3) }));
    desk.says(models(&["gemma"], Ask { slots: 9, ..one(4, 4) }));
    let mut run = |order| desk.runs(order).reservation.island.get();
    assert_eq!(run(with_model("llama", order(1, 9))), 2);
    assert_eq!(run(with_model("gemma", order(2, 9))), 3);
    assert_eq!(run(with_model("gemma", without(&[3], order(3, 9)))), 4);
    assert_eq!(run(with_model("gemma", in_region("eu", order(4, 9)))), 3, "both at once");
    assert_eq!(run(order(5, 9)), 1, "no wish: any");
    assert_eq!(desk.waits(with_model("llama", in_region("eu", order(6, 9)))), None);
    assert_eq!(desk.waits(with_model("eu", order(7, 9))), None, "a region is no model");
    assert_eq!(desk.waits(with_model("llama", order(8, 1))), Some(2));

    let learns = desk.says(models(&["llama"], Ask { region: Some("eu".to_owned()), ..one(5, 5) }));
    assert_eq!(matched(&learns), [(6, 5, 5)], "the first that names what waits");
    let forgets = desk.says(models(&["qwen3"], one(2, 1)));
    assert_eq!(forgets, []);
    assert_eq!(desk.waits(with_model("llama", order(9, 4))), Some(5), "and one that names it no more");
}

#[test]
fn trust_is_a_floor() {
    let mut desk = Desk::new();
    for (number, ask, trust) in [(1, 1, 0), (2, 2, 1), (3, 4, 2), (4, 5, 200)] {
        desk.says(Ask { trust, slots: 2, ..one(number, ask) });
    }
    let mut run = |order| desk.runs(order).reservation.island.get();
    assert_eq!(run(trusted(2, order(1, 9))), 3);
    assert_eq!(run(trusted(1, order(2, 9))), 2);
    assert_eq!(run(trusted(1, order(3, 9))), 2);
    assert_eq!(run(trusted(1, order(4, 9))), 3, "more trust than wanted is no obstacle");
    assert_eq!(run(trusted(2, order(5, 9))), 4, "more than 2 counts as 2");
    assert_eq!(run(order(6, 9)), 1);
    assert_eq!(desk.waits(trusted(3, order(7, 9))), None, "so nobody is trusted further");
    assert_eq!(desk.waits(trusted(2, order(8, 3))), Some(4));
    assert_eq!(matched(&desk.says(Ask { trust: 2, slots: 9, ..one(1, 1) })), [(8, 1, 1)], "trust is gained");
}

#[test]
fn one_of_last_resort_gets_a_job_only_if_no_other_is_within_the_bid() {
    let mut desk = Desk::new();
    desk.says(Ask { health: Health::LastResort, slots: 9, ..one(1, 10) });
    desk.says(Ask { health: Health::LastResort, slots: 9, ..one(2, 12) });
    desk.says(Ask { health: Health::Low, ..one(3, 20) });
    assert_eq!(desk.0.best_ask(), Some(micros(10)), "who bids that much starts there");
    assert_eq!(desk.0.lowest_ask(), Some(micros(10)));

    let within = desk.runs(order(1, 15));
    assert_eq!((within.reservation.island, within.price), (island(1), micros(10)));
    let beyond = desk.runs(order(2, 20));
    assert_eq!((beyond.reservation.island, beyond.price), (island(3), micros(20)));
    use Verdict::{Busy, Chosen, LastResort};
    assert_eq!(verdicts(&beyond.considered), [(1, LastResort), (2, LastResort), (3, Chosen)]);

    let none_left = desk.runs(order(3, 90));
    assert_eq!(
        none_left.reservation.island,
        island(1),
        "the other is busy: among those of last resort the cheapest"
    );
    let other = desk.runs(without(&[1], order(4, 90)));
    assert_eq!(verdicts(&other.considered), [(1, Verdict::Excluded), (2, Chosen)]);
    assert_eq!(desk.waits(in_region("eu", order(5, 90))), None);

    desk.release(beyond.reservation);
    desk.says(Ask { health: Health::LastResort, ..one(1, 10) });
    desk.says(Ask { health: Health::LastResort, slots: 2, ..one(2, 30) });
    let wishes = desk.runs(trusted(0, without(&[3], order(6, 40))));
    assert_eq!(verdicts(&wishes.considered), [(1, Busy), (3, Verdict::Excluded), (2, Chosen)]);
}

/// It does not wait for a better one: what is free when its turn comes is what it gets.
#[test]
fn a_waiting_job_takes_one_of_last_resort_at_once() {
    let mut desk = Desk::new();
    let poor = |ask| Ask { health: Health::LastResort, ..one(1, ask) };
    desk.ask(2, 20, 1);
    let busy = desk.runs(order(1, 20)).reservation;
    desk.waits(order(2, 30));
    assert_eq!(matched(&desk.says(poor(25))), [(2, 1, 25)]);
    assert_eq!(desk.waits(order(3, 22)), Some(20));
    assert_eq!(desk.says(Ask { slots: 2, ..poor(23) }), [], "but within its bid");
    assert_eq!(matched(&desk.release(busy)), [(3, 2, 20)]);
    assert_eq!(desk.runs(order(4, 23)).reservation.island, island(1));
}

#[test]
fn among_equal_asks_health_decides_then_latency_then_the_turn() {
    let mut desk = Desk::new();
    let equal =
        [(1, Health::Low, 10), (2, Health::Normal, 250), (3, Health::Normal, 120), (4, Health::Normal, 199)];
    for (number, health, latency_ms) in equal {
        desk.says(Ask { health, latency_ms, ..one(number, 7) });
    }
    let mut run = |number| desk.runs(order(number, 9)).reservation.island.get();
    assert_eq!(
        [run(1), run(2), run(3), run(4)],
        [3, 4, 2, 1],
        "120 and 199 ms are one step: the turn decides"
    );

    for (faster, slower) in [(0, 50), (49, 50), (99, 100), (199, 200), (100, u32::MAX)] {
        let mut desk = Desk::new();
        desk.says(Ask { latency_ms: slower, ..one(1, 7) });
        desk.says(Ask { latency_ms: faster, ..one(2, 7) });
        assert_eq!(desk.runs(order(1, 9)).reservation.island, island(2), "{faster} is faster than {slower}");
    }
    for (one_of_both, other) in [(0, 49), (50, 99), (100, 199), (0, 0), (6400, 12799)] {
        let mut desk = Desk::new();
        desk.says(Ask { latency_ms: other, ..one(1, 7) });
        desk.says(Ask { latency_ms: one_of_both, ..one(2, 7) });
        assert_eq!(
            desk.runs(order(1, 9)).reservation.island,
            island(1),
            "{one_of_both} is as fast as {other}"
        );
    }

    let mut desk = Desk::new();
    desk.says(Ask { health: Health::Low, latency_ms: 900, ..one(1, 6) });
    desk.ask(2, 7, 1);
    assert_eq!(desk.runs(order(1, 9)).reservation.island, island(1), "the price comes before all that");
}

#[test]
fn expiry_takes_the_earliest_deadline_first() {
    let mut desk = Desk::new();
    for (number, deadline) in [(1, 300), (2, 100), (3, 200), (5, 100), (4, 100), (6, -5)] {
        desk.waits(until(deadline, order(number, 9)));
    }
    assert_eq!(desk.expire(-6), [0; 0]);
    assert_eq!(desk.expire(99), [6]);
    assert_eq!(desk.expire(100), [2, 4, 5], "not after the time, among equals the lowest number");
    desk.rebid(3, 1);
    assert_eq!(desk.queue(), [1, 3]);
    assert_eq!(desk.expire(250), [3], "a new bid does not give more time");
    assert_eq!(matched(&desk.ask(1, 9, 1)), [(1, 1, 9)]);
    assert_eq!(desk.expire(i64::MAX), [0; 0], "a job that runs waits no longer");
}

/// Only [`Command::Expire`] knows the time.
#[test]
fn a_passed_deadline_keeps_nothing_from_being_matched() {
    let mut desk = Desk::new();
    desk.expire(1000);
    desk.ask(1, 5, 1);
    let held = desk.runs(until(10, order(1, 9))).reservation;
    desk.waits(until(10, order(2, 9)));
    assert_eq!(matched(&desk.release(held)), [(2, 1, 5)]);
}

#[test]
fn equal_prices_share_a_place() {
    let mut desk = Desk::new();
    for (number, ask, slots) in [(1, 30, 1), (2, 10, 1), (3, 20, 0), (4, 20, 2), (5, 40, 1)] {
        desk.ask(number, ask, slots);
    }
    let ranks: Vec<_> = (1..=6).map(|number| desk.0.rank(island(number))).collect();
    assert_eq!(ranks, [Some((4, 5)), Some((1, 5)), Some((2, 5)), Some((2, 5)), Some((5, 5)), None]);
    desk.ask(2, 31, 1);
    desk.leaves(5);
    assert_eq!([desk.0.rank(island(2)), desk.0.rank(island(3))], [Some((4, 4)), Some((1, 4))]);
}

#[test]
fn supply_and_demand_by_price() {
    let mut desk = Desk::new();
    for (number, ask, slots) in [(1, 20, 3), (2, 10, 1), (3, 20, 2)] {
        desk.ask(number, ask, slots);
    }
    let level = |ask, free_slots, slots, islands| PriceLevel { ask: micros(ask), free_slots, slots, islands };
    assert_eq!(desk.0.depth(9), [level(10, 1, 1, 1), level(20, 5, 5, 2)]);
    desk.runs(order(1, 20));
    let held = desk.runs(order(2, 20)).reservation;
    assert_eq!(desk.0.depth(9), [level(10, 0, 1, 1), level(20, 4, 5, 2)]);
    assert_eq!(desk.0.depth(1), [level(10, 0, 1, 1)]);
    desk.ask(held.island.get(), 20, 0);
    assert_eq!(desk.0.depth(9)[1], level(20, 2, 2, 2), "fewer slots than jobs are none free");
    desk.release(held);
    desk.leaves(2);
    assert_eq!(desk.0.depth(9), [level(20, 2, 2, 2)]);

    for (number, bid) in [(5, 3), (6, 5), (7, 3), (8, 4)] {
        desk.waits(order(number, bid));
    }
    let level = |bid, jobs| BidLevel { bid: micros(bid), jobs };
    assert_eq!(desk.0.demand(9), [level(5, 1), level(4, 1), level(3, 2)]);
    desk.rebid(7, 5);
    desk.apply(Command::Withdraw { job: job(8) });
    assert_eq!(desk.0.demand(1), [level(5, 2)]);
    assert_eq!(desk.0.demand(9).len(), 2);
}

/// An Island says its offers again with every change of any of them.
#[test]
fn saying_the_same_again_changes_nothing() {
    let mut desk = Desk::new();
    let ask = models(
        &["a", "b", "a"],
        Ask { region: Some("eu".to_owned()), latency_ms: 100, trust: 9, ..one(1, 5) },
    );
    desk.says(ask.clone());
    desk.ask(2, 5, 1);
    let before = desk.0.state_hash();
    assert_eq!(desk.says(ask.clone()), []);
    assert_eq!(desk.0.state_hash(), before);
    desk.says(Ask { latency_ms: 199, ..ask });
    assert_eq!(desk.0.ask_of(island(1)).unwrap().latency_ms, 199, "what is said last is shown");
    assert_eq!(desk.0.ask_of(island(1)).unwrap().models, ["a", "b"]);
    assert_ne!(desk.0.state_hash(), before);
}

#[test]
fn an_island_that_failed_the_job_is_not_tried_again() {
    let mut desk = Desk::new();
    desk.ask(1, 1, 1);
    desk.ask(2, 2, 1);
    assert_eq!(desk.runs(without(&[1], order(1, 9))).reservation.island, island(2));
    assert_eq!(desk.waits(without(&[2, 1, 2], order(2, 9))), None);
    assert_eq!(desk.runs(order(3, 9)).reservation.island, island(1), "others may go there");
}

#[test]
fn the_best_bid_is_served_first_then_the_oldest() {
    let mut desk = Desk::new();
    for (number, bid) in [(1, 10), (2, 30), (3, 20), (4, 30)] {
        desk.waits(of(number, order(number, bid)));
    }
    assert_eq!(desk.queue(), [2, 4, 3, 1]);
    assert_eq!(desk.0.place(job(3)), Some(3));
    assert_eq!(desk.0.place(job(9)), None);
    assert_eq!(matched(&desk.ask(1, 5, 3)), [(2, 1, 5), (4, 1, 5), (3, 1, 5)]);
    assert_eq!(desk.queue(), [1]);
}

#[test]
fn priority_only_orders_a_users_own_jobs_of_one_bid() {
    let mut desk = Desk::new();
    desk.waits(of(ANA, order(1, 10)));
    desk.waits(of(BEN, order(2, 10)));
    desk.waits(of(ANA, urgent(100, order(3, 10))));
    assert_eq!(desk.queue(), [3, 2, 1], "Ana's jobs trade places; Ben's stays where it is");
    desk.waits(of(ANA, urgent(100, order(4, 11))));
    assert_eq!(desk.queue(), [4, 3, 2, 1], "another bid is another matter");
    desk.waits(of(ANA, urgent(255, order(5, 10))));
    assert_eq!(desk.queue(), [4, 3, 2, 5, 1], "more than 100 counts as 100, so the older one stays ahead");
    desk.waits(of(BEN, urgent(100, order(6, 9))));
    assert_eq!(desk.queue(), [4, 3, 2, 5, 1, 6]);

    let mut desk = Desk::new();
    desk.waits(of(ANA, order(1, 5)));
    desk.waits(of(BEN, order(2, 10)));
    desk.waits(of(ANA, urgent(100, order(3, 10))));
    desk.rebid(1, 10);
    assert_eq!(desk.queue(), [3, 2, 1], "a job that joins by its bid trades places just the same");
}

/// Otherwise one old unimportant job would put every later important one in front of everybody.
#[test]
fn a_job_takes_the_place_it_holds_along() {
    let mut desk = Desk::new();
    desk.waits(of(ANA, order(1, 10)));
    desk.waits(of(BEN, order(2, 10)));
    desk.waits(of(ANA, urgent(9, order(3, 10))));
    let [first, second, third] = [desk.ask(1, 10, 1), desk.ask(1, 10, 2), desk.ask(1, 10, 3)];
    assert_eq!(matched(&[first, second, third].concat()), [(3, 1, 10), (2, 1, 10), (1, 1, 10)]);
}

#[test]
fn a_job_that_nothing_suits_does_not_block_those_behind() {
    let mut desk = Desk::new();
    desk.waits(in_region("mars", order(1, 90)));
    desk.waits(without(&[1], order(2, 80)));
    desk.waits(order(3, 20));
    desk.waits(order(4, 19));
    assert_eq!(matched(&desk.ask(1, 20, 5)), [(3, 1, 20)]);
    assert_eq!(desk.queue(), [1, 2, 4]);
}

#[test]
fn whatever_makes_a_match_possible_makes_it() {
    type Change = fn(&mut Desk, Reservation) -> Vec<Event>;
    let changes: [(&str, Change); 7] = [
        ("a slot is released", |desk, reservation| desk.release(reservation)),
        ("an ask is lowered", |desk, _| desk.ask(2, 10, 1)),
        ("an Island enters", |desk, _| desk.ask(3, 10, 1)),
        ("slots are added", |desk, _| desk.ask(1, 10, 2)),
        ("a bid is raised", |desk, _| desk.rebid(2, 50)),
        ("an Island comes back", |desk, _| [desk.leaves(1), desk.ask(1, 10, 1)].concat()),
        ("a free Island moves to the region", |desk, _| desk.ask_in("eu", 4, 10, 1)),
    ];
    for (what, change) in changes {
        let mut desk = Desk::new();
        desk.ask(1, 10, 1);
        let reservation = desk.runs(order(1, 10)).reservation;
        desk.ask(2, 50, 1);
        desk.ask_in("us", 4, 60, 1);
        let waiting = order(2, 10);
        desk.waits(if what.contains("region") { in_region("eu", waiting) } else { waiting });
        let events = change(&mut desk, reservation);
        assert_eq!(events.len(), 1, "{what}");
        assert_eq!(matched(&events)[0].0, 2, "{what}");
        assert_eq!(desk.queue(), [0; 0], "{what}");
    }
}

#[test]
fn a_bid_changes_and_keeps_its_place_in_time() {
    let mut desk = Desk::new();
    for number in 1..=3 {
        desk.waits(of(number, order(number, 10)));
    }
    assert_eq!(desk.rebid(1, 5), []);
    assert_eq!(desk.queue(), [2, 3, 1]);
    assert_eq!(desk.rebid(1, 10), []);
    assert_eq!(desk.queue(), [1, 2, 3], "still the oldest");
    desk.rebid(3, 11);
    assert_eq!(desk.queue(), [3, 1, 2]);
    assert_eq!(matched(&desk.ask(1, 11, 1)), [(3, 1, 11)]);
}

#[test]
fn a_withdrawn_job_is_gone() {
    let mut desk = Desk::new();
    desk.waits(order(1, 10));
    assert_eq!(desk.apply(Command::Withdraw { job: job(1) }), []);
    assert_eq!(desk.ask(1, 10, 1), []);
    desk.runs(order(1, 10));
}

#[test]
fn the_unknown_causes_nothing() {
    let mut desk = Desk::new();
    let before = desk.0.state_hash();
    assert_eq!(desk.apply(Command::Withdraw { job: job(1) }), []);
    assert_eq!(desk.rebid(1, 10), []);
    assert_eq!(desk.leaves(1), []);
    assert_eq!(desk.0.state_hash(), before);
}

#[test]
fn fewer_slots_void_nothing() {
    let mut desk = Desk::new();
    desk.ask(1, 10, 3);
    let held: Vec<_> = (1..=3).map(|number| desk.runs(order(number, 10)).reservation).collect();
    desk.ask(1, 10, 1);
    let ask = desk.0.ask_of(island(1)).unwrap();
    assert_eq!((ask.slots, ask.busy), (1, 3));
    desk.waits(order(4, 10));
    assert_eq!(desk.release(held[0]), []);
    assert_eq!(desk.release(held[1]), [], "one runs, one may run");
    assert_eq!(matched(&desk.release(held[2])), [(4, 1, 10)]);
}

#[test]
fn without_slots_an_island_is_in_the_book_but_not_available() {
    let mut desk = Desk::new();
    assert_eq!(desk.ask(1, 10, 0), []);
    desk.ask(2, 20, 1);
    assert_eq!((desk.0.lowest_ask(), desk.0.best_ask()), (Some(micros(10)), Some(micros(20))));
    let matched = desk.runs(order(1, 20));
    assert_eq!(verdicts(&matched.considered), [(1, Verdict::Busy), (2, Verdict::Chosen)]);
    assert_eq!(desk.0.best_ask(), None);
}

/// Capacity neither leaks (a slot that nobody uses and nobody can get) nor multiplies (a slot freed twice).
#[test]
fn incident_095_a_double_release_frees_one_slot() {
    let mut desk = Desk::new();
    desk.ask(1, 10, 2);
    let [first, _second] = [1, 2].map(|number| desk.runs(order(number, 10)).reservation);
    desk.release(first);
    desk.ask(2, 99, 1);
    let before = desk.0.state_hash();
    desk.release(first);
    assert_eq!(desk.busy(1), 1, "the second job still runs");
    assert_eq!(desk.0.state_hash(), before, "not even the turn changes");
    desk.runs(order(3, 10));
    desk.waits(order(4, 10));
    assert_eq!(desk.release(first), [], "also not with somebody waiting, nor after the slot was given on");
}

#[test]
fn incident_095_an_island_that_leaves_voids_its_reservations() {
    let mut desk = Desk::new();
    desk.ask(1, 10, 1);
    let old = desk.runs(order(1, 10)).reservation;
    desk.leaves(1);
    assert_eq!(desk.release(old), [], "nothing to free");
    assert_eq!(desk.0.asks().count(), 0);

    desk.ask(1, 10, 1);
    assert_eq!(desk.busy(1), 0, "it comes back with all slots free");
    let new = desk.runs(order(2, 10)).reservation;
    assert_ne!(old, new);
    desk.waits(order(3, 10));
    assert_eq!(desk.release(old), [], "the old reservation does not free the new job's slot");
    assert_eq!(desk.busy(1), 1);
    assert_eq!(matched(&desk.release(new)), [(3, 1, 10)]);
}

#[test]
fn a_replaced_ask_keeps_its_reservations() {
    let mut desk = Desk::new();
    desk.ask(1, 10, 1);
    let held = desk.runs(order(1, 10)).reservation;
    desk.ask_in("eu", 1, 20, 1);
    assert_eq!(desk.busy(1), 1);
    desk.waits(order(2, 20));
    assert_eq!(matched(&desk.release(held)), [(2, 1, 20)]);
}

#[test]
fn asks_out_of_range_are_refused_and_change_nothing() {
    let mut desk = Desk::new();
    desk.ask(1, 10, 1);
    let before = desk.0.state_hash();
    for ask in [-1, i64::MIN, MAX_AMOUNT.get() + 1, i64::MAX] {
        let refused = Event::AskRefused { island: island(1), reason: Refusal::AskOutOfRange };
        assert_eq!(desk.ask(1, ask, 1), [refused], "{ask}");
        assert_eq!(desk.0.state_hash(), before);
    }
    assert_eq!(desk.ask(1, MAX_AMOUNT.get(), u32::MAX), []);
}

#[test]
fn every_limit_refuses() {
    let limits = Limits {
        max_asks: 1,
        max_waiting: 3,
        max_waiting_per_user: 2,
        max_excluded: 2,
        max_name: 4,
        considered: 8,
    };
    let mut desk = Desk(Book::new(limits));
    desk.ask(1, 10, 1);
    let refused = Event::AskRefused { island: island(2), reason: Refusal::TooManyAsks };
    assert_eq!(desk.ask(2, 10, 1), [refused]);
    assert_eq!(desk.ask(1, 11, 1), [], "a change is not one more");
    let too_long = Event::AskRefused { island: island(1), reason: Refusal::NameTooLong };
    assert_eq!(desk.ask_in("north", 1, 1, 1), slice::from_ref(&too_long));
    assert_eq!(desk.says(models(&["ok", "qwen3"], one(1, 1))), [too_long]);
    let names: Vec<String> = (0..=MAX_MODELS).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let too_many = Event::AskRefused { island: island(1), reason: Refusal::TooManyModels };
    assert_eq!(desk.says(models(&names, one(1, 1))), [too_many]);
    assert_eq!(desk.says(models(&names[1..], one(1, 11))), []);
    assert_eq!(desk.refuses(in_region("north", order(1, 5))), (Refusal::NameTooLong, None));
    assert_eq!(desk.refuses(with_model("qwen3", order(1, 5))), (Refusal::NameTooLong, None));

    desk.waits(order(1, 5));
    assert_eq!(desk.refuses(order(1, 50)), (Refusal::AlreadyWaiting, Some(11)), "even if it could run");
    assert_eq!(desk.refuses(without(&[2, 3, 4], order(2, 50))), (Refusal::TooManyExcluded, Some(11)));
    desk.waits(without(&[2, 3, 3, 2], order(2, 5)));
    assert_eq!(desk.refuses(order(3, 5)), (Refusal::TooManyWaitingOfUser, Some(11)));
    desk.waits(of(BEN, order(3, 5)));
    assert_eq!(desk.refuses(of(BEN, order(4, 5))), (Refusal::TooManyWaiting, Some(11)));
    assert_eq!(desk.queue(), [1, 2, 3]);
    desk.runs(order(5, 50));
    desk.apply(Command::Withdraw { job: job(1) });
    desk.waits(of(BEN, order(6, 5)));
}

#[test]
fn the_record_says_what_spoke_against_each_cheaper_ask() {
    let mut desk = Desk::new();
    desk.ask_in("eu", 1, 10, 1);
    desk.runs(order(1, 10));
    desk.ask_in("eu", 2, 11, 1);
    desk.ask_in("us", 3, 12, 1);
    desk.ask_in("us", 4, 13, 1);
    desk.ask_in("eu", 5, 14, 1);
    desk.ask_in("eu", 6, 15, 1);
    let matched = desk.runs(in_region("eu", without(&[2, 4], order(2, 100))));
    use Verdict::{AboveBid, Busy, Chosen, Excluded, LastResort, OtherModel, OtherRegion, Untrusted};
    let expected = [(1, Busy), (2, Excluded), (3, OtherRegion), (4, Excluded), (5, Chosen)];
    assert_eq!(verdicts(&matched.considered), expected);
    assert_eq!(matched.considered[4].ask, micros(14));

    let quote = |order| verdicts(&desk.0.consider(&order));
    assert_eq!(quote(order(3, 11)), [(1, Busy), (2, Chosen)]);
    assert_eq!(quote(order(3, 10)), [(1, Busy), (2, AboveBid)], "why a job waits");
    assert_eq!(quote(order(3, 9)), [(1, AboveBid)]);

    // Each has one thing less against it than the one before.
    let mut desk = Desk::new();
    let bad = Ask { health: Health::LastResort, slots: 0, ..one(1, 1) };
    desk.says(bad.clone());
    let at = |number| Ask { island: island(number), ask: micros(number), ..bad.clone() };
    let in_eu = |ask| Ask { region: Some("eu".to_owned()), ..ask };
    desk.says(at(2));
    desk.says(in_eu(at(3)));
    desk.says(models(&["m"], in_eu(at(4))));
    desk.says(models(&["m"], in_eu(Ask { trust: 1, ..at(5) })));
    desk.says(models(&["m"], in_eu(Ask { trust: 1, slots: 1, ..at(6) })));
    desk.says(models(&["m"], in_eu(Ask { trust: 1, slots: 1, health: Health::Low, ..at(7) })));
    desk.ask(8, 8, 1);
    let order = trusted(1, with_model("m", in_region("eu", without(&[1], order(2, 9)))));
    let matched = desk.runs(order.clone());
    let rest = [(4, Untrusted), (5, Busy), (6, LastResort), (7, Chosen)];
    assert_eq!(
        verdicts(&matched.considered),
        [&[(1, Excluded), (2, OtherRegion), (3, OtherModel)], &rest[..]].concat()
    );
    let above = verdicts(&desk.0.consider(&Order { bid: micros(1), ..order }));
    assert_eq!(above, [(1, Excluded), (2, AboveBid)]);
}

#[test]
fn the_record_is_bounded_and_ends_with_the_chosen() {
    for (considered, expected) in [(0, vec![5]), (1, vec![5]), (3, vec![1, 2, 5]), (9, vec![1, 2, 3, 4, 5])] {
        let mut desk = Desk(Book::new(Limits { considered, ..Limits::default() }));
        for number in 1..=4 {
            desk.ask(number, number, 0);
        }
        desk.ask(5, 5, 1);
        let matched = desk.runs(order(1, 9));
        let islands: Vec<_> = matched.considered.iter().map(|entry| entry.island.get()).collect();
        assert_eq!(islands, expected);
        assert_eq!(matched.complete, islands.len() == 5);
        assert_eq!(matched.considered.last().map(|entry| entry.verdict), Some(Verdict::Chosen));
    }
}

#[test]
fn the_book_shows_itself_in_order() {
    let mut desk = Desk::new();
    desk.ask_in("eu", 1, 20, 1);
    desk.ask(2, 10, 2);
    desk.runs(order(1, 10));
    let asks: Vec<_> = desk
        .0
        .asks()
        .map(|ask| (ask.island.get(), ask.ask.get(), ask.slots, ask.busy, ask.region.unwrap_or("")))
        .collect();
    assert_eq!(asks, [(2, 10, 2, 1, ""), (1, 20, 1, 0, "eu")]);
    assert_eq!(desk.0.ask_of(island(3)), None);
}

/// The number is part of the contract: it compares books across versions of the engine. Both were computed from
/// the documentation of the hash, not by the engine.
#[test]
fn the_state_hash_does_not_change_by_itself() {
    let mut desk = Desk::new();
    assert_eq!(desk.0.state_hash(), 0x81d2_3fd7_003c_2305);
    let (region, health) = (Some("eu".to_owned()), Health::Low);
    desk.says(models(&["b", "a"], Ask { region, trust: 1, health, latency_ms: 70, ..one(1, 20) }));
    desk.ask(2, 10, 2);
    desk.runs(order(1, 10));
    let waiting = until(-7, trusted(2, with_model("a", in_region("us", order(2, 30)))));
    desk.waits(without(&[2, 1], urgent(3, waiting)));
    assert_eq!(desk.0.state_hash(), 0x7ea6_99ca_78f9_ac9c);
    let twin = desk.0.clone();
    assert_eq!(twin.state_hash(), desk.0.state_hash());
}
