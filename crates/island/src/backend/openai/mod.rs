//! A server that speaks the `OpenAI` API.
//!
//! Guarantees: what the consumer reads about a failure names no address and no secret; an input that the
//! server itself calls wrong is not tried elsewhere, anything else may be.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Bytes;

use super::{Failure, Finished, Stopped, Work};
use crate::config::{BackendKind, ConfigError, Secret};
use crate::reporter::Reporter;

mod chat;
mod embeddings;
mod images;
mod models;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept: shorter than common servers keep theirs (five seconds), or a request
/// could go out on one that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// A request that fails sooner than this was sent on a connection that was already closed.
const STALE_WITHIN: Duration = Duration::from_secs(1);
/// How much of an error's body is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// How much of a server's own error message is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 300;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The server and the way to it.
#[derive(Debug)]
pub(crate) struct OpenAi {
    client: Client,
    /// Never on a connection that was used before.
    fresh: Client,
    /// The key as a header. Not a default of the client, because not every request may carry it.
    authorization: Option<HeaderValue>,
    chat_url: Url,
    images_url: Url,
    embeddings_url: Url,
    models_url: Url,
    /// Texts that must not be passed on, whatever the server says.
    secrets: Vec<Secret>,
}

impl OpenAi {
    /// One client, whose idle connections are kept for as many requests as there are slots.
    pub(super) fn new(key: &str, kind: &BackendKind, slots: usize) -> Result<Self, ConfigError> {
        let BackendKind::OpenAi { base_url, api_key, request_timeout_secs } = kind else {
            return Err(ConfigError::value(format!("{key}.kind"), "must be \"openai\""));
        };
        let url = read_base_url(&format!("{key}.base_url"), base_url)?;
        let timeout = Duration::from_secs((*request_timeout_secs).max(1));
        let client = |idle| {
            client(&url, timeout, idle)
                .map_err(|source| ConfigError::Client { key: format!("{key}.base_url"), source })
        };
        let (client, fresh) = (client(slots)?, client(0)?);
        let mut secrets: Vec<Secret> = api_key.iter().cloned().collect();
        secrets.extend(url.password().map(Secret::from));
        let join = |path: &str| {
            let mut joined = url.clone();
            joined.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
            joined
        };
        Ok(Self {
            client,
            fresh,
            authorization: authorization(&format!("{key}.api_key"), api_key.as_ref())?,
            chat_url: join("/chat/completions"),
            images_url: join("/images/generations"),
            embeddings_url: join("/embeddings"),
            models_url: join("/models"),
            secrets,
        })
    }

    /// Its address without secrets.
    pub(super) fn label(&self) -> String {
        let mut url = self.models_url.clone();
        // Neither can fail for an address that has a host.
        let _ = url.set_password(None).and_then(|()| url.set_username(""));
        url.as_str().trim_end_matches("/models").to_owned()
    }

    /// Whether it answers, and the models it lists.
    pub(super) async fn probe(&self) -> Result<Option<Vec<String>>, String> {
        models::probe(self).await
    }

    /// Answers with text.
    pub(super) async fn chat(&self, work: Work<'_>, reporter: &mut Reporter) -> Result<Finished, Stopped> {
        chat::run(self, work, reporter).await
    }

    /// Answers with an image.
    pub(super) async fn image(&self, work: Work<'_>, reporter: &mut Reporter) -> Result<Finished, Stopped> {
        images::run(self, work, reporter).await
    }

    /// Answers with vectors.
    pub(super) async fn embed(&self, work: Work<'_>, reporter: &mut Reporter) -> Result<Finished, Stopped> {
        embeddings::run(self, work, reporter).await
    }

