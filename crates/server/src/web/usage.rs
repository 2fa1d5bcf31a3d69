//! `/usage`: what jobs came to, by day, Cargo, key and Island; and `/usage/export`: each of them, as a file.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use pages::chart::{Bar, Plot, bars};
use pages::exchange::{Stat, WindowLink};
use pages::usage::{BatchRow, Choice, Usage, UsageFilter, UsageRow, UsageTable};
use pages::{Badge, Nav, Tone};
use types::id::{ApiKeyId, Id, IslandId};
use types::money::MicroCredits;

use super::Page;
use super::exchange::rounded;
use super::frame::{day, frame, when};
use super::session::SignedIn;
use crate::api::usage::{Asked, file, wanted};
use crate::app::App;
use crate::batches::{self, Batch, Child, ChildState};
use crate::error::ApiError;
use crate::usage::{self, Group, Line, Names, Sums, View, Wanted, start_of};

/// Rows of a table; the rest is in the files.
const ROWS: usize = 20;
/// Batches shown.
const BATCHES: u32 = 10;

/// `GET /usage/export?format=&from=&to=&workload=&key=&host=`, as in the API.
///
/// # Errors
/// 422, 500, 503.
pub async fn export(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    file(&app, session.user.id, &asked).await
}

/// `GET /usage?view=&from=&to=&workload=&key=&host=`.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Page<Usage>, ApiError> {
    // What a form can say wrong is said beside it; the rest of the page is as if nothing had been chosen.
    let (asked, base, problem) = match wanted(&app, &without_groups(&asked)) {
        Ok(base) => (asked, base, None),
        Err(error) => {
            let kept: Asked = asked
                .get("view")
                .filter(|view| *view == "earned")
                .into_iter()
                .map(|view| ("view".to_owned(), view.clone()))
                .collect();
            let base = wanted(&app, &kept)?;
            let words = format!("{} Without a filter you see the last 30 days.", error.message);
            (kept, base, Some(words))
        }
    };
    let user = session.user.id;
    let mut groups = vec![Group::Day, Group::Workload, Group::Key, Group::Host];
    groups.retain(|group| base.view == View::Spent || *group != Group::Key);
    let questions = groups.iter().map(|group| Wanted { groups: vec![*group], ..base.clone() }).collect();
    let answers = usage::many(&app, user, questions).await?;
    let names = usage::names(&app, user, answers.iter().flatten()).await?;
    let (batches, _) = batches::look::list(&app, user, BATCHES, 0).await?;
    let by = |group: Group| {
        let found = groups.iter().position(|one| *one == group);
        found.and_then(|index| answers.get(index)).map(Vec::as_slice).unwrap_or_default()
    };
    let total = usage::total(by(Group::Day));
    let layout = frame(&app, Some(&session), "Usage", Nav::Usage).await?;
    let owns = app.islands.owns_any(user) || base.view == View::Earned;
    let address = Address { asked: &asked, base: &base };
    Ok(Page(Usage {
        layout,
        views: if owns { views(&base) } else { Vec::new() },
        earned: base.view == View::Earned,
        filter: filter(&app, &address, &names, by(Group::Host), problem),
        stats: stats(base.view, total),
        span: span(&base),
        chart: chart(&base, by(Group::Day)),
        days: by(Group::Day)
            .iter()
            .rev()
            .map(|line| table_row(line, total.amount, start_day(line), None))
            .collect(),
        tables: groups
            .iter()
            .skip(1)
            .filter_map(|group| table(&address, *group, by(*group), &names))
            .collect(),
        empty: total.jobs == 0,
        batches: batches.iter().map(|(batch, children)| batch_row(&app, batch, children)).collect(),
    }))
}

