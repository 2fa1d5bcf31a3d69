//! `archipelago admin api-key …`.

use clap::{Args, Subcommand};
use ledger::Period;
use serde_json::json;
use types::id::ApiKeyId;
use types::time::{DAY_MS, Timestamp};

use super::CliError;
use super::admin::{Answer, user};
use crate::accounts::api_keys::{self, ApiKey, KeyError, KeyRequest, LimitChange, Scopes, read_networks};
use crate::accounts::{User, key_secret, store};
use crate::app::App;
use crate::idempotency::Once;
use crate::secrets;

/// API keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key. It is printed once and never again.
    Create {
        /// Whose.
        #[arg(long)]
        email: String,
        /// What to call it.
        #[arg(long)]
        name: String,
        /// What it may do: read, write, manage, separated by commas.
        #[arg(long, default_value = "read,write")]
        scopes: String,
        /// When it ends: a time such as 2030-01-31T12:00:00Z, or a number of days such as 90d.
        #[arg(long)]
        expires: Option<String>,
        /// An address or a range such as 198.51.100.0/24 that it may be used from; may be given several times.
        #[arg(long)]
        allow_ip: Vec<String>,
        /// What it may spend.
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// Say whose a key is: for a secret that was found somewhere.
    Find {
        /// The secret: ak_...
        #[arg(long)]
        key: String,
    },
    /// Revoke a key, at once and for good.
    Revoke {
        /// The secret: ak_...
        #[arg(long)]
        key: String,
    },
}

/// What a key may spend, in credits; what is held for running jobs counts too. Days, weeks and months are those of UTC.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// The most credits it may ever spend.
    #[arg(long)]
    limit: Option<String>,
    /// The most it may spend a day.
    #[arg(long)]
    limit_day: Option<String>,
    /// The most it may spend a week, from Monday.
    #[arg(long)]
    limit_week: Option<String>,
    /// The most it may spend a month.
    #[arg(long)]
    limit_month: Option<String>,
}

/// Runs one command.
///
/// # Errors
/// A [`CliError`] whose sentence is for the operator.
pub async fn run(app: &App, command: KeyCommand) -> Answer {
    match command {
        KeyCommand::Create { email, name, scopes, expires, allow_ip, limits } => {
            let request = limits
                .change()
                .and_then(|limits| KeyRequest::new(&name, Scopes::parse_strict(&scopes)?, &limits))
                .and_then(|request| Ok(request.expiring(read_end(app, expires.as_deref())?)))
                .and_then(|request| request.only_from(read_networks(&allow_ip.join(","))?));
            create(app, &email, request.map_err(|error| refused(&error))?).await
        }
        KeyCommand::Find { key } => {
            let (user, key, revoked) = find(app, &key).await?;
            found(&user, &key, revoked)
        }
        KeyCommand::Revoke { key } => {
            let (user, key, revoked) = find(app, &key).await?;
            if revoked.is_none() {
                let once = Once::unclaimed();
                api_keys::revoke(app, &user, None, key.id, &once).await.map_err(|error| refused(&error))?;
            }
            found(&user, &key, revoked.or_else(|| Some(app.clock.now())))
        }
    }
}

async fn create(app: &App, email: &str, request: KeyRequest) -> Answer {
    let user = user(app, email).await?;
    let made = api_keys::create(app, &user, None, request, &Once::unclaimed()).await;
    let (made, secret) = made.map_err(|error| refused(&error))?;
    let (key, limits) = (made.key, made.cap.limits);
    let answer = json!({
        "id": key.id, "name": key.name, "prefix": key.prefix, "scopes": key.scopes.words(), "limit": limits.total,
        "limits": {"total": limits.total, "day": limits.day, "week": limits.week, "month": limits.month},
        "expires_at": key.expires_at,
        "allowed_ips": key.allowed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "key": secret,
    });
    Ok((answer, secret))
}

/// A key that somebody found, whether it still works or not.
async fn find(app: &App, secret: &str) -> Result<(User, ApiKey, Option<Timestamp>), CliError> {
    let secret = secret.trim();
    if !key_secret::can_be(secret) {
        let text = "--key is no API key: it has another form, or its checksum is wrong";
        return Err(CliError::Refused(text.to_owned()));
    }
    let hash = secrets::hash(secret);
    let found = app.db.read("find_key", async move |tx| store::any_key_by_secret(tx, &hash).await).await?;
    found.ok_or_else(|| CliError::Refused("--key looks like an API key, but it is none of ours".to_owned()))
}

fn found(user: &User, key: &ApiKey, revoked: Option<Timestamp>) -> Answer {
    let id: ApiKeyId = key.id;
    let answer = json!({
        "id": id, "email": user.email, "user_id": user.id, "name": key.name, "prefix": key.prefix,
        "scopes": key.scopes.words(), "created_at": key.created_at, "last_used_at": key.last_used_at,
        "expires_at": key.expires_at, "revoked_at": revoked,
    });
    let state = revoked.map_or_else(|| "not revoked".to_owned(), |at| format!("revoked {at}"));
    let sentence = format!("{id}, \"{}\" ({}…) of {}: {state}.", key.name, key.prefix, user.email);
    Ok((answer, sentence))
}

/// A time, or a number of days from now.
fn read_end(app: &App, text: Option<&str>) -> Result<Option<Timestamp>, KeyError> {
    let Some(text) = text else { return Ok(None) };
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u16>().ok());
    match days {
        Some(days) => Ok(Some(app.clock.now().plus_millis(i64::from(days) * DAY_MS))),
        None => text.parse().map(Some).map_err(|_| KeyError::Expiry),
    }
}

impl LimitArgs {
    fn change(&self) -> Result<LimitChange, KeyError> {
        let mut change = LimitChange::default();
        for (period, text) in [
            (Period::Total, &self.limit),
            (Period::Day, &self.limit_day),
            (Period::Week, &self.limit_week),
            (Period::Month, &self.limit_month),
        ] {
            change.set_text(period, text.as_deref().unwrap_or_default())?;
        }
        Ok(change)
    }
}

fn refused(error: &KeyError) -> CliError {
    let option = match error {
        KeyError::Name => "--name ",
        KeyError::Scopes => "--scopes ",
        KeyError::Expiry => "--expires ",
        KeyError::Networks(_) | KeyError::TooManyNetworks => "--allow-ip ",
        KeyError::Limit(Period::Total, _) => "--limit ",
        KeyError::Limit(Period::Day, _) => "--limit-day ",
        KeyError::Limit(Period::Week, _) => "--limit-week ",
        KeyError::Limit(Period::Month, _) => "--limit-month ",
        _ => "",
    };
    CliError::Refused(format!("{option}{error}"))
}
