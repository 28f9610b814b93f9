//! What is linked into the gate: where crates come from, which are banned, which licences they have.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::process::Command;
use std::str::SplitWhitespace;

use crate::source::root;

/// What `.deny.toml` allows.
pub struct Policy {
    banned: Vec<String>,
    registries: Vec<String>,
    licences: Vec<String>,
}

impl Policy {
    pub fn read(deny: &str) -> Self {
        let deny: toml::Table = deny.parse().expect(".deny.toml is TOML");
        let strings = |section: &str, key: &str| -> Vec<String> {
            let list = deny[section][key].as_array().expect("a list");
            let name = |item: &toml::Value| item.get("crate").unwrap_or(item).as_str().map(str::to_owned);
            list.iter().map(|item| name(item).expect("a name")).collect()
        };
        Self {
            banned: strings("bans", "deny"),
            registries: strings("sources", "allow-registry"),
            licences: strings("licenses", "allow"),
        }
    }

    /// The packages of a `Cargo.lock` that come from elsewhere than an allowed registry.
    pub fn violations_of_lock(&self, lock: &str) -> Vec<String> {
        let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
        let packages = lock["package"].as_array().expect("a list of packages");
        let source = |package: &toml::Value| package.get("source")?.as_str().map(str::to_owned);
        let sources: BTreeSet<String> = packages.iter().filter_map(source).collect();
        let foreign = sources.into_iter().filter(|source| {
            let registry = source.strip_prefix("registry+");
            !registry.is_some_and(|registry| self.registries.iter().any(|known| known == registry))
        });
        foreign
            .map(|source| format!("Cargo.lock: crates come from {source}"))
            .collect()
    }

    /// The banned packages and those without an allowed licence in lines of `name version<TAB>licence`.
    pub fn violations_of_tree(&self, tree: &str) -> Vec<String> {
        let mut violations = BTreeSet::new();
        for (package, licence) in tree.lines().filter_map(|line| line.split_once('\t')) {
            let name = package.split(' ').next().unwrap_or_default();
            if self.banned.iter().any(|banned| banned == name) {
                violations.insert(format!("`{name}` is banned"));
            }
            let licence = licence.trim_end_matches(" (*)");
            if !self.allows(licence) {
                violations.insert(format!("`{name}` has the licence {licence:?}"));
            }
        }
        violations.into_iter().collect()
    }

    /// Whether an SPDX expression can be met with allowed licences: OR binds weaker than AND, `/` is an old OR.
    fn allows(&self, expression: &str) -> bool {
        let spaced = expression
            .replace('/', " OR ")
            .replace('(', " ( ")
            .replace(')', " ) ");
        let mut words = spaced.split_whitespace().peekable();
        self.any(&mut words) && words.next().is_none()
    }

    fn any(&self, words: &mut Peekable<SplitWhitespace<'_>>) -> bool {
        let mut met = self.every(words);
        while words.next_if_eq(&"OR").is_some() {
            met |= self.every(words);
        }
        met
    }

    fn every(&self, words: &mut Peekable<SplitWhitespace<'_>>) -> bool {
        let mut met = self.one(words);
        while words.next_if_eq(&"AND").is_some() {
            met &= self.one(words);
        }
        met
    }

    fn one(&self, words: &mut Peekable<SplitWhitespace<'_>>) -> bool {
        if words.next_if_eq(&"(").is_some() {
            let met = self.any(words);
            return words.next_if_eq(&")").is_some() && met;
        }
        let mut licence = words.next().unwrap_or_default().to_owned();
        if words.next_if_eq(&"WITH").is_some() {
            licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
        }
        self.licences.contains(&licence)
    }
}

/// Every crate that this machine's build, tests included, is made of; nothing is downloaded for it.
pub fn tree() -> String {
    let output = Command::new("cargo")
        .args(["tree", "--locked", "--offline", "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--format", "{p}\t{l}"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(tree.lines().count() > 50, "cargo tree gave too little: {trouble}");
    tree
}

#[cfg(test)]
mod samples {
    use super::*;

    fn policy() -> Policy {
        Policy::read(
            "[bans]\ndeny = [{ crate = \"ring\" }]\n[sources]\nallow-registry = [\"https://index\"]\n\
             [licenses]\nallow = [\"MIT\", \"ISC\", \"Apache-2.0 WITH LLVM-exception\"]\n",
        )
    }

    #[test]
    fn a_foreign_source_is_found() {
        let found = |source: &str| {
            let lock =
                format!("[[package]]\nname = \"a\"\nsource = \"{source}\"\n[[package]]\nname = \"own\"\n");
            policy().violations_of_lock(&lock).len()
        };
        assert_eq!(found("registry+https://index"), 0);
        assert_eq!(found("registry+https://elsewhere"), 1);
        assert_eq!(found("git+https://index/a"), 1);
    }

    #[test]
    fn a_banned_crate_is_found() {
        assert_eq!(policy().violations_of_tree("hyper v1.0.0\tMIT\n").len(), 0);
        assert_eq!(
            policy().violations_of_tree("ring v0.17.0\tMIT\n"),
            ["`ring` is banned"]
        );
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_found() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR (ISC AND MIT)",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "(MIT OR GPL-3.0) AND ISC",
        ] {
            assert!(policy().allows(allowed), "{allowed}");
        }
        for refused in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "Apache-2.0",
            "(MIT",
            "MIT ISC",
            "GPL-3.0 OR MIT AND BSL-1.0",
        ] {
            assert!(!policy().allows(refused), "{refused}");
        }
        assert_eq!(policy().violations_of_tree("a v1.0.0\tGPL-3.0 (*)\n").len(), 1);
    }
}
