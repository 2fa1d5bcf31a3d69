//! Pairing: how an Island gets its token without anybody copying it. The agent asks the coordinator for a code, its
//! owner enters the code on the coordinator's page, and the agent, which asks again and again, is given the token.
//!
//! Guarantees: the token is written down before it is used and shown to nobody; nothing is asked for that could
//! not be written down.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use types::island_protocol::Capabilities;

use crate::config::{Config, Secret};
use crate::machine;
use crate::state::{Identity, State, StateError};
use crate::words::plain;
use tokio::time::{Instant, sleep_until};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The largest answer that is read, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The longest token and the longest code that are believed, in bytes.
const MAX_TOKEN_BYTES: usize = 512;
const MAX_CODE_BYTES: usize = 32;
/// How often is asked, and for how long, at the most and the least, in seconds.
const INTERVAL_SECS: (u64, u64) = (1, 30);
const EXPIRES_SECS: (u64, u64) = (1, 3600);

/// What is paired with what.
#[derive(Debug)]
pub struct Pairing {
    base: Url,
    client: Client,
    state: State,
    coordinator: String,
}

/// A code that waits to be entered.
#[derive(Debug)]
pub struct Code {
    /// The code.
    pub code: String,
    /// The page where it is entered.
    pub page: String,
    /// The same page with the code in its address.
    pub link: String,
    /// For how long it is good.
    pub good_for: Duration,
    poll_token: String,
    interval: Duration,
    until: Instant,
}

/// Why an Island was not paired.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// It is paired already.
    #[error(
        "this machine is paired already, as {name} with {coordinator}. Start `island` to serve, or pair anew with \
         `--force` (the old token stays good until it is revoked on the coordinator's page)"
    )]
    Already {
        /// The Island's name.
        name: String,
        /// The coordinator's address.
        coordinator: String,
    },
    /// The address will not do.
    #[error(
        "the coordinator's address must be an http or https address without a user, such as https://archipelago.example"
    )]
    Address,
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Client(reqwest::Error),
    /// What comes of it could not be kept.
    #[error("the state cannot be kept, so nothing was asked: {0}")]
    State(#[from] StateError),
    /// Nobody answers there.
    #[error("the coordinator cannot be reached: {0}")]
    Unreachable(String),
    /// The coordinator does not pair Islands.
    #[error("this coordinator knows no pairing; make a token on its page and start with `--token`")]
    Unknown,
    /// It answered with something else.
    #[error("the coordinator answered: {0}")]
    Answer(String),
    /// Nobody entered the code in time.
    #[error("the code was not entered in time; begin again for a new one")]
    Expired,
    /// Somebody said no.
    #[error("the pairing was refused on the coordinator's page")]
    Refused,
}

#[derive(Serialize)]
struct Request<'a> {
    name: &'a str,
    agent_version: &'a str,
    public: Capabilities,
}

#[derive(Deserialize)]
struct Offered {
    code: String,
    expires_in_seconds: u64,
    pair_url: String,
    poll_token: String,
    #[serde(default)]
    interval_seconds: u64,
}

#[derive(Deserialize)]
struct Given {
    token: String,
    #[serde(default)]
    island_id: String,
    #[serde(default)]
    name: String,
}

impl Pairing {
    /// Makes ready. Nothing is asked yet.
    ///
    /// # Errors
    /// [`PairError`] if this machine is paired and that is not to be replaced, or the state cannot be written.
    pub fn new(coordinator: &str, state: State, force: bool) -> Result<Self, PairError> {
        // A damaged file is no pairing.
        if let (false, Ok(Some(Identity { name, coordinator, .. }))) = (force, state.identity()) {
            return Err(PairError::Already { name: plain(&name), coordinator: plain(&coordinator) });
        }
        let base = Url::parse(coordinator).map_err(|_| PairError::Address)?;
        let plain_address = base.username().is_empty() && base.query().is_none() && base.fragment().is_none();
        if !matches!(base.scheme(), "http" | "https") || !plain_address {
            return Err(PairError::Address);
        }
        state.check_writable()?;
        let mut builder = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if crate::backend::is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(PairError::Client)?;
        Ok(Self { base, client, state, coordinator: coordinator.trim_end_matches('/').to_owned() })
    }

