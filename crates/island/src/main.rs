//! `island`: the provider's agent on the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serve an Archipelago network with this machine.
#[derive(Parser)]
#[command(name = "island", version, about)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What all commands understand.
#[derive(clap::Args)]
struct Common {
    /// The coordinator's address, such as https://archipelago.example [config: coordinator; or as paired].
    #[arg(long, value_name = "URL", global = true)]
    coordinator: Option<String>,
    /// The Island's token [environment: `ISLAND_TOKEN`, config: token; or as paired].
    #[arg(long, global = true)]
    token: Option<String>,
    /// What is served, for how much; followed while the Island runs [default: island.toml in the state, if there].
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where the agent keeps its token and what it measured [default: ~/.config/archipelago-island].
    #[arg(long, value_name = "DIRECTORY", global = true)]
    state: Option<PathBuf>,
    /// Serve without a model: plainly labelled answers, for trying out a network.
    #[arg(long, global = true)]
    demo: bool,
    /// Say nothing but warnings and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Get a token for this machine by way of a code that its owner enters on the coordinator's page.
    Pair {
        /// What the Island is to be called [default: the machine's name].
        #[arg(long)]
        name: Option<String>,
        /// Replace the token of an earlier pairing.
        #[arg(long)]
        force: bool,
    },
    /// Try the configuration, the coordinator, the token and every backend, and say what would be offered.
    Check,
    /// Print a configuration with comments, to start from.
    #[command(alias = "example-config")]
    Config {
        /// The commented default; the only one there is.
        #[arg(long)]
        default: bool,
    },
}

fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    let result = match command {
        None => command::serve::run(&common),
        Some(Command::Pair { name, force }) => command::pair::run(&common, name.as_deref(), force),
        Some(Command::Check) => command::check::run(&common),
        Some(Command::Config { .. }) => command::say(island::EXAMPLE.trim_end()).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        command::say_error(&format!("The Island stops: {error}"));
        ExitCode::FAILURE
    })
}
