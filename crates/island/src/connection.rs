//! The way to the coordinator: from its address to an Island that is known there.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use types::id::{AttemptId, IslandId};
use types::island_protocol::{
    FromIsland, MAX_FRAME_BYTES, OLDEST_PROTOCOL, PROTOCOL_VERSION, RefusedOffer, ToIsland,
};

use crate::catalog::Catalog;
use crate::config::{ConfigError, Secret};
use crate::reporter::frame;
use crate::words::plain;

/// How long everything up to the welcome may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time between heartbeats that is believed; longer, and nobody would notice a dead connection.
const MAX_HEARTBEAT_SECS: u32 = 300;
/// The longest lease that is believed.
const MAX_LEASE_SECS: u32 = 3600;
/// The longest name of a session, in bytes.
const MAX_SESSION_BYTES: usize = 256;
/// Where coordinators listen for Islands.
const PATH: &str = "/api/v1/islands/connect";

/// A connection's socket.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where the coordinator is, and who asks.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    url: Url,
    authorization: HeaderValue,
}

/// A connection on which the Island has been welcomed.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) welcome: Welcome,
}

/// What the coordinator said to welcome the Island.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// The version both speak.
    pub(crate) protocol: u32,
    pub(crate) island_id: IslandId,
    pub(crate) name: String,
    pub(crate) heartbeat: Duration,
    /// How long a session outlives its connection.
    pub(crate) lease: Duration,
    pub(crate) refused_offers: Vec<RefusedOffer>,
    /// The name of the session; nothing if the coordinator knows none (protocol 1).
    pub(crate) session: Option<String>,
    /// Whether it is the one that was named.
    pub(crate) resumed: bool,
    /// How many of its messages had arrived.
    pub(crate) received: u64,
}

/// A session that is to go on.
#[derive(Clone, Debug)]
pub(crate) struct Resumption {
    pub(crate) session: String,
    pub(crate) running: Vec<AttemptId>,
}

/// Why there is no connection (any more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Connecting again may help.
    Broken(String),
    /// The coordinator does not want this Island, in its own words.
    Refused {
        /// The coordinator's word for why.
        code: String,
        /// Its sentence.
        message: String,
        /// Whether connecting again can help.
        retry: bool,
    },
}

