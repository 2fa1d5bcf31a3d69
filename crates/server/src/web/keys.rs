//! `/settings/keys/{id}`: name and limits of an API key; and how keys and their limits look on pages.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use ledger::{Period, Usage};
use pages::settings::{Key, KeyBounds, KeyDraft, KeyRow, LimitField, LimitUse, NewKey};
use pages::{Flash, Nav, When};
use types::id::ApiKeyId;
use types::money::MicroCredits;
use types::time::{DAY_MS, Timestamp};

use super::error::capitalised;
use super::forms::{Form, Posted};
use super::frame::{day, frame, when};
use super::session::{Named, SignedIn};
use super::settings;
use super::{Page, to_the_end};
use crate::accounts::api_keys::{
    self, KeyChange, KeyError, KeyInUse, KeyRequest, LimitChange, Scopes, read_networks,
};
use crate::accounts::sessions::Session;
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::Once;

/// In the order of the forms: the field, its label, and the words behind an amount.
const LIMITS: [(Period, &str, &str, &str); 4] = [
    (Period::Day, "limit_day", "Per day", "today"),
    (Period::Week, "limit_week", "Per week", "this week"),
    (Period::Month, "limit_month", "Per month", "this month"),
    (Period::Total, "limit_total", "In all", "in all"),
];

/// `GET /settings/keys/{id}`.
///
/// # Errors
/// 404, 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    Named(id): Named<ApiKeyId>,
    SignedIn(session): SignedIn,
) -> Result<Page<Key>, ApiError> {
    let key = api_keys::find(&app, &session.user, id).await?;
    page(&app, &session, &key).await
}

/// `POST /settings/keys/{id}`: another name, other limits, another end, other places.
///
/// # Errors
/// 401, 403, 404, 415, 422, 429, 500, 503.
pub async fn change(
    State(app): State<Arc<App>>,
    Named(id): Named<ApiKeyId>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let before = api_keys::find(&app, &session.user, id).await?;
    let changed = match changes(&form, &before) {
        Ok(change) => {
            let (app, user) = (Arc::clone(&app), session.user.clone());
            to_the_end(async move {
                api_keys::change(&app, &user, None, id, change, &Once::unclaimed()).await.map(drop)
            })
            .await?
        }
        Err(error) => Err(error),
    };
    let error = match changed {
        Ok(()) => return Ok(Redirect::to("/settings?done=key_saved").into_response()),
        Err(error) if is_of_form(&error) => error,
        Err(error) => return Err(error.into()),
    };
    let key = api_keys::find(&app, &session.user, id).await?;
    let Page(mut page) = page(&app, &session, &key).await?;
    page.layout.flash = Some(Flash::bad("Nothing was changed. See what is wrong with the form below."));
    form.get("name").clone_into(&mut page.name);
    page.name_error = name_error(&error);
    page.limits = fields(&form, Some(&key), Some(&error));
    page.bounds = bounds(&form, Some(&error));
    Ok((StatusCode::UNPROCESSABLE_ENTITY, Page(page)).into_response())
}

fn changes(form: &Form, before: &KeyInUse) -> Result<KeyChange, KeyError> {
    // The field has days only: an end in the middle of one stays unless another day is chosen.
    let same_day = before.key.expires_at.map(last_day).unwrap_or_default() == form.get("expires");
    Ok(KeyChange {
        name: Some(form.get("name").to_owned()),
        limits: limits(form)?,
        expires_at: if same_day { None } else { Some(expiry(form)?) },
        allowed: Some(read_networks(form.get("allowed"))?),
    })
}

/// `POST /settings/keys/{id}/rotate`: a new secret, shown this once.
///
/// # Errors
/// 401, 403, 404, 415, 422, 429, 500, 503.
pub async fn rotate(
    State(app): State<Arc<App>>,
    Named(id): Named<ApiKeyId>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    let grace = match form.get("grace") {
        "" => 0,
        text => text.parse().map_err(|_| KeyError::Grace)?,
    };
    let (for_task, user) = (Arc::clone(&app), session.user.clone());
    let rotated =
        to_the_end(
            async move { api_keys::rotate(&for_task, &user, None, id, grace, &Once::unclaimed()).await },
        );
    let (key, secret) = rotated.await??;
    let new = NewKey { name: key.key.name, key: secret };
    Ok(settings::with_new_key(&app, &session, new).await?.into_response())
}

