//! `/api/v1/credits/transactions`, `…/balance` and `…/export`: what moved in an account, what there was in it when, and all of
//! it as a file.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use ledger::TransferKind;
use ledger::statement::{Filter, StatementError};
use schemars::JsonSchema;
use serde::Serialize;
use types::id::{JobId, TransferId};
use types::money::MicroCredits;
use types::time::Timestamp;

use super::download;
use super::extract::{ApiUser, page};
use super::shapes::{Data, Paged};
use super::words::{AccountName, Cursor, FileFormat, MovementKind, PageLimit, TextFile};
use crate::accounts::User;
use crate::api::operation::Operation;
use crate::app::App;
use crate::credits::export::{Entry, Export, Format};
use crate::credits::{self, Account};
use crate::error::ApiError;
use crate::jobs::look::charged_by;

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        filtered(Operation::get("/credits/transactions", "listTransactions", transactions))
            .says("Your statement", "Every movement of credits, newest first.")
            .query::<PageLimit>("limit", "How many movements.")
            .query::<Cursor>("cursor", "The `next_cursor` of the part before.")
            .answers::<Paged<Movement>>(200, "A part of it."),
        Operation::get("/credits/balance", "getBalance", balance)
            .says("Your balance, now or at a time", "What was held at a time in the past is not known any more.")
            .tag("Credits")
            .query::<AccountName>("account", "Which of your accounts; `wallet` if nothing is said.")
            .query::<Timestamp>("at", "When; now if nothing is said.")
            .answers::<Data<BalanceBody>>(200, "The balance."),
        filtered(Operation::get("/credits/export", "exportTransactions", export))
            .says("Your statement as a file", "All of it, newest first, however long. It is broken off, not ended, if it cannot be read to its end.")
            .query::<FileFormat>("format", "`csv` if nothing is said.")
            .answers_as::<TextFile>(200, "text/csv", "With a header; amounts are decimals.")
            .answers::<Vec<Movement>>(200, "The file."),
    ]
}

/// With what says which movements are meant.
fn filtered(operation: Operation) -> Operation {
    operation
        .tag("Credits")
        .query::<AccountName>("account", "Which of your accounts; `wallet` if nothing is said.")
        .query::<MovementKind>("kind", "Only movements for this.")
        .query::<Timestamp>("from", "Only movements from this time on.")
        .query::<Timestamp>("to", "Only movements before this time.")
}

/// What the address of a request may say about the statement it wants.
pub type Asked = HashMap<String, String>;

/// A part of a statement.
#[derive(Serialize)]
struct Part<'a> {
    data: Vec<Entry<'a>>,
    next_cursor: Option<String>,
}

/// A movement of credits.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only; credits::export::Entry writes it")]
struct Movement {
    /// The transfer it belongs to.
    id: TransferId,
    /// Its number in this account, from 1.
    seq: i64,
    /// What it was for.
    kind: MovementKind,
    /// How many credits; negative if they left.
    amount: MicroCredits,
    /// The same in millionths of a credit.
    amount_micros: i64,
    /// What was in the account after it, in credits.
    balance: MicroCredits,
    /// The same in millionths of a credit.
    balance_micros: i64,
    /// What it was for, in words.
    note: Option<String>,
    /// When.
    at: Timestamp,
    /// The job it paid.
    job_id: Option<JobId>,
    /// That job's Cargo.
    workload_name: Option<String>,
    /// The Island that ran that job.
    island: Option<String>,
}

/// What is, or was, in an account.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Balance")]
pub struct BalanceBody {
    /// Which account.
    account: AccountName,
    /// When.
    at: Timestamp,
    /// What is in it, in credits.
    balance: MicroCredits,
    /// The same in millionths of a credit.
    balance_micros: i64,
    /// How much of that is held for running jobs, in credits; null for the past.
    held: Option<MicroCredits>,
    /// The same in millionths of a credit.
    held_micros: Option<i64>,
    /// What is left to spend, in credits; null for the past.
    available: Option<MicroCredits>,
    /// The same in millionths of a credit.
    available_micros: Option<i64>,
    /// What is owed for payments that were taken back, in credits.
    debt: MicroCredits,
    /// The same in millionths of a credit.
    debt_micros: i64,
}

