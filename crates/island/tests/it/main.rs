//! The agent between a coordinator and a model server, all three on real sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it should be")]

mod backends;
mod check;
mod coordinator;
mod lifecycle;
mod network;
mod offers;
mod pairing;
mod program;
mod sessions;
mod upstream;

use std::sync::Arc;

use island::{Agent, AgentError, BackendConfig, BackendKind, Config, OfferConfig, Updater};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use types::rng::SeededRandom;

use crate::coordinator::{Coordinator, soon};

/// An agent at work.
struct Island {
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), AgentError>>,
    updater: Updater,
}

impl Island {
    fn start(config: Config) -> Self {
        Self::start_agent(Agent::new(config, Arc::new(SeededRandom::new(7))))
    }

    fn start_agent(agent: Agent) -> Self {
        let (stop, stopped) = oneshot::channel();
        let updater = agent.updater();
        let ended = tokio::spawn(agent.run(async {
            let _ = stopped.await;
        }));
        Self { stop: Some(stop), ended, updater }
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn end(self) -> Result<(), AgentError> {
        soon("the agent's end", self.ended).await.unwrap()
    }
}

fn config(coordinator: &Coordinator, kind: BackendKind) -> Config {
    let offers = vec![OfferConfig::chat("llm-chat", "1.5", 2), OfferConfig::images("sdxl", "5", 1)];
    Config {
        coordinator: coordinator.url.clone(),
        token: "isl_token".into(),
        region: Some("eu-west".to_owned()),
        backends: vec![BackendConfig { kind, offers }],
        ..Config::default()
    }
}

fn openai(base_url: &str) -> BackendKind {
    BackendKind::OpenAi {
        base_url: base_url.to_owned(),
        api_key: Some("sk-secret".into()),
        request_timeout_secs: 60,
    }
}
