//! The `archipelago` program.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use server::cli::{Cli, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing better can be done when even this cannot be written.
            drop(writeln!(std::io::stderr(), "archipelago: {error}"));
            ExitCode::FAILURE
        }
    }
}
