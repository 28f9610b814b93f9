//! Jobs outlast the process that took them in.

use tempfile::TempDir;

use super::receiver::{Does, Receiver};
use super::*;

/// A folder that two gates use one after the other.
fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

struct At(Arc<TempDir>);

impl AsRef<std::path::Path> for At {
    fn as_ref(&self) -> &std::path::Path {
        self.0.path()
    }
}

#[tokio::test]
async fn what_a_gate_leaves_undone_the_next_one_does() {
    let (folder, go) = (folder(), Arc::new(Notify::new()));
    let upstream = holding(&go).await;
    let receiver = Receiver::start().await;
    let mut first = Gateway::within(upstream.addr, OPEN, At(Arc::clone(&folder))).await;
    let ids: Vec<_> = {
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(queued(&send(&first, NATIVE, "", &native(&receiver.url())).await));
        }
        ids
    };
    eventually("all run", || upstream.busy() == 5).await;
    first.terminate().await;
    first.terminate().await;
    first.stopped().await;
    drop(first);
    upstream.idle().await;

    let second = Gateway::within(upstream.addr, OPEN, At(folder)).await;
    eventually("all run again", || upstream.busy() == 5).await;
    release(&upstream, &go).await;
    let got = receiver.deliveries(5).await;
    for id in ids {
        assert_eq!(got.iter().filter(|got| got.id == id).count(), 1);
        job_in(&second, &id, "delivered").await;
    }
}

#[tokio::test]
async fn a_result_is_delivered_by_the_next_gate_and_the_call_is_not_made_again() {
    let folder = folder();
    let (go, up) = (
        Arc::new(Notify::new()),
        Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    go.notify_one();
    let upstream = holding(&go).await;
    let takes = Arc::clone(&up);
    let receiver = Receiver::doing(move |_| match takes.load(std::sync::atomic::Ordering::SeqCst) {
        false => Does::Answers("503 Service Unavailable"),
        true => Does::Answers("200 OK"),
    });
    let receiver = receiver.await;
    let slow = OPEN.replace(r#"["100ms", "200ms"]"#, r#"["2s", "2s", "2s"]"#);
    let mut first = Gateway::within(upstream.addr, &slow, At(Arc::clone(&folder))).await;
    let id = queued(&send(&first, NATIVE, "", &native(&receiver.url())).await);
    receiver.deliveries(1).await;
    job_in(&first, &id, "delivering").await;
    first.terminate().await;
    first.stopped().await;
    drop(first);

    for name in ["tidegate.db", "tidegate.db-wal"] {
        let path = folder.path().join("tidegate-data").join(name);
        let bytes = std::fs::read(path).unwrap_or_default();
        for canary in ["canary-in-the-prompt", "canary-in-the-query"] {
            let found = bytes
                .windows(canary.len())
                .any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} in {name}");
        }
    }
    up.store(true, std::sync::atomic::Ordering::SeqCst);
    let second = Gateway::within(upstream.addr, &slow, At(folder)).await;
    job_in(&second, &id, "delivered").await;
    assert_eq!((upstream.requests().len(), receiver.got().len()), (1, 2));
}
