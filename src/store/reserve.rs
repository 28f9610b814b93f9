//! The end of the disk, which is kept for what must be written: jobs stop before calls can't be settled any more.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;

/// How much of a disk is kept, in bytes, or a twentieth of a small one.
const RESERVE: u64 = 256 * 1024 * 1024;

/// Checks that `len` more bytes leave the reserve of the disk on which `folder` is. Blocks while it works.
///
/// # Errors
/// They do not, or the system refuses to tell.
pub(super) fn check(folder: &Path, len: u64) -> io::Result<()> {
    let disk = statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    if has_room(bytes(disk.f_blocks), bytes(disk.f_bavail), len) {
        return Ok(());
    }
    let full = "the disk is nearly full";
    Err(io::Error::new(io::ErrorKind::StorageFull, full))
}

/// Whether so many of the `free` bytes can be used. A file system that does not tell its size has room.
fn has_room(size: u64, free: u64, len: u64) -> bool {
    size == 0 || free >= len.saturating_add(RESERVE.min(size / 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_of_a_large_disk_is_fixed_and_that_of_a_small_one_a_part() {
        const TIB: u64 = 1 << 40;
        for (size, free, len, room) in [
            (TIB, RESERVE, 0, true),
            (TIB, RESERVE - 1, 0, false),
            (TIB, RESERVE, 1, false),
            (TIB, RESERVE + 9, 9, true),
            (TIB, TIB, u64::MAX, false),
            (2000, 100, 0, true),
            (2000, 99, 0, false),
            (0, 0, 0, true),
        ] {
            assert_eq!(has_room(size, free, len), room, "{size} {free} {len}");
        }
    }

    #[test]
    fn a_disk_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let refused = check(folder.path(), u64::MAX).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(check(&folder.path().join("not there"), 0).is_err());
    }
}
