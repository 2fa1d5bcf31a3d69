//! `island pair`: a code, a page, a token.

use island::{Identity, State};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use types::island_protocol::ToIsland;

use crate::coordinator::{Coordinator, soon};
use crate::network::{Answer, Asked, Network};
use crate::program::{island, run, signal};

const BEGIN: &str = "POST /api/v1/pairing";
const POLL: &str = "POST /api/v1/pairing/poll";

fn code() -> Answer {
    let body = json!({
        "code": "A3X9K2", "expires_in_seconds": 600, "pair_url": "https://archipelago.example/pair",
        "poll_token": "pt_secret", "interval_seconds": 1,
    });
    (201, body.to_string())
}

fn paired(token: &str) -> Answer {
    let body = json!({"status": "paired", "token": token, "island_id": "isl_0000000000001", "name": "Palma"});
    (200, body.to_string())
}

fn answers(asked: &Asked, polled: impl Fn() -> Answer) -> Answer {
    match asked.what.as_str() {
        BEGIN => code(),
        POLL => polled(),
        other => panic!("asked for {other}"),
    }
}

#[tokio::test]
async fn a_code_becomes_a_token() {
    let network = Network::start(|asked, before| {
        answers(asked, || match before {
            // Whatever happens on the way is waited out.
            0 => (202, json!({"status": "waiting"}).to_string()),
            1 => (503, json!({"error": {"code": "busy", "message": "One moment."}}).to_string()),
            _ => paired("it_given"),
        })
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let arguments = ["pair", "--coordinator", &network.url, "--state", state, "--name", "Rig 1"];
    let (success, said, errors) = run(&mut island(&arguments)).await;
    assert!(success, "{said}\n{errors}");
    for expected in
        ["A 3 X 9 K 2", "https://archipelago.example/pair?code=A3X9K2", "10 minutes", "is Palma (isl_"]
    {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
    assert!(errors.contains("Still waiting, but the coordinator answered: One moment."), "{errors}");
    assert!(!said.contains("it_given") && !errors.contains("it_given"), "the token is nobody's business");
    let asked = network.asked();
    assert_eq!(asked[0].body["name"], "Rig 1");
    assert_eq!(asked[0].body["agent_version"], env!("CARGO_PKG_VERSION"));
    assert!(asked[0].body["public"]["cpu_cores"].as_u64() > Some(0), "{}", asked[0].body);
    assert_eq!(asked[1].body, json!({"poll_token": "pt_secret"}));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.path().join("identity.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let identity = State::at(state).identity().unwrap().unwrap();
    assert_eq!((identity.token.reveal(), identity.coordinator), ("it_given", network.url.clone()));

    // Once is enough, unless it is meant.
    let (success, _, errors) = run(&mut island(&arguments)).await;
    assert!(
        !success && errors.contains("paired already, as Palma") && errors.contains("--force"),
        "{errors}"
    );
    assert_eq!(network.asked().len(), 4, "nothing was asked");
    let again = [&arguments[..], &["--force"]].concat();
    assert!(run(&mut island(&again)).await.0);
}

#[tokio::test]
async fn what_does_not_become_a_token_is_said() {
    let sentence = |text: &str| json!({"error": {"code": "x", "message": text}}).to_string();
    let long = json!({"status": "paired", "token": "x".repeat(600)}).to_string();
    let cases: [(&str, Answer, Answer, &str); 10] = [
        ("expired", code(), (410, json!({"status": "expired"}).to_string()), "begin again for a new one"),
        ("refused", code(), (403, json!({"status": "refused"}).to_string()), "was refused"),
        ("gone wrong", code(), (400, sentence("No.\u{1b}[2J")), "No. [2J (HTTP 400)"),
        ("no token", code(), (200, "{}".to_owned()), "no token"),
        ("broken token", code(), paired("it_a\nb"), "no token"),
        ("long token", code(), (200, long), "no token"),
        ("unknown", (404, String::new()), code(), "knows no pairing"),
        ("limited", (429, sentence("Too many codes.")), code(), "Too many codes. (HTTP 429)"),
        ("no code", (201, "{}".to_owned()), code(), "no pairing code"),
        ("strange page", (201, code().1.replace("https:", "javascript:")), code(), "no pairing code"),
    ];
    for (name, begun, polled, expected) in cases {
        let network =
            Network::start(move |asked, _| if asked.what == BEGIN { begun.clone() } else { polled.clone() })
                .await;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_str().unwrap();
        let (success, _, errors) =
            run(&mut island(&["pair", "--coordinator", &network.url, "--state", state])).await;
        assert!(!success && errors.contains(expected), "{name}: {errors}");
        assert_eq!(State::at(state).identity().unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn a_pairing_that_cannot_begin_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (good, bad) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
    let cases: [(&[&str], &str); 4] = [
        (&["--state", good], "`--coordinator` is missing"),
        (&["--coordinator", "http://127.0.0.1:1", "--state", good], "cannot be reached"),
        (&["--coordinator", "palma", "--state", good], "must be an http or https address"),
        // A code whose token could not be kept would be wasted.
        (&["--coordinator", "http://127.0.0.1:1", "--state", bad], "nothing was asked"),
    ];
    for (arguments, expected) in cases {
        let (success, _, errors) = run(&mut island(&[&["pair"], arguments].concat())).await;
        assert!(!success && errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_pairing_can_be_left() {
    let network = Network::start(|asked, _| answers(asked, || (202, "{}".to_owned()))).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let mut child = island(&["pair", "--coordinator", &network.url, "--state", state]).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    while !soon("the code", said.next_line()).await.unwrap().unwrap().contains("Waiting for you") {}
    signal(&child, "INT").await;
    let status = soon("the end", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(130), "{status}");
    assert_eq!(State::at(state).identity().unwrap(), None);
}

fn identity(coordinator: &str, token: &str) -> Identity {
    Identity {
        coordinator: coordinator.to_owned(),
        token: token.into(),
        island_id: "isl_0000000000001".to_owned(),
        name: "Palma".to_owned(),
    }
}

#[tokio::test]
async fn the_token_is_used_and_renewed() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = State::at(folder.path());
    state.save_identity(&identity(&coordinator.url, "it_first")).unwrap();
    let arguments = ["--state", folder.path().to_str().unwrap(), "--demo"];
    let child = island(&arguments).spawn().unwrap();
    let mut visit = coordinator.accept().await;
    assert_eq!(visit.authorization, "Bearer it_first");
    visit.hear_any().await;
    visit.say_welcome(60, Vec::new()).await;
    // Its owner gives it another token; the old one is revoked.
    state.save_identity(&identity(&coordinator.url, "it_second")).unwrap();
    let revoked =
        ToIsland::Refused { code: "revoked".to_owned(), message: "Revoked.".to_owned(), retry: false };
    visit.say(&revoked).await;
    let mut visit = coordinator.accept().await;
    assert_eq!(visit.authorization, "Bearer it_second");
    // The same again, without another token, is the end.
    visit.say(&revoked).await;
    let output = soon("the end", child.wait_with_output()).await.unwrap();
    assert!(!output.status.success() && String::from_utf8(output.stderr).unwrap().contains("Revoked."));

    // The token is shown to no other coordinator.
    let other = Coordinator::start().await;
    let arguments = [&arguments[..], &["--coordinator", &other.url]].concat();
    let (success, _, errors) = run(&mut island(&arguments)).await;
    assert!(!success && errors.contains("with which this machine is paired"), "{errors}");
}
