//! New settings while the gateway runs: all of them or none, and no call is lost.

mod files;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::support::client::{Answer, Raw};
use crate::support::gateway::{Gateway, KEY, MANAGER, server};
use crate::support::streams::Streams;
use crate::support::tls::Authority;
use crate::support::upstream::Upstream;

const PLAIN: &str = r#"{"model":"acme/model"}"#;
const CHAT: &str = r#"{"model":"acme/model","stream":true}"#;
const PATH: &str = "/v1/chat/completions";
const JSON: &str = "content-type: application/json\r\n";

fn request(body: &str) -> String {
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\n{JSON}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A stream that has begun.
async fn stream(addr: SocketAddr) -> Raw {
    let mut raw = Raw::connect(addr).await;
    raw.send(request(CHAT)).await;
    assert_eq!(raw.head().await.unwrap().status, 200);
    assert_eq!(raw.chunk().await.unwrap(), b"data: 1\n\n");
    raw
}

async fn finishes(raw: &mut Raw) {
    assert_eq!(raw.chunk().await.unwrap(), b"data: [DONE]\n\n");
    assert_eq!(raw.chunk().await.unwrap(), b"");
}

/// `[[account]]` sections with these keys.
fn keys(secrets: &[&str]) -> String {
    let key = |secret: &&str| {
        format!(
            "[[account.key]]\nname = \"{}\"\nsecret = \"{secret}\"\n",
            &secret[..3]
        )
    };
    format!(
        "[[account]]\nid = \"di:1\"\n{}",
        secrets.iter().map(key).collect::<String>()
    )
}

fn reloads(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("tidegate_config_reloads_total", result)
}

async fn admin(gateway: &Gateway, path: &str, headers: &str) -> Answer {
    let mut raw = Raw::connect(gateway.admin).await;
    raw.send(format!("GET {path} HTTP/1.1\r\nhost: gate\r\n{headers}\r\n"))
        .await;
    raw.answer().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_and_no_stream_is_cut_while_settings_change() {
    let go = Arc::new(Notify::new());
    let (one, other) = (Upstream::waiting(&go).await, Upstream::waiting(&go).await);
    let gateway = Gateway::start(one.addr).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(stream(gateway.addr).await);
    }
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, served, addr) = (Arc::clone(&stop), Arc::clone(&served), gateway.addr);
            tokio::spawn(async move {
                let mut raw = Raw::connect(addr).await;
                while !stop.load(Ordering::SeqCst) {
                    raw.send(request(PLAIN)).await;
                    assert_eq!(raw.answer().await.expect("an answer").status, 200);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 0..50 {
        let target = [one.addr, other.addr][round % 2];
        let settings = format!(
            "[upstream]\nbase_url = \"http://{target}\"\nhead_timeout = \"{}s\"\nidle_timeout = \"{}s\"\n",
            round + 60,
            round / 2 + 60
        );
        assert!(gateway.reload(&settings).await);
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(served.load(Ordering::SeqCst) > 50);
    assert!(!other.requests().is_empty(), "the other upstream was never used");
    assert_eq!(
        gateway.metric("tidegate_requests_total", "status=\"200\""),
        served.load(Ordering::SeqCst) as f64
    );
    go.notify_waiters();
    for raw in &mut streams {
        finishes(raw).await;
    }
}

#[tokio::test]
async fn streams_go_on_when_their_upstream_is_gone_from_the_settings() {
    for (h2, protocol) in [(true, "h2c"), (false, "http1")] {
        let upstream = Streams::start(None, h2).await;
        let settings = |port: u16| {
            format!("[upstream]\nbase_url = \"http://127.0.0.1:{port}\"\nprotocol = \"{protocol}\"\n")
        };
        let gateway = Gateway::with(upstream.addr, &settings(upstream.addr.port())).await;
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(request(CHAT)).await;
        assert_eq!(raw.head().await.unwrap().status, 200);
        raw.chunk().await.unwrap();
        assert!(gateway.reload(&settings(9)).await);
        assert_eq!(
            gateway.post(PATH, PLAIN).await.code(),
            Some("upstream_unreachable")
        );
        upstream.go();
        finishes(&mut raw).await;
    }
}

#[tokio::test]
async fn a_removed_key_is_refused_on_its_next_call_while_its_stream_goes_on() {
    let go = Arc::new(Notify::new());
    let upstream = Upstream::waiting(&go).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut running = stream(gateway.addr).await;
    assert!(gateway.reload(&keys(&[MANAGER])).await);
    let refused = gateway.post(PATH, PLAIN).await;
    assert_eq!(
        (refused.status, refused.code()),
        (401, Some("invalid_credentials"))
    );
    let headers = format!("{JSON}authorization: Bearer {MANAGER}\r\n");
    assert_eq!(
        gateway
            .bare("POST", PATH, &headers, PLAIN.as_bytes())
            .await
            .status,
        200
    );
    go.notify_waiters();
    finishes(&mut running).await;
}

#[tokio::test]
async fn mistaken_settings_change_nothing_and_are_counted() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let gateway = Gateway::start(upstream.addr).await;
    for mistaken in [
        "nonsense",
        "[models]\nunknown = 1\n",
        &format!(
            "{}[server.tls]\ncert = \"file:none\"\nkey = \"file:none\"\n",
            keys(&[MANAGER])
        ),
        &format!(
            "{}[upstream]\nbase_url = \"http://127.0.0.1:9\"\nconnect_timeout = \"5\"\n",
            keys(&[MANAGER])
        ),
    ] {
        assert!(!gateway.reload(mistaken).await, "{mistaken}");
        assert_eq!(gateway.post(PATH, PLAIN).await.status, 200, "{mistaken}");
    }
    assert_eq!(
        (reloads(&gateway, "refused"), reloads(&gateway, "applied")),
        (4.0, 0.0)
    );
    assert!(gateway.reload(&keys(&[MANAGER])).await);
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 401);
}

#[tokio::test]
async fn another_address_takes_a_restart() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let gateway = Gateway::start(upstream.addr).await;
    for key in ["listen", "admin_listen"] {
        let settings = server("").replace(
            &format!("\n{key} = \"127.0.0.1:0\""),
            &format!("\n{key} = \"127.0.0.1:1\""),
        );
        assert!(settings.contains("127.0.0.1:1\""), "{settings}");
        assert!(
            !gateway.reload(&format!("{settings}{}", keys(&[MANAGER]))).await,
            "{key}"
        );
    }
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
}

#[tokio::test]
async fn each_setting_takes_effect() {
    let go = Arc::new(Notify::new());
    let (one, other) = (Upstream::waiting(&go).await, Upstream::waiting(&go).await);
    let gateway = Gateway::start(one.addr).await;

    assert!(
        gateway
            .reload("[models.alias]\n\"acme/model\" = \"acme/other\"\n")
            .await
    );
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
    assert_eq!(one.request().body, br#"{"model":"acme/other"}"#);

    assert!(gateway.reload(&server("max_json_body = \"10B\"")).await);
    assert_eq!(gateway.post(PATH, PLAIN).await.code(), Some("body_too_large"));

    let route = format!(
        "[[upstream.route]]\nmodels = [\"acme/*\"]\nbase_url = \"http://{}\"\n",
        other.addr
    );
    assert!(gateway.reload(&route).await);
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
    assert_eq!((one.requests().len(), other.requests().len()), (1, 1));
    assert_eq!(other.request().header("authorization"), None);
    let key = format!("{route}api_key = \"another-key\"\n");
    assert!(gateway.reload(&key).await);
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
    assert_eq!(
        other.requests()[1].header("authorization"),
        Some("Bearer another-key")
    );

    assert!(gateway.reload("[limits]\nrequests_per_minute = 1\n").await);
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 429);

    assert_eq!(admin(&gateway, "/api/v1/status", "").await.status, 501);
    assert!(gateway.reload("[admin]\ntoken = \"hunter2hunter2\"\n").await);
    assert_eq!(admin(&gateway, "/api/v1/status", "").await.status, 401);
    let token = "authorization: Bearer hunter2hunter2\r\n";
    assert_eq!(admin(&gateway, "/api/v1/status", token).await.status, 501);

    let origin = "https://app.example.com";
    assert!(
        gateway
            .reload(&server(&format!("[server.cors]\norigins = [\"{origin}\"]")))
            .await
    );
    let headers = format!("{JSON}origin: {origin}\r\n");
    let answer = gateway.call("POST", PATH, &headers, PLAIN.as_bytes()).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    assert!(gateway.reload("").await);
    let answer = gateway.call("POST", PATH, &headers, PLAIN.as_bytes()).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn new_connections_get_new_timeouts_and_caps() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut old = Raw::connect(gateway.addr).await;
    old.send(request(PLAIN)).await;
    assert_eq!(old.answer().await.unwrap().status, 200);
    old.send("POST / HTTP/1.1\r\n").await;
    assert!(gateway.reload(&server("header_timeout = \"200ms\"")).await);
    let mut slow = Raw::connect(gateway.addr).await;
    slow.send("POST / HTTP/1.1\r\n").await;
    let after = slow.closed().await;
    assert!(after < Duration::from_secs(5), "{after:?}");
    old.send(request(PLAIN).split_once("\r\n").unwrap().1).await;
    assert_eq!(
        old.answer().await.unwrap().status,
        404,
        "it keeps the time that it began with"
    );

    assert!(gateway.reload(&server("max_connections = 1")).await);
    let mut third = Raw::connect(gateway.addr).await;
    third.send(request(PLAIN)).await;
    assert!(third.answer().await.is_none(), "one is open already");
    assert!(gateway.reload("").await);
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
}

#[tokio::test]
async fn tls_is_turned_on_and_off() {
    let go = Arc::new(Notify::new());
    let upstream = Upstream::waiting(&go).await;
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (cert, key) = authority.issue("127.0.0.1").write(folder.path());
    let gateway = Gateway::start(upstream.addr).await;
    let mut running = stream(gateway.addr).await;
    assert!(authority.connect(gateway.addr, &["h2"], None).await.is_err());
    let settings = server(&format!(
        "[server.tls]\ncert = \"file:{}\"\nkey = \"file:{}\"\n",
        cert.display(),
        key.display()
    ));
    assert!(gateway.reload(&settings).await);
    assert!(authority.connect(gateway.addr, &["h2"], None).await.is_ok());
    let other = Authority::new();
    other.issue("127.0.0.1").write(folder.path());
    assert!(gateway.reload(&settings).await);
    assert!(other.connect(gateway.addr, &["h2"], None).await.is_ok());
    std::fs::write(&cert, authority.issue("127.0.0.1").cert).unwrap();
    assert!(
        !gateway.reload(&settings).await,
        "the certificate is not the key's"
    );
    assert!(other.connect(gateway.addr, &["h2"], None).await.is_ok());
    assert!(gateway.reload("").await);
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
    go.notify_waiters();
    finishes(&mut running).await;
}
