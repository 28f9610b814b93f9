//! When two names are the same to a server that matches loosely.

use unicode_normalization::UnicodeNormalization;

/// The top-level keys of a body that decide what a call costs, which model serves it or what becomes of it.
pub(super) const POLICY_KEYS: [&str; 16] = [
    "model",
    "models",
    "model_id",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_new_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "num_responses",
    "num_images",
    "service_tier",
    "webhook",
    "background",
];

/// The two letters that case folding keeps apart from `i`, but that equal it where upper case is compared letter by
/// letter, as `equalsIgnoreCase` of Java does.
const TURKISH_I: [char; 2] = ['\u{130}', '\u{131}'];

/// Which of `keys` a name is, or only resembles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It is this key, byte for byte.
    Same(&'static str),
    /// It is another name that equals this key after NFKC and case folding, letter by letter too.
    Alike(&'static str),
    /// It is neither.
    Other,
}

/// Holds `name` against `keys`, which are ASCII in lower case.
pub(super) fn likeness(name: &str, keys: &[&'static str]) -> Likeness {
    match keys
        .iter()
        .find(|key| key.len() == name.len() && key.eq_ignore_ascii_case(name))
    {
        Some(key) if *key == name => Likeness::Same(key),
        Some(key) => Likeness::Alike(key),
        None if name.is_ascii() => Likeness::Other,
        None => likeness_of_letters(name, keys),
    }
}

#[cold]
fn likeness_of_letters(name: &str, keys: &[&'static str]) -> Likeness {
    let plain = name
        .nfkc()
        .map(|letter| if TURKISH_I.contains(&letter) { 'i' } else { letter });
    let folded: String = plain.flat_map(char::to_lowercase).nfkc().collect();
    let alike = keys.iter().find(|key| **key == folded);
    alike.map_or(Likeness::Other, |key| Likeness::Alike(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_loose_server_takes_for_a_key_are_alike() {
        for alike in ["Model", "MODEL", "ｍodel", "mo\u{2146}el", "ＭＯＤＥＬ"] {
            assert_eq!(likeness(alike, &POLICY_KEYS), Likeness::Alike("model"), "{alike}");
        }
        assert_eq!(
            likeness("max_to\u{212a}ens", &POLICY_KEYS),
            Likeness::Alike("max_tokens")
        );
        assert_eq!(likeness("\u{17f}tream", &POLICY_KEYS), Likeness::Alike("stream"));
        for alike in ["serv\u{131}ce_tier", "serv\u{130}ce_tier", "SERVI\u{307}CE_TIER"] {
            assert_eq!(
                likeness(alike, &POLICY_KEYS),
                Likeness::Alike("service_tier"),
                "{alike}"
            );
        }
        assert_eq!(likeness("model", &POLICY_KEYS), Likeness::Same("model"));
        for other in ["", "modell", "mode", "messages", "model ", "mоdel"] {
            assert_eq!(likeness(other, &POLICY_KEYS), Likeness::Other, "{other}");
        }
    }
}
