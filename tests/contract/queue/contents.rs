//! Contents in files: whole or an error, sealed, and gone with their jobs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tidegate::queue::{Death, Part, QueueError, Stash};

use super::*;

/// More than three chunks.
fn large() -> Bytes {
    b"canary-large "
        .iter()
        .copied()
        .cycle()
        .take(200_000)
        .collect::<Vec<_>>()
        .into()
}

async fn stash(queue: &Sqlite, job: &JobId, part: Part, bytes: Bytes) -> Stash {
    let pieces = bytes
        .chunks(10_001)
        .map(Bytes::copy_from_slice)
        .collect::<Vec<_>>();
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(piece)));
    let body = Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(
        frames,
    )));
    let stash = queue
        .stash(job, part, body, u64::try_from(bytes.len()).unwrap())
        .await
        .unwrap();
    assert_eq!(stash.len, u64::try_from(bytes.len()).unwrap());
    stash
}

async fn put_large(queue: &Sqlite) -> JobId {
    let mut new = job();
    new.body = Content::Stashed(stash(queue, &new.id, Part::Request, large()).await);
    put(queue, new).await
}

async fn run_large(queue: &Sqlite) {
    let claimed = claim_one(queue, Phase::Run).await;
    let stash = stash(queue, &claimed.job.id, Part::Result, large()).await;
    let ran = Ran {
        result: Content::Stashed(stash),
        ..result(true, None)
    };
    assert!(queue.ran(claimed.lease, ran).await.unwrap());
}

/// Files are removed on another thread.
async fn assert_files(home: &Home, count: usize) {
    for _ in 0..1000 {
        if home.files().len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", home.files());
}

#[tokio::test]
async fn a_large_content_is_in_a_file_until_its_job_needs_it_no_more() {
    let home = Home::new();
    let queue = home.open();
    put_large(&queue).await;
    let files = home.files();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let folder = files[0].parent().unwrap().metadata().unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let claimed = claim_one(&queue, Phase::Run).await;
    assert_eq!(content(claimed.task).await, large());
    put_back(&queue, claimed.lease, again(NOW, SECOND, None)).await;
    run_large(&queue).await;
    assert_files(&home, 1).await;
    assert_ne!(home.files(), files);
    queue.close().unwrap();
    let queue = home.open();
    let claimed = claim_one(&queue, Phase::Deliver).await;
    assert_eq!(content(claimed.task).await, large());
    assert!(
        queue
            .delivered(claimed.lease, attempt(Phase::Deliver))
            .await
            .unwrap()
    );
    assert_files(&home, 0).await;
}

#[tokio::test]
async fn a_stash_that_no_job_keeps_is_removed() {
    let home = Home::new();
    let queue = home.open();
    let id = new_id();
    drop(stash(&queue, &id, Part::Request, large()).await);
    assert_files(&home, 0).await;
    let refused = queue
        .stash(&id, Part::Request, Body::full(large()), 199_999)
        .await;
    assert_eq!(refused.unwrap_err(), QueueError::TooLong { limit: 199_999 });
    assert_files(&home, 0).await;
    // The lease is lost, the job is refused.
    let id = put_large(&queue).await;
    let claimed = claim_one(&queue, Phase::Run).await;
    queue.cancel(id.clone(), NOW).await.unwrap();
    let late = Ran {
        result: Content::Stashed(stash(&queue, &id, Part::Result, large()).await),
        ..result(true, None)
    };
    assert!(!queue.ran(claimed.lease, late).await.unwrap());
    assert_files(&home, 1).await;
    let mut full = job();
    full.max_queued = 0;
    full.body = Content::Stashed(stash(&queue, &full.id, Part::Request, large()).await);
    assert!(
        queue
            .put(PutJob {
                job: full,
                order: None
            })
            .await
            .is_err()
    );
    assert_files(&home, 1).await;
    queue.forget(NOW, NOW + SECOND, NOW).await.unwrap();
    assert_files(&home, 0).await;
}

#[tokio::test]
async fn a_file_of_no_job_is_swept_and_one_that_is_being_written_is_not() {
    let home = Home::new();
    let queue = home.open();
    put_large(&queue).await;
    let kept = stash(&queue, &new_id(), Part::Request, large()).await;
    let orphan = home.files()[0].with_file_name(format!("{}.request-0123456789abcdef", new_id()));
    let foreign = orphan.with_file_name("notes");
    for path in [&orphan, &foreign] {
        fs::write(path, "x").unwrap();
    }
    assert_eq!(queue.forget(NOW, NOW, NOW).await.unwrap(), 1);
    assert_eq!(home.files().len(), 3);
    assert!(!orphan.exists() && foreign.exists());
    kept.keep();
    fs::write(&orphan, "x").unwrap();
    queue.close().unwrap();
    drop(home.open());
    assert_eq!(home.files().len(), 2);
}

/// What a reader makes of a file that somebody has changed: none, or an error at its end.
async fn reads(queue: &Sqlite) -> Result<(), &'static str> {
    let claimed = claim_one(queue, Phase::Run).await;
    let outcome = match claimed.task {
        Task::Run { body, .. } => match body.collect().await {
            Ok(read) => {
                assert_eq!(read.to_bytes(), large());
                Ok(())
            }
            Err(_error) => Err("broke off"),
        },
        Task::Damaged => Err("damaged"),
        Task::Deliver { .. } => panic!("nothing to deliver"),
    };
    put_back(queue, claimed.lease, again(NOW, SECOND, None)).await;
    outcome
}

