//! HTTP/2 clients that send far more than they may: they are stopped or slowed, and everybody else is served.

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::h2::{
    CONTINUATION, DATA, H2, HEADERS, Outcome, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, head,
};
use crate::support::upstream::{Step, Upstream, ok};

const PLAIN: &str = r#"{"model":"acme/model"}"#;

/// The error code of a server that has had enough (RFC 9113, section 7).
const ENHANCE_YOUR_CALM: u32 = 11;

async fn gate() -> (Upstream, Gateway) {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    (upstream, gateway)
}

async fn serves_others(gateway: &Gateway) {
    let answer = gateway.post("/v1/chat/completions", PLAIN).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
}

/// Whether the connection was given up; a server that closes with unread bytes may lose its last word to a reset.
async fn is_given_up(h2: &mut H2) {
    let outcome = h2.outcome(u32::MAX).await;
    assert!(
        matches!(outcome, Outcome::GoAway(ENHANCE_YOUR_CALM) | Outcome::Closed),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let (upstream, gateway) = gate().await;
    let mut h2 = H2::connect(gateway.addr).await;
    for batch in 0..100 {
        let mut bytes = Vec::new();
        for number in 0..100 {
            let stream = 1 + 2 * (batch * 100 + number);
            bytes.extend(head(stream));
            bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        if !h2.pump(&bytes).await {
            break;
        }
    }
    is_given_up(&mut h2).await;
    serves_others(&gateway).await;
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn whole_calls_that_are_reset_at_once_leave_nothing_upstream() {
    let upstream = Upstream::start(|request| match request.body.len() {
        22 => ok("application/json", b"{}"),
        _ => vec![Step::Hang],
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut h2 = H2::connect(gateway.addr).await;
    for number in 0..2000 {
        h2.open(1 + 2 * number, r#"{"model":"acme/model","n":1}"#).await;
        h2.reset(1 + 2 * number).await;
    }
    serves_others(&gateway).await;
    upstream.idle().await;
    eventually("no call is left", || {
        gateway.metric("tidegate_in_flight_calls", "") == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let (upstream, gateway) = gate().await;
    let mut h2 = H2::connect(gateway.addr).await;
    h2.send(&frame(HEADERS, 0, 1, &block(&[(":method", "POST")])))
        .await;
    let piece = frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(100))]));
    for _ in 0..10_000 {
        if !h2.pump(&piece).await {
            break;
        }
    }
    is_given_up(&mut h2).await;
    serves_others(&gateway).await;
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn empty_pieces_of_a_body_without_end_end_the_connection() {
    let (upstream, gateway) = gate().await;
    let mut h2 = H2::connect(gateway.addr).await;
    h2.send(&head(1)).await;
    let pieces = frame(DATA, 0, 1, &[]).repeat(100);
    for _ in 0..1000 {
        if !h2.pump(&pieces).await {
            break;
        }
    }
    is_given_up(&mut h2).await;
    serves_others(&gateway).await;
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_client_that_asks_for_replies_and_does_not_read_them_is_not_listened_to() {
    const MOST: usize = 64 * 1024 * 1024;
    let (_upstream, gateway) = gate().await;
    for (name, asking) in [
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("pings", frame(PING, 0, 0, &[7; 8])),
    ] {
        let mut h2 = H2::connect(gateway.addr).await;
        let many = asking.repeat(64 * 1024 / asking.len());
        let mut sent = 0;
        while sent < MOST && h2.pump(&many).await {
            sent += many.len();
        }
        assert!(sent < MOST, "{name}: replies pile up without bound");
        serves_others(&gateway).await;
    }
}

#[tokio::test]
async fn replies_that_are_read_may_be_many() {
    let (_upstream, gateway) = gate().await;
    let mut h2 = H2::connect(gateway.addr).await;
    for _ in 0..100 {
        h2.send(&frame(PING, 0, 0, &[7; 8]).repeat(200)).await;
        for _ in 0..200 {
            h2.wait_for(PING).await.expect("a reply");
        }
    }
    serves_others(&gateway).await;
}

#[tokio::test]
async fn many_streams_without_a_window_hold_nobody_else_up() {
    let (upstream, gateway) = gate().await;
    let mut greedy = H2::connect(gateway.addr).await;
    greedy.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    for number in 0..256 {
        greedy.open(1 + 2 * number, PLAIN).await;
    }
    eventually("the calls have come", || upstream.requests().len() >= 200).await;
    serves_others(&gateway).await;
    // The connection itself is well: a stream that gets a window is written.
    greedy.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 1, 0])).await;
    greedy.data(1, 2).await;
}
