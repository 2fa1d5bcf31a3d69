//! An Island under the test's control: it says what the test wants, when the test wants.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use types::id::AttemptId;
use types::island_protocol::{Capabilities, FromIsland, Offer, PROTOCOL_VERSION, ReportedUsage, ToIsland};

use super::PATIENCE;

pub struct FakeIsland {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// An assignment: what it was and what the owner would earn.
pub struct Work {
    pub attempt: AttemptId,
    pub input: String,
    pub earns: i64,
}

impl FakeIsland {
    pub async fn connect(url: &str, token: &str, ask: &str, slots: u32) -> Self {
        Self::offering(url, token, offer(ask, slots)).await
    }

    /// Connects with any offer.
    pub async fn offering(url: &str, token: &str, offer: Offer) -> Self {
        let mut island = Self { socket: dial(url, token).await };
        island
            .say(&FromIsland::Hello {
                protocol: PROTOCOL_VERSION,
                agent_version: "test".to_owned(),
                capabilities: Capabilities::default(),
                offers: vec![offer],
                session: None,
                running: Vec::new(),
            })
            .await;
        match island.hear().await {
            Some(ToIsland::Welcome { refused_offers, .. }) => assert_eq!(refused_offers, []),
            other => panic!("not welcome: {other:?}"),
        }
        island
    }

    pub async fn say(&mut self, message: &FromIsland) {
        self.say_text(&serde_json::to_string(message).unwrap()).await;
    }

    pub async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message; nothing when the coordinator closed the connection.
    pub async fn hear(&mut self) -> Option<ToIsland> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a message in time")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next assignment.
    pub async fn work(&mut self) -> Work {
        loop {
            match self.hear().await.expect("the coordinator is there") {
                ToIsland::Assign { attempt_id, input, earns, .. } => {
                    return Work { attempt: attempt_id, input: input.get().to_owned(), earns: earns.get() };
                }
                _ => continue,
            }
        }
    }

    /// Waits until it is told to stop an attempt.
    pub async fn told_to_stop(&mut self, attempt: AttemptId) {
        loop {
            match self.hear().await.expect("the coordinator is there") {
                ToIsland::Cancel { attempt_id } if attempt_id == attempt => return,
                _ => continue,
            }
        }
    }

    /// Another ask.
    pub async fn ask(&mut self, ask: &str, slots: u32) {
        self.offers(vec![offer(ask, slots)]).await;
    }

    /// Other offers.
    pub async fn offers(&mut self, offers: Vec<Offer>) {
        self.say(&FromIsland::Offers { offers }).await;
        loop {
            if let Some(ToIsland::OffersTaken { refused_offers }) = self.hear().await {
                assert_eq!(refused_offers, []);
                return;
            }
        }
    }

    pub async fn output(&mut self, attempt: AttemptId, seq: u64, text: &str) {
        self.say(&FromIsland::Output { attempt_id: attempt, seq, chunk: text.to_owned() }).await;
    }

    pub async fn done(&mut self, attempt: AttemptId) {
        let usage = Some(ReportedUsage { prompt_tokens: Some(1), completion_tokens: Some(1) });
        self.say(&FromIsland::Done { attempt_id: attempt, usage, finish_reason: None }).await;
    }

    pub async fn failed(&mut self, attempt: AttemptId, error: &str) {
        self.say(&FromIsland::Failed { attempt_id: attempt, error: error.to_owned(), retryable: true }).await;
    }

    /// From now on does all work at once.
    pub fn works_by_itself(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        if let Ok(ToIsland::Assign { attempt_id, .. }) = serde_json::from_str(&text) {
                            self.output(attempt_id, 1, "hello").await;
                            self.done(attempt_id).await;
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                }
            }
        })
    }
}

async fn dial(url: &str, token: &str) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let url = format!("{}/api/v1/islands/connect", url.replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", bearer);
    connect_async(request).await.unwrap().0
}

pub fn offer(ask: &str, slots: u32) -> Offer {
    Offer { workload: "llm-chat".to_owned(), ask: ask.to_owned(), slots, models: Vec::new() }
}
