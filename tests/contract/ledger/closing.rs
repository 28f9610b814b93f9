//! The ends of calls: each counts once, in whatever order they come.

use super::*;

#[tokio::test]
async fn a_call_is_charged_once_however_often_it_is_closed() {
    let home = Home::new();
    let ledger = home.open();
    let purse = of_token("a");
    let (first, second) = (call(), call());
    for call in [first, second] {
        hold(&ledger, call, (purse.clone(), 100), 30).await.unwrap();
    }
    let charge = || charge(entry(first, Some("a")), 20);
    let both = close_all(&ledger, vec![charge(), charge()]).await;
    assert_eq!(both, [closed(Some(30), 20, 0), closed(None, 0, 0)]);
    for again in [charge(), Settlement::Release(first)] {
        assert_eq!(close(&ledger, again).await, closed(None, 0, 0));
    }
    assert_eq!(balance(&ledger, purse).await, (20, 30));
}

#[tokio::test]
async fn a_release_gives_back_what_is_held_and_nothing_more() {
    let home = Home::new();
    let ledger = home.open();
    let purse = of_token("a");
    let call = call();
    hold(&ledger, call, (purse.clone(), 100), 30).await.unwrap();
    for held in [Some(30), None] {
        let done = close(&ledger, Settlement::Release(call)).await;
        assert_eq!(done, closed(held, 0, 0));
        assert_eq!(balance(&ledger, purse.clone()).await, (0, 0));
    }
}

#[tokio::test]
async fn a_call_without_a_hold_counts_once_in_its_tokens_purse() {
    let home = Home::new();
    let ledger = home.open();
    let unknown = call();
    assert_eq!(
        close(&ledger, Settlement::Release(unknown)).await,
        closed(None, 0, 0)
    );
    for (charged, spent) in [(20, 20), (0, 20)] {
        let done = close(&ledger, charge(entry(unknown, Some("a")), 20)).await;
        assert_eq!(done, closed(None, charged, 0));
        assert_eq!(balance(&ledger, of_token("a")).await, (spent, 0));
    }
    // As the answers to a hold and to the end of its call may overtake each other: what it holds goes back.
    hold(&ledger, unknown, (of_token("a"), 100), 30).await.unwrap();
    let done = close(&ledger, charge(entry(unknown, Some("a")), 20)).await;
    assert_eq!(done, closed(Some(30), 0, 0));
    assert_eq!(balance(&ledger, of_token("a")).await, (20, 0));
}

#[tokio::test]
async fn a_tokens_purse_is_charged_also_where_another_purse_holds() {
    let home = Home::new();
    let ledger = home.open();
    let cap = everybody(Span::Total);
    for (spent, jti) in [(20, "a"), (40, "a"), (20, "b")] {
        let call = call();
        hold(&ledger, call, (cap.clone(), 100), 20).await.unwrap();
        close(&ledger, charge(entry(call, Some(jti)), 20)).await;
        assert_eq!(balance(&ledger, of_token(jti)).await, (spent, 0));
    }
    assert_eq!(balance(&ledger, cap).await, (60, 0));
}

#[tokio::test]
async fn a_cap_counts_also_calls_that_began_before_it_was_set() {
    let home = Home::new();
    let ledger = home.open();
    let cap = everybody(Span::Month(NOW - DAY / 2));
    let early = call();
    hold(&ledger, early, (of_token("a"), 100), 20).await.unwrap();
    hold(&ledger, call(), (cap.clone(), 100), 5).await.unwrap();
    close(&ledger, charge(entry(early, Some("a")), 20)).await;
    assert_eq!(balance(&ledger, cap).await, (20, 5));
    assert_eq!(balance(&ledger, of_token("a")).await, (20, 0));
}

#[tokio::test]
async fn a_hold_of_a_day_pays_in_that_day_whenever_the_call_ends() {
    let home = Home::new();
    let ledger = home.open();
    let (other_day, cap) = (
        everybody(Span::Day(NOW + DAY / 2)),
        everybody(Span::Day(NOW - DAY / 2)),
    );
    let call = call();
    hold(&ledger, call, (other_day.clone(), 100), 20).await.unwrap();
    close(&ledger, charge(entry(call, None), 15)).await;
    assert_eq!(balance(&ledger, other_day).await, (15, 0));
    assert_eq!(balance(&ledger, cap).await, (15, 0));
}

#[tokio::test]
async fn what_goes_beyond_the_limits_is_told_once() {
    let home = Home::new();
    let ledger = home.open();
    let (token, cap) = (of_token("a"), everybody(Span::Total));
    for (cost, overspent) in [(80, 0), (50, 30), (10, 10)] {
        let call = call();
        let purses = [(token.clone(), 100), (cap.clone(), 120)];
        let held = ledger.hold(order(entry(call, Some("a")), &purses, 1, 1)).await;
        if held.is_ok() {
            assert_eq!(
                close(&ledger, charge(entry(call, Some("a")), cost))
                    .await
                    .overspent,
                nanos(overspent)
            );
        } else {
            // In debt by now; a larger limit lets calls in again.
            let purses = [(token.clone(), 1000), (cap.clone(), 131)];
            ledger
                .hold(order(entry(call, Some("a")), &purses, 1, 1))
                .await
                .unwrap();
            assert_eq!(
                close(&ledger, charge(entry(call, Some("a")), cost))
                    .await
                    .overspent,
                nanos(9)
            );
        }
    }
}

