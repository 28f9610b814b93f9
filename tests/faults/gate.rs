//! The binary as a process on a folder that outlives it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::NamedTempFile;
use tidegate::types::Money;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

use crate::PATIENCE;
use crate::client::{Answer, Raw};
use crate::disk::Disk;

/// The only key.
pub const KEY: &str = "test-key-0123456789abcdef";

/// What operators show.
const ADMIN: &str = "admin-token-0123456789";

/// Seals the stores of these tests.
pub const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A running `tidegate serve`; it is killed when this falls.
pub struct Gate {
    pub addr: SocketAddr,
    admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Log>>,
}

/// What a process has said.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    /// Both listeners', once they listen.
    addrs: Option<(SocketAddr, SocketAddr)>,
    has_ended: bool,
}

impl Log {
    fn add(&mut self, line: String) {
        self.addrs = self.addrs.or_else(|| listening(&line));
        self.lines.push(line);
    }
}

/// What a token has, in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    pub spent: i64,
    pub held: i64,
}

/// Where the store of a folder is.
pub fn database(folder: &Path) -> PathBuf {
    folder.join("tidegate.db")
}

impl Gate {
    /// Starts the binary with its store in `folder`, and `server` in its `[server]` section.
    pub fn start(folder: &Path, upstream: SocketAddr, server: &str) -> Self {
        let started = Starting::spawn(folder, upstream, server).listening();
        started.unwrap_or_else(|log| panic!("the gate does not start: {log:#?}"))
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(
            !status.success(),
            "it ended by itself: {:#?}",
            self.log.lock().unwrap().lines
        );
    }

    /// SIGKILL while one of its operations stands still on `disk`, which serves again afterwards.
    pub fn kill_caught(&mut self, disk: &Disk) {
        kill_caught(&mut self.child, disk);
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Whether the process is gone.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for an end in order.
    pub async fn ended(mut self) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(status.code(), Some(0), "{:#?}", self.log.lock().unwrap().lines);
    }

    /// The sum of all series of a metric.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = ask(self.admin, "GET /metrics", "").await;
        let text = answer.text();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// What the gate says of a token.
    pub async fn balance(&self, token: &str) -> Balance {
        let line = format!("GET /v1/scoped-jwt?jwtoken={token}");
        let answer = ask(self.addr, &line, KEY).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let shown: HashMap<String, Box<RawValue>> = serde_json::from_slice(&answer.body).unwrap();
        let nanos = |name: &str| Money::parse(shown[name].get()).unwrap().as_nanos();
        Balance {
            spent: nanos("spent"),
            held: nanos("held"),
        }
    }

