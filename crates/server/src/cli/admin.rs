//! `archipelago admin …`: the operator's hand on accounts. Works beside a running server, which notices.

use std::io::Write;

use clap::{Args, Subcommand};
use db::{Db, OpenOptions};
use ledger::statement::Filter;
use serde_json::{Value, json};
use types::money::MicroCredits;
use types::rng::SystemRandom;
use types::time::{Clock, SystemClock};

use super::islands::IslandsCommand;
use super::keys::{self, KeyCommand};
use super::money::{self, EventsCommand, ReconcileArgs, RefundArgs};
use super::payouts::{self, PayoutsCommand};
use super::promo::{self, PromoCommand};
use super::receipts::{self, ReceiptKeyCommand};
use super::{CliError, print};
use crate::accounts::{self, NewUser, User, normalise_email};
use crate::app::{App, open_database};
use crate::config::Config;
use crate::credits::Account;
use crate::credits::export::{Export, Format};
use crate::idempotency::Once;
use crate::nodes::{self, Claim};
use crate::{credits, identity, islands, telemetry};

/// What the operator can do.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Users.
    #[command(subcommand)]
    User(UserCommand),
    /// Grant credits to a user.
    Grant {
        /// The user's address.
        #[arg(long)]
        email: String,
        /// How many credits, such as 100 or 2.5.
        #[arg(long)]
        credits: String,
        /// Why; shown in the user's statement.
        #[arg(long)]
        note: String,
    },
    /// API keys.
    #[command(subcommand)]
    ApiKey(KeyCommand),
    /// Island tokens.
    #[command(subcommand)]
    IslandToken(IslandCommand),
    /// Islands: see, approve, suspend.
    #[command(subcommand)]
    Island(IslandsCommand),
    /// Print the whole statement of a user, newest first.
    Statement(StatementArgs),
    /// Show the purchases of a user, newest first.
    Purchases {
        /// The user's address.
        #[arg(long)]
        email: String,
    },
    /// Refund a purchase, or part of it: money back through the provider, credits back through the ledger.
    Refund(RefundArgs),
    /// Compare the provider's books with ours, to the cent.
    Reconcile(ReconcileArgs),
    /// Payouts to owners of Islands.
    #[command(subcommand)]
    Payouts(PayoutsCommand),
    /// Webhooks of providers, as they came.
    #[command(subcommand)]
    Events(EventsCommand),
    /// The keys that receipts of jobs are signed with.
    #[command(subcommand)]
    ReceiptKey(ReceiptKeyCommand),
    /// Promo codes.
    #[command(subcommand)]
    Promo(PromoCommand),
    /// Freeze a user's wallet: it can receive credits, not spend them.
    Freeze {
        /// The user's address.
        #[arg(long)]
        email: String,
    },
    /// Thaw a frozen wallet.
    Thaw {
        /// The user's address.
        #[arg(long)]
        email: String,
    },
}

/// Which statement, and how.
#[derive(Debug, Args)]
pub struct StatementArgs {
    /// The user's address.
    #[arg(long)]
    email: String,
    /// The wallet or the earnings.
    #[arg(long, default_value = "wallet")]
    account: String,
    /// csv or json; csv unless --json is given.
    #[arg(long)]
    format: Option<String>,
}

/// Users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user, if there is none with this address.
    Create {
        /// The address.
        #[arg(long)]
        email: String,
        /// Verified by the operator's word: may spend at once.
        #[arg(long)]
        verified: bool,
    },
    /// Show a user.
    Show {
        /// The address.
        #[arg(long)]
        email: String,
    },
    /// Erase what is known of who a user is, here and at the provider, because they ask for it.
    ForgetIdentity {
        /// The address.
        #[arg(long)]
        email: String,
    },
}

/// Island tokens.
#[derive(Debug, Subcommand)]
pub enum IslandCommand {
    /// Make an Island and its token. It is printed once and never again.
    Create {
        /// Who owns it.
        #[arg(long)]
        email: String,
        /// What to call it.
        #[arg(long)]
        name: String,
    },
}

/// Runs one command.
///
/// # Errors
/// A [`CliError`] whose sentence is for the operator.
pub async fn run(config: &Config, command: AdminCommand, json: bool) -> Result<(), CliError> {
    let db = open_database(config, OpenOptions::command()).await?;
    // The ids it makes must not be those of a coordinator beside it, so it has a number of its own, for as long as it runs.
    let claim = nodes::claim_for_command(&db, &SystemRandom, SystemClock.now()).await?;
    let done = perform(config, db.clone(), claim, command, json).await;
    nodes::release(&db, claim.node, SystemClock.now()).await?;
    done
}

