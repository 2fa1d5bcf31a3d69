//! The server is there while its owner is, and not longer.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use pg_temp::{PgTemp, Settings};

/// Set for the process that owns a server and is killed.
const OWNER: &str = "PG_TEMP_TEST_OWNER";

fn careless() -> PgTemp {
    PgTemp::start_with(&Settings { careless: true, ..Settings::default() }).unwrap()
}

#[test]
fn a_server_answers_stops_starts_again_and_crashes() {
    let server = careless();
    let url = server.create_database("some").unwrap();
    assert!(url.ends_with("/some"), "{url}");
    assert!(server.create_database("some").is_err());
    assert!(server.create_database("x; y").is_err());
    server.psql("some", "CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (7)").unwrap();
    server.stop().unwrap();
    assert!(server.psql("some", "SELECT n FROM t").is_err());
    server.start_again().unwrap();
    assert_eq!(server.psql("some", "SELECT n FROM t").unwrap(), "7");
    server.crash().unwrap();
    server.start_again().unwrap();
    assert_eq!(server.psql("some", "SELECT n FROM t").unwrap(), "7");
    let folder = server.psql("some", "SHOW unix_socket_directories").unwrap();
    drop(server);
    assert!(!Path::new(&folder).exists());
}

#[test]
fn a_server_in_production_syncs() {
    let server = PgTemp::start().unwrap();
    assert_eq!(server.psql("postgres", "SHOW fsync").unwrap(), "on");
    assert_eq!(server.psql("postgres", "SHOW synchronous_commit").unwrap(), "on");
}

/// Not a test by itself: the process that is killed below.
#[test]
fn owner() {
    if std::env::var_os(OWNER).is_some() {
        let server = careless();
        println!("\nfolder {}", server.psql("postgres", "SHOW unix_socket_directories").unwrap());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }
}

#[test]
fn a_server_ends_when_its_owner_is_killed() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture"])
        .env(OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let folder = lines.find_map(|line| line.unwrap().strip_prefix("folder ").map(str::to_owned)).unwrap();
    let pid = std::fs::read_to_string(format!("{folder}/data/postmaster.pid")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.lines().next().unwrap())).unwrap();
    let supervisor = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    owner.kill().unwrap();
    owner.wait().unwrap();
    // `tail` ends when the supervisor does, which waits for the server.
    let waited =
        Command::new("timeout").args(["60", "tail", "-f", "/dev/null", "--pid", supervisor]).status();
    assert!(waited.unwrap().success(), "the server is still there");
    assert!(!Path::new(&folder).exists());
}

#[test]
fn what_is_wrong_is_said() {
    let settings = Settings { careless: true, more: vec!["no_such_setting=1".to_owned()] };
    let error = PgTemp::start_with(&settings).unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}