    /// Asks for a code. The name is how the Island is to be called; the machine's own if nothing is said.
    ///
    /// # Errors
    /// [`PairError`] if there is none to be had.
    pub async fn begin(&self, name: Option<&str>, config: &Config) -> Result<Code, PairError> {
        let own_name = machine::host_name();
        let request = Request {
            name: name.or(own_name.as_deref()).unwrap_or("Island"),
            agent_version: env!("CARGO_PKG_VERSION"),
            public: config.capabilities(),
        };
        let response = self.post("/api/v1/pairing", &request).await?;
        let status = response.status();
        let body = read(response).await?;
        match status.as_u16() {
            200 | 201 => {}
            404 | 405 => return Err(PairError::Unknown),
            _ => return Err(refusal(status, &body)),
        }
        let strange = || PairError::Answer("something that is no pairing code".to_owned());
        let offered: Offered = serde_json::from_slice(&body).map_err(|_| strange())?;
        let Offered { code, expires_in_seconds, pair_url, poll_token, interval_seconds } = offered;
        let fine = |text: &str, longest: usize| {
            !text.is_empty() && text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let mut link = Url::parse(&pair_url).map_err(|_| strange())?;
        if !fine(&code, MAX_CODE_BYTES)
            || !fine(&poll_token, MAX_TOKEN_BYTES)
            || !matches!(link.scheme(), "http" | "https")
        {
            return Err(strange());
        }
        let page = link.to_string();
        link.query_pairs_mut().append_pair("code", &code);
        let good_for = Duration::from_secs(expires_in_seconds.clamp(EXPIRES_SECS.0, EXPIRES_SECS.1));
        let interval = Duration::from_secs(interval_seconds.clamp(INTERVAL_SECS.0, INTERVAL_SECS.1));
        let until = Instant::now() + good_for;
        Ok(Code { code, page, link: link.into(), good_for, poll_token, interval, until })
    }

    /// Waits until the code was entered, and keeps what comes of it. `trouble` hears once of each row of failures on the way,
    /// which end with the code at the latest.
    ///
    /// # Errors
    /// [`PairError`] if it was not entered, or refused.
    pub async fn finish(&self, code: &Code, mut trouble: impl FnMut(&str)) -> Result<Identity, PairError> {
        #[derive(Serialize)]
        struct Poll<'a> {
            poll_token: &'a str,
        }
        let mut troubled = false;
        let mut next = Instant::now();
        loop {
            let polled = match self.post("/api/v1/pairing/poll", &Poll { poll_token: &code.poll_token }).await
            {
                Ok(response) => {
                    let status = response.status();
                    read(response).await.map(|body| (status, body))
                }
                Err(error) => Err(error),
            };
            let problem = match polled {
                Ok((status, body)) => match status.as_u16() {
                    200 => return self.keep(&body),
                    202 => None,
                    403 => return Err(PairError::Refused),
                    404 | 410 => return Err(PairError::Expired),
                    408 | 429 | 500..600 => Some(refusal(status, &body).to_string()),
                    _ => return Err(refusal(status, &body)),
                },
                Err(error) => Some(error.to_string()),
            };
            if let (Some(problem), false) = (&problem, troubled) {
                trouble(problem);
            }
            troubled = problem.is_some();
            next = (next + code.interval).max(Instant::now() + code.interval / 2);
            if next >= code.until {
                return Err(PairError::Expired);
            }
            sleep_until(next).await;
        }
    }

    fn keep(&self, body: &[u8]) -> Result<Identity, PairError> {
        let strange = || PairError::Answer("something that is no token".to_owned());
        let Given { token, island_id, name } = serde_json::from_slice(body).map_err(|_| strange())?;
        let fine = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES || !fine {
            return Err(strange());
        }
        let identity = Identity {
            coordinator: self.coordinator.clone(),
            token: Secret::from(token),
            island_id: plain(&island_id),
            name: plain(&name),
        };
        self.state.save_identity(&identity)?;
        Ok(identity)
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Response, PairError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let sent = self.client.post(url).json(body).send().await;
        sent.map_err(|error| {
            let mut causes = crate::backend::error_chain(&error);
            if causes.is_empty() {
                causes = "no answer came".to_owned();
            }
            PairError::Unreachable(causes)
        })
    }
}

async fn read(response: Response) -> Result<Vec<u8>, PairError> {
    let read = crate::backend::read_limited(response, MAX_BODY_BYTES).await;
    read.map_err(|_| PairError::Answer("nothing that could be read".to_owned()))
}

/// The sentence in an error's body, or at least its status.
fn refusal(status: StatusCode, body: &[u8]) -> PairError {
    #[derive(Deserialize)]
    struct Body {
        error: Sentence,
    }
    #[derive(Deserialize)]
    struct Sentence {
        message: String,
    }
    PairError::Answer(match serde_json::from_slice::<Body>(body) {
        Ok(body) => format!("{} (HTTP {})", plain(&body.error.message), status.as_u16()),
        Err(_) => format!("HTTP {}", status.as_u16()),
    })
}
