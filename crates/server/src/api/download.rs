//! A file that is sent while it is still being written.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream::unfold;

use crate::app::App;
use crate::credits;
use crate::credits::export::Format;
use crate::error::ApiError;
use crate::usage;

/// What a file is made of.
pub trait Parts: Send + 'static {
    /// Why it is broken off.
    type Error: std::error::Error + Into<ApiError> + Send + Sync + 'static;

    /// The next part; nothing after the last.
    fn part(&mut self, app: &App) -> impl Future<Output = Result<Option<String>, Self::Error>> + Send;

    /// Whether it is broken off because the program stops, which is nobody's mistake.
    fn is_stopping(error: &Self::Error) -> bool;
}

/// A file called `archipelago-{what}-{today}`. What is wrong from the beginning is answered as an error.
pub async fn file<P: Parts>(
    app: &Arc<App>,
    parts: P,
    what: &str,
    format: Format,
) -> Result<Response, ApiError> {
    let mut parts = parts;
    let first = parts.part(app).await.map_err(Into::into)?;
    let mut response = Response::new(body(Arc::clone(app), parts, first));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let name = format!("archipelago-{what}-{}.{}", app.clock.now().date(), format.name());
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// The parts of a file, each read when the one before it is on its way.
fn body<P: Parts>(app: Arc<App>, parts: P, first: Option<String>) -> Body {
    Body::from_stream(unfold((Some(parts), first), move |(parts, first)| {
        let app = Arc::clone(&app);
        async move {
            let mut parts = parts?;
            let part = match first {
                Some(first) => Ok(Some(first)),
                None => parts.part(&app).await,
            };
            match part {
                Ok(part) => Some((Ok(Bytes::from(part?)), (Some(parts), None))),
                Err(error) => {
                    // Whoever has half of the file must not take it for all: the connection breaks.
                    if P::is_stopping(&error) {
                        tracing::info!("an export was broken off by the restart");
                    } else {
                        tracing::error!(%error, "an export was broken off");
                    }
                    Some((Err(error), (None, None)))
                }
            }
        }
    }))
}

impl Parts for credits::export::Export {
    type Error = credits::export::ExportError;

    async fn part(&mut self, app: &App) -> Result<Option<String>, Self::Error> {
        Self::part(self, app).await
    }

    fn is_stopping(error: &Self::Error) -> bool {
        matches!(error, credits::export::ExportError::Stopping)
    }
}

impl Parts for usage::export::Export {
    type Error = usage::export::ExportError;

    async fn part(&mut self, app: &App) -> Result<Option<String>, Self::Error> {
        Self::part(self, app).await
    }

    fn is_stopping(error: &Self::Error) -> bool {
        matches!(error, usage::export::ExportError::Stopping)
    }
}
