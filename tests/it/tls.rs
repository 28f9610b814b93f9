//! TLS in front: protocols, client certificates, new certificates, clients that go.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate::body::Body;
use tidegate::config::{FileOrText, Server, Tls};
use tidegate::server::{Drain, Handler, Listener, Settings, TlsSource};
use tidegate::types::Peer;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;

use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY, server};
use crate::support::tls::{Authority, Identity};
use crate::support::upstream::{Step, Upstream, chunk, last_chunk, ok, stream_head};

const CHAT: &str = r#"{"model":"acme/model","stream":true}"#;

/// A gateway on TLS with `identity` and further keys of `[server.tls]`.
async fn gateway(upstream: &Upstream, identity: &Identity, folder: &Path, more: &str) -> Gateway {
    let (cert, key) = identity.write(folder);
    let settings = server(&format!(
        "[server.tls]\ncert = \"file:{}\"\nkey = \"file:{}\"\n{more}",
        cert.display(),
        key.display()
    ));
    Gateway::with(upstream.addr, &settings).await
}

/// Makes one call over a connection, in the protocol that was agreed on.
async fn call(stream: TlsStream<TcpStream>) -> hyper::Result<Response<Incoming>> {
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let request = Request::post("https://gate/v1/chat/completions")
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json");
    let body = Full::new(Bytes::from(CHAT));
    if h2 {
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        client.send_request(request.body(body).unwrap()).await
    } else {
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = request.uri("/v1/chat/completions").header("host", "gate");
        client.send_request(request.body(body).unwrap()).await
    }
}