/// Whether an error is about what stands in a form.
#[must_use]
pub const fn is_of_form(error: &KeyError) -> bool {
    matches!(
        error,
        KeyError::Name
            | KeyError::Scopes
            | KeyError::Limit(..)
            | KeyError::Expiry
            | KeyError::Networks(_)
            | KeyError::TooManyNetworks
    )
}

/// The new key that a form wants.
///
/// # Errors
/// A [`KeyError`] that is about the form.
pub fn request(app: &App, form: &Form, scopes: Scopes) -> Result<KeyRequest, KeyError> {
    let request = KeyRequest::new(form.get("name"), scopes, &limits(form)?)?;
    let expires_at = expiry(form)?;
    if expires_at.is_some_and(|end| end <= app.clock.now()) {
        return Err(KeyError::Expiry);
    }
    request.expiring(expires_at).only_from(read_networks(form.get("allowed"))?)
}

/// The end of the day that was chosen.
fn expiry(form: &Form) -> Result<Option<Timestamp>, KeyError> {
    let day = form.get("expires").trim();
    if day.is_empty() {
        return Ok(None);
    }
    let midnight: Timestamp = format!("{day}T00:00:00Z").parse().map_err(|_| KeyError::Expiry)?;
    Ok(Some(midnight.plus_millis(DAY_MS)))
}

/// The last day on which a key that ends then works, as a field of a form has it.
fn last_day(end: Timestamp) -> String {
    end.plus_millis(-1).date()
}

fn bounds(form: &Form, error: Option<&KeyError>) -> KeyBounds {
    let wrong = |field: fn(&KeyError) -> bool| {
        error.filter(|error| field(error)).map(|error| capitalised(&error.to_string()))
    };
    KeyBounds {
        expires: form.get("expires").to_owned(),
        expires_error: wrong(|error| matches!(error, KeyError::Expiry))
            .map(|_| "Choose a day that is not over.".to_owned()),
        allowed: form.get("allowed").to_owned(),
        allowed_error: wrong(|error| matches!(error, KeyError::Networks(_) | KeyError::TooManyNetworks)),
    }
}

async fn page(app: &App, session: &Session, one: &KeyInUse) -> Result<Page<Key>, ApiError> {
    let (key, cap) = (&one.key, &one.cap);
    let title = format!("API key {}", key.name);
    let layout = frame(app, Some(session), &title, Nav::Settings).await?;
    let field = |(period, name, label, _): (Period, &str, &str, &str)| LimitField {
        name: name.to_owned(),
        label: label.to_owned(),
        value: cap.limits.get(period).map(|limit| limit.to_string()).unwrap_or_default(),
        error: None,
        used: used(one, period),
    };
    Ok(Page(Key {
        layout,
        id: key.id.to_string(),
        title: key.name.clone(),
        prefix: key.prefix.clone(),
        scopes: key.scopes.words().join(", "),
        created: when(key.created_at),
        spent: cap.spent.display_grouped(),
        held: cap.held.is_positive().then(|| cap.held.display_grouped()),
        name: key.name.clone(),
        name_error: None,
        limits: LIMITS.map(field).to_vec(),
        bounds: KeyBounds {
            expires: key.expires_at.map(last_day).unwrap_or_default(),
            expires_error: None,
            allowed: key.allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            allowed_error: None,
        },
        expired: key.is_expired(app.clock.now()),
        old_until: key.old_until.filter(|until| *until > app.clock.now()).map(when),
    }))
}

/// The limits of a form.
///
/// # Errors
/// [`KeyError::Limit`].
pub fn limits(form: &Form) -> Result<LimitChange, KeyError> {
    let mut change = LimitChange::default();
    for (period, name, ..) in LIMITS {
        change.set_text(period, form.get(name))?;
    }
    Ok(change)
}

/// The form of a new key, empty.
#[must_use]
pub fn empty_draft() -> KeyDraft {
    let limits = LIMITS.map(|(_, name, label, _)| LimitField {
        name: name.to_owned(),
        label: label.to_owned(),
        value: String::new(),
        error: None,
        used: None,
    });
    KeyDraft {
        name: String::new(),
        name_error: None,
        read: true,
        write: true,
        manage: false,
        scopes_error: None,
        limits: limits.to_vec(),
        bounds: KeyBounds::default(),
    }
}

