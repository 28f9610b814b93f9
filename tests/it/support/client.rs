//! Clients: one that sends bytes as they are, and one that speaks proper HTTP.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// An answer as a client sees it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The only value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str());
        let first = all.next();
        assert!(all.next().is_none(), "`{name}` stands twice: {self:?}");
        first
    }

    /// The gate's own error code, if the gate made this answer.
    pub fn code(&self) -> Option<&str> {
        self.header("x-tidegate-error")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that sends bytes as they are.
pub struct Raw {
    /// The connection.
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self::of(TcpStream::connect(addr).await.unwrap())
    }

    /// Takes over a connection.
    pub fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends bytes; a gate that has closed already is fine.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.ok();
    }

    /// Waits until the gate closes the connection, and says after how long; what comes before is thrown away.
    pub async fn closed(&mut self) -> std::time::Duration {
        let start = tokio::time::Instant::now();
        while self.piece().await.is_some() {}
        start.elapsed()
    }

    /// The next piece that comes, or `None` at the end.
    pub async fn piece(&mut self) -> Option<Vec<u8>> {
        if !self.buffer.is_empty() {
            return Some(std::mem::take(&mut self.buffer));
        }
        self.fill().await.then(|| std::mem::take(&mut self.buffer))
    }

    /// The head of the next answer; `None` when the connection ends instead.
    pub async fn head(&mut self) -> Option<Answer> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = String::from_utf8_lossy(&std::mem::replace(&mut self.buffer, rest)).into_owned();
                let answer = parse_head(&head);
                if answer.status != 100 {
                    return Some(answer);
                }
            } else if !self.fill().await {
                return None;
            }
        }
    }

    /// The next whole answer; `None` when the connection ends before its head. A body that is cut panics.
    pub async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        answer.body = self.body(&answer).await.expect("the body was cut");
        Some(answer)
    }

    /// The body of an answer whose head was read; `None` when it was cut.
    pub async fn body(&mut self, answer: &Answer) -> Option<Vec<u8>> {
        if answer.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().await {
                if chunk.is_empty() {
                    return Some(body);
                }
                body.extend(chunk);
            }
            return None;
        }
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        let rest = self.buffer.split_off(length);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// The next chunk's data, empty at the last one (trailers are passed over); `None` when it was cut.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let size = std::str::from_utf8(&self.buffer[..end]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                let whole = end + 2 + size + 2;
                if self.buffer.len() >= whole && (size > 0 || self.buffer[end + 2..whole] == *b"\r\n") {
                    let data = self.buffer[end + 2..end + 2 + size].to_vec();
                    self.buffer.drain(..whole);
                    return Some(data);
                }
                if size == 0 && self.buffer.windows(4).any(|window| window == b"\r\n\r\n") {
                    self.buffer.clear();
                    return Some(Vec::new());
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        matches!(read.expect("nothing came in time"), Ok(n) if n > 0)
    }
}

fn parse_head(head: &str) -> Answer {
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Answer {
        status,
        headers: headers.collect(),
        body: Vec::new(),
    }
}
