//! A short economy, with everything that is checked in a long one.

use super::*;

const SMALL: Size = Size { days: 2, islands: 30, consumers: 200 };

async fn economy(seed: u64) -> (World, Report) {
    simulate(seed, SMALL).await.unwrap()
}

#[tokio::test]
async fn a_short_economy_keeps_all_promises_and_its_prices_converge() {
    let (world, report) = economy(7).await;
    let record = &world.record;
    assert!(record.all_served() > 5000, "{}", record.all_served());
    assert!(record.watched >= record.all_served());
    // Otherwise nothing would be shown about waiting, failing and giving up waiting.
    assert!(record.waited > 100 && record.failed > 10 && record.all_unserved() > 100, "{record:?}");
    for line in &report.lines {
        assert!(line.asked[1] < line.asked[0], "asks do not converge: {line:?}");
    }
    let charts = charts::all(&world, SMALL.days);
    assert_eq!(charts.len(), 4);
    for (name, svg) in charts {
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{name}");
    }
}

#[tokio::test]
async fn the_same_seed_is_the_same_economy() {
    let [one, again, other] = [economy(1).await.1, economy(1).await.1, economy(2).await.1];
    assert_eq!(one.text(), again.text());
    assert_ne!(one.text(), other.text());
}

/// The watch is what the promise rests on: it must not be blind.
#[tokio::test]
async fn a_wrong_choice_would_be_seen() {
    use market::{Match, Order};
    use types::id::{Id, JobId, UserId};
    use types::money::MicroCredits;
    use types::time::Timestamp;

    let mut book = market::Book::new(market::Limits::default());
    let dice = crate::simulate::dice::Dice::new(1);
    let mut islands: Vec<_> = (1..=3).map(|number| agents::Island::new(&dice, number, 0, 0)).collect();
    for (island, ask) in islands.iter_mut().zip([10, 20, 30]) {
        (island.online, island.ask.ask, island.ask.slots) = (true, MicroCredits::new(ask), 1);
    }
    let order = Order {
        job: JobId::from_i64(1),
        user: UserId::from_i64(1),
        bid: MicroCredits::new(25),
        excluded: vec![islands[0].ask.island],
        region: None,
        model: None,
        min_trust: 0,
        deadline: Timestamp::from_millis(0),
        priority: 0,
        may_wait: true,
    };
    let mut events = vec![];
    for island in &islands {
        book.apply(market::Command::SetAsk(island.ask.clone()), &mut events);
    }
    book.apply(market::Command::Submit(order.clone()), &mut events);
    let Some(market::Event::Matched(matched)) = events.pop() else { panic!("{events:?}") };
    let right = |islands: &[agents::Island], order: &Order, matched: &Match| {
        watch::Rivals { islands, cargo: 0 }.check(order, matched).is_ok()
    };
    assert!(right(&islands, &order, &matched));
    assert!(
        !right(&islands, &Order { excluded: vec![], ..order.clone() }, &matched),
        "a cheaper one was free"
    );
    let low = MicroCredits::new(19);
    assert!(
        !right(&islands, &Order { bid: low, ..order.clone() }, &Match { bid: low, ..matched.clone() }),
        "above"
    );
    assert!(
        !right(&islands, &order, &Match { price: MicroCredits::new(21), ..matched.clone() }),
        "not the ask"
    );
    islands[1].ask.health = market::Health::LastResort;
    assert!(right(&islands, &order, &matched), "nobody else is within the bid");
    let high = MicroCredits::new(30);
    assert!(
        !right(&islands, &Order { bid: high, ..order.clone() }, &Match { bid: high, ..matched.clone() }),
        "last"
    );
    islands[1].busy = 1;
    assert!(!right(&islands, &order, &matched), "it was not free");
}