/// The form of a new key as it was sent, with what is wrong with it.
#[must_use]
pub fn draft(form: &Form, scopes: Scopes, error: &KeyError) -> KeyDraft {
    let scopes_error = matches!(error, KeyError::Scopes).then(|| "Tick at least one.".to_owned());
    KeyDraft {
        name: form.get("name").to_owned(),
        name_error: name_error(error),
        read: scopes.read,
        write: scopes.write,
        manage: scopes.manage,
        scopes_error,
        limits: fields(form, None, Some(error)),
        bounds: bounds(form, Some(error)),
    }
}

fn name_error(error: &KeyError) -> Option<String> {
    matches!(error, KeyError::Name).then(|| "Give the key a name of 1 to 64 letters.".to_owned())
}

/// The fields of limits as they were sent.
fn fields(form: &Form, one: Option<&KeyInUse>, error: Option<&KeyError>) -> Vec<LimitField> {
    let wrong = |period: Period| match error {
        Some(KeyError::Limit(wrong, why)) if *wrong == period => Some(capitalised(&why.to_string())),
        _ => None,
    };
    let field = |(period, name, label, _): (Period, &str, &str, &str)| LimitField {
        name: name.to_owned(),
        label: label.to_owned(),
        value: form.get(name).to_owned(),
        error: wrong(period),
        used: one.and_then(|one| used(one, period)),
    };
    LIMITS.map(field).to_vec()
}

/// How far a limit is used, and when it begins anew.
fn used(one: &KeyInUse, period: Period) -> Option<String> {
    let usage = one.cap.usage().into_iter().find(|usage| usage.period == period)?;
    usage.limit?;
    let used = usage.used.display_grouped();
    Some(match usage.until {
        Some(until) => format!("{used} used; begins anew {}.", when(until).text),
        None => format!("{used} used."),
    })
}

/// A key in the list of keys.
#[must_use]
pub fn row(one: &KeyInUse, now: Timestamp) -> KeyRow {
    let (key, usage) = (&one.key, one.cap.usage());
    let limited = |(period, _, _, words): (Period, _, _, &str)| {
        let usage = usage.iter().find(|usage| usage.period == period)?;
        limit_use(usage, words)
    };
    KeyRow {
        id: key.id.to_string(),
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        scopes: key.scopes.words().join(", "),
        uses: LIMITS.into_iter().filter_map(limited).collect(),
        spent: one.cap.spent.display_grouped(),
        created: When { text: day(key.created_at), ..when(key.created_at) },
        last_used: key.last_used_at.map(when),
        ends: key.expires_at.map(when),
        expired: key.is_expired(now),
        places: key.allowed.len(),
    }
}

fn limit_use(usage: &Usage, words: &str) -> Option<LimitUse> {
    let (limit, used) = (usage.limit?, usage.used);
    Some(LimitUse {
        text: format!("{} of {} {words}", used.display_grouped(), limit.display_grouped()),
        percent: percent(used, limit),
        full: used >= limit,
    })
}

/// How much of a whole, in percent, rounded down; but something is more than nothing.
fn percent(part: MicroCredits, whole: MicroCredits) -> u8 {
    let (part, whole) = (i128::from(part.get().max(0)), i128::from(whole.get().max(1)));
    let least = i128::from(part > 0);
    u8::try_from((part * 100 / whole).clamp(least, 100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_is_used() {
        let cases =
            [(0, 50, 0), (1, 1000, 1), (12, 50, 24), (49, 50, 98), (50, 50, 100), (70, 50, 100), (5, 0, 100)];
        for (part, whole, expected) in cases {
            assert_eq!(
                percent(MicroCredits::new(part), MicroCredits::new(whole)),
                expected,
                "{part} of {whole}"
            );
        }
        assert_eq!(percent(MicroCredits::new(i64::MAX), MicroCredits::new(i64::MAX)), 100);
    }

    #[test]
    fn a_limit_is_shown_with_its_use() {
        let usage = Usage {
            period: Period::Month,
            limit: Some(MicroCredits::new(50_000_000)),
            spent: MicroCredits::new(12_400_000),
            used: MicroCredits::new(12_400_000),
            until: None,
        };
        let shown = limit_use(&usage, "this month").unwrap();
        assert_eq!(
            (shown.text.as_str(), shown.percent, shown.full),
            ("12.40 of 50.00 this month", 24, false)
        );
        let all = Usage { used: MicroCredits::new(50_000_000), ..usage };
        assert!(limit_use(&all, "this month").unwrap().full);
        assert!(limit_use(&Usage { limit: None, ..usage }, "this month").is_none());
    }
}
