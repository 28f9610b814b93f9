//! What becomes of the money when the process is killed, the power fails or the disk is in trouble: the real binary in
//! front of a simulated upstream, whose bills are held against the gate's books.

mod books;
#[path = "../it/support/client.rs"]
#[expect(dead_code, reason = "the tests of the wire need more of it")]
mod client;
mod disk;
mod errors;
mod gate;
mod jobs;
mod kept;
mod killed;
mod load;
mod points;
mod power;
mod served;
mod small;
mod struck;
mod terminated;
mod trap;
mod trouble;
mod upstream;

use std::env;
use std::time::Duration;

/// How long a test waits for what must happen; far above what it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to do it: as often as asked for, else `usual`.
fn rounds(usual: usize) -> usize {
    env::var("TIDEGATE_TEST_ROUNDS").map_or(usual, |rounds| rounds.parse().expect("a number"))
}

/// As many numbers from 1 to `last` as asked for, else `usual`, evenly spread; the last is among them.
fn spread(last: usize, usual: usize) -> impl Iterator<Item = usize> {
    let count = rounds(usual).clamp(1, last);
    (1..=count).map(move |place| place * last / count)
}

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    fn new(seed: usize) -> Self {
        Self(0x2545_f491_4f6c_dd1d ^ (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// Says that a test could not be made here, and why.
fn skipped(what: &str) {
    eprintln!("SKIPPED: {what}");
}
