//! What the tests stand on: a real gateway, a scripted upstream that records raw bytes, and raw clients.

pub mod client;
pub mod gateway;
pub mod h2;
pub mod process;
pub mod siege;
pub mod streams;
pub mod tls;
pub mod upstream;

use std::time::Duration;

/// How long a test waits for what must happen; far above what it takes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `done` says so, looking again as the runtime goes on.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
