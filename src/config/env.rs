//! The environment as a value: the program reads its own, a test passes a map.

use std::collections::BTreeMap;

/// Gives environment variables.
pub trait Env: std::fmt::Debug {
    /// The value of `name`; `None` when it is not set or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;

    /// All names and values that are UTF-8, sorted by name.
    fn vars(&self) -> BTreeMap<String, String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var_os(name).and_then(|value| value.into_string().ok())
    }

    fn vars(&self) -> BTreeMap<String, String> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }
}

impl Env for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }

    fn vars(&self) -> BTreeMap<String, String> {
        self.clone()
    }
}