fn without_groups(asked: &Asked) -> Asked {
    let kept = asked.iter().filter(|(name, _)| *name != "group_by");
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn start_day(line: &Line) -> String {
    day(start_of(line.day.unwrap_or_default()))
}

fn span(base: &Wanted) -> String {
    let (first, last) = (day(start_of(base.first_day)), day(start_of(base.end_day - 1)));
    if first == last { first } else { format!("{first} to {last}") }
}

fn views(base: &Wanted) -> Vec<WindowLink> {
    let link = |view: View, href: &str, label: &str| WindowLink {
        href: href.to_owned(),
        label: label.to_owned(),
        current: base.view == view,
    };
    vec![link(View::Spent, "/usage", "Spent"), link(View::Earned, "/usage?view=earned", "Earned")]
}

fn stats(view: View, total: Sums) -> Vec<Stat> {
    let stat = |label, value: String, none, note: String| Stat { label, value, none, note };
    let credits = if view == View::Spent { "Credits spent" } else { "Credits earned" };
    let jobs = match total.failed {
        0 => "none failed".to_owned(),
        failed => format!("{} completed, {} failed", grouped(total.completed), grouped(failed)),
    };
    let mean = match total.completed {
        0 => None,
        completed => Some(rounded(MicroCredits::new(total.amount.get() / completed))),
    };
    let mut all = vec![
        stat(credits, total.amount.display_grouped(), false, format!("≈ {}", total.amount.approximate_usd())),
        stat("Jobs", grouped(total.jobs), false, jobs),
        stat(
            "A completed job",
            mean.clone().unwrap_or_else(|| "None yet".to_owned()),
            mean.is_none(),
            "credits on average".to_owned(),
        ),
    ];
    if view == View::Spent {
        let tokens = total.prompt_tokens.saturating_add(total.completion_tokens);
        let note =
            format!("{} asked, {} answered", grouped(total.prompt_tokens), grouped(total.completion_tokens));
        all.push(stat("Tokens", grouped(tokens), false, note));
    } else {
        let note = "attempts that broke off".to_owned();
        all.push(stat("Failed", grouped(total.failed), false, note));
    }
    all
}

/// A count with commas.
fn grouped(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Every day of the span, also those on which nothing was used.
fn chart(base: &Wanted, lines: &[Line]) -> Option<Plot> {
    let by_day: HashMap<i64, Sums> = lines.iter().filter_map(|line| Some((line.day?, line.sums))).collect();
    let count = base.end_day - base.first_day;
    let step = (count / 4).max(1);
    let spent = base.view == View::Spent;
    let values: Vec<Bar> = (base.first_day..base.end_day)
        .map(|number| {
            let sums = by_day.get(&number).copied().unwrap_or_default();
            let date = day(start_of(number));
            let tick = date.rsplit_once(' ').map_or(date.as_str(), |(tick, _)| tick).to_owned();
            let jobs =
                if sums.jobs == 1 { "1 job".to_owned() } else { format!("{} jobs", grouped(sums.jobs)) };
            Bar {
                tick: ((base.end_day - 1 - number) % step == 0).then_some(tick),
                text: format!("{date}: {} credits, {jobs}", sums.amount.display_grouped()),
                amount: sums.amount.get(),
            }
        })
        .collect();
    let (label, word) =
        if spent { ("Spent by day, credits", "Spent") } else { ("Earned by day, credits", "Earned") };
    let total = usage::total(lines).amount.display_grouped();
    let days = if count == 1 { "one day".to_owned() } else { format!("{count} days") };
    bars("usage", label.to_owned(), format!("{total} credits in {days}."), word, &values)
}

/// The address of this page, with something else in it.
struct Address<'a> {
    asked: &'a Asked,
    base: &'a Wanted,
}

impl Address<'_> {
    /// `path?from=…&…` with what is chosen, but `name` as `value`.
    fn with(&self, path: &str, name: &str, value: &str) -> String {
        let mut query = Vec::new();
        if self.base.view == View::Earned {
            query.push("view=earned".to_owned());
        }
        let (from, to) = (start_of(self.base.first_day).date(), start_of(self.base.end_day - 1).date());
        query.push(format!("from={from}&to={to}"));
        for field in ["workload", "key", "host"] {
            let chosen = self.asked.get(field).map_or("", |text| text.trim());
            let chosen = if field == name { value } else { chosen };
            // What was taken as a filter is made of letters, digits, dashes and underscores.
            if !chosen.is_empty() {
                query.push(format!("{field}={chosen}"));
            }
        }
        if name == "format" {
            query.push(format!("format={value}"));
        }
        format!("{path}?{}", query.join("&"))
    }
}

fn filter(
    app: &App,
    address: &Address<'_>,
    names: &Names,
    hosts: &[Line],
    problem: Option<String>,
) -> UsageFilter {
    let chosen = |name: &str| address.asked.get(name).map_or("", |text| text.trim());
    let choice = |name: &str, value: String, label: &str| Choice {
        selected: chosen(name) == value,
        label: label.to_owned(),
        value,
    };
    let workloads = app.market.all().iter().map(|market| &market.workload);
    let mut keys: Vec<Choice> = names
        .keys
        .iter()
        .map(|(id, name)| choice("key", ApiKeyId::from_i64(*id).to_string(), name))
        .collect();
    keys.sort_by(|one, other| (&one.label, &one.value).cmp(&(&other.label, &other.value)));
    keys.insert(0, choice("key", "none".to_owned(), "None: asked for on pages"));
    let there = hosts.iter().filter_map(|line| line.island).filter(|id| *id != 0);
    let mut hosts: Vec<Choice> =
        there.map(|id| choice("host", IslandId::from_i64(id).to_string(), &island_name(names, id))).collect();
    hosts.sort_by(|one, other| (&one.label, &one.value).cmp(&(&other.label, &other.value)));
    UsageFilter {
        view: address.base.view.name(),
        from: start_of(address.base.first_day).date(),
        to: start_of(address.base.end_day - 1).date(),
        workloads: workloads.map(|one| choice("workload", one.slug.clone(), &one.name)).collect(),
        keys,
        hosts,
        active: ["from", "to", "workload", "key", "host"].iter().any(|name| !chosen(name).is_empty()),
        problem,
        csv: address.with("/usage/export", "format", "csv"),
        json: address.with("/usage/export", "format", "json"),
    }
}

