//! Files and folders that only their owner may read, and that outlast a crash.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder and those above it, with mode 0700, where they are missing; what was made outlasts a crash. A folder that
/// is there may have been made just before one.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder
        .ancestors()
        .skip(1)
        .take_while(|above| !above.exists())
        .collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    missing.into_iter().try_for_each(sync_parent)?;
    match sync_parent(folder) {
        // Whoever may not look into the folder above has not made this one.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Opens a file for writing, and makes an empty one with mode 0600 where there is none.
pub(super) fn open_or_make(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Makes the name of a file that was just made outlast a crash.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// The folder that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
