//! What `tidegate dev` makes on its first start and uses again later: an API key and an admin token.
//!
//! Each is a file of its own in one folder, readable by its owner alone.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use tempfile::NamedTempFile;

/// The randomness of each secret, in bytes.
const SECRET_BYTES: usize = 32;

/// The shortest key that is taken from a file, in bytes: it signs tokens too, and a shorter one can be guessed.
const SHORTEST_KEY: usize = 16;

/// What an API key made here begins with, so that a scanner of leaked secrets can know it.
const KEY_PREFIX: &str = "tgk_";

/// What an admin token made here begins with.
const ADMIN_PREFIX: &str = "tga_";

/// The secrets of `tidegate dev`.
#[derive(Debug)]
pub(super) struct Credentials {
    /// The API key of the one account.
    pub(super) key: SecretString,
    /// The bearer token of the admin listener.
    pub(super) admin_token: SecretString,
}

/// Why the secrets can't be made or used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// A file or the folder can't be read or written.
    #[error("`{}` can't be used", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// What a file holds is none.
    #[error("`{}` holds {expected} no more; remove it to have a new one made", .path.display())]
    Spoilt { path: PathBuf, expected: &'static str },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl Credentials {
    /// Reads them from `dir`, and makes those that are not there: the folder with mode 0700, the files with 0600.
    ///
    /// # Errors
    /// The folder or a file can't be used, or a file holds something else.
    pub(super) fn open(dir: &Path) -> Result<Self, Unusable> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| unusable(dir, source))?;
        let key = read_or_make(&dir.join("key"), || prefixed(KEY_PREFIX))?;
        let admin_token = read_or_make(&dir.join("admin-token"), || prefixed(ADMIN_PREFIX))?;
        let spoilt = |name: &str, expected| Unusable::Spoilt {
            path: dir.join(name),
            expected,
        };
        if key.len() < SHORTEST_KEY || !is_credential(&key) {
            return Err(spoilt("key", "an API key"));
        }
        if !is_credential(&admin_token) {
            return Err(spoilt("admin-token", "an admin token"));
        }
        Ok(Self {
            key: key.into(),
            admin_token: admin_token.into(),
        })
    }
}

/// Whether a header can carry it and nothing takes it for a scoped token.
fn is_credential(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) && !text.starts_with("jwt:")
}

fn read_or_make(path: &Path, make: impl FnOnce() -> Result<String, Unusable>) -> Result<String, Unusable> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = make()?;
            write(path, &secret).map_err(|source| unusable(path, source))?;
            Ok(secret)
        }
        Err(source) => Err(unusable(path, source)),
        Ok(text) => Ok(text.trim_ascii_end().to_owned()),
    }
}

/// Writes a new file that is there whole or not at all, with mode 0600.
fn write(path: &Path, secret: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(dir)?;
    writeln!(file, "{secret}")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|refused| refused.error)?;
    Ok(())
}

fn prefixed(prefix: &str) -> Result<String, Unusable> {
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random()?)))
}

fn random() -> Result<[u8; SECRET_BYTES], Unusable> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Unusable::Random)?;
    Ok(bytes)
}

fn unusable(path: &Path, source: io::Error) -> Unusable {
    Unusable::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_first_start_makes_secrets_and_later_ones_use_them_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        let first = Credentials::open(&dir).unwrap();
        let second = Credentials::open(&dir).unwrap();
        assert_eq!(first.key.expose_secret(), second.key.expose_secret());
        assert_eq!(
            first.admin_token.expose_secret(),
            second.admin_token.expose_secret()
        );
        assert!(first.key.expose_secret().starts_with("tgk_"));
        let elsewhere = Credentials::open(&parent.path().join("c")).unwrap();
        assert_ne!(first.key.expose_secret(), elsewhere.key.expose_secret());
    }

    #[test]
    fn only_the_owner_can_read_them() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        Credentials::open(&dir).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
            names.push(entry.file_name().into_string().unwrap());
        }
        names.sort();
        assert_eq!(names, ["admin-token", "key"]);
    }

    #[test]
    fn a_spoilt_file_is_refused_and_not_replaced() {
        for (name, text) in [("key", "short"), ("key", "two words in it"), ("admin-token", "")] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), text).unwrap();
            let refused = Credentials::open(dir.path()).unwrap_err();
            assert!(matches!(refused, Unusable::Spoilt { .. }), "{name}: {refused}");
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), text);
        }
    }
}
