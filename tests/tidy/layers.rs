//! Which module may name which: the table in `src/lib.rs`, held against every path in the code.

use std::collections::HashMap;

use crate::source::{File, code_outside_tests};

/// The modules that stand outside the table: what each may name, and who may name it.
const ASIDE: [Aside; 1] = [Aside {
    module: "simulate",
    uses: &["types", "body"],
    used_by: &["app", "cli"],
}];

struct Aside {
    module: &'static str,
    uses: &'static [&'static str],
    used_by: &'static [&'static str],
}

/// The modules that stand in the table and are known by some only, the others being served by a trait of theirs.
const KNOWN_BY: [(&str, &[&str]); 1] = [("store", &["app"])];

/// Crates of which only one folder knows.
const CRATES: [(&str, &str); 2] = [("rusqlite", "src/store/"), ("refinery_core", "src/store/")];

/// The layer of every module in the table, the ground being 0.
pub struct Layers(HashMap<String, usize>);

impl Layers {
    /// Reads the rows `| layer | modules |` of a table; a module stands in backticks.
    pub fn read(text: &str) -> Self {
        let rows = text
            .lines()
            .filter_map(|line| line.trim_start_matches("//!").trim().strip_prefix('|'))
            .filter_map(|row| row.split_once('|'))
            .map(|(_, modules)| modules.split('`').skip(1).step_by(2).collect::<Vec<_>>())
            .filter(|modules| !modules.is_empty());
        let mut layers = HashMap::new();
        for (layer, modules) in rows.enumerate() {
            layers.extend(modules.into_iter().map(|module| (module.to_owned(), layer)));
        }
        Self(layers)
    }

    /// The modules of the table, with their layers, in a fixed order.
    pub fn rows(&self) -> Vec<(usize, &str)> {
        let mut rows: Vec<_> = self
            .0
            .iter()
            .map(|(name, layer)| (*layer, name.as_str()))
            .collect();
        rows.sort_unstable();
        rows
    }

    /// Whether `module` has a place, in the table or aside.
    pub fn know(&self, module: &str) -> bool {
        self.0.contains_key(module) || ASIDE.iter().any(|aside| aside.module == module)
    }

    fn permit(&self, from: &str, to: &str) -> bool {
        let of = |name: &str| ASIDE.iter().find(|aside| aside.module == name);
        match (of(from), of(to)) {
            _ if from == to || from == "main" => true,
            _ if KNOWN_BY
                .iter()
                .any(|(module, by)| *module == to && !by.contains(&from)) =>
            {
                false
            }
            (Some(aside), _) => aside.uses.contains(&to),
            (None, Some(aside)) => aside.used_by.contains(&from),
            (None, None) => match (self.0.get(from), self.0.get(to)) {
                (Some(from), Some(to)) => to < from,
                _ => false,
            },
        }
    }

    /// Every edge in `file` that the table does not list.
    pub fn violations(&self, file: &File) -> Vec<String> {
        let from = module_of(&file.path);
        if from == "lib" {
            return Vec::new();
        }
        let edges = edges(file);
        let bad = edges.iter().filter(|(_, to)| !self.permit(from, to));
        bad.map(|(at, to)| file.complain(*at, format!("`{from}` must not name `crate::{to}`")))
            .collect()
    }
}

/// Every crate that `file` names out of its place.
pub fn misplaced_crates(file: &File) -> Vec<String> {
    let code = code_outside_tests(&file.text);
    let mut violations = Vec::new();
    for (name, place) in CRATES {
        if file.path.starts_with(place) {
            continue;
        }
        let named = code.match_indices(name).filter(|(at, _)| {
            let rest = &code[at + name.len()..];
            let ends = !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
            ends && starts_a_path(&code, *at)
        });
        violations.extend(named.map(|(at, _)| file.complain(at, format!("only {place} may name `{name}`"))));
    }
    violations
}

/// The top module that a file under `src/` belongs to.
pub fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The modules that the code of `file` names through `crate::` or a `super::` that climbs out, and where.
fn edges(file: &File) -> Vec<(usize, String)> {
    let code = code_outside_tests(&file.text);
    let mut edges = Vec::new();
    for root in ["crate", "tidegate"] {
        for (at, _) in code.match_indices(&format!("{root}::")) {
            if starts_a_path(&code, at) {
                let rest = &code[at + root.len() + 2..];
                edges.extend(first_names(rest).into_iter().map(|name| (at, name)));
            }
        }
    }
    for (at, _) in code.match_indices("super::") {
        if !starts_a_path(&code, at) {
            continue;
        }
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, climbed) = (further, climbed + 1);
        }
        if climbed >= depth(&file.path) {
            edges.extend(first_names(rest).into_iter().map(|name| (at, name)));
        }
    }
    edges
}

