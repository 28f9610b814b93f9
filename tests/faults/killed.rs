//! The gate is killed under load, again and again: nobody pays too little, and too much only what was held just then.

use std::time::Duration;

use crate::books;
use crate::gate::{Balance, Gate, mint};
use crate::load::{Call, Load};
use crate::upstream::Upstream;
use crate::{Dice, rounds};

/// How many call at once.
const CALLERS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_is_killed_under_load_charges_all_that_was_billed_and_leaves_no_hold_open() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut gate = Gate::start(folder.path(), upstream.addr, "");
    let (mut heard, mut tokens) = (Vec::new(), Vec::new());
    let (mut open, mut over) = (0, 0);
    for round in 0..rounds(8) {
        let token = mint("1000");
        let billed_before = upstream.billed().await;
        let load = Load::start(gate.addr, vec![token.clone(); CALLERS], 40, round);
        tokio::time::sleep(Duration::from_millis(20 + Dice::new(round).below(380))).await;
        gate.kill();
        let calls = load.stop().await;
        let billed = upstream.billed().await - billed_before;
        let left = books::read(folder.path());

        gate = Gate::start(folder.path(), upstream.addr, "");
        let balance = gate.balance(&token).await;
        assert_eq!(gate.metric("tidegate_open_holds").await, 0.0, "round {round}");
        assert_charged(round, balance, billed, left.holds);
        open += left.holds.0;
        over += balance.spent - billed;
        heard.extend(calls.into_iter().filter(Call::went_well));
        tokens.push((token, balance));
    }
    println!(
        "{} whole answers, {open} holds open at {} kills, charged {over} nano-dollars too much in all",
        heard.len(),
        tokens.len()
    );
    for (token, balance) in tokens {
        assert_eq!(gate.balance(&token).await, balance, "a later kill has changed it");
    }
    gate.terminate();
    gate.ended().await;
    assert_has_rows(&books::read(folder.path()), &heard);
}

/// What was billed is spent, and besides no more than was held when the gate fell.
pub fn assert_charged(round: usize, balance: Balance, billed: i64, holds: (usize, i64)) {
    assert_eq!(balance.held, 0, "round {round}");
    let over = balance.spent - billed;
    assert!(over >= 0, "round {round}: {billed} were billed and {balance:?}");
    assert!(
        over <= holds.1,
        "round {round}: {over} too much, with {holds:?} held"
    );
    // A caller has one call open, and perhaps some that have ended and wait for the disk.
    assert!(holds.0 <= 4 * CALLERS, "round {round}: {holds:?}");
}

/// Whoever read an answer to its end finds the call in the books, for no less than the answer says.
pub fn assert_has_rows(books: &books::Books, heard: &[Call]) {
    assert_eq!(books.holds, (0, 0));
    for call in heard {
        let id = call.id.as_ref().expect("an answer has an id");
        let cost = books.costs.get(id).unwrap_or_else(|| panic!("no row: {call:?}"));
        let read = call.cost.unwrap_or_default();
        assert!(*cost >= read, "{cost} charged: {call:?}");
    }
}
