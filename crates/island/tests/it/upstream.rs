//! A model server made of bare sockets: the test decides every byte it answers and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::coordinator::soon;

pub struct Upstream {
    calls: Mutex<mpsc::UnboundedReceiver<Call>>,
    listening: JoinHandle<()>,
    pub base_url: String,
    list: Arc<std::sync::Mutex<List>>,
}

/// How the list of models is answered: HTTP status and body.
type List = (&'static str, String);

/// One request that waits for its answer.
pub struct Call {
    stream: BufReader<TcpStream>,
    /// Request line and headers.
    pub head: String,
    pub body: Value,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Upstream {
    pub async fn start() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn listen(listener: TcpListener) -> Self {
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let list = Arc::new(std::sync::Mutex::new(("404 Not Found", String::new())));
        let (arrived, calls) = mpsc::unbounded_channel();
        let listening = tokio::spawn(accept(listener, arrived, Arc::clone(&list)));
        Self { calls: Mutex::new(calls), listening, base_url, list }
    }

    /// Lists these models from now on.
    pub fn list(&self, models: &[&str]) {
        let data: Vec<Value> =
            models.iter().map(|id| serde_json::json!({"id": id, "object": "model"})).collect();
        let body = serde_json::json!({"object": "list", "data": data}).to_string();
        *self.list.lock().unwrap() = ("200 OK", body);
    }

    /// Answers like this from now on, when it is asked for its models.
    pub fn list_as(&self, status: &'static str, body: &str) {
        *self.list.lock().unwrap() = (status, body.to_owned());
    }

    /// Goes away; the address stays its own.
    pub async fn stop(mut self) -> String {
        self.listening.abort();
        let _ = (&mut self.listening).await;
        self.base_url.clone()
    }

    /// Comes back at the same address.
    pub async fn restart(base_url: &str) -> Self {
        let address = base_url.trim_start_matches("http://").trim_end_matches("/v1");
        Self::listen(TcpListener::bind(address).await.unwrap())
    }

    pub async fn call(&self) -> Call {
        soon("a request", async { self.calls.lock().await.recv().await }).await.unwrap()
    }
}

/// Answers who asks for models, and hands on everything else.
async fn accept(
    listener: TcpListener,
    arrived: mpsc::UnboundedSender<Call>,
    list: Arc<std::sync::Mutex<List>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (arrived, list) = (arrived.clone(), Arc::clone(&list));
        tokio::spawn(async move {
            let mut call = Call::read(BufReader::new(stream)).await;
            if call.head.starts_with("GET /v1/models ") {
                let (status, body) = list.lock().unwrap().clone();
                call.answer(status, "application/json", body.as_bytes()).await;
            } else {
                let _ = arrived.send(call);
            }
        });
    }
}

impl Upstream {
    /// Answers everything with these events, on connections that stay open, and counts the connections.
    pub async fn serve(events: &'static [u8]) -> (String, Arc<AtomicUsize>) {
        Self::serve_so_many(events, usize::MAX).await
    }

    /// The same, but each connection is closed without a word when a second request comes on it.
    pub async fn serve_once_each(events: &'static [u8]) -> (String, Arc<AtomicUsize>) {
        Self::serve_so_many(events, 1).await
    }

    async fn serve_so_many(events: &'static [u8], most: usize) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let counter = Arc::clone(&counter);
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut answered = 0;
                    while !stream.fill_buf().await.unwrap_or_default().is_empty() {
                        if answered == most {
                            return;
                        }
                        answered += 1;
                        let mut call = Call::read(stream).await;
                        if call.head.starts_with("GET ") {
                            call.answer("404 Not Found", "text/plain", b"").await;
                            counter.fetch_sub(1, Ordering::Relaxed);
                            return;
                        }
                        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                        call.stream.write_all(head.as_bytes()).await.unwrap();
                        call.chunk(events).await;
                        // As servers do it: the end of the body comes after the end of the answer in it.
                        tokio::task::yield_now().await;
                        call.stream.write_all(b"0\r\n\r\n").await.unwrap();
                        stream = call.stream;
                    }
                });
            }
        });
        (base_url, count)
    }
}

impl Call {
    async fn read(mut stream: BufReader<TcpStream>) -> Self {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).await.unwrap() > 0, "the request broke off: {head}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        Self { stream, head, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    /// Answers as a whole, on a connection of its own.
    pub async fn answer(&mut self, status: &str, content_type: &str, body: &[u8]) {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await.unwrap();
        self.stream.write_all(body).await.unwrap();
    }

    pub async fn begin_stream(&mut self) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    /// One chunk; the client's library hands out no more than one at a time.
    pub async fn chunk(&mut self, bytes: &[u8]) {
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.stream.write_all(&framed).await.unwrap();
    }

    pub async fn say(&mut self, text: &str) {
        let event = serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}}]});
        self.chunk(format!("data: {event}\n\n").as_bytes()).await;
    }

    pub async fn finish(&mut self) {
        self.chunk(b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
            .await;
        self.stream.write_all(b"0\r\n\r\n").await.unwrap();
    }

    /// The client has given the connection up.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = soon("the end of the connection", self.stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "more came: {rest:?}");
    }
}

impl Call {
    /// Answers as a whole, below a head of the test's own.
    pub async fn answer_raw(&mut self, head: &str, body: &[u8]) {
        let head = format!("{head}content-length: {}\r\n\r\n", body.len());
        self.stream.write_all(head.as_bytes()).await.unwrap();
        self.stream.write_all(body).await.unwrap();
    }
}
