//! The files that are shipped: the annotated reference, which drifts from nothing, and the examples.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::{ACCOUNT, env};

/// The environment and folder that the shipped files need when everything in them is used.
fn surroundings() -> (tempfile::TempDir, BTreeMap<String, String>) {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for name in ["cert.pem", "client-ca.pem", "upstream-ca.pem"] {
        std::fs::write(dir.path().join(name), made.cert.pem()).unwrap();
    }
    std::fs::write(dir.path().join("prices.json"), "{}").unwrap();
    std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let env = env([
        ("TIDEGATE_ADMIN_TOKEN", "an-admin-token"),
        ("DEEPINFRA_API_KEY", "a-key-of-deepinfra"),
        ("VLLM_KEY", "a-key-of-vllm"),
        ("ACME_KEY", "0123456789abcdef"),
    ]);
    (dir, env)
}

const REFERENCE: &str = include_str!("../../../config/tidegate.toml");

fn uncommented() -> String {
    let setting = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| !rest.is_empty() && !rest.starts_with(' '))
            .map(str::to_owned)
    };
    REFERENCE
        .lines()
        .map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n")
        .collect()
}

#[test]
fn the_reference_has_every_default_and_no_other_value() {
    let (dir, env) = surroundings();
    let config = Config::parse(REFERENCE, dir.path(), &env).unwrap();
    let upstream = Upstream::at("https://api.deepinfra.com".parse().unwrap());
    assert_eq!(format!("{:?}", config.server), format!("{:?}", Server::default()));
    assert_eq!(format!("{:?}", config.admin), format!("{:?}", Admin::default()));
    assert_eq!(format!("{:?}", config.upstream), format!("{upstream:?}"));
    assert_eq!(format!("{:?}", config.models), format!("{:?}", Models::default()));
    assert_eq!(config.budget, Budget::default());
    assert_eq!(config.prices, Prices::default());
    assert_eq!(config.webhooks, Webhooks::default());
    assert!(!config.accounts[0].management);
}

#[test]
fn the_reference_names_every_key_of_this_version_and_of_later_ones() {
    let (dir, env) = surroundings();
    let refused = Config::parse(&uncommented(), dir.path(), &env).unwrap_err();
    assert!(
        refused
            .iter()
            .all(|mistake| mistake.message.ends_with("are not in this version")),
        "{refused}"
    );
    let refused: BTreeSet<String> = refused.iter().map(|mistake| mistake.key.clone()).collect();
    let listed = unbuilt::keys().filter(|(_, _, accepted)| !accepted);
    let listed: BTreeSet<String> = listed
        .map(|(key, ..)| key.split("[]").next().unwrap().to_owned())
        .collect();
    assert_eq!(refused, listed);

    let reading = Reading::new(&env, dir.path(), Vec::new());
    sections::read(Section::root(&reading, node::parse(&uncommented()).unwrap()));
    assert_eq!(reading.absent(), [""; 0], "keys that the reference does not have");
}

#[test]
fn the_reference_has_the_defaults_of_later_versions() {
    let reference: toml::Table = uncommented().parse().unwrap();
    for (key, default, _) in unbuilt::keys().filter(|(_, default, _)| !default.is_empty()) {
        let default: toml::Table = format!("default = {default}").parse().unwrap();
        let mut parts = key.split('.');
        let first = reference.get(parts.next().unwrap());
        let there = parts.fold(first, |value, part| value.and_then(|value| value.get(part)));
        assert_eq!(there, default.get("default"), "{key}");
    }
}

#[test]
fn the_examples_load() {
    let (dir, env) = surroundings();
    for text in [
        include_str!("../../../config/minimal.toml"),
        include_str!("../../../config/vllm.toml"),
    ] {
        Config::parse(text, dir.path(), &env).unwrap();
    }
}

#[test]
fn a_certificate_and_key_that_do_not_belong_together_are_refused() {
    let (dir, env) = surroundings();
    let text = format!("{ACCOUNT}[server.tls]\ncert = \"file:cert.pem\"\nkey = \"file:key.pem\"\n");
    let config = Config::parse(&text, dir.path(), &env).unwrap();
    assert!(
        matches!(config.server.tls.unwrap().cert, FileOrText::File(path) if path == dir.path().join("cert.pem"))
    );
    let other = rcgen::KeyPair::generate().unwrap();
    std::fs::write(dir.path().join("key.pem"), other.serialize_pem()).unwrap();
    let refused = Config::parse(&text, dir.path(), &env).unwrap_err().to_string();
    assert!(
        refused.contains("server.tls.key (line 9): is not the key of the first certificate"),
        "{refused}"
    );
}
