//! The coordinator's HTTP side: answers as the test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as `POST /api/v1/pairing`.
    pub what: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// Status and body.
pub type Answer = (u16, String);

pub struct Network {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    listening: JoinHandle<()>,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Network {
    /// Answers each request with what `answer` makes of it and of its number among those for the same thing.
    pub async fn start(answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, heard) = (Arc::new(answer), Arc::clone(&asked));
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&heard)));
            }
        });
        Self { url, asked, listening }
    }

    /// All that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    answer: Arc<impl Fn(&Asked, usize) -> Answer>,
    heard: Arc<Mutex<Vec<Asked>>>,
) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let header = |name: &str| {
        head.lines().find_map(|line| {
            line.to_lowercase().starts_with(name).then(|| line[name.len()..].trim().to_owned())
        })
    };
    let mut body = vec![0; header("content-length:").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let what = head.split(" HTTP/").next().unwrap().to_owned();
    let asked = Asked {
        what,
        authorization: header("authorization:"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let (status, body) = {
        let mut heard = heard.lock().unwrap();
        let before = heard.iter().filter(|earlier| earlier.what == asked.what).count();
        heard.push(asked.clone());
        answer(&asked, before)
    };
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}
