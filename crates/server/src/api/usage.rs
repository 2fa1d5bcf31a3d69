//! `/api/v1/usage`: what jobs came to, by day, Cargo, key and Island; and all of them as a file.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use types::id::{ApiKeyId, Id, IslandId, UserId};
use types::money::MicroCredits;
use types::time::{DAY_MS, Timestamp};

use super::download;
use super::extract::ApiUser;
use super::shapes::Data;
use crate::api::operation::Operation;
use crate::app::App;
use crate::credits::export::Format;
use crate::error::ApiError;
use crate::usage::export::{Export, ExportError, Filter};
use crate::usage::{self, Group, Line, MAX_DAYS, MAX_LINES, Names, Sums, View, Wanted, day_of, start_of};

/// What is in this file, for the router and the documentation.
#[must_use]
pub fn operations() -> Vec<Operation> {
    vec![
        filters(
            Operation::get("/usage", "getUsage", show)
                .says("What your jobs came to", ABOUT)
                .tag("Usage")
                .query::<super::words::UsageView>("view", "`spent` (unless given): what your jobs cost. `earned`: what your Islands earned, after the network's fee.")
                .query::<String>("group_by", "What is summed apart: one or two of `day`, `workload`, `key`, `host`, with a comma between them. `day` unless given."),
        )
        .answers::<Data<UsageAnswer>>(200, "The sums, in the order of what they are grouped by."),
        filters(
            Operation::get("/usage/export", "exportUsage", export)
                .says("Your jobs as CSV or JSON", "A line for each job that has ended, newest first: when, Cargo, key, Island, units, tokens, bid, cost and how it ended. The file is sent as it is read, however long it is; one that is broken off is not whole.")
                .tag("Usage")
                .query::<super::words::FileFormat>("format", "`csv` (unless given) or `json`."),
        )
        .answers_as::<String>(200, "text/csv", "With `format=csv`: a header and a line for each job. Texts that a spreadsheet would run as formulas have an apostrophe in front.")
        .answers_as::<Vec<serde_json::Value>>(200, "application/json", "With `format=json`: a list of objects with the same fields."),
    ]
}

const ABOUT: &str = "Exact sums by the day (UTC) on which jobs ended. They agree with your statement: both are written with the end of each job.\n\n\
Without `from` and `to` it is the last 30 days. At most 400 days and 10,000 lines are answered at once.";

fn filters(operation: Operation) -> Operation {
    operation
        .query::<String>(
            "from",
            "The first day (`2026-11-01`), or a time (RFC 3339; for sums the beginning of a day of UTC).",
        )
        .query::<String>("to", "The last day, which is included, or a time before which it ends.")
        .query::<String>("workload", "Only this Cargo, by its slug.")
        .query::<super::words::KeyOrNone>(
            "key",
            "Only jobs that came with this key; `none` for those asked for on pages.",
        )
        .query::<IslandId>("host", "Only this Island.")
}

/// What jobs came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UsageAnswer {
    /// `spent` or `earned`.
    #[schemars(with = "super::words::UsageView")]
    view: &'static str,
    /// The beginning of the first day.
    from: Timestamp,
    /// The end of the last day.
    to: Timestamp,
    /// What is summed apart.
    #[schemars(with = "Vec<super::words::UsageGroup>")]
    group_by: Vec<&'static str>,
    /// All of it together.
    total: SumsAnswer,
    /// The sums. What nothing was used of is left out.
    rows: Vec<UsageRow>,
}

/// A sum and what it is of. Fields that nothing is grouped by are left out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UsageRow {
    /// The day: `2026-11-22`.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    /// The Cargo's slug.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<String>,
    /// The Cargo's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload_name: Option<String>,
    /// The API key; null for jobs asked for on pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<ApiKeyId>>,
    /// The key's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<Option<String>>,
    /// The Island; null for jobs that ended while none worked on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Option<IslandId>>,
    /// The Island's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_name: Option<Option<String>>,
    /// What it came to.
    #[serde(flatten)]
    sums: SumsAnswer,
}

/// What jobs came to.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct SumsAnswer {
    /// How many jobs ended; of Islands: how many attempts they completed or failed by their own doing.
    jobs: i64,
    /// How many of them were completed.
    completed: i64,
    /// How many failed or timed out. The rest were cancelled.
    failed: i64,
    /// What they cost or earned together, in credits.
    credits: MicroCredits,
    /// The same in millionths of a credit, as a whole number.
    credits_micros: i64,
    /// Tokens of prompts, as far as they were counted. 0 for what was earned.
    prompt_tokens: i64,
    /// Tokens of answers, as far as they were counted. 0 for what was earned.
    completion_tokens: i64,
}

