//! `[store]` and `[scoped_jwt]`: where lasts what must last, and how long tokens live.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use super::reader::Section;
use super::settings::{FileOrText, ScopedJwt, Store};

/// The file where none is named.
const DEFAULT_PATH: &str = "tidegate-data/tidegate.db";

/// The master key where none is named.
const DEFAULT_MASTER_KEY: &str = "tidegate-data/master.key";

/// The length of a master key, in bytes.
const MASTER_KEY_BYTES: usize = 32;

const MASTER_KEY: &str = "expected 32 bytes in base64, such as `openssl rand -base64 32` prints";

/// The longest life that a token may be given: ten years, beyond which a slip of the finger shows.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Reads `[store]`.
pub(super) fn read(mut section: Section<'_>) -> Store {
    let path = section
        .literal("url")
        .and_then(|url| path(&section, &url))
        .unwrap_or_else(|| section.path(DEFAULT_PATH));
    let master_keys = if section.is_list("master_key") {
        listed(&mut section)
    } else {
        alone(&mut section)
    };
    let default = || vec![FileOrText::File(section.path(DEFAULT_MASTER_KEY))];
    let store = Store {
        path,
        master_keys: master_keys.unwrap_or_else(default),
    };
    section.finish();
    store
}

/// What stands in where there is no `[store]`.
pub(super) fn default(root: &Section<'_>) -> Store {
    Store {
        path: root.path(DEFAULT_PATH),
        master_keys: vec![FileOrText::File(root.path(DEFAULT_MASTER_KEY))],
    }
}

fn path(section: &Section<'_>, url: &str) -> Option<PathBuf> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        section.mistake(
            "url",
            "PostgreSQL stores are not in this version; expected `sqlite:PATH`",
        );
        return None;
    }
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Some(section.path(path)),
        Some(_) | None => {
            section.mistake("url", "expected `sqlite:PATH`");
            None
        }
    }
}

/// One key. A file is not read here: the store makes it where it is missing.
fn alone(section: &mut Section<'_>) -> Option<Vec<FileOrText>> {
    if let Some(file) = section.file("master_key") {
        return Some(vec![FileOrText::File(file)]);
    }
    let text = section.text("master_key")?;
    check(section, "master_key", &text);
    Some(vec![FileOrText::Text(SecretString::from(text))])
}

/// The key that seals, and those that only open; all of them are there already.
fn listed(section: &mut Section<'_>) -> Option<Vec<FileOrText>> {
    let texts = section.texts("master_key")?;
    if texts.is_empty() {
        section.mistake("master_key", "expected at least one key");
    }
    for (index, (_, text)) in texts.iter().enumerate() {
        check(section, &format!("master_key[{index}]"), text);
    }
    let keys = texts.into_iter();
    Some(
        keys.map(|(_, text)| FileOrText::Text(SecretString::from(text)))
            .collect(),
    )
}

fn check(section: &Section<'_>, name: &str, text: &str) {
    let bytes = STANDARD.decode(text.trim());
    if !bytes.is_ok_and(|bytes| bytes.len() == MASTER_KEY_BYTES) {
        section.mistake(name, MASTER_KEY);
    }
}

/// Reads `[scoped_jwt]`.
pub(super) fn scoped_jwt(mut section: Section<'_>) -> ScopedJwt {
    let or = ScopedJwt::default();
    let mut life = |name, or| match section.duration(name) {
        Some(life) if life.is_zero() || life > LONGEST_LIFE => {
            section.mistake(name, "expected more than 0 and at most ten years");
            or
        }
        life => life.unwrap_or(or),
    };
    let lives = ScopedJwt {
        max_lifetime: life("max_lifetime", or.max_lifetime),
        max_self_signed_lifetime: life("max_self_signed_lifetime", or.max_self_signed_lifetime),
    };
    section.finish();
    lives
}
