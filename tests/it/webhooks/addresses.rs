//! Where nothing may be sent, whatever names resolve to; a listener on this machine sees that nothing comes.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tidegate::queue::Blocked;
use tidegate::webhook::{LookUp, Resolve, SystemResolver, Verdict};
use tokio::time::Instant;

use super::{AT, Listener, Names, Sender, settings};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const PUBLIC: &str = "93.184.216.34";

/// Addresses that no receiver may have, and what they are.
const DENIED: &[(&str, Blocked)] = &[
    ("127.0.0.1", Blocked::Loopback),
    ("127.255.255.254", Blocked::Loopback),
    ("0.0.0.0", Blocked::Unspecified),
    ("10.0.0.1", Blocked::Private),
    ("172.16.0.1", Blocked::Private),
    ("192.168.1.1", Blocked::Private),
    ("169.254.169.254", Blocked::Metadata),
    ("168.63.129.16", Blocked::Metadata),
    ("169.254.1.1", Blocked::LinkLocal),
    ("100.64.0.1", Blocked::Cgnat),
    ("198.18.0.1", Blocked::Reserved),
    ("224.0.0.1", Blocked::Multicast),
    ("255.255.255.255", Blocked::Reserved),
    ("::1", Blocked::Loopback),
    ("::", Blocked::Unspecified),
    ("::ffff:10.0.0.1", Blocked::Private),
    ("::ffff:127.0.0.1", Blocked::Loopback),
    ("64:ff9b::a00:1", Blocked::Embedded),
    ("2002:7f00:1::", Blocked::Embedded),
    ("fd12::1", Blocked::Private),
    ("fe80::1", Blocked::LinkLocal),
    ("ff02::1", Blocked::Multicast),
];

