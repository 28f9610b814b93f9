//! The gate is killed while it takes in, runs and delivers jobs: none that was answered with `queued` is lost, each is paid
//! for once, and only what was under way at a kill happens twice.

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
use crate::disk::Disk;
use crate::gate::{Gate, mint};
use crate::small::Small;
use crate::upstream::Upstream;
use crate::{Dice, PATIENCE, books, power, rounds};

/// A receiver that hangs is given up soon, and tried often.
const SETTINGS: &str = "[webhooks]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\ntimeout = \"400ms\"\n\
    workers = 16\nschedule = [\"100ms\", \"100ms\", \"100ms\", \"100ms\", \"200ms\", \"200ms\", \"500ms\", \"500ms\", \"1s\", \
    \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\"]\n";

/// How often a job is sent: 50 a second.
const EVERY: Duration = Duration::from_millis(20);

/// What was done at a kill or just before it may be done again.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// A receiver in the process of the test. It refuses three of ten deliveries and hangs in one of twenty.
struct Receiver {
    addr: SocketAddr,
    taken: Arc<Mutex<HashMap<String, Vec<Instant>>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let taken: Arc<Mutex<HashMap<String, Vec<Instant>>>> = Arc::default();
        let kept = Arc::clone(&taken);
        let serving = tokio::spawn(async move {
            let mut dice = Dice::new(7);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, dice.below(100), Arc::clone(&kept)));
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

/// Sends one job; `None` where nobody listens or answers.
async fn post(addr: SocketAddr, token: &str, hook: SocketAddr) -> Option<Answer> {
    let body = json!({
        "input": "How high is the tide at noon?",
        "max_new_tokens": 20,
        "webhook": format!("http://{hook}/hook"),
    })
    .to_string();
    let mut raw = Raw::of(TcpStream::connect(addr).await.ok()?);
    raw.send(format!(
        "POST /v1/inference/anthropic/claude-4-sonnet HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {token}\r\n\
         x-sim-token-ms: 1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
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

/// Sends jobs until it is told to stop; gives the ids of those that were answered with `queued`.
async fn send(addr: SocketAddr, token: String, hook: SocketAddr, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = post(addr, &token, hook).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_is_killed_with_jobs_at_work_loses_none_and_charges_each_once() {
    let (upstream, receiver) = (Upstream::start().await, Receiver::start().await);
    let folder = tempfile::tempdir().unwrap();
    let token = mint("1000");
    let (mut ids, mut kills) = (Vec::new(), Vec::new());
    for round in 0..rounds(8) {
        let mut gate = Gate::start(folder.path(), upstream.addr, SETTINGS);
        let millis = 50 + Dice::new(round).below(950);
        let sending = interrupted(&gate, &token, receiver.addr, millis).await;
        gate.kill();
        kills.push(Instant::now());
        ids.extend(sending.end().await);
    }
    let gate = Gate::start(folder.path(), upstream.addr, SETTINGS);
    let calls = settle(gate, folder.path(), &token, &receiver, &ids).await;
    upstream.billed().await;
    let twice = repeated(&receiver.taken(), &kills);
    let again = upstream.calls() - calls;
    println!(
        "{} jobs acknowledged and {calls} made in {} kills: 0 lost, {twice} deliveries and {again} calls repeated",
        ids.len(),
        kills.len()
    );
    assert!(again <= 16 * kills.len() as u64, "{again} calls repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_whose_power_is_cut_with_jobs_at_work_loses_none_that_was_acknowledged() {
    let (upstream, receiver) = (Upstream::start().await, Receiver::start().await);
    let mut all = 0;
    for round in 0..rounds(4) {
        let Some(disk) = Disk::mount() else { return };
        let token = mint("1000");
        let mut gate = Gate::start(disk.path(), upstream.addr, SETTINGS);
        let millis = 100 + Dice::new(round).below(600);
        let sending = interrupted(&gate, &token, receiver.addr, millis).await;
        let rest = disk.cut(power::cut(round));
        gate.kill();
        let ids = sending.end().await;
        all += ids.len();
        let gate = Gate::start(rest.path(), upstream.addr, SETTINGS);
        settle(gate, rest.path(), &token, &receiver, &ids).await;
    }
    println!("{all} jobs acknowledged before the power was cut: 0 lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_jobs_are_refused_and_those_that_were_acknowledged_are_delivered() {
    let Some(disk) = Small::mount("4m") else { return };
    let (upstream, receiver) = (Upstream::start().await, Receiver::start().await);
    let token = mint("1000");
    let gate = Gate::start(disk.path(), upstream.addr, SETTINGS);
    let (mut ids, mut refused) = (Vec::new(), 0);
    let began = Instant::now();
    while refused < 20 {
        if ids.len() == 20 {
            disk.fill();
        }
        let answer = post(gate.addr, &token, receiver.addr).await.expect("an answer");
        match answer.status {
            200 => ids.push(acknowledged(&answer)),
            status => {
                assert_eq!((status, answer.code()), (503, Some("ledger_unavailable")));
                refused += 1;
            }
        }
        assert!(began.elapsed() < 2 * PATIENCE, "the disk is never full");
    }
    disk.clear();
    settle(gate, disk.path(), &token, &receiver, &ids).await;
    println!("{} jobs acknowledged and {refused} refused: 0 lost", ids.len());
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
