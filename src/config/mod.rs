//! Every setting with its type, default and unit, read from one TOML file and the environment.
//!
//! The annotated reference is `config/tidegate.toml`. Reading goes on after a mistake, so that one run shows them
//! all, and no message repeats a value, since any may be a secret. Nothing else reads the environment.

mod accounts;
mod checks;
mod env;
mod files;
mod format;
mod limits;
mod mistake;
mod money;
mod network;
mod node;
mod pem;
mod reader;
mod reading;
mod secret;
mod sections;
mod settings;
mod store;
mod unbuilt;
mod webhooks;

use std::io::ErrorKind;
use std::path::Path;

pub use accounts::SHORTEST_SECRET;
pub use env::{Env, ProcessEnv};
pub use files::Files;
pub use format::duration;
pub use mistake::{Mistake, Mistakes, Place};
pub use money::{Budget, BudgetLimit, PriceFile, PriceSource, Prices, Unpriced, Window};
pub use network::Network;
pub use secret::secret;
pub use settings::{
    Account, AccountKey, Admin, Config, Cors, FileOrText, LimitOverride, Limits, Models, Protocol, ScopedJwt,
    Server, Store, Tls, Upstream, UpstreamRoute,
};
pub use webhooks::Webhooks;

use reader::Section;
use reading::Reading;

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, or every mistake in them.
    pub outcome: Result<Config, Mistakes>,
    /// The files that were read, also where that failed.
    pub files: Files,
}

impl Config {
    /// Reads the file at `path`, with the overrides of `env`; the paths in it are relative to its folder.
    pub fn load(path: &Path, env: &dyn Env) -> Loaded {
        let mut files = Files::default();
        let text = files
            .read(path, u64::MAX)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData.into()));
        let outcome = match text {
            Ok(text) => read(&text, path.parent().unwrap_or(Path::new("")), env, &mut files),
            Err(error) => Err(Mistakes::of_file(
                None,
                format!("`{}` can't be read: {error}", path.display()),
            )),
        };
        Loaded { outcome, files }
    }

    /// Reads the text of a file that stands in `dir`, with the overrides `TIDEGATE__SECTION__KEY` of `env`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, dir: &Path, env: &dyn Env) -> Result<Self, Mistakes> {
        read(text, dir, env, &mut Files::default())
    }

    /// Checks that a running gateway can go over from these settings to `new` ones.
    ///
    /// # Errors
    /// Every key that takes a restart.
    pub fn check_change(&self, new: &Self) -> Result<(), Mistakes> {
        let keys = [
            ("server.listen", self.server.listen == new.server.listen),
            (
                "server.admin_listen",
                self.server.admin_listen == new.server.admin_listen,
            ),
            ("store.url", self.store.path == new.store.path),
            (
                "store.master_key",
                self.store.master_keys == new.store.master_keys,
            ),
            ("webhooks.workers", self.webhooks.workers == new.webhooks.workers),
        ];
        let mistakes: Vec<Mistake> = keys
            .into_iter()
            .filter(|(_, same)| !same)
            .map(|(key, _)| Mistake {
                key: key.to_owned(),
                place: None,
                message: "can't change while the gateway runs; restart it for that".to_owned(),
            })
            .collect();
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(Mistakes::new(mistakes))
        }
    }
}

/// Reads a text and adds the files that it names to `files`.
fn read(text: &str, dir: &Path, env: &dyn Env, files: &mut Files) -> Result<Config, Mistakes> {
    let mut table = node::parse(text)?;
    let reading = Reading::new(env, dir, node::override_from(env, &mut table));
    let config = sections::read(Section::root(&reading, table));
    checks::check(&config, &reading);
    match reading.finish(files) {
        None => Ok(config),
        Some(mistakes) => Err(mistakes),
    }
}

#[cfg(test)]
mod tests;