#[tokio::test]
async fn a_name_with_any_address_that_is_denied_is_refused() {
    let canary = Listener::answering(OK).await;
    let url = format!("http://hooks.example.com:{}/", canary.addr.port());
    for (address, reason) in DENIED {
        for answer in [
            vec![*address],
            vec![PUBLIC, address],
            vec![address, PUBLIC],
            vec![PUBLIC, PUBLIC, address],
        ] {
            let names = Names::of(&[&answer]);
            let sender = Sender::new(&settings(15, &[]), names.clone(), None);
            let outcome = sender.send(&url).await;
            assert_eq!((outcome.verdict, outcome.status), (Verdict::Failed, None));
            assert_eq!(outcome.blocked, Some(*reason), "{answer:?}");
            assert_eq!(names.asked(), 1);
            let reason = reason.as_str();
            assert!(sender.shows(&format!(
                "tidegate_webhook_blocked_total{{reason=\"{reason}\"}} 1"
            )));
        }
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn an_address_in_the_url_is_judged_without_a_resolver() {
    let canary = Listener::answering(OK).await;
    let names = Names::of(&[&[PUBLIC]]);
    let sender = Sender::new(&settings(15, &[]), names.clone(), None);
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"] {
        let outcome = sender
            .send(&format!("http://{host}:{}/", canary.addr.port()))
            .await;
        assert_eq!(outcome.blocked, Some(Blocked::Loopback), "{host}");
    }
    assert_eq!((names.asked(), canary.connections()), (0, 0));
}

#[tokio::test]
async fn a_name_that_moves_is_looked_at_anew_at_each_attempt_and_once() {
    let receiver = Listener::answering(OK).await;
    let canary = Listener::at(&format!("127.0.0.2:{}", receiver.addr.port()), |_| async {}).await;
    let names = Names::of(&[&["127.0.0.1"], &["127.0.0.2"]]);
    // One address stands for the public ones, the other for those of the gate's own network.
    let sender = Sender::new(&settings(15, &["127.0.0.1/32"]), names.clone(), None);
    let url = format!("http://hooks.example.com:{}/", receiver.addr.port());
    assert_eq!(sender.send(&url).await.verdict, Verdict::Delivered);
    assert_eq!(names.asked(), 1);
    assert_eq!(sender.send(&url).await.blocked, Some(Blocked::Loopback));
    assert_eq!((receiver.connections(), canary.connections()), (1, 0));
}

#[tokio::test]
async fn settings_that_change_hold_from_the_next_attempt_on() {
    let receiver = Listener::answering(OK).await;
    let sender = Sender::local(15);
    assert_eq!(sender.send(&receiver.url()).await.verdict, Verdict::Delivered);
    sender.deliverer.change(&settings(15, &["10.0.0.0/8"]));
    let outcome = sender.send(&receiver.url()).await;
    assert_eq!(outcome.blocked, Some(Blocked::Loopback));
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn the_next_address_is_tried_where_the_first_refuses() {
    let receiver = Listener::answering(OK).await;
    let names = Names::of(&[&["127.0.0.3", "127.0.0.4", "::ffff:127.0.0.1"]]);
    let sender = Sender::new(&settings(15, &["127.0.0.0/8"]), names, None);
    let url = format!("http://hooks.example.com:{}/", receiver.addr.port());
    assert_eq!(sender.send(&url).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_a_failure() {
    let many: Vec<String> = (0..1000)
        .map(|n| format!("127.0.{}.{}", n / 250, n % 250))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (answers, error) in [
        // No word tells which names there are.
        (vec![], "the receiver's name leads to no public address"),
        (
            vec![[].as_slice()],
            "the receiver's name leads to no public address",
        ),
        (
            vec![many.as_slice()],
            "the receiver's name has more than 32 addresses",
        ),
    ] {
        let sender = Sender::new(&settings(15, &["127.0.0.0/8"]), Names::of(&answers), None);
        let outcome = sender.send("http://hooks.example.com/").await;
        assert_eq!(
            (outcome.verdict, outcome.error.as_deref()),
            (Verdict::Failed, Some(error))
        );
        assert_eq!(outcome.blocked, None);
    }
}

/// A resolver that never answers, and whose look-ups go on when nobody waits for them any more.
#[derive(Debug, Default)]
struct Silent(Mutex<Vec<LookUp>>);

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _: &'a str, place: LookUp) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.0.lock().unwrap().push(place);
        Box::pin(pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_finds_no_place_is_no_attempt_and_one_account_does_not_have_all_places() {
    let silent = Arc::new(Silent::default());
    let names: Arc<dyn Resolve> = Arc::clone(&silent) as _;
    let sender = Sender::new(&settings(15, &[]), names, None);
    let url = "https://hooks.example.com/";
    let many = |account, count| {
        join_all(
            (0..count)
                .map(|_| sender.attempt(account, url, AT))
                .collect::<Vec<_>>(),
        )
    };
    assert!(many("di:1", 112).await.iter().all(Option::is_some));
    assert_eq!(sender.attempt("di:1", url, AT).await, None);
    assert!(many("di:2", 16).await.iter().all(Option::is_some));
    let began = Instant::now();
    assert_eq!(sender.attempt("di:2", url, AT).await, None);
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(sender.attempt("di:1", url, AT).await, None);
    silent.0.lock().unwrap().clear();
    assert!(sender.attempt("di:1", url, AT).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_is_silent_is_given_up_after_five_seconds() {
    let sender = Sender::new(&settings(15, &[]), Arc::new(Silent::default()), None);
    let began = Instant::now();
    let outcome = sender.send("https://hooks.example.com/").await;
    assert_eq!(outcome.verdict, Verdict::Failed);
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(5)..Duration::from_millis(5100)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_local_name_of_the_system_is_judged_by_its_addresses() {
    let receiver = Listener::answering(OK).await;
    let url = format!("http://localhost:{}/", receiver.addr.port());
    let names: Arc<dyn Resolve> = Arc::new(SystemResolver);
    let open = settings(15, &["127.0.0.0/8", "::1/128"]);
    let sender = Sender::new(&open, Arc::clone(&names), None);
    let outcome = sender.send(&url).await;
    assert_eq!(outcome.verdict, Verdict::Delivered, "{outcome:?}");

    let sender = Sender::new(&settings(15, &["10.0.0.0/8"]), names, None);
    let outcome = sender.send(&url).await;
    assert_eq!(outcome.blocked, Some(Blocked::Loopback), "{outcome:?}");
    assert_eq!(receiver.connections(), 1);
}
