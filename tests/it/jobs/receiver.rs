//! A receiver of webhooks that answers as a test tells it to, and keeps what it got.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use crate::support::eventually;
use crate::support::upstream::{Recorded, Step, Upstream, answer};

/// What a receiver does with a delivery.
#[derive(Debug, Clone, Copy)]
pub enum Does {
    /// Answers with this status.
    Answers(&'static str),
    /// Answers with this status and these lines of headers.
    Says(&'static str, &'static str),
    /// Says nothing.
    Hangs,
}

/// A receiver on loopback.
pub struct Receiver {
    server: Upstream,
}

/// One delivery.
#[derive(Debug, Clone)]
pub struct Got {
    pub id: String,
    pub timestamp: u64,
    pub signatures: Vec<String>,
    pub body: Vec<u8>,
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::doing(|_| Does::Answers("200 OK")).await
    }

    /// One that does with each delivery, counted from 0, what `does` says.
    pub async fn doing(does: impl Fn(usize) -> Does + Send + Sync + 'static) -> Self {
        let count = Arc::new(Mutex::new(0));
        let server = Upstream::start(move |_| {
            let mut count = count.lock().unwrap();
            *count += 1;
            match does(*count - 1) {
                Does::Answers(status) => answer(status, "", b""),
                Does::Says(status, headers) => answer(status, headers, b"what went wrong"),
                Does::Hangs => vec![Step::Hang],
            }
        });
        Self { server: server.await }
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hook?secret=canary-in-the-query", self.server.addr)
    }

    /// What it got so far.
    pub fn got(&self) -> Vec<Got> {
        self.server.requests().iter().map(Got::of).collect()
    }

    /// What it got, once that are so many.
    pub async fn deliveries(&self, count: usize) -> Vec<Got> {
        eventually("deliveries", || self.server.requests().len() >= count).await;
        self.got()
    }
}

impl Got {
    fn of(recorded: &Recorded) -> Self {
        assert!(
            recorded
                .line()
                .starts_with("POST /hook?secret=canary-in-the-query HTTP/1.1")
        );
        assert_eq!(recorded.header("content-type"), Some("application/json"));
        let header = |name| recorded.header(name).expect(name).to_owned();
        Self {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp").parse().unwrap(),
            signatures: header("webhook-signature")
                .split(' ')
                .map(str::to_owned)
                .collect(),
            body: recorded.body.clone(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it is new, unchanged and signed by this secret (`whsec_…`), as the standard's own verifier sees it.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let headers = [
            ("webhook-id", self.id.clone()),
            ("webhook-timestamp", self.timestamp.to_string()),
            ("webhook-signature", self.signatures.join(" ")),
        ];
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let verifier = standardwebhooks::Webhook::new(secret).unwrap();
        verifier
            .verify(&self.body, &HeaderMap::from_iter(headers))
            .is_ok()
    }
}
