//! A seeded simulation of everything that moves credits.
//!
//! The real ledger, the real job transactions (`jobs::commit`), the real recovery, purchases, grants and earnings run on a real
//! database, in one to three coordinators that take turns in this process. One step after another is drawn from the
//! seed and awaited: a client asks for a job or asks again, a committer takes what has queued up, an answer arrives or is lost,
//! an Island gives something or fails, somebody pays, a webhook comes for the fifth time, a process is killed,
//! sleeps, or takes over another's jobs, a clock jumps, a commit fails or is kept without anybody being told. So
//! the same seed is the same run, to the last digit of its digest.
//!
//! A [model](model) that is too simple to be wrong foretells every answer. After each step all balances, limits and holds and the
//! jobs that changed are compared with it, now and then every row, every statement and the program's own
//! audits. In the end everything is let come to its end, and nobody may have lost or kept anything.
//!
//! What is not simulated: sockets, pages and the market's choice of an Island. What `jobs::drive` does with the first two is
//! done here by [`drive`], which makes the same commands with the same rule of charges; an Island is simply the cheapest
//! that is there.
//!
//! `cargo run -p bench -- simulate --seed 7 --steps 2000`

mod buying;
mod check;
pub mod dice;
mod drive;
mod end;
mod faults;
mod islands;
mod model;
mod operator;
mod place;
mod process;
mod profile;
mod requests;
mod shop;
mod step;
#[cfg(test)]
mod tests;
mod together;
mod trouble;
mod upkeep;
mod world;

use std::io::Write as _;
use std::time::Instant;

use clap::Args;

use self::place::Engine;
use self::step::Step;
use self::world::World;
use crate::Result;

/// What is simulated.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The seed of the first run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many steps a run has.
    #[arg(long, default_value_t = 1000)]
    steps: u32,
    /// How many runs there are, each with the next seed.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// What keeps the data.
    #[arg(long, value_enum, default_value_t = Engine::Sqlite)]
    engine: Engine,
    /// Tells every step.
    #[arg(long)]
    verbose: bool,
    /// Leaves the data of a run that fails where they are.
    #[arg(long)]
    keep: bool,
}

/// How a run went.
#[derive(Debug)]
struct Run {
    /// Of all that was said.
    digest: String,
    /// What was found, with the last steps; nothing is good.
    finding: Option<String>,
}

/// Simulates.
pub async fn run(options: &Options) -> Result<()> {
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        let started = Instant::now();
        let run = simulate(seed, options).await?;
        if let Some(finding) = run.finding {
            return Err(finding.into());
        }
        let seconds = started.elapsed().as_secs_f64();
        let steps = f64::from(options.steps);
        let line = format!(
            "seed {seed}: {} steps, {:.0} a second, digest {}",
            options.steps,
            steps / seconds.max(0.001),
            run.digest
        );
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}

/// One run of one seed.
async fn simulate(seed: u64, options: &Options) -> Result<Run> {
    let mut world = World::new(seed, options.engine, options.verbose).await?;
    let result = all_steps(&mut world, options.steps).await;
    let digest = world.log.digest.to_string();
    let Err(error) = result else {
        world.close().await;
        return Ok(Run { digest, finding: None });
    };
    let last: Vec<&str> = world.log.last.iter().map(String::as_str).collect();
    let engine = if options.engine == Engine::Postgres { " --engine postgres" } else { "" };
    let mut finding = format!(
        "seed {seed}, step {}: {error}\n\nThe last steps:\n{}\n\nAgain: cargo run -p bench -- simulate --seed {seed} --steps {}{engine}",
        world.log.step,
        last.join("\n"),
        options.steps
    );
    let place = world.close().await;
    if options.keep {
        finding.push_str(&format!("\nThe data: {} ({})", place.url.clone(), place.keep().display()));
    }
    Ok(Run { digest, finding: Some(finding) })
}

async fn all_steps(world: &mut World, steps: u32) -> Result<()> {
    for step in 1..=steps {
        world.log.step = step;
        world.step().await?;
        world.check().await?;
        world.check_now_and_then().await?;
    }
    world.wind_down().await
}

impl World {
    /// Lets one thing happen. What cannot happen now is drawn again.
    async fn step(&mut self) -> Result<()> {
        let passed = self.dice.between(1, 40);
        self.pass_time(passed);
        self.beat_in_time(false).await?;
        for _ in 0..10_000 {
            let step = self.profile.step(&self.dice);
            if self.happen(step).await? {
                return Ok(());
            }
        }
        Err("nothing can happen any more".into())
    }

    async fn happen(&mut self, step: Step) -> Result<bool> {
        match step {
            Step::Submit => self.submit(),
            Step::Commit => self.commit().await,
            Step::Answer => self.answer(),
            Step::SendAgain => Ok(self.send_again()),
            Step::Island => Ok(self.island()),
            Step::Turn => Ok(self.turn()),
            Step::Market => Ok(self.market()),
            Step::Cancel => Ok(self.cancel()),
            Step::Wish => self.wish().await,
            Step::Wishes => self.wishes().await,
            Step::Buy => self.buy().await,
            Step::Provider => self.provider().await,
            Step::Pay => Ok(self.pay()),
            Step::Deliver => self.deliver().await,
            Step::Return => self.come_back().await,
            Step::Reconcile => self.reconcile().await,
            Step::Grant => self.grant().await,
            Step::Move => self.move_earnings().await,
            Step::Operate => self.operate().await,
            Step::Revoke => self.revoke().await,
            Step::Stray => self.stray().await,
            Step::Together => self.together().await,
            Step::Beat => self.beat().await,
            Step::TakeOver => self.take_over().await,
            Step::Resume => self.resume().await,
            Step::Expire => self.expire().await,
            Step::Forgotten => self.forgotten().await,
            Step::Fold => self.fold().await,
            Step::InVain => self.in_vain().await,
            Step::Kill => self.kill().await,
            Step::Start => self.start().await,
            Step::Sleep => Ok(self.sleep()),
            Step::Jump => self.jump().await,
        }
    }
}
