//! What is sent, and what an answer means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use secrecy::SecretString;
use tidegate::types::JobId;
use tidegate::webhook::{SigningSecret, Verdict};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::{AT, BEFORE, BODY, FIRST, Listener, Sender, header, read_request};

/// A secret that signs nothing.
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A receiver that takes everything, and the heads and bodies that it gets.
async fn recording() -> (Listener, mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let receiver = Listener::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            seen.send(read_request(&mut stream).await).unwrap();
            stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").await.unwrap();
        }
    });
    (receiver.await, requests)
}

#[tokio::test]
async fn a_delivery_is_a_signed_post_of_the_exact_bytes() {
    let (receiver, mut requests) = recording().await;
    let sender = Sender::local(15);
    let outcome = sender.send(&receiver.url()).await;
    assert_eq!((outcome.verdict, outcome.status), (Verdict::Delivered, Some(204)));
    assert_eq!((outcome.error, outcome.blocked), (None, None));
    assert!(sender.shows("tidegate_webhook_delivery_seconds_count 1"));

    let (head, body) = requests.recv().await.unwrap();
    assert_eq!(body, BODY);
    assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
    let agent = format!("tidegate/{}", env!("CARGO_PKG_VERSION"));
    let id = JobId::new([5; 32]);
    for (name, value) in [
        ("host", receiver.addr.to_string().as_str()),
        ("content-type", "application/json"),
        ("user-agent", &agent),
        ("accept-encoding", "identity"),
        ("connection", "close"),
        ("webhook-id", id.as_str()),
        ("webhook-timestamp", &AT.as_secs().to_string()),
    ] {
        assert_eq!(header(&head, name), Some(value), "{head}");
    }
    let signed = [FIRST, BEFORE].map(|secret| {
        let secret = SigningSecret::parse(&SecretString::from(secret)).unwrap();
        secret.sign(id.as_str(), AT.as_secs(), BODY)
    });
    assert_eq!(
        header(&head, "webhook-signature"),
        Some(signed.join(" ").as_str())
    );
}

#[tokio::test]
async fn the_standards_own_verifier_takes_what_is_fresh_and_unchanged() {
    let (receiver, mut requests) = recording().await;
    let sender = Sender::local(15);
    let [first, before, other] =
        [FIRST, BEFORE, OTHER].map(|secret| standardwebhooks::Webhook::new(secret).unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // What a receiver sees whose clock was set, or to whom an old delivery is sent again.
    for (at, is_fresh) in [
        (now, true),
        (now - Duration::from_secs(240), true),
        (now + Duration::from_secs(240), true),
        (now - Duration::from_secs(400), false),
        (now + Duration::from_secs(400), false),
        (now - Duration::from_secs(86_400), false),
        (now + Duration::from_secs(86_400), false),
    ] {
        sender.send_at(&receiver.url(), at).await;
        let (head, body) = requests.recv().await.unwrap();
        let headers = header_map(&head);
        for secret in [&first, &before] {
            assert_eq!(secret.verify(&body, &headers).is_ok(), is_fresh, "{at:?}");
        }
        assert!(other.verify(&body, &headers).is_err());
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert!(first.verify(&changed, &headers).is_err(), "{at}");
        }
    }
}

fn header_map(head: &str) -> HeaderMap {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_status_says_what_became_of_a_delivery() {
    let sender = Sender::local(15);
    for (status, verdict) in [
        (200, Verdict::Delivered),
        (202, Verdict::Delivered),
        (299, Verdict::Delivered),
        (300, Verdict::Failed),
        (399, Verdict::Failed),
        (400, Verdict::Failed),
        (401, Verdict::Failed),
        (404, Verdict::Failed),
        (410, Verdict::Gone),
        (429, Verdict::Failed),
        (500, Verdict::Failed),
        (503, Verdict::Failed),
        (999, Verdict::Failed),
    ] {
        let receiver = Listener::answering(format!(
            "HTTP/1.1 {status} S\r\nretry-after: 30\r\ncontent-length: 3\r\n\r\nno\n"
        ))
        .await;
        let outcome = sender.send(&receiver.url()).await;
        assert_eq!((outcome.verdict, outcome.status), (verdict, Some(status)));
        assert_eq!(outcome.retry_after.as_deref(), Some("30"));
        let error = (verdict != Verdict::Delivered).then(|| format!("the receiver answered {status}"));
        assert_eq!(outcome.said.as_deref(), error.as_ref().map(|_| "no"));
        assert_eq!(outcome.error, error);
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let canary = Listener::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let sender = Sender::local(15);
    let (url, addr) = (canary.url(), canary.addr);
    for status in [301, 302, 303, 307, 308] {
        for location in [
            &url,
            &format!("//{addr}/"),
            "/hook?a=b",
            "http://169.254.169.254/",
        ] {
            let receiver = Listener::answering(format!(
                "HTTP/1.1 {status} Away\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
            let outcome = sender.send(&receiver.url()).await;
            assert_eq!((outcome.verdict, outcome.status), (Verdict::Failed, Some(status)));
            assert_eq!(receiver.connections(), 1, "{location}");
        }
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure() {
    let sender = Sender::local(15);
    for bytes in [
        "",
        "HTTP/1.1 200",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "\0\0\0\0",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ] {
        let receiver = Listener::answering(bytes).await;
        let outcome = sender.send(&receiver.url()).await;
        assert_eq!(outcome.verdict, Verdict::Failed, "{bytes:?}");
        assert!(outcome.error.is_some(), "{bytes:?}");
    }
    let nobody = "http://127.0.0.1:1024/";
    assert_eq!(sender.send(nobody).await.verdict, Verdict::Failed);
}

#[tokio::test]
async fn a_compressed_answer_is_not_looked_into() {
    let sender = Sender::local(15);
    let receiver = Listener::answering(
        b"HTTP/1.1 500 No\r\ncontent-encoding: gzip\r\ncontent-length: 8\r\n\r\n\x1f\x8b\x08\0\0\0\0\x01"
            .to_vec(),
    )
    .await;
    let said = sender.send(&receiver.url()).await.said.unwrap();
    assert_eq!(said, "\\u{1f}\u{fffd}\\u{8}\\0\\0\\0\\0\\u{1}");
}
