//! A coordinator as an Island sees it: it says what the test tells it, and shows what it hears.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use types::id::{AttemptId, Id, IslandId, JobId};
use types::island_protocol::{FromIsland, Offer, RefusedOffer, ToIsland};
use types::money::MicroCredits;

/// Longer than anything here takes; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that has to come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

pub fn attempt(number: i64) -> AttemptId {
    AttemptId::from_i64(number)
}

pub struct Coordinator {
    listener: TcpListener,
    pub url: String,
}

/// One Island's visit.
pub struct Visit {
    socket: WebSocketStream<TcpStream>,
    pub path: String,
    pub authorization: String,
}

/// All that was said about an attempt.
pub struct Outcome {
    pub chunks: Vec<String>,
    pub others: Vec<FromIsland>,
    pub last: FromIsland,
}

impl Outcome {
    pub fn text(&self) -> String {
        self.chunks.concat()
    }

    pub fn failure(self) -> (String, bool) {
        match self.last {
            FromIsland::Failed { error, retryable, .. } => (error, retryable),
            other => panic!("not failed: {other:?}"),
        }
    }
}

impl Coordinator {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// A connection before anything was said on it.
    pub async fn accept_raw(&self) -> TcpStream {
        soon("a connection", self.listener.accept()).await.unwrap().0
    }

    /// An Island that has connected but not been welcomed.
    pub async fn accept(&self) -> Visit {
        let stream = self.accept_raw().await;
        let (mut path, mut authorization) = (String::new(), String::new());
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            path = request.uri().path().to_owned();
            authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
            Ok(response)
        };
        let accepting = tokio_tungstenite::accept_hdr_async(stream, look);
        let socket = soon("the handshake", accepting).await.unwrap();
        Visit { socket, path, authorization }
    }

    /// An Island that has been welcomed, and what it offered.
    pub async fn welcome(&self) -> (Visit, Vec<Offer>) {
        let mut visit = self.accept().await;
        let FromIsland::Hello { offers, .. } = visit.hear_any().await else { panic!("no hello") };
        visit.say_welcome(60, Vec::new()).await;
        (visit, offers)
    }
}

impl Visit {
    pub async fn say_welcome(&mut self, heartbeat_secs: u32, refused_offers: Vec<RefusedOffer>) {
        self.say(&ToIsland::Welcome {
            protocol: 1,
            island_id: IslandId::from_i64(1),
            name: "Palma".to_owned(),
            heartbeat_secs,
            lease_secs: heartbeat_secs * 3,
            refused_offers,
            session: None,
            resumed: false,
            received: 0,
        })
        .await;
    }

    /// A welcome of protocol 2, on which the session goes on if something is said to have been received.
    pub async fn say_session(&mut self, session: &str, received: Option<u64>, lease_secs: u32) {
        self.say(&ToIsland::Welcome {
            protocol: 2,
            island_id: IslandId::from_i64(1),
            name: "Palma".to_owned(),
            heartbeat_secs: 60,
            lease_secs,
            refused_offers: Vec::new(),
            session: Some(session.to_owned()),
            resumed: received.is_some(),
            received: received.unwrap_or(0),
        })
        .await;
    }

    pub async fn acknowledge(&mut self, messages: u64) {
        self.say(&ToIsland::Received { messages, today: None }).await;
    }

    pub async fn say(&mut self, message: &ToIsland) {
        self.say_frame(Message::text(serde_json::to_string(message).unwrap())).await;
    }

    pub async fn say_frame(&mut self, frame: Message) {
        self.socket.send(frame).await.unwrap();
    }

    pub async fn assign(&mut self, number: i64, workload: &str, input: &serde_json::Value) {
        self.try_assign(number, workload, input).await.unwrap();
    }

    /// Assigns to an Island that may have left.
    pub async fn try_assign(
        &mut self,
        number: i64,
        workload: &str,
        input: &serde_json::Value,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.try_assign_model(number, workload, input, None).await
    }

    pub async fn assign_model(&mut self, number: i64, workload: &str, model: &str) {
        let input = serde_json::json!({"prompt": "Hi"});
        self.try_assign_model(number, workload, &input, Some(model)).await.unwrap();
    }

    async fn try_assign_model(
        &mut self,
        number: i64,
        workload: &str,
        input: &serde_json::Value,
        model: Option<&str>,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let assign = ToIsland::Assign {
            attempt_id: attempt(number),
            job_id: JobId::from_i64(number),
            workload: workload.to_owned(),
            input: RawValue::from_string(input.to_string()).unwrap(),
            lease_expires: 0,
            earns: MicroCredits::new(1_500_000),
            model: model.map(str::to_owned),
        };
        self.socket.send(Message::text(serde_json::to_string(&assign).unwrap())).await
    }

    pub async fn cancel(&mut self, number: i64) {
        self.say(&ToIsland::Cancel { attempt_id: attempt(number) }).await;
    }

    /// The next message, or nothing when the Island is gone.
    pub async fn hear_if_there(&mut self) -> Option<FromIsland> {
        loop {
            match soon("a message", self.socket.next()).await?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// The Island has left, properly or not.
    pub async fn hear_it_leave(mut self) {
        while self.hear_if_there().await.is_some() {}
    }

    /// The next message.
    pub async fn hear_any(&mut self) -> FromIsland {
        loop {
            match soon("a message", self.socket.next()).await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected frame: {other:?}"),
            }
        }
    }

    /// The next message that is no heartbeat.
    pub async fn hear(&mut self) -> FromIsland {
        loop {
            let message = self.hear_any().await;
            if !matches!(message, FromIsland::Heartbeat { .. }) {
                return message;
            }
        }
    }

    /// The next end of an attempt, whatever is said before.
    pub async fn hear_end(&mut self) -> FromIsland {
        loop {
            let message = self.hear().await;
            if matches!(
                message,
                FromIsland::Done { .. } | FromIsland::Failed { .. } | FromIsland::Rejected { .. }
            ) {
                return message;
            }
        }
    }

    /// Listens until an attempt has ended, and checks the order of what is said about it.
    pub async fn outcome(&mut self, number: i64) -> Outcome {
        let (mut chunks, mut others) = (Vec::new(), Vec::new());
        loop {
            let message = self.hear().await;
            match message {
                FromIsland::Output { attempt_id, seq, chunk } => {
                    assert_eq!(attempt_id, attempt(number));
                    chunks.push(chunk);
                    assert_eq!(seq, u64::try_from(chunks.len()).unwrap());
                }
                FromIsland::Done { attempt_id, .. }
                | FromIsland::Failed { attempt_id, .. }
                | FromIsland::Rejected { attempt_id, .. } => {
                    assert_eq!(attempt_id, attempt(number));
                    return Outcome { chunks, others, last: message };
                }
                other => others.push(other),
            }
        }
    }

    /// The Island has closed the connection properly.
    pub async fn hear_good_bye(&mut self) {
        loop {
            match soon("good-bye", self.socket.next()).await {
                Some(Ok(Message::Close(_))) => {
                    // Reading on is what sends the answer to it.
                    assert!(soon("the end", self.socket.next()).await.is_none());
                    return;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no good-bye but {other:?}"),
            }
        }
    }
}
