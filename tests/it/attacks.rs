//! The binary under attack: attackers are closed within their limits, memory stays bounded and falls back, and
//! meanwhile every call of a good client succeeds.
//!
//! Each test prints how long the good client's calls took before and during the attack; the machine decides that, so
//! nothing is asserted of it. That clients who do not read lose their connection after a minute is shown with a shorter
//! limit beside the sockets' code.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::client::Raw;
use crate::support::gateway::KEY;
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, H2, HEADERS, Outcome, PREFACE, RST_STREAM, SETTINGS, block,
    frame, head,
};
use crate::support::siege::{GOOD, Siege, arrival, is_spread, post, post_head};
use crate::support::upstream::{Step, ok};

const PLAIN: &str = r#"{"model":"acme/model"}"#;

/// How much later than its limit a connection may be closed on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Opens `count` connections, lets `client` do its worst on each, and gives how long each lasted.
async fn each<C, F>(addr: SocketAddr, count: usize, client: C) -> Vec<Duration>
where
    C: Fn(usize, Raw) -> F + Copy + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut clients = JoinSet::new();
    for number in 0..count {
        clients.spawn(async move {
            arrival(number, count).await;
            // The gate's clock starts after this one.
            let begun = Instant::now();
            let raw = Raw::connect(addr).await;
            client(number, raw).await;
            begun.elapsed()
        });
    }
    clients.join_all().await
}