#[tokio::test]
async fn what_others_hold_and_what_is_held_too_long_is_charged() {
    let home = Home::new();
    let ledger = home.open();
    let cap = everybody(Span::Total);
    let mut orders = Vec::new();
    for (number, (by, at)) in (0_u8..).zip([
        (owner(), NOW),
        (owner(), NOW - DAY),
        (CallId::from_bytes([2; 16]), NOW),
        (CallId::from_bytes([3; 16]), NOW),
    ]) {
        let mut entry = entry(CallId::from_bytes([number; 16]), Some("a"));
        entry.at = at;
        let mut order = order(entry, &[(of_token("a"), 1000), (cap.clone(), 1000)], 10, 10);
        order.owner = by;
        ledger.hold(order.clone()).await.unwrap();
        orders.push(order);
    }
    let recovered = ledger.recover(owner(), NOW).await.unwrap();
    assert_eq!(recovered.len(), 3);
    for call in &recovered {
        assert_eq!((&call.account, &call.key), (&account(), &key("auto")));
        assert_eq!(call.model.as_ref().unwrap().as_str(), "acme/m");
        assert_eq!(call.amount, nanos(10));
    }
    for purse in [of_token("a"), cap] {
        assert_eq!(balance(&ledger, purse).await, (30, 10));
    }
    assert_eq!(ledger.recover(owner(), NOW).await.unwrap(), []);
    // Whoever was thought dead and is not comes too late.
    let late = charge(orders[2].entry.clone(), 7);
    assert_eq!(close(&ledger, late).await, closed(None, 0, 0));
    assert_eq!(balance(&ledger, of_token("a")).await, (30, 10));
}

#[tokio::test]
async fn calls_whose_names_end_alike_are_charged_each_and_once() {
    let home = Home::new();
    let ledger = home.open();
    let alike: Vec<_> = (1..=3)
        .map(|first| {
            let mut bytes = [9; 16];
            bytes[0] = first;
            CallId::from_bytes(bytes)
        })
        .collect();
    for charged in [20, 0] {
        let charges = alike.iter().map(|call| charge(entry(*call, Some("a")), 20));
        let done = close_all(&ledger, charges.collect()).await;
        assert_eq!(done, [closed(None, charged, 0); 3]);
    }
    // Of one that is left open the row is found as well.
    for (last, recovered) in [(3, 0), (4, 1)] {
        let mut bytes = [9; 16];
        bytes[0] = last;
        hold(&ledger, CallId::from_bytes(bytes), (of_token("a"), 100), 20)
            .await
            .unwrap();
        let left = ledger.recover(call(), Duration::ZERO).await.unwrap();
        assert_eq!(left.len(), recovered);
    }
    assert_eq!(balance(&ledger, of_token("a")).await, (80, 0));
}

#[tokio::test]
async fn a_hold_that_nobody_looks_for_is_given_back_with_the_holds_that_are_left() {
    let home = Home::new();
    let ledger = home.open();
    let call = call();
    hold(&ledger, call, (of_token("a"), 100), 30).await.unwrap();
    let Settlement::Charge(mut row) = charge(entry(call, Some("a")), 20) else {
        unreachable!()
    };
    Arc::make_mut(&mut row).may_hold = false;
    for charged in [20, 0] {
        let done = close(&ledger, Settlement::Charge(Arc::clone(&row))).await;
        assert_eq!(done, closed(None, charged, 0));
        assert_eq!(balance(&ledger, of_token("a")).await, (20, 30));
    }
    assert_eq!(ledger.recover(owner(), NOW + DAY).await.unwrap(), []);
    assert_eq!(balance(&ledger, of_token("a")).await, (20, 0));
}

#[tokio::test]
async fn every_cap_of_the_account_and_the_key_counts_from_the_call_after_it_was_met() {
    let home = Home::new();
    let ledger = home.open();
    let caps = [
        everybody(Span::Total),
        everybody(Span::Day(NOW - DAY / 2)),
        purse(Share::Key(key("auto"), Span::Total)),
        purse(Share::Key(key("auto"), Span::Day(NOW - DAY / 2))),
    ];
    let mut spent = 0;
    for met in 0..=caps.len() {
        for _ in 0..2 {
            close(&ledger, charge(entry(call(), None), 10)).await;
            spent += 10;
            for cap in &caps {
                assert_eq!(balance(&ledger, cap.clone()).await, (spent, 0));
            }
        }
        if let Some(cap) = caps.get(met) {
            let held = call();
            hold(&ledger, held, (cap.clone(), 1000), 1).await.unwrap();
            close(&ledger, Settlement::Release(held)).await;
        }
    }
}
