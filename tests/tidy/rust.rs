//! Rules for one source file: its opening, its length, and what must not stand in it.

use crate::source::{File, code, code_outside_tests};

/// The most lines before a file's tests.
const MAX_LINES: usize = 400;

/// What a call may know of statuses without `proxy/reject.rs`.
const NO_REFUSALS: [&str; 3] = ["OK", "SWITCHING_PROTOCOLS", "NOT_MODIFIED"];

pub fn missing_opening(file: &File) -> Vec<String> {
    let opening = file
        .text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! "));
    match opening {
        Some(words) if !words.trim().is_empty() => Vec::new(),
        _ => vec![file.complain(
            0,
            "the first line must say in plain words (`//! …`) what the file is",
        )],
    }
}

pub fn too_long(file: &File) -> Vec<String> {
    let lines = file
        .text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    vec![file.complain(
        0,
        format!("{lines} lines before the tests, {MAX_LINES} are allowed"),
    )]
}

pub fn unfinished_business(file: &File) -> Vec<String> {
    // Put together here, so that this file does not break its own rule.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("HA", "CK"),
        concat!("X", "XX"),
    ];
    let macros = [
        concat!("to", "do!"),
        concat!("db", "g!"),
        concat!("unimple", "mented!"),
    ];
    let is_bad = |line: &str| {
        let mut tokens = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        tokens.any(|token| words.contains(&token)) || macros.iter().any(|name| line.contains(name))
    };
    file.complain_lines("unfinished: do it, or leave it out", is_bad)
}

pub fn switched_off(file: &File) -> Vec<String> {
    let code = File::new(&file.path, &code(&file.text));
    code.complain_lines(
        "use `#[expect(lint, reason = \"…\")]`, and run every test",
        |line| {
            ["[allow(", " allow(", "[ignore"]
                .iter()
                .any(|bad| line.contains(bad))
        },
    )
}

pub fn loose_ends(file: &File) -> Vec<String> {
    let mut violations = file.complain_lines("white space at the end of the line", |line| {
        line.ends_with([' ', '\t', '\r'])
    });
    if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
        violations.push(file.complain(file.text.len(), "must end in exactly one line break"));
    }
    violations
}

pub fn tabs(file: &File) -> Vec<String> {
    file.complain_lines("a tab", |line| line.contains('\t'))
}

/// Which status a refusal has is decided in one table: elsewhere within a call no 4xx or 5xx is named or made.
pub fn refusals_outside_reject(file: &File) -> Vec<String> {
    if file.path == "src/proxy/reject.rs" || file.path.starts_with("src/proxy/reject/") {
        return Vec::new();
    }
    let code = File::new(&file.path, &code_outside_tests(&file.text));
    code.complain_lines("only proxy/reject.rs knows the status of a refusal", |line| {
        let mut names = line.split("StatusCode::").skip(1);
        names.any(|name| !NO_REFUSALS.iter().any(|known| name.starts_with(known)))
    })
}

#[cfg(test)]
mod samples {
    use super::*;

    /// A rule finds as many violations as it should, in samples that stand for a whole file.
    fn holds(rule: fn(&File) -> Vec<String>, samples: &[(&str, usize)]) {
        for (text, violations) in samples {
            let found = rule(&File::new("src/proxy/sample.rs", text));
            assert_eq!(found.len(), *violations, "{text:?} gives {found:?}");
        }
    }

    #[test]
    fn a_file_without_an_opening_is_found() {
        let samples = [
            ("//! What it is.\n", 0),
            ("", 1),
            ("use a;\n", 1),
            ("//! \n", 1),
            ("// What it is.\n", 1),
        ];
        holds(missing_opening, &samples);
    }

    #[test]
    fn a_file_that_is_too_long_is_found_and_its_tests_do_not_count() {
        let full = "\n".repeat(MAX_LINES);
        let tests = format!("{full}#[cfg(test)]\n{full}");
        let long = format!("{full}\n");
        holds(too_long, &[(&full, 0), (&tests, 0), (&long, 1)]);
    }

    #[test]
    fn unfinished_business_is_found() {
        let put_off = format!("// {}: later\n", concat!("TO", "DO"));
        let debug = format!("let a = {}(b);\n", concat!("db", "g!"));
        holds(
            unfinished_business,
            &[
                (&put_off, 1),
                (&debug, 1),
                ("// a to-do list\n", 0),
                ("const TODOS: u8 = 1;\n", 0),
            ],
        );
    }

    #[test]
    fn a_lint_that_is_allowed_and_a_test_that_is_ignored_are_found() {
        let samples = [
            ("#[allow(dead_code)]\n", 1),
            ("#![allow(clippy::all)]\n", 1),
            ("#[cfg_attr(test, allow(dead_code))]\n", 1),
            ("#[test]\n#[ignore]\n", 1),
            ("// #[allow(dead_code)]\n", 0),
            ("self.allow(a); #[expect(dead_code, reason = \"b\")]\n", 0),
        ];
        holds(switched_off, &samples);
    }

    #[test]
    fn loose_ends_are_found() {
        let samples = [("a\n", 0), ("a \nb\t\n", 2), ("a\r\n", 1), ("a", 1), ("a\n\n", 1)];
        holds(loose_ends, &samples);
    }

    #[test]
    fn a_tab_is_found() {
        holds(tabs, &[("\tfn a() {}\n", 1), ("    fn a() {}\n", 0)]);
    }

    #[test]
    fn a_refusals_status_outside_reject_is_found() {
        let refusal = "let status = http::StatusCode::FORBIDDEN;\n";
        let made = "let status = StatusCode::from_u16(403);\n";
        let passed_on = "if status == StatusCode::NOT_MODIFIED || status.is_success() {}\n";
        let tested = "#[cfg(test)]\nmod tests { fn a() { StatusCode::FORBIDDEN; } }\n";
        holds(
            refusals_outside_reject,
            &[(refusal, 1), (made, 1), (passed_on, 0), (tested, 0)],
        );
        assert!(refusals_outside_reject(&File::new("src/proxy/reject.rs", refusal)).is_empty());
    }
}
