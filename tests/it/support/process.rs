//! The binary as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::gateway::{KEY, UPSTREAM_KEY};

/// A running `tidegate serve`; it is killed, and its folder removed, when this falls.
pub struct Process {
    /// The process itself.
    pub child: Child,
    /// The data listener.
    pub addr: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    folder: PathBuf,
}

impl Process {
    /// Starts the binary in front of `upstream`.
    pub fn start(upstream: SocketAddr) -> Self {
        let name = format!("tidegate-test-{}-{}", std::process::id(), upstream.port());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("tidegate.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             [upstream]\nbase_url = \"http://{upstream}\"\napi_key = \"{UPSTREAM_KEY}\"\n\
             [[account]]\nid = \"di:1\"\n[[account.key]]\nname = \"auto\"\nsecret = \"{KEY}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--config"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let addr = stderr
            .find_map(|line| listening(&line.unwrap()))
            .expect("it says where it listens");
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            stderr
                .map_while(Result::ok)
                .for_each(|line| kept.lock().unwrap().push(line));
        });
        Self {
            child,
            addr,
            lines,
            folder,
        }
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// The data listener's address out of the log line that names it.
fn listening(line: &str) -> Option<SocketAddr> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    value["data"].as_str()?.parse().ok()
}
