//! Callers side by side, and what each of them was answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::Dice;
use crate::client::Raw;

/// The dearest model of the simulated upstream.
pub const DEAR: &str = "anthropic/claude-4-sonnet";

/// What became of one call, as its caller sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who called: the place in the list of credentials.
    pub caller: usize,
    /// The id of the answer.
    pub id: Option<String>,
    /// Absent where no head came.
    pub status: Option<u16>,
    /// The gate's own error code.
    pub code: Option<String>,
    /// Whether all of the answer came.
    pub whole: bool,
    /// The cost that the answer tells, in nano-dollars.
    pub cost: Option<i64>,
    pub took: Duration,
}

impl Call {
    /// Whether it went well from its beginning to its end.
    pub fn went_well(&self) -> bool {
        self.whole && self.status == Some(200)
    }
}

/// Callers under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<Call>>,
}

impl Load {
    /// One caller for each of `credentials`; each calls again and again until it is stopped or finds nobody.
    /// `tokens` is how long answers are, each token taking a millisecond in some of the streams.
    pub fn start(addr: SocketAddr, credentials: Vec<String>, tokens: u64, seed: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for (caller, credential) in credentials.into_iter().enumerate() {
            let stop = Arc::clone(&stop);
            callers.spawn(async move {
                let mut dice = Dice::new(seed * 1000 + caller);
                let mut calls = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match call(addr, caller, &credential, tokens, &mut dice).await {
                        Some(call) => calls.push(call),
                        None => break,
                    }
                }
                calls
            });
        }
        Self { stop, callers }
    }

    /// Lets every call under way end, and gives all calls.
    pub async fn stop(mut self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        let mut calls = Vec::new();
        while let Some(ended) = self.callers.join_next().await {
            calls.extend(ended.unwrap());
        }
        calls
    }
}

/// Streams and others, on several surfaces.
fn request(dice: &mut Dice, tokens: u64) -> (&'static str, Value, String) {
    let messages = json!([{"role": "user", "content": "How high is the tide at noon?"}]);
    let pace = ["x-sim-token-ms: 1", "x-sim-latency-ms: 3", "x-sim-token-ms: 0"];
    let knobs = format!(
        "x-sim-tokens: {tokens}\r\n{}\r\n",
        pace[usize::try_from(dice.below(3)).unwrap()]
    );
    let most = tokens * 2;
    let (target, body) = match dice.below(6) {
        0 => (
            "/v1/chat/completions",
            json!({"model": DEAR, "messages": messages, "max_tokens": most}),
        ),
        1 => (
            "/anthropic/v1/messages",
            json!({"model": DEAR, "messages": messages, "max_tokens": most, "stream": true}),
        ),
        2 => (
            "/v1/completions",
            json!({"model": DEAR, "prompt": "The tide", "max_tokens": most, "stream": true}),
        ),
        _ => (
            "/v1/openai/chat/completions",
            json!({"model": DEAR, "messages": messages, "max_tokens": most, "stream": true}),
        ),
    };
    (target, body, knobs)
}

/// One call; `None` where nobody listens.
async fn call(
    addr: SocketAddr,
    caller: usize,
    credential: &str,
    tokens: u64,
    dice: &mut Dice,
) -> Option<Call> {
    send(addr, caller, credential, request(dice, tokens)).await
}

/// A stream of so many milliseconds, with a token in each; `None` where nobody listens.
pub async fn stream(addr: SocketAddr, credential: &str, tokens: u64) -> Option<Call> {
    let messages = json!([{"role": "user", "content": "How low is it?"}]);
    let body = json!({"model": DEAR, "messages": messages, "max_tokens": tokens, "stream": true});
    let knobs = format!("x-sim-tokens: {tokens}\r\nx-sim-token-ms: 1\r\n");
    send(addr, 0, credential, ("/v1/openai/chat/completions", body, knobs)).await
}

async fn send(
    addr: SocketAddr,
    caller: usize,
    credential: &str,
    (target, body, knobs): (&'static str, Value, String),
) -> Option<Call> {
    let began = Instant::now();
    let stream = TcpStream::connect(addr).await.ok()?;
    let body = body.to_string();
    let mut raw = Raw::of(stream);
    raw.send(format!(
        "POST {target} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {credential}\r\n{knobs}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let mut call = Call {
        caller,
        id: None,
        status: None,
        code: None,
        whole: false,
        cost: None,
        took: Duration::ZERO,
    };
    if let Some(head) = raw.head().await {
        call.status = Some(head.status);
        call.id = head.header("x-request-id").map(str::to_owned);
        call.code = head.code().map(str::to_owned);
        if let Some(body) = raw.body(&head).await {
            call.whole = true;
            call.cost = cost(&String::from_utf8_lossy(&body));
        }
    }
    call.took = began.elapsed();
    if call.status != Some(200) {
        // Whoever is refused waits a moment.
        sleep(Duration::from_millis(10)).await;
    }
    Some(call)
}

/// The last cost that an answer tells.
fn cost(body: &str) -> Option<i64> {
    let (_, rest) = body.rsplit_once("\"estimated_cost\":")?;
    let end = rest.find([',', '}'])?;
    let dollars: f64 = rest[..end].trim().parse().ok()?;
    Some((dollars * 1e9).floor() as i64)
}
