//! `archipelago admin` commands about money: refunds, events of providers, the comparison with the provider, frozen accounts.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use types::id::PurchaseId;
use types::money::Cents;
use types::time::{DAY_MS, Timestamp};

use super::CliError;
use super::admin::{Answer, user};
use crate::app::App;
use crate::providers::events;
use crate::purchases::refunds::RefundError;
use crate::purchases::{self, Purchase, PurchaseError, reconcile, refunds};
use crate::{credits, identity, payouts};

/// What is refunded.
#[derive(Debug, Args)]
pub struct RefundArgs {
    /// The purchase, such as pur_….
    #[arg(long)]
    purchase: String,
    /// How many dollars; all that is left if it is not given.
    #[arg(long)]
    amount: Option<String>,
    /// Why, for your own records.
    #[arg(long, default_value = "")]
    note: String,
}

/// What is compared.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// From which day on, such as 2026-11-01; the last 30 days if it is not given.
    #[arg(long)]
    since: Option<String>,
    /// Put right what can be put right.
    #[arg(long)]
    apply: bool,
}

/// Events of providers.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show events that wait or were not understood, newest first.
    List {
        /// Show those that are done, too.
        #[arg(long)]
        all: bool,
    },
    /// Handle an event again.
    Replay {
        /// The provider's id of it, such as evt_….
        #[arg(long)]
        id: String,
    },
}

/// `admin refund`.
pub async fn refund(app: &App, wanted: &RefundArgs) -> Answer {
    let refuse = |text: String| CliError::Refused(text);
    let id: PurchaseId = wanted
        .purchase
        .parse()
        .map_err(|_| refuse(format!("--purchase {:?} is not the id of a purchase", wanted.purchase)))?;
    let amount = match &wanted.amount {
        None => None,
        Some(text) => Some(Cents::parse_dollars(text).map_err(|error| refuse(format!("--amount {error}")))?),
    };
    let purchase = refunds::refund(app, id, amount, &wanted.note).await.map_err(|error| match error {
        RefundError::Purchase(PurchaseError::NotFound) => refuse(format!("there is no purchase {id}")),
        RefundError::Purchase(PurchaseError::Provider(error)) => refuse(format!(
            "{error}; the refund is written down, and made by itself when the provider answers, unless it was refused"
        )),
        error => refuse(error.to_string()),
    })?;
    let sentence = format!(
        "Refunded {} of {} so far; {} credits were taken back.",
        purchase.lot.standing.refunded,
        purchase.amount,
        purchase.lot.taken.display_grouped()
    );
    Ok((shown(&purchase), sentence))
}

fn shown(purchase: &Purchase) -> Value {
    json!({
        "id": purchase.id, "state": purchase.standing_name(), "amount_cents": purchase.amount.get(),
        "refunded_cents": purchase.lot.standing.refunded.get(), "lost_cents": purchase.lot.standing.lost.get(),
        "disputed_cents": purchase.lot.standing.disputed.get(), "credits": purchase.credits.get(),
        "taken_back": purchase.lot.taken, "frozen": purchase.lot.frozen,
    })
}