/// `GET /api/v1/credits/transactions?limit=&cursor=&kind=&from=&to=&account=`: the statement, newest first.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn transactions(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let (limit, _) = page(&asked)?;
    let from = asked.get("cursor").map(|text| text.parse().map_err(StatementError::from)).transpose()?;
    let account = which(&asked)?.of(&caller.user);
    let page = credits::statement(&app, account, filter(&asked)?, from, limit).await?;
    let charged = charged_by(&app, &page.lines).await?;
    let data = page.lines.iter().map(|line| Entry::new(line, charged.get(&line.transfer))).collect();
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    Ok(Json(Part { data, next_cursor }).into_response())
}

/// `GET /api/v1/credits/balance?at=&account=`: what there is, or was at a time. What was held then is not known any more.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn balance(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(asked): Query<Asked>,
) -> Result<Json<Data<BalanceBody>>, ApiError> {
    let (which, now) = (which(&asked)?, app.clock.now());
    let account = which.of(&caller.user);
    let (at, posted, held, debt) = match time(&asked, "at")? {
        Some(at) if at > now => return Err(ApiError::invalid("at", "must not be in the future")),
        Some(at) => {
            let (posted, debt) = credits::balance_at(&app, account, at).await?;
            (at, posted, None, debt)
        }
        None => {
            let balance = credits::balance(&app, account).await?;
            (now, balance.posted, Some(balance.held), balance.debt)
        }
    };
    let available = held.and_then(|held| posted.minus(held).ok());
    let data = BalanceBody {
        account: AccountName(which.name()),
        at,
        balance: posted,
        balance_micros: posted.get(),
        held,
        held_micros: held.map(MicroCredits::get),
        available,
        available_micros: available.map(MicroCredits::get),
        debt,
        debt_micros: debt.get(),
    };
    Ok(Json(Data { data }))
}

/// `GET /api/v1/credits/export?format=&account=&kind=&from=&to=`: the whole statement as a file, newest first.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn export(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    file(&app, &caller.user, &asked).await
}

/// A statement as a file to be kept.
///
/// # Errors
/// 422, 500, 503.
pub async fn file(app: &Arc<App>, user: &User, asked: &Asked) -> Result<Response, ApiError> {
    let (account, filter) = (which(asked)?, filter(asked)?);
    let format = match asked.get("format") {
        None => Format::Csv,
        Some(name) => {
            Format::from_name(name).ok_or_else(|| ApiError::invalid("format", "must be csv or json"))?
        }
    };
    download::file(app, Export::new(account.of(user), filter, format), account.name(), format).await
}

fn which(asked: &Asked) -> Result<Account, ApiError> {
    match asked.get("account") {
        None => Ok(Account::Wallet),
        Some(name) => {
            Account::from_name(name).ok_or_else(|| ApiError::invalid("account", "must be wallet or earnings"))
        }
    }
}

fn filter(asked: &Asked) -> Result<Filter, ApiError> {
    let (from, to) = (time(asked, "from")?, time(asked, "to")?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(ApiError::invalid("to", "must be later than from"));
    }
    let kind = match asked.get("kind") {
        None => None,
        Some(name) => Some(kinds().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<&str> = kinds().map(TransferKind::name).collect();
            ApiError::invalid("kind", format!("must be one of {}", names.join(", ")))
        })?),
    };
    Ok(Filter { kind, from, to })
}

/// What a line of a user's statement may be for.
pub fn kinds() -> impl Iterator<Item = TransferKind> {
    TransferKind::all().filter(|kind| kind.moves() && *kind != TransferKind::Owed)
}

fn time(asked: &Asked, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let text = asked.get(name);
    text.map(|text| text.parse().map_err(|error| ApiError::invalid(name, format!("{error}")))).transpose()
}
