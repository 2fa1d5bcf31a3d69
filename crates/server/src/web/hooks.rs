//! `/settings/webhooks`: where events are sent, what was sent, and sending it again.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use pages::webhooks::{DeliveryRow, EventBox, NewSecret, Webhook, WebhookForm, WebhookRow, Webhooks};
use pages::{Badge, Flash, Nav, Tone};
use types::id::{DeliveryId, EndpointId};

use super::Page;
use super::error::capitalised;
use super::forms::{Form, Posted};
use super::frame::{Said, frame, when};
use super::session::{Named, SignedIn};
use crate::accounts::sessions::Session;
use crate::api::extract::id;
use crate::app::App;
use crate::error::ApiError;
use crate::hooks::events::Kind;
use crate::hooks::{self, By, Delivery, Endpoint, HookError, MAX_ENDPOINTS, Wish};
use crate::idempotency::Once;

/// Deliveries shown at once.
const SHOWN: u32 = 25;

/// `GET /settings/webhooks`.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    SignedIn(session): SignedIn,
    Said(flash): Said,
) -> Result<Page<Webhooks>, ApiError> {
    let mut page = all(&app, &session, form_of(None)).await?;
    page.layout.flash = flash;
    Ok(Page(page))
}

/// `POST /settings/webhooks`: makes one and shows its secret, this once.
///
/// # Errors
/// 401, 403, 415, 422, 429, 500, 503.
pub async fn create(
    State(app): State<Arc<App>>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    match hooks::create(&app, by(&session), wish(&form), &Once::unclaimed()).await {
        Ok((endpoint, secret)) => {
            let mut page = all(&app, &session, form_of(None)).await?;
            page.new_secret = Some(NewSecret { url: endpoint.url, secret });
            Ok(Page(page).into_response())
        }
        Err(error) => {
            let (status, text) = match error {
                HookError::TooMany => (StatusCode::CONFLICT, capitalised(&error.to_string())),
                HookError::Url(_) | HookError::Description => (
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "No webhook was made. See what is wrong below.".to_owned(),
                ),
                error => return Err(error.into()),
            };
            let mut page = all(&app, &session, refused(&form, &error)).await?;
            page.layout.flash = Some(Flash::bad(text));
            Ok((status, Page(page)).into_response())
        }
    }
}

/// `GET /settings/webhooks/{id}`; with `?before=` older deliveries.
///
/// # Errors
/// 404, 500, 503.
pub async fn one(
    State(app): State<Arc<App>>,
    Named(webhook): Named<EndpointId>,
    SignedIn(session): SignedIn,
    Query(query): Query<HashMap<String, String>>,
    Said(flash): Said,
) -> Result<Page<Webhook>, ApiError> {
    let before = query.get("before").map(|text| id(text, "delivery")).transpose()?;
    let endpoint = hooks::find(&app, session.user.id, webhook).await?;
    let form = form_of(Some(&endpoint));
    let mut page = page_of(&app, &session, &endpoint, form, before).await?;
    page.layout.flash = flash;
    Ok(Page(page))
}