    /// Posts a JSON body; an answer that is not a success is a failure.
    async fn post(&self, url: &Url, body: Vec<u8>) -> Result<Response, Failure> {
        // Counted, not copied.
        let body = Bytes::from(body);
        let send = |client: &Client| {
            let mut request = client.post(url.clone()).header(CONTENT_TYPE, JSON).body(body.clone());
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            request.send()
        };
        let begun = Instant::now();
        let response = match send(&self.client).await {
            // The server closed an idle connection in the very moment it was used again, as servers do that allow
            // only so many requests on one. Nothing has been answered, so it can be asked again.
            Err(error) if !error.is_timeout() && !error.is_connect() && begun.elapsed() < STALE_WITHIN => {
                tracing::debug!(error = %error_chain(&error), "The request is sent again on a new connection.");
                send(&self.fresh).await
            }
            sent => sent,
        };
        let response = response.map_err(|error| unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = read_limited(response, MAX_ERROR_BYTES).await.unwrap_or_default();
        Err(self.refusal(status, &body))
    }

    /// What an HTTP error means for the consumer.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        let message = upstream_message(body);
        tracing::debug!(status = status.as_u16(), message, "The backend answered with an error.");
        let status_text = status.as_u16();
        let cause = match status_text {
            400 | 413 | 422 => {
                return self.refused_input(message);
            }
            401 | 403 => "did not accept the Island's credentials",
            404 => "does not have this model",
            408 | 504 => "did not answer in time",
            429 => "is busy",
            300..400 => "is configured with an address that has moved",
            _ => "failed",
        };
        Failure::retryable(format!("The Island's backend {cause} (HTTP {status_text})."))
    }

    /// What it means that the server refuses an input, with its own words.
    fn refused_input(&self, message: Option<String>) -> Failure {
        let message = self.redact(message.unwrap_or_else(|| "no reason given".to_owned()));
        if is_about_context(&message) {
            // How long a context is differs from Island to Island.
            return Failure::too_much_here(format!(
                "The input is too long for this Island's model: {message}"
            ));
        }
        Failure::input(format!("The backend refused the input: {message}"))
    }

    fn redact(&self, message: String) -> String {
        self.secrets.iter().fold(message, |message, secret| match secret.reveal() {
            "" => message,
            secret => message.replace(secret, "…"),
        })
    }
}

/// Whether a refusal speaks of the length of the model's context, in the words of common servers.
fn is_about_context(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["context size", "context length", "context window", "context_length", "maximum context"]
        .iter()
        .any(|words| message.contains(words))
}

fn client(url: &Url, timeout: Duration, idle_connections: usize) -> reqwest::Result<Client> {
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .pool_max_idle_per_host(idle_connections)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        // A redirect would carry the consumer's words, and perhaps the key, to somebody else.
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(url) {
        // A proxy set for the outside world does not know this machine.
        builder = builder.no_proxy();
    }
    builder.build()
}

fn read_base_url(key: &str, text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|error| {
        ConfigError::value(key, format!("must be an address such as http://127.0.0.1:11434/v1: {error}"))
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError::value(key, "must be an http or https address without a query"));
    }
    Ok(url)
}

