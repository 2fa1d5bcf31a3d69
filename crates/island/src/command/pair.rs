//! `island pair`.

use std::process::ExitCode;

use island::{Code, Config, ConfigError, ConfigFile, Identity, PairError, Pairing};

use super::{CommandError, CommandResult, runtime, say, say_error, somebody_is_there};
use crate::Common;

pub(crate) fn run(common: &Common, name: Option<&str>, force: bool) -> CommandResult {
    let config = common.config.as_deref().map(ConfigFile::open).transpose()?;
    let config = config.map(|file| file.config().clone()).unwrap_or_default();
    let coordinator = common.coordinator.as_ref().or(Some(&config.coordinator).filter(|url| !url.is_empty()));
    let coordinator = coordinator.ok_or_else(|| ConfigError::Value {
        key: "--coordinator".to_owned(),
        problem: "is missing: the address of the coordinator, such as https://archipelago.example".to_owned(),
    })?;
    let state = common.state().ok_or("no directory for the state is known; name one with `--state`")?;
    let place = state.directory().display().to_string();
    let pairing = Pairing::new(coordinator, state, force)?;
    let runtime = runtime()?;
    let paired = runtime.block_on(async {
        tokio::select! {
            // First, so that it is heard from the beginning.
            biased;
            _ = tokio::signal::ctrl_c() => Ok(None),
            paired = pair(&pairing, name, &config) => paired.map(Some),
        }
    });
    // A question that still waits for its answer must not keep the program.
    runtime.shutdown_background();
    let Some(Identity { name, island_id, .. }) = paired? else {
        say_error("Stopped. Nothing was paired; a code that was shown runs out by itself.");
        return Ok(ExitCode::from(130));
    };
    say(&format!("\nPaired: this machine is {name} ({island_id}). Its token is kept in {place}."))?;
    say("Next: `island check` tries everything, and `island` serves.")?;
    Ok(ExitCode::SUCCESS)
}

async fn pair(pairing: &Pairing, name: Option<&str>, config: &Config) -> Result<Identity, CommandError> {
    loop {
        let code = pairing.begin(name, config).await?;
        show(&code)?;
        let trouble = |problem: &str| say_error(&format!("Still waiting, but {problem}."));
        match pairing.finish(&code, trouble).await {
            Err(PairError::Expired) if somebody_is_there() => {
                say("\nThe code was not entered in time. Press Enter for a new one, or Ctrl-C to stop.")?;
                tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
            }
            done => return Ok(done?),
        }
    }
}

/// Large enough to be read from the other side of the room.
fn show(code: &Code) -> Result<(), CommandError> {
    let spaced: String = code.code.chars().flat_map(|letter| [letter, ' ']).collect();
    let line = "─".repeat(spaced.chars().count() + 5);
    say(&format!("\n    ┌{line}┐\n    │   {spaced}  │\n    └{line}┘\n"))?;
    say(&format!("Open  {}", code.link))?;
    say(&format!("or enter the code {} at {}", code.code, code.page))?;
    let minutes = match code.good_for.as_secs().div_ceil(60) {
        1 => "a minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    };
    say(&format!("It is good for {minutes}. Waiting for you to confirm it there …"))
}
