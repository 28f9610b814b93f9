//! Secrets at rest: sealed by a master key to the one place where they belong.
//!
//! A sealed secret is `version (1 byte) | key id (8) | nonce (12) | ciphertext and tag (16 more than the secret)`, by
//! AES-256-GCM-SIV (RFC 8452). Its place, the version and the key id are bound to it as associated data.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// The length of a master key, in bytes.
pub(super) const KEY_LEN: usize = 32;

const ID_LEN: usize = 8;
const HEADER_LEN: usize = 1 + ID_LEN;
const TAG_LEN: usize = 16;

/// How much longer what is sealed is, in bytes.
pub(super) const OVERHEAD: usize = HEADER_LEN + NONCE_LEN + TAG_LEN;

/// The version of the form above.
const VERSION: u8 = 1;

/// Keeps a key's id apart from every other digest of it.
const ID_CONTEXT: &[u8] = b"tidegate master key id\0";

/// The keys that secrets are sealed with: the first seals, and all open.
#[derive(Debug)]
pub struct MasterKeys {
    first: MasterKey,
    rest: Vec<MasterKey>,
}

struct MasterKey {
    header: Header,
    cipher: RandomizedNonceKey,
}

/// What a sealed secret begins with: version and key id.
pub(super) type Header = [u8; HEADER_LEN];

/// A text is no master key. Keys are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// There is none.
    #[error("there is no master key")]
    None,
    /// The text has another form.
    #[error("master key {at} is not {KEY_LEN} bytes in standard base64")]
    Form {
        /// Which one.
        at: usize,
    },
    /// The cipher or the source of random bytes failed.
    #[error("the cipher library refuses to make a key")]
    Cipher,
}

/// Where a sealed secret belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) table: &'static str,
    pub(super) account: &'a str,
    pub(super) name: &'a str,
    pub(super) slot: u8,
}

/// Why a secret can't be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    #[error("it was sealed with another master key, or its head is damaged")]
    UnknownKey,
    #[error("it was changed, cut, or moved from another place")]
    Broken,
    #[error("the cipher library refuses to seal")]
    Cipher,
}

impl MasterKeys {
    /// Reads keys, each 32 bytes in standard base64; white space around them does not count.
    ///
    /// # Errors
    /// There is none, or one has another form.
    pub fn parse(texts: &[SecretString]) -> Result<Self, MasterKeyError> {
        let mut keys = Vec::with_capacity(texts.len());
        for (at, text) in (1..).zip(texts) {
            keys.push(MasterKey::new(
                &*bytes_of(text).ok_or(MasterKeyError::Form { at })?,
            )?);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(MasterKeyError::None)?;
        Ok(Self {
            first,
            rest: keys.collect(),
        })
    }

    /// Makes one key, which nobody keeps: for a store that does not outlast the process.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<Self, MasterKeyError> {
        Ok(Self {
            first: MasterKey::new(&*random_key().ok_or(MasterKeyError::Cipher)?)?,
            rest: Vec::new(),
        })
    }

    /// What everything sealed from now on begins with.
    pub(super) fn header(&self) -> &Header {
        &self.first.header
    }

    /// Whether what begins so was sealed with one of the keys.
    pub(super) fn knows(&self, header: &[u8]) -> bool {
        let mut keys = std::iter::once(&self.first).chain(&self.rest);
        keys.any(|key| key.header == header)
    }

    /// Seals `secret` with the first key, for `place` only.
    pub(super) fn seal(&self, place: Place<'_>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let MasterKey { header, cipher } = &self.first;
        // Never longer than this, so that no copy of the secret is left behind by a move.
        let mut text = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(TAG_LEN)));
        text.extend_from_slice(secret);
        let nonce = cipher
            .seal_in_place_append_tag(Aad::from(place.bound_to(header)), &mut *text)
            .map_err(|_unspecified| SealError::Cipher)?;
        Ok([header.as_slice(), nonce.as_ref(), &text].concat())
    }

    /// Opens what was sealed for `place` with any of the keys.
    pub(super) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (header, rest) = sealed.split_first_chunk().ok_or(SealError::Broken)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Broken)?;
        let mut keys = std::iter::once(&self.first).chain(&self.rest);
        let key = keys
            .find(|key| key.header == *header)
            .ok_or(SealError::UnknownKey)?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = key.cipher.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(place.bound_to(header)),
            &mut text,
        );
        let len = opened.map_err(|_unspecified| SealError::Broken)?.len();
        text.truncate(len);
        Ok(text)
    }
}

impl MasterKey {
    fn new(bytes: &[u8; KEY_LEN]) -> Result<Self, MasterKeyError> {
        let mut digest = Context::new(&SHA256);
        digest.update(ID_CONTEXT);
        digest.update(bytes);
        let digest = digest.finish();
        let mut header = [VERSION; HEADER_LEN];
        for (place, byte) in header.iter_mut().skip(1).zip(digest.as_ref()) {
            *place = *byte;
        }
        let cipher = RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes);
        let cipher = cipher.map_err(|_unspecified| MasterKeyError::Cipher)?;
        Ok(Self { header, cipher })
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").finish_non_exhaustive()
    }
}

