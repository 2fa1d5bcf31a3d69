//! Where PostgreSQL's programs are, and who may run them.

use std::path::{Path, PathBuf};

use crate::Error;

/// Where Debian and its relatives put each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder with `postgres`, `initdb` and `psql`.
pub fn programs() -> Result<PathBuf, Error> {
    if let Some(folder) = std::env::var_os("PG_BIN").map(PathBuf::from) {
        return if complete(&folder) {
            Ok(folder)
        } else {
            Err(Error(format!("PG_BIN is {}, which lacks postgres, initdb or psql", folder.display())))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A link leads to where the others are, too.
    let on_path = std::env::split_paths(&path)
        .filter_map(|folder| folder.join("postgres").canonicalize().ok()?.parent().map(Path::to_owned));
    on_path.chain(debian_versions()).find(|folder| complete(folder)).ok_or_else(|| {
        Error(format!(
            "PostgreSQL's programs postgres, initdb and psql are neither on PATH nor in {DEBIAN}/*/bin; install the \
             server (Debian: apt install postgresql) or name their folder in PG_BIN"
        ))
    })
}

/// Newest first.
fn debian_versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn complete(folder: &Path) -> bool {
    ["postgres", "initdb", "psql"].iter().all(|program| folder.join(program).is_file())
}

/// Whom root becomes, because PostgreSQL refuses to run as root: user and group.
pub fn unprivileged() -> Result<(u32, u32), Error> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| user(&users, name)).ok_or_else(|| {
        Error("PostgreSQL does not run as root, and /etc/passwd has neither postgres nor nobody".to_owned())
    })
}

fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = users.lines().map(|line| line.split(':')).find_map(|mut fields| {
        let found = fields.next() == Some(name);
        found.then_some(fields)
    })?;
    Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::user;

    #[test]
    fn users_are_read_from_their_file() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        assert_eq!(user(users, "nobody"), Some((65534, 65533)));
        assert_eq!(user(users, "postgres"), None);
    }
}