fn authorization(key: &str, api_key: Option<&Secret>) -> Result<Option<HeaderValue>, ConfigError> {
    let Some(api_key) = api_key else {
        return Ok(None);
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", api_key.reveal()))
        .map_err(|_| ConfigError::value(key, "has characters that a key cannot have"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

fn unreachable(error: &reqwest::Error) -> Failure {
    tracing::debug!(error = %error_chain(error), "The request to the backend failed.");
    if error.is_timeout() {
        Failure::retryable("The Island's backend did not answer in time.")
    } else if error.is_connect() {
        Failure::retryable("The Island's backend could not be reached.")
    } else {
        Failure::retryable("The connection to the Island's backend broke off.")
    }
}

/// An error with its causes and without the address, which may hold a password.
pub(crate) fn error_chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(if text.is_empty() { "" } else { ": " });
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Reads a body that must not be longer than `limit`.
pub(crate) async fn read_limited(mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::retryable("The Island's backend answered with more than an answer can be.");
    if response
        .content_length()
        .is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > limit))
    {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The server's own words about an error, shortened, in the places where servers put them.
fn upstream_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Option<serde_json::Value>,
        message: Option<serde_json::Value>,
        detail: Option<serde_json::Value>,
    }
    let text = match serde_json::from_slice::<Body>(body) {
        Ok(body) => {
            let error = body.error.map(|error| error.get("message").cloned().unwrap_or(error));
            let found = [error, body.message, body.detail].into_iter().flatten();
            found.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).next()?
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MAX_MESSAGE_CHARS)
        .collect();
    let text = text.trim();
    // A page is for browsers.
    (!text.is_empty() && !text.starts_with('<')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(base_url: &str) -> Result<OpenAi, ConfigError> {
        let api_key = Some(Secret::from("sk-key"));
        let kind = BackendKind::OpenAi { base_url: base_url.to_owned(), api_key, request_timeout_secs: 5 };
        OpenAi::new("backend[0]", &kind, 1)
    }

    #[test]
    fn addresses_are_joined_or_refused() {
        for base_url in ["http://h:1/v1", "http://h:1/v1/"] {
            let backend = backend(base_url).unwrap();
            assert_eq!(backend.chat_url.as_str(), "http://h:1/v1/chat/completions");
            assert_eq!(backend.images_url.as_str(), "http://h:1/v1/images/generations");
        }
        for base_url in ["", "h:1", "ftp://h/v1", "http://h/v1?key=1", "http://"] {
            let error = backend(base_url).unwrap_err().to_string();
            assert!(error.contains("`backend[0].base_url`"), "{error}");
        }
    }

    #[test]
    fn loopback_addresses_are_known() {
        let cases = [
            ("http://127.0.0.1/", true),
            ("http://localhost:1/", true),
            ("http://[::1]:1/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
        ];
        for (url, expected) in cases {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn only_the_inputs_own_faults_are_final() {
        let backend = backend("http://u:pass-word@h/v1").unwrap();
        for status in [300, 401, 403, 404, 408, 409, 418, 429, 500, 502, 503, 504] {
            let failure =
                backend.refusal(StatusCode::from_u16(status).unwrap(), br#"{"error":"sk-key at 10.1.2.3"}"#);
            assert!(failure.retryable, "{status}");
            assert!(failure.sentence.contains(&status.to_string()), "{}", failure.sentence);
            assert!(!failure.sentence.contains("10.1.2.3"), "{}", failure.sentence);
        }
        for status in [400, 413, 422] {
            let body = br#"{"error":{"message":"too long for sk-key and pass-word"}}"#;
            let failure = backend.refusal(StatusCode::from_u16(status).unwrap(), body);
            assert!(!failure.retryable, "{status}");
            assert_eq!(failure.sentence, "The backend refused the input: too long for … and …");
        }
    }

    #[test]
    fn a_context_that_is_too_short_here_may_be_longer_elsewhere() {
        let backend = backend("http://h/v1").unwrap();
        // llama.cpp, vLLM, and what many others say.
        for message in [
            "request (4003 tokens) exceeds the available context size (256 tokens), try increasing it",
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
            "context_length_exceeded",
        ] {
            let body = format!(r#"{{"error":{{"code":400,"message":"{message}"}}}}"#);
            let failure = backend.refusal(StatusCode::BAD_REQUEST, body.as_bytes());
            assert!(failure.retryable && failure.backend_is_well, "{message}");
        }
    }

    #[test]
    fn the_servers_own_words_are_found() {
        let cases = [
            (r#"{"error":{"message":"M","type":"x"}}"#, Some("M")),
            (r#"{"error":"M"}"#, Some("M")),
            (r#"{"error":{"code":7}}"#, Some(r#"{"code":7}"#)),
            (r#"{"message":"M"}"#, Some("M")),
            (r#"{"detail":"M"}"#, Some("M")),
            (r#"{"error":"a\u0007b\nc"}"#, Some("a b c")),
            ("plain words", Some("plain words")),
            ("<html><body>no</body></html>", None),
            ("{}", None),
            ("", None),
        ];
        for (body, expected) in cases {
            assert_eq!(upstream_message(body.as_bytes()).as_deref(), expected, "{body}");
        }
        let long = format!(r#"{{"error":"{}"}}"#, "é".repeat(1000));
        assert_eq!(upstream_message(long.as_bytes()).unwrap().chars().count(), MAX_MESSAGE_CHARS);
    }
}
