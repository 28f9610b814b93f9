//! The names and lengths of sealed files.

use super::*;

#[test]
fn a_file_is_longer_than_its_content_by_so_much_for_each_chunk() {
    let each = u64::try_from(OVERHEAD).unwrap();
    for (len, chunks) in [
        (0, 1),
        (1, 1),
        (65_536, 1),
        (65_537, 2),
        (131_072, 2),
        (131_073, 3),
    ] {
        assert_eq!(sealed_len(len), len + chunks * each, "{len}");
    }
}

#[test]
fn only_names_of_our_own_are_ours() {
    let job = JobId::new([7; 32]);
    let name = fresh_name(&job, Part::Result).unwrap();
    assert!(is_name(&name) && name.starts_with(&format!("{job}.result-")));
    assert_ne!(name, fresh_name(&job, Part::Result).unwrap());
    for other in ["", "notes", "a.b-0123456789abcdef", &format!("{job}.result")] {
        assert!(!is_name(other), "{other}");
    }
}

#[tokio::test]
async fn contents_of_every_length_are_read_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let master = Arc::new(MasterKeys::generate().unwrap());
    let stashes = Stashes::open(dir.path().join("jobs"), master).unwrap();
    assert!(stashes.names().unwrap().is_empty());
    let job = JobId::new([7; 32]);
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
        let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
        let body = Body::full(bytes.clone());
        let stash = stashes
            .write(&job, Part::Request, body, length(&bytes))
            .await
            .unwrap();
        assert_eq!(stash.len, length(&bytes));
        let copy = stashes.copy(&job, stash.name(), stash.len).unwrap();
        for name in [stash.name(), copy.name()] {
            let read = stashes.read(&job, name, stash.len).unwrap();
            assert_eq!(read.collect().await.unwrap().to_bytes(), bytes, "{len}");
        }
        assert!(
            stashes
                .read(&JobId::new([8; 32]), stash.name(), stash.len)
                .is_ok()
        );
    }
}
