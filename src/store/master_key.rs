//! The file that holds a master key.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::folder;
use super::seal::random_key;

/// The longest file that is read, in bytes: a key and white space fit many times.
const MAX_LEN: u64 = 4096;

/// Why the file of a master key is of no use.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyFileError {
    /// It can't be read or made.
    #[error("the master key file `{}` can't be used", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for a master key")]
    Random,
}

/// Reads the text of a master key, and makes the file with a fresh key where there is none.
///
/// The file gets mode 0600, a folder that is missing 0700. Of two starts at once both get the same key. What an
/// existing file holds is not judged here.
///
/// # Errors
/// The file can't be read or made, is no text, or is longer than any key; or there are no random bytes.
pub fn master_key_file(path: &Path) -> Result<SecretString, MasterKeyFileError> {
    let unusable = |source| MasterKeyFileError::File {
        path: path.to_owned(),
        source,
    };
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(unusable),
    }
    let key = random_key().ok_or(MasterKeyFileError::Random)?;
    make(path, &*key).map_err(unusable)?;
    read(path).map_err(unusable)
}

fn read(path: &Path) -> io::Result<SecretString> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path)?.take(MAX_LEN).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read < MAX_LEN) {
        Ok(text.trim_ascii().into())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too long"))
    }
}

/// Writes a file that is there whole or not at all; one that somebody else made in the meantime stays.
fn make(path: &Path, key: &[u8]) -> io::Result<()> {
    folder::make(folder::parent(path))?;
    let mut file = NamedTempFile::new_in(folder::parent(path))?;
    let text = Zeroizing::new(STANDARD.encode(key));
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => folder::sync_parent(path),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(refused) => Err(refused.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MasterKeys;
    use secrecy::ExposeSecret;
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_missing_file_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept/master.key");
        let made = master_key_file(&path).unwrap();
        assert!(MasterKeys::parse(std::slice::from_ref(&made)).is_ok());
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let again = master_key_file(&path).unwrap();
        assert_eq!(made.expose_secret(), again.expose_secret());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn starts_at_once_get_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let keys: BTreeSet<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| master_key_file(&path).unwrap()))
                .collect();
            let keys = starts.into_iter().map(|start| start.join().unwrap());
            keys.map(|key| key.expose_secret().to_owned()).collect()
        });
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn what_an_existing_file_holds_is_given_and_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        fs::write(&path, "what it holds\n\n").unwrap();
        assert_eq!(master_key_file(&path).unwrap().expose_secret(), "what it holds");
        fs::write(&path, vec![b'a'; 5000]).unwrap();
        let refused = master_key_file(&path).unwrap_err();
        assert!(refused.to_string().contains("master.key"), "{refused}");
        assert_eq!(fs::read(&path).unwrap().len(), 5000);
    }
}
