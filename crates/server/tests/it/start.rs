//! Starting: quickly, alone on its data, and not at all with a configuration that is wrong.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::time::timeout;

use crate::world::{PATIENCE, World};

const BINARY: &str = env!("CARGO_BIN_EXE_archipelago");

async fn refusal(args: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(BINARY);
    command.args(args).envs(environment.iter().copied()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("it is refused at once").unwrap();
    assert!(!output.status.success(), "{args:?} was not refused");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn the_first_answer_comes_within_two_seconds() {
    let started = Instant::now();
    let world = World::new().await;
    let answer = world.http.get(format!("{}/health", world.url)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(started.elapsed() < Duration::from_secs(10), "even in a debug build on a busy machine");
    let answer = world.http.get(format!("{}/ready", world.url)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let metrics =
        world.http.get(format!("{}/metrics", world.url)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("archipelago_db_transaction_seconds"), "{metrics}");
    world.finish().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_with_a_sentence() {
    let world = World::new().await;
    let folder = world.folder.path().to_str().unwrap();
    let sentence = refusal(&["serve", "--listen", "127.0.0.1:0", "--data", folder], &[]).await;
    assert!(sentence.contains("another server is running on the data directory"), "{sentence}");
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let cases = [
        (vec!["--listen", "0.0.0.0:0"], vec![], "sandbox provider"),
        (vec![], vec![("ARCHIPELAGO__MARKET__FEE_PERCENT", "200")], "fee_percent"),
        (vec![], vec![("ARCHIPELAGO__MARKET__FEES", "2")], "ARCHIPELAGO__MARKET__FEES"),
        (vec![], vec![("ARCHIPELAGO__DATABASE__URL", "oracle://x")], "database.url"),
        (vec![], vec![("ARCHIPELAGO__DATABASE__URL", "postgres://ana:geheim@127.0.0.1:1/x")], "database.url"),
        (vec!["--config", "/nowhere.toml"], vec![], "/nowhere.toml"),
        (vec![], vec![("ARCHIPELAGO__MAIL__TRANSPORT", "smtp")], "mail.smtp.host must be set"),
    ];
    for (more, environment, word) in cases {
        let args = [vec!["serve", "--data", data, "--listen", "127.0.0.1:0"], more].concat();
        let args = if args.contains(&"0.0.0.0:0") {
            vec!["serve", "--data", data, "--listen", "0.0.0.0:0"]
        } else {
            args
        };
        let sentence = refusal(&args, &environment).await;
        assert!(sentence.contains(word), "{args:?}: {sentence}");
        assert!(!sentence.contains("geheim"), "a password is nobody's business: {sentence}");
        assert_eq!(
            sentence.lines().filter(|line| line.starts_with("archipelago: ")).count(),
            1,
            "{sentence}"
        );
    }
}

#[tokio::test]
async fn the_configuration_is_shown_without_the_password() {
    let mut command = Command::new(BINARY);
    command.arg("config").env("ARCHIPELAGO__DATABASE__URL", "postgres://ana:geheim@db.example/a");
    let output = command.output().await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && shown.contains("postgres://ana:***@db.example/a"), "{shown}");
    assert!(!shown.contains("geheim"), "{shown}");
}

/// A directory nobody can write to, also for root: a file stands where the directory should be.
#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    std::fs::write(&file, "").unwrap();
    let sentence =
        refusal(&["serve", "--data", file.to_str().unwrap(), "--listen", "127.0.0.1:0"], &[]).await;
    assert!(sentence.contains("data directory"), "{sentence}");
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(locked.join("probe"), "").is_err() {
        let sentence =
            refusal(&["serve", "--data", locked.to_str().unwrap(), "--listen", "127.0.0.1:0"], &[]).await;
        assert!(sentence.contains("cannot be written"), "{sentence}");
    }
}

#[tokio::test]
async fn admin_commands_answer_in_sentences_and_refuse_nonsense() {
    let world = World::new().await;
    for (args, word) in [
        (vec!["grant", "--email", "nobody@example.org", "--credits", "1", "--note", "x"], "no user"),
        (vec!["user", "create", "--email", "nonsense"], "e-mail"),
    ] {
        let output = world.command("admin").args(&args).output().await.unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{args:?}");
    }
    let ana = world.user("ana", "1").await;
    for credits in ["0", "-1", "1.0000001", "many", "1e30"] {
        let grant = ["grant", "--email", &ana.email, "--credits", credits, "--note", "x"];
        let output = world.command("admin").args(grant).output().await.unwrap();
        assert!(!output.status.success(), "{credits}");
    }
    assert_eq!(ana.credits().await.0, "1");
    let output = world.command("audit").output().await.unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("The books balance"));
    world.finish().await;
}

/// The audit's exit code is what scripts look at.
#[tokio::test]
async fn the_audit_exits_with_an_error_when_the_books_do_not_balance() {
    let mut world = World::new().await;
    world.user("ana", "5").await;
    world.kill().await;
    let db = db::Db::open(&world.database, db::OpenOptions::command()).await.unwrap();
    db.tx("cheat", async |tx| {
        tx.execute("UPDATE ledger_accounts SET posted = posted + 1 WHERE kind = 1", &[]).await
    })
    .await
    .unwrap();
    let output = world.command("audit").output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("I1: "));
}
