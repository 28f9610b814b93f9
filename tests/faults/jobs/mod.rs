//! Jobs in front of every fault: none that was answered with `queued` is lost, each is paid for once, and only what was
//! under way at a kill happens twice.

mod killed;
mod struck;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::client::{Answer, Raw};
use crate::gate::{Gate, mint};
use crate::upstream::Upstream;
use crate::{Dice, PATIENCE, books};

/// A receiver that hangs is given up soon, and tried often.
const SETTINGS: &str = "[webhooks]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\ntimeout = \"400ms\"\n\
    workers = 16\nschedule = [\"100ms\", \"100ms\", \"100ms\", \"100ms\", \"200ms\", \"200ms\", \"500ms\", \"500ms\", \"1s\", \
    \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\"]\n";

/// How often a job is sent: 50 a second.
const EVERY: Duration = Duration::from_millis(20);

/// What was done at a kill or just before it may be done again.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// A receiver in the process of the test.
struct Receiver {
    addr: SocketAddr,
    taken: Arc<Mutex<HashMap<String, Vec<Instant>>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// One that takes everything.
    async fn kind() -> Self {
        Self::start(|_| 99).await
    }

    /// One that refuses three of ten deliveries and hangs in one of twenty.
    async fn moody() -> Self {
        Self::start(|dice| dice.below(100)).await
    }

    async fn start(luck: fn(&mut Dice) -> u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let taken: Arc<Mutex<HashMap<String, Vec<Instant>>>> = Arc::default();
        let kept = Arc::clone(&taken);
        let serving = tokio::spawn(async move {
            let mut dice = Dice::new(7);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, luck(&mut dice), Arc::clone(&kept)));
            }
        });
        Self { addr, taken, serving }
    }

    fn taken(&self) -> HashMap<String, Vec<Instant>> {
        self.taken.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Takes one delivery, or does not.
async fn receive(mut stream: TcpStream, luck: u64, taken: Arc<Mutex<HashMap<String, Vec<Instant>>>>) {
    let mut bytes = Vec::new();
    let whole = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let value = |name: &str| {
            let line = head
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with(name))?;
            Some(line.split_once(": ")?.1.to_owned())
        };
        let len: usize = value("content-length")?.parse().ok()?;
        (body.len() >= len).then(|| value("webhook-id")).flatten()
    };
    let id = loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(len) => bytes.extend_from_slice(&piece[..len]),
        }
        if let Some(id) = whole(&bytes) {
            break id;
        }
    };
    let status = match luck {
        0..5 => return sleep(Duration::from_secs(2)).await,
        5..35 => "503 Service Unavailable",
        _ => "200 OK",
    };
    if status == "200 OK" {
        taken.lock().unwrap().entry(id).or_default().push(Instant::now());
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.ok();
}

/// How much a job carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// What lies in the database.
    Small,
    /// A request and a result that are put into files.
    Large,
}

/// Sends one job; `None` where nobody listens or answers.
async fn post(addr: SocketAddr, token: &str, hook: SocketAddr, size: Size) -> Option<Answer> {
    let (input, tokens) = match size {
        Size::Small => ("How high is the tide at noon?".to_owned(), 20),
        Size::Large => ("tide ".repeat(14_000), 20_000),
    };
    let body = json!({
        "input": input,
        "max_new_tokens": tokens,
        "webhook": format!("http://{hook}/hook"),
    })
    .to_string();
    let mut raw = Raw::of(TcpStream::connect(addr).await.ok()?);
    raw.send(format!(
        "POST /v1/inference/anthropic/claude-4-sonnet HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {token}\r\n\
         x-sim-tokens: {tokens}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    raw.answer().await
}

/// The id of a job that was answered with `queued`.
fn acknowledged(answer: &Answer) -> String {
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value["inference_status"]["status"], "queued");
    value["request_id"].as_str().unwrap().to_owned()
}

/// The id of a job that was taken in; none where the disk was in the way.
fn taken_in(answer: &Answer) -> Option<String> {
    if answer.status == 200 {
        return Some(acknowledged(answer));
    }
    assert_eq!((answer.status, answer.code()), (503, Some("ledger_unavailable")));
    None
}

/// Sends jobs until it is told to stop, every eighth a large one; gives the ids of those that were answered with `queued`.
async fn send(addr: SocketAddr, token: String, hook: SocketAddr, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut ids = Vec::new();
    for size in [[Size::Small; 7].as_slice(), &[Size::Large]]
        .concat()
        .iter()
        .cycle()
    {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let answer = post(addr, &token, hook, *size).await;
        ids.extend(
            answer
                .filter(|answer| answer.status == 200)
                .as_ref()
                .map(acknowledged),
        );
        sleep(EVERY).await;
    }
    ids
}

/// How many deliveries were taken that had been taken before; each was under way at a kill.
fn repeated(taken: &HashMap<String, Vec<Instant>>, kills: &[Instant]) -> usize {
    let mut repeated = 0;
    for (id, times) in taken.iter().filter(|(_, times)| times.len() > 1) {
        let first = times[0];
        let killed = kills
            .iter()
            .any(|kill| *kill < first + UNDER_WAY && first < *kill + UNDER_WAY);
        assert!(killed, "{id} was delivered twice without a kill");
        repeated += times.len() - 1;
    }
    repeated
}

/// Has jobs sent to a gate for a while.
async fn interrupted(gate: &Gate, token: &str, hook: SocketAddr, millis: u64) -> Sending {
    let stop = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(send(gate.addr, token.to_owned(), hook, Arc::clone(&stop)));
    sleep(Duration::from_millis(millis)).await;
    Sending { stop, sending }
}

/// A client that is still at it.
struct Sending {
    stop: Arc<AtomicBool>,
    sending: JoinHandle<Vec<String>>,
}

impl Sending {
    /// The ids of the jobs that were answered with `queued`.
    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.await.unwrap()
    }
}

/// Waits until a gate has delivered all that was acknowledged, ends it, and holds its books against that. Gives how many
/// calls it has made in its folder's life.
async fn settle(gate: Gate, folder: &Path, token: &str, receiver: &Receiver, acknowledged: &[String]) -> u64 {
    // A receiver that fails five times in a row by chance is left alone for 5 s, then 10 s, and so on.
    let wait = Duration::from_secs(120 + acknowledged.len() as u64 / 10);
    let missing = || {
        let taken = receiver.taken();
        acknowledged.iter().filter(|id| !taken.contains_key(*id)).count()
    };
    let all = timeout(wait, async {
        while missing() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(all.await.is_ok(), "{} are lost", missing());
    gate.jobs_end().await;
    let balance = gate.settled(token).await;
    let (calls, spent) = gate.usage("token").await;
    gate.terminate();
    gate.ended().await;
    let files = std::fs::read_dir(folder.join("jobs")).unwrap().count();
    assert_eq!(files, 0, "files of jobs are left");
    let books = books::read(folder);
    assert_eq!(books.holds, (0, 0));
    assert_eq!((balance.spent, balance.held), (spent, 0));
    assert_eq!(books.spent, spent);
    for id in acknowledged {
        let cost = books.costs.get(id);
        assert!(cost.is_some_and(|cost| *cost > 0), "{id} was not charged");
    }
    calls
}

#[tokio::test]
async fn no_core_is_dumped_of_what_a_gate_knows() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::start(folder.path(), upstream.addr, "");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.id())).unwrap();
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(cores.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
}
