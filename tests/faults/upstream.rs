//! The simulated upstream, in the process of the test: it outlives every gate and knows what it has billed.

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate::simulate::{Knobs, Simulator};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep};

use crate::PATIENCE;

/// The upstream.
pub struct Upstream {
    pub addr: SocketAddr,
    simulator: Arc<Simulator>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let simulator = Simulator::new(Knobs::default());
        let serving = tokio::spawn(Arc::clone(&simulator).serve(listener, std::future::pending()));
        Self {
            addr,
            simulator,
            serving,
        }
    }

    /// What it has billed in all, in nano-dollars, once no call is open there.
    pub async fn billed(&self) -> i64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let requests = self.simulator.requests();
            if requests["open"] == 0 {
                return requests["cost_nano_usd"].as_i64().unwrap();
            }
            assert!(Instant::now() < deadline, "calls stay open: {}", requests["open"]);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether a call is open there.
    pub fn is_busy(&self) -> bool {
        self.simulator.requests()["open"] != 0
    }

    /// How many calls for a model have come.
    pub fn calls(&self) -> u64 {
        let requests = self.simulator.requests();
        let models = requests["by_model"].as_object().unwrap();
        models.values().map(|count| count.as_u64().unwrap()).sum()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