#[tokio::test]
async fn a_file_that_was_changed_is_an_error() {
    const CHUNK: usize = 64 * 1024 + 37;
    let home = Home::new();
    let queue = home.open();
    put_large(&queue).await;
    let path = home.files().remove(0);
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[CHUNK + 100] ^= 1;
    let mut swapped = good.clone();
    swapped.copy_within(CHUNK..2 * CHUNK, 0);
    swapped[CHUNK..2 * CHUNK].copy_from_slice(&good[..CHUNK]);
    for (what, bytes, expected) in [
        ("flipped", flipped, "broke off"),
        ("swapped", swapped, "broke off"),
        ("cut", good[..good.len() - 1].to_vec(), "damaged"),
        ("cut at a chunk", good[..2 * CHUNK].to_vec(), "damaged"),
        ("longer", [&good[..], b"x"].concat(), "damaged"),
        ("empty", Vec::new(), "damaged"),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(reads(&queue).await, Err(expected), "{what}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(reads(&queue).await, Err("damaged"));
    fs::write(&path, &good).unwrap();
    assert_eq!(reads(&queue).await, Ok(()));
    // One of another job, whole.
    let id = claim_one(&queue, Phase::Run).await.job.id;
    queue.cancel(id, NOW).await.unwrap();
    put_large(&queue).await;
    let other = home.files().into_iter().find(|file| *file != path).unwrap();
    fs::write(&other, good).unwrap();
    assert_eq!(reads(&queue).await, Err("broke off"));
}

#[tokio::test]
async fn nothing_of_a_call_lies_in_the_clear() {
    let home = Home::new();
    let queue = home.open();
    let secret = queue.secrets(account("di:1"), NOW).await.unwrap();
    put(&queue, job_of("di:2", "acme/m")).await;
    put(&queue, job_of("di:2", "acme/m")).await;
    for _ in 0..2 {
        let mut claims = claim(&queue, wanted(Phase::Run, 1)).await;
        let lease = claims.claimed.remove(0).lease;
        queue.ran(lease, result(true, None)).await.unwrap();
    }
    let mut claims = claim(&queue, wanted(Phase::Deliver, 1)).await;
    let claimed = claims.claimed.remove(0);
    queue
        .died(claimed.lease, attempt(Phase::Deliver), Death::Gone)
        .await
        .unwrap();
    let id = put_large(&queue).await;
    use secrecy::ExposeSecret;
    let secret = secret.first.expose_secret().as_bytes()["whsec_".len()..].to_vec();
    let folder = home.path().parent().unwrap().to_owned();
    let databases = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = false;
    for path in databases.filter(|path| path.is_file()).chain(home.files()) {
        let bytes = fs::read(&path).unwrap();
        let contains = |part: &[u8]| memchr::memmem::find(&bytes, part).is_some();
        assert!(!contains(b"canary"), "{}", path.display());
        assert!(!contains(&secret), "{}", path.display());
        found |= contains(id.as_str().as_bytes());
    }
    assert!(found, "nothing was looked at");
}
