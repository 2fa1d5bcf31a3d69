//! `archipelago admin island`: Islands, and whether they get jobs. A running server notices within a second.

use clap::Subcommand;
use serde_json::{Value, json};
use types::id::IslandId;

use super::CliError;
use super::admin::Answer;
use crate::app::App;
use crate::islands::owner::{self, IslandOverview};
use crate::islands::standing::{self, Change};
use crate::islands::{self};

/// Islands.
#[derive(Debug, Subcommand)]
pub enum IslandsCommand {
    /// Show all Islands, newest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 1000)]
        most: u32,
    },
    /// Show one Island.
    Show {
        /// Which one: `isl_…`.
        id: IslandId,
    },
    /// Trust an Island; with islands.approval = "required" only such Islands get jobs.
    Approve {
        /// Which one: `isl_…`.
        id: IslandId,
    },
    /// Take the approval back.
    Disapprove {
        /// Which one: `isl_…`.
        id: IslandId,
    },
    /// Give an Island no new jobs. Its owner cannot undo it.
    Suspend {
        /// Which one: `isl_…`.
        id: IslandId,
    },
    /// Let it have jobs again, unless its owner suspended it too.
    Resume {
        /// Which one: `isl_…`.
        id: IslandId,
    },
}

/// `admin island`.
pub async fn run(app: &App, command: IslandsCommand) -> Answer {
    match command {
        IslandsCommand::List { most } => {
            let found =
                app.db.read("all_islands", async move |tx| islands::store::all(tx, most).await).await?;
            let (records, emails): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            let all = owner::overview_of(app, records).await?;
            let rows = || all.iter().zip(&emails);
            let lines: Vec<String> = rows().map(|(one, email)| sentence(one, email)).collect();
            let text = if lines.is_empty() { "There are none.".to_owned() } else { lines.join("\n") };
            Ok((rows().map(|(one, email)| shown(one, email)).collect(), text))
        }
        IslandsCommand::Show { id } => show(app, id).await,
        IslandsCommand::Approve { id } => change(app, id, Change::Approval { approved: true }).await,
        IslandsCommand::Disapprove { id } => change(app, id, Change::Approval { approved: false }).await,
        IslandsCommand::Suspend { id } => change(app, id, Change::ByOperator { suspended: true }).await,
        IslandsCommand::Resume { id } => change(app, id, Change::ByOperator { suspended: false }).await,
    }
}

async fn change(app: &App, id: IslandId, change: Change) -> Answer {
    standing::change(app, id, change).await?.ok_or_else(|| unknown(id))?;
    show(app, id).await
}

async fn show(app: &App, id: IslandId) -> Answer {
    let record = islands::find(app, id).await?.ok_or_else(|| unknown(id))?;
    let email =
        app.db.read("island_owner", async move |tx| islands::store::owner_email(tx, id).await).await?;
    let email = email.unwrap_or_default();
    let one = owner::overview_of(app, vec![record]).await?.pop().ok_or_else(|| unknown(id))?;
    Ok((shown(&one, &email), sentence(&one, &email)))
}

fn unknown(id: IslandId) -> CliError {
    CliError::Refused(format!("there is no Island {id}, or it was revoked"))
}

fn sentence(one: &IslandOverview, email: &str) -> String {
    let (record, standing) = (&one.record, one.standing);
    let mut words = vec![if one.online { "online" } else { "offline" }];
    words.extend(standing.approved.then_some("approved"));
    words.extend(standing.operator_suspended.then_some("suspended by the operator"));
    words.extend(standing.owner_suspended.then_some("suspended by its owner"));
    let success = one.success_percent.map_or_else(String::new, |percent| {
        format!(", {percent}% of its last {} attempts succeeded", one.attempts)
    });
    format!(
        "{} {} of {email}: {}; karma {}{success}, {} jobs and {} credits today",
        record.id,
        record.name,
        words.join(", "),
        one.karma.karma,
        one.today.jobs,
        one.today.earned.display_grouped()
    )
}

fn shown(one: &IslandOverview, email: &str) -> Value {
    let (record, standing, karma) = (&one.record, one.standing, one.karma);
    json!({
        "id": record.id, "name": record.name, "owner": email, "online": one.online, "since": one.since,
        "state": standing.name(), "approved": standing.approved,
        "suspended_by_owner": standing.owner_suspended, "suspended_by_operator": standing.operator_suspended,
        "karma": karma.karma,
        "karma_parts": {"success": karma.success, "latency": karma.latency, "uptime": karma.uptime},
        "success_percent": one.success_percent, "attempts": one.attempts, "latency_ms": one.latency_ms,
        "today": one.today, "created_at": record.created_at, "last_seen_at": record.last_seen_at,
        "agent_version": record.agent_version, "capabilities": record.capabilities, "offers": record.offers,
    })
}
