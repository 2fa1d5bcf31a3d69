//! `archipelago admin payouts`: payouts that wait, and the operator's hand on them.

use clap::Subcommand;
use serde_json::json;
use types::id::PayoutId;

use super::CliError;
use super::admin::Answer;
use crate::api::payouts::payout_json;
use crate::app::App;
use crate::idempotency::Once;
use crate::payouts::{self, PayoutError, schedule, send};

/// Payouts.
#[derive(Debug, Subcommand)]
pub enum PayoutsCommand {
    /// Show payouts that wait, newest first.
    List {
        /// Show those that are sent or have ended, too.
        #[arg(long)]
        all: bool,
    },
    /// Try a payout that waits again, now.
    Retry {
        /// Which, such as pay_….
        #[arg(long)]
        id: String,
    },
    /// Call a payout off that was surely not sent; the credits go back.
    Cancel {
        /// Which, such as pay_….
        #[arg(long)]
        id: String,
    },
    /// Do now what is due: scheduled payouts, further tries, and a look at what was sent lately.
    Run,
}

/// `admin payouts`.
pub async fn run(app: &App, command: PayoutsCommand) -> Answer {
    match command {
        PayoutsCommand::List { all } => {
            let found = payouts::list(app, all, 200).await?;
            let lines: Vec<String> = found
                .iter()
                .map(|payout| {
                    let error =
                        payout.error.as_deref().map(|error| format!(" — {error}")).unwrap_or_default();
                    let (id, state) = (payout.id, payout.state.name());
                    format!("{} {id} {} to {}: {state}{error}", payout.created_at, payout.cents, payout.user)
                })
                .collect();
            let sentence = if lines.is_empty() { "There are none.".to_owned() } else { lines.join("\n") };
            Ok((found.iter().map(payout_json).collect(), sentence))
        }
        PayoutsCommand::Retry { id } => {
            let id = read(&id)?;
            let sent = send::send(app, id, true).await.map_err(|error| refused(&error))?;
            let sent = sent.ok_or_else(|| {
                CliError::Refused(format!(
                    "{id} does not wait, is being sent at this moment, or its owner is frozen"
                ))
            })?;
            let error = sent.error.as_deref().map(|error| format!(" — {error}")).unwrap_or_default();
            Ok((payout_json(&sent), format!("{id} is {}{error}.", sent.state.name())))
        }
        PayoutsCommand::Cancel { id } => {
            let cancelled = payouts::cancel(app, None, read(&id)?, &Once::unclaimed())
                .await
                .map_err(|error| refused(&error))?;
            Ok((payout_json(&cancelled), format!("{id} was called off; the credits are back.")))
        }
        PayoutsCommand::Run => {
            send::send_once(app).await?;
            schedule::once(app).await?;
            send::look_once(app).await?;
            let open = payouts::list(app, false, 200).await?.len();
            Ok((json!({"waiting": open}), format!("Done; {open} payouts wait.")))
        }
    }
}

fn read(id: &str) -> Result<PayoutId, CliError> {
    id.parse().map_err(|_| CliError::Refused(format!("--id {id:?} is not the id of a payout")))
}

fn refused(error: &PayoutError) -> CliError {
    CliError::Refused(match error {
        PayoutError::TooLate => {
            "it may have been sent, so it cannot be called off; it is tried again by itself until that is known".to_owned()
        }
        error => error.to_string(),
    })
}
