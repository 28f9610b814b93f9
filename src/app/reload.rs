//! New settings for a running gateway: all of them or none.
//!
//! Everything that can fail is done first: reading, checking, building. What comes out then replaces the old parts, which
//! can't fail. Calls under way keep what they began with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::admin::Admin;
use crate::config::{Config, Files, Loaded, Mistakes};
use crate::metrics::Metrics;
use crate::proxy::Gate;
use crate::server::{Origins, Settings, Terms, TlsError, TlsSource};
use crate::spend::{PriceTable, Prices, TableError};
use crate::upstream::{ConnectError, Upstreams};
use crate::webhook::Worker;

/// How often a gateway looks at the files that its settings came from. Reading them again is simpler and surer than file
/// events, which Kubernetes' swapped symbolic links defeat.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A change counts when a second look, after this part of the time, finds the same: a file may be half written.
const SECOND_LOOK: u32 = 10;

/// The settings that a gateway starts with, and where newer ones come from.
pub struct Source {
    config: Config,
    renewal: Renewal,
}

/// How settings are read again, if they can be.
pub(super) struct Renewal {
    again: Option<Again>,
    look_every: Duration,
}

/// What reads settings again.
struct Again {
    load: Arc<dyn Fn() -> Loaded + Send + Sync>,
    /// What was read last, whatever came of it.
    files: Files,
}

impl Source {
    /// Settings that came from no file and stay as they are.
    pub fn fixed(config: Config) -> Self {
        Self {
            config,
            renewal: Renewal {
                again: None,
                look_every: LOOK_EVERY,
            },
        }
    }

    /// Settings that `load` reads: now, whenever a reload is asked for, and when a file has changed that it read.
    /// It may block.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn new(load: impl Fn() -> Loaded + Send + Sync + 'static) -> Result<Self, Mistakes> {
        let Loaded { outcome, files } = load();
        let mut source = Self::fixed(outcome?);
        source.renewal.again = Some(Again {
            load: Arc::new(load),
            files,
        });
        Ok(source)
    }

    /// The same, with the files looked at so often instead of every 5 s.
    pub fn look_every(mut self, every: Duration) -> Self {
        self.renewal.look_every = every;
        self
    }

    pub(super) fn split(self) -> (Config, Renewal) {
        (self.config, self.renewal)
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal")
            .field("look_every", &self.look_every)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What is built of settings and can't be built of all: the part of a reload that may fail.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) upstreams: Arc<Upstreams>,
    /// The prices of the settings' own table.
    pub(super) own_prices: PriceTable,
    pub(super) tls: Option<Arc<TlsSource>>,
}

impl Parts {
    pub(super) fn new(config: Config, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        Ok(Self {
            own_prices: own_prices(&config)?,
            upstreams: Arc::new(Upstreams::new(&config.upstream, metrics)?),
            tls: config.server.tls.as_ref().map(TlsSource::new).transpose()?,
            config,
        })
    }

    /// The parts for other settings; what is the same is shared.
    fn changed(&self, config: Config, metrics: &Arc<Metrics>) -> Result<Self, Refused> {
        self.config.check_change(&config)?;
        let own_prices = own_prices(&config)?;
        let upstreams = Arc::new(self.upstreams.changed(&config.upstream, metrics)?);
        // Last, since files that are looked at anew are in force at once.
        let tls = match (&self.tls, &config.server.tls) {
            (_, None) => None,
            (Some(old), Some(new)) if old.settings() == new => {
                old.look()?;
                Some(Arc::clone(old))
            }
            (_, Some(new)) => Some(TlsSource::new(new)?),
        };
        Ok(Self {
            upstreams,
            own_prices,
            tls,
            config,
        })
    }

    /// Lets the models that the settings name be label values.
    pub(super) fn name_models(&self, metrics: &Metrics) {
        let aliased = self.config.models.alias.iter();
        let names = aliased.flat_map(|(asked, served)| [asked, served]);
        metrics
            .models()
            .learn("config", names.map(|model| model.base().into()));
    }
}

/// Checks the price table that settings name.
///
/// # Errors
/// Every entry of it that is wrong.
pub fn check_prices(config: &Config) -> Result<(), Mistakes> {
    own_prices(config).map(drop)
}

/// The prices of the settings' own table; a table that is wrong is a mistake in the settings.
fn own_prices(config: &Config) -> Result<PriceTable, Mistakes> {
    let Some(file) = &config.prices.file else {
        return Ok(PriceTable::default());
    };
    PriceTable::from_community(&file.text).map_err(|wrong| {
        let all = |error: &TableError| {
            let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
            causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        };
        Mistakes::of_key("prices.file", wrong.iter().map(all))
    })
}

/// Why new settings are not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Mistaken(#[from] Mistakes),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Upstream(#[from] ConnectError),
    #[error("they could not be read")]
    Broken(#[from] tokio::task::JoinError),
}

impl Refused {
    fn log(&self) {
        match self {
            Self::Mistaken(mistakes) => {
                for mistake in mistakes.iter() {
                    tracing::error!(%mistake, "a mistake in the new settings");
                }
            }
            Self::Tls(_) | Self::Upstream(_) | Self::Broken(_) => {
                let causes =
                    std::iter::successors(Some(self as &dyn std::error::Error), |error| error.source());
                let error = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
                tracing::error!(%error, "the new settings can't be used");
            }
        }
        tracing::error!("the new settings are refused; the old ones go on");
    }
}

