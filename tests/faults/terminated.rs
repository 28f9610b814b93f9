//! The gate is told to stop under load: not one call is missing in the books.

use std::time::Duration;

use crate::books;
use crate::gate::{Gate, KEY, mint};
use crate::load::{Call, Load};
use crate::upstream::Upstream;
use crate::{Dice, rounds};

/// Callers with a limit, and as many without.
fn credentials(token: &str) -> Vec<String> {
    let mut all = vec![token.to_owned(); 10];
    all.extend(vec![KEY.to_owned(); 10]);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_is_told_to_stop_writes_down_what_every_call_has_cost() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut spent, mut heard) = (0, Vec::new());
    for round in 0..rounds(3) {
        let token = mint("1000");
        let gate = Gate::start(folder.path(), upstream.addr, "");
        // A call with a limit waits for the first price list. One without, that ends before it has come, has no price.
        let first = Load::start(gate.addr, vec![token.clone()], 5, round);
        tokio::time::sleep(Duration::from_millis(1)).await;
        heard.extend(first.stop().await.into_iter().filter(Call::went_well));
        let load = Load::start(gate.addr, credentials(&token), 60, round);
        tokio::time::sleep(Duration::from_millis(100 + Dice::new(round).below(300))).await;
        gate.terminate();
        gate.ended().await;
        heard.extend(load.stop().await.into_iter().filter(Call::went_well));
        let billed = upstream.billed().await;

        let gate = Gate::start(folder.path(), upstream.addr, "");
        let balance = gate.balance(&token).await;
        assert_eq!(balance.held, 0);
        assert!(balance.spent > 0);
        spent += balance.spent;
        assert_eq!(gate.usage("token").await.1, spent, "round {round}");
        let all = gate.usage("key").await;
        let rows = books::read(folder.path()).rows;
        assert_eq!(all, (upstream.calls(), billed), "round {round}: {rows:#?}");
        gate.terminate();
        gate.ended().await;
    }
    let books = books::read(folder.path());
    assert_eq!(books.killed, 0, "a call was left to the next start");
    assert!(heard.iter().any(|call| call.caller >= 10) && heard.iter().any(|call| call.caller < 10));
    crate::killed::assert_has_rows(&books, &heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_cut_at_the_end_of_the_drain_are_in_the_books_too() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    for round in 0..rounds(2) {
        let token = mint("1000");
        let billed_before = upstream.billed().await;
        let gate = Gate::start(folder.path(), upstream.addr, "drain_timeout = \"100ms\"");
        let load = Load::start(gate.addr, vec![token.clone(); 20], 2000, round);
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.terminate();
        gate.ended().await;
        let calls = load.stop().await;
        assert!(calls.iter().any(|call| !call.whole), "nothing was cut");
        let billed = upstream.billed().await - billed_before;

        let gate = Gate::start(folder.path(), upstream.addr, "");
        let balance = gate.balance(&token).await;
        assert_eq!(balance.held, 0);
        drop(gate);
        let books = books::read(folder.path());
        // The upstream bills what it had sent when the call was cut, which may be more than has passed.
        println!(
            "cut: {billed} nano-dollars were billed, {} are spent",
            balance.spent
        );
        assert!(balance.spent > 0, "{:#?}", books.rows);
        assert_eq!(books.killed, 0, "a call was left to the next start");
        assert!(books.costs.len() >= usize::try_from(upstream.calls()).unwrap());
    }
}
