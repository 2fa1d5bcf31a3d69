//! `/docs`: the API on one page.

use std::sync::Arc;

use axum::extract::State;
use pages::Nav;
use pages::docs::Docs;

use super::Page;
use super::frame::frame;
use super::session::Visitor;
use crate::app::App;
use crate::error::ApiError;

/// `GET /docs`.
///
/// # Errors
/// 500, 503.
pub async fn show(State(app): State<Arc<App>>, Visitor(visitor): Visitor) -> Result<Page<Docs>, ApiError> {
    let layout = frame(&app, visitor.as_ref(), "API reference", Nav::Docs).await?;
    Ok(Page(Docs { layout, base_url: app.config.public_url() }))
}
