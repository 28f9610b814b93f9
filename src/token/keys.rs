//! API keys, found by the digest of their secret.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::ExposeSecret;

use crate::config::Account;
use crate::types::{AccountId, KeyName};

/// A caller whose credential was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account that pays.
    pub account: AccountId,
    /// The key that was shown.
    pub key: KeyName,
    /// Whether the upstream's account routes are open to it.
    pub management: bool,
}

/// Every key. A secret is looked up by its SHA-256, so that neither the time nor the memory that a look-up takes
/// tells anything of the secrets that are kept.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    by_digest: HashMap<[u8; 32], Arc<Caller>>,
}

impl KeyRing {
    /// Takes over the keys of `accounts`.
    pub fn new(accounts: &[Account]) -> Self {
        let callers = accounts.iter().flat_map(|account| {
            account.keys.iter().map(|key| {
                let caller = Caller {
                    account: account.id.clone(),
                    key: key.name.clone(),
                    management: account.management,
                };
                (sha256(key.secret.expose_secret().as_bytes()), Arc::new(caller))
            })
        });
        Self {
            by_digest: callers.collect(),
        }
    }

    /// Who shows `secret`, if anybody does.
    pub fn find(&self, secret: &[u8]) -> Option<Arc<Caller>> {
        self.by_digest.get(&sha256(secret)).cloned()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccountKey;

    #[test]
    fn a_key_is_found_by_its_whole_secret_and_by_nothing_else() {
        let ring = KeyRing::new(&[Account {
            id: AccountId::parse("di:1").unwrap(),
            name: None,
            management: false,
            keys: vec![AccountKey {
                name: KeyName::parse("auto").unwrap(),
                secret: "0123456789abcdef".into(),
            }],
        }]);
        assert_eq!(ring.find(b"0123456789abcdef").unwrap().account.as_str(), "di:1");
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(ring.find(other.as_bytes()).is_none(), "{other}");
        }
    }
}
