//! HTTP/2 by hand: frames and header blocks that no proper client would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;
use super::gateway::KEY;

/// What every HTTP/2 connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113, section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame as it stands on the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The HEADERS frame of a good chat call whose body follows.
pub fn head(stream: u32) -> Vec<u8> {
    let headers = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/chat/completions"),
        (":authority", "gate"),
        ("authorization", &format!("Bearer {KEY}")),
        ("content-type", "application/json"),
    ]);
    frame(HEADERS, END_HEADERS, stream, &headers)
}

/// A header block of literals without indexing or Huffman coding (RFC 7541, section 6.2.2).
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

fn length(bytes: &mut Vec<u8>, length: usize) {
    if let Ok(short) = u8::try_from(length)
        && short < 127
    {
        return bytes.push(short);
    }
    bytes.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// What a server did with a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered 200.
    Ok,
    /// It answered with another status.
    Status,
    /// It reset the stream with this error code.
    Reset(u32),
    /// It gave the connection up with this error code.
    GoAway(u32),
    /// It closed without a word.
    Closed,
}

/// A connection of frames.
pub struct H2 {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl H2 {
    /// Connects and sends the preface and empty settings.
    pub async fn connect(addr: SocketAddr) -> Self {
        let mut h2 = Self {
            stream: TcpStream::connect(addr).await.unwrap(),
            buffer: Vec::new(),
        };
        h2.send(PREFACE).await;
        h2.send(&frame(SETTINGS, 0, 0, &[])).await;
        h2
    }

    /// Sends bytes; a server that has closed already is fine.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    /// Sends without reading; false when the server takes no more for a second or has closed.
    pub async fn pump(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(Duration::from_secs(1), self.stream.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Opens a stream with a good chat call.
    pub async fn open(&mut self, stream: u32, body: &str) {
        let mut bytes = head(stream);
        bytes.extend(frame(DATA, END_STREAM, stream, body.as_bytes()));
        self.send(&bytes).await;
    }

    /// Takes a stream back.
    pub async fn reset(&mut self, stream: u32) {
        self.send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()))
            .await;
    }

    /// Waits until `length` bytes of a stream's answer have come.
    pub async fn data(&mut self, stream: u32, length: usize) {
        let mut come = 0;
        while come < length {
            let (kind, id, payload) = self.next().await.expect("the connection ended");
            if kind == DATA && id == stream {
                come += payload.len();
            }
            assert!((kind, id) != (RST_STREAM, stream), "the stream was reset");
        }
    }

    /// Waits for a frame of one kind and gives its payload; `None` when the connection ends before.
    pub async fn wait_for(&mut self, kind: u8) -> Option<Vec<u8>> {
        loop {
            let (came, _, payload) = self.next().await?;
            if came == kind {
                return Some(payload);
            }
        }
    }

    /// Waits until the server closes.
    pub async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Waits for what becomes of a stream of a connection that is asked to go.
    pub async fn outcome_beside_farewells(&mut self, stream: u32) -> Outcome {
        loop {
            let outcome = self.outcome(stream).await;
            if outcome != Outcome::GoAway(0) {
                return outcome;
            }
        }
    }

    /// Waits for what becomes of a stream.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Some((kind, id, payload)) = self.next().await else {
                return Outcome::Closed;
            };
            let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match kind {
                HEADERS if id == stream => {
                    // 0x88 is `:status: 200` of the static table; a size update may stand before it.
                    let first = payload.iter().find(|byte| **byte & 0xe0 != 0x20);
                    return if first == Some(&0x88) {
                        Outcome::Ok
                    } else {
                        Outcome::Status
                    };
                }
                RST_STREAM if id == stream => return Outcome::Reset(code(0)),
                GOAWAY => return Outcome::GoAway(code(4)),
                _ => {}
            }
        }
    }

    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            if let Some((head, rest)) = self.buffer.split_at_checked(9) {
                let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
                if rest.len() >= length {
                    let (kind, id) = (head[3], u32::from_be_bytes(head[5..9].try_into().unwrap()));
                    let payload = rest[..length].to_vec();
                    self.buffer.drain(..9 + length);
                    return Some((kind, id, payload));
                }
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
            if !matches!(read.expect("nothing came in time"), Ok(n) if n > 0) {
                return None;
            }
        }
    }
}
