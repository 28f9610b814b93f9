//! A gate in front of the simulated upstream, whose bills are held against the gate's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidegate::simulate::{Knobs, Simulator};
use tidegate::types::Money;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::minting::mint;
use crate::support::client::{Answer, Raw};
use crate::support::eventually;
use crate::support::gateway::Gateway;

/// The dearest model of the simulated upstream: 3.3 and 16.5 millionths of a dollar for a token.
pub const DEAR: &str = "anthropic/claude-4-sonnet";

/// The gate, and the upstream that it pays.
pub struct Bank {
    pub gate: Gateway,
    addr: SocketAddr,
    simulator: Arc<Simulator>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// A token's account, in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub spent: i64,
    pub held: i64,
    /// Below zero in debt.
    pub remaining: Option<i64>,
}

impl Bank {
    pub async fn open() -> Self {
        Self::with("").await
    }

    /// With `settings` in further sections, each of which must stand in a section of its own.
    pub async fn with(settings: &str) -> Self {
        Self::within(settings, tempfile::tempdir().unwrap()).await
    }

    /// With its ledger in `folder`.
    pub async fn within(settings: &str, folder: impl AsRef<std::path::Path> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let simulator = Simulator::new(Knobs::default());
        let serving = tokio::spawn(Arc::clone(&simulator).serve(listener, std::future::pending()));
        let settings = whole(addr, settings);
        Self {
            gate: Gateway::within(addr, &settings, folder).await,
            addr,
            simulator,
            serving,
        }
    }

    /// Puts other settings in force.
    pub async fn reload(&self, settings: &str) {
        assert!(self.gate.reload(&whole(self.addr, settings)).await);
    }

    /// A fresh token that may spend `limit` dollars.
    pub async fn token(&self, limit: &str) -> String {
        let limit: Box<RawValue> = RawValue::from_string(limit.to_owned()).unwrap();
        let body = format!(r#"{{"api_key_name":"auto","spending_limit":{limit}}}"#);
        mint(&self.gate, serde_json::from_str(&body).unwrap()).await
    }

    /// Calls with a token; `knobs` are lines of headers.
    pub async fn call(&self, token: &str, target: &str, knobs: &str, body: &Value) -> Answer {
        let mut raw = Raw::connect(self.gate.addr).await;
        raw.send(request(token, target, knobs, body)).await;
        raw.answer().await.expect("an answer")
    }

    /// What the gate says of a token.
    pub async fn account(&self, token: &str) -> Account {
        let answer = self
            .gate
            .call("GET", &format!("/v1/scoped-jwt?jwtoken={token}"), "", b"")
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let shown: std::collections::HashMap<String, Box<RawValue>> =
            serde_json::from_slice(&answer.body).unwrap();
        let nanos = |name: &str| {
            let text = shown[name].get();
            let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
            Money::parse(text).ok().map(|money| sign * money.as_nanos())
        };
        Account {
            spent: nanos("spent").unwrap(),
            held: nanos("held").unwrap(),
            remaining: nanos("remaining"),
        }
    }

    /// The same, once nothing is held any more.
    pub async fn settled(&self, token: &str) -> Account {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let account = self.account(token).await;
            if account.held == 0 && self.gate.metric("tidegate_open_holds", "") == 0.0 {
                return account;
            }
            assert!(tokio::time::Instant::now() < deadline, "holds stay: {account:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the upstream has billed in all, in nano-dollars, once no call is open there.
    pub async fn billed(&self) -> i64 {
        eventually("the upstream's calls end", || {
            self.simulator.requests()["open"] == 0
        })
        .await;
        self.simulator.requests()["cost_nano_usd"].as_i64().unwrap()
    }

    /// What the metric says was spent, in nano-dollars.
    pub fn spend_metric(&self) -> i64 {
        (self.gate.metric("tidegate_spend_usd_total", "") * 1e9).round() as i64
    }

    /// The last request that the upstream has seen on `path`, as JSON.
    pub fn last_body(&self, path: &str) -> Value {
        let requests = self.simulator.requests();
        let mut entries = requests["requests"].as_array().unwrap().iter().rev();
        let is_there = |entry: &&Value| {
            entry["path"]
                .as_str()
                .is_some_and(|known| known.starts_with(path))
        };
        let entry = entries.find(is_there).expect("a request");
        serde_json::from_str(entry["body"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn whole(upstream: SocketAddr, settings: &str) -> String {
    format!(
        "{settings}\n[limits]\nconcurrency_per_model = 2000\n[prices]\nsource = \"upstream\"\n\
         [upstream]\nbase_url = \"http://{upstream}\"\napi_key = \"key\"\nusage_by_default = true\ncontinuous_usage = true\n"
    )
}

/// A chat whose answer has as many tokens as it may.
pub fn chat(model: &str, max_tokens: u64, stream: bool) -> Value {
    json!({
        "model": model,
        "messages": [{"role": "user", "content": "How high is the tide at noon?"}],
        "max_tokens": max_tokens,
        "stream": stream,
    })
}

/// A request with a token, as bytes.
pub fn request(token: &str, target: &str, knobs: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {target} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {token}\r\n{knobs}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