fn assert_closed_within(lasted: &[Duration], limit: Duration) {
    let (least, most) = (lasted.iter().min().unwrap(), lasted.iter().max().unwrap());
    assert!(*least >= limit, "closed too early: {least:?}");
    assert!(*most <= limit + SLACK, "closed too late: {most:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_that_say_nothing() {
    let siege = Siege::of("silence", "header_timeout = \"1s\"").await;
    siege
        .attack(async |addr| {
            let lasted = each(addr, 2000, |_, mut raw: Raw| async move {
                raw.closed().await;
            });
            assert_closed_within(&lasted.await, ms(1000));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_an_http2_preface() {
    let siege = Siege::of("prefaces", "header_timeout = \"1s\"\nkeepalive_timeout = \"1s\"").await;
    siege
        .attack(async |addr| {
            let lasted = each(addr, 500, |number, mut raw: Raw| async move {
                raw.send(&PREFACE[..=number % PREFACE.len()]).await;
                raw.closed().await;
            });
            // Whole prefaces are asked to go first, and then have as long as a head has.
            let lasted = lasted.await;
            assert!(lasted.iter().min().unwrap() >= &ms(1000), "closed too early");
            assert!(lasted.iter().max().unwrap() <= &(ms(2000) + SLACK), "too late");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_tls() {
    let siege = Siege::on_tls("half-open TLS", "header_timeout = \"1s\"").await;
    siege
        .attack(async |addr| {
            let lasted = each(addr, 500, |number, mut raw: Raw| async move {
                // The beginning of a ClientHello's record, or not even that.
                raw.send(&[22, 3, 1, 2, 0, 1][..number % 7]).await;
                raw.closed().await;
            });
            assert_closed_within(&lasted.await, ms(1000));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers() {
    let siege = Siege::of("slow headers", "header_timeout = \"1s\"").await;
    siege
        .attack(async |addr| {
            let lasted = each(addr, 500, |_, mut raw: Raw| async move {
                raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\n")
                    .await;
                while !matches!(tokio::time::timeout(ms(50), raw.piece()).await, Ok(None)) {
                    raw.send("x-a: b\r\n").await;
                }
            });
            assert_closed_within(&lasted.await, ms(1000));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies() {
    let siege = Siege::of("slow bodies", "body_idle_timeout = \"1s\"").await;
    siege
        .attack(async |addr| {
            // Those that dribble are within the limit, which is on the gap between two pieces.
            let dribbling = each(addr, 200, |_, mut raw: Raw| async move {
                raw.send(post_head(10_000)).await;
                for _ in 0..20 {
                    raw.send(" ").await;
                    tokio::time::sleep(ms(100)).await;
                }
            });
            let stalling = each(addr, 300, |_, mut raw: Raw| async move {
                raw.send(post_head(10_000) + "{").await;
                let answer = raw.head().await.expect("an answer");
                assert_eq!((answer.status, answer.code()), (400, Some("invalid_body")));
                raw.closed().await;
            });
            let (lasted, _) = tokio::join!(stalling, dribbling);
            assert_closed_within(&lasted, ms(1000));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_slowly_or_not_at_all() {
    // More than the system's buffers take.
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 128;
    let siege = Siege::before("slow reading", "", |request| {
        if request.body == GOOD.as_bytes() {
            return ok("application/json", b"{}");
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            PIECES * PIECE
        );
        vec![
            Step::Write(head.into()),
            Step::Repeat(vec![b'x'; PIECE], PIECES),
            Step::Close,
        ]
    })
    .await;
    siege
        .attack(async |addr| {
            let mut clients = JoinSet::new();
            for number in 0..100 {
                clients.spawn(async move {
                    arrival(number, 100).await;
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.set_recv_buffer_size(4096).unwrap();
                    let mut stream = socket.connect(addr).await.unwrap();
                    stream.write_all(post(PLAIN).as_bytes()).await.unwrap();
                    for _ in 0..30 {
                        tokio::time::sleep(ms(100)).await;
                        if number % 2 == 0 {
                            assert!(stream.read(&mut [0; 8]).await.unwrap() > 0, "cut");
                        }
                    }
                });
            }
            clients.join_all().await;
        })
        .await;
}

/// How many connections attack over HTTP/2.
const H2_CONNECTIONS: usize = 100;

/// Attacks over HTTP/2 on many connections at once, and again on new ones until `time` is over; once on each if the
/// attackers are to come one after another.
async fn each_h2<C, F>(addr: SocketAddr, time: Duration, client: C)
where
    C: Fn(H2) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut clients = JoinSet::new();
    for number in 0..H2_CONNECTIONS {
        clients.spawn(async move {
            arrival(number, H2_CONNECTIONS).await;
            let begun = Instant::now();
            client(H2::connect(addr).await).await;
            while begun.elapsed() < time && !is_spread() {
                client(H2::connect(addr).await).await;
            }
        });
    }
    clients.join_all().await;
}

/// Whether the connection was given up; a server that closes with unread bytes may lose its last word to a reset.
async fn is_given_up(h2: &mut H2) {
    let outcome = h2.outcome(u32::MAX).await;
    assert!(
        matches!(outcome, Outcome::GoAway(11) | Outcome::Closed),
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_on_a_hundred_connections() {
    let siege = Siege::of("rapid reset", "").await;
    siege
        .attack(async |addr| {
            each_h2(addr, ms(1000), |mut h2: H2| async move {
                for batch in 0..50 {
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
            })
            .await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_without_end_on_a_hundred_connections() {
    let siege = Siege::of("continuation flood", "").await;
    siege
        .attack(async |addr| {
            each_h2(addr, ms(1000), |mut h2: H2| async move {
                h2.send(&frame(HEADERS, 0, 1, &block(&[(":method", "POST")])))
                    .await;
                let piece = frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(100))]));
                for _ in 0..2000 {
                    if !h2.pump(&piece).await {
                        break;
                    }
                }
                is_given_up(&mut h2).await;
            })
            .await;
        })
        .await;
}

/// The headers of a good call, and `count` times one that stands in the compression table, a byte each.
fn bomb(stream: u32, value: usize, count: usize) -> Vec<u8> {
    let bearer = format!("Bearer {KEY}");
    let mut headers = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/chat/completions"),
        (":authority", "gate"),
        ("authorization", &bearer),
        ("content-type", "application/json"),
    ]);
    let mut entry = block(&[("x", &"y".repeat(value))]);
    // With incremental indexing, and then by its index (RFC 7541, sections 6.2.1 and 6.1).
    entry[0] = 0x40;
    headers.extend(entry);
    headers.extend(vec![0xbe; count]);
    frame(HEADERS, END_HEADERS, stream, &headers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_heads_that_swell_on_a_hundred_connections() {
    let siege = Siege::of("compression bomb", "").await;
    siege
        .attack(async |addr| {
            each_h2(addr, ms(1000), |mut h2: H2| async move {
                h2.send(&bomb(1, 4000, 11_000)).await;
                let outcome = h2.outcome(1).await;
                assert!(outcome != Outcome::Ok, "{outcome:?}");
            })
            .await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_a_window_and_with_heads_that_swell_on_a_hundred_connections() {
    const STREAMS: u32 = 8;
    let siege = Siege::of("zero windows", "").await;
    siege
        .attack(async |addr| {
            let round = |mut h2: H2| async move {
                h2.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
                for number in 0..STREAMS {
                    let stream = 1 + 2 * number;
                    // Every second head is within the limits; the others are refused, which nobody reads either.
                    let count = if number % 2 == 0 { 80 } else { 2500 };
                    let mut bytes = bomb(stream, 0, count);
                    bytes.extend(frame(DATA, END_STREAM, stream, PLAIN.as_bytes()));
                    h2.send(&bytes).await;
                }
                // All have been answered as far as they can be when the last one's head is there.
                h2.outcome(1 + 2 * (STREAMS - 1)).await;
                tokio::time::sleep(ms(1000)).await;
            };
            each_h2(addr, Duration::ZERO, round).await;
            each_h2(addr, Duration::ZERO, round).await;
        })
        .await;
}
