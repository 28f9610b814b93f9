//! What makes the gateway reload, and what a reload leaves behind.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{PATH, PLAIN, keys, reloads, request};
use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY, MANAGER, UPSTREAM_KEY, server};
use crate::support::process::Process;
use crate::support::upstream::Upstream;

/// Writes a configuration whose key stands in the file `secret`.
fn write(folder: &Path, upstream: SocketAddr, more: &str) {
    let text = format!(
        "{}[upstream]\nbase_url = \"http://{upstream}\"\napi_key = \"{UPSTREAM_KEY}\"\n{more}\n{}",
        server(""),
        keys(&["file:secret"])
    );
    std::fs::write(folder.join("gate.toml"), text).unwrap();
}

#[tokio::test]
async fn a_changed_file_is_noticed_without_a_signal_and_tried_once() {
    const EVERY: Duration = Duration::from_millis(20);
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), MANAGER).unwrap();
    write(folder.path(), upstream.addr, "");
    let gateway = Gateway::of_file(upstream.addr, &folder.path().join("gate.toml"), EVERY).await;
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 401);

    // A file that the configuration names.
    std::fs::write(folder.path().join("secret"), KEY).unwrap();
    eventually("the secret is read", || reloads(&gateway, "applied") == 1.0).await;
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);

    // The configuration itself; what is refused is not tried again until it changes.
    write(folder.path(), upstream.addr, "[models]\nnonsense = 1");
    eventually("the mistake is seen", || reloads(&gateway, "refused") == 1.0).await;
    tokio::time::sleep(EVERY * 10).await;
    assert_eq!(
        (reloads(&gateway, "refused"), reloads(&gateway, "applied")),
        (1.0, 1.0)
    );
    std::fs::remove_file(folder.path().join("gate.toml")).unwrap();
    eventually("it is missed", || reloads(&gateway, "refused") == 2.0).await;
    write(
        folder.path(),
        upstream.addr,
        "[models.alias]\n\"acme/model\" = \"acme/other\"",
    );
    eventually("it is back", || reloads(&gateway, "applied") == 2.0).await;
    assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
    assert_eq!(upstream.requests()[1].body, br#"{"model":"acme/other"}"#);
}

#[tokio::test]
async fn connections_to_an_upstream_that_stays_are_kept_and_others_are_closed() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let gateway = Gateway::start(upstream.addr).await;
    for _ in 0..20 {
        assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
        assert!(gateway.reload(&keys(&[KEY])).await);
    }
    assert!(
        upstream.accepted() <= 3,
        "{} connections were opened",
        upstream.accepted()
    );
    assert!(
        gateway
            .reload("[upstream]\nbase_url = \"http://127.0.0.1:9\"\n")
            .await
    );
    eventually("the old connections close", || upstream.open() == 0).await;
}

#[tokio::test]
async fn price_lists_are_fetched_when_a_reload_asks_for_them() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let gateway = Gateway::start(upstream.addr).await;
    assert_eq!(upstream.price_lists(), 0);
    for want in 1..=2 {
        assert!(gateway.reload("[prices]\nsource = \"upstream\"\n").await);
        eventually("a list is fetched", || upstream.price_lists() == want).await;
        assert!(gateway.reload("[prices]\nsource = \"none\"\n").await);
    }
}

#[tokio::test]
async fn a_thousand_reloads_leave_nothing_behind() {
    let (one, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (one, other) = (Upstream::waiting(&one).await, Upstream::waiting(&other).await);
    let gateway = Gateway::start(one.addr).await;
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    for round in 0..1000 {
        let target = [one.addr, other.addr][round % 2];
        assert!(
            gateway
                .reload(&format!("[upstream]\nbase_url = \"http://{target}\"\n"))
                .await
        );
        if round % 50 == 0 {
            assert_eq!(gateway.post(PATH, PLAIN).await.status, 200);
        }
    }
    assert!(gateway.reload("").await);
    eventually("connections to the other upstream close", || other.open() == 0).await;
    eventually("connections that idle close", || one.open() == 0).await;
    let after = files();
    assert!(after <= before + 40, "{before} files were open, {after} are");
}

#[tokio::test]
async fn the_program_reloads_on_a_hangup() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let program = Process::start(upstream.addr);
    let logged = |message: &str| {
        let log = program.log();
        log.iter()
            .filter(|line| line.to_string().contains(message))
            .count()
    };
    let mut raw = Raw::connect(program.addr).await;
    raw.send(request(PLAIN)).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    program.rewrite(|text| text.replace(KEY, &format!("jwt:{KEY}")));
    program.signal("HUP");
    eventually("it refuses", || {
        logged("account[0].key[0].secret (line 12): begins with `jwt:`") == 1
    })
    .await;
    eventually("it says that it goes on", || logged("the old ones go on") == 1).await;
    assert_eq!(
        program
            .log()
            .iter()
            .filter(|line| line.to_string().contains(KEY))
            .count(),
        0
    );
    raw.send(request(PLAIN)).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    program.rewrite(|text| text.replace(KEY, MANAGER));
    program.signal("HUP");
    eventually("it applies", || logged("new settings are in force") == 1).await;
    raw.send(request(PLAIN)).await;
    assert_eq!(raw.answer().await.unwrap().status, 401);
}
