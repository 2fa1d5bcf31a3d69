//! The program `island` itself: its arguments, its signals and its exit codes.

use std::process::{Output, Stdio};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use types::island_protocol::FromIsland;

use crate::coordinator::{Coordinator, soon};

pub fn island(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_island"));
    command.args(arguments).kill_on_drop(true);
    // What belongs to whoever runs the tests is no business of theirs.
    for name in ["ISLAND_TOKEN", "RUST_LOG", "HOME", "XDG_CONFIG_HOME", "STATE_DIRECTORY"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub async fn run(command: &mut Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = soon("the program's end", command.output()).await.unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[cfg(unix)]
pub async fn signal(child: &Child, name: &str) {
    let number = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", name, &number]).status().await.unwrap().success());
}

#[tokio::test]
async fn the_example_is_printed() {
    assert_eq!(
        run(&mut island(&["config", "--default"])).await,
        (true, island::EXAMPLE.to_owned(), String::new())
    );
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("island.toml");
    std::fs::write(&file, "tokn = \"x\"\n").unwrap();
    let file = file.to_str().unwrap();
    let url = "http://127.0.0.1:1";
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--coordinator", url, "--token", "t"], &["[[backend]]", "island config --default", "--demo"]),
        (&["--token", "t", "--demo"], &["`coordinator` is missing"]),
        (&["--coordinator", url, "--demo"], &["`token` is missing"]),
        (&["--config", file], &["island.toml", "unknown field `tokn`"]),
        (&["--config", "no-such-file.toml"], &["no-such-file.toml cannot be read"]),
    ];
    for (arguments, expected) in cases {
        let (success, _, errors) = run(&mut island(arguments)).await;
        assert!(!success, "{arguments:?}");
        for expected in expected {
            assert!(errors.contains(expected), "{arguments:?}: {errors}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_lets_it_finish() {
    let coordinator = Coordinator::start().await;
    let child = island(&["--coordinator", &coordinator.url, "--demo"])
        .env("ISLAND_TOKEN", "from-env")
        .spawn()
        .unwrap();
    let mut visit = coordinator.accept().await;
    assert_eq!(visit.authorization, "Bearer from-env");
    visit.hear_any().await;
    visit.say_welcome(60, Vec::new()).await;
    visit.assign(1, "llm-chat", &json!({"prompt": "Hi"})).await;
    assert!(matches!(visit.hear().await, FromIsland::Output { seq: 1, .. }));
    let earned = types::money::MicroCredits::new(12_500_000);
    let today = Some(types::island_protocol::Today { jobs: 7, earned });
    visit.say(&types::island_protocol::ToIsland::Received { messages: 0, today }).await;
    signal(&child, "TERM").await;
    let ended = loop {
        match visit.hear().await {
            FromIsland::Output { .. } | FromIsland::Draining {} => {}
            other => break other,
        }
    };
    assert!(matches!(ended, FromIsland::Done { .. }), "{ended:?}");
    visit.hear_good_bye().await;
    let Output { status, stderr, .. } = soon("the end", child.wait_with_output()).await.unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{said}");
    for expected in [
        "DEMO",
        "Connected as Palma",
        "Offered: llm-chat, ask 1 credits",
        "1 attempts are finished",
        "1 done",
        "today 7 jobs paid, 12.50 credits",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    // Where no terminal is, nothing is drawn.
    assert!(!said.contains('\x1b'), "{said}");
}

#[tokio::test]
async fn quiet_is_quiet() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("island.toml");
    std::fs::write(
        &path,
        "[[backend]]\nkind = \"demo\"\n[[backend.offer]]\nworkload = \"a\"\nask = \"1\"\nslots = 1\n",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let arguments = ["--quiet", "--coordinator", &coordinator.url, "--token", "t", "--config", path];
    let mut command = island(&arguments);
    let refuse = async {
        let (mut visit, _) = coordinator.welcome().await;
        let (code, message) = ("revoked".to_owned(), "Revoked.\u{1b}[2J".to_owned());
        visit.say(&types::island_protocol::ToIsland::Refused { code, message, retry: false }).await;
        visit
    };
    let ((_, said, errors), _visit) = tokio::join!(run(&mut command), refuse);
    assert_eq!(said, "");
    let expected = "The Island stops: the coordinator refuses this Island (revoked): Revoked. [2J\n";
    assert_eq!(errors, expected);
}

#[cfg(unix)]
#[tokio::test]
async fn the_second_signal_does_not_wait() {
    let coordinator = Coordinator::start().await;
    let mut child = island(&["--coordinator", &coordinator.url, "--token", "t", "--demo"]).spawn().unwrap();
    let (mut visit, _) = coordinator.welcome().await;
    let endless = json!({"prompt": "Hi", "width": 8, "height": 8, "steps": 50});
    visit.assign(1, "sdxl", &endless).await;
    assert!(matches!(visit.hear().await, FromIsland::Progress { .. }));
    signal(&child, "INT").await;
    while !matches!(visit.hear().await, FromIsland::Draining {}) {}
    signal(&child, "INT").await;
    assert_eq!(soon("the end", child.wait()).await.unwrap().code(), Some(130));
}

#[cfg(unix)]
async fn hear_line(said: &mut Lines<BufReader<ChildStderr>>, expected: &str) {
    while !soon(expected, said.next_line()).await.unwrap().unwrap().contains(expected) {}
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_reads_the_file_again() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("island.toml");
    let write = |ask: &str| {
        let offer = format!("workload = \"llm-chat\"\nask = \"{ask}\"\nslots = 1\n");
        std::fs::write(&path, format!("[[backend]]\nkind = \"demo\"\n[[backend.offer]]\n{offer}")).unwrap();
    };
    write("1");
    let arguments = ["--coordinator", &coordinator.url, "--token", "t", "--config", path.to_str().unwrap()];
    let mut child = island(&arguments).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let (mut visit, _) = coordinator.welcome().await;
    let heartbeat = visit.hear_any().await;
    assert!(matches!(heartbeat, FromIsland::Heartbeat { .. }), "{heartbeat:?}");
    // The signal is enough, whether the file looks changed or not.
    signal(&child, "HUP").await;
    hear_line(&mut said, "island.toml has been read again").await;
    // A mistake is reported and changes nothing.
    write("cheap");
    signal(&child, "HUP").await;
    hear_line(&mut said, "`backend[0].offer[0].ask` must be a number").await;
    write("3.125");
    signal(&child, "HUP").await;
    let message = visit.hear().await;
    assert!(matches!(&message, FromIsland::Offers { offers } if offers[0].ask == "3.125"), "{message:?}");
}

#[tokio::test]
async fn a_refusal_is_an_exit_code() {
    let coordinator = Coordinator::start().await;
    let mut command = island(&["--coordinator", &coordinator.url, "--token", "t", "--demo"]);
    let refuse = async {
        let mut visit = coordinator.accept().await;
        let refused = types::island_protocol::ToIsland::Refused {
            code: "revoked".to_owned(),
            message: "This token was revoked.".to_owned(),
            retry: false,
        };
        visit.say(&refused).await;
        visit
    };
    let ((success, _, errors), _visit) = tokio::join!(run(&mut command), refuse);
    assert!(!success && errors.contains("This token was revoked."), "{errors}");
}
