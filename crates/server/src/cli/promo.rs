//! `archipelago admin promo`: codes that are worth credits.

use clap::Subcommand;
use serde_json::{Value, json};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::CliError;
use super::admin::Answer;
use crate::app::App;
use crate::promo::{self, Promo, PromoError};

/// Promo codes.
#[derive(Debug, Subcommand)]
pub enum PromoCommand {
    /// Make a code.
    Create {
        /// The code; letters count as capitals.
        #[arg(long)]
        code: String,
        /// How many credits one use is worth.
        #[arg(long)]
        credits: String,
        /// How often it can be used, by all together.
        #[arg(long)]
        uses: i64,
        /// How often one user can use it.
        #[arg(long, default_value_t = 1)]
        per_user: i64,
        /// The first day on which it cannot be used any more, such as 2026-12-31.
        #[arg(long)]
        expires: Option<String>,
        /// Why, for your own records.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Show all codes, newest first.
    List,
    /// Let nobody use a code any more. What was redeemed stays.
    Disable {
        /// The code.
        #[arg(long)]
        code: String,
    },
}

/// `admin promo`.
pub async fn run(app: &App, command: PromoCommand) -> Answer {
    match command {
        PromoCommand::Create { code, credits, uses, per_user, expires, note } => {
            let refuse = |text: String| CliError::Refused(text);
            let credits: MicroCredits =
                credits.parse().map_err(|error| refuse(format!("--credits {error}")))?;
            let expires_at = expires.as_deref().map(day).transpose()?;
            let promo = Promo {
                code,
                credits,
                total_limit: uses,
                per_user_limit: per_user,
                used: 0,
                expires_at,
                note,
                created_at: app.clock.now(),
                disabled: false,
            };
            let made = promo::create(app, promo).await.map_err(refused)?;
            let sentence = sentence(&made);
            Ok((shown(&made), sentence))
        }
        PromoCommand::List => {
            let all = promo::list(app).await?;
            let lines: Vec<String> = all.iter().map(sentence).collect();
            let text = if lines.is_empty() { "There are none.".to_owned() } else { lines.join("\n") };
            Ok((all.iter().map(shown).collect(), text))
        }
        PromoCommand::Disable { code } => {
            promo::disable(app, &code).await.map_err(refused)?;
            Ok((json!({"code": promo::normalise(&code), "disabled": true}), format!("{code} is disabled.")))
        }
    }
}

fn day(text: &str) -> Result<Timestamp, CliError> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole
        .parse()
        .map_err(|_| CliError::Refused(format!("--expires {text:?} must be a day such as 2026-12-31")))
}

fn refused(error: PromoError) -> CliError {
    match error {
        PromoError::Unknown => CliError::Refused("there is no such code".to_owned()),
        error => CliError::Refused(error.to_string()),
    }
}

fn sentence(promo: &Promo) -> String {
    let until = promo.expires_at.map(|at| format!(" until {}", at.date())).unwrap_or_default();
    let state = if promo.disabled { ", disabled" } else { "" };
    format!(
        "{}: {} credits, {} of {} uses{until}{state}",
        promo.code,
        promo.credits.display_grouped(),
        promo.used,
        promo.total_limit
    )
}

fn shown(promo: &Promo) -> Value {
    json!({
        "code": promo.code, "credits": promo.credits, "uses": promo.total_limit, "per_user": promo.per_user_limit,
        "used": promo.used, "expires_at": promo.expires_at, "note": promo.note, "disabled": promo.disabled,
        "created_at": promo.created_at,
    })
}
