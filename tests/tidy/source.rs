//! The files of the repository, and Rust source with everything blanked that is not code.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Folders whose content is made by tools.
const GENERATED: [&str; 8] = [
    ".git",
    "target",
    "node_modules",
    "venv",
    ".venv",
    "__pycache__",
    "corpus",
    "tidegate-data",
];

/// A text file of the repository, its path relative to the root with `/` between the parts.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Whether the path ends in one of `extensions` (`rs`, `md`), or the file is a script without one.
    pub fn is(&self, extensions: &[&str]) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        match name.trim_start_matches('.').rsplit_once('.') {
            Some((_, extension)) => extensions.contains(&extension),
            None => extensions.contains(&"sh") && self.text.starts_with("#!"),
        }
    }

    /// A violation in the line that holds the byte `at`, counted from 1.
    pub fn complain(&self, at: usize, what: impl std::fmt::Display) -> String {
        let line = 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        format!("{}:{line}: {what}", self.path)
    }

    /// A violation for every line that `is_bad` picks.
    pub fn complain_lines(&self, what: &str, is_bad: impl Fn(&str) -> bool) -> Vec<String> {
        let numbered = (1..).zip(self.text.split('\n'));
        numbered
            .filter(|(_, line)| is_bad(line))
            .map(|(number, _)| format!("{}:{number}: {what}", self.path))
            .collect()
    }
}

/// Cargo and nextest start a test in the package's folder. (A path compiled in would be another checkout's where two
/// share a target folder.)
pub fn root() -> &'static Path {
    Path::new(".")
}

/// Every text file of the repository that people write.
pub fn all() -> Vec<File> {
    let mut files = Vec::new();
    collect(root(), &mut files).expect("the repository can be read");
    assert!(files.len() > 20, "only {} files were found", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<File>) -> io::Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if GENERATED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy();
            files.push(File::new(&relative.replace('\\', "/"), &text));
        }
    }
    Ok(())
}

/// `text` with comments, strings and `#[cfg(test)]` items blanked, byte for byte in place.
pub fn code_outside_tests(text: &str) -> String {
    let mut code = code(text);
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = end_of_item(&code, start);
        blank(&mut code, start, end);
    }
    code
}

/// `text` with comments and strings blanked, byte for byte in place; line breaks stay.
pub fn code(text: &str) -> String {
    let mut code = text.to_owned();
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let length = match rest {
            [b'/', b'/', ..] => until(rest, b"\n", 0),
            [b'/', b'*', ..] => block_comment(rest),
            [b'"', ..] => quoted(rest),
            [b'\'', ..] => character(rest),
            [b'r', b'"' | b'#', ..] if !ends_in_word(&text[..at]) => raw_string(rest),
            _ => 0,
        };
        if length > 0 {
            blank(&mut code, at, at + length);
        }
        at += length.max(1);
    }
    code
}

fn ends_in_word(before: &str) -> bool {
    // A `b` or `c` before the `r` belongs to the string: `br"…"`.
    let before = before.strip_suffix(['b', 'c']).unwrap_or(before);
    before.ends_with(|last: char| last.is_alphanumeric() || last == '_')
}

fn until(bytes: &[u8], end: &[u8], from: usize) -> usize {
    let found = bytes[from..].windows(end.len()).position(|window| window == end);
    found.map_or(bytes.len(), |position| from + position + end.len())
}

fn block_comment(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// A character literal's length; 0 for a lifetime.
fn character(bytes: &[u8]) -> usize {
    match bytes {
        [_, b'\\', ..] => until(bytes, b"'", 3),
        [_, first, ..] => {
            let width = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            if bytes.get(1 + width) == Some(&b'\'') {
                2 + width
            } else {
                0
            }
        }
        _ => 0,
    }
}

fn raw_string(bytes: &[u8]) -> usize {
    let hashes = bytes[1..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    until(bytes, end.as_bytes(), 2 + hashes)
}

/// Where the item that starts at `start` ends: at its closing brace, or at its semicolon.
fn end_of_item(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

fn blank(code: &mut String, start: usize, end: usize) {
    let blanked: String = code[start..end]
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    code.replace_range(start..end, &blanked);
}

#[test]
fn comments_strings_and_tests_are_blanked_and_code_stays() {
    let text = concat!(
        "fn a<'a>(c: char) { b('\"', '\\'', \"x::y \\\" z\", r#\"q \" q\"#); } // tail\n",
        "/* one /* two */ three */ struct S;\n",
        "#[cfg(test)]\nmod tests { fn t() { crate::app::run(\"}\"); } }\n",
        "#[cfg(test)]\nuse crate::cli::Cli;\nfn é() {}\n",
    );
    let code = code_outside_tests(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.lines().count(), text.lines().count());
    for kept in ["fn a<'a>(c: char) { b(", "); }", "struct S;", "fn é() {}"] {
        assert!(code.contains(kept), "{kept} is missing in {code}");
    }
    for gone in ["x::y", "q", "tail", "two", "three", "crate"] {
        assert!(!code.contains(gone), "{gone} is left in {code}");
    }
}
