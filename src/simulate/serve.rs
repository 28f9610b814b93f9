//! The sockets of the simulated upstream: HTTP/1.1 and HTTP/2 with prior knowledge on one port.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Simulator;

/// How HTTP/2 with prior knowledge begins; no method of HTTP/1 does.
const PREFACE: &[u8; 4] = b"PRI ";
/// How long a connection may take to say its first bytes.
const FIRST_BYTES: Duration = Duration::from_secs(60);
/// Pause between two looks at a connection that has sent fewer bytes than [`PREFACE`].
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Pause after an accept failed, for want of file descriptors as a rule.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);
/// Streams at once on an HTTP/2 connection: more than any test opens.
const MAX_STREAMS: u32 = 20_000;

/// Header fields of a request: more than any gate lets through and adds.
const MAX_HEADERS: usize = 512;

/// Tasks that end together with [`serve`].
#[derive(Debug, Clone, Default)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        drop(
            self.tracker
                .spawn(self.stop.clone().run_until_cancelled_owned(task)),
        );
    }
}

/// Serves until `stop` resolves; then every connection ends at once.
pub(super) async fn serve(
    simulator: Arc<Simulator>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let tasks = Tasks::default();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => tasks.execute(connection(Arc::clone(&simulator), stream, tasks.clone())),
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
        }
    }
    tasks.stop.cancel();
    tasks.tracker.close();
    tasks.tracker.wait().await;
    Ok(())
}

async fn connection(simulator: Arc<Simulator>, stream: TcpStream, tasks: Tasks) {
    let served = async {
        stream.set_nodelay(true)?;
        let h2 = tokio::time::timeout(FIRST_BYTES, begins_with_preface(&stream)).await??;
        let reset = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&reset);
        let service = service_fn(move |request| {
            let (simulator, told) = (Arc::clone(&simulator), Arc::clone(&told));
            async move { Ok::<_, Infallible>(simulator.answer(request, &told).await) }
        });
        let io = TokioIo::new(stream);
        if h2 {
            return http2::Builder::new(tasks)
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .serve_connection(io, service)
                .await
                .map_err(io::Error::other);
        }
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .max_headers(MAX_HEADERS)
            .serve_connection(io, service);
        let ended = (&mut connection).await;
        if ended.is_err() && reset.load(Ordering::Relaxed) {
            connection.into_parts().io.inner().set_zero_linger()?;
        }
        ended.map_err(io::Error::other)
    };
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the simulated upstream ended");
    }
}

/// Looks at the first bytes without taking them.
async fn begins_with_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut start).await?;
        let (seen, expected) = (start.get(..length), PREFACE.get(..length));
        if length == 0 || seen != expected {
            return Ok(false);
        }
        if length == PREFACE.len() {
            return Ok(true);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
