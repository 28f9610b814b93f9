//! How much memory the binary takes while large bodies move through it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client::Raw;
use crate::support::gateway::KEY;
use crate::support::upstream::{Step, Upstream, ok};

const MIB: usize = 1024 * 1024;

/// The most that the process may ever have taken, in KiB.
const PEAK_KIB: u64 = 64 * 1024;

/// The binary as a process of its own; it ends with the test.
struct Process {
    child: Child,
    addr: SocketAddr,
    folder: PathBuf,
}

impl Process {
    fn start(upstream: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!(
            "tidegate-memory-{}-{}",
            std::process::id(),
            upstream.port()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("tidegate.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[upstream]\nbase_url = \"http://{upstream}\"\n\
             [[account]]\nid = \"di:1\"\n[[account.key]]\nname = \"auto\"\nsecret = \"{KEY}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--config"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let addr = lines
            .find_map(|line| listening(&line.unwrap()))
            .expect("the process says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addr, folder }
    }

    /// The largest resident size so far, in KiB.
    fn peak(&self) -> u64 {
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

#[tokio::test]
async fn a_response_of_a_gibibyte_takes_little_memory() {
    let upstream = Upstream::start(|_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            1024 * MIB
        );
        vec![Step::Write(head.into()), Step::Repeat(vec![b'x'; MIB], 1024)]
    })
    .await;
    let process = Process::start(upstream.addr);
    let mut raw = Raw::connect(process.addr).await;
    let body = r#"{"model":"acme/model"}"#;
    raw.send(format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    assert_eq!(raw.head().await.unwrap().status, 200);
    let mut left = 1024 * MIB;
    if let Some(first) = raw.piece().await {
        left -= first.len();
    }
    let mut buffer = vec![0; MIB];
    while left > 0 {
        let read = raw.stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "cut with {left} bytes to go");
        left -= read;
    }
    assert!(process.peak() < PEAK_KIB, "{} KiB", process.peak());
}

#[tokio::test]
async fn an_upload_of_a_hundred_mebibytes_takes_little_memory() {
    let upstream =
        Upstream::start(|request| ok("text/plain", request.body.len().to_string().as_bytes())).await;
    let process = Process::start(upstream.addr);
    let front = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let back = "\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nacme/model\r\n--b--\r\n";
    let length = front.len() + 100 * MIB + back.len();
    let mut raw = Raw::connect(process.addr).await;
    raw.send(format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {length}\r\n\r\n{front}"
    ))
    .await;
    for _ in 0..100 {
        raw.stream.write_all(&vec![b'x'; MIB]).await.unwrap();
    }
    raw.send(back).await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, length.to_string()));
    assert!(process.peak() < PEAK_KIB, "{} KiB", process.peak());
}
