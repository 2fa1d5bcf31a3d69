//! Where a run keeps its data: a database of its own, and a data directory for each coordinator.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use pg_temp::PgTemp;
use tempfile::TempDir;

use crate::Result;

/// Which program keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A server of our own.
    Postgres,
}

/// A place.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    /// The `database.url`.
    pub url: String,
}

impl Place {
    /// A new one. In memory, if this machine keeps files there: what is simulated is a process that is killed, not a
    /// power cut, so nothing need wait for a disk.
    pub fn new(engine: Engine) -> Result<Self> {
        let mut named = tempfile::Builder::new();
        named.prefix("simulate_");
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            named.tempdir_in(memory).or_else(|_| named.tempdir())
        } else {
            named.tempdir()
        }?;
        let url = match engine {
            Engine::Sqlite => format!("sqlite:{}", folder.path().join("archipelago.db").display()),
            Engine::Postgres => PgTemp::shared()?.fresh_database()?,
        };
        Ok(Self { folder, url })
    }

    /// The data directory of a coordinator.
    pub fn data_dir(&self, slot: usize) -> Result<PathBuf> {
        let folder = self.folder.path().join(format!("coordinator_{slot}"));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Leaves everything where it is, to be looked at; answers where.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}
