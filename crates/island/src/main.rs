//! `island`: the provider's agent on the command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use island::{Agent, Config, ConfigError, ConfigFile};
use types::rng::SystemRandom;

/// Serve an Archipelago network with this machine.
#[derive(Parser)]
#[command(name = "island", version, about)]
struct Arguments {
    /// The coordinator's address, such as https://archipelago.example [config: coordinator].
    #[arg(long, value_name = "URL")]
    coordinator: Option<String>,
    /// The Island's token [environment: `ISLAND_TOKEN`, config: token].
    #[arg(long)]
    token: Option<String>,
    /// What is served, for how much; followed while the Island runs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve without a model: plainly labelled answers, for trying out a network.
    #[arg(long)]
    demo: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print a configuration with comments, to start from.
    #[command(alias = "example-config")]
    Config {
        /// The commented default; the only one there is.
        #[arg(long)]
        default: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Config { .. }) = arguments.command {
        let printed = std::io::stdout().lock().write_all(island::EXAMPLE.as_bytes());
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn,island=info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr).init();
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("The Island stops: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let file = arguments.config.as_deref().map(ConfigFile::open).transpose()?;
    let mut config = file.as_ref().map(|file| file.config().clone()).unwrap_or_default();
    if let Some(coordinator) = arguments.coordinator {
        config.coordinator = coordinator;
    }
    let token = arguments.token.or_else(|| std::env::var("ISLAND_TOKEN").ok());
    if let Some(token) = token {
        config.token = token.trim().into();
    }
    if arguments.demo {
        if !config.backends.is_empty() {
            let problem = "is configured, so `--demo` has nothing to do; start without it";
            return Err(ConfigError::Value { key: "backend".to_owned(), problem: problem.to_owned() }.into());
        }
        config.backends.push(Config::demo_backend());
    }
    config.check()?;
    announce(&config, arguments.demo);
    let mut agent = Agent::new(config, Arc::new(SystemRandom));
    if let Some(file) = file {
        agent = agent.following(file);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async { agent.run(stop_signal()).await });
    // Everything has been answered; what a thread still draws, nobody waits for.
    runtime.shutdown_background();
    tracing::info!("Disconnected.");
    Ok(result?)
}

fn announce(config: &Config, demo: bool) {
    tracing::info!("Coordinator: {}", config.coordinator);
    if demo {
        tracing::warn!("DEMO: no model runs on this Island, and its answers say so.");
    }
    if config.coordinator.starts_with("http://") && !is_this_machine(&config.coordinator) {
        tracing::warn!(
            "The coordinator is reached without encryption: the token and all jobs can be read on the way."
        );
    }
}

fn is_this_machine(coordinator: &str) -> bool {
    ["http://127.", "http://localhost", "http://[::1]"].iter().any(|prefix| coordinator.starts_with(prefix))
}

/// Returns at the first Ctrl-C or SIGTERM; the second ends the program on the spot.
async fn stop_signal() {
    one_signal().await;
    tracing::info!("Asked to stop. Ask again to stop without finishing what runs.");
    tokio::spawn(async {
        one_signal().await;
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn one_signal() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let terminated = async {
        match terminate {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}

#[cfg(not(unix))]
async fn one_signal() {
    // Without a way to hear the signal it ends the program by itself.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
