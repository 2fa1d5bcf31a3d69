//! `island check`: everything is tried, and what is wrong is named.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use island::State;
use serde_json::json;

use crate::network::Network;
use crate::program::{island, run};
use crate::upstream::Upstream;

/// A PNG's first bytes, as much as is looked at.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0\0\0\x01\0\x08\x02\0\0\0";

async fn network(door: u16) -> Network {
    Network::start(move |asked, _| match asked.what.as_str() {
        "GET /health" => (200, "ok".to_owned()),
        "GET /api/v1/islands/connect" => (door, "{}".to_owned()),
        other => panic!("asked for {other}"),
    })
    .await
}

/// Answers two jobs, a chat and an image.
async fn work(upstream: &Upstream) {
    let mut call = upstream.call().await;
    assert_eq!(call.body["model"], "small");
    call.begin_stream().await;
    call.say("Hel").await;
    call.say("lo").await;
    call.chunk(b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n").await;
    call.finish().await;
    let body = json!({"data": [{"b64_json": STANDARD.encode(PNG)}]}).to_string();
    upstream.call().await.answer("200 OK", "application/json", body.as_bytes()).await;
}

fn config(upstream: &Upstream, coordinator: &str) -> String {
    format!(
        "coordinator = \"{coordinator}\"\ntoken = \"it_token\"\nschedule = [\"Mon-Sun\"]\ntimezone = \"+01:00\"\n[cost]\nelectricity_per_kwh = 0.3\nwatts = 360\n\
         [[backend]]\nkind = \"openai\"\nbase_url = \"{}\"\n\
         [[backend.offer]]\nworkload = \"llm-chat\"\nask = \"0.001\"\nslots = 2\nmodels = [\"small\"]\n\
         [[backend.offer]]\nworkload = \"sdxl\"\nask = \"5\"\nslots = 1\nendpoint = \"images\"\n",
        upstream.base_url
    )
}

#[tokio::test]
async fn what_is_well_is_said_with_its_speed_and_floor() {
    let (upstream, network) = (Upstream::start().await, network(426).await);
    upstream.list(&["small", "large"]);
    let folder = tempfile::tempdir().unwrap();
    let measured = json!({"llm-chat": {"jobs": 50, "share_us": 10_000_000, "millitokens": 200_000}});
    std::fs::write(folder.path().join("speeds.json"), measured.to_string()).unwrap();
    std::fs::write(folder.path().join("island.toml"), config(&upstream, &network.url)).unwrap();
    let mut command = island(&["check", "--state", State::at(folder.path()).directory().to_str().unwrap()]);
    let ((success, said, errors), ()) = tokio::join!(run(&mut command), work(&upstream));
    assert!(success, "{said}{errors}");
    for expected in [
        "answers (",
        "takes the token",
        "The schedule's clock shows",
        "(+01:00)",
        "has: small, large",
        "llm-chat with small: first words after",
        "(2 tokens)",
        "sdxl with default: an image of 256 × 256 (png)",
        "Would be offered: llm-chat, ask 0.03 credits, slots 2, model small. Floor 0.03 credits \
         (measured over 50 jobs: 10000 ms a job); raised from 0.001 credits.",
        "Would be offered: sdxl, ask 5 credits, slots 1. Its cost is not measured yet",
        "Ready",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
    assert!(!said.contains('\x1b'), "no colours where no terminal is: {said}");
    assert_eq!(network.asked()[1].authorization.as_deref(), Some("Bearer it_token"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("island.toml");
    let upstream = Upstream::start().await;
    upstream.list(&["another"]);
    // A coordinator that does not know the token, and a server that does not know the model.
    let unknown = network(401).await;
    std::fs::write(&path, config(&upstream, &unknown.url)).unwrap();
    let mut command = island(&["check", "--config", path.to_str().unwrap()]);
    let refuse = async {
        for _ in 0..2 {
            upstream.call().await.answer("404 Not Found", "application/json", b"{}").await;
        }
    };
    let ((success, said, _), ()) = tokio::join!(run(&mut command), refuse);
    assert!(!success, "{said}");
    for expected in ["does not take the token", "names small, which", "does not have this model", "Not ready"]
    {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
    // Nobody anywhere.
    let base_url = upstream.stop().await;
    std::fs::write(&path, config(&Upstream::restart(&base_url).await, "http://127.0.0.1:1")).unwrap();
    let (success, said, _) = run(&mut island(&["check", "--config", path.to_str().unwrap()])).await;
    assert!(!success);
    for expected in ["127.0.0.1:1 cannot be reached", "Is the server running", "nothing would be offered"] {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
    // Not even a configuration.
    let (success, said, _) = run(&mut island(&["check"])).await;
    assert!(!success && said.contains("`coordinator` is missing"), "{said}");
}
