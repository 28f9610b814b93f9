//! The name of a job, which client, receiver and upstream see.

use std::fmt;
use std::sync::Arc;

use super::RequestId;

/// How many characters follow the `R`: 23 of 62 are 136 bits, so that none is met twice and none is guessed.
const RANDOM: usize = 23;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `R` and 23 of `[0-9A-Za-z]`, as the upstream's own request ids are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Arc<str>);

impl JobId {
    /// Makes a fresh one out of bytes that nobody can guess.
    pub fn new(random: [u8; 32]) -> Self {
        // Bytes beyond the last whole round of the alphabet would make its first characters more frequent.
        let fair = random.iter().filter(|byte| **byte < 248);
        let mut digits = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        let mut text = String::with_capacity(RANDOM + 1);
        text.push('R');
        // Running out of fair bytes is less likely than 1 in 10^8, and then the rest is as good.
        let mut rest = random
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
        for _ in 0..RANDOM {
            let digit = digits.next().or_else(|| rest.next());
            text.push(char::from(digit.copied().unwrap_or(b'0')));
        }
        Self(text.into())
    }

    /// Reads one; `None` if the text has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let random = text.strip_prefix('R')?;
        let fits = random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as that of the calls that are made for the job.
    pub fn request_id(&self) -> RequestId {
        RequestId::from(self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_an_r_and_23_characters() {
        for bytes in [[0; 32], [255; 32], [7; 32]] {
            let id = JobId::new(bytes);
            assert_eq!(JobId::parse(id.as_str()), Some(id.clone()));
            assert_eq!(id.request_id().as_str(), id.as_str());
        }
        assert_ne!(JobId::new([1; 32]), JobId::new([2; 32]));
        for bad in [
            "",
            "R",
            "Rabc",
            "X00000000000000000000000",
            "R0000000000000000000000.",
            "R000000000000000000000000",
        ] {
            assert_eq!(JobId::parse(bad), None, "{bad:?}");
        }
    }
}
