//! The part of the statement that somebody wants to see on `/credits`, and `/credits/export`: all of it as a file.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use ledger::TransferKind;
use ledger::statement::Filter;
use pages::credits::{KindOption, StatementFilter};
use types::time::{DAY_MS, Timestamp};

use super::session::SignedIn;
use crate::api::statement::{self, Asked};
use crate::app::App;
use crate::error::ApiError;

/// `GET /credits/export?format=&account=&kind=&from=&to=`, as in the API.
///
/// # Errors
/// 422, 500, 503.
pub async fn export(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    statement::file(&app, &session.user, &asked).await
}

/// What the form above the statement says: a kind, and whole days (of UTC), the last one included.
#[derive(Debug, Default)]
pub struct Wanted {
    /// The same for the ledger.
    pub filter: Filter,
    from: String,
    until: String,
}

impl Wanted {
    /// From the address of the page.
    ///
    /// # Errors
    /// 422 naming the field.
    pub fn read(query: &HashMap<String, String>) -> Result<Self, ApiError> {
        let field = |name: &str| filled(query, name);
        let day = |name: &str| -> Result<Option<Timestamp>, ApiError> {
            let Some(text) = field(name) else { return Ok(None) };
            let midnight = format!("{text}T00:00:00Z").parse();
            midnight.map(Some).map_err(|_| ApiError::invalid(name, "must be a day such as 2026-11-22"))
        };
        let kind = match field("kind") {
            None => None,
            Some(name) => Some(
                shown_kinds()
                    .find(|kind| kind.name() == name)
                    .ok_or_else(|| ApiError::invalid("kind", "is not known"))?,
            ),
        };
        let (from, last) = (day("from")?, day("until")?);
        let filter = Filter { kind, from, to: last.map(|last| last.plus_millis(DAY_MS)) };
        let text = |name| field(name).unwrap_or_default().to_owned();
        Ok(Self { filter, from: text("from"), until: text("until") })
    }

    /// The same for an address, ready for more behind it. `until` of the page is `to` elsewhere.
    #[must_use]
    pub fn query(&self, format: &str) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                query.push_str(&format!("{name}={value}&"));
            }
        };
        add("format", format);
        add("kind", self.filter.kind.map_or("", TransferKind::name));
        if format.is_empty() {
            add("from", &self.from);
            add("until", &self.until);
        } else {
            let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
            add("from", &time(self.filter.from));
            add("to", &time(self.filter.to));
        }
        query
    }

    /// The form.
    #[must_use]
    pub fn form(&self) -> StatementFilter {
        let option = |kind: TransferKind| KindOption {
            value: kind.name().to_owned(),
            label: word(kind).to_owned(),
            selected: self.filter.kind == Some(kind),
        };
        let address = |format| format!("/credits/export?{}", self.query(format).trim_end_matches('&'));
        StatementFilter {
            kinds: shown_kinds().map(option).collect(),
            from: self.from.clone(),
            until: self.until.clone(),
            active: self.filter != Filter::default(),
            backwards: self.filter.from.zip(self.filter.to).is_some_and(|(from, to)| from >= to),
            csv: address("csv"),
            json: address("json"),
        }
    }
}

fn filled<'a>(query: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    query.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// What a line of a wallet's statement may be for.
fn shown_kinds() -> impl Iterator<Item = TransferKind> {
    statement::kinds()
}

/// What a line of a statement is called.
#[must_use]
pub const fn word(kind: TransferKind) -> &'static str {
    match kind {
        TransferKind::Job => "Job",
        TransferKind::Purchase => "Bought",
        TransferKind::Grant => "Granted by the operator",
        TransferKind::EarningsToWallet => "Moved from earnings",
        // These have no legs, so no statement shows them.
        TransferKind::Released | TransferKind::Expired => "Given back",
        TransferKind::TakenBack => "Taken back",
        TransferKind::Owed => "Owed",
        TransferKind::Repaid => "Debt paid",
        TransferKind::GivenBack => "Given back",
        TransferKind::Payout => "Paid out",
        TransferKind::PayoutReturned => "Payout came back",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &[(&str, &str)]) -> Result<Wanted, ApiError> {
        Wanted::read(&query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn days_are_whole_and_the_last_one_is_included() {
        let november = wanted(&[("kind", "job"), ("from", "2026-11-01"), ("until", "2026-11-30")]).unwrap();
        let filter = november.filter;
        assert_eq!(filter.kind, Some(TransferKind::Job));
        assert_eq!(filter.from.unwrap().to_string(), "2026-11-01T00:00:00.000Z");
        assert_eq!(filter.to.unwrap().to_string(), "2026-12-01T00:00:00.000Z");
        assert_eq!(november.query(""), "kind=job&from=2026-11-01&until=2026-11-30&");
        let form = november.form();
        assert_eq!(
            form.csv,
            "/credits/export?format=csv&kind=job&from=2026-11-01T00:00:00.000Z&to=2026-12-01T00:00:00.000Z"
        );
        assert!(form.active && !form.backwards);
        assert!(wanted(&[("from", "2026-11-30"), ("until", "2026-11-01")]).unwrap().form().backwards);
        assert!(!wanted(&[("from", "2026-11-30"), ("until", "2026-11-30")]).unwrap().form().backwards);
    }

    #[test]
    fn fields_left_empty_want_everything() {
        for query in [&[][..], &[("kind", ""), ("from", " "), ("until", "")]] {
            let all = wanted(query).unwrap();
            assert_eq!((all.filter, all.query("").as_str()), (Filter::default(), ""));
            assert_eq!(all.form().json, "/credits/export?format=json");
        }
    }

    #[test]
    fn what_is_no_day_is_refused_by_name() {
        for (name, value) in [
            ("from", "yesterday"),
            ("until", "2026-02-30"),
            ("from", "2026-11-01T00:00:00Z"),
            ("kind", "theft"),
        ] {
            assert_eq!(wanted(&[(name, value)]).unwrap_err().field.as_deref(), Some(name));
        }
    }
}
