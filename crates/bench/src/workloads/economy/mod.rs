//! `bench economy`: an economy of Islands that follow their profit and consumers that follow their worth, for some
//! simulated days, on the real books of the market and the real ledger. All chance is from a seed.
//!
//! What must hold is checked while it runs and afterwards: no job above its bid, no cheaper Island that was free and eligible
//! passed over (found by looking at all Islands, see [`watch`]), and what consumers paid is what owners and the network got,
//! to the micro-credit, as the ledger itself says. What is interesting is reported and drawn: whether prices converge, how
//! busy the Islands are, who goes away empty-handed, who earns.

mod agents;
mod bank;
mod charts;
mod record;
mod report;
mod svg;
#[cfg(test)]
mod tests;
mod watch;
mod world;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use ledger::system;

use self::report::Report;
use self::world::{Size, World};
use crate::report::print;
use crate::{Result, note};

/// What is simulated.
#[derive(Debug, Args)]
pub struct Options {
    /// What chance is made of.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulated days.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// Islands at first; each day a tenth as many come.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    islands: u32,
    /// Consumers.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    consumers: u32,
    /// Into which folder the charts are written. Default: none are.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Simulates, checks, reports and draws.
pub async fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    let size = Size {
        days: usize::try_from(options.days)?,
        islands: usize::try_from(options.islands)?,
        consumers: usize::try_from(options.consumers)?,
    };
    note(&format!("{} days from seed {}", size.days, options.seed));
    let (world, report) = simulate(options.seed, size).await?;
    print(&report.text())?;
    if let Some(folder) = &options.out {
        std::fs::create_dir_all(folder)?;
        for (name, content) in charts::all(&world, size.days) {
            std::fs::write(folder.join(name), content)?;
        }
    }
    print(&format!("took {:.1} s", started.elapsed().as_secs_f64()))
}

async fn simulate(seed: u64, size: Size) -> Result<(World, Report)> {
    let mut world = World::new(seed, size).await?;
    world.live().await?;
    let charged = check(&world).await?;
    let report = Report::of(&world, charged);
    Ok((world, report))
}

/// The books afterwards: everybody has in the ledger what the simulation thinks, what was paid is what was earned, and the
/// ledger's own audit finds nothing. Answers what was charged, in micro-credits.
async fn check(world: &World) -> Result<i64> {
    let wallets = world.consumers.iter().map(|consumer| consumer.account);
    let owners = world.islands.iter().map(|island| island.account);
    let posted = world.bank.posted(wallets.chain(owners).chain([system::fees()]).collect()).await?;
    let of = |account| posted.get(&account).copied().unwrap_or_default();
    let (mut charged, mut earned) = (0, 0);
    for consumer in &world.consumers {
        if of(consumer.account) != consumer.funds {
            return Err(format!(
                "{} has {} instead of {}",
                consumer.user,
                of(consumer.account),
                consumer.funds
            )
            .into());
        }
        charged += consumer.granted - of(consumer.account);
    }
    for island in &world.islands {
        if of(island.account) != island.earned {
            return Err(format!("{} earned {}", island.ask.island, of(island.account)).into());
        }
        earned += of(island.account);
    }
    let fees = of(system::fees());
    if charged != earned + fees || charged != world.record.charged() {
        let recorded = world.record.charged();
        return Err(format!(
            "{charged} were charged ({recorded} recorded), {earned} earned, {fees} are fees"
        )
        .into());
    }
    world.bank.audit().await?;
    Ok(charged)
}