impl Address {
    /// From the coordinator's web address.
    pub(crate) fn new(coordinator: &str, token: &Secret) -> Result<Self, ConfigError> {
        let wrong = |problem: &str| ConfigError::value("coordinator", problem);
        let mut url = Url::parse(coordinator)
            .map_err(|error| wrong(&format!("must be an address such as http://127.0.0.1:4000: {error}")))?;
        let scheme = match url.scheme() {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            _ => return Err(wrong("must be an http or https address")),
        };
        if !url.username().is_empty() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must be an address without a user, a query or a fragment"));
        }
        url.set_scheme(scheme).map_err(|()| wrong("must be an http or https address"))?;
        url.set_path(&format!("{}{PATH}", url.path().trim_end_matches('/')));
        Ok(Self { url, authorization: bearer(token)? })
    }

    /// The same address, asked with another token.
    pub(crate) fn with_token(&self, token: &Secret) -> Result<Self, ConfigError> {
        Ok(Self { url: self.url.clone(), authorization: bearer(token)? })
    }

    /// Connects and introduces the Island, with the session that is to go on. While `draining` nothing is offered.
    pub(crate) async fn connect(
        &self,
        catalog: &Catalog,
        resumption: Option<Resumption>,
        draining: bool,
    ) -> Result<Connection, Lost> {
        let (session, running) = match resumption {
            Some(Resumption { session, running }) => (Some(session), running),
            None => (None, Vec::new()),
        };
        let hello = FromIsland::Hello {
            protocol: PROTOCOL_VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: catalog.capabilities().clone(),
            offers: if draining { Vec::new() } else { catalog.offers().to_vec() },
            session,
            running,
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.introduce(&hello)).await;
        connected.unwrap_or_else(|_| Err(Lost::Broken("the coordinator did not answer in time".to_owned())))
    }

    async fn introduce(&self, hello: &FromIsland) -> Result<Connection, Lost> {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        // Small frames are all there is: Nagle's algorithm would only hold them back.
        let opened = connect_async_with_config(self.request()?, Some(limits), true).await;
        let (mut socket, _) = opened.map_err(|error| not_opened(&error))?;
        let broken = |error: &SocketError| Lost::Broken(error.to_string());
        futures_util::SinkExt::send(&mut socket, frame(hello)).await.map_err(|error| broken(&error))?;
        loop {
            match futures_util::StreamExt::next(&mut socket).await {
                Some(Ok(Message::Text(text))) => {
                    if let Some(welcome) = read_answer(&text)? {
                        return Ok(Connection { socket, welcome });
                    }
                }
                Some(Ok(Message::Close(reason))) => return Err(closed(reason.as_ref())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(broken(&error)),
                None => return Err(closed(None)),
            }
        }
    }

    fn request(&self) -> Result<Request, Lost> {
        let mut request =
            self.url.as_str().into_client_request().map_err(|error| Lost::Broken(error.to_string()))?;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        Ok(request)
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, ConfigError> {
    let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
        .map_err(|_| ConfigError::value("token", "has characters that no token has"))?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

/// What a closed connection means.
pub(crate) fn closed(reason: Option<&tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> Lost {
    let reason = reason.map(|frame| frame.reason.as_str()).filter(|reason| !reason.is_empty());
    Lost::Broken(match reason {
        Some(reason) => format!("the coordinator closed the connection: {}", plain(reason)),
        None => "the coordinator closed the connection".to_owned(),
    })
}

/// Reads the answer to the introduction; other messages are passed over.
fn read_answer(text: &str) -> Result<Option<Welcome>, Lost> {
    match serde_json::from_str(text) {
        Ok(ToIsland::Welcome {
            protocol,
            island_id,
            name,
            heartbeat_secs,
            lease_secs,
            refused_offers,
            session,
            resumed,
            received,
        }) => {
            if !(OLDEST_PROTOCOL..=PROTOCOL_VERSION).contains(&protocol) {
                return Err(Lost::Refused {
                    code: "unsupported_protocol".to_owned(),
                    message: format!(
                        "The coordinator speaks protocol {protocol}, this Island {PROTOCOL_VERSION}."
                    ),
                    retry: false,
                });
            }
            if session.as_ref().is_some_and(|session| session.len() > MAX_SESSION_BYTES) {
                return Err(Lost::Broken("the coordinator's name for the session is too long".to_owned()));
            }
            let lease_secs = lease_secs.clamp(1, MAX_LEASE_SECS);
            // Whatever it asks for: a lease that is not renewed in time is work lost.
            let heartbeat_secs = heartbeat_secs.min(lease_secs / 2).clamp(1, MAX_HEARTBEAT_SECS);
            Ok(Some(Welcome {
                protocol,
                island_id,
                name: plain(&name),
                heartbeat: Duration::from_secs(heartbeat_secs.into()),
                lease: Duration::from_secs(lease_secs.into()),
                refused_offers,
                session: session.filter(|session| protocol > OLDEST_PROTOCOL && !session.is_empty()),
                resumed,
                received,
            }))
        }
        Ok(ToIsland::Refused { code, message, retry }) => {
            Err(Lost::Refused { code: plain(&code), message: plain(&message), retry })
        }
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!("A message of the coordinator was not understood and is ignored: {error}");
            Ok(None)
        }
    }
}

/// What it means that no connection came about.
fn not_opened(error: &SocketError) -> Lost {
    let SocketError::Http(response) = error else {
        return Lost::Broken(format!("the coordinator cannot be reached: {error}"));
    };
    let (status, message) = (response.status(), refusal_message(response));
    match status.as_u16() {
        401 | 403 => Lost::Refused {
            code: "unauthorized".to_owned(),
            message: message.unwrap_or_else(|| format!("The token is not accepted (HTTP {status}).")),
            retry: false,
        },
        _ => {
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
            Lost::Broken(format!("the coordinator answered HTTP {status}{message}"))
        }
    }
}

/// The sentence in the body of an error, as coordinators write it.
fn refusal_message(response: &Response) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Sentence,
    }
    #[derive(Deserialize)]
    struct Sentence {
        message: String,
    }
    let body: Body = serde_json::from_slice(response.body().as_ref()?).ok()?;
    Some(plain(&body.error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_addresses_become_socket_addresses() {
        let cases = [
            ("http://127.0.0.1:4000", Ok("ws://127.0.0.1:4000/api/v1/islands/connect")),
            ("https://a.example/", Ok("wss://a.example/api/v1/islands/connect")),
            ("https://a.example/net/", Ok("wss://a.example/net/api/v1/islands/connect")),
            ("ws://a.example", Ok("ws://a.example/api/v1/islands/connect")),
            ("a.example", Err("`coordinator` must be an address")),
            ("ftp://a.example", Err("`coordinator` must be an http or https address")),
            ("http://u:p@a.example", Err("`coordinator` must be an address without")),
            ("http://a.example/?a=1", Err("`coordinator` must be an address without")),
        ];
        for (coordinator, expected) in cases {
            match (Address::new(coordinator, &"t".into()), expected) {
                (Ok(address), Ok(expected)) => assert_eq!(address.url.as_str(), expected),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (address, _) => panic!("{coordinator}: {address:?}"),
            }
        }
    }

    #[test]
    fn absurd_welcomes_are_cut_to_size() {
        let welcome = |changes: &str| {
            let text = format!(
                r#"{{"welcome":{{"protocol":2,"island_id":"isl_0000000000001","name":"P\u001b[2J","heartbeat_secs":0,
                    "lease_secs":4294967295,"session":"s"{changes}}}}}"#
            );
            read_answer(&text)
        };
        let fine = welcome("").unwrap().unwrap();
        assert_eq!((fine.heartbeat.as_secs(), fine.lease.as_secs(), fine.name.as_str()), (1, 3600, "P [2J"));
        assert_eq!(fine.session.as_deref(), Some("s"));
        // Twice the same key: the message is not understood, and passed over.
        assert!(welcome(r#","heartbeat_secs":4294967296"#).unwrap().is_none());
        let hasty = r#"{"welcome":{"protocol":1,"island_id":"isl_0000000000001","name":"P","heartbeat_secs":60,"lease_secs":20}}"#;
        assert_eq!(read_answer(hasty).unwrap().unwrap().heartbeat.as_secs(), 10);
        let long = format!(
            r#"{{"welcome":{{"protocol":2,"island_id":"isl_0000000000001","name":"P","heartbeat_secs":9,
            "lease_secs":9,"session":"{}"}}}}"#,
            "s".repeat(1000)
        );
        assert!(matches!(read_answer(&long), Err(Lost::Broken(_))));
        let next = format!("\"protocol\":{}", PROTOCOL_VERSION + 1);
        let future = long.replace("\"protocol\":2", &next);
        assert!(matches!(read_answer(&future), Err(Lost::Refused { retry: false, .. })));
    }

    #[test]
    fn the_token_is_not_shown() {
        let address = Address::new("http://a.example", &"very-secret".into()).unwrap();
        assert!(!format!("{address:?}").contains("secret"));
    }
}
