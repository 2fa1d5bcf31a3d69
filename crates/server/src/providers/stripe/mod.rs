//! Stripe's HTTP API, as far as we use it: <https://docs.stripe.com/api>.
//!
//! A thin client: one version of the API is asked for by name, every request that changes something carries an idempotency
//! key that is derived from the row it is for, and only the fields we use are read. What Stripe says is read from Stripe; a
//! webhook only says where to look.

pub mod objects;
pub mod webhook;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use types::time::Timestamp;

use super::ProviderError;
use crate::config;
use objects::{ErrorBody, List};

/// The version of the API whose shapes `objects` knows. It is asked for by name, so that a change of the account's default
/// changes nothing here.
pub const VERSION: &str = "2025-03-31.basil";

/// How long one request may take. Stripe answers within seconds or not at all.
const TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(5);
/// How often a request is sent when no answer came, with the same key, so that its effect happens once.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// Largest answer read, in bytes.
const LARGEST: usize = 4 << 20;
/// Most objects asked for at once: Stripe gives no more.
const PAGE: &str = "100";

/// Parameters of a request, as forms have them.
pub type Form<'a> = Vec<(&'a str, String)>;

/// A connection to Stripe.
pub struct Stripe {
    http: reqwest::Client,
    key: String,
    base: String,
}

