//! The pages, and the requests that their scripts make. One file for each page; what all share is in `frame` (how a page is
//! put together), `session` (who asks) and `forms` (what a form may change).
//!
//! Guarantees: nothing is changed without the token of the session (or, signed out, of the browser) that was given the
//! form; whoever is not signed in sees no page of anybody; a browser that goes away cuts nothing off in the middle.

pub mod assets;
pub mod cargo;
pub mod chat;
pub mod credits;
pub mod docs;
pub mod error;
pub mod exchange;
pub mod forms;
pub mod frame;
pub mod home;
pub mod hooks;
pub mod image;
pub mod islands;
pub mod job_page;
pub mod jobs;
pub mod keys;
pub mod live;
pub mod owner;
pub mod pair;
pub mod payouts;
pub mod quotes;
pub mod sandbox;
pub mod session;
pub mod settings;
pub mod sign_in;
pub mod statement;
pub mod topups;
pub mod usage;
pub mod verify;

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use pages::Template;

use crate::app::App;
use crate::error::ApiError;
use crate::jobs::JobError;

/// Every address of the pages.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(home::front))
        .route("/quickstart", get(home::quickstart))
        .route("/login", get(sign_in::form).post(sign_in::send))
        .route("/login/confirm", post(sign_in::confirm))
        .route("/login/{token}", get(sign_in::follow))
        .route("/logout", post(sign_in::out))
        .route("/chat", get(chat::new))
        .route("/chat/{id}", get(chat::show))
        .route("/chat/{id}/delete", post(chat::delete))
        .route("/app/chat", post(chat::ask))
        .route("/app/chat/answers/{id}/again", post(chat::again))
        .route("/app/jobs/{id}/stream", get(jobs::stream))
        .route("/app/jobs/{id}/cancel", post(jobs::cancel))
        .route("/app/jobs/{id}/image", get(jobs::image))
        .route("/jobs/{id}", get(job_page::show))
        .route("/jobs/{id}/bid", post(job_page::raise))
        .route("/jobs/{id}/cancel", post(job_page::cancel))
        .route("/jobs/{id}/receipt.json", get(job_page::download))
        .route("/app/chat/quote", get(quotes::chat))
        .route("/app/image/quote", get(quotes::image))
        .route("/app/bids/{slug}", post(quotes::save_bid))
        .route("/image", get(image::show))
        .route("/app/image", post(image::make))
        .route("/credits", get(credits::show))
        .route("/credits/buy", post(credits::buy))
        .route("/credits/auto-topup", post(topups::set))
        .route("/credits/alerts", post(topups::set_alerts))
        .route("/credits/redeem", post(topups::redeem))
        .route("/credits/portal", post(topups::portal))
        .route("/credits/export", get(statement::export))
        .route("/credits/receipts/{file}", get(credits::receipt))
        .route("/credits/return", get(credits::back))
        .route("/sandbox/checkout/{id}", get(sandbox::checkout).post(sandbox::choose))
        .route("/sandbox/identity/{id}", get(sandbox::identity).post(sandbox::decide))
        .route("/usage", get(usage::show))
        .route("/usage/export", get(usage::export))
        .route("/verify", get(verify::show))
        .route("/verify/start", post(verify::start))
        .route("/verify/return", get(verify::back))
        .route("/exchange", get(exchange::show))
        .route("/exchange/{slug}", get(cargo::show))
        .merge(of_owners())
        .route("/sandbox/payouts/{id}", get(sandbox::payouts).post(sandbox::onboard))
        .route("/settings", get(settings::show))
        .route("/settings/profile", post(settings::rename))
        .route("/settings/keys", post(settings::create_key))
        .route("/settings/keys/{id}", get(keys::show).post(keys::change))
        .route("/settings/keys/{id}/rotate", post(keys::rotate))
        .route("/settings/keys/{id}/revoke", post(settings::revoke_key))
        .route("/settings/webhooks", get(hooks::show).post(hooks::create))
        .route("/settings/webhooks/{id}", get(hooks::one).post(hooks::change))
        .route("/settings/webhooks/{id}/test", post(hooks::test))
        .route("/settings/webhooks/{id}/switch", post(hooks::switch))
        .route("/settings/webhooks/{id}/rotate", post(hooks::rotate))
        .route("/settings/webhooks/{id}/delete", post(hooks::delete))
        .route("/settings/webhooks/{id}/deliveries/{delivery}/replay", post(hooks::replay))
        .route("/settings/bids", post(settings::save_bids))
        .route("/settings/islands", post(settings::island_letters))
        .route("/settings/sessions/end", post(settings::end_sessions))
        .route("/docs", get(docs::show))
        .route("/docs/reference", get(docs::show))
        .route("/docs/reference/{chapter}", get(docs::chapter))
        .route("/docs/{page}", get(docs::guide))
        .route("/live", get(live::stream))
        .route("/static/{*name}", get(assets::serve))
}

/// The addresses of owners of Islands.
fn of_owners() -> Router<Arc<App>> {
    Router::new()
        .route("/islands", get(islands::show))
        .route("/pair", get(pair::show).post(pair::look))
        .route("/pair/confirm", post(pair::confirm))
        .route("/pair/refuse", post(pair::refuse))
        .route("/islands/tokens", post(islands::create_token))
        .route("/islands/tokens/{id}/revoke", post(islands::revoke_token))
        .route("/islands/tokens/{id}/replace", post(islands::replace_token))
        .route("/islands/{id}/suspend", post(islands::suspend))
        .route("/islands/{id}/resume", post(islands::resume))
        .route("/islands/earnings/move", post(islands::move_earnings))
        .route("/islands/{id}/asks/{slug}", post(owner::set_ask))
        .route("/islands/{id}/asks/{slug}/reset", post(owner::reset_ask))
        .route("/islands/payouts", post(payouts::ask))
        .route("/islands/payouts/setup", post(payouts::set_up))
        .route("/islands/payouts/schedule", post(payouts::schedule))
        .route("/islands/payouts/return", get(payouts::back))
        .route("/islands/payouts/{id}", get(payouts::statement))
        .route("/islands/payouts/{id}/cancel", post(payouts::cancel))
}

/// A page, ready to be sent. It is about one person at one moment, so nobody keeps a copy.
#[derive(Debug)]
pub struct Page<T>(pub T);

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.0.render() {
            Ok(html) => ([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response(),
            Err(error) => {
                tracing::error!(%error, "a page could not be written");
                ApiError::from(JobError::Internal).into_response()
            }
        }
    }
}

/// Does something to its end, also when the browser goes away in the middle.
///
/// # Errors
/// 500 if it broke.
pub async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.map_err(|error| {
        tracing::error!(%error, "a request of a page broke");
        JobError::Internal.into()
    })
}
