//! A handful of seeds, always the same, and one more if the environment names it.

use super::place::Engine;
use super::{Options, Run, simulate};

async fn pass(seed: u64, steps: u32, engine: Engine) -> Run {
    let options = Options { seed, steps, seeds: 1, engine, verbose: false, keep: false };
    let run = simulate(seed, &options).await.unwrap();
    if let Some(finding) = run.finding {
        panic!("{finding}");
    }
    run
}

#[tokio::test]
async fn seeds_on_sqlite() {
    for seed in [1, 2, 3, 5, 8, 13] {
        pass(seed, 300, Engine::Sqlite).await;
    }
}