impl std::fmt::Debug for Stripe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stripe").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Stripe {
    /// A client for what is configured.
    ///
    /// # Errors
    /// A [`ProviderError`] if the program has no means to speak HTTPS.
    pub fn new(config: &config::Stripe) -> Result<Self, ProviderError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("archipelago/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ProviderError::Unavailable(with_causes(&error)))?;
        let base = config.api_base.trim_end_matches('/').to_owned();
        Ok(Self { http, key: config.secret_key.clone(), base })
    }

    /// Reads an object.
    ///
    /// # Errors
    /// A [`ProviderError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: Form<'_>) -> Result<T, ProviderError> {
        self.call(Method::GET, path, &query, None, None).await
    }

    /// [`Self::get`] in the name of a connected account.
    ///
    /// # Errors
    /// A [`ProviderError`].
    pub async fn get_as<T: DeserializeOwned>(&self, account: &str, path: &str) -> Result<T, ProviderError> {
        self.call(Method::GET, path, &Vec::new(), None, Some(account)).await
    }

    /// Changes something. `key` is the same whenever the same change is asked for.
    ///
    /// # Errors
    /// A [`ProviderError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: Form<'_>,
        key: &str,
    ) -> Result<T, ProviderError> {
        self.call(Method::POST, path, &form, Some(key), None).await
    }

    /// [`Self::post`] in the name of a connected account.
    ///
    /// # Errors
    /// A [`ProviderError`].
    pub async fn post_as<T: DeserializeOwned>(
        &self,
        account: &str,
        path: &str,
        form: Form<'_>,
        key: &str,
    ) -> Result<T, ProviderError> {
        self.call(Method::POST, path, &form, Some(key), Some(account)).await
    }

    /// Reads a whole list, page by page, newest first.
    ///
    /// # Errors
    /// A [`ProviderError`].
    pub async fn list<T: DeserializeOwned + objects::HasId>(
        &self,
        path: &str,
        query: &Form<'_>,
    ) -> Result<Vec<T>, ProviderError> {
        let mut all: Vec<T> = Vec::new();
        loop {
            let mut asked = query.clone();
            asked.push(("limit", PAGE.to_owned()));
            if let Some(last) = all.last() {
                asked.push(("starting_after", last.id().to_owned()));
            }
            let page: List<T> = self.get(path, asked).await?;
            let more = page.has_more && !page.data.is_empty();
            all.extend(page.data);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Asks for something that any good key may read.
    ///
    /// # Errors
    /// [`ProviderError::Refused`] when the key is not good, [`ProviderError::Unavailable`] when Stripe cannot be reached.
    pub async fn check(&self) -> Result<(), ProviderError> {
        self.get::<serde_json::Value>("/v1/balance", Vec::new()).await.map(drop)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        form: &Form<'_>,
        key: Option<&str>,
        account: Option<&str>,
    ) -> Result<T, ProviderError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let answer = self.send(method.clone(), path, form, key, account).await;
            match answer {
                // Reading again is harmless, and a change carries its key.
                Err(ProviderError::Unavailable(error)) if tries < TRIES => {
                    tracing::debug!(%error, path, "asking Stripe again");
                    tokio::time::sleep(pause).await;
                    (tries, pause) = (tries + 1, pause * 3);
                }
                answer => {
                    let outcome = if answer.is_ok() { "ok" } else { "error" };
                    metrics::counter!("archipelago_stripe_requests_total", "outcome" => outcome).increment(1);
                    let body = answer?;
                    return serde_json::from_slice(&body).map_err(|error| {
                        ProviderError::Strange(format!("{path} answered something unknown: {error}"))
                    });
                }
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        form: &Form<'_>,
        key: Option<&str>,
        account: Option<&str>,
    ) -> Result<Vec<u8>, ProviderError> {
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let url = match method {
            Method::GET if !encoded.is_empty() => format!("{}{path}?{encoded}", self.base),
            _ => format!("{}{path}", self.base),
        };
        let mut request =
            self.http.request(method.clone(), url).bearer_auth(&self.key).header("stripe-version", VERSION);
        if method == Method::POST {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(encoded);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(account) = account {
            request = request.header("stripe-account", account);
        }
        let mut response =
            request.send().await.map_err(|error| ProviderError::Unavailable(with_causes(&error)))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| ProviderError::Unavailable(with_causes(&error)))?
        {
            if body.len() + chunk.len() > LARGEST {
                return Err(ProviderError::Strange(format!("{path} answered more than is sensible")));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() { Ok(body) } else { Err(refusal(status, path, &body)) }
    }
}

/// What an answer that is no success means.
fn refusal(status: StatusCode, path: &str, body: &[u8]) -> ProviderError {
    let error = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error).unwrap_or_default();
    let code = error.code.clone().unwrap_or_default();
    let message = error.message.clone().unwrap_or_else(|| format!("{path} answered {status}"));
    // A key in use is being worked on elsewhere; too many requests and their own failures pass.
    let passes = status == StatusCode::TOO_MANY_REQUESTS
        || status.is_server_error()
        || (status == StatusCode::CONFLICT && error.kind != "idempotency_error")
        || code == "lock_timeout"
        || code == "idempotency_key_in_use";
    if passes {
        ProviderError::Unavailable(message)
    } else if status == StatusCode::NOT_FOUND || code == "resource_missing" {
        ProviderError::NotFound(message)
    } else if error.kind == "card_error" {
        ProviderError::Declined {
            reason: error.decline_code.unwrap_or(code),
            message,
            payment: error.payment_intent.map(|intent| intent.id),
        }
    } else {
        ProviderError::Refused { status: status.as_u16(), message }
    }
}

/// An error with everything behind it; addresses of ours carry no secrets.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// An id that can be part of a path: what comes with a webhook must not name another resource.
///
/// # Errors
/// [`ProviderError::NotFound`] for what is no id.
pub fn segment(id: &str) -> Result<&str, ProviderError> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if id.is_empty() || id.len() > 255 || !id.bytes().all(fine) {
        return Err(ProviderError::NotFound(id.to_owned()));
    }
    Ok(id)
}

/// A moment as Stripe writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Seconds(pub i64);

impl Seconds {
    /// The same as ours.
    #[must_use]
    pub const fn time(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(1000))
    }

    /// From ours.
    #[must_use]
    pub const fn of(time: Timestamp) -> Self {
        Self(time.as_millis().div_euclid(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_no_success_says_what_to_do() {
        let of = |status: u16, body: &str| {
            refusal(StatusCode::from_u16(status).unwrap(), "/v1/x", body.as_bytes())
        };
        let card = r#"{"error":{"type":"card_error","code":"card_declined","decline_code":"lost_card","message":"No.","payment_intent":{"id":"pi_1","status":"requires_payment_method"}}}"#;
        assert!(matches!(
            of(402, card),
            ProviderError::Declined { reason, payment: Some(payment), .. } if reason == "lost_card" && payment == "pi_1"
        ));
        for (status, body) in [
            (500, ""),
            (503, "<html>"),
            (429, "{}"),
            (409, r#"{"error":{"type":"invalid_request_error","code":"lock_timeout"}}"#),
        ] {
            assert!(matches!(of(status, body), ProviderError::Unavailable(_)), "{status}");
        }
        assert!(matches!(of(404, "{}"), ProviderError::NotFound(_)));
        assert!(matches!(of(401, "{}"), ProviderError::Refused { status: 401, .. }));
        assert!(matches!(
            of(400, r#"{"error":{"type":"idempotency_error","message":"Keys"}}"#),
            ProviderError::Refused { status: 400, message } if message == "Keys"
        ));
    }
}
