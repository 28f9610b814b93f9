//! Another master key: the old one is needed until all was sealed anew.

use secrecy::{ExposeSecret, SecretString};
use tidegate::queue::Part;
use tidegate::store::{MasterKeys, OpenError};

use super::*;

/// Master keys that are told apart by a byte.
fn try_open(home: &Home, keys: &[u8]) -> Result<Sqlite, OpenError> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let text = |byte: &u8| SecretString::from(STANDARD.encode([*byte; 32]));
    let master = MasterKeys::parse(&keys.iter().map(text).collect::<Vec<_>>()).unwrap();
    Sqlite::open(&home.path(), master, crate::metrics())
}

async fn reseal(queue: &Sqlite) -> u64 {
    let mut all = 0;
    loop {
        match queue.reseal().await.unwrap() {
            0 => return all,
            some => all += some,
        }
    }
}

#[tokio::test]
async fn what_an_older_key_sealed_is_sealed_anew_while_the_work_goes_on() {
    let home = Home::new();
    let queue = try_open(&home, &[1]).unwrap();
    for _ in 0..20 {
        put(&queue, job()).await;
    }
    let large = Bytes::from(vec![7; 150_000]);
    let mut new = job_of("di:2", "acme/m");
    let body = Body::full(large.clone());
    let stash = queue.stash(&new.id, Part::Request, body, 150_000).await.unwrap();
    new.body = Content::Stashed(stash);
    put(&queue, new).await;
    let secret = queue.secrets(account("di:1"), NOW).await.unwrap();
    assert_eq!(queue.reseal().await.unwrap(), 0);
    queue.close().unwrap();

    let queue = try_open(&home, &[2, 1]).unwrap();
    let mut old = claim(&queue, wanted(Phase::Run, 4)).await.claimed;
    queue.close().unwrap();
    // Too early: nothing but the first key is given, and jobs need the other.
    let early = try_open(&home, &[2]).unwrap_err();
    assert!(matches!(early, OpenError::WrongMasterKey), "{early}");

    let queue = try_open(&home, &[2, 1]).unwrap();
    let mut files = home.files();
    let before = files.remove(0);
    assert_eq!(reseal(&queue).await, 21 * 3 + 1);
    assert_eq!(home.files().len(), 1);
    assert_ne!(home.files()[0], before);
    old.extend(claim(&queue, wanted(Phase::Run, 100)).await.claimed);
    assert_eq!(old.len(), 21);
    queue.close().unwrap();

    let queue = try_open(&home, &[2]).unwrap();
    queue.take_over(owner(9), None, NOW).await.unwrap();
    let mut lens = Vec::new();
    for claimed in claim(&queue, wanted(Phase::Run, 100)).await.claimed {
        lens.push(content(claimed.task).await.len());
    }
    lens.sort_unstable();
    assert_eq!((lens.len(), lens.last()), (21, Some(&150_000)));
    let again = queue.secrets(account("di:1"), NOW).await.unwrap();
    assert_eq!(again.first.expose_secret(), secret.first.expose_secret());
}

#[tokio::test]
async fn a_content_that_is_damaged_does_not_hold_up_the_others() {
    let home = Home::new();
    let queue = try_open(&home, &[1]).unwrap();
    let (bad, good) = (put(&queue, job()).await, put(&queue, job()).await);
    queue.close().unwrap();
    let raw = rusqlite::Connection::open(home.path()).unwrap();
    raw.execute_batch("UPDATE contents SET sealed = zeroblob(length(sealed)) WHERE id = 4 + 2")
        .unwrap();
    drop(raw);
    let queue = try_open(&home, &[2, 1]).unwrap();
    assert_eq!(reseal(&queue).await, 6);
    for claimed in claim(&queue, wanted(Phase::Run, 10)).await.claimed {
        let is_damaged = matches!(claimed.task, Task::Damaged);
        assert_eq!(
            claimed.job.id,
            if is_damaged { bad.clone() } else { good.clone() }
        );
    }
}
