//! Measures Archipelago and checks the books afterwards.
//!
//! * `jobs` measures the built programs from outside: starts them as an operator would and puts load on them through real
//!   sockets; so do `gateway`, as a client sees it that could ask the upstream itself, and `islands`, with thousands of Islands
//!   connected.
//! * `market` measures the book of one Cargo, as a library; `economy` lets agents trade on it and settle on the ledger.
//! * `ledger` and `growth` measure the ledger as a library, on both databases, beside what others do.
//!
//! `cargo build --release -p server -p island && cargo run --release -p bench -- jobs`

mod http;
mod load;
mod meters;
mod network;
mod postgres;
mod processes;
mod report;
mod simulate;
mod stats;
mod upstream;
mod workloads;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::workloads::{economy, gateway, growth, islands, jobs, ledger, market};

/// What can go wrong ends the measurement with a sentence.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures Archipelago on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Billed jobs per second and latencies, through HTTP and a real Island connection, beside the same load
    /// sent straight to the upstream.
    Jobs(jobs::Options),
    /// What going through Archipelago costs a client beside asking the upstream itself: billed chat completions per second,
    /// whole and streamed, added latency, and memory of idle streams.
    Gateway(gateway::Options),
    /// What thousands of connected Islands cost the coordinator, and what a job takes among them.
    Islands(islands::Options),
    /// Durable cycles of hold and settlement per second and their latencies, our ledger beside others.
    Ledger(ledger::Options),
    /// What a cycle of hold and settlement costs on an empty ledger and on one that has grown.
    Growth(growth::Options),
    /// What a command of the market costs, with more and more asks in the book.
    Market(market::Options),
    /// An economy of Islands and consumers on the real market and the real ledger, for some simulated days.
    Economy(economy::Options),
    /// Everything that moves credits, step by step from a seed, with all that can go wrong.
    Simulate(simulate::Options),
    /// The instant upstream, which the other commands start by themselves.
    #[command(hide = true)]
    Upstream,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One thread for everything: the machine's cores are for what is measured.
fn run(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        match command {
            Command::Upstream => upstream::run().await,
            Command::Jobs(options) => unless_stopped(jobs::run(&options)).await,
            Command::Gateway(options) => unless_stopped(gateway::run(&options)).await,
            Command::Islands(options) => unless_stopped(islands::run(&options)).await,
            Command::Growth(options) => unless_stopped(growth::run(&options)).await,
            Command::Economy(options) => unless_stopped(economy::run(&options)).await,
            Command::Market(options) => market::run(&options),
            Command::Simulate(options) => unless_stopped(simulate::run(&options)).await,
            Command::Ledger(options) => unless_stopped(ledger::run(&options)).await,
        }
    })
}

/// Ends early at a signal, in such a way that child processes are stopped and the data is removed.
async fn unless_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err("stopped".into()),
        _ = terminate.recv() => Err("stopped".into()),
    }
}

/// Says how far the measurement is, beside the results on standard output.
fn note(line: &str) {
    // Nothing is lost when nobody listens.
    drop(writeln!(std::io::stderr(), "{line}"));
}
