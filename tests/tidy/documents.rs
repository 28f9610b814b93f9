//! Rules for what is written beside the code: commands, decisions, links, metric names.

use std::collections::BTreeSet;

use crate::source::File;

/// The two commands that a newcomer needs.
const COMMANDS: [&str; 2] = ["cargo run --release -- dev", "tests/run"];

/// The parts of a decision's page.
const HEADINGS: [&str; 4] = [
    "## Context",
    "## Decision",
    "## Consequences",
    "## When to revisit",
];

pub fn machine_paths(file: &File) -> Vec<String> {
    // Put together here, so that this file does not break its own rule.
    let folders = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    let is_bad = |line: &str| {
        folders.iter().any(|folder| {
            line.match_indices(folder).any(|(at, _)| {
                !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-}".contains(before))
            })
        })
    };
    file.complain_lines("a path of somebody's machine", is_bad)
}

pub fn missing_commands(readme: &File) -> Vec<String> {
    let missing = COMMANDS.iter().filter(|command| !readme.text.contains(*command));
    missing
        .map(|command| readme.complain(0, format!("does not name `{command}`")))
        .collect()
}

pub fn is_decision(file: &File) -> bool {
    file.path.starts_with("docs/decisions/") && !file.path.ends_with("README.md")
}

pub fn missing_headings(file: &File) -> Vec<String> {
    let headings: Vec<&str> = file.text.lines().filter(|line| line.starts_with("## ")).collect();
    if headings == HEADINGS {
        return Vec::new();
    }
    vec![file.complain(0, format!("has the headings {headings:?}, not {HEADINGS:?}"))]
}

pub fn unlisted(file: &File, index: &str) -> Vec<String> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if index.contains(&format!("({name})")) {
        return Vec::new();
    }
    vec![file.complain(0, "is not listed in docs/decisions/README.md")]
}

/// Links to files that are not among `files`, and to headings that their file does not have.
pub fn broken_links(file: &File, files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for (at, target) in links(&file.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() {
            file.path.clone()
        } else {
            resolve(&file.path, path)
        };
        let found = files.iter().find(|other| other.path == path);
        let is_folder = files
            .iter()
            .any(|other| other.path.starts_with(&format!("{path}/")));
        let has_anchor = |other: &File| anchor.is_empty() || anchors(&other.text).contains(anchor);
        if !(is_folder && anchor.is_empty() || found.is_some_and(has_anchor)) {
            violations.push(file.complain(at, format!("`{target}` leads nowhere")));
        }
    }
    violations
}

/// The target of every `[text](target)`, and where it stands.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("](").filter_map(|(at, opening)| {
        let target = text[at + opening.len()..].split([')', '\n']).next()?;
        Some((at, target.split_whitespace().next().unwrap_or_default()))
    })
}

fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| heading.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| {
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The names that `src/metrics.rs` and the files beside it give to series.
pub fn registered_metrics(files: &[File]) -> BTreeSet<String> {
    let sources = files
        .iter()
        .filter(|file| file.path == "src/metrics.rs" || file.path.starts_with("src/metrics/"));
    let strings = sources.flat_map(|file| file.text.split('"').skip(1).step_by(2));
    strings
        .filter(|string| metric_names(string).next() == Some(string))
        .map(str::to_owned)
        .collect()
}

pub fn unknown_metrics(file: &File, exist: &BTreeSet<String>) -> Vec<String> {
    let is_known = |name: &str| {
        let parts = ["", "_bucket", "_sum", "_count"];
        parts
            .iter()
            .any(|part| name.strip_suffix(part).is_some_and(|stem| exist.contains(stem)))
    };
    file.complain_lines("names a metric that does not exist", |line| {
        metric_names(line).any(|name| !is_known(name))
    })
}

fn metric_names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tidegate_"))
}

#[cfg(test)]
mod samples {
    use super::*;

    fn page(text: &str) -> File {
        File::new("docs/page.md", text)
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        let own = format!("see {}notes.md\n", concat!("/ho", "me/me/"));
        assert_eq!(machine_paths(&page(&own)).len(), 1);
        assert_eq!(
            machine_paths(&page("GET /v1/homes, a/network/b, docs/ways\n")).len(),
            0
        );
    }

    #[test]
    fn a_readme_without_a_command_is_found() {
        assert_eq!(missing_commands(&page("Run `tests/run`.\n")).len(), 1);
        assert_eq!(
            missing_commands(&page("`cargo run --release -- dev`, `tests/run`\n")).len(),
            0
        );
    }

    #[test]
    fn a_decision_without_its_headings_or_its_entry_is_found() {
        let whole = HEADINGS.join("\n\nText.\n\n");
        assert_eq!(missing_headings(&page(&whole)).len(), 0);
        assert_eq!(
            missing_headings(&page(&whole.replace("## Decision", "## Choice"))).len(),
            1
        );
        assert_eq!(unlisted(&page(&whole), "- [Page](page.md)").len(), 0);
        assert_eq!(unlisted(&page(&whole), "- [Other](other.md)").len(), 1);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let files = [
            page("# The page\n"),
            File::new("README.md", "## Error codes\n"),
            File::new("docs/decisions/0001-a.md", ""),
        ];
        let broken = |text| broken_links(&page(text), &files).len();
        assert_eq!(
            broken("[a](../README.md) [b](decisions/) [c](https://example.com/x) [d](#the-page)\n"),
            0
        );
        assert_eq!(broken("[a](../README.md#error-codes)\n"), 0);
        assert_eq!(broken("[a](README.md)\n[b](../README.md#errors) [c](#x)\n"), 3);
    }

    #[test]
    fn a_metric_that_does_not_exist_is_found() {
        let source = File::new(
            "src/metrics.rs",
            "a(\"tidegate_a_seconds\", \"Time of tidegate_b.\")",
        );
        let exist = registered_metrics(&[source]);
        assert_eq!(exist, BTreeSet::from(["tidegate_a_seconds".to_owned()]));
        assert_eq!(
            unknown_metrics(&page("`tidegate_a_seconds_bucket`{le}\n"), &exist).len(),
            0
        );
        assert_eq!(unknown_metrics(&page("`tidegate_b_total`\n"), &exist).len(), 1);
    }
}
