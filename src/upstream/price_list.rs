//! The price lists that upstreams publish, fetched at once and then again and again.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::catalogue::{FetchError, TIMEOUT, get};
use super::{Upstream, Upstreams};
use crate::spend::{PriceTable, Prices};

/// Where a list is. It takes no key.
const PATH: &str = "/models/list";

/// How long to wait after a first failure; twice as long after each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest wait after a failure.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Lets calls wait for the lists that [`watch_price_lists`] is going to fetch.
pub fn expect_price_lists(upstreams: &Upstreams, prices: &Prices) {
    for upstream in upstreams.all() {
        prices.expect(upstream.name());
    }
}

/// Fetches every upstream's price list, and again after each `refresh` (`None`: never), until nobody can change the
/// upstreams any more.
///
/// A list stays in force until the next has been read. A failure is logged and tried again after a second, then after
/// twice as long, up to a minute. An upstream that has no list (404) is asked again at the usual time. When the
/// upstreams change, the lists of those that are gone are forgotten and new ones are fetched at once.
pub async fn watch_price_lists(
    mut upstreams: watch::Receiver<Arc<Upstreams>>,
    mut refresh: watch::Receiver<Option<Duration>>,
    prices: Arc<Prices>,
) {
    let mut watches: Vec<Watched> = Vec::new();
    loop {
        let now = Arc::clone(&upstreams.borrow_and_update());
        let every = *refresh.borrow_and_update();
        watches = follow(watches, &now, every, &prices);
        // None of them ends; where there is none, `all` would.
        let any = !watches.is_empty();
        let all = futures_util::future::join_all(watches.iter_mut().map(|one| one.watch.as_mut()));
        tokio::select! {
            _ = all, if any => {}
            // Nobody can change them any more only while everything falls.
            changed = upstreams.changed() => if changed.is_err() {
                return;
            },
            changed = refresh.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// An upstream and the future that watches its list.
struct Watched {
    upstream: Arc<Upstream>,
    every: Duration,
    watch: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Keeps the watches that are still asked for, and begins new ones.
fn follow(
    mut watches: Vec<Watched>,
    now: &Upstreams,
    every: Option<Duration>,
    prices: &Arc<Prices>,
) -> Vec<Watched> {
    let stays = |one: &Watched| {
        Some(one.every) == every && now.all().any(|upstream| Arc::ptr_eq(upstream, &one.upstream))
    };
    for gone in watches.extract_if(.., |one| !stays(one)) {
        let name = gone.upstream.name();
        if every.is_none() || !now.all().any(|upstream| upstream.name() == name) {
            prices.forget(name);
        }
    }
    let Some(every) = every else {
        return watches;
    };
    for upstream in now.all() {
        if !watches.iter().any(|one| Arc::ptr_eq(upstream, &one.upstream)) {
            prices.expect(upstream.name());
            let (upstream, prices) = (Arc::clone(upstream), Arc::clone(prices));
            watches.push(Watched {
                upstream: Arc::clone(&upstream),
                every,
                watch: Box::pin(async move { watch_one(&upstream, every, &prices).await }),
            });
        }
    }
    watches
}

async fn watch_one(upstream: &Upstream, every: Duration, prices: &Prices) {
    let name = upstream.name();
    let mut retry = FIRST_RETRY;
    loop {
        let fetched = tokio::time::timeout(TIMEOUT, fetch(upstream)).await;
        let wait = match fetched.unwrap_or(Err(FetchError::Slow)) {
            Ok((list, broken)) => {
                tracing::debug!(upstream = %name, models = list.len(), broken, "a price list is in force");
                prices.learn(name, list);
                retry = FIRST_RETRY;
                every
            }
            Err(FetchError::Status(404 | 405 | 501)) => {
                tracing::debug!(upstream = %name, "the upstream has no price list");
                every
            }
            Err(error) => {
                tracing::warn!(upstream = %name, %error, "no new price list: the last one stays in force");
                let wait = retry;
                retry = LAST_RETRY.min(retry.saturating_mul(2));
                wait
            }
        };
        prices.arrived(name);
        tokio::time::sleep(wait).await;
    }
}

async fn fetch(upstream: &Upstream) -> Result<(PriceTable, usize), FetchError> {
    let bytes = get(upstream, PATH).await?;
    Ok(PriceTable::from_upstream(&bytes)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config;
    use crate::metrics::Metrics;
    use crate::types::ModelName;

    /// Answers one request after another, and the last answer to all that follow.
    async fn serve(listener: TcpListener, answers: Vec<(u16, String)>) {
        let last = answers.len() - 1;
        for turn in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            assert!(head.starts_with(b"GET /models/list HTTP/1.1\r\n"));
            let (status, body) = &answers[last.min(turn)];
            let answer = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn list(cents: &str) -> String {
        format!(
            r#"[{{"model_name": "a/m", "pricing": {{"type": "time", "cents_per_sec": {cents}}}}}, {{"model_name": 7}}]"#
        )
    }

    #[tokio::test]
    async fn a_list_is_in_force_at_once_and_until_the_next_has_been_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let settings = config::Upstream::at(base.parse().unwrap());
        let upstreams = Upstreams::new(&settings, &Arc::new(Metrics::new().unwrap())).unwrap();
        let name = Arc::clone(upstreams.serving(&[]).name());
        let prices = Arc::new(Prices::default());
        expect_price_lists(&upstreams, &prices);
        let of = |cents: &str| PriceTable::from_upstream(list(cents).as_bytes()).unwrap().0;
        let model = ModelName::parse("a/m").unwrap();
        let is = |table: &PriceTable| prices.price(&name, &model).as_ref() == table.price(&model);
        let (first, second) = (of("1"), of("2"));

        let (_upstreams, watched) = watch::channel(Arc::new(upstreams));
        let (refresh, every) = watch::channel(Some(Duration::from_millis(300)));
        let answers = vec![
            (200, list("1")),
            (500, list("3")),
            (200, list("2")),
            (404, list("3")),
        ];
        let checks = async {
            prices.ready(&name, Duration::from_secs(10)).await;
            assert!(is(&first));
            while !is(&second) {
                assert!(is(&first), "a failure takes nothing away");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert!(is(&second), "nor does an upstream that has no list any more");
            refresh.send_replace(None);
            while prices.price(&name, &model).is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = watch_price_lists(watched, every, Arc::clone(&prices)) => panic!("the watch ended"),
            () = serve(listener, answers) => {}
            done = tokio::time::timeout(Duration::from_secs(30), checks) => done.unwrap(),
        }
    }
}
