//! What owners are told of their Islands: by letter, and in charts.

use db::{DbError, OpenOptions, params};
use server::accounts::User;
use server::idempotency::Once;
use server::islands::{self, alerts, owner, stats};
use types::id::{Id, IslandId};
use types::money::MicroCredits;
use types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};

use crate::world::inside::Inside;

/// Noon of some day.
const NOW: Timestamp = Timestamp::from_millis(20_780 * DAY_MS + DAY_MS / 2);

/// An Island that offered something and was last seen at a moment.
async fn seen(inside: &Inside, owner: &User, name: &str, at: Timestamp) -> IslandId {
    let (id, _) = islands::create(&inside.app, owner, name, false, &Once::unclaimed()).await.unwrap();
    let sql = "UPDATE islands SET last_seen_at = $2, offers = '[{}]', created_at = $3 WHERE id = $1";
    execute(inside, sql, &[id.get(), at.as_millis(), NOW.as_millis() - 14 * DAY_MS]).await;
    id
}

async fn execute(inside: &Inside, sql: &'static str, numbers: &[i64]) {
    let numbers = numbers.to_vec();
    let work = async move |tx: &mut db::Tx<'_>| {
        let row: Vec<_> = numbers.iter().map(|&number| db::Param::Int(number)).collect();
        tx.execute(sql, &row).await
    };
    inside.app.db.tx("test", work).await.unwrap();
}

/// The subjects of the letters there are, oldest first.
async fn letters(inside: &Inside) -> Vec<String> {
    let read = async |tx: &mut db::Tx<'_>| {
        let rows = tx.query("SELECT subject FROM mail_outbox ORDER BY id", &params![]).await?;
        rows.iter().map(|row| row.get(0)).collect::<Result<Vec<String>, DbError>>()
    };
    inside.app.db.read("letters", read).await.unwrap()
}

async fn comes_back(inside: &Inside, island: IslandId, now: Timestamp) {
    let back = alerts::back(&inside.app, island, now);
    inside.app.db.tx("back", async move |tx| back.tell(tx).await).await.unwrap();
    let sql = "UPDATE islands SET last_seen_at = $2, outage_told_at = NULL WHERE id = $1";
    execute(inside, sql, &[island.get(), now.as_millis()]).await;
}

#[tokio::test]
async fn an_outage_is_told_of_once_and_so_is_its_end() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (app, ana, bob) = (&inside.app, inside.user("ana").await, inside.user("bob").await);
    let after = |minutes: i64| NOW.plus_millis(minutes * MINUTE_MS);
    let palma = seen(&inside, &ana, "palma", NOW).await;
    // Those of which nobody is told: seen lately, gone for long, suspended, offering nothing, revoked, not wanted.
    seen(&inside, &ana, "lately", after(5)).await;
    seen(&inside, &ana, "long ago", after(-24 * 60)).await;
    let idle = seen(&inside, &ana, "idle", NOW).await;
    execute(&inside, "UPDATE islands SET offers = '[]' WHERE id = $1", &[idle.get()]).await;
    let suspended = seen(&inside, &ana, "suspended", NOW).await;
    execute(&inside, "UPDATE islands SET owner_suspended_at = 1 WHERE id = $1", &[suspended.get()]).await;
    let revoked = seen(&inside, &ana, "revoked", NOW).await;
    islands::revoke(app, &ana, revoked, &Once::unclaimed()).await.unwrap();
    let quiet = seen(&inside, &bob, "quiet", NOW).await;
    alerts::want(app, bob.id, false, &Once::unclaimed()).await.unwrap();
    assert!(!alerts::wanted(app, bob.id).await.unwrap() && alerts::wanted(app, ana.id).await.unwrap());

    // This process has looked on for a moment only: Islands have time to come back to it first.
    alerts::once(app, after(1)).await.unwrap();
    alerts::once(app, after(5)).await.unwrap();
    assert_eq!(letters(&inside).await, Vec::<String>::new());
    for minutes in [6, 7, 8] {
        alerts::once(app, after(minutes)).await.unwrap();
    }
    assert_eq!(letters(&inside).await, ["Your Island palma is offline"]);
    comes_back(&inside, palma, after(40)).await;
    comes_back(&inside, quiet, after(40)).await;
    assert_eq!(letters(&inside).await.len(), 2);
    assert_eq!(letters(&inside).await[1], "Your Island palma is back");

    // A short outage ends without a letter; the next one is told of again.
    execute(&inside, "UPDATE islands SET outage_told_at = 0 WHERE id <> $1", &[palma.get()]).await;
    alerts::once(app, after(46)).await.unwrap();
    comes_back(&inside, palma, after(47)).await;
    alerts::once(app, after(60)).await.unwrap();
    let told = letters(&inside).await;
    assert_eq!(told[2..], ["Your Island palma is offline", "Your Island palma is offline"]);
    inside.finish().await;
}

#[tokio::test]
async fn old_hours_are_summed_into_days_and_nothing_is_lost() {
    let inside = Inside::open(OpenOptions::server()).await;
    let (app, ana, bob) = (&inside.app, inside.user("ana").await, inside.user("bob").await);
    let palma = seen(&inside, &ana, "palma", NOW).await;
    let other = seen(&inside, &bob, "other", NOW).await;
    let now = NOW.as_millis() / HOUR_MS;
    let edge = (now - 90 * 24) / 24 * 24;
    // Of two Cargos and two Islands: at midnight, in the day, and on the days at both sides of the edge.
    let hours = [edge - 48, edge - 47, edge - 25, edge - 1, edge, edge + 5, now];
    for hour in hours {
        for (island, workload) in [(palma, 1), (palma, 2), (other, 1)] {
            let sql = "INSERT INTO island_hours (island_id, hour, workload_id, completed, failed, paid, earned, units, busy_ms)
                       VALUES ($1, $2, $3, 2, 1, 2, 300, 7, 50)";
            execute(&inside, sql, &[island.get(), hour, workload]).await;
        }
        let sql = "INSERT INTO island_presence (island_id, hour, online_secs) VALUES ($1, $2, 1800)";
        execute(&inside, sql, &[palma.get(), hour]).await;
    }
    for _ in 0..2 {
        stats::thin_once(app, NOW).await.unwrap();
        let found = owner::hours(app, ana.id, Timestamp::from_millis(0)).await.unwrap();
        let work: Vec<_> = found.work.iter().filter(|one| one.workload == 2).collect();
        let kept: Vec<i64> = work.iter().map(|one| one.hour).collect();
        assert_eq!(kept, [edge - 48, edge - 24, edge, edge + 5, now]);
        let of = |one: &owner::Hour| {
            (one.completed, one.failed, one.paid, one.earned.get(), one.units, one.busy_ms)
        };
        assert_eq!(of(work[0]), (6, 3, 6, 900, 21, 150));
        assert_eq!(of(work[1]), (2, 1, 2, 300, 7, 50));
        assert_eq!(found.work.iter().map(|one| one.paid).sum::<i64>(), 28);
        assert!(found.work.iter().all(|one| one.island == palma), "another's are not shown");
        assert_eq!(found.presence.iter().map(|one| one.online_secs).sum::<i64>(), 7 * 1800);
        assert_eq!(found.presence[0].online_secs, 3 * 1800);
    }
    let lately = owner::hours(app, ana.id, NOW).await.unwrap();
    assert_eq!((lately.work.len(), lately.presence.len()), (2, 1));
    assert_eq!(lately.work[0].earned, MicroCredits::new(300));
    inside.finish().await;
}