/// `POST /settings/webhooks/{id}`: another address, other events.
///
/// # Errors
/// 401, 403, 404, 415, 422, 429, 500, 503.
pub async fn change(
    State(app): State<Arc<App>>,
    Named(webhook): Named<EndpointId>,
    Posted { session, form }: Posted,
) -> Result<Response, ApiError> {
    match hooks::change(&app, by(&session), webhook, wish(&form), &Once::unclaimed()).await {
        Ok(_) => Ok(Redirect::to(&done(webhook, "webhook_saved")).into_response()),
        Err(error @ (HookError::Url(_) | HookError::Description)) => {
            let endpoint = hooks::find(&app, session.user.id, webhook).await?;
            let mut page = page_of(&app, &session, &endpoint, refused(&form, &error), None).await?;
            page.layout.flash =
                Some(Flash::bad("Nothing was changed. See what is wrong with the form below."));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Page(page)).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /settings/webhooks/{id}/test`.
///
/// # Errors
/// 401, 403, 404, 409, 415, 429, 500, 503.
pub async fn test(
    State(app): State<Arc<App>>,
    Named(webhook): Named<EndpointId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    hooks::test(&app, by(&session), webhook, &Once::unclaimed()).await?;
    Ok(Redirect::to(&done(webhook, "webhook_tested")))
}

/// `POST /settings/webhooks/{id}/switch`: on or off.
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn switch(
    State(app): State<Arc<App>>,
    Named(webhook): Named<EndpointId>,
    Posted { session, form }: Posted,
) -> Result<Redirect, ApiError> {
    let on = form.ticked("on");
    let wish = Wish { enabled: Some(on), ..Wish::default() };
    hooks::change(&app, by(&session), webhook, wish, &Once::unclaimed()).await?;
    Ok(Redirect::to(&done(webhook, if on { "webhook_on" } else { "webhook_off" })))
}

/// `POST /settings/webhooks/{id}/rotate`: another secret, shown this once.
///
/// # Errors
/// 401, 403, 404, 415, 422, 429, 500, 503.
pub async fn rotate(
    State(app): State<Arc<App>>,
    Named(webhook): Named<EndpointId>,
    Posted { session, form }: Posted,
) -> Result<Page<Webhooks>, ApiError> {
    let grace = form.get("grace").parse().map_err(|_| HookError::Grace)?;
    let (endpoint, secret) = hooks::rotate(&app, by(&session), webhook, grace, &Once::unclaimed()).await?;
    let mut page = all(&app, &session, form_of(None)).await?;
    page.new_secret = Some(NewSecret { url: endpoint.url, secret });
    Ok(Page(page))
}

/// `POST /settings/webhooks/{id}/delete`.
///
/// # Errors
/// 401, 403, 404, 415, 429, 500, 503.
pub async fn delete(
    State(app): State<Arc<App>>,
    Named(webhook): Named<EndpointId>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    hooks::remove(&app, by(&session), webhook, &Once::unclaimed()).await?;
    Ok(Redirect::to("/settings/webhooks?done=webhook_deleted"))
}

/// `POST /settings/webhooks/{id}/deliveries/{delivery}/replay`.
///
/// # Errors
/// 401, 403, 404, 409, 415, 429, 500, 503.
pub async fn replay(
    State(app): State<Arc<App>>,
    Path((webhook, delivery)): Path<(String, String)>,
    Posted { session, .. }: Posted,
) -> Result<Redirect, ApiError> {
    let webhook: EndpointId = id(&webhook, "webhook")?;
    let which = (webhook, id(&delivery, "delivery")?);
    hooks::replay(&app, by(&session), which, &Once::unclaimed()).await?;
    Ok(Redirect::to(&done(webhook, "webhook_replayed")))
}

fn by(session: &Session) -> By<'_> {
    (&session.user, None)
}

fn done(webhook: EndpointId, code: &str) -> String {
    format!("/settings/webhooks/{webhook}?done={code}")
}

fn wish(form: &Form) -> Wish {
    let ticked = Kind::ALL.iter().copied().filter(|kind| form.ticked(kind.name()));
    Wish {
        url: Some(form.get("url").trim().to_owned()),
        description: Some(form.get("description").trim().to_owned()),
        events: Some(ticked.collect()),
        enabled: None,
    }
}

fn boxes(ticked: impl Fn(Kind) -> bool) -> Vec<EventBox> {
    let of = |kind: &Kind| EventBox {
        name: kind.name().to_owned(),
        says: kind.says().to_owned(),
        ticked: ticked(*kind),
    };
    Kind::ALL.iter().map(of).collect()
}

/// The form of an endpoint, or of a new one.
fn form_of(endpoint: Option<&Endpoint>) -> WebhookForm {
    WebhookForm {
        url: endpoint.map(|one| one.url.clone()).unwrap_or_default(),
        description: endpoint.map(|one| one.description.clone()).unwrap_or_default(),
        events: boxes(|kind| endpoint.is_some_and(|one| one.events.contains(&kind))),
        ..WebhookForm::default()
    }
}

/// The form as it was sent, with what is wrong with it.
fn refused(form: &Form, error: &HookError) -> WebhookForm {
    let text = Some(capitalised(&error.to_string()));
    WebhookForm {
        url: form.get("url").to_owned(),
        url_error: text.clone().filter(|_| matches!(error, HookError::Url(_))),
        description: form.get("description").to_owned(),
        description_error: text.filter(|_| matches!(error, HookError::Description)),
        events: boxes(|kind| form.ticked(kind.name())),
    }
}

async fn all(app: &App, session: &Session, form: WebhookForm) -> Result<Webhooks, ApiError> {
    let found = hooks::list(app, session.user.id).await?;
    Ok(Webhooks {
        layout: frame(app, Some(session), "Webhooks", Nav::Settings).await?,
        full: found.len() >= MAX_ENDPOINTS,
        webhooks: found.iter().map(row).collect(),
        new_secret: None,
        form,
    })
}

fn row(one: &Endpoint) -> WebhookRow {
    WebhookRow {
        id: one.id.to_string(),
        url: one.url.clone(),
        description: one.description.clone(),
        events: match one.events.len() {
            0 => "all events".to_owned(),
            1 => "1 type of event".to_owned(),
            many => format!("{many} types of events"),
        },
        state: state(one),
    }
}

fn state(one: &Endpoint) -> Badge {
    match (one.enabled, one.failing_since) {
        (false, _) => Badge::new("off", Tone::Bad),
        (true, Some(_)) => Badge::new("failing", Tone::Warn),
        (true, None) => Badge::new("on", Tone::Good),
    }
}

fn note(one: &Endpoint) -> Option<String> {
    let waiting = match one.waiting {
        0 => String::new(),
        1 => " 1 event waits.".to_owned(),
        many => format!(" {many} events wait."),
    };
    let missed = match one.missed {
        0 => String::new(),
        many => format!(" Of {many} events it was not told, because too many waited."),
    };
    let first = match (&one.disabled_reason, one.failing_since) {
        (Some(reason), _) => format!("We switched it off: {reason}."),
        (None, Some(since)) if one.enabled => format!("No try has succeeded since {}.", when(since).text),
        _ => String::new(),
    };
    let text = format!("{first}{waiting}{missed}");
    (!text.is_empty()).then(|| text.trim().to_owned())
}

async fn page_of(
    app: &App,
    session: &Session,
    endpoint: &Endpoint,
    form: WebhookForm,
    before: Option<DeliveryId>,
) -> Result<Webhook, ApiError> {
    let (found, more) = hooks::deliveries(app, session.user.id, endpoint.id, before, SHOWN).await?;
    let last = found.last().filter(|_| more);
    Ok(Webhook {
        layout: frame(app, Some(session), "Webhook", Nav::Settings).await?,
        id: endpoint.id.to_string(),
        url: endpoint.url.clone(),
        state: state(endpoint),
        note: note(endpoint),
        enabled: endpoint.enabled,
        form,
        older: last.map(|last| format!("/settings/webhooks/{}?before={}#log", endpoint.id, last.id)),
        deliveries: found.iter().map(delivery).collect(),
    })
}

fn delivery(one: &Delivery) -> DeliveryRow {
    let state = match one.state.as_str() {
        "delivered" => Badge::new("delivered", Tone::Good),
        "failed" => Badge::new("given up", Tone::Bad),
        _ => Badge::new("waiting", Tone::Warn),
    };
    DeliveryRow {
        id: one.id.to_string(),
        kind: one.kind.clone(),
        event: one.event.to_string(),
        created: when(one.created_at),
        state,
        tries: tries(one),
        next: (one.state == "waiting" && one.attempts > 0).then(|| when(one.due_at)),
        error: one.error.as_deref().map(capitalised),
        answer: one.answer.clone(),
        body: one.body.clone(),
    }
}

fn tries(one: &Delivery) -> String {
    let many = match one.attempts {
        0 => return "not tried yet".to_owned(),
        1 => "1 try".to_owned(),
        many => format!("{many} tries"),
    };
    match (one.status, one.took_ms) {
        (Some(status), Some(took)) => format!("{many}, last answered {status} after {took} ms"),
        _ => many,
    }
}