impl Place<'_> {
    /// The associated data. Each part has its length before it, so that no two places have the same.
    fn bound_to(&self, header: &Header) -> Vec<u8> {
        let mut bound = header.to_vec();
        for part in [self.table, self.account, self.name] {
            bound.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bound.extend_from_slice(part.as_bytes());
        }
        bound.push(self.slot);
        bound
    }
}

/// A fresh master key, if the system gives random bytes.
pub(super) fn random_key() -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).ok()?;
    Some(bytes)
}

fn bytes_of(text: &SecretString) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    // Decoding may use up to two bytes more than it gives.
    let mut room = Zeroizing::new([0; KEY_LEN + 3]);
    let text = text.expose_secret().trim_ascii();
    let len = STANDARD.decode_slice(text, room.as_mut_slice()).ok()?;
    let bytes = room.get(..len)?;
    Some(Zeroizing::new(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'static> = Place {
        table: "keys",
        account: "di:1",
        name: "auto",
        slot: 1,
    };

    fn text(byte: u8) -> SecretString {
        STANDARD.encode([byte; KEY_LEN]).into()
    }

    fn keys(bytes: &[u8]) -> MasterKeys {
        MasterKeys::parse(&bytes.iter().copied().map(text).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_by_the_same_key_at_the_same_place() {
        let keys = MasterKeys::generate().unwrap();
        for secret in ["", "0123456789abcdef", &"x".repeat(5000)] {
            let sealed = keys.seal(HERE, secret.as_bytes()).unwrap();
            assert_eq!(sealed.len(), HEADER_LEN + NONCE_LEN + secret.len() + TAG_LEN);
            assert_eq!(keys.open(HERE, &sealed).unwrap().as_slice(), secret.as_bytes());
        }
    }

    #[test]
    fn nothing_of_the_secret_shows_and_no_two_seals_are_alike() {
        let keys = keys(&[1]);
        let (one, two) = (
            keys.seal(HERE, b"0123456789abcdef").unwrap(),
            keys.seal(HERE, b"0123456789abcdef").unwrap(),
        );
        assert_ne!(one, two);
        assert!(
            !one.windows(4)
                .any(|window| b"0123456789abcdef".windows(4).any(|w| w == window))
        );
    }

    #[test]
    fn a_bit_flipped_anywhere_is_an_error() {
        let keys = keys(&[1, 2]);
        let sealed = keys.seal(HERE, b"0123456789abcdef").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(HERE, &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_sealed_secret_that_is_cut_or_longer_is_an_error() {
        let keys = keys(&[1]);
        let mut sealed = keys.seal(HERE, b"0123456789abcdef").unwrap();
        for len in 0..sealed.len() {
            assert!(keys.open(HERE, &sealed[..len]).is_err(), "{len} bytes");
        }
        sealed.push(0);
        assert!(keys.open(HERE, &sealed).is_err());
    }

    #[test]
    fn no_other_place_opens_it() {
        let keys = keys(&[1]);
        let sealed = keys.seal(HERE, b"0123456789abcdef").unwrap();
        for elsewhere in [
            Place {
                table: "jobs",
                ..HERE
            },
            Place {
                account: "di:2",
                ..HERE
            },
            Place {
                name: "other",
                ..HERE
            },
            Place { slot: 2, ..HERE },
            Place {
                account: "di:",
                name: "1auto",
                ..HERE
            },
        ] {
            let opened = keys.open(elsewhere, &sealed);
            assert_eq!(opened.unwrap_err(), SealError::Broken, "{elsewhere:?}");
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let old = keys(&[1]).seal(HERE, b"secret").unwrap();
        let rotated = keys(&[2, 1]);
        assert_eq!(rotated.open(HERE, &old).unwrap().as_slice(), b"secret");
        let new = rotated.seal(HERE, b"secret").unwrap();
        assert!(new.starts_with(rotated.header()) && !old.starts_with(rotated.header()));
        assert_eq!(keys(&[2]).open(HERE, &new).unwrap().as_slice(), b"secret");
        assert_eq!(keys(&[1]).open(HERE, &new).unwrap_err(), SealError::UnknownKey);
    }

    #[test]
    fn a_master_key_is_32_bytes_in_standard_base64() {
        let good = STANDARD.encode([0xfb; KEY_LEN]);
        assert!(MasterKeys::parse(&[format!(" {good}\n").into()]).is_ok());
        for bad in [
            "",
            "short",
            &STANDARD.encode([1; KEY_LEN - 1]),
            &STANDARD.encode([1; KEY_LEN + 1]),
            &STANDARD.encode([1; 3 * KEY_LEN]),
            &good.replace('+', "-"),
            good.trim_end_matches('='),
            &format!("{good}{good}"),
        ] {
            let refused = MasterKeys::parse(&[text(1), bad.into()]).unwrap_err();
            assert_eq!(refused, MasterKeyError::Form { at: 2 }, "{bad:?}");
        }
        assert_eq!(MasterKeys::parse(&[]).unwrap_err(), MasterKeyError::None);
    }

    #[test]
    fn no_key_shows_in_debug_output() {
        let shown = format!("{:?}", keys(&[1]));
        assert!(!shown.contains("AQEB") && !shown.contains("1, 1"), "{shown}");
    }
}
