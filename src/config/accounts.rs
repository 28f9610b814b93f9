//! `[[account]]` and `[[account.key]]`: the customers and their keys, each id, name and secret only once.

use std::collections::{HashMap, HashSet};

use secrecy::{ExposeSecret, SecretString};

use super::reader::Section;
use super::settings::{Account, AccountKey};
use crate::types::{AccountId, KeyName};

/// The shortest secret of a key, in bytes: it signs tokens too, and a shorter one can be guessed.
pub const SHORTEST_SECRET: usize = 16;

/// What every scoped token begins with; a key that does could not be told from one.
const TOKEN_PREFIX: &str = "jwt:";

/// Reads all accounts.
pub(super) fn read(sections: Vec<Section<'_>>) -> Vec<Account> {
    let mut seen = Seen::default();
    sections
        .into_iter()
        .filter_map(|section| account(section, &mut seen))
        .collect()
}

/// What no two may share.
#[derive(Default)]
struct Seen {
    accounts: HashSet<AccountId>,
    /// Secret → the key of the file where it stands.
    secrets: HashMap<String, String>,
}

fn account(mut section: Section<'_>, seen: &mut Seen) -> Option<Account> {
    let expected = "1 to 128 visible ASCII characters, such as `di:1000000000000`";
    let id = section.parsed("id", expected, |text| AccountId::parse(text).ok());
    section.require("id", "expected such as `di:1000000000000`");
    if id.as_ref().is_some_and(|id| !seen.accounts.insert(id.clone())) {
        section.mistake("id", "is another account's already");
    }
    let name = section.text("name");
    let management = section.boolean("management").unwrap_or(false);
    let mut names = HashSet::new();
    let keys = section
        .sections("key")
        .into_iter()
        .filter_map(|section| key(section, &mut names, seen))
        .collect();
    section.finish();
    Some(Account {
        id: id?,
        name,
        management,
        keys,
    })
}

fn key(mut section: Section<'_>, names: &mut HashSet<KeyName>, seen: &mut Seen) -> Option<AccountKey> {
    let expected = "1 to 128 bytes without control characters";
    let name = section.parsed("name", expected, |text| KeyName::parse(text).ok());
    section.require("name", "expected such as `auto`");
    if name.as_ref().is_some_and(|name| !names.insert(name.clone())) {
        section.mistake("name", "is another key's of this account already");
    }
    let secret = section.secret("secret");
    section.require("secret", "expected such as `env:ACME_KEY`");
    if let Some(secret) = &secret {
        check_secret(&section, secret, seen);
    }
    section.finish();
    Some(AccountKey {
        name: name?,
        secret: secret?,
    })
}

fn check_secret(section: &Section<'_>, secret: &SecretString, seen: &mut Seen) {
    let secret = secret.expose_secret();
    if secret.len() < SHORTEST_SECRET {
        section.mistake(
            "secret",
            format!("is too short; expected at least {SHORTEST_SECRET} bytes"),
        );
    }
    if secret.starts_with(TOKEN_PREFIX) {
        section.mistake(
            "secret",
            format!("begins with `{TOKEN_PREFIX}`, as only scoped tokens do"),
        );
    }
    let key = section.key("secret");
    if let Some(other) = seen.secrets.insert(secret.to_owned(), key) {
        section.mistake(
            "secret",
            format!("is the same as `{other}`; a key has to say whose it is"),
        );
    }
}