/// `admin reconcile`.
pub async fn compare(app: &App, wanted: &ReconcileArgs) -> Answer {
    let since = match &wanted.since {
        None => app.clock.now().plus_millis(-30 * DAY_MS),
        Some(day) => day_of(day)
            .ok_or_else(|| CliError::Refused(format!("--since {day:?} must be a day such as 2026-11-01")))?,
    };
    let report = reconcile::run(app, since, wanted.apply)
        .await
        .map_err(|error| CliError::Refused(format!("the books could not be compared: {error}")))?;
    let mut sentence = format!(
        "{} checkouts and {} payments compared since {since}: {} received by the provider's books, {} by ours.",
        report.checkouts,
        report.payments,
        Cents::new(report.received_cents),
        Cents::new(report.granted_cents)
    );
    for difference in &report.differences {
        let purchase = difference.purchase.as_deref().unwrap_or("no purchase");
        let healed = if difference.healed { " — put right" } else { "" };
        let line = format!("\n{purchase} ({}): {}{healed}", difference.subject, difference.what);
        sentence.push_str(&line);
    }
    let paid = payouts::reconcile::run(app, since, wanted.apply)
        .await
        .map_err(|error| CliError::Refused(format!("the payouts could not be compared: {error}")))?;
    let line = format!(
        "\n{} payouts compared: {} moved by the provider, {} by our books.",
        paid.payouts,
        Cents::new(paid.moved_cents),
        Cents::new(paid.counted_cents)
    );
    sentence.push_str(&line);
    for difference in &paid.differences {
        let healed = if difference.healed { " — put right" } else { "" };
        sentence.push_str(&format!("\n{}: {}{healed}", difference.payout, difference.what));
    }
    if report.differences.is_empty() && paid.differences.is_empty() {
        sentence.push_str("\nNo differences.");
    } else if !wanted.apply {
        sentence.push_str("\nRun it again with --apply to put right what can be put right.");
    }
    let mut answer = serde_json::to_value(&report).unwrap_or_default();
    answer["payouts"] = serde_json::to_value(&paid).unwrap_or_default();
    Ok((answer, sentence))
}

fn day_of(text: &str) -> Option<Timestamp> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole.parse().ok()
}

/// `admin events`.
pub async fn events(app: &App, command: EventsCommand) -> Answer {
    match command {
        EventsCommand::List { all } => {
            let found = events::list(app, all, 200).await?;
            let lines: Vec<String> = found
                .iter()
                .map(|event| {
                    let error = event.error.as_deref().map(|error| format!(" — {error}")).unwrap_or_default();
                    format!("{} {} {} {}{error}", event.received_at, event.state, event.id, event.kind)
                })
                .collect();
            let answer = found.iter().map(|event| {
                json!({
                    "provider": event.provider, "id": event.id, "kind": event.kind, "subject": event.subject,
                    "state": event.state, "error": event.error, "attempts": event.attempts,
                    "received_at": event.received_at,
                })
            });
            let sentence = if lines.is_empty() { "There are none.".to_owned() } else { lines.join("\n") };
            Ok((answer.collect(), sentence))
        }
        EventsCommand::Replay { id } => {
            let replayed = events::replay(app, &id).await;
            replayed.map_err(|error| CliError::Refused(error.message))?;
            Ok((json!({"id": id, "state": "done"}), format!("{id} was handled.")))
        }
    }
}

/// `admin freeze` and `admin thaw`.
pub async fn freeze(app: &App, email: &str, frozen: bool) -> Answer {
    let user = user(app, email).await?;
    credits::freeze(app, &user, frozen).await?;
    let word = if frozen { "frozen: nothing is spent until it is thawed" } else { "thawed" };
    Ok((json!({"email": user.email, "frozen": frozen}), format!("The wallet of {} is {word}.", user.email)))
}

/// `admin user forget-identity`.
pub async fn forget_identity(app: &App, email: &str) -> Answer {
    let user = user(app, email).await?;
    let erased = identity::erase(app, user.id).await;
    erased.map_err(|error| CliError::Refused(format!("the identity could not be erased: {error}")))?;
    Ok((
        json!({"email": user.email, "verification": "unverified"}),
        format!("What was known of who {} is has been erased, here and at the provider.", user.email),
    ))
}

/// `admin purchases`.
pub async fn list(app: &App, email: &str) -> Answer {
    let user = user(app, email).await?;
    let found = purchases::history(app, user.id, 200).await?;
    let lines: Vec<String> = found
        .iter()
        .map(|purchase| {
            format!(
                "{} {} {} for {}: {}",
                purchase.created_at,
                purchase.id,
                purchase.package_name,
                purchase.amount,
                purchase.standing_name()
            )
        })
        .collect();
    let sentence = if lines.is_empty() { "There are none.".to_owned() } else { lines.join("\n") };
    Ok((found.iter().map(shown).collect(), sentence))
}
