//! `archipelago migrate --from … --to …`: everything in one database copied into another, of whatever engine, and proved.
//!
//! Nothing may use either meanwhile. A server on a data directory is known by its lock, one elsewhere by its signs of life, and
//! whatever is missed is found out when the copy is compared with its source.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use db::{Copied, CopyError, CopyProgress, CopyStep, Db, DbError, OpenOptions};
use serde_json::json;

use super::{CliError, print, print_findings};
use crate::app::{lock_if_free, make_folder};
use crate::config::{Config, Store, shown};
use crate::{MIGRATIONS, audit, nodes};

/// How often a line on a terminal is written anew.
const REFRESH: Duration = Duration::from_millis(100);

/// One of the two databases.
struct Side {
    /// What it is called in sentences.
    name: &'static str,
    url: String,
    store: Store,
}

/// Copies `from` into `to`.
///
/// # Errors
/// A [`CliError`] whose sentence is for the operator.
pub async fn run(config: &Config, from: &str, to: &str, json: bool) -> Result<(), CliError> {
    let (from, to) =
        (Side::parse("source", config, "--from", from)?, Side::parse("target", config, "--to", to)?);
    if let Store::Sqlite(path) = &from.store
        && !path.exists()
    {
        return refuse(format!("there is no database at {}; is --from right?", path.display()));
    }
    if from.is(&to) {
        return refuse("--from and --to name the same database".to_owned());
    }
    let started = Instant::now();
    let (_locks, gone) = lock(config, &[&from, &to])?;
    let (source, target) = (from.open().await?, to.open().await?);
    for (side, db) in [(&from, &source), (&to, &target)] {
        refuse_if_used(config, side, db, &gone).await?;
    }
    let progress = Progress::new();
    let copied = source.copy_to(&target, MIGRATIONS, &|step| progress.show(step)).await;
    progress.end();
    let copied = copied.map_err(|error| CliError::Refused(explained(&error)))?;
    if audit::books(&source).await? != audit::books(&target).await? {
        return refuse(
            "the books of the copy are not those of the source; run this again with an empty database"
                .to_owned(),
        );
    }
    let findings = audit::run(&target, Arc::new(|check: &str| say(&format!("auditing  {check}")))).await?;
    let clean = findings.is_empty();
    if json {
        let tables: serde_json::Map<_, _> =
            copied.tables.iter().map(|(name, rows)| (name.clone(), json!(rows))).collect();
        print(
            &json!({
                "ok": clean, "complete_before": copied.complete_before, "rows": rows(&copied), "written": copied.written,
                "tables": tables, "left_out": copied.left_out, "findings": findings,
            })
            .to_string(),
        )?;
    } else {
        print_findings(&findings)?;
        print(&sentence(&copied, &to, clean, started.elapsed()))?;
    }
    if clean { Ok(()) } else { Err(CliError::Findings(findings.len())) }
}

fn explained(error: &CopyError) -> String {
    match error {
        CopyError::Source(DbError::Newer { .. }) | CopyError::Target(DbError::Newer { .. }) => {
            error.to_string()
        }
        CopyError::Source(_) | CopyError::Target(_) => {
            format!("the copy was interrupted: {error}; run the same again, and it goes on from there")
        }
        error => error.to_string(),
    }
}

fn sentence(copied: &Copied, to: &Side, clean: bool, took: Duration) -> String {
    let (rows, written, tables) = (grouped(rows(copied)), grouped(copied.written), copied.tables.len());
    let mut text = if copied.complete_before {
        format!(
            "The copy is complete already: {rows} rows in {tables} tables, and nothing has changed since."
        )
    } else {
        format!(
            "Copied: {written} rows written in {} s; all {rows} rows in {tables} tables were read back and compared.",
            took.as_secs()
        )
    };
    if !copied.left_out.is_empty() {
        text += &format!(" Not copied, because they are not Archipelago's: {}.", copied.left_out.join(", "));
    }
    text + &if clean {
        format!(" The books balance. Set database.url to {} and start the server.", shown(&to.url))
    } else {
        " But its books do not balance, as those of the source do not.".to_owned()
    }
}

fn rows(copied: &Copied) -> i64 {
    copied.tables.iter().map(|(_, rows)| rows).sum()
}

fn refuse<T>(sentence: String) -> Result<T, CliError> {
    Err(CliError::Refused(sentence))
}

impl Side {
    fn parse(name: &'static str, config: &Config, option: &str, url: &str) -> Result<Self, CliError> {
        let mut named = config.clone();
        url.clone_into(&mut named.database.url);
        match named.store() {
            Ok(store) if !url.is_empty() => Ok(Self { name, url: named.database_url()?, store }),
            _ => refuse(format!(
                "{option} must be \"sqlite:PATH\" or \"postgres://USER:PASSWORD@HOST:PORT/NAME\""
            )),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.store, &other.store) {
            (Store::Sqlite(one), Store::Sqlite(other)) => real(one) == real(other),
            _ => self.url == other.url,
        }
    }

    /// The data directories that a server on this database may run on, as far as they can be known here.
    fn folders(&self, config: &Config) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        if let Store::Sqlite(path) = &self.store {
            folders.extend(path.parent().map(Path::to_path_buf));
        }
        let configured =
            Self::parse(self.name, config, "database.url", &config.database_url().unwrap_or_default());
        if configured.is_ok_and(|configured| configured.is(self)) {
            folders.push(config.data_dir.clone());
        }
        folders
    }

    async fn open(&self) -> Result<Db, CliError> {
        if let Store::Sqlite(path) = &self.store
            && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            make_folder(folder)?;
        }
        Db::open(&self.url, OpenOptions::command()).await.map_err(|error| {
            CliError::Refused(format!("the {} {} cannot be used: {error}", self.name, shown(&self.url)))
        })
    }
}

