//! What a new process finds: holds that stay held until somebody recovers them, and everything that was spent.

use super::*;

#[tokio::test]
async fn a_restart_keeps_holds_and_charges_until_they_are_recovered() {
    let home = Home::new();
    let (done, open, cap) = (call(), call(), everybody(Span::Total));
    let purses = [(of_token("a"), 100), (cap.clone(), 100)];
    {
        let ledger = home.open();
        for call in [done, open] {
            ledger
                .hold(order(entry(call, Some("a")), &purses, 30, 30))
                .await
                .unwrap();
        }
        close(&ledger, charge(entry(done, Some("a")), 20)).await;
        ledger.close().unwrap();
    }
    {
        let ledger = home.open();
        for (purse, _) in &purses {
            assert_eq!(balance(&ledger, purse.clone()).await, (20, 30));
        }
        let recovered = ledger.recover(CallId::from_bytes([9; 16]), NOW).await.unwrap();
        assert_eq!(recovered.len(), 1);
    }
    let ledger = home.open();
    for (purse, _) in &purses {
        assert_eq!(balance(&ledger, purse.clone()).await, (50, 0));
    }
    assert_eq!(
        close(&ledger, charge(entry(open, Some("a")), 5)).await,
        closed(None, 0, 0)
    );
    assert_eq!(
        close(&ledger, charge(entry(done, Some("a")), 5)).await,
        closed(None, 0, 0)
    );
}

#[tokio::test]
async fn a_hold_whose_asker_has_gone_is_settled_by_closing_it() {
    let home = Home::new();
    let ledger = home.open();
    let call = call();
    let hold = ledger.hold(order(entry(call, Some("a")), &[(of_token("a"), 100)], 30, 30));
    // Handed over at the first look at it, and never looked at again.
    drop(futures_util::FutureExt::now_or_never(hold));
    assert_eq!(
        close(&ledger, Settlement::Release(call)).await,
        closed(Some(30), 0, 0)
    );
    assert_eq!(balance(&ledger, of_token("a")).await, (0, 0));
}

#[tokio::test]
async fn a_second_hold_for_a_call_is_an_error_that_is_counted_and_takes_nothing() {
    let home = Home::new();
    let metrics = super::super::metrics();
    let master = tidegate::store::MasterKeys::parse(&[super::super::MASTER_KEY.into()]).unwrap();
    let ledger = Sqlite::open(&home.path(), master, metrics.clone()).unwrap();
    hold(&ledger, call(), (of_token("a"), 100), 30).await.unwrap();
    let again = order(entry(call(), None), &[(of_token("a"), 100)], 30, 30);
    ledger.hold(again.clone()).await.unwrap();
    // One call has one hold.
    let refused = ledger.hold(again).await;
    assert!(matches!(refused, Err(HoldError::Ledger(_))), "{refused:?}");
    assert_eq!(balance(&ledger, of_token("a")).await, (0, 60));
    let text = metrics.render().unwrap();
    assert!(text.contains("\ntidegate_ledger_errors_total 1\n"), "{text}");
    assert!(text.contains("\ntidegate_ledger_commit_seconds_count "), "{text}");
}
