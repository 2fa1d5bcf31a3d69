//! Pages of statements: some kinds, some times, while rows arrive.

use ledger::statement::{self, Cursor, Filter, Line, Page};
use ledger::{Command, TransferKind};
use types::id::Id;
use types::time::{HOUR_MS, Timestamp};

use crate::{ANA, EARNINGS, Engine, World, account, at, grant, hold, settle};

crate::on_both_engines! {
    a_filter_finds_what_it_is_for_while_rows_arrive,
    a_page_looks_at_a_bounded_part,
    clocks_that_go_back_hide_nothing,
    a_cursor_of_another_account_is_refused_with_a_filter_too
}

/// A grant at every second, but every hundredth leg is a job's charge.
async fn long(engine: Engine, legs: i64) -> World {
    let world = World::new(engine).await;
    for n in 1..=legs {
        let commands: &[Command] = match n % 100 {
            0 => &[hold(n, ANA, 1), settle(n, 1, 0)],
            _ => &[grant(n, ANA, 1)],
        };
        world.submit_at(n * 1000, commands).await;
    }
    world
}

impl World {
    async fn page(&self, filter: Filter, from: Option<Cursor>, limit: u32) -> Page {
        let page =
            async move |tx: &mut db::Tx<'_>| statement::page(tx, account(ANA), &filter, from, limit).await;
        self.db.read("page", page).await.unwrap()
    }

    /// All pages, one after the other, and how many they were. Something new comes in between.
    async fn walk(&self, filter: Filter, limit: u32) -> (Vec<Line>, usize) {
        let (mut lines, mut from, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = self.page(filter, from, limit).await;
            assert!(page.lines.len() <= usize::try_from(limit).unwrap());
            lines.extend(page.lines);
            pages += 1;
            let news = 1_000_000 + i64::try_from(pages).unwrap() + self.newest().await;
            self.submit_at(news * 1000, &[grant(news, ANA, 7)]).await;
            let Some(next) = page.next else { return (lines, pages) };
            // As clients do: handed out as text, taken back as text.
            from = Some(next.to_string().parse().unwrap());
        }
    }

    async fn newest(&self) -> i64 {
        self.page(Filter::default(), None, 1).await.lines.first().map_or(0, |line| line.transfer.get())
    }
}

fn numbers(lines: &[Line]) -> Vec<i64> {
    lines.iter().map(|line| line.transfer.get()).collect()
}

async fn a_filter_finds_what_it_is_for_while_rows_arrive(engine: Engine) {
    let world = long(engine, 700).await;
    let (all, _) = world.walk(Filter::default(), 64).await;
    assert_eq!(numbers(&all), (1..=700).rev().collect::<Vec<_>>());

    let until = |seconds: i64| Some(at(seconds * 1000));
    let jobs = Some(TransferKind::Job);
    let to = until(100_000);
    let cases = [
        (Filter { kind: jobs, from: None, to }, vec![700, 600, 500, 400, 300, 200, 100]),
        (Filter { kind: jobs, from: until(200), to: until(400) }, vec![300, 200]),
        (Filter { kind: None, from: until(690), to }, (690..=700).rev().collect()),
        (Filter { kind: None, from: None, to: until(4) }, vec![3, 2, 1]),
        (Filter { kind: None, from: until(63), to: until(66) }, vec![65, 64, 63]),
        (Filter { kind: Some(TransferKind::Purchase), from: None, to: None }, vec![]),
        (Filter { kind: None, from: until(701), to: until(702) }, vec![]),
        (Filter { kind: None, from: None, to: Some(Timestamp::from_millis(i64::MIN)) }, vec![]),
        (Filter { kind: jobs, from: Some(Timestamp::from_millis(i64::MIN)), to: until(101) }, vec![100]),
    ];
    for (filter, expected) in cases {
        for limit in [1, 2, 100] {
            let (found, _) = world.walk(filter, limit).await;
            assert_eq!(numbers(&found), expected, "{filter:?}, {limit} at a time");
        }
    }
}

/// What is rare in a long statement is looked for in more than one page, so that no page takes long.
async fn a_page_looks_at_a_bounded_part(engine: Engine) {
    let world = World::new(engine).await;
    let many: Vec<Command> = (1..=9000).map(|n| grant(n, ANA, 1)).collect();
    world.submit_at(0, &[hold(9999, ANA, 0), settle(9999, 0, 0)]).await;
    world.submit_at(0, &many[..1]).await;
    world.submit_at(0, &[hold(10_000, ANA, 1), settle(10_000, 1, 0)]).await;
    world.submit_at(0, &many[1..]).await;
    let filter = Filter { kind: Some(TransferKind::Job), ..Filter::default() };
    let (found, pages) = world.walk(filter, 5).await;
    assert_eq!((numbers(&found), pages), (vec![10_000], 3));
}

/// Clocks go back now and then; what was written meanwhile is found all the same.
async fn clocks_that_go_back_hide_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let minute = 60_000;
    let hour = HOUR_MS;
    for (id, now) in (1..).zip([9 * hour, 10 * hour, 10 * hour - 20 * minute, 10 * hour + minute, 12 * hour])
    {
        world.submit_at(now, &[grant(id, ANA, 1)]).await;
    }
    let (found, _) =
        world.walk(Filter { from: Some(at(10 * hour)), to: Some(at(11 * hour)), kind: None }, 10).await;
    assert_eq!(numbers(&found), [4, 2]);
}

async fn a_cursor_of_another_account_is_refused_with_a_filter_too(engine: Engine) {
    let world = World::new(engine).await;
    world.submit(&[grant(1, ANA, 5), hold(2, ANA, 1), settle(2, 1, 0)]).await;
    let filter = Filter { kind: Some(TransferKind::Grant), ..Filter::default() };
    let theirs: Cursor = "2.2".parse().unwrap();
    let page = world
        .db
        .read("page", async move |tx| statement::page(tx, account(EARNINGS), &filter, Some(theirs), 9).await);
    assert!(matches!(page.await, Err(statement::StatementError::Cursor(_))));
    assert_eq!(numbers(&world.page(filter, Some(theirs), 9).await.lines), [1]);
}
