//! Every API key has a cap, so caps are written as sparingly as accounts are.

use ledger::{Command, Limits, Pace};

use crate::{ANA, BUSY, Engine, World, account, at, grant, release, transfer};

crate::on_both_engines! {
    a_cap_stands_in_the_journal_once_a_batch,
    caps_are_folded_by_shares
}

fn hold(id: i64, cap: Option<i64>) -> Command {
    Command::Hold {
        id: transfer(id),
        account: account(ANA),
        amount: crate::micros(1),
        cap,
        expires_at: at(1000),
    }
}

impl World {
    async fn number(&self, sql: &'static str) -> i64 {
        self.db.read("number", async move |tx| tx.query_one(sql, &[]).await?.get(0)).await.unwrap()
    }
}

async fn with_caps(engine: Engine, pace: Pace, caps: i64) -> World {
    let world = World { pace, ..World::new(engine).await };
    world
        .db
        .tx("caps", async move |tx| {
            for id in 1000..1000 + caps {
                ledger::open_cap(tx, id, Limits::default()).await?;
            }
            Ok::<_, db::DbError>(())
        })
        .await
        .unwrap();
    world.submit(&[grant(1, ANA, 100_000)]).await;
    world
}

async fn a_cap_stands_in_the_journal_once_a_batch(engine: Engine) {
    let world = with_caps(engine, Pace::default(), 1).await;
    let newest = "SELECT length(changes) FROM ledger_journal ORDER BY batch DESC LIMIT 1";
    let mut sizes = Vec::new();
    for (first, cap) in [(1000, None), (2000, Some(1000))] {
        let holds: Vec<Command> = (first..first + 100).map(|id| hold(id, cap)).collect();
        world.submit(&holds).await;
        sizes.push(world.number(newest).await);
    }
    let more = sizes[1] - sizes[0];
    assert!(
        (1..1500).contains(&more),
        "{more} bytes for a cap, and for naming it in each of a hundred holds"
    );
    world.check().await;
}

async fn caps_are_folded_by_shares(engine: Engine) {
    let world = with_caps(engine, Pace { least_bytes: 20_000, most_bytes: 20_000, ..BUSY }, 200).await;
    let behind = "SELECT count(*) FROM ledger_caps WHERE id >= 1000 AND held = 0";
    let (mut before, mut at_first, mut most) = (200, 0, 0);
    for n in 0..1000 {
        let cap = Some(1000 + n).filter(|_| n < 200);
        world.submit(&[hold(1000 + n, cap)]).await;
        if n >= 200 {
            world.submit(&[release(1000 + n)]).await;
        }
        let now = world.number(behind).await;
        at_first += i64::from(now == 200);
        most = most.max(before - now);
        before = now;
        let newest = world.db.read("cap", async |tx| ledger::cap(tx, 1000, at(0)).await).await.unwrap();
        assert_eq!(newest.held.get(), 1, "whatever is written where");
    }
    assert!(at_first > 20, "a busy ledger writes the journal only: {at_first}");
    assert_eq!(before, 0, "all of them in the end");
    assert!((1..=8).contains(&most), "{most} at once");
    world.check().await;
}