/// What new settings replace something in.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) gate: Arc<Gate>,
    pub(super) worker: Arc<Worker>,
    pub(super) admin: Arc<Admin>,
    pub(super) data_terms: Terms,
    pub(super) admin_terms: Terms,
    pub(super) origins: Origins,
    pub(super) upstreams: watch::Sender<Arc<Upstreams>>,
    pub(super) prices: Arc<Prices>,
    /// How often price lists are fetched, if they are.
    pub(super) price_refresh: watch::Sender<Option<Duration>>,
    pub(super) metrics: Arc<Metrics>,
}

impl Targets {
    fn put_in_force(&self, parts: &Parts) {
        let Config { server, admin, .. } = &parts.config;
        parts.name_models(&self.metrics);
        self.gate.reload(&parts.config, Arc::clone(&parts.upstreams));
        self.worker.reload(&parts.config);
        self.prices.replace_own(parts.own_prices.clone());
        self.upstreams.send_replace(Arc::clone(&parts.upstreams));
        self.price_refresh.send_if_modified(|every| {
            let new = parts.config.prices.fetched_every();
            std::mem::replace(every, new) != new
        });
        self.data_terms.change(Settings::from(server), parts.tls.clone());
        self.admin_terms.change(Settings::from(server), None);
        self.origins.change(&server.cors);
        self.admin.change(admin);
    }
}

/// Keeps the settings of a running gateway up to date.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) parts: Arc<Parts>,
    pub(super) targets: Targets,
    renewal: Renewal,
}

impl Reloader {
    pub(super) fn new(parts: Parts, renewal: Renewal, targets: Targets) -> Self {
        Self {
            parts: Arc::new(parts),
            targets,
            renewal,
        }
    }

    /// Reloads whenever `asked` says so or the files have changed; never ends.
    ///
    /// What blocks runs as one of `tasks`. Dropping the future leaves the settings as they are.
    pub(super) async fn run(&mut self, asked: &Notify, tasks: &TaskTracker) {
        loop {
            tokio::select! {
                () = asked.notified() => {}
                () = self.changed(tasks) => {}
            }
            self.reload(tasks).await;
        }
    }

    /// Looks until the files that were read last are not what they were.
    async fn changed(&self, tasks: &TaskTracker) {
        let mut differing = None;
        loop {
            let wait = match differing {
                None => self.renewal.look_every,
                Some(_) => self.renewal.look_every / SECOND_LOOK,
            };
            tokio::time::sleep(wait).await;
            let tls = self.parts.tls.clone();
            let old = self.renewal.again.as_ref().map(|again| again.files.clone());
            let looking = tasks.spawn_blocking(move || {
                let certificate = tls.and_then(|tls| tls.look_for_changes());
                let files = old.and_then(|old| Some(old.look()).filter(|now| *now != old));
                (certificate, files)
            });
            let (certificate, now) = looking.await.unwrap_or_default();
            if let Some(certificate) = certificate {
                self.certificate_looked_at(certificate);
            }
            if now.is_some() && now == differing {
                return;
            }
            differing = now;
        }
    }

    fn certificate_looked_at(&self, outcome: Result<(), TlsError>) {
        self.targets.metrics.config_reloaded(outcome.is_ok());
        match outcome {
            Ok(()) => tracing::info!("the TLS files have changed: new connections get the new certificate"),
            Err(error) => Refused::from(error).log(),
        }
    }

    async fn reload(&mut self, tasks: &TaskTracker) {
        let Some(again) = &mut self.renewal.again else {
            tracing::info!("there is nothing to reload: the settings came from no file");
            return;
        };
        let (load, old) = (Arc::clone(&again.load), Arc::clone(&self.parts));
        let metrics = Arc::clone(&self.targets.metrics);
        let preparing = tasks.spawn_blocking(move || {
            let Loaded { outcome, files } = load();
            let parts = outcome
                .map_err(Refused::from)
                .and_then(|config| old.changed(config, &metrics));
            (parts, files)
        });
        let prepared = match preparing.await {
            Ok((parts, files)) => {
                again.files = files;
                parts
            }
            Err(error) => Err(error.into()),
        };
        self.targets.metrics.config_reloaded(prepared.is_ok());
        match prepared {
            Ok(parts) => {
                self.targets.put_in_force(&parts);
                log_applied(&parts.config);
                self.parts = Arc::new(parts);
            }
            Err(refused) => refused.log(),
        }
    }
}

fn log_applied(config: &Config) {
    tracing::info!(
        accounts = config.accounts.len(),
        keys = config
            .accounts
            .iter()
            .map(|account| account.keys.len())
            .sum::<usize>(),
        upstreams = config.upstream.routes.len() + 1,
        aliases = config.models.alias.len(),
        origins = config.server.cors.origins.len(),
        tls = config.server.tls.is_some(),
        "new settings are in force"
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_entry_that_is_wrong_in_the_price_table_is_a_mistake_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let (gate, table) = (folder.path().join("gate.toml"), folder.path().join("prices.json"));
        std::fs::write(&gate, "[prices]\nfile = \"prices.json\"\n").unwrap();
        let check = |prices: &str| {
            std::fs::write(&table, prices).unwrap();
            let loaded = Config::load(&gate, &BTreeMap::<String, String>::new());
            check_prices(&loaded.outcome.unwrap()).map_err(|mistakes| mistakes.to_string())
        };
        assert_eq!(check(r#"{"acme/m": {"input_cost_per_token": 1e-6}}"#), Ok(()));
        let wrong = "prices.file: the entry `acme/m` of the price table: `input_cost_per_token` is wrong: \
                     an amount is not negative";
        assert_eq!(
            check(r#"{"acme/m": {"input_cost_per_token": -1e-6}}"#),
            Err(wrong.to_owned())
        );
        assert!(
            check("[]")
                .unwrap_err()
                .starts_with("prices.file: the price table is no JSON object")
        );
    }
}
