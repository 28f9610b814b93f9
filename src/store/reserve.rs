//! The end of the disk, which is kept for what must be written: jobs stop before calls can't be settled any more.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;

/// How much of a disk is kept, in bytes, or a twentieth of a small one.
const RESERVE: u64 = 256 * 1024 * 1024;

/// Checks that `len` more bytes leave the reserve of the disk on which `folder` is. A file system that does not tell its
/// size has room. Blocks while it works.
///
/// # Errors
/// They do not, or the system refuses to tell.
pub(super) fn spare(folder: &Path, len: u64) -> io::Result<()> {
    let disk = statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let (size, free) = (bytes(disk.f_blocks), bytes(disk.f_bavail));
    let kept = RESERVE.min(size / 20);
    if size > 0 && free < len.saturating_add(kept) {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "the disk is nearly full",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        spare(folder.path(), 0).unwrap();
        let refused = spare(folder.path(), u64::MAX).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(spare(&folder.path().join("not there"), 0).is_err());
    }
}
