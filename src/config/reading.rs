//! What one reading of a configuration comes upon: its mistakes, where keys stand, and what strings refer to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::env::Env;
use super::files::Files;
use super::mistake::{Mistake, Mistakes, Place};

/// The longest file that a `file:PATH` may name, in bytes: certificate bundles are under it, anything above it is
/// the wrong file.
const MAX_FILE: u64 = 1024 * 1024;

/// What one reading of a configuration has come upon so far.
pub(super) struct Reading<'a> {
    env: &'a dyn Env,
    /// The folder of the file, where relative paths begin.
    dir: &'a Path,
    mistakes: RefCell<Vec<Mistake>>,
    /// Every key that was met or asked for, and where it stands if it does.
    places: RefCell<BTreeMap<String, Option<Place>>>,
    files: RefCell<Files>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(env: &'a dyn Env, dir: &'a Path, mistakes: Vec<Mistake>) -> Self {
        Self {
            env,
            dir,
            mistakes: RefCell::new(mistakes),
            places: RefCell::default(),
            files: RefCell::default(),
        }
    }

    /// Notes a mistake at `key`, with the place where that key was met.
    pub(super) fn mistake(&self, key: impl Into<String>, message: impl Display) {
        let key = key.into();
        let place = self.place(&key);
        self.mistakes.borrow_mut().push(Mistake {
            key,
            place,
            message: message.to_string(),
        });
    }

    /// Whether something is already known to be wrong with `key` or with a part of it.
    pub(super) fn is_mistaken(&self, key: &str) -> bool {
        let part = |mistake: &Mistake| mistake.key.strip_prefix(key).map(|rest| rest.chars().next());
        self.mistakes
            .borrow()
            .iter()
            .any(|mistake| matches!(part(mistake), Some(None | Some('[' | '.'))))
    }

    /// Notes that `key` is missing, at the place of the section that it is missing in.
    pub(super) fn missing(&self, key: String, section: &str, expected: &str) {
        let place = self.place(section);
        self.mistakes.borrow_mut().push(Mistake {
            key,
            place,
            message: format!("is missing; {expected}"),
        });
    }

    /// The mistakes, if there are any; adds the files that were read to `files`.
    pub(super) fn finish(self, files: &mut Files) -> Option<Mistakes> {
        files.append(self.files.into_inner());
        let mistakes = self.mistakes.into_inner();
        (!mistakes.is_empty()).then(|| Mistakes::new(mistakes))
    }

    /// Remembers where `key` stands.
    pub(super) fn met(&self, key: &str, place: &Place) {
        self.places
            .borrow_mut()
            .insert(key.to_owned(), Some(place.clone()));
    }

    /// Remembers that `key` was asked for.
    pub(super) fn asked(&self, key: String) {
        self.places.borrow_mut().entry(key).or_default();
    }

    /// Where `key` stands, if it does.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        self.places.borrow().get(key).cloned().flatten()
    }

    /// The keys that were asked for and are not there.
    #[cfg(test)]
    pub(super) fn absent(&self) -> Vec<String> {
        let places = self.places.borrow();
        let absent = places.iter().filter(|(_, place)| place.is_none());
        absent.map(|(key, _)| key.clone()).collect()
    }

    /// Follows `env:NAME` and `file:PATH`; other text is meant as it stands.
    pub(super) fn resolve(&self, key: &str, text: String) -> Option<String> {
        if let Some(name) = text.strip_prefix("env:") {
            let value = self.env.var(name);
            if value.is_none() {
                self.mistake(key, format!("the environment variable `{name}` is not set"));
            }
            return value;
        }
        match text.strip_prefix("file:") {
            None => Some(text),
            Some(path) => self.read_file(key, &self.path(path), MAX_FILE),
        }
    }

    /// The path of a file that is named in the configuration.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// The contents of a file of at most `longest` bytes (whole MiB), without the newline at the end.
    pub(super) fn read_file(&self, key: &str, path: &Path, longest: u64) -> Option<String> {
        let bytes = self.files.borrow_mut().read(path, longest.saturating_add(1));
        let is_long = |bytes: &Vec<u8>| u64::try_from(bytes.len()).is_ok_and(|len| len > longest);
        if bytes.as_ref().is_ok_and(is_long) {
            let (path, mib) = (path.display(), longest >> 20);
            self.mistake(key, format!("the file `{path}` is longer than {mib} MiB"));
            return None;
        }
        match bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData.into())) {
            Err(error) => {
                self.mistake(
                    key,
                    format!("the file `{}` can't be read: {error}", path.display()),
                );
                None
            }
            Ok(text) => {
                let trimmed = text.strip_suffix('\n').unwrap_or(&text);
                Some(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
            }
        }
    }
}
