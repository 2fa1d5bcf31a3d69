//! How long a match takes. The median over many, so that a busy machine does not decide; the bounds of an
//! unoptimised build are wide and still far below what walking over 10,000 asks costs.

#![expect(clippy::panic, clippy::print_stdout, reason = "tests; the figures are for people")]

use std::time::{Duration, Instant};

use market::{Book, Command, Event, Limits, Order};
use types::id::{Id, IslandId, JobId, UserId};
use types::money::MicroCredits;

const BOUND: Duration =
    if cfg!(debug_assertions) { Duration::from_micros(200) } else { Duration::from_micros(20) };

fn set_ask(island: i64, ask: i64, slots: u32, region: Option<&str>) -> Command {
    Command::SetAsk {
        island: IslandId::from_i64(island),
        ask: MicroCredits::new(ask),
        slots,
        region: region.map(str::to_owned),
    }
}

fn order(job: i64, bid: i64, region: Option<&str>) -> Command {
    Command::Submit(Order {
        job: JobId::from_i64(job),
        user: UserId::from_i64(1),
        bid: MicroCredits::new(bid),
        excluded: vec![IslandId::from_i64(1), IslandId::from_i64(2)],
        region: region.map(str::to_owned),
        priority: 0,
        may_wait: true,
    })
}

/// Matches and releases over and over; the median time of a match and of a release.
fn measure(what: &str, book: &mut Book, region: Option<&str>) -> Duration {
    let mut times = vec![];
    let mut releases = vec![];
    let mut events = vec![];
    for job in 1..=2_000 {
        let command = order(job, i64::MAX, region);
        let start = Instant::now();
        book.apply(command, &mut events);
        times.push(start.elapsed());
        let Some(Event::Matched(matched)) = events.pop() else { panic!("no match") };
        let command = Command::Release { reservation: matched.reservation };
        let start = Instant::now();
        book.apply(command, &mut events);
        releases.push(start.elapsed());
    }
    times.sort_unstable();
    releases.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    let (median, release) = (times[times.len() / 2], releases[releases.len() / 2]);
    println!("{what}: match median {median:?}, p99 {p99:?}; release median {release:?}");
    median
}

#[test]
fn a_match_is_fast_whatever_the_book_looks_like() {
    for (count, what) in
        [(100, "100 idle asks"), (10_000, "10,000 idle asks"), (200_000, "200,000 idle asks")]
    {
        let mut book = Book::new(Limits::default());
        for island in 1..=count {
            book.apply(set_ask(island, island % 997, 1, None), &mut vec![]);
        }
        assert!(measure(what, &mut book, None) < BOUND);
    }

    let mut book = Book::new(Limits::default());
    for island in 1..=10_000 {
        book.apply(set_ask(island, island, 0, None), &mut vec![]);
    }
    book.apply(set_ask(10_001, 1_000_000, 1, None), &mut vec![]);
    assert!(measure("10,000 busy asks below a free one", &mut book, None) < BOUND);

    for island in 1..=10_000 {
        book.apply(set_ask(island, island, 1, Some("us")), &mut vec![]);
    }
    book.apply(set_ask(10_001, 1_000_000, 1, Some("eu")), &mut vec![]);
    assert!(measure("10,000 free asks of another region below", &mut book, Some("eu")) < BOUND);
}

/// 20,000 jobs of another region wait with better bids, as many exclude the Island that gets free.
#[test]
fn a_long_queue_of_jobs_that_nothing_suits_costs_nothing() {
    let limits = Limits { max_waiting_per_user: usize::MAX, ..Limits::default() };
    let mut book = Book::new(limits);
    for job in 1..=20_000 {
        book.apply(order(job, 1_000 + job, Some("mars")), &mut vec![]);
        book.apply(order(100_000 + job, 1_000 + job, None), &mut vec![]);
    }
    book.apply(set_ask(1, 10, 1, None), &mut vec![]);
    let mut times = vec![];
    for number in 0..200 {
        // As a release does, an ask change of a free Island looks for somebody who waits.
        let start = Instant::now();
        book.apply(set_ask(1, 10 + number % 2, 1, None), &mut vec![]);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("ask change with 40,000 waiting that it does not suit: median {median:?}");
    assert!(median < BOUND);
    assert_eq!(book.waiting_count(), 40_000);
}
