//! `island` itself: serves until it is asked to stop.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use island::{Agent, Config, Updater};
use types::rng::SystemRandom;
use types::time::SystemClock;

use super::screen::Screen;
use super::{CommandResult, Setting, runtime, wants_colour};
use crate::Common;

/// How often the live line is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// How often a summary is logged where there is no live line.
const SUMMARY_EVERY: Duration = Duration::from_secs(600);

pub(crate) fn run(common: &Common) -> CommandResult {
    let screen = Screen::new(!common.quiet);
    let usual = if common.quiet { "warn" } else { "warn,island=info" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| usual.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(wants_colour(&std::io::stderr()))
        .with_writer(screen.clone())
        .init();
    let Setting { config, file, state } = common.setting()?;
    config.check()?;
    announce(&config, common.demo);
    let mut agent = Agent::with_state(config, Arc::new(SystemRandom), Arc::new(SystemClock), state);
    if let Some(file) = file {
        agent = agent.following(file);
    }
    let updater = agent.updater();
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = agent.run(stop_signal()) => result,
            never = report(&screen, &updater, common.quiet) => match never {},
        }
    });
    // Everything has been answered; what a thread still draws, nobody waits for.
    runtime.shutdown_background();
    screen.show("");
    tracing::info!("Disconnected. {}", updater.summary());
    result?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the owner informed.
async fn report(screen: &Screen, updater: &Updater, quiet: bool) -> Infallible {
    if screen.is_live() {
        loop {
            screen.show(&updater.summary());
            tokio::time::sleep(DRAW_EVERY).await;
        }
    }
    loop {
        tokio::time::sleep(SUMMARY_EVERY).await;
        if !quiet {
            tracing::info!("{}", updater.summary());
        }
    }
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
