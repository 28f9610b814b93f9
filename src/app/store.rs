//! The store of the settings, opened.

use std::sync::Arc;

use secrecy::SecretString;

use super::StartError;
use crate::config::{FileOrText, Store};
use crate::metrics::Metrics;
use crate::store::{MasterKeys, Sqlite, master_key_file};

/// Opens the store, and makes it and its master key where they are missing.
///
/// # Errors
/// The store or its master key can't be used.
pub(super) async fn open(settings: &Store, metrics: &Arc<Metrics>) -> Result<Arc<Sqlite>, StartError> {
    let Store { path, master_keys } = settings.clone();
    let metrics = Arc::clone(metrics);
    let opening = tokio::task::spawn_blocking(move || {
        let texts: Vec<SecretString> = master_keys.iter().map(text).collect::<Result<_, _>>()?;
        let sqlite = Sqlite::open(&path, MasterKeys::parse(&texts)?, metrics);
        sqlite
            .map(Arc::new)
            .map_err(|source| StartError::Store { path, source })
    });
    match opening.await {
        Ok(opened) => opened,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn text(key: &FileOrText) -> Result<SecretString, StartError> {
    match key {
        FileOrText::File(path) => Ok(master_key_file(path)?),
        FileOrText::Text(text) => Ok(text.clone()),
    }
}
