//! The prices in force: a list from each upstream, and the settings' own table, which wins over all of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio::sync::watch;

use super::community::{self, TableError};
use super::listed;
use super::price::Price;
use crate::types::ModelName;

/// The prices of some models, by their names without version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceTable(HashMap<Arc<str>, Arc<Price>, RandomState>);

impl PriceTable {
    /// Reads what an upstream gives at `GET /models/list`, a JSON array. Entries that are broken or of an unknown type are
    /// left out; gives also how many were broken.
    ///
    /// # Errors
    /// It is no JSON array.
    pub fn from_upstream(bytes: &[u8]) -> Result<(Self, usize), serde_json::Error> {
        let (prices, broken) = listed::read(bytes)?;
        Ok((prices.into_iter().collect(), broken))
    }

    /// Reads a table in the format of the community's `model_prices_and_context_window.json`, a JSON object. Entries of
    /// whose prices this version knows none are left out.
    ///
    /// # Errors
    /// Everything that is wrong with it: a price that is no number or negative.
    pub fn from_community(text: &str) -> Result<Self, Vec<TableError>> {
        Ok(community::read(text)?.into_iter().collect())
    }

    /// The price of a model, whichever version of it is named.
    pub fn price(&self, model: &ModelName) -> Option<&Arc<Price>> {
        self.0.get(model.base())
    }

    /// How many models have one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The models that have one.
    pub fn models(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }
}

/// Of a model that comes twice the first counts.
impl FromIterator<(ModelName, Price)> for PriceTable {
    fn from_iter<I: IntoIterator<Item = (ModelName, Price)>>(prices: I) -> Self {
        let mut table = HashMap::default();
        for (model, price) in prices {
            table
                .entry(Arc::from(model.base()))
                .or_insert_with(|| Arc::new(price));
        }
        Self(table)
    }
}

/// The prices in force. Reading waits for nobody.
#[derive(Debug)]
pub struct Prices {
    lists: ArcSwap<Lists>,
    /// The upstreams whose list is being fetched for the first time.
    awaited: watch::Sender<HashSet<Arc<str>>>,
}

#[derive(Debug, Clone, Default)]
struct Lists {
    own: Arc<PriceTable>,
    upstreams: HashMap<Arc<str>, Arc<PriceTable>, RandomState>,
}

impl Default for Prices {
    fn default() -> Self {
        Self::new(PriceTable::default())
    }
}

impl Prices {
    /// Begins with the settings' own table and no upstream's list.
    pub fn new(own: PriceTable) -> Self {
        Self {
            lists: ArcSwap::from_pointee(Lists {
                own: Arc::new(own),
                upstreams: HashMap::default(),
            }),
            awaited: watch::Sender::default(),
        }
    }

    /// The price of `model` at the upstream of that name, whichever version of the model is named: the own table's, else
    /// the upstream's.
    pub fn price(&self, upstream: &str, model: &ModelName) -> Option<Arc<Price>> {
        let lists = self.lists.load();
        let listed = || lists.upstreams.get(upstream)?.price(model);
        lists.own.price(model).or_else(listed).cloned()
    }

    /// Replaces the own table.
    pub fn replace_own(&self, own: PriceTable) {
        let own = Arc::new(own);
        self.change(|lists| lists.own = Arc::clone(&own));
    }

    /// Puts an upstream's list in force, in place of its last one; who waited for it goes on.
    pub fn learn(&self, upstream: &Arc<str>, list: PriceTable) {
        let list = Arc::new(list);
        self.change(|lists| drop(lists.upstreams.insert(Arc::clone(upstream), Arc::clone(&list))));
        self.arrived(upstream);
    }

    /// Drops an upstream's list, since nobody fetches it any more.
    pub fn forget(&self, upstream: &str) {
        self.change(|lists| drop(lists.upstreams.remove(upstream)));
        self.arrived(upstream);
    }

    /// An upstream's list is going to be fetched: until it has come or has failed once, [`ready`](Self::ready) waits, unless
    /// there is one already.
    pub fn expect(&self, upstream: &Arc<str>) {
        if !self.lists.load().upstreams.contains_key(upstream) {
            self.awaited
                .send_if_modified(|all| all.insert(Arc::clone(upstream)));
        }
    }

    /// An attempt to fetch an upstream's list has ended: nobody waits for it any longer.
    pub fn arrived(&self, upstream: &str) {
        self.awaited.send_if_modified(|all| all.remove(upstream));
    }

    /// Waits until the first attempt to fetch the upstream's list has ended, for `timeout` at the most. At once where none
    /// is under way. Dropping the future changes nothing.
    pub async fn ready(&self, upstream: &str, timeout: Duration) {
        let mut awaited = self.awaited.subscribe();
        let arrived = awaited.wait_for(|all| !all.contains(upstream));
        // Whether it has come or not, what there is now counts.
        drop(tokio::time::timeout(timeout, arrived).await);
    }

    fn change(&self, change: impl Fn(&mut Lists)) {
        self.lists.rcu(|lists| {
            let mut lists = Lists::clone(lists);
            change(&mut lists);
            lists
        });
    }
}

#[cfg(test)]
mod tests;
