//! A thin HTTP/1.1 client over one kept connection. It shares two cores with what it measures, so it does nothing
//! that is not needed: a request is bytes made beforehand, an answer is a status and a body.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// Room for the head of an answer that nothing follows.
const HEAD_BYTES: usize = 1024;

/// A request in full.
#[must_use]
pub fn request(method: &str, path: &str, host: SocketAddr, token: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{authorization}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Asks for `path` on a connection of its own.
pub async fn get(host: SocketAddr, path: &str, token: Option<&str>) -> Result<(u16, String)> {
    let mut connection = Connection::open(host).await?;
    let answer = connection.exchange(&request("GET", path, host, token, "")).await?;
    Ok((answer.status, String::from_utf8_lossy(answer.body).into_owned()))
}

/// An answer, as far as it is looked at.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body, without its chunks.
    pub body: &'a [u8],
}

/// A kept connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    body: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(host: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new(), body: Vec::new() })
    }

    /// Sends a request and reads its answer to the last byte.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.received.clear();
        let head = loop {
            match Head::read(&self.received)? {
                Some(head) => break head,
                None => self.fill().await?,
            }
        };
        let body = match head.framing {
            Framing::Length(length) => {
                while self.received.len() < head.bytes + length {
                    self.fill().await?;
                }
                &self.received[head.bytes..head.bytes + length]
            }
            Framing::Chunked => {
                self.read_chunks(head.bytes).await?;
                &self.body
            }
        };
        Ok(Answer { status: head.status, body })
    }

    /// Sends a request and reads no further than the head of its answer; answers the status.
    pub async fn begin(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.received = Vec::with_capacity(HEAD_BYTES);
        loop {
            if let Some(head) = Head::read(&self.received)? {
                return Ok(head.status);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the connection was closed"));
            }
        }
    }

    async fn read_chunks(&mut self, mut at: usize) -> Result<()> {
        self.body.clear();
        loop {
            let Some(chunk) = Chunk::read(&self.received[at..])? else {
                self.fill().await?;
                continue;
            };
            self.body.extend_from_slice(chunk.data);
            at += chunk.bytes;
            if chunk.data.is_empty() {
                return Ok(());
            }
        }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.received.len() > MAX_ANSWER_BYTES {
            return Err(malformed("an answer without an end"));
        }
        self.received.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(Error::new(ErrorKind::UnexpectedEof, "the connection was closed")),
            _ => Ok(()),
        }
    }
}

/// Where a message's head ends and how its body is framed.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    /// The bytes of the head with its blank line.
    bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Head {
    /// Nothing while the head is not whole.
    fn read(received: &[u8]) -> Result<Option<Self>> {
        let Some(end) = memmem::find(received, b"\r\n\r\n") else { return Ok(None) };
        let head = &received[..end];
        let status = head.get(9..12).and_then(|digits| number(digits, 10));
        let status = status.and_then(|status| u16::try_from(status).ok());
        let status = status.ok_or_else(|| malformed("no status"))?;
        let framing = match content_length(head) {
            Some(length) => Framing::Length(length),
            None if header(head, b"transfer-encoding") == Some(b"chunked") => Framing::Chunked,
            None => return Err(malformed("a body of unknown length")),
        };
        Ok(Some(Self { status, framing, bytes: end + 4 }))
    }
}

/// One chunk of a chunked body; the last one is empty.
#[derive(Debug, PartialEq, Eq)]
struct Chunk<'a> {
    data: &'a [u8],
    /// The bytes of the chunk with its size and line endings.
    bytes: usize,
}

impl<'a> Chunk<'a> {
    /// Nothing while the chunk is not whole.
    fn read(received: &'a [u8]) -> Result<Option<Self>> {
        let Some(line) = memmem::find(received, b"\r\n") else { return Ok(None) };
        let size = number(&received[..line], 16).ok_or_else(|| malformed("no size of a chunk"))?;
        let (start, bytes) = (line + 2, line + 2 + size + 2);
        Ok((received.len() >= bytes).then(|| Self { data: &received[start..start + size], bytes }))
    }
}

/// The `Content-Length` of a message, from its head.
#[must_use]
pub fn content_length(head: &[u8]) -> Option<usize> {
    number(header(head, b"content-length")?, 10)
}

/// The value of a header, from a message's head.
fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let value = line.get(name.len()..).filter(|_| line[..name.len()].eq_ignore_ascii_case(name))?;
        Some(value.strip_prefix(b":")?.trim_ascii())
    })
}

fn number(digits: &[u8], radix: u32) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the answer has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let length = "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 12\r\n\r\n";
        let chunked = "HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\nrest";
        let cases = [
            (length, Some(Head { status: 200, framing: Framing::Length(12), bytes: length.len() })),
            (chunked, Some(Head { status: 503, framing: Framing::Chunked, bytes: chunked.len() - 4 })),
            (&length[..40], None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Head::read(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
        for text in ["HTTP/1.1 xx OK\r\n\r\n", "HTTP\r\n\r\n", "HTTP/1.1 200 OK\r\nx: y\r\n\r\n"] {
            assert!(Head::read(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn chunks_are_read_when_they_are_whole() {
        let cases = [
            ("5\r\nhello\r\nrest", Some(("hello", 10))),
            ("a\r\n0123456789\r\n", Some(("0123456789", 15))),
            ("0\r\n\r\n", Some(("", 5))),
            ("5\r\nhello", None),
            ("5", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = Chunk::read(text.as_bytes()).unwrap();
            let found = found.map(|chunk| (std::str::from_utf8(chunk.data).unwrap(), chunk.bytes));
            assert_eq!(found, expected, "{text:?}");
        }
        assert!(Chunk::read(b"zz\r\n").is_err());
    }
}
