//! An upstream that speaks the OpenAI API and answers at once, in a process of its own. What it costs is taken from
//! what is measured, so it reads no JSON and sends bytes made beforehand, each answer in one write.

use std::io::{BufRead as _, Write as _};
use std::sync::LazyLock;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Result, http};

/// What it always says.
const PIECES: [&str; 4] = ["The tide ", "comes in, ", "the tide ", "goes out."];
const USAGE: &str = r#"{"prompt_tokens":12,"completion_tokens":9,"total_tokens":21}"#;
/// Whoever asks this gets no answer.
pub const SILENCE: &str = "Say nothing.";
/// The longest request it reads, in bytes.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(whole);
static STREAMED: LazyLock<Vec<u8>> = LazyLock::new(streamed);
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

/// Serves until standard input is closed, which happens when the process that started it ends. Prints the
/// address it listens on.
pub async fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    std::thread::spawn(|| {
        let mut line = String::new();
        while std::io::stdin().lock().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {}
        std::process::exit(0);
    });
    serve(listener).await
}

/// Answers whoever connects.
async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks is its client's affair.
        tokio::spawn(async move { drop(answer_all(stream).await) });
    }
}

async fn answer_all(mut stream: TcpStream) -> std::io::Result<()> {
    let mut received = Vec::new();
    loop {
        received.reserve(READ_BYTES);
        if stream.read_buf(&mut received).await? == 0 || received.len() > MAX_REQUEST_BYTES {
            return Ok(());
        }
        while let Some((answer, bytes)) = answer(&received) {
            if memmem::find(&received[..bytes], SILENCE.as_bytes()).is_some() {
                return until_closed(stream).await;
            }
            stream.write_all(answer).await?;
            received.drain(..bytes);
        }
    }
}

async fn until_closed(mut stream: TcpStream) -> std::io::Result<()> {
    let mut unread = [0; 64];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

/// The answer to the first request received and how long that request is; nothing while it is not whole.
fn answer(received: &[u8]) -> Option<(&'static [u8], usize)> {
    let head = memmem::find(received, b"\r\n\r\n")?;
    let body = head + 4;
    let end = body + http::content_length(&received[..head]).unwrap_or(0);
    let body = received.get(body..end)?;
    let is_streamed =
        [&br#""stream":true"#[..], br#""stream": true"#].iter().any(|one| memmem::find(body, one).is_some());
    let answer: &[u8] = if !received.starts_with(b"POST /v1/chat/completions ") {
        NOT_FOUND
    } else if is_streamed {
        &STREAMED
    } else {
        &WHOLE
    };
    Some((answer, end))
}

fn whole() -> Vec<u8> {
    let body = format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}],"usage":{USAGE}}}"#,
        PIECES.concat()
    );
    let head = format!("content-type: application/json\r\ncontent-length: {}", body.len());
    format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes()
}

fn streamed() -> Vec<u8> {
    let event = |choices: &str, usage: &str| {
        format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{choices}]{usage}}}"#
        )
    };
    let mut events = vec![event(r#"{"index":0,"delta":{"role":"assistant","content":""}}"#, "")];
    events.extend(PIECES.map(|piece| {
        event(&format!(r#"{{"index":0,"delta":{{"content":"{piece}"}},"finish_reason":null}}"#), "")
    }));
    events.push(event(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#, ""));
    events.push(event("", &format!(r#","usage":{USAGE}"#)));
    events.push("[DONE]".to_owned());
    let mut answer =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    for event in events {
        let event = format!("data: {event}\n\n");
        answer.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    answer.push_str("0\r\n\r\n");
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Connection, request};
    use crate::load::check;

    #[tokio::test]
    async fn both_kinds_of_answers_arrive_whole_on_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap();
        tokio::spawn(async move { drop(serve(listener).await) });
        let mut connection = Connection::open(host).await.unwrap();
        let ask = |body: &str| request("POST", "/v1/chat/completions", host, Some("t"), body);
        for _ in 0..2 {
            let answer = connection.exchange(&ask(r#"{"messages":[]}"#)).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(answer.body).unwrap();
            assert_eq!(body["choices"][0]["message"]["content"], PIECES.concat());
            assert_eq!(check(&answer, false), Ok(()));

            let answer = connection.exchange(&ask(r#"{"stream":true}"#)).await.unwrap();
            let body = std::str::from_utf8(answer.body).unwrap();
            let events: Vec<&str> = body.split_terminator("\n\n").map(|event| &event[6..]).collect();
            assert_eq!(events.len(), PIECES.len() + 4);
            let parsed = events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap());
            let text: String = parsed
                .filter_map(|event: serde_json::Value| {
                    Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
                })
                .collect();
            assert_eq!(text, PIECES.concat());
            assert_eq!(check(&answer, true), Ok(()));
        }
        let answer = connection.exchange(&request("GET", "/v1/models", host, None, "")).await.unwrap();
        assert_eq!(answer.status, 404);
    }

    #[test]
    fn a_request_is_answered_when_it_is_whole() {
        let whole = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(answer(whole).map(|(_, bytes)| bytes), Some(whole.len()));
        assert!((0..whole.len()).all(|length| answer(&whole[..length]).is_none()));
    }
}
