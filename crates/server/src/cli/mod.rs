//! The command line: `archipelago serve | admin … | audit | migrate | config`.

pub mod admin;
pub mod islands;
pub mod keys;
pub mod migrate;
pub mod money;
pub mod payouts;
pub mod promo;
pub mod receipts;
pub mod serve;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use db::OpenOptions;
use ledger::audit::Finding;

use crate::app::{StartError, open_database};
use crate::audit;
use crate::config::{Config, ConfigError, Store};

/// The coordinator of a compute network with a credit economy.
#[derive(Debug, Parser)]
#[command(name = "archipelago", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve {
        #[command(flatten)]
        common: Common,
        /// Try it out: sample Islands, sign-in links shown on the page.
        #[arg(long)]
        demo: bool,
        /// The address to listen on, such as 127.0.0.1:4000.
        #[arg(long)]
        listen: Option<SocketAddr>,
    },
    /// Look at and change accounts, beside a running server or without one.
    Admin {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        command: admin::AdminCommand,
        /// Answer in JSON.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Recompute from the stored rows what must always hold. Exits with 1 when something does not.
    Audit {
        #[command(flatten)]
        common: Common,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Bring the database's schema up to date, which `serve` does by itself; or, with --from and --to, copy everything in one
    /// database into another, of whatever engine. Can be interrupted and run again.
    Migrate {
        #[command(flatten)]
        common: Common,
        /// The database to copy: sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/NAME. No server may run on it.
        #[arg(long, requires = "to")]
        from: Option<String>,
        /// Where to: an empty database, or one that a copy of the same was begun in.
        #[arg(long, requires = "from")]
        to: Option<String>,
        /// Answer in JSON.
        #[arg(long, requires = "from")]
        json: bool,
    },
    /// Check the receipt of a job, downloaded from /api/v1/jobs/ID/receipt. Needs no server. Exits with 1 when anything is wrong.
    VerifyReceipt {
        /// The file.
        file: PathBuf,
        /// A public key of the network, in base64, from /api/v1/receipt-keys. Can be given several times.
        #[arg(long)]
        key: Vec<String>,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration in force.
    Config {
        #[command(flatten)]
        common: Common,
    },
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// A configuration file.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// The data directory.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
}

/// What a command ends with: a sentence and the number the process exits with.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It could not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It was refused.
    #[error("{0}")]
    Refused(String),
    /// The audit found something; it has been printed.
    #[error("the audit found {0} violations")]
    Findings(usize),
    /// The answer could not be written.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl From<db::DbError> for CliError {
    fn from(error: db::DbError) -> Self {
        Self::Start(error.into())
    }
}

impl Common {
    /// The configuration in force.
    ///
    /// # Errors
    /// A [`ConfigError`] naming the key.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let text = match &self.config {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                ConfigError(format!("the configuration file {} cannot be read: {error}", path.display()))
            })?),
        };
        let file = self.config.as_deref().zip(text.as_deref());
        let mut config = Config::load(file, std::env::vars())?;
        if let Some(data) = &self.data {
            config.data_dir.clone_from(data);
        }
        Ok(config)
    }
}

/// Runs the command line of this process.
///
/// # Errors
/// A [`CliError`] whose sentence is for the operator.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Serve { common, demo, listen } => {
            let mut config = common.load()?;
            if let Some(listen) = listen {
                config.listen = listen;
            }
            Ok(serve::run(config, demo).await?)
        }
        Command::Admin { common, command, json } => admin::run(&common.load()?, command, json).await,
        Command::Audit { common, json } => run_audit(&common.load()?, json).await,
        Command::Migrate { common, from: Some(from), to: Some(to), json } => {
            migrate::run(&common.load()?, &from, &to, json).await
        }
        Command::Migrate { common, .. } => {
            open_database(&common.load()?, OpenOptions::command()).await?;
            print("The schema is up to date.")
        }
        Command::VerifyReceipt { file, key, json } => receipts::verify(&file, &key, json),
        Command::Config { common } => print(&render(&common.load()?)),
    }
}

async fn run_audit(config: &Config, json: bool) -> Result<(), CliError> {
    if let Store::Sqlite(path) = config.store()?
        && !path.exists()
    {
        return Err(CliError::Refused(format!(
            "there is no database at {}; is --data right?",
            path.display()
        )));
    }
    let db = open_database(config, OpenOptions::command()).await?;
    let started = std::time::Instant::now();
    let progress = std::io::stderr().is_terminal() && !json;
    let findings = audit::run(
        &db,
        Arc::new(move |check: &str| {
            if progress {
                // Nobody minds when this cannot be shown.
                let _ = writeln!(std::io::stderr(), "  {check}");
            }
        }),
    )
    .await?;
    if json {
        let body = serde_json::json!({"ok": findings.is_empty(), "findings": findings});
        print(&body.to_string())?;
    } else if findings.is_empty() {
        let seconds = started.elapsed().as_secs();
        print("The books balance: no violation of I1, I2, I3, I4, I5, I6, I7, I8, I12, I15.")?;
        if progress {
            writeln!(std::io::stderr(), "  checked in {seconds} s")?;
        }
    } else {
        print_findings(&findings)?;
    }
    if findings.is_empty() { Ok(()) } else { Err(CliError::Findings(findings.len())) }
}

fn print_findings(findings: &[Finding]) -> Result<(), CliError> {
    for finding in findings {
        print(&format!("{}: {}\n    {}", finding.invariant, finding.what, finding.meaning))?;
    }
    Ok(())
}

fn render(config: &Config) -> String {
    toml::to_string_pretty(config).unwrap_or_default()
}

/// Writes a line to standard output.
///
/// # Errors
/// When nobody reads it.
pub fn print(line: &str) -> Result<(), CliError> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
