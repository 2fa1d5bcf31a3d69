//! A few seeds, always the same, and one more when `ARCHIPELAGO_SIMULATE_SEED` names it.

use super::place::Engine;
use super::{Options, simulate};

/// Runs a seed and answers its digest.
async fn pass(seed: u64, steps: u32, engine: Engine) -> String {
    let options = Options { seed, steps, seeds: 1, engine, verbose: false, keep: false };
    let run = simulate(seed, &options).await.unwrap();
    if let Some(finding) = run.finding {
        panic!("{finding}");
    }
    run.digest
}

#[tokio::test]
async fn incident_008_nothing_is_lost_or_doubled_on_sqlite_whatever_goes_wrong() {
    for seed in [1, 2, 4, 6, 7, 9, 14, 17] {
        pass(seed, 250, Engine::Sqlite).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_on_postgres_whatever_goes_wrong() {
    pass(3, 120, Engine::Postgres).await;
}

#[tokio::test]
async fn the_seed_of_the_environment_passes() {
    if let Ok(seed) = std::env::var("ARCHIPELAGO_SIMULATE_SEED") {
        pass(seed.parse().unwrap(), 1000, Engine::Sqlite).await;
    }
}

#[tokio::test]
async fn the_same_seed_is_the_same_run() {
    let first = pass(5, 200, Engine::Sqlite).await;
    assert_eq!(pass(5, 200, Engine::Sqlite).await, first);
    assert_ne!(pass(8, 200, Engine::Sqlite).await, first);
}