fn starts_a_path(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == ':')
}

/// How many `super::` lead from a file to the crate's root.
fn depth(path: &str) -> usize {
    let parts = path.strip_prefix("src/").unwrap_or(path).split('/').count();
    if path.ends_with("/mod.rs") {
        parts - 1
    } else {
        parts
    }
}

/// The first names of a path or of a braced list of paths: `a::{b, c}` is `a`, `{a::b, c}` is `a` and `c`.
fn first_names(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let Some(list) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let (mut depth, mut start, mut names) = (0_usize, 0, Vec::new());
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'}' if depth == 0 => {
                names.push(word(&list[start..at]));
                break;
            }
            b',' if depth == 0 => {
                names.push(word(&list[start..at]));
                start = at + 1;
            }
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod samples {
    use super::*;

    const TABLE: &str = "//! | ground | [`types`] |\n//! | tools | [`config`], [`body`] |\n\
                         //! | --- | --- |\n//! | a call | [`proxy`] |\n//! | the whole | [`app`] |\n";

    fn bad(path: &str, text: &str) -> Vec<String> {
        Layers::read(TABLE).violations(&File::new(path, text))
    }

    #[test]
    fn an_edge_upwards_fails_and_names_its_line() {
        assert_eq!(
            bad("src/types/model.rs", "\nuse crate::proxy::Gate;\n"),
            ["src/types/model.rs:2: `types` must not name `crate::proxy`"]
        );
        assert_eq!(bad("src/body.rs", "fn f() -> crate::app::App {}").len(), 1);
        assert_eq!(
            bad("src/body.rs", "use crate::config::Config;").len(),
            1,
            "a sibling"
        );
        assert_eq!(
            bad("src/proxy/mod.rs", "use crate::{types::{A, B}, app::App, body};").len(),
            1
        );
    }

    #[test]
    fn a_way_round_through_super_or_a_re_export_fails() {
        assert_eq!(
            bad("src/proxy/forward.rs", "use super::super::app::App;").len(),
            1
        );
        assert_eq!(bad("src/body.rs", "use super::app;").len(), 1);
        assert_eq!(bad("src/body.rs", "use crate::App;").len(), 1);
        assert_eq!(bad("src/body.rs", "use crate::*;").len(), 1);
    }

    #[test]
    fn an_edge_downwards_passes_and_so_do_tests_comments_and_neighbours() {
        for text in [
            "use crate::types::ModelName;",
            "use super::admit; use super::Gate;",
            "//! See [`crate::app`].\n/// `crate::app`\nconst A: &str = \"crate::app\";",
            "#[cfg(test)]\nmod tests { use crate::app::App; }",
            "use other_crate::app; use some::crate_::app;",
        ] {
            assert_eq!(bad("src/proxy/forward.rs", text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn the_store_is_known_by_the_whole_only() {
        const TABLE: &str = "//! | nouns | [`token`] |\n//! | the outside | [`store`] |\n//! | a call | [`proxy`] |\n\
                             //! | the whole | [`app`] |\n";
        let bad = |path, text| Layers::read(TABLE).violations(&File::new(path, text)).len();
        assert_eq!(bad("src/proxy/mod.rs", "use crate::store::Sqlite;"), 1);
        assert_eq!(bad("src/token/mod.rs", "use crate::store::Sqlite;"), 1);
        assert_eq!(bad("src/app.rs", "use crate::store::Sqlite;"), 0);
        assert_eq!(bad("src/store/sqlite.rs", "use crate::store::seal;"), 0);
    }

    #[test]
    fn a_crate_out_of_its_place_fails() {
        let bad = |path, text| misplaced_crates(&File::new(path, text)).len();
        assert_eq!(bad("src/token/keys.rs", "use rusqlite::Connection;"), 1);
        assert_eq!(
            bad(
                "src/app.rs",
                "fn f(e: rusqlite::Error) {} use {refinery_core as r};"
            ),
            2
        );
        assert_eq!(bad("src/store/sqlite.rs", "use rusqlite::Connection;"), 0);
        for text in [
            "//! rusqlite",
            "fn my_rusqlite() { rusqlite_like() }",
            "mod rusqlites;",
        ] {
            assert_eq!(bad("src/app.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn the_simulated_upstream_stands_aside() {
        assert_eq!(
            bad("src/simulate/mod.rs", "use crate::{types::A, body::B};").len(),
            0
        );
        assert_eq!(bad("src/simulate/mod.rs", "use crate::config::Config;").len(), 1);
        assert_eq!(bad("src/app.rs", "use crate::simulate;").len(), 0);
        assert_eq!(bad("src/proxy/mod.rs", "use crate::simulate;").len(), 1);
    }
}
