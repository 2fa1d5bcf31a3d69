//! Small measurements on the real engines, books checked.

use clap::Parser;
use pg_temp::PgTemp;
use tokio::task::LocalSet;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn options(arguments: &str) -> Options {
    let words = "bench --seconds 0.3 --runs 1 --accounts 100".split(' ').chain(arguments.split(' '));
    Cli::parse_from(words).options
}

async fn rows(arguments: &str) -> Vec<Row> {
    let options = options(arguments);
    let report = LocalSet::new().run_until(measure(&options)).await.unwrap();
    assert!(report.verified.cycles > 0);
    report.medians
}

#[tokio::test]
async fn cycles_on_postgres_are_measured_beside_the_baseline() {
    let url = PgTemp::shared().unwrap().url("postgres");
    let rows = rows(&format!(
        "--engines postgres,baseline,statement --batch 64 --no-hot --no-half --postgres {url}"
    ))
    .await;
    // Our ledger, and each style of the baseline with 16 and with 64 clients.
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.per_second > 1.0), "{rows:?}");
}

#[tokio::test]
async fn cycles_on_sqlite_are_measured_and_the_books_agree() {
    let rows = rows("--engines sqlite --batch 64").await;
    // Spread and hot, each at full and at half speed.
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert!(row.per_second > 10.0 && row.command_ms.p50 > 0.0 && row.batch >= 1.0, "{row:?}");
        assert!(row.cycle_ms.p50 >= row.command_ms.p50, "{row:?}");
    }
}

#[test]
fn half_the_speed_is_half_the_median() {
    assert_eq!(half(&[100.0, 900.0, 300.0]).unwrap(), 150);
    assert_eq!(half(&[0.5]).unwrap(), 1);
}

#[test]
fn enough_cycles_are_outstanding_to_fill_the_batches() {
    let limits = options("--batch 100 --lanes 2").batches.limits().unwrap();
    assert_eq!((limits.batch, limits.lanes, limits.outstanding), (100, 2, 300));
    assert_eq!(options("--outstanding 7").batches.limits().unwrap().outstanding, 7);
}
