//! Server-sent events out of a stream of bytes.
//!
//! Guarantees: the events found do not depend on how the bytes were split into chunks (not even inside a line
//! ending or a character), and an endless line is refused rather than stored.

/// The longest line and the longest event kept, in bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// A line or an event longer than a mebibyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {MAX_EVENT_BYTES} bytes")]
pub(crate) struct TooLong;

/// Collects chunks and hands out the data of each complete event.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The line that has begun but not ended.
    line: Vec<u8>,
    /// The data lines of the event that has begun, each followed by a line feed.
    data: Vec<u8>,
    /// The last chunk ended with a carriage return; a line feed that follows belongs to it.
    after_carriage_return: bool,
    /// A line has been seen, so a byte order mark can no longer come.
    begun: bool,
}

impl Parser {
    /// Takes the next bytes and calls `event` with the data of each event they complete.
    pub(crate) fn push(&mut self, bytes: &[u8], mut event: impl FnMut(&[u8])) -> Result<(), TooLong> {
        let mut rest = bytes;
        if self.after_carriage_return && !rest.is_empty() {
            self.after_carriage_return = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r') {
            let (line, ending) = rest.split_at(end);
            rest = match ending {
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => ending,
            };
            self.after_carriage_return = ending == b"\r";
            if self.line.is_empty() {
                self.end_line(line, &mut event)?;
            } else {
                self.line.extend_from_slice(line);
                let whole = std::mem::take(&mut self.line);
                self.end_line(&whole, &mut event)?;
                self.line = whole;
                self.line.clear();
            }
        }
        if self.line.len() + rest.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    /// The stream has ended. The standard drops an event without its blank line; some servers forget the last
    /// one, and what they said is not worth losing.
    pub(crate) fn finish(mut self, mut event: impl FnMut(&[u8])) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line, &mut event)?;
        }
        self.end_line(b"", &mut event)
    }

    fn end_line(&mut self, line: &[u8], event: &mut impl FnMut(&[u8])) -> Result<(), TooLong> {
        let line = if self.begun { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            if let Some((_, data)) = self.data.split_last() {
                event(data);
                self.data.clear();
            }
            return Ok(());
        }
        // Comments and the fields `event`, `id` and `retry` say nothing that is needed here.
        let value = match line.strip_prefix(b"data") {
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            Some([]) => b"",
            _ => return Ok(()),
        };
        if self.data.len() + value.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.data.extend_from_slice(value);
        self.data.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for chunk in chunks {
            parser.push(chunk, |data| found.push(String::from_utf8(data.to_vec()).unwrap())).unwrap();
        }
        parser.finish(|data| found.push(String::from_utf8(data.to_vec()).unwrap())).unwrap();
        found
    }

    const CASES: &[(&str, &[&str])] = &[
        ("", &[]),
        ("data: a\n\n", &["a"]),
        ("data:a\n\n", &["a"]),
        ("data:  a\n\n", &[" a"]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
        ("data: a\r\rdata: b\r\r", &["a", "b"]),
        ("data: a\n\r\ndata: b\r\r\n", &["a", "b"]),
        ("data: a\ndata: b\n\n", &["a\nb"]),
        ("data: a\r\ndata: b\r\n\r\n", &["a\nb"]),
        ("data\n\n", &[""]),
        ("data:\n\n", &[""]),
        (": keep-alive\n\n: again\ndata: a\n\n", &["a"]),
        ("event: message\nid: 7\nretry: 10\ndata: a\n\n", &["a"]),
        ("database: a\n\nda: b\n\n", &[]),
        ("\n\n\ndata: a\n\n\n\n", &["a"]),
        ("\u{feff}data: a\n\n", &["a"]),
        ("data: a\n\n\u{feff}data: b\n\n", &["a"]),
        ("data: ü€😀\n\ndata: [DONE]\n\n", &["ü€😀", "[DONE]"]),
        ("data: no blank line\n", &["no blank line"]),
        ("data: no line ending", &["no line ending"]),
        ("data: {\"a\":\"x: y\"}\n\n", &["{\"a\":\"x: y\"}"]),
    ];

    #[test]
    fn events_are_found() {
        for (text, expected) in CASES {
            assert_eq!(events(&[text.as_bytes()]), *expected, "{text:?}");
        }
    }

    #[test]
    fn chunk_borders_do_not_matter() {
        for (text, expected) in CASES {
            let bytes = text.as_bytes();
            for border in 0..=bytes.len() {
                let (first, second) = bytes.split_at(border);
                assert_eq!(events(&[first, second]), *expected, "{text:?} split at {border}");
            }
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(events(&each), *expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn endless_lines_and_events_are_refused() {
        let mut parser = Parser::default();
        let mut push_all = |chunk: &[u8]| (0..20_000).try_for_each(|_| parser.push(chunk, |_| ()));
        assert_eq!(push_all(&[b'a'; 100]), Err(TooLong));
        let mut parser = Parser::default();
        let mut push_all = |chunk: &[u8]| (0..400_000).try_for_each(|_| parser.push(chunk, |_| ()));
        assert_eq!(push_all(b"data: aaaa\n"), Err(TooLong));
    }
}
