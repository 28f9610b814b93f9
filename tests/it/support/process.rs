//! The binary as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::eventually;
use super::gateway::{KEY, UPSTREAM_KEY, server};

/// A running `tidegate serve`; it is killed, and its folder removed, when this falls.
pub struct Process {
    /// The process itself.
    pub child: Child,
    /// The data listener.
    pub addr: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
    text: String,
}

impl Process {
    /// Starts the binary in front of `upstream`.
    pub fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, "")
    }

    /// The same, with `settings` in the `[server]` section.
    pub fn with(upstream: SocketAddr, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tidegate.toml");
        let text = format!(
            "{}[upstream]\nbase_url = \"http://{upstream}\"\napi_key = \"{UPSTREAM_KEY}\"\n\
             [[account]]\nid = \"di:1\"\n[[account.key]]\nname = \"auto\"\nsecret = \"{KEY}\"\n",
            server(settings)
        );
        std::fs::write(&config, &text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--config"])
            .arg(&config)
            .env_remove("TIDEGATE_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (addr, admin) = stderr
            .find_map(|line| listening(&line.unwrap()))
            .expect("it says where it listens");
        // The rest is read so that the process never waits for a full pipe.
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            stderr
                .map_while(Result::ok)
                .for_each(|line| kept.lock().unwrap().push(line));
        });
        Self {
            child,
            addr,
            admin,
            lines,
            folder,
            text,
        }
    }

    /// Changes its configuration file.
    pub fn rewrite(&self, change: impl FnOnce(&str) -> String) {
        std::fs::write(self.folder.path().join("tidegate.toml"), change(&self.text)).unwrap();
    }

    /// What it has logged since it began to listen.
    pub fn log(&self) -> Vec<serde_json::Value> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The largest resident size so far, in KiB.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The resident size, in KiB.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end and gives the exit code.
    pub async fn code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Both listeners' addresses out of the log line that names them.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let addr = |name: &str| value[name].as_str()?.parse().ok();
    Some((addr("data")?, addr("admin")?))
}