/// What the address says.
pub type Asked = HashMap<String, String>;

/// `GET /api/v1/usage`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn show(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(asked): Query<Asked>,
) -> Result<Json<Data<UsageAnswer>>, ApiError> {
    let wanted = wanted(&app, &asked)?;
    let (user, kept) = (caller.user.id, wanted.clone());
    let lines = usage::lines(&app, user, wanted).await?;
    if lines.len() > MAX_LINES {
        return Err(ApiError::invalid(
            "group_by",
            "gives more than 10,000 lines; ask for fewer days or groups",
        ));
    }
    let names = usage::names(&app, user, &lines).await?;
    Ok(Json(Data {
        data: UsageAnswer {
            view: kept.view.name(),
            from: start_of(kept.first_day),
            to: start_of(kept.end_day),
            group_by: kept.groups.iter().map(|group| group.name()).collect(),
            total: sums_answer(usage::total(&lines)),
            rows: lines.iter().map(|line| row(line, &names)).collect(),
        },
    }))
}

fn sums_answer(sums: Sums) -> SumsAnswer {
    SumsAnswer {
        jobs: sums.jobs,
        completed: sums.completed,
        failed: sums.failed,
        credits: sums.amount,
        credits_micros: sums.amount.get(),
        prompt_tokens: sums.prompt_tokens,
        completion_tokens: sums.completion_tokens,
    }
}

fn row(line: &Line, names: &Names) -> UsageRow {
    let (workload, workload_name) = line.workload.and_then(|id| names.workloads.get(&id).cloned()).unzip();
    let there = |id: i64| (id != 0).then_some(id);
    UsageRow {
        day: line.day.map(|day| start_of(day).date()),
        workload,
        workload_name,
        key: line.key.map(|key| there(key).map(ApiKeyId::from_i64)),
        key_name: line.key.map(|key| names.keys.get(&key).cloned()),
        host: line.island.map(|island| there(island).map(IslandId::from_i64)),
        host_name: line.island.map(|island| names.islands.get(&island).cloned()),
        sums: sums_answer(line.sums),
    }
}

/// What is to be summed, from the address.
///
/// # Errors
/// 422 naming the field.
pub fn wanted(app: &App, asked: &Asked) -> Result<Wanted, ApiError> {
    let view = match filled(asked, "view") {
        None | Some("spent") => View::Spent,
        Some("earned") => View::Earned,
        Some(_) => return Err(ApiError::invalid("view", "must be spent or earned")),
    };
    let groups = groups(filled(asked, "group_by"))?;
    let key = key(asked)?;
    if view == View::Earned && (key.is_some() || groups.contains(&Group::Key)) {
        let field = if key.is_some() { "key" } else { "group_by" };
        return Err(ApiError::invalid(field, "cannot ask for keys when view is earned: Islands have none"));
    }
    let (first_day, end_day) = days(app, asked)?;
    Ok(Wanted {
        view,
        first_day,
        end_day,
        groups,
        workload: workload(app, asked)?,
        key,
        island: island(asked)?,
    })
}

fn groups(text: Option<&str>) -> Result<Vec<Group>, ApiError> {
    let refuse = || ApiError::invalid("group_by", "must be one or two of day, workload, key and host");
    let Some(text) = text else { return Ok(vec![Group::Day]) };
    let find = |name: &str| Group::ALL.into_iter().find(|group| group.name() == name.trim());
    let groups: Vec<Group> = text.split(',').map(find).collect::<Option<_>>().ok_or_else(refuse)?;
    match groups[..] {
        [_] => Ok(groups),
        [first, second] if first != second => Ok(groups),
        _ => Err(refuse()),
    }
}

