//! `serve --demo`: a few Islands in this very process, each with its own asks, connected by a real WebSocket with a real token.
//! Their backend runs no model and says so in every answer.

use std::sync::Arc;

use db::DbError;
use island::{Agent, Config as AgentConfig, OfferConfig, Secret, Unit};

use crate::accounts::{NewUser, User, find_or_create};
use crate::app::{App, StartError};
use crate::islands;

/// Who owns the demo Islands.
const OWNER: &str = "demo-islands@localhost";

/// Name, region, (Cargo, ask, slots).
type DemoIsland = (&'static str, &'static str, &'static [(&'static str, &'static str, u32)]);

const ISLANDS: &[DemoIsland] = &[
    ("Palma", "eu-south", &[("llm-chat", "2", 8), ("llm-chat-hq", "9", 2), ("text-embedding", "0.05", 8)]),
    ("Hvar", "eu-south", &[("llm-chat", "2.75", 8), ("sdxl", "18", 2)]),
    ("Skye", "eu-north", &[("llm-chat", "3.5", 16), ("llm-chat-hq", "7.5", 4), ("sdxl", "14", 2)]),
];

/// Makes the demo Islands and lets them connect.
///
/// # Errors
/// A [`StartError`].
pub async fn start(app: &Arc<App>) -> Result<(), StartError> {
    let owner = owner(app).await?;
    for (name, region, offers) in ISLANDS {
        let made = islands::create(
            app,
            &owner,
            &format!("{name} demo"),
            true,
            &crate::idempotency::Once::unclaimed(),
        )
        .await;
        let (_, token) = made.map_err(|error| StartError::Refused(format!("demo Island {name}: {error}")))?;
        let mut backend = AgentConfig::demo_backend();
        backend.offers = offers
            .iter()
            .filter(|(workload, ..)| app.market.get(workload).is_some())
            .map(|(workload, ask, slots)| offer(workload, ask, *slots))
            .collect();
        let config = AgentConfig {
            coordinator: format!("http://{}", app.config.listen),
            token: Secret::from(token),
            region: Some((*region).to_owned()),
            backends: vec![backend],
            ..AgentConfig::default()
        };
        let (agent, stopping) = (Agent::new(config, Arc::clone(&app.random)), Arc::clone(app));
        tokio::spawn(async move {
            if let Err(error) = agent.run(async move { stopping.stopping().await }).await {
                tracing::error!(%error, "demo Island {name} ended");
            }
        });
    }
    Ok(())
}

fn offer(workload: &str, ask: &str, slots: u32) -> OfferConfig {
    match workload {
        "sdxl" => OfferConfig::images(workload, ask, slots),
        "text-embedding" => {
            OfferConfig { unit: Unit::ThousandTokens, ..OfferConfig::embeddings(workload, ask, slots) }
        }
        _ => OfferConfig::chat(workload, ask, slots),
    }
}

/// The owner of the demo Islands. Islands of an earlier demo are revoked: their tokens are lost with their process.
async fn owner(app: &App) -> Result<User, DbError> {
    let now = app.clock.now();
    let new = NewUser::new(&app.ids, now);
    app.db
        .tx("demo_owner", async move |tx| {
            islands::store::revoke_demo(tx, now).await?;
            find_or_create(tx, OWNER, new).await
        })
        .await
}
