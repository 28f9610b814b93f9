//! The files that one reading of a configuration read, so that a change of any of them can be noticed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::types::sha256;

/// The files of one reading and what stood in them: a digest of each one's contents.
///
/// Contents are compared and not times: Kubernetes swaps a symbolic link, and tools that copy keep old times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Contents>);

/// What stood in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contents {
    /// How much of the file is looked at, in bytes.
    limit: u64,
    /// SHA-256 of that much; none when it could not be read.
    digest: Option<[u8; 32]>,
}

impl Files {
    /// Reads the same files again, as they stand now. Does blocking I/O.
    pub fn look(&self) -> Self {
        let mut now = Self::default();
        for (path, contents) in &self.0 {
            // What can't be read is noted as such.
            now.read(path, contents.limit).ok();
        }
        now
    }

    /// Reads at most `limit` bytes of a file and notes what stood there.
    pub(super) fn read(&mut self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        let digest = read.is_ok().then(|| sha256(&bytes));
        self.0.insert(path.to_owned(), Contents { limit, digest });
        read.map(|_| bytes)
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_change_is_one_of_contents_and_not_of_times() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        std::fs::write(&one, "first").unwrap();
        let mut files = Files::default();
        assert_eq!(files.read(&one, 100).unwrap(), b"first");
        assert!(files.read(&other, 100).is_err());
        assert_eq!(files.look(), files);

        let times = std::fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        let open = File::options().write(true).open(&one).unwrap();
        open.set_times(times).unwrap();
        assert_eq!(files.look(), files, "only its time is another");
        std::fs::write(&one, "again").unwrap();
        open.set_times(times).unwrap();
        assert_ne!(files.look(), files, "its time is the same");

        std::fs::write(&one, "first").unwrap();
        assert_eq!(files.look(), files);
        std::fs::write(&other, "").unwrap();
        assert_ne!(files.look(), files, "a file that was missing has come");
        std::fs::remove_file(&other).unwrap();
        std::fs::remove_file(&one).unwrap();
        assert_ne!(files.look(), files, "a file has gone");
    }

    #[test]
    fn a_swapped_symbolic_link_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let (link, next) = (dir.path().join("link"), dir.path().join("next"));
        for name in ["v1", "v2"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("v1", &link).unwrap();
        let mut files = Files::default();
        files.read(&link, 100).unwrap();
        std::os::unix::fs::symlink("v2", &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
        assert_ne!(files.look(), files);
    }
}
