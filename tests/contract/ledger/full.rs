//! A disk that is full: calls with a limit are refused, nothing is lost, and with room again all goes on.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// A small file system in memory; gone with the value.
struct Disk(TempDir);

impl Disk {
    /// None where the system lets us mount nothing.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(dir.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_and_room_again_is_enough() {
    let Some(disk) = Disk::mount() else {
        println!("SKIPPED: a full disk, since nothing can be mounted here");
        return;
    };
    let ledger = open(&disk.path().join("tidegate.db"));
    let cap = everybody(Span::Total);
    hold(&ledger, call(), (cap.clone(), i64::MAX), 1).await.unwrap();
    // All that is left.
    fs::write(disk.path().join("other"), vec![0; 1 << 20]).unwrap_err();
    let (mut spent, mut refused, mut first_refused) = (0, 0, None);
    for _ in 0..2000 {
        let call = call();
        let settlement = || charge(entry(call, Some("a")), 1);
        match Ledger::close(&ledger, vec![settlement()]).await {
            Ok(_) => spent += 1,
            Err(_) => {
                refused += 1;
                first_refused.get_or_insert(call);
            }
        }
        if refused == 50 {
            break;
        }
    }
    assert_eq!(refused, 50, "the disk was never full");
    let no_hold = hold(&ledger, call(), (cap.clone(), i64::MAX), 1).await;
    assert!(matches!(no_hold, Err(HoldError::Ledger(_))), "{no_hold:?}");

    fs::remove_file(disk.path().join("other")).unwrap();
    let again = charge(entry(first_refused.unwrap(), Some("a")), 1);
    assert_eq!(close(&ledger, again.clone()).await, closed(None, 1, 0));
    assert_eq!(close(&ledger, again).await, closed(None, 0, 0));
    spent += 1;
    hold(&ledger, call(), (cap.clone(), i64::MAX), 1).await.unwrap();
    assert_eq!(balance(&ledger, of_token("a")).await, (spent, 0));
    ledger.close().unwrap();
    let ledger = open(&disk.path().join("tidegate.db"));
    assert_eq!(balance(&ledger, of_token("a")).await, (spent, 0));
    assert_eq!(balance(&ledger, cap).await, (spent, 2));
}
