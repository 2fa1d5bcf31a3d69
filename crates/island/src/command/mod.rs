//! The commands of the program, and what they share.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use island::{Config, ConfigError, ConfigFile, State};

use crate::Common;

pub(crate) mod check;
pub(crate) mod pair;
mod screen;
pub(crate) mod serve;

/// Why a command ended badly, for the owner.
pub(crate) type CommandError = Box<dyn std::error::Error>;
/// How a command ended.
pub(crate) type CommandResult = Result<ExitCode, CommandError>;

/// The configuration's name in the state's directory.
const CONFIG_NAME: &str = "island.toml";

/// What is to be served, from the file, the command line, the environment and the pairing, in this order of weight from
/// below: pairing, file, environment, command line.
struct Setting {
    config: Config,
    file: Option<ConfigFile>,
    state: Option<State>,
}

impl Common {
    fn state(&self) -> Option<State> {
        self.state.as_ref().map_or_else(State::usual, |directory| Some(State::at(directory)))
    }

    fn setting(&self) -> Result<Setting, CommandError> {
        let state = self.state();
        let usual =
            state.as_ref().map(|state| state.directory().join(CONFIG_NAME)).filter(|path| path.exists());
        // `--demo` asks for no configuration that merely lies there.
        let usual = usual.filter(|_| !self.demo);
        let file = self.config.as_deref().or(usual.as_deref()).map(ConfigFile::open).transpose()?;
        let mut config = file.as_ref().map(|file| file.config().clone()).unwrap_or_default();
        if let Some(coordinator) = &self.coordinator {
            config.coordinator.clone_from(coordinator);
        }
        let token = self.token.clone().or_else(|| std::env::var("ISLAND_TOKEN").ok());
        if let Some(token) = token.filter(|token| !token.trim().is_empty()) {
            config.token = token.trim().into();
        }
        if config.token.reveal().is_empty()
            && let Some(identity) = state.as_ref().map(State::identity).transpose()?.flatten()
        {
            if config.coordinator.is_empty() {
                config.coordinator = identity.coordinator;
            } else if config.coordinator.trim_end_matches('/') != identity.coordinator.trim_end_matches('/') {
                // A token is nobody's business but that coordinator's.
                let problem = format!(
                    "is not {}, with which this machine is paired; pair it anew (`island pair --force`), or give a token",
                    identity.coordinator
                );
                return Err(ConfigError::Value { key: "coordinator".to_owned(), problem }.into());
            }
            config.token = identity.token;
        }
        if self.demo {
            if !config.backends.is_empty() {
                let problem = "is configured, so `--demo` has nothing to do; start without it";
                return Err(
                    ConfigError::Value { key: "backend".to_owned(), problem: problem.to_owned() }.into()
                );
            }
            config.backends.push(Config::demo_backend());
        }
        Ok(Setting { config, file, state })
    }
}

/// A line on the standard output.
pub(crate) fn say(text: &str) -> Result<(), CommandError> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// A line on the standard error. If that is gone, nobody is left to be told.
pub(crate) fn say_error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether colours are welcome where this goes.
fn wants_colour(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether somebody sits there who could answer.
fn somebody_is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// One thread: an agent passes on what others compute, thousands of answers a second, and handing them from thread to thread
/// costs more than a second one gains. What computes itself is sent to threads of its own.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
