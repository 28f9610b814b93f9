//! A process that is killed: this program once more, where it works on a store and says what it was answered.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the victim finds its store; without it the victim's half of a test does nothing.
const STORE: &str = "TIDEGATE_TEST_KILLED_STORE";

/// Puts what one victim does apart from what the next does.
const ROUND: &str = "TIDEGATE_TEST_KILLED_ROUND";

/// How often to kill, where it is not to be as often as a quick test needs.
const ROUNDS: &str = "TIDEGATE_TEST_ROUNDS";

/// How many victims there are to be, `few` of them if nobody asks for more; with each, the answers after which it is killed:
/// some die with the first ones, most under way.
pub(crate) fn rounds(few: usize, most_answers: usize) -> impl Iterator<Item = (usize, usize)> {
    let rounds = env::var(ROUNDS).map_or(few, |rounds| rounds.parse().unwrap());
    (0..rounds).map(move |round| (round, 1 + round * 37 % most_answers))
}

/// A victim that is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Victim<'a> {
    /// The full name of its half of the test.
    pub(crate) test: &'a str,
    pub(crate) store: &'a Path,
    pub(crate) round: usize,
}

impl Victim<'_> {
    /// Lets it work, and kills it after so many `answers`: the lines of which `take` says that they are.
    pub(crate) fn kill_after(self, answers: usize, mut take: impl FnMut(&str) -> bool) {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", self.test, "--nocapture"])
            .env(STORE, self.store)
            .env(ROUND, self.round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (mut heard, mut line) = (0, String::new());
        while lines.read_line(&mut line).unwrap() > 0 {
            // A line that the kill cut off tells nothing.
            if let Some(line) = line.strip_suffix('\n')
                && take(line)
            {
                heard += 1;
                if heard == answers {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        assert!(!child.wait().unwrap().success(), "the child ended by itself");
        assert!(heard >= answers, "{heard} answers");
    }
}

/// The store and the round of the victim that this process is, if it is one.
pub(crate) fn part() -> Option<(PathBuf, String)> {
    let store = env::var_os(STORE)?;
    Some((PathBuf::from(store), env::var(ROUND).unwrap()))
}

/// Works until the process is killed, which has to happen within a minute.
pub(crate) fn work(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let bounded = async { tokio::time::timeout(Duration::from_secs(60), work).await };
    let outcome = runtime.unwrap().block_on(bounded);
    panic!("nobody killed the process: {outcome:?}");
}

/// Says what the victim did, in one write, so that a kill cuts no line in two but the last.
pub(crate) fn say(told: &str, name: &str) {
    let line = format!("{told} {name}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}
