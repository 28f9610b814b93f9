//! A disk that can be filled.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A small file system in memory; gone with the value.
pub struct Small(TempDir);

impl Small {
    /// `size` as the system reads it, such as `4m`. None where the system lets us mount nothing.
    pub fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        crate::skipped("a full disk, since nothing can be mounted here");
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.0.path().join("filler")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while io::Write::write_all(&mut filler, &vec![0; size]).is_ok() {}
        }
    }

    /// Takes all room but so many bytes.
    pub fn fill_but(&self, left: u64) {
        self.fill();
        let filler = fs::File::options()
            .write(true)
            .open(self.0.path().join("filler"))
            .unwrap();
        let len = filler.metadata().unwrap().len();
        filler.set_len(len - left).unwrap();
    }

    /// Gives it back.
    pub fn clear(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}