#[tokio::test]
async fn http2_and_http1_are_offered_and_both_serve() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let gateway = gateway(&upstream, &authority.issue("127.0.0.1"), folder.path(), "").await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = authority.connect(gateway.addr, offered, None).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
        let answer = call(stream).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    }
    assert_eq!(upstream.requests()[0].header("x-forwarded-proto"), Some("https"));
    let strange = authority.connect(gateway.addr, &["spdy/3"], None).await;
    assert!(strange.is_err(), "a protocol that is not spoken was agreed on");
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_are_let_in() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (clients, strangers) = (Authority::new(), Authority::new());
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, clients.pem()).unwrap();
    let more = format!("client_ca = \"file:{}\"\n", ca.display());
    let gateway = gateway(&upstream, &authority.issue("127.0.0.1"), folder.path(), &more).await;
    let good = clients.issue("a-client");
    let foreign = strangers.issue("a-client");
    for (name, identity, lets_in) in [
        ("signed", Some(&good), true),
        ("none", None, false),
        ("foreign", Some(&foreign), false),
    ] {
        // With TLS 1.3 the client may believe in the handshake before the server has looked at its certificate.
        let called = match authority.connect(gateway.addr, &["h2"], identity).await {
            Ok(stream) => call(stream).await.ok(),
            Err(_) => None,
        };
        assert_eq!(called.is_some(), lets_in, "{name}");
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_over_tls_ends_its_call_within_100_ms() {
    let upstream = Upstream::start(|_| vec![stream_head(), chunk(b"data: 1\n\n"), Step::Hang]).await;
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let gateway = gateway(&upstream, &authority.issue("127.0.0.1"), folder.path(), "").await;
    for alpn in ["h2", "http/1.1"] {
        let stream = authority.connect(gateway.addr, &[alpn], None).await.unwrap();
        let answer = call(stream).await.unwrap();
        let mut body = answer.into_body();
        body.frame().await.unwrap().unwrap();
        assert_eq!(upstream.busy(), 1);
        let start = tokio::time::Instant::now();
        drop(body);
        upstream.idle().await;
        let after = start.elapsed();
        assert!(after < Duration::from_millis(100), "{alpn}: {after:?}");
    }
}

/// Answers with a stream that waits.
#[derive(Clone)]
struct Waiting(Arc<Notify>);

impl Handler for Waiting {
    async fn handle(&self, _: Peer, _: Request<Incoming>) -> Response<Body> {
        let go = Arc::clone(&self.0);
        let pieces = futures_util::stream::unfold(0, move |step| {
            let go = Arc::clone(&go);
            async move {
                match step {
                    0 => {}
                    1 => go.notified().await,
                    _ => return None,
                }
                let piece: Result<_, std::io::Error> = Ok(http_body::Frame::data(Bytes::from("piece")));
                Some((piece, step + 1))
            }
        });
        Response::new(Body::stream(http_body_util::StreamBody::new(pieces)))
    }
}

/// Whether a new connection verifies under `authority`.
async fn shows(addr: SocketAddr, authority: &Authority) -> bool {
    authority.connect(addr, &["h2"], None).await.is_ok()
}

async fn until_shown(addr: SocketAddr, authority: &Authority) {
    for _ in 0..500 {
        if shows(addr, authority).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the new certificate is not shown");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_streams_go_on() {
    const EVERY: Duration = Duration::from_millis(20);
    let (old, new, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let (cert, key) = old.issue("127.0.0.1").write(folder.path());
    let tls = TlsSource::new(&Tls {
        cert: FileOrText::File(cert.clone()),
        key: FileOrText::File(key),
        client_ca: None,
    })
    .unwrap();
    let looking = Arc::clone(&tls);
    let watching = tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            looking.look_for_changes();
        }
    });
    let listener = Listener::bind(
        "127.0.0.1:0".parse().unwrap(),
        Settings::from(&Server::default()),
        Some(tls),
    )
    .unwrap();
    let (addr, go, drain) = (listener.addr(), Arc::new(Notify::new()), Drain::default());
    let serving = listener.serve(Waiting(Arc::clone(&go)), drain.watch(), TaskTracker::new());
    let serving = tokio::spawn(serving);

    let answer = call(old.connect(addr, &["h2"], None).await.unwrap())
        .await
        .unwrap();
    let mut stream = answer.into_body();
    stream.frame().await.unwrap().unwrap();
    new.issue("127.0.0.1").write(folder.path());
    until_shown(addr, &new).await;
    assert!(!shows(addr, &old).await);
    go.notify_one();
    assert_eq!(
        stream.frame().await.unwrap().unwrap().into_data().unwrap(),
        "piece"
    );
    assert!(stream.collect().await.unwrap().to_bytes().is_empty());

    // What can't be used changes nothing: a cut file, a key of another certificate, no file.
    let whole = std::fs::read(&cert).unwrap();
    std::fs::write(&cert, &whole[..whole.len() / 2]).unwrap();
    tokio::time::sleep(EVERY * 5).await;
    assert!(shows(addr, &new).await);
    std::fs::write(&cert, old.issue("127.0.0.1").cert).unwrap();
    tokio::time::sleep(EVERY * 5).await;
    assert!(shows(addr, &new).await);
    std::fs::remove_file(&cert).unwrap();
    tokio::time::sleep(EVERY * 5).await;
    assert!(shows(addr, &new).await);
    old.issue("127.0.0.1").write(folder.path());
    until_shown(addr, &old).await;
    drain.stop();
    serving.await.unwrap();
    watching.abort();
}

#[tokio::test]
async fn a_call_over_tls_streams_to_its_end() {
    let upstream = Upstream::start(|_| {
        vec![
            stream_head(),
            Step::Repeat(
                b"400\r\n"
                    .iter()
                    .copied()
                    .chain([b'x'; 1024])
                    .chain(*b"\r\n")
                    .collect(),
                2048,
            ),
            last_chunk(),
        ]
    })
    .await;
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let gateway = gateway(&upstream, &authority.issue("127.0.0.1"), folder.path(), "").await;
    for alpn in ["h2", "http/1.1"] {
        let stream = authority.connect(gateway.addr, &[alpn], None).await.unwrap();
        let body = call(stream).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), 2 * 1024 * 1024, "{alpn}");
    }
    eventually("nothing is left upstream", || upstream.busy() == 0).await;
}
