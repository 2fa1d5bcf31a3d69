//! Small growth on the real engines, books checked.

use clap::Parser;
use pg_temp::PgTemp;
use tokio::task::LocalSet;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

async fn grown(arguments: &str) -> (Vec<Point>, Vec<String>) {
    let words =
        "bench --seconds 0.2 --runs 1 --batch 512 --free-gib 0".split(' ').chain(arguments.split(' '));
    let options = Cli::parse_from(words).options;
    let report = LocalSet::new().run_until(measure(&options)).await.unwrap();
    (report.points, report.scaled)
}

#[tokio::test]
async fn a_ledger_on_sqlite_grows_and_is_measured() {
    let (points, left_out) = grown("--accounts 100,1000 --entries 50,100000").await;
    // 50 entries there are already, and on a fast machine 100,000 too.
    assert!(
        (1..=2).contains(&left_out.len()) && left_out[0].starts_with("50 entries: left out"),
        "{left_out:?}"
    );
    assert_eq!(points.len() + left_out.len(), 4, "{points:?} {left_out:?}");
    assert_eq!((points[0].accounts, points[0].entries), (100, [200, points[0].entries[1]]));
    assert_eq!(points[1].accounts, 1000);
    let last = points.last().unwrap();
    assert!(last.entries[1] >= 100_000 && last.entries[1] > last.entries[0], "{last:?}");
    assert!(points.iter().all(|point| point.cycle_us > 0.0 && point.memory.now_mib > 0), "{points:?}");
}

#[tokio::test]
async fn a_ledger_on_postgres_grows_and_is_measured() {
    let url = PgTemp::shared().unwrap().url("postgres");
    let (points, _) =
        grown(&format!("--accounts 100,200 --entries 1000 --engine postgres --postgres {url}")).await;
    assert!(points.len() >= 2 && points.iter().all(|point| point.cycle_us > 0.0), "{points:?}");
    assert!(points.iter().all(|point| point.disk.database_mib > 0), "{points:?}");
}
