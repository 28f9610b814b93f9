//! Deliveries to receivers of every kind: kind ones, broken ones, and those that want something else.

mod addresses;
mod answers;
mod slow;
mod tls;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tidegate::config::{Network, Webhooks};
use tidegate::metrics::Metrics;
use tidegate::queue::Secrets;
use tidegate::types::{AccountId, JobId};
use tidegate::upstream::tls_config;
use tidegate::webhook::{Connector, Deliverer, Delivery, LookUp, Outcome, Resolve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const FIRST: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BEFORE: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const BODY: &[u8] = br#"{"request_id":"R1","n":"\u00e9"}"#;
/// When a delivery begins where the time does not matter.
const AT: Duration = Duration::from_millis(1_700_000_000_999);

/// Listens on a loopback address and does with each connection what a script says.
struct Listener {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Listener {
    async fn start<F, S>(script: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(TcpStream) -> F + Send + 'static,
    {
        Self::at("127.0.0.1:0", script).await
    }

    async fn at<F, S>(addr: &str, script: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(TcpStream) -> F + Send + 'static,
    {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(stream));
            }
        });
        Self { addr, connections }
    }

    /// One that answers each request with these bytes and closes.
    async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                read_request(&mut stream).await;
                stream.write_all(&bytes).await.ok();
                stream.shutdown().await.ok();
                stream.read_to_end(&mut Vec::new()).await.ok();
            }
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.addr)
    }
}

/// Reads a head, and the body that its `content-length` declares.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    let head = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return (String::from_utf8_lossy(&read).into_owned(), Vec::new());
        }
    };
    let mut body = read.split_off(head);
    let head = String::from_utf8(read).unwrap();
    let len = header(&head, "content-length").unwrap().parse().unwrap();
    while body.len() < len && stream.read_buf(&mut body).await.unwrap_or(0) > 0 {}
    (head, body)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// Answers look-ups from a list, the last answer again and again.
#[derive(Debug, Default)]
struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let addresses = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().map(addresses).collect()),
            asked: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str, _: LookUp) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            1 => answers.front().cloned(),
            _ => answers.pop_front(),
        };
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// Settings that let loopback receivers through, within that many seconds for an attempt.
fn settings(seconds: u64, networks: &[&str]) -> Webhooks {
    Webhooks {
        timeout: Duration::from_secs(seconds),
        allow_http: true,
        allow_networks: networks
            .iter()
            .map(|text| Network::parse(text).unwrap())
            .collect(),
        ..Webhooks::default()
    }
}

struct Sender {
    deliverer: Deliverer,
    metrics: Arc<Metrics>,
}

impl Sender {
    /// One that may send to loopback addresses.
    fn local(seconds: u64) -> Self {
        Self::new(&settings(seconds, &["127.0.0.0/8"]), Names::of(&[]), None)
    }

    fn new(settings: &Webhooks, names: Arc<dyn Resolve>, authority: Option<&str>) -> Self {
        let tls = tls_config(authority.map(str::as_bytes)).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        Self {
            deliverer: Deliverer::new(settings, Connector::new(names, tls), Arc::clone(&metrics)),
            metrics,
        }
    }

    async fn send(&self, url: &str) -> Outcome {
        self.send_at(url, AT).await
    }

    async fn send_at(&self, url: &str, at: Duration) -> Outcome {
        self.attempt("di:1", url, at).await.expect("an attempt")
    }

    async fn attempt(&self, account: &str, url: &str, at: Duration) -> Option<Outcome> {
        let secrets = Secrets {
            first: SecretString::from(FIRST),
            before: Some(SecretString::from(BEFORE)),
        };
        let (id, hook) = (JobId::new([5; 32]), SecretString::from(url));
        let account = AccountId::parse(account).unwrap();
        let delivery = Delivery {
            account: &account,
            id: &id,
            at,
            hook: &hook,
            secrets: &secrets,
            body: Bytes::from_static(BODY),
        };
        self.deliverer.attempt(delivery).await
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.render().unwrap().lines().any(|shown| shown == line)
    }
}
