//! The house rules that a compiler does not know: each is one test, and each rule's own test shows that it can fail.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/supply.rs"]
mod supply;

use std::collections::BTreeSet;

use layers::{Layers, misplaced_crates, module_of};
use source::File;
use supply::Policy;

/// Fails with every violation of a rule, one a line.
fn assert_none(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn each(is_meant: impl Fn(&File) -> bool, rule: impl Fn(&File) -> Vec<String>) {
    let files: Vec<File> = source::all().into_iter().filter(is_meant).collect();
    assert!(!files.is_empty(), "the rule holds for no file at all");
    assert_none(files.iter().flat_map(rule).collect());
}

fn is_rust(file: &File) -> bool {
    file.is(&["rs"])
}

fn is_markdown(file: &File) -> bool {
    file.is(&["md"])
}

/// Text that people write, as opposed to samples whose bytes matter.
fn is_written(file: &File) -> bool {
    file.is(&["rs", "md", "toml", "sh", "py", "js", "mjs", "ts"])
}

fn text_of(path: &str) -> String {
    let file = source::all().into_iter().find(|file| file.path == path);
    file.unwrap_or_else(|| panic!("{path} is missing")).text
}

#[test]
fn a_module_names_only_what_stands_before_it() {
    let layers = Layers::read(&text_of("src/lib.rs"));
    each(
        |file| is_rust(file) && file.path.starts_with("src/"),
        |file| layers.violations(file),
    );
}

#[test]
fn only_the_store_knows_the_database() {
    each(
        |file| is_rust(file) && file.path.starts_with("src/"),
        misplaced_crates,
    );
}

#[test]
fn every_module_has_a_layer_and_every_layer_has_its_modules() {
    let layers = Layers::read(&text_of("src/lib.rs"));
    let modules: BTreeSet<String> = source::all()
        .iter()
        .filter(|file| is_rust(file) && file.path.starts_with("src/"))
        .map(|file| module_of(&file.path).to_owned())
        .filter(|module| module != "lib" && module != "main")
        .collect();
    for module in &modules {
        assert!(
            layers.know(module),
            "`{module}` is missing in the table of src/lib.rs"
        );
    }
    for (_, module) in layers.rows() {
        assert!(
            modules.contains(module),
            "src/lib.rs lists `{module}`, which does not exist"
        );
    }
}

#[test]
fn the_architecture_page_shows_the_layers_of_the_code() {
    let page = text_of("docs/architecture.md");
    let (_, table) = page.split_once("| layer | modules |").expect("a table of layers");
    let table = table.split("\n\n").next().unwrap();
    assert_eq!(
        Layers::read(table).rows(),
        Layers::read(&text_of("src/lib.rs")).rows()
    );
}

#[test]
fn only_reject_knows_the_status_of_a_refusal() {
    each(
        |file| is_rust(file) && file.path.starts_with("src/proxy/"),
        rust::refusals_outside_reject,
    );
}

#[test]
fn every_file_opens_with_what_it_is() {
    each(is_rust, rust::missing_opening);
}

#[test]
fn no_file_is_longer_than_400_lines_before_its_tests() {
    each(is_rust, rust::too_long);
}

#[test]
fn nothing_is_put_off_or_left_behind() {
    each(
        |file| is_written(file) && !is_markdown(file),
        rust::unfinished_business,
    );
}

#[test]
fn no_lint_is_allowed_and_no_test_ignored() {
    each(is_rust, rust::switched_off);
}

#[test]
fn no_line_ends_in_white_space_and_every_file_ends_in_one_line_break() {
    each(is_written, rust::loose_ends);
}

#[test]
fn no_rust_file_has_a_tab() {
    each(is_rust, rust::tabs);
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    each(is_written, documents::machine_paths);
}

#[test]
fn the_readme_names_both_commands() {
    let readme = File::new("README.md", &text_of("README.md"));
    assert_none(documents::missing_commands(&readme));
}

#[test]
fn every_decision_has_its_four_headings() {
    each(documents::is_decision, documents::missing_headings);
}

#[test]
fn every_decision_is_listed() {
    let index = text_of("docs/decisions/README.md");
    each(documents::is_decision, |file| documents::unlisted(file, &index));
}

#[test]
fn every_relative_link_leads_somewhere() {
    let files = source::all();
    each(is_markdown, |file| documents::broken_links(file, &files));
}

#[test]
fn documents_name_only_metrics_that_exist() {
    let exist = documents::registered_metrics(&source::all());
    each(is_markdown, |file| documents::unknown_metrics(file, &exist));
}

#[test]
fn the_readme_names_every_metric() {
    let readme = text_of("README.md");
    for metric in documents::registered_metrics(&source::all()) {
        assert!(
            readme.contains(&format!("`{metric}")),
            "README.md does not name {metric}"
        );
    }
}

#[test]
fn every_crate_comes_from_an_allowed_source() {
    let policy = Policy::read(&text_of(".deny.toml"));
    assert_none(policy.violations_of_lock(&text_of("Cargo.lock")));
}

#[test]
fn no_crate_is_banned_and_every_licence_is_allowed() {
    let policy = Policy::read(&text_of(".deny.toml"));
    assert_none(policy.violations_of_tree(&supply::tree()));
}
