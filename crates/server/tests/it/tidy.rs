//! House rules that a program can check.

use std::path::{Path, PathBuf};

const LONGEST_FUNCTION: usize = 70;
const LONGEST_FILE: usize = 500;

/// Functions that are longer, for a reason that stands beside them. May only shrink.
const LONG_FUNCTIONS: &[&str] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "target" | "node_modules" | ".git") {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

/// Our Rust files that are not tests, with their text up to the tests inside.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root().join("crates"), ".rs", &mut found);
    found
        .into_iter()
        .filter(|path| {
            !path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "examples")))
        })
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            (path.strip_prefix(root().join("crates")).unwrap().display().to_string(), code)
        })
        .collect()
}

#[test]
fn files_and_functions_fit_on_a_screen_or_two() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let lines: Vec<&str> = code.lines().collect();
        if lines.len() > LONGEST_FILE {
            wrong.push(format!("{path} has {} lines", lines.len()));
        }
        let mut begun: Option<(usize, usize, &str)> = None;
        for (number, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.contains("fn ")
                && line.trim_end().ends_with(['{', '(', ')', '>'])
                && !line.trim_start().starts_with("//");
            match begun {
                None if is_function && !line.contains("|") => begun = Some((number, indent, line)),
                Some((from, depth, head))
                    if indent == depth && line.trim_end() == format!("{}}}", " ".repeat(depth)) =>
                {
                    let length = number - from + 1;
                    if length > LONGEST_FUNCTION && !LONG_FUNCTIONS.iter().any(|name| head.contains(name)) {
                        wrong.push(format!("{path}:{}: {} lines: {}", from + 1, length, head.trim()));
                    }
                    begun = None;
                }
                Some((_, depth, _)) if indent == depth && line.trim_end().ends_with(';') => begun = None,
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn sql_stands_in_store_files_only() {
    let words = ["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM"];
    // The ledger's audit is queries and nothing else; migrations record themselves.
    let allowed = ["store.rs", "audit.rs", "audit/", "statement.rs", "migrate.rs", "bench/"];
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("db/") && !allowed.iter().any(|name| path.contains(name)))
        .flat_map(|(path, code)| {
            let lines: Vec<String> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .filter(|line| words.iter().any(|word| line.contains(&format!("\"{word}"))))
                .map(|line| format!("{path}: {}", line.trim()))
                .collect();
            lines
        })
        .filter(|line| !line.contains("SELECT 1"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn there_are_no_floats_beside_money() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| ["types/", "ledger/", "market/"].iter().any(|part| path.starts_with(part)))
        .filter(|(_, code)| code.contains("f64") || code.contains("f32"))
        .map(|(path, _)| path)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn no_folder_is_for_odds_and_ends() {
    let bad = ["utils.rs", "helpers.rs", "common.rs", "manager.rs", "misc.rs"];
    let wrong: Vec<String> = sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| bad.iter().any(|name| path.ends_with(name)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_map_names_what_exists() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is an ARCHITECTURE.md");
    let mut named = 0;
    for word in map.split('`').skip(1).step_by(2) {
        let is_path =
            word.contains('/') && !word.contains(['<', '*', ' ', '{', ':']) && !word.starts_with('/');
        if is_path {
            named += 1;
            assert!(
                root().join(word).exists() || root().join("crates").join(word).exists(),
                "ARCHITECTURE.md names `{word}`, which does not exist"
            );
        }
    }
    assert!(named > 20, "the map names {named} paths");
}

#[test]
fn every_migration_is_listed_once_for_each_engine() {
    for (folder, list) in [("server", "crates/server/src/lib.rs"), ("ledger", "crates/ledger/src/lib.rs")] {
        let list = std::fs::read_to_string(root().join(list)).unwrap();
        let mut names = Vec::new();
        for engine in ["sqlite", "postgres"] {
            let mut scripts = Vec::new();
            files(&root().join("crates").join(folder).join("migrations").join(engine), ".sql", &mut scripts);
            let mut found: Vec<String> = scripts
                .iter()
                .map(|script| script.file_name().unwrap().to_string_lossy().into_owned())
                .collect();
            found.sort();
            for name in &found {
                assert_eq!(
                    list.matches(&format!("{engine}/{name}")).count(),
                    1,
                    "{engine}/{name} in {folder}"
                );
            }
            names.push(found);
        }
        // The ledger's first schema was there for SQLite only.
        let missing: Vec<&String> = names[0].iter().filter(|name| !names[1].contains(name)).collect();
        let fine = folder == "ledger" && missing == ["0001_ledger.sql"] || missing.is_empty();
        assert!(fine && names[1].iter().all(|name| names[0].contains(name)), "{folder}: {names:?}");
    }
}
