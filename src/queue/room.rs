//! How much may be taken of what.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// For how many there is room, of each of something: usually so many, and of some fewer.
#[derive(Debug, Clone)]
pub struct Room<K> {
    /// As a rule.
    pub usual: usize,
    /// Those that have less, and how much.
    pub less: Arc<HashMap<K, usize>>,
}

impl<K: Eq + Hash> Room<K> {
    /// So much for each.
    pub fn of_all(usual: usize) -> Self {
        Self {
            usual,
            less: Arc::default(),
        }
    }

    /// How much there is for this one.
    pub fn of(&self, key: &K) -> usize {
        self.less
            .get(key)
            .map_or(self.usual, |less| self.usual.min(*less))
    }
}