fn island_name(names: &Names, id: i64) -> String {
    names.islands.get(&id).cloned().unwrap_or_else(|| IslandId::from_i64(id).to_string())
}

/// Sums by one thing, the most first; nothing if there is nothing to tell apart.
fn table(address: &Address<'_>, group: Group, lines: &[Line], names: &Names) -> Option<UsageTable> {
    let (id, title, what) = match group {
        Group::Day => return None,
        Group::Workload => ("by-cargo", "By Cargo", "Cargo"),
        Group::Key => ("by-key", "By API key", "API key"),
        Group::Host => ("by-island", "By Island", "Island"),
    };
    let mut lines: Vec<&Line> = lines.iter().collect();
    lines.sort_by_key(|line| (std::cmp::Reverse(line.sums.amount), std::cmp::Reverse(line.sums.jobs)));
    let most = lines.first()?.sums.amount;
    let rows = lines.iter().take(ROWS).map(|line| {
        let (name, href) = named(address, line, names);
        table_row(line, most, name, href)
    });
    let left = lines.len().saturating_sub(ROWS);
    Some(UsageTable {
        id,
        title,
        what,
        rows: rows.collect(),
        more: (left > 0).then(|| format!("{left} more are not listed; the files have every job.")),
    })
}

fn named(address: &Address<'_>, line: &Line, names: &Names) -> (String, Option<String>) {
    let link = |name: &str, value: &str| Some(address.with("/usage", name, value));
    match (line.workload, line.key, line.island) {
        (Some(id), _, _) => match names.workloads.get(&id) {
            Some((slug, name)) => (name.clone(), link("workload", slug)),
            None => (format!("Cargo {id}"), None),
        },
        (_, Some(0), _) => ("Asked for on pages".to_owned(), link("key", "none")),
        (_, Some(id), _) => {
            let key = ApiKeyId::from_i64(id).to_string();
            (names.keys.get(&id).cloned().unwrap_or_else(|| key.clone()), link("key", &key))
        }
        (_, _, Some(0)) => ("No Island".to_owned(), None),
        (_, _, Some(id)) => (island_name(names, id), link("host", &IslandId::from_i64(id).to_string())),
        _ => (String::new(), None),
    }
}

fn table_row(line: &Line, most: MicroCredits, name: String, href: Option<String>) -> UsageRow {
    let sums = line.sums;
    let percent =
        if most.is_positive() { i128::from(sums.amount.get()) * 100 / i128::from(most.get()) } else { 0 };
    UsageRow {
        name,
        href,
        credits: sums.amount.display_grouped(),
        share: format!("{percent}%"),
        jobs: grouped(sums.jobs),
        failed: grouped(sums.failed),
        tokens: grouped(sums.prompt_tokens.saturating_add(sums.completion_tokens)),
    }
}

fn batch_row(app: &App, batch: &Batch, children: &[Child]) -> BatchRow {
    let done = children.iter().filter(|child| child.state == ChildState::Succeeded).count();
    let (tone, text) = match batch.state {
        batches::State::Running => (Tone::Plain, "Running"),
        batches::State::Succeeded => (Tone::Good, "Succeeded"),
        batches::State::Failed => (Tone::Bad, "Failed"),
        batches::State::Cancelled => (Tone::Warn, "Cancelled"),
    };
    let workload = app.market.by_id(batch.workload).map(|market| market.workload.name.clone());
    BatchRow {
        id: batch.id.to_string(),
        when: when(batch.created_at),
        workload: workload.unwrap_or_default(),
        state: Badge { tone, text: text.to_owned() },
        done: format!("{done} of {}", batch.size),
        cost: batches::look::cost(children).display_grouped(),
        error: batch.error.as_ref().map(|(_, text)| text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        for (count, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), expected);
        }
    }

    #[test]
    fn every_day_is_drawn_and_a_span_without_credits_is_no_chart() {
        let base = Wanted {
            view: View::Spent,
            first_day: 20_000,
            end_day: 20_030,
            groups: vec![Group::Day],
            workload: None,
            key: None,
            island: None,
        };
        let sums = Sums { jobs: 2, amount: MicroCredits::new(1_500_000), ..Sums::default() };
        let line = Line { day: Some(20_003), workload: None, key: None, island: None, sums };
        let plot = chart(&base, &[line]).unwrap();
        assert_eq!(plot.spots.len(), 30);
        assert_eq!(plot.spots[3].text, "7 Oct 2024: 1.50 credits, 2 jobs");
        assert_eq!(plot.summary, "1.50 credits in 30 days.");
        assert!(chart(&base, &[]).is_none());
    }
}