async fn perform(
    config: &Config,
    db: Db,
    claim: Claim,
    command: AdminCommand,
    json: bool,
) -> Result<(), CliError> {
    let (app, _queue) = App::build(config.clone(), db, claim, false, telemetry::metrics()?).await?;
    let (answer, sentence) = match command {
        AdminCommand::User(UserCommand::Create { email, verified }) => {
            create_user(&app, &email, verified).await
        }
        AdminCommand::User(UserCommand::Show { email }) => show_user(&app, &email).await,
        AdminCommand::Grant { email, credits, note } => grant(&app, &email, &credits, &note).await,
        AdminCommand::ApiKey(command) => keys::run(&app, command).await,
        AdminCommand::IslandToken(IslandCommand::Create { email, name }) => {
            create_token(&app, &email, &name).await
        }
        AdminCommand::Island(command) => super::islands::run(&app, command).await,
        AdminCommand::User(UserCommand::ForgetIdentity { email }) => {
            money::forget_identity(&app, &email).await
        }
        AdminCommand::Purchases { email } => money::list(&app, &email).await,
        AdminCommand::Refund(wanted) => money::refund(&app, &wanted).await,
        AdminCommand::Reconcile(wanted) => money::compare(&app, &wanted).await,
        AdminCommand::Payouts(command) => payouts::run(&app, command).await,
        AdminCommand::Events(command) => money::events(&app, command).await,
        AdminCommand::ReceiptKey(command) => receipts::run(&app, command).await,
        AdminCommand::Promo(command) => promo::run(&app, command).await,
        AdminCommand::Freeze { email } => money::freeze(&app, &email, true).await,
        AdminCommand::Thaw { email } => money::freeze(&app, &email, false).await,
        AdminCommand::Statement(wanted) => return statement(&app, &wanted, json).await,
    }?;
    print(&if json { answer.to_string() } else { sentence })
}

/// What a command answers: for programs, and for people.
pub type Answer = Result<(Value, String), CliError>;

async fn create_user(app: &App, email: &str, verified: bool) -> Answer {
    let email = address(email)?;
    let now = app.clock.now();
    let (new, id) = (NewUser::new(&app.ids, now), app.ids.next(now));
    let user = app
        .db
        .tx("admin_create_user", async move |tx| {
            let user = accounts::find_or_create(tx, &email, new).await?;
            if verified {
                identity::verify_by_operator(tx, user.id, id, now).await?;
            }
            Ok::<_, db::DbError>(user)
        })
        .await?;
    show(app, &user).await
}

async fn show_user(app: &App, email: &str) -> Answer {
    let user = user(app, email).await?;
    show(app, &user).await
}

async fn show(app: &App, user: &User) -> Answer {
    let balance = credits::balance(app, user.wallet).await?;
    let earnings = credits::balance(app, user.earnings).await?;
    let verification = identity::state(app, user.id).await?;
    let namesakes = identity::namesakes(app, user.id).await?;
    let answer = json!({
        "id": user.id, "email": user.email, "name": user.name, "created_at": user.created_at,
        "credits": balance.available(), "held": balance.held, "posted": balance.posted,
        "earnings": earnings.available(), "frozen": balance.frozen, "debt": balance.debt,
        "verification": verification.name(), "verified_by_the_same_name": namesakes,
    });
    let sentence = format!(
        "{} ({}): {} credits available, {} held, {} earned; {}.",
        user.email,
        user.id,
        balance.available().display_grouped(),
        balance.held.display_grouped(),
        earnings.available().display_grouped(),
        verification.name(),
    );
    Ok((answer, sentence))
}

async fn grant(app: &App, email: &str, amount: &str, note: &str) -> Answer {
    let user = user(app, email).await?;
    let refuse = |text: String| Err(CliError::Refused(text));
    let amount: MicroCredits = match amount.parse() {
        Ok(amount) => amount,
        Err(error) => return refuse(format!("--credits {error}")),
    };
    if !amount.is_positive() {
        return refuse("--credits must be above 0".to_owned());
    }
    if note.trim().is_empty() || note.chars().count() > 200 {
        return refuse("--note must have 1 to 200 characters".to_owned());
    }
    let balance = credits::grant(app, &user, amount, note.trim()).await?;
    let answer = json!({"email": user.email, "granted": amount, "credits": balance.available()});
    let sentence = format!(
        "Granted {} credits to {}, who now has {}.",
        amount.display_grouped(),
        user.email,
        balance.available().display_grouped()
    );
    Ok((answer, sentence))
}

async fn create_token(app: &App, email: &str, name: &str) -> Answer {
    let user = user(app, email).await?;
    let made = islands::create(app, &user, name, false, &Once::unclaimed()).await;
    let (id, token) = made.map_err(|error| CliError::Refused(format!("--name {error}")))?;
    Ok((json!({"id": id, "name": name.trim(), "token": token}), token))
}

/// Writes a statement as it is read: it may be longer than what fits into memory.
async fn statement(app: &App, wanted: &StatementArgs, json: bool) -> Result<(), CliError> {
    let refused = |text: &str| CliError::Refused(text.to_owned());
    let account =
        Account::from_name(&wanted.account).ok_or_else(|| refused("--account must be wallet or earnings"))?;
    let otherwise = if json { "json" } else { "csv" };
    let format = Format::from_name(wanted.format.as_deref().unwrap_or(otherwise))
        .ok_or_else(|| refused("--format must be csv or json"))?;
    let user = user(app, &wanted.email).await?;
    let mut export = Export::new(account.of(&user), Filter::default(), format);
    let mut out = std::io::stdout().lock();
    while let Some(part) = export
        .part(app)
        .await
        .map_err(|error| CliError::Refused(format!("the statement breaks off: {error}")))?
    {
        out.write_all(part.as_bytes())?;
    }
    Ok(out.flush()?)
}

/// The user with this address.
pub async fn user(app: &App, email: &str) -> Result<User, CliError> {
    let email = address(email)?;
    let key = email.clone();
    let found =
        app.db.read("admin_user", async move |tx| accounts::store::user_by_email(tx, &key).await).await?;
    found.ok_or_else(|| {
        CliError::Refused(format!(
            "there is no user {email}; make one with: archipelago admin user create --email {email}"
        ))
    })
}

fn address(email: &str) -> Result<String, CliError> {
    normalise_email(email)
        .ok_or_else(|| CliError::Refused(format!("--email {email:?} is not an e-mail address")))
}
