//! A gateway under siege: its memory and a good client are watched while a test attacks.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::gateway::KEY;
use super::process::Process;
use super::tls::Authority;
use super::upstream::{Recorded, Step, Upstream, ok};
use super::{PATIENCE, eventually};

/// What the good client asks for: a model of its own, since attackers may use up a model's slots.
pub const GOOD: &str = r#"{"model":"acme/other"}"#;

/// The most that memory may rise under an attack, in KiB.
const RISE_KIB: u64 = 300 * 1024;

/// How much of it may stay in KiB: an allocator gives back only what is whole.
const STAY_KIB: u64 = 48 * 1024;

/// The descriptors that a test and its gateway may need each.
const DESCRIPTORS: usize = 6000;

/// Between two calls of the good client.
const PAUSE: Duration = Duration::from_millis(2);

/// A gateway with its upstream, and what an attack on it is called.
pub struct Siege {
    name: &'static str,
    upstream: Upstream,
    process: Process,
    authority: Option<Authority>,
    _folder: tempfile::TempDir,
}

impl Siege {
    /// A gateway with these settings of `[server]` that lets one address have many connections.
    pub async fn of(name: &'static str, settings: &str) -> Self {
        Self::before(name, settings, |_| ok("application/json", b"{}")).await
    }

    /// The same before an upstream that answers as `script` says.
    pub async fn before(name: &'static str, settings: &str, script: fn(&Recorded) -> Vec<Step>) -> Self {
        allow_descriptors();
        let upstream = Upstream::start(script).await;
        let settings = format!("max_connections_per_ip = 20000\n{settings}");
        Self {
            name,
            process: Process::with(upstream.addr, &settings),
            upstream,
            authority: None,
            _folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The same on TLS.
    pub async fn on_tls(name: &'static str, settings: &str) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let (cert, key) = authority.issue("127.0.0.1").write(folder.path());
        let settings = format!(
            "{settings}\n[server.tls]\ncert = \"file:{}\"\nkey = \"file:{}\"",
            cert.display(),
            key.display()
        );
        Self {
            authority: Some(authority),
            _folder: folder,
            ..Self::of(name, &settings).await
        }
    }

    async fn connect(&self) -> Box<dyn Stream> {
        match &self.authority {
            None => Box::new(TcpStream::connect(self.process.addr).await.unwrap()),
            Some(authority) => {
                let stream = authority.connect(self.process.addr, &["http/1.1"], None).await;
                Box::new(stream.unwrap())
            }
        }
    }

    /// Attacks while a good client calls; then everything must be as it was before.
    pub async fn attack(self, attack: impl AsyncFnOnce(SocketAddr)) {
        let begun = Instant::now();
        let never = AtomicBool::new(false);
        let quiet = good_calls(self.connect().await, &never, 300).await;
        let before = self.process.resident();
        let stop = Arc::new(AtomicBool::new(false));
        let (told, stream) = (Arc::clone(&stop), self.connect().await);
        let good = tokio::spawn(async move { good_calls(stream, &told, usize::MAX).await });

        attack(self.process.addr).await;

        stop.store(true, Ordering::SeqCst);
        let under = good.await.expect("the good client was not served");
        assert!(!under.is_empty());
        self.upstream.idle().await;
        let rise = self.process.peak().saturating_sub(before);
        assert!(rise <= RISE_KIB, "memory rose by {rise} KiB");
        eventually("memory falls back", || {
            self.process.resident() <= before + STAY_KIB
        })
        .await;
        println!(
            "{}: {} good calls, p99 {:?} (quiet {:?}); memory {before} KiB, +{rise} at most, +{} after; {:?} in all",
            self.name,
            under.len(),
            p99(under),
            p99(quiet),
            self.process.resident().saturating_sub(before),
            begun.elapsed(),
        );
    }
}

/// Over how many seconds the attackers come one after another; without it they come at once.
fn spread() -> Option<u32> {
    let asked = std::env::var("TIDEGATE_TEST_SPREAD").ok()?;
    Some(asked.parse().expect("TIDEGATE_TEST_SPREAD: seconds"))
}

/// Whether the attackers come one after another.
pub fn is_spread() -> bool {
    spread().is_some()
}

/// Waits until it is the turn of attacker `number` of `count`.
pub async fn arrival(number: usize, count: usize) {
    if let Some(seconds) = spread() {
        let part = number as f64 / count as f64;
        tokio::time::sleep(Duration::from_secs_f64(f64::from(seconds) * part)).await;
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Makes up to `most` calls one after another on a connection, until told to stop; each must succeed. Gives how long
/// each took.
async fn good_calls(mut stream: Box<dyn Stream>, stop: &AtomicBool, most: usize) -> Vec<Duration> {
    let (call, mut took) = (post(GOOD), Vec::new());
    while took.len() < most && !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        stream.write_all(call.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n{}") {
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
            let so_far = String::from_utf8_lossy(&answer).into_owned();
            assert!(read.expect("no answer").unwrap() > 0, "cut: {so_far}");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        took.push(begun.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    took
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[(took.len() * 99 / 100).min(took.len() - 1)]
}

/// A whole call.
pub fn post(body: &str) -> String {
    format!("{}{body}", post_head(body.len()))
}

/// The head of a call whose body has this length.
pub fn post_head(length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Raises this process's own limit of descriptors where it is low; gateways that it starts have the same.
fn allow_descriptors() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let soft = line.split_whitespace().nth(3).unwrap();
    if soft.parse().is_ok_and(|soft: usize| soft < DESCRIPTORS) {
        let raised = Command::new("prlimit")
            .arg(format!("--pid={}", std::process::id()))
            .arg(format!("--nofile={DESCRIPTORS}:"))
            .status();
        assert!(
            raised.unwrap().success(),
            "{soft} descriptors are too few for these tests"
        );
    }
}
