//! What an agent keeps between its runs: who it is, and what it measured. A directory with two files.
//!
//! Guarantees: a file is replaced as a whole or not at all, and nobody but its owner can read the token.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::cost::Speeds;

/// The directory's name below the user's configuration.
const NAME: &str = "archipelago-island";
const IDENTITY: &str = "identity.json";
const SPEEDS: &str = "speeds.json";
/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The directory.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

/// Who an Island is, as it was told when it was paired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The coordinator's address.
    pub coordinator: String,
    /// The Island's token.
    pub token: Secret,
    /// Its id.
    pub island_id: String,
    /// Its name.
    pub name: String,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    coordinator: String,
    token: String,
    #[serde(default)]
    island_id: String,
    #[serde(default)]
    name: String,
}

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct StateError {
    path: PathBuf,
    source: std::io::Error,
}

impl State {
    /// The state in a directory, which need not exist yet.
    #[must_use]
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The state where it is unless something else is said: in the directory that a service manager gives, or
    /// below the user's configuration. `None` if neither is known.
    #[must_use]
    pub fn usual() -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = set("STATE_DIRECTORY")
            .or_else(|| set("XDG_CONFIG_HOME").map(|home| home.join(NAME)))
            .or_else(|| set("HOME").map(|home| home.join(".config").join(NAME)))?;
        Some(Self { directory })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Who the Island is, if it was paired.
    ///
    /// # Errors
    /// [`StateError`] if there is a file that cannot be read or understood.
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        let Some(text) = self.read(IDENTITY)? else { return Ok(None) };
        let written: Written = serde_json::from_str(&text)
            .map_err(|_| self.error(IDENTITY, std::io::Error::other("is damaged; pair this Island again")))?;
        let Written { coordinator, token, island_id, name } = written;
        Ok(Some(Identity { coordinator, token: token.into(), island_id, name }))
    }

    /// The token at present; nothing if there is none or it cannot be read.
    pub(crate) fn token(&self) -> Option<Secret> {
        self.identity().ok().flatten().map(|identity| identity.token)
    }

    /// Remembers who the Island is.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be written.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), StateError> {
        let Identity { coordinator, token, island_id, name } = identity.clone();
        self.write(IDENTITY, &Written { coordinator, token: token.reveal().to_owned(), island_id, name })
    }

    /// What was measured earlier. What cannot be read is measured again.
    pub(crate) fn speeds(&self) -> Speeds {
        self.read(SPEEDS).ok().flatten().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    pub(crate) fn save_speeds(&self, speeds: &Speeds) -> Result<(), StateError> {
        self.write(SPEEDS, speeds)
    }

    /// Finds out whether something can be kept here.
    ///
    /// # Errors
    /// [`StateError`] if not.
    pub(crate) fn check_writable(&self) -> Result<(), StateError> {
        let probe = self.directory.join(format!("probe.{}.new", std::process::id()));
        let tried = private_directory(&self.directory).and_then(|()| private_file(&probe));
        let _ = std::fs::remove_file(&probe);
        tried.map(|_| ()).map_err(|error| StateError { path: self.directory.clone(), source: error })
    }

    fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.directory.join(name);
        match std::fs::metadata(&path) {
            Ok(found) if found.len() > MAX_FILE_BYTES => {
                return Err(self.error(name, std::io::Error::other("is larger than such a file can be")));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(name, error)),
        }
        std::fs::read_to_string(&path).map(Some).map_err(|error| self.error(name, error))
    }

    fn write(&self, name: &str, content: &impl Serialize) -> Result<(), StateError> {
        let bytes = serde_json::to_vec_pretty(content)
            .map_err(|error| self.error(name, std::io::Error::other(error)))?;
        self.replace(name, &bytes).map_err(|error| self.error(name, error))
    }

    /// By way of a new file beside it: whoever reads finds the old content or the new one.
    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        private_directory(&self.directory)?;
        let new = self.directory.join(format!("{name}.{}.new", std::process::id()));
        let written = private_file(&new).and_then(|mut file| {
            give_to_owner(&file, &self.directory)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, self.directory.join(name))
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written
    }

    fn error(&self, name: &str, source: std::io::Error) -> StateError {
        StateError { path: self.directory.join(name), source }
    }
}

#[cfg(unix)]
fn private_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(unix)]
fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // What a crash left behind may have been made with another mode.
    let _ = std::fs::remove_file(path);
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// What the administrator writes into a service's directory is for the service.
#[cfg(unix)]
fn give_to_owner(file: &std::fs::File, directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (owner, own) = (std::fs::metadata(directory)?, file.metadata()?);
    if owner.uid() == own.uid() {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(not(unix))]
fn give_to_owner(_: &std::fs::File, _: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn private_directory(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)
}

#[cfg(not(unix))]
fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::File::create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_private_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(folder.path().join("deep/er"));
        assert_eq!(state.identity().unwrap(), None);
        assert_eq!(state.speeds(), Speeds::new());
        for token in ["it_first", "it_second"] {
            let identity = Identity {
                coordinator: "http://h".to_owned(),
                token: token.into(),
                island_id: "isl_1".to_owned(),
                name: "Palma".to_owned(),
            };
            state.save_identity(&identity).unwrap();
            assert_eq!(state.identity().unwrap(), Some(identity));
        }
        let speeds = Speeds::from([("llm-chat".to_owned(), crate::cost::Speed::default())]);
        state.save_speeds(&speeds).unwrap();
        assert_eq!(state.speeds(), speeds);
        let names: Vec<_> = std::fs::read_dir(state.directory()).unwrap().map(|file| file.unwrap()).collect();
        assert_eq!(names.len(), 2, "nothing is left lying about: {names:?}");
        #[cfg(unix)]
        for file in names {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
        std::fs::write(state.directory().join(IDENTITY), "{").unwrap();
        assert!(state.identity().unwrap_err().to_string().contains("pair this Island again"));
        assert_eq!(state.token(), None);
    }
}