/// The first day, and the one after the last.
fn days(app: &App, asked: &Asked) -> Result<(i64, i64), ApiError> {
    let day = |name: &str| -> Result<Option<i64>, ApiError> {
        let time = |at: Moment| match at {
            Moment::Day(day) if name == "to" => Ok(day + 1),
            Moment::Day(day) => Ok(day),
            Moment::Time(at) if at.as_millis().rem_euclid(DAY_MS) == 0 => Ok(day_of(at)),
            Moment::Time(_) => Err(ApiError::invalid(
                name,
                "must be a day such as 2026-11-22, or the beginning of one (UTC)",
            )),
        };
        moment(asked, name)?.map(time).transpose()
    };
    let (from, to) = (day("from")?, day("to")?);
    let end = to.unwrap_or_else(|| day_of(app.clock.now()) + 1);
    let first = from.unwrap_or(end - 30);
    if first >= end {
        return Err(ApiError::invalid("to", "must not be before from"));
    }
    if end - first > MAX_DAYS {
        return Err(ApiError::invalid("from", format!("must be at most {MAX_DAYS} days before to")));
    }
    Ok((first, end))
}

enum Moment {
    Day(i64),
    Time(Timestamp),
}

fn moment(asked: &Asked, name: &str) -> Result<Option<Moment>, ApiError> {
    let Some(text) = filled(asked, name) else { return Ok(None) };
    if let Ok(midnight) = format!("{text}T00:00:00Z").parse::<Timestamp>() {
        return Ok(Some(Moment::Day(day_of(midnight))));
    }
    match text.parse() {
        Ok(time) => Ok(Some(Moment::Time(time))),
        Err(_) => Err(ApiError::invalid(name, "must be a day such as 2026-11-22 or an RFC 3339 time")),
    }
}

fn workload(app: &App, asked: &Asked) -> Result<Option<i64>, ApiError> {
    let Some(slug) = filled(asked, "workload") else { return Ok(None) };
    let market =
        app.market.get(slug).ok_or_else(|| ApiError::invalid("workload", "is no Cargo of this network"))?;
    Ok(Some(market.workload.id))
}

fn key(asked: &Asked) -> Result<Option<i64>, ApiError> {
    match filled(asked, "key") {
        None => Ok(None),
        Some("none") => Ok(Some(0)),
        Some(text) => match text.parse::<ApiKeyId>() {
            Ok(key) => Ok(Some(key.get())),
            Err(_) => Err(ApiError::invalid("key", "must be the id of an API key, or none")),
        },
    }
}

fn island(asked: &Asked) -> Result<Option<IslandId>, ApiError> {
    let text = filled(asked, "host");
    text.map(|text| text.parse().map_err(|_| ApiError::invalid("host", "must be the id of an Island")))
        .transpose()
}

/// A field of a form that was left empty asks for nothing.
fn filled<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    asked.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// `GET /api/v1/usage/export`.
///
/// # Errors
/// 401, 403, 422, 429.
pub async fn export(
    State(app): State<Arc<App>>,
    ApiUser(caller): ApiUser,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    file(&app, caller.user.id, &asked).await
}

/// The jobs of a user as a file to be kept.
///
/// # Errors
/// 422, 500, 503.
pub async fn file(app: &Arc<App>, user: UserId, asked: &Asked) -> Result<Response, ApiError> {
    let format = match filled(asked, "format") {
        None => Format::Csv,
        Some(name) => {
            Format::from_name(name).ok_or_else(|| ApiError::invalid("format", "must be csv or json"))?
        }
    };
    let time = |name: &str| -> Result<Option<Timestamp>, ApiError> {
        Ok(moment(asked, name)?.map(|at| match at {
            Moment::Time(time) => time,
            Moment::Day(day) if name == "to" => start_of(day + 1),
            Moment::Day(day) => start_of(day),
        }))
    };
    let (from, to) = (time("from")?, time("to")?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(ApiError::invalid("to", "must be later than from"));
    }
    let filter =
        Filter { from, to, workload: workload(app, asked)?, key: key(asked)?, island: island(asked)? };
    download::file(app, Export::new(user, filter, format), "usage", format).await
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Db(error) => error.into(),
            ExportError::Stopping => Self::unavailable("The server is restarting. Please try again."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_two_groups_that_differ() {
        assert_eq!(groups(None).unwrap(), [Group::Day]);
        assert_eq!(groups(Some("host")).unwrap(), [Group::Host]);
        assert_eq!(groups(Some("key, day")).unwrap(), [Group::Key, Group::Day]);
        for text in ["day,day", "day,key,host", "island", ",", "day,"] {
            assert_eq!(groups(Some(text)).unwrap_err().field.as_deref(), Some("group_by"), "{text}");
        }
    }
}
