//! Every setting with its type, default and unit, read from one TOML file and the environment.
//!
//! The annotated reference is `config/tidegate.toml`. Reading goes on after a mistake, so that one run shows them
//! all, and no message repeats a value, since any may be a secret. Nothing else reads the environment.

mod accounts;
mod checks;
mod env;
mod format;
mod limits;
mod mistake;
mod node;
mod pem;
mod reader;
mod reading;
mod sections;
mod settings;
mod unbuilt;

use std::path::Path;

pub use env::{Env, ProcessEnv};
pub use mistake::{Mistake, Mistakes, Place};
pub use settings::{
    Account, AccountKey, Admin, Config, Cors, LimitOverride, Limits, Models, Pem, Protocol, Server, Tls,
    Upstream, UpstreamRoute,
};

use reader::Section;
use reading::Reading;

impl Config {
    /// Reads the file at `path`; the paths in it are relative to its folder.
    ///
    /// # Errors
    /// The file can't be read, or every mistake in it.
    pub fn load(path: &Path, env: &dyn Env) -> Result<Self, Mistakes> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Mistakes::of_file(None, format!("`{}` can't be read: {error}", path.display()))
        })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")), env)
    }

    /// Reads the text of a file that stands in `dir`, with the overrides `TIDEGATE__SECTION__KEY` of `env`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, dir: &Path, env: &dyn Env) -> Result<Self, Mistakes> {
        let mut table = node::parse(text)?;
        let reading = Reading::new(env, dir, node::override_from(env, &mut table));
        let config = sections::read(Section::root(&reading, table));
        checks::check(&config, &reading);
        match reading.finish() {
            None => Ok(config),
            Some(mistakes) => Err(mistakes),
        }
    }
}

#[cfg(test)]
mod tests;
