//! `/static/…`: the embedded files. An address that carries the version of this build may be kept for ever.

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::session::Named;
use crate::error::ApiError;

const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// `GET /static/{name}`.
///
/// # Errors
/// 404.
pub async fn serve(Named(name): Named<String>, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    let asset = pages::asset(&name).ok_or_else(|| ApiError::not_found("file"))?;
    let this_build = uri.path_and_query().is_some_and(|address| address.as_str() == pages::asset_url(&name));
    let kept =
        [(header::CACHE_CONTROL, if this_build { FOR_EVER } else { ASK_AGAIN }), (header::ETAG, asset.etag)];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known
        .is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.etag))
    {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    Ok((kept, [(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response())
}
