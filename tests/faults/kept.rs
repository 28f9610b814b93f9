//! A file as its processes see it, and as it would outlast a power cut.

use crate::Dice;

/// The piece that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What becomes of writes that were not synced when the power is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// None of them is there.
    Forget,
    /// Some of their sectors are there, whichever.
    Tear(usize),
}

/// A file of the disk.
#[derive(Default)]
pub struct File {
    pub data: Vec<u8>,
    /// As the last sync left it.
    pub kept: Vec<u8>,
    /// What came after it.
    since: Vec<Change>,
}

/// A change of a file's content.
pub enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl File {
    /// A file that is on the disk already.
    pub fn synced(data: Vec<u8>) -> Self {
        Self {
            kept: data.clone(),
            data,
            since: Vec::new(),
        }
    }

    pub fn change(&mut self, change: Change) {
        change.apply(&mut self.data, |_| true);
        self.since.push(change);
    }

    pub fn sync(&mut self) {
        for change in self.since.drain(..) {
            change.apply(&mut self.kept, |_| true);
        }
    }

    /// A sync that fails: the system does not try these writes again, though whoever reads sees them.
    pub fn fail_sync(&mut self) {
        self.since.clear();
    }

    /// Lets chance decide about what was not synced.
    pub fn settle(&mut self, cut: Cut) {
        let Cut::Tear(seed) = cut else {
            return;
        };
        let mut dice = Dice::new(seed);
        for change in self.since.drain(..) {
            change.apply(&mut self.kept, |_| dice.below(2) == 0);
        }
    }
}

impl Change {
    /// Makes the change, as far as each sector `is_kept`.
    fn apply(&self, data: &mut Vec<u8>, mut is_kept: impl FnMut(usize) -> bool) {
        match self {
            Self::Write(offset, bytes) => {
                for (sector, piece) in bytes.chunks(SECTOR).enumerate() {
                    if is_kept(sector) {
                        let begin = offset + sector * SECTOR;
                        let end = begin + piece.len();
                        if data.len() < end {
                            data.resize(end, 0);
                        }
                        data[begin..end].copy_from_slice(piece);
                    }
                }
            }
            Self::Resize(len) => {
                if is_kept(0) {
                    data.resize(*len, 0);
                }
            }
        }
    }
}
