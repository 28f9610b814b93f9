//! How much memory the binary takes while large bodies move through it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client::Raw;
use crate::support::gateway::KEY;
use crate::support::process::Process;
use crate::support::upstream::{Step, Upstream, ok};

const MIB: usize = 1024 * 1024;

/// The most that the process may ever have taken, in KiB.
const PEAK_KIB: u64 = 64 * 1024;

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
