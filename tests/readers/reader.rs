//! Other languages' own readers, each in one process that is asked through pipes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// What a reader makes of a body: the value of each policy key that is there, as `reading` writes it; `None` where it
/// refuses the body.
pub type Told = Option<BTreeMap<String, String>>;

/// Whether a reader was left out by whoever runs the tests.
pub fn is_skipped(program: &str) -> bool {
    let skip = std::env::var("TIDEGATE_TEST_SKIP").unwrap_or_default();
    let is_one = skip.split(',').any(|name| name == program);
    if is_one {
        eprintln!("SKIPPED by TIDEGATE_TEST_SKIP: {program}");
    }
    is_one
}

/// What `program` makes of each body, with the script that lies beside this file.
pub fn ask(program: &str, script: &str, keys: &[&str], bodies: &[Vec<u8>]) -> Vec<Told> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers");
    let mut reader = Command::new(program)
        .arg(folder.join(script))
        .arg(keys.join(","))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error} (tests/run installs it)"));
    let mut input = reader.stdin.take().unwrap();
    let output = BufReader::new(reader.stdout.take().unwrap());
    let told: Vec<Told> = std::thread::scope(|scope| {
        scope.spawn(move || {
            for body in bodies {
                let length = u32::try_from(body.len()).unwrap().to_be_bytes();
                input.write_all(&[length.as_slice(), body].concat()).unwrap();
            }
        });
        let lines = output.lines().map(Result::unwrap);
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    });
    assert!(reader.wait().unwrap().success(), "{program} failed");
    assert_eq!(told.len(), bodies.len(), "{program} did not read every body");
    told
}