/// A path without links, also of a file that is still to be made.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// Takes the data directories of both for this process alone. Answers which coordinators cannot run therefore.
fn lock(config: &Config, sides: &[&Side]) -> Result<(Vec<File>, Vec<String>), CliError> {
    let mut folders = BTreeSet::new();
    for folder in sides.iter().flat_map(|side| side.folders(config)) {
        // Where no server ever ran there is nothing to take.
        if folder.join(crate::app::LOCK).exists() {
            folders.insert(real(&folder));
        }
    }
    let (mut locks, mut gone) = (Vec::new(), Vec::new());
    for folder in folders {
        let Some(lock) = lock_if_free(&folder)? else {
            return refuse(format!(
                "a server is running on the data directory {}; stop it first",
                folder.display()
            ));
        };
        locks.push(lock);
        gone.extend(nodes::known_instance(&folder));
    }
    Ok((locks, gone))
}

async fn refuse_if_used(config: &Config, side: &Side, db: &Db, gone: &[String]) -> Result<(), CliError> {
    if !db.tables().await?.iter().any(|table| table == "coordinators") {
        return Ok(());
    }
    let patience = Duration::from_secs(u64::from(config.coordinators.takeover_secs));
    let waits = |number| {
        say(&format!(
            "waiting   up to {} s, to see whether coordinator {number} of the {} is alive",
            patience.as_secs(),
            side.name
        ));
    };
    match nodes::alive(db, gone, patience, waits).await? {
        Some(number) => refuse(format!(
            "coordinator {number} is running on the {} {}; stop it first",
            side.name,
            shown(&side.url)
        )),
        None => Ok(()),
    }
}

/// Writes a line to standard error. Nobody minds when that cannot be done.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "  {line}"));
}

/// Shows how far it is: a line for each table, which on a terminal moves while the table is worked on.
struct Progress {
    terminal: bool,
    state: Mutex<Shown>,
}

/// What is worked on.
struct Shown {
    step: CopyStep,
    table: String,
    began: Instant,
    /// When the line was last written, and whether it is the last of its table.
    written: Option<Instant>,
    over: bool,
}

impl Progress {
    fn new() -> Self {
        let state = Shown {
            step: CopyStep::Copying,
            table: String::new(),
            began: Instant::now(),
            written: None,
            over: true,
        };
        Self { terminal: std::io::stderr().is_terminal(), state: Mutex::new(state) }
    }

    fn show(&self, step: &CopyProgress<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.step != step.step || state.table != step.table || step.done == 0 {
            *state = Shown {
                step: step.step,
                table: step.table.to_owned(),
                began: Instant::now(),
                written: None,
                over: false,
            };
        }
        let over = step.done >= step.of;
        let due = state.written.is_none_or(|written| written.elapsed() >= REFRESH);
        let moves = self.terminal && due;
        if state.over || !(over || moves) {
            return;
        }
        state.over = over;
        state.written = Some(Instant::now());
        let line = line(step, state.began.elapsed());
        let mut stderr = std::io::stderr();
        drop(match self.terminal {
            // Back to the beginning of the line, and the rest of what stood there is wiped out.
            true => write!(stderr, "\r  {line}\x1b[K{}", if over { "\n" } else { "" }),
            false => writeln!(stderr, "  {line}"),
        });
    }

    /// Leaves the line that was being written.
    fn end(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.terminal && !state.over {
            drop(writeln!(std::io::stderr()));
        }
    }
}

fn line(step: &CopyProgress<'_>, took: Duration) -> String {
    let doing = match step.step {
        CopyStep::Copying => "copying",
        CopyStep::Checking => "checking",
        CopyStep::Comparing => "comparing",
    };
    let millis = i64::try_from(took.as_millis()).unwrap_or(i64::MAX).max(1);
    let rate = step.done.saturating_mul(1000) / millis;
    format!(
        "{doing:<9} {:<20} {:>13} of {} rows, {} a second",
        step.table,
        grouped(step.done),
        grouped(step.of),
        grouped(rate)
    )
}

/// A number with commas.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_how_fast() {
        let step = CopyProgress { step: CopyStep::Copying, table: "jobs", done: 1_234_567, of: 2_000_000 };
        assert_eq!(
            line(&step, Duration::from_secs(10)),
            "copying   jobs                     1,234,567 of 2,000,000 rows, 123,456 a second"
        );
        assert!(
            line(&CopyProgress { done: 0, of: 0, ..step }, Duration::ZERO)
                .contains(" 0 of 0 rows, 0 a second")
        );
        assert_eq!([0, 999, 1000, 100_000].map(grouped), ["0", "999", "1,000", "100,000"]);
    }

    #[test]
    fn databases_are_the_same_by_whatever_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, []).unwrap();
        config.data_dir = folder.path().to_path_buf();
        let path = folder.path().join("archipelago.db");
        std::fs::write(&path, "").unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        let side = |url: &str| Side::parse("source", &config, "--from", url).unwrap();
        let one = side(&format!("sqlite:{}", path.display()));
        assert!(one.is(&side(&format!("sqlite:{}/x/../archipelago.db", folder.path().display()))));
        assert!(!one.is(&side("sqlite:other.db")) && !one.is(&side("postgres://a/b")));
        assert!(side("postgres://a/b").is(&side("postgres://a/b")));
        // Its own folder, and the configured one, because that is its data directory.
        assert_eq!(one.folders(&config).len(), 2);
        assert_eq!(side("postgres://a/b").folders(&config), Vec::<PathBuf>::new());
        for url in ["", "sqlite:", "oracle://x"] {
            let refused = Side::parse("source", &config, "--from", url).err().unwrap().to_string();
            assert!(refused.starts_with("--from must be"), "{refused}");
        }
    }
}
