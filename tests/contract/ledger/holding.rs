//! Holds: who gets one, how much, and why not.

use std::sync::Arc;

use futures_util::future::join_all;
use tidegate::spend::Denial;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holds_that_come_at_once_never_pass_a_limit_also_on_a_fresh_token() {
    for (wanted, least, most) in [(7, 7, 142), (7, 1, 143), (3, 0, 500)] {
        let home = Home::new();
        let ledger = Arc::new(home.open());
        let holds = (0..500).map(|_| {
            let ledger = Arc::clone(&ledger);
            let order = order(
                entry(call(), Some("fresh")),
                &[(of_token("fresh"), 1000)],
                wanted,
                least,
            );
            tokio::spawn(async move { ledger.hold(order).await })
        });
        let (mut held, mut made) = (0, 0);
        for outcome in join_all(holds).await {
            match outcome.unwrap() {
                Ok(one) => (held, made) = (held + one.amount.as_nanos(), made + 1),
                Err(HoldError::Held(denial)) => assert_eq!(denial.purse, of_token("fresh")),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(held <= 1000, "{held}");
        assert_eq!(made, most);
        assert_eq!(balance(&ledger, of_token("fresh")).await, (0, held));
    }
}

#[tokio::test]
async fn what_is_held_is_what_is_wanted_or_all_that_is_there() {
    let home = Home::new();
    let ledger = home.open();
    let purses = [(of_token("a"), 100)];
    let ask = async |wanted, least| {
        let held = ledger
            .hold(order(entry(call(), Some("a")), &purses, wanted, least))
            .await;
        held.map(|held| (held.amount.as_nanos(), held.left.as_nanos()))
    };
    assert_eq!(ask(60, 60).await, Ok((60, 40)));
    assert_eq!(ask(60, 10).await, Ok((40, 0)));
    assert_eq!(ask(0, 0).await, Ok((0, 0)));
    assert_eq!(ask(5, 0).await, Ok((0, 0)));
    let denial = Denial {
        purse: of_token("a"),
        limit: nanos(100),
        balance: Balance {
            spent: nanos(0),
            held: nanos(100),
        },
    };
    assert_eq!(ask(60, 1).await, Err(HoldError::Held(denial.clone())));
    assert_eq!(ask(200, 101).await, Err(HoldError::Spent(denial)));
}

#[tokio::test]
async fn a_purse_that_is_spent_is_named_before_one_whose_rest_is_held() {
    let home = Home::new();
    let ledger = home.open();
    let (first, second) = (of_token("a"), everybody(Span::Total));
    hold(&ledger, call(), (first.clone(), 10), 10).await.unwrap();
    close(&ledger, charge(entry(call(), None), 50)).await;
    let both = [(first.clone(), 10), (second.clone(), 50)];
    for least in [1, 0] {
        let refused = ledger
            .hold(order(entry(call(), None), &both, 1, least))
            .await
            .unwrap_err();
        let HoldError::Spent(denial) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((denial.purse, denial.limit), (second.clone(), nanos(50)));
        assert_eq!(denial.balance.spent, nanos(50));
    }
    // Nothing was taken from the other.
    assert_eq!(balance(&ledger, first).await, (0, 10));
    assert_eq!(balance(&ledger, second).await, (50, 0));
}

#[tokio::test]
async fn a_call_pays_from_all_its_purses_and_the_poorest_decides() {
    let home = Home::new();
    let ledger = home.open();
    let purses = [
        (of_token("a"), 100),
        (of_key("auto", Span::Day(NOW - DAY / 2)), 70),
        (everybody(Span::Total), 90),
    ];
    let call = call();
    let held = ledger
        .hold(order(entry(call, Some("a")), &purses, 100, 10))
        .await
        .unwrap();
    assert_eq!((held.amount, held.left), (nanos(70), nanos(30)));
    for (purse, _) in &purses {
        assert_eq!(balance(&ledger, purse.clone()).await, (0, 70));
    }
    let done = close(&ledger, charge(entry(call, Some("a")), 95)).await;
    assert_eq!(done, closed(Some(70), 95, 25));
    for (purse, _) in &purses {
        assert_eq!(balance(&ledger, purse.clone()).await, (95, 0));
    }
}

#[tokio::test]
async fn a_purse_that_stands_twice_pays_once_and_its_smaller_limit_counts() {
    let home = Home::new();
    let ledger = home.open();
    let cap = everybody(Span::Total);
    let purses = [(cap.clone(), 100), (cap.clone(), 60), (cap.clone(), 80)];
    let call = call();
    let held = ledger
        .hold(order(entry(call, None), &purses, 90, 1))
        .await
        .unwrap();
    assert_eq!((held.amount, held.left), (nanos(60), nanos(0)));
    assert_eq!(balance(&ledger, cap.clone()).await, (0, 60));
    assert_eq!(
        close(&ledger, charge(entry(call, None), 61)).await,
        closed(Some(60), 61, 1)
    );
    assert_eq!(balance(&ledger, cap).await, (61, 0));
}

#[tokio::test]
async fn a_purse_in_debt_or_exactly_spent_refuses_also_a_call_that_costs_nothing() {
    let home = Home::new();
    let ledger = home.open();
    for (jti, spent, limit) in [("even", 10, 10), ("debt", 12, 10), ("empty", 0, 0)] {
        close(&ledger, charge(entry(call(), Some(jti)), spent)).await;
        let refused = hold(&ledger, call(), (of_token(jti), limit), 0).await;
        assert!(matches!(refused, Err(HoldError::Spent(_))), "{jti}: {refused:?}");
    }
}

#[tokio::test]
async fn amounts_as_large_as_can_be_neither_overflow_nor_lock_the_ledger() {
    let home = Home::new();
    let ledger = home.open();
    let most = i64::MAX;
    let cap = everybody(Span::Total);
    let first = call();
    hold(&ledger, first, (cap.clone(), most), most).await.unwrap();
    close(&ledger, charge(entry(first, Some("a")), most)).await;
    close(&ledger, charge(entry(call(), Some("a")), most)).await;
    assert_eq!(balance(&ledger, cap.clone()).await, (most, 0));
    assert_eq!(balance(&ledger, of_token("a")).await, (most, 0));
    assert_eq!(
        balance(&ledger, everybody(Span::Day(NOW - DAY / 2))).await,
        (most, 0)
    );
    let refused = hold(&ledger, call(), (cap, most), 1).await;
    assert!(matches!(refused, Err(HoldError::Spent(_))), "{refused:?}");
}

#[tokio::test]
async fn a_cap_that_comes_later_counts_what_was_spent_since_its_span_began() {
    let home = Home::new();
    let ledger = home.open();
    let at = |time, name: &str, cost| {
        let mut entry = entry(call(), None);
        (entry.at, entry.key) = (time, key(name));
        charge(entry, cost)
    };
    let (today, month) = (NOW - DAY / 2, NOW - DAY / 2);
    let yesterday = today - DAY;
    let last_month = yesterday - 29 * DAY;
    for settlement in [
        at(today, "auto", 1),
        at(NOW, "other", 10),
        at(today - Duration::from_millis(1), "auto", 100),
        at(today + 3 * DAY, "auto", 1000),
    ] {
        close(&ledger, settlement).await;
    }
    let table = [
        (everybody(Span::Day(today)), 11),
        (everybody(Span::Day(yesterday)), 100),
        (everybody(Span::Month(month)), 1011),
        (everybody(Span::Month(last_month)), 100),
        (everybody(Span::Total), 1111),
        (of_key("auto", Span::Day(today)), 1),
        (of_key("auto", Span::Total), 1101),
        (of_key("other", Span::Month(month)), 10),
        (of_key("third", Span::Total), 0),
    ];
    for (purse, spent) in &table {
        assert_eq!(balance(&ledger, purse.clone()).await, (*spent, 0), "{purse:?}");
        hold(&ledger, call(), (purse.clone(), 5000), 1).await.unwrap();
        assert_eq!(balance(&ledger, purse.clone()).await, (*spent, 1), "{purse:?}");
    }
}

#[tokio::test]
async fn accounts_keys_and_tokens_of_one_name_have_purses_of_their_own() {
    let home = Home::new();
    let ledger = home.open();
    let elsewhere = Purse {
        account: other_account(),
        share: Share::Token(token("a")),
    };
    let all = [
        of_token("a"),
        elsewhere,
        of_key("jti:a", Span::Total),
        of_key("a", Span::Total),
        everybody(Span::Total),
        everybody(Span::Day(NOW)),
        everybody(Span::Month(NOW)),
    ];
    for (amount, purse) in (1..).zip(&all) {
        hold(&ledger, call(), (purse.clone(), 100), amount).await.unwrap();
    }
    for (amount, purse) in (1..).zip(&all) {
        assert_eq!(balance(&ledger, purse.clone()).await, (0, amount), "{purse:?}");
    }
}
