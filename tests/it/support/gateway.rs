//! A real gateway on free ports, on a runtime of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate::app::{App, Signal, Signals, Source};
use tidegate::config::{Config, Files, Loaded};
use tidegate::metrics::Metrics;
use tidegate::types::SystemClock;
use tokio::sync::mpsc;

use super::client::{Answer, Raw};

/// The key that every test's configuration has.
pub const KEY: &str = "test-key-0123456789abcdef";

/// The key of an account that may manage.
pub const MANAGER: &str = "manager-key-0123456789abcdef";

/// The upstream's own key.
pub const UPSTREAM_KEY: &str = "upstream-key";

/// A `[server]` section on free ports with `lines` beside the addresses.
pub fn server(lines: &str) -> String {
    format!("[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{lines}\n")
}

/// A running gateway. When it falls it checks that no call is left in flight, then stops.
pub struct Gateway {
    /// The data listener.
    pub addr: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Its metrics, seen from inside.
    pub metrics: Arc<Metrics>,
    upstream: SocketAddr,
    /// What a reload reads.
    text: Arc<Mutex<String>>,
    signals: mpsc::Sender<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// A gateway in front of `upstream` with two accounts and otherwise default settings.
    pub async fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, "").await
    }

    /// The same, with `settings` in further sections. A `[server]` section in it replaces the default one and must
    /// set both addresses to port 0.
    pub async fn with(upstream: SocketAddr, settings: &str) -> Self {
        Self::within(upstream, settings, tempfile::tempdir().unwrap()).await
    }

    /// The same, with its store in `folder`, where another one may find it again.
    pub async fn within(
        upstream: SocketAddr,
        settings: &str,
        folder: impl AsRef<Path> + Send + Sync + 'static,
    ) -> Self {
        let text = Arc::new(Mutex::new(whole(upstream, settings)));
        let read = Arc::clone(&text);
        let env = std::collections::BTreeMap::<String, String>::new;
        let source = Source::new(move || Loaded {
            outcome: Config::parse(&read.lock().unwrap(), folder.as_ref(), &env()),
            files: Files::default(),
        });
        let source = source.unwrap_or_else(|mistakes| panic!("{mistakes}\n{}", text.lock().unwrap()));
        Self::run(upstream, text, source).await
    }

    /// A gateway whose settings are in a file, which it looks at `every` so often.
    pub async fn of_file(upstream: SocketAddr, path: &Path, every: Duration) -> Self {
        let path = path.to_owned();
        let env = std::collections::BTreeMap::<String, String>::new;
        let source = Source::new(move || Config::load(&path, &env())).unwrap();
        Self::run(upstream, Arc::default(), source.look_every(every)).await
    }

    /// Lets the gateway read other `settings` than those of [`Gateway::with`], and says whether they were applied.
    pub async fn reload(&self, settings: &str) -> bool {
        let seen = |result| self.metric("tidegate_config_reloads_total", result);
        let (applied, refused) = (seen("applied"), seen("refused"));
        *self.text.lock().unwrap() = whole(self.upstream, settings);
        self.signals.send(Signal::Reload).await.unwrap();
        super::eventually("the settings are reloaded", || {
            seen("applied") + seen("refused") > applied + refused
        })
        .await;
        seen("applied") > applied
    }

    async fn run(upstream: SocketAddr, text: Arc<Mutex<String>>, source: Source) -> Self {
        let (started, ready) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let app = App::start(source, Arc::new(SystemClock)).await.unwrap();
                let (signals, incoming) = Signals::channel();
                let facts = (
                    app.data_addr(),
                    app.admin_addr(),
                    Arc::clone(app.metrics()),
                    signals,
                );
                started.send(facts).ok();
                app.run(incoming).await;
            });
        });
        let (addr, admin, metrics, signals) = ready.await.expect("the gateway did not start");
        Self {
            addr,
            admin,
            metrics,
            upstream,
            text,
            signals,
            thread: Some(thread),
        }
    }

    /// Sends the gateway what SIGTERM sends it.
    pub async fn terminate(&self) {
        self.signals.send(Signal::Terminate).await.unwrap();
    }

    /// Waits until the gateway has stopped by itself.
    pub async fn stopped(&mut self) {
        let thread = self.thread.take().unwrap();
        super::eventually("the gateway stops", || thread.is_finished()).await;
        thread.join().unwrap();
    }

    /// The sum of all series of a metric whose line contains `part`.
    pub fn metric(&self, name: &str, part: &str) -> f64 {
        let text = self.metrics.render().unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(part));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Sends one request with the test's key and gives the whole answer.
    pub async fn call(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let key = format!("authorization: Bearer {KEY}\r\n");
        self.bare(method, target, &format!("{key}{headers}"), body).await
    }

    /// Posts JSON with the test's key.
    pub async fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.call(
            "POST",
            target,
            "content-type: application/json\r\n",
            body.as_ref(),
        )
        .await
    }

    /// Sends one request with just these headers, `host` and `content-length`.
    pub async fn bare(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        request(self.addr, &format!("{method} {target}"), headers, body).await
    }

    /// The same to the admin listener.
    pub async fn operate(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        request(self.admin, line, headers, body).await
    }
}

async fn request(addr: SocketAddr, line: &str, headers: &str, body: &[u8]) -> Answer {
    let mut raw = Raw::connect(addr).await;
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let mut bytes = format!("{line} HTTP/1.1\r\nhost: gate\r\n{headers}{length}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    raw.send(bytes).await;
    raw.answer().await.expect("an answer")
}

/// The text of a configuration in front of `upstream`. It has two accounts of its own unless `settings` have some.
fn whole(upstream: SocketAddr, settings: &str) -> String {
    let server = if settings.contains("[server]") {
        String::new()
    } else {
        server("")
    };
    let upstream = if settings.contains("[upstream]") {
        String::new()
    } else {
        format!("[upstream]\nbase_url = \"http://{upstream}\"\napi_key = \"{UPSTREAM_KEY}\"\n")
    };
    // Most upstreams of tests answer everything alike, and would be asked for prices again and again.
    let prices = if settings.contains("[prices]") {
        ""
    } else {
        "[prices]\nsource = \"none\"\n"
    };
    let accounts = if settings.contains("[[account]]") {
        String::new()
    } else {
        format!(
            "[[account]]\nid = \"di:1\"\n[[account.key]]\nname = \"auto\"\nsecret = \"{KEY}\"\n\
             [[account]]\nid = \"di:2\"\nmanagement = true\n[[account.key]]\nname = \"auto\"\nsecret = \"{MANAGER}\"\n"
        )
    };
    format!("{server}{upstream}{settings}\n{prices}{accounts}")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for _ in 0..1000 {
                if self.metric("tidegate_in_flight_calls", "") == 0.0 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(
                self.metric("tidegate_in_flight_calls", ""),
                0.0,
                "calls are left in flight"
            );
        }
        if let Some(thread) = self.thread.take() {
            self.signals.try_send(Signal::Terminate).ok();
            self.signals.try_send(Signal::Terminate).ok();
            thread.join().ok();
        }
    }
}
