//! An Island under the test's control: it says what the test wants, when the test wants.

use base64::Engine as _;
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
    /// The name of its session, in version 2.
    pub session: Option<String>,
}

/// A hello with one offer, of the newest version.
pub fn hello(ask: &str, slots: u32) -> FromIsland {
    hello_again(ask, slots, None, Vec::new())
}

/// The same of an Island that wants its session to go on.
pub fn hello_again(ask: &str, slots: u32, session: Option<String>, running: Vec<AttemptId>) -> FromIsland {
    FromIsland::Hello {
        protocol: PROTOCOL_VERSION,
        agent_version: "test".to_owned(),
        capabilities: Capabilities::default(),
        offers: vec![offer(ask, slots)],
        session,
        running,
    }
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
        let mut hello = hello("0", 1);
        if let FromIsland::Hello { offers, .. } = &mut hello {
            *offers = vec![offer];
        }
        let (island, answer) = Self::greet(url, token, &hello).await;
        match answer {
            Some(ToIsland::Welcome { refused_offers, .. }) => assert_eq!(refused_offers, []),
            other => panic!("not welcome: {other:?}"),
        }
        island
    }

    /// Connects, says this, and hears the answer.
    pub async fn greet(url: &str, token: &str, hello: &FromIsland) -> (Self, Option<ToIsland>) {
        let mut island = Self { socket: dial(url, token).await, session: None };
        island.say(hello).await;
        let answer = island.hear().await;
        if let Some(ToIsland::Welcome { session, .. }) = &answer {
            island.session.clone_from(session);
        }
        (island, answer)
    }

    /// Says something that may not arrive any more.
    pub async fn try_say(&mut self, message: &FromIsland) {
        let text = serde_json::to_string(message).unwrap();
        drop(self.socket.send(Message::text(text)).await);
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

    /// A piece of an answer that is no text.
    pub async fn delta(&mut self, attempt: AttemptId, seq: u64, delta: serde_json::Value) {
        let delta = serde_json::from_value(delta).unwrap();
        self.say(&FromIsland::Delta { attempt_id: attempt, seq, delta }).await;
    }

    /// Vectors of texts.
    pub async fn embeddings(&mut self, attempt: AttemptId, seq: u64, vectors: &[&[f32]]) {
        let pack = |vector: &&[f32]| {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            base64::engine::general_purpose::STANDARD.encode(bytes)
        };
        let vectors = vectors.iter().map(pack).collect();
        self.say(&FromIsland::Embeddings { attempt_id: attempt, seq, vectors }).await;
    }

    /// The beginning of a PNG of this size, which is all anybody looks at.
    pub async fn image(&mut self, attempt: AttemptId, width: u32, height: u32) {
        let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        file.extend(width.to_be_bytes());
        file.extend(height.to_be_bytes());
        file.extend([8, 2, 0, 0, 0]);
        let image_data = base64::engine::general_purpose::STANDARD.encode(file);
        let format = "png".to_owned();
        self.say(&FromIsland::Image { attempt_id: attempt, image_data, format, width, height, seed: None })
            .await;
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
                        let Ok(ToIsland::Assign { attempt_id, workload, input, .. }) =
                            serde_json::from_str(&text)
                        else {
                            continue;
                        };
                        if workload == "sdxl" {
                            let input: serde_json::Value = serde_json::from_str(input.get()).unwrap();
                            let side =
                                |name: &str| u32::try_from(input[name].as_u64().unwrap_or(1024)).unwrap();
                            self.image(attempt_id, side("width"), side("height")).await;
                        } else if workload == "embed" {
                            let vectors =
                                vec![base64::engine::general_purpose::STANDARD.encode(1.5_f32.to_le_bytes())];
                            self.say(&FromIsland::Embeddings { attempt_id, seq: 1, vectors }).await;
                        } else {
                            self.output(attempt_id, 1, "hello").await;
                        }
                        self.done(attempt_id).await;
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
