//! A mail server of a test: it takes mail and keeps it, or answers the ends of mails with what it was told.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A mail that was taken.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub from: String,
    pub to: String,
    pub data: String,
}

#[derive(Debug, Default)]
struct Kept {
    mails: Vec<Taken>,
    heard: String,
    answers: Vec<String>,
}

pub struct SmtpServer {
    pub port: u16,
    kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

impl SmtpServer {
    /// A server that answers the recipients of mails with these, in turn, and then takes everything.
    pub async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = answers.iter().rev().map(|&answer| answer.to_owned()).collect();
        let kept = Arc::new(Mutex::new(Kept { answers, ..Kept::default() }));
        let shared = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(talk(stream, Arc::clone(&shared)));
            }
        });
        Self { port, kept, task }
    }

    pub fn mails(&self) -> Vec<Taken> {
        self.kept.lock().unwrap().mails.clone()
    }

    /// All commands there were.
    pub fn heard(&self) -> String {
        self.kept.lock().unwrap().heard.clone()
    }

    /// Closes the server; nobody listens at its port any more.
    pub async fn into_closed_port(self) -> u16 {
        self.task.abort();
        drop(self.task.await);
        self.port
    }
}

async fn talk(stream: TcpStream, kept: Arc<Mutex<Kept>>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut mail = Taken::default();
    write.write_all(b"220 test ESMTP\r\n").await.unwrap();
    while let Ok(Some(line)) = lines.next_line().await {
        kept.lock().unwrap().heard += &format!("{line}\n");
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let command = line.to_uppercase();
        let answer = if command.starts_with("EHLO") {
            "250-test\r\n250 8BITMIME".to_owned()
        } else if command.starts_with("MAIL FROM:") {
            mail = Taken { from: address(), ..Taken::default() };
            "250 ok".to_owned()
        } else if command.starts_with("RCPT TO:") {
            mail.to = address();
            kept.lock().unwrap().answers.pop().unwrap_or_else(|| "250 ok".to_owned())
        } else if command == "DATA" {
            write.write_all(b"354 go on\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "." {
                    break;
                }
                mail.data += &format!("{}\r\n", line.strip_prefix('.').unwrap_or(&line));
            }
            kept.lock().unwrap().mails.push(std::mem::take(&mut mail));
            "250 taken".to_owned()
        } else if command == "QUIT" {
            drop(write.write_all(b"221 bye\r\n").await);
            return;
        } else {
            "250 ok".to_owned()
        };
        if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}
