//! What happens when somebody leaves, breaks off, stalls or talks nonsense.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY};
use crate::support::upstream::{Step, Upstream, answer, chunk, ok, stream_head};

const CHAT: &str = r#"{"model":"acme/model","stream":true}"#;
const JSON: &str = "content-type: application/json\r\n";
const SHORT: &str = "[upstream]\nbase_url = \"http://ADDR\"\nconnect_timeout = \"300ms\"\nhead_timeout = \"300ms\"\nidle_timeout = \"300ms\"\n";

fn chat() -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\n{JSON}content-length: {}\r\n\r\n{CHAT}",
        CHAT.len()
    )
}

async fn impatient(upstream: std::net::SocketAddr) -> Gateway {
    Gateway::with(upstream, &SHORT.replace("ADDR", &upstream.to_string())).await
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_ends_the_upstream_call_at_once() {
    let upstream = Upstream::start(|_| vec![stream_head(), chunk(b"data: 1\n\n"), Step::Hang]).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(chat()).await;
    raw.head().await.unwrap();
    raw.chunk().await.unwrap();
    assert_eq!(upstream.busy(), 1);
    let left = std::time::Instant::now();
    drop(raw);
    upstream.idle().await;
    assert!(
        left.elapsed() < Duration::from_millis(500),
        "{:?}",
        left.elapsed()
    );
    eventually("the call is counted", || {
        gateway.metric("tidegate_requests_total", r#"outcome="client_gone",status="200""#) == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_ends_the_upstream_call_at_once() {
    let upstream = Upstream::start(|_| vec![Step::Hang]).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(chat()).await;
    eventually("the upstream has the call", || upstream.busy() == 1).await;
    drop(raw);
    upstream.idle().await;
    eventually("the call is counted", || {
        gateway.metric("tidegate_requests_total", r#"outcome="client_gone",status="499""#) == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_with_a_request_still_waiting_ends_the_upstream_call_all_the_same() {
    let upstream = Upstream::start(|_| vec![stream_head(), chunk(b"data: 1\n\n"), Step::Hang]).await;
    let gateway = Gateway::start(upstream.addr).await;
    for behind in ["\r\n", "GET /v1/models HTTP/1.1\r\n", &chat()] {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(chat() + behind).await;
        raw.head().await.unwrap();
        assert_eq!(upstream.busy(), 1);
        let left = std::time::Instant::now();
        drop(raw);
        upstream.idle().await;
        assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_breaks_the_clients_stream_off() {
    for reset in [false, true] {
        let go = Arc::new(Notify::new());
        let wait = Arc::clone(&go);
        let upstream = Upstream::start(move |_| {
            let end = if reset { Step::Reset } else { Step::Close };
            vec![
                stream_head(),
                chunk(b"data: 1\n\n"),
                Step::Wait(Arc::clone(&wait)),
                end,
            ]
        })
        .await;
        let gateway = Gateway::start(upstream.addr).await;
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(chat()).await;
        raw.head().await.unwrap();
        assert_eq!(raw.chunk().await.unwrap(), b"data: 1\n\n");
        go.notify_one();
        assert_eq!(raw.chunk().await, None, "the stream must not look whole");
        eventually("the call is counted", || {
            gateway.metric("tidegate_requests_total", r#"outcome="upstream_failed""#) == 1.0
        })
        .await;
    }
}

#[tokio::test]
async fn an_event_stream_without_its_last_event_counts_as_failed_though_its_framing_is_whole() {
    let upstream = Upstream::start(|_| ok("text/event-stream", b"data: {\"a\":1}\n\n")).await;
    let gateway = Gateway::start(upstream.addr).await;
    assert_eq!(
        gateway.post("/v1/chat/completions", CHAT).await.text(),
        "data: {\"a\":1}\n\n"
    );
    eventually("the call is counted", || {
        gateway.metric(
            "tidegate_requests_total",
            r#"outcome="upstream_failed",status="200""#,
        ) == 1.0
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_502_and_one_that_is_silent_504() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let gateway = impatient(free).await;
    let answer = gateway.post("/v1/chat/completions", CHAT).await;
    assert_eq!(
        (answer.status, answer.code()),
        (502, Some("upstream_unreachable"))
    );

    let upstream = Upstream::start(|_| vec![Step::Hang]).await;
    let gateway = impatient(upstream.addr).await;
    let answer = gateway.post("/v1/chat/completions", CHAT).await;
    assert_eq!((answer.status, answer.code()), (504, Some("upstream_timeout")));
    upstream.idle().await;
}

#[tokio::test]
async fn an_upstream_that_falls_silent_mid_stream_is_cut() {
    let upstream = Upstream::start(|_| vec![stream_head(), chunk(b"data: 1\n\n"), Step::Hang]).await;
    let gateway = impatient(upstream.addr).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(chat()).await;
    raw.head().await.unwrap();
    raw.chunk().await.unwrap();
    assert_eq!(raw.chunk().await, None);
    upstream.idle().await;
    eventually("the call is counted", || {
        gateway.metric("tidegate_requests_total", r#"outcome="timed_out""#) == 1.0
    })
    .await;
}

#[tokio::test]
async fn what_is_no_answer_is_502() {
    for (name, bytes) in [
        ("no HTTP", "hello\r\n\r\n"),
        (
            "an unasked 101",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        ),
        (
            "a status above 599",
            "HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        ),
        (
            "a length that is none",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        ),
        ("a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
        ("nothing", ""),
    ] {
        let upstream = Upstream::start(move |_| vec![Step::Write(bytes.into()), Step::Close]).await;
        let gateway = Gateway::start(upstream.addr).await;
        let answer = gateway.post("/v1/chat/completions", CHAT).await;
        assert_eq!(
            (answer.status, answer.code()),
            (502, Some("upstream_invalid")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_never_reaches_the_client() {
    let text =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let upstream = Upstream::start(move |_| vec![Step::Write(text.into())]).await;
    let gateway = Gateway::start(upstream.addr).await;
    let answer = gateway.post("/v1/chat/completions", CHAT).await;
    assert_eq!(answer.text(), "hello");
    assert!(answer.header("content-length").is_none_or(|length| length == "5"));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_passed_on_and_leaves_no_connection_behind() {
    let upstream = Upstream::start_early(|_| {
        let mut steps = answer("413 Payload Too Large", JSON, b"{\"detail\":\"too large\"}");
        steps.push(Step::Close);
        steps
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    let body = format!(r#"{{"model":"acme/model","input":"{}"}}"#, "a".repeat(2_000_000));
    let mut answered = 0;
    for _ in 0..100 {
        let answer = gateway.post("/v1/embeddings", &body).await;
        match answer.status {
            413 => answered += 1,
            status => assert_eq!((status, answer.code()), (502, Some("upstream_invalid"))),
        }
    }
    assert!(answered > 0, "no early answer came through");
    eventually("no connection is left", || upstream.open() == 0).await;
}

#[tokio::test]
async fn an_upstream_that_answers_early_and_then_neither_reads_nor_closes_is_given_up() {
    let upstream = Upstream::start_early(|_| {
        let mut steps = answer("413 Payload Too Large", JSON, b"{}");
        steps.push(Step::Deaf(Duration::from_millis(1500)));
        steps
    })
    .await;
    let gateway = impatient(upstream.addr).await;
    let body = format!(r#"{{"model":"acme/model","input":"{}"}}"#, "a".repeat(24_000_000));
    let answer = gateway.post("/v1/embeddings", &body).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    eventually("the connection is closed", || upstream.open() == 0).await;
    // What the system had taken already still comes; the rest does not.
    assert!(
        upstream.late() < body.len() / 2,
        "{} bytes were still sent",
        upstream.late()
    );
}

#[tokio::test]
async fn the_client_is_asked_for_its_body_only_when_it_may_call() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let head = |key: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {key}\r\n{JSON}expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            CHAT.len()
        )
    };
    let mut good = Raw::connect(gateway.addr).await;
    good.send(head(KEY)).await;
    let first = String::from_utf8(good.piece().await.unwrap()).unwrap();
    assert!(first.starts_with("HTTP/1.1 100 Continue\r\n"), "{first}");
    good.send(CHAT).await;
    assert_eq!(good.answer().await.unwrap().status, 200);

    let mut bad = Raw::connect(gateway.addr).await;
    bad.send(head("nobody")).await;
    let first = String::from_utf8(bad.piece().await.unwrap()).unwrap();
    assert!(first.starts_with("HTTP/1.1 401"), "{first}");
}

#[tokio::test]
async fn a_body_above_its_limit_is_413_and_one_that_stalls_400() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let settings = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nmax_json_body = \"1KiB\"\nmax_multipart_body = \"2KiB\"\nbody_idle_timeout = \"300ms\"\n";
    let gateway = Gateway::with(upstream.addr, settings).await;
    let long = format!(r#"{{"model":"acme/model","input":"{}"}}"#, "a".repeat(1024));
    let answer = gateway.post("/v1/embeddings", &long).await;
    assert_eq!((answer.status, answer.code()), (413, Some("body_too_large")));

    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(chat().replace(CHAT, "{")).await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.code()), (400, Some("invalid_body")));
    assert!(upstream.requests().is_empty());
}