    /// The same, once no call is open any more.
    pub async fn settled(&self, token: &str) -> Balance {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let balance = self.balance(token).await;
            if balance.held == 0 && self.metric("tidegate_open_holds").await == 0.0 {
                return balance;
            }
            assert!(Instant::now() < deadline, "holds stay: {balance:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until no job is left to be done.
    pub async fn jobs_end(&self) {
        let deadline = Instant::now() + PATIENCE;
        for state in ["queued", "running", "delivering"] {
            let line = format!("GET /api/v1/jobs?state={state}");
            loop {
                let answer = ask(self.admin, &line, ADMIN).await;
                let jobs: Value = serde_json::from_slice(&answer.body).unwrap();
                if jobs["items"].as_array().is_some_and(Vec::is_empty) {
                    break;
                }
                assert!(Instant::now() < deadline, "jobs stay {state}: {jobs}");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// How many calls there were and what they cost in nano-dollars, in a report by `token` or `key`.
    pub async fn usage(&self, by: &str) -> (u64, i64) {
        #[derive(serde::Deserialize)]
        struct Row {
            calls: u64,
            usd: Box<RawValue>,
        }
        #[derive(serde::Deserialize)]
        struct Report {
            items: Vec<Row>,
        }
        let answer = ask(self.admin, &format!("GET /api/v1/usage?by={by}"), ADMIN).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let report: Report = serde_json::from_slice(&answer.body).unwrap();
        let usd = |row: &Row| Money::parse(row.usd.get()).unwrap().as_nanos();
        (
            report.items.iter().map(|row| row.calls).sum(),
            report.items.iter().map(usd).sum(),
        )
    }
}

/// A `tidegate serve` that has only just been started; it is killed when this falls.
pub struct Starting {
    child: Option<Child>,
    log: Arc<Mutex<Log>>,
    // Read when it starts.
    _config: NamedTempFile,
}

impl Starting {
    /// As [`Gate::start`], without waiting.
    pub fn spawn(folder: &Path, upstream: SocketAddr, server: &str) -> Self {
        let config = NamedTempFile::new().unwrap();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{server}\n\
             [store]\nurl = \"sqlite:{}\"\nmaster_key = \"{MASTER_KEY}\"\n[admin]\ntoken = \"{ADMIN}\"\n\
             [limits]\nconcurrency_per_model = 2000\n[prices]\nsource = \"upstream\"\n\
             [upstream]\nbase_url = \"http://{upstream}\"\napi_key = \"key\"\nusage_by_default = true\n\
             continuous_usage = true\n\
             [[account]]\nid = \"di:1\"\n[[account.key]]\nname = \"auto\"\nsecret = \"{KEY}\"\n",
            database(folder).display()
        );
        std::fs::write(config.path(), text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--config"])
            .arg(config.path())
            .env_remove("TIDEGATE_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Log::default()));
        let kept = Arc::clone(&log);
        // Read to the end, so that the process never waits for a full pipe.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().unwrap().add(line);
            }
            kept.lock().unwrap().has_ended = true;
        });
        Self {
            child: Some(child),
            log,
            _config: config,
        }
    }

    /// Whether it listens already.
    pub fn is_listening(&self) -> bool {
        self.log.lock().unwrap().addrs.is_some()
    }

    /// The gate once it listens, else what it has said by its end.
    pub fn listening(mut self) -> Result<Gate, Vec<String>> {
        loop {
            let log = self.log.lock().unwrap();
            if let Some((addr, admin)) = log.addrs {
                return Ok(Gate {
                    addr,
                    admin,
                    child: self.child.take().unwrap(),
                    log: Arc::clone(&self.log),
                });
            }
            if log.has_ended {
                return Err(log.lines.clone());
            }
            drop(log);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// As [`Gate::kill_caught`].
    pub fn kill_caught(mut self, disk: &Disk) {
        kill_caught(self.child.as_mut().unwrap(), disk);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// What stands still must not go on before the signal is there, and the process ends only when it does.
fn kill_caught(child: &mut Child, disk: &Disk) {
    child.kill().unwrap();
    disk.release();
    assert!(!child.wait().unwrap().success(), "it ended by itself");
    disk.thaw();
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn ask(addr: SocketAddr, line: &str, key: &str) -> Answer {
    let mut raw = Raw::of(TcpStream::connect(addr).await.unwrap());
    let authorization = if key.is_empty() {
        String::new()
    } else {
        format!("authorization: Bearer {key}\r\n")
    };
    raw.send(format!("{line} HTTP/1.1\r\nhost: gate\r\n{authorization}\r\n"))
        .await;
    raw.answer().await.expect("an answer")
}

/// Both listeners' addresses out of the log line that names them.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let addr = |name: &str| value[name].as_str()?.parse().ok();
    Some((addr("data")?, addr("admin")?))
}

/// A token that may spend `limit` dollars, signed without any server. No two are the same.
pub fn mint(limit: &str) -> String {
    let minted = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["mint", "--account", "di:1", "--key-name", "auto"])
        .args(["--key-secret", "env:TIDEGATE_TEST_KEY", "--expires-in", "1h"])
        .args(["--spending-limit", limit])
        .env("TIDEGATE_TEST_KEY", KEY)
        .output()
        .unwrap();
    assert!(
        minted.status.success(),
        "{}",
        String::from_utf8_lossy(&minted.stderr)
    );
    String::from_utf8(minted.stdout).unwrap().trim().to_owned()
}
