//! Receivers with TLS: who they are has to be shown.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tidegate::webhook::Verdict;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::{Listener, Names, Sender, read_request, settings};
use crate::support::tls::Authority;

async fn receiver(identity: Arc<ServerConfig>) -> Listener {
    let acceptor = TlsAcceptor::from(identity);
    Listener::start(move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            read_request(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.ok();
            stream.shutdown().await.ok();
        }
    })
    .await
}

fn sender(authority: &Authority, seconds: u64) -> Sender {
    let names = Names::of(&[&["127.0.0.1"]]);
    Sender::new(
        &settings(seconds, &["127.0.0.1/32"]),
        names,
        Some(&authority.pem()),
    )
}

#[tokio::test]
async fn a_receiver_is_believed_with_the_name_or_address_of_its_certificate() {
    let authority = Authority::new();
    let sender = sender(&authority, 15);
    for (host, name) in [
        ("hooks.example.com", "hooks.example.com"),
        ("HOOKS.example.com", "hooks.example.com"),
        ("127.0.0.1", "127.0.0.1"),
    ] {
        let receiver = receiver(authority.issue(name).server(&["http/1.1"])).await;
        let outcome = sender
            .send(&format!("https://{host}:{}/", receiver.addr.port()))
            .await;
        assert_eq!(outcome.verdict, Verdict::Delivered, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_receiver_is_not_believed_with_any_other_certificate() {
    let authority = Authority::new();
    let sender = sender(&authority, 15);
    let stranger = Authority::new();
    for (host, identity) in [
        ("hooks.example.com", authority.issue("other.example.com")),
        ("hooks.example.com", authority.issue("127.0.0.1")),
        ("127.0.0.1", authority.issue("hooks.example.com")),
        ("hooks.example.com", stranger.issue("hooks.example.com")),
    ] {
        let receiver = receiver(identity.server(&["http/1.1"])).await;
        let outcome = sender
            .send(&format!("https://{host}:{}/", receiver.addr.port()))
            .await;
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Failed, None));
        let error = outcome.error.unwrap();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn tls_that_never_ends_or_is_none_fails_in_time() {
    let authority = Authority::new();
    let sender = sender(&authority, 1);
    let silent = Listener::start(|mut stream: TcpStream| async move {
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let plain = Listener::start(|mut stream: TcpStream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok();
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    for receiver in [silent.await, plain.await] {
        let began = Instant::now();
        let outcome = sender.send(&format!("https://{}/", receiver.addr)).await;
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Failed, None));
        assert!(began.elapsed() < Duration::from_secs(3));
    }
}
