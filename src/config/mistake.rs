//! What is wrong with a configuration: every mistake, each with its key. A value is never repeated, since any
//! value may be a secret.

use std::fmt;

/// The most edits between a wrong name and the known one that is offered for it.
const MAX_EDITS: usize = 2;

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this line of the file, from 1.
    Line(usize),
    /// In this environment variable.
    Variable(String),
}

/// One mistake. Shown as `key (line 3): what is wrong and what is expected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key, such as `account[0].key[1].secret`; empty for the file as a whole.
    pub key: String,
    /// Where it was made, if that is known.
    pub place: Option<Place>,
    /// What is wrong and what is expected.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.key.as_str() {
            "" => "the file",
            key => key,
        };
        match &self.place {
            Some(Place::Line(line)) => write!(f, "{key} (line {line}): {}", self.message),
            Some(Place::Variable(name)) => write!(f, "{key} (from {name}): {}", self.message),
            None => write!(f, "{key}: {}", self.message),
        }
    }
}

/// Every mistake of a configuration, in the order of the file. Shown one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Sorts them: those of the file by line, then those of the environment, then what is missing altogether.
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| match &mistake.place {
            Some(Place::Line(line)) => (0, *line),
            Some(Place::Variable(_)) => (1, 0),
            None => (2, 0),
        });
        Self(mistakes)
    }

    /// A single mistake of the file as a whole.
    pub(super) fn of_file(place: Option<Place>, message: String) -> Self {
        Self(vec![Mistake {
            key: String::new(),
            place,
            message,
        }])
    }

    /// Mistakes in what `key` leads to.
    pub fn of_key(key: &str, messages: impl IntoIterator<Item = String>) -> Self {
        let mistake = |message| Mistake {
            key: key.to_owned(),
            place: None,
            message,
        };
        Self(messages.into_iter().map(mistake).collect())
    }

    /// Each one.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The known name that `name` was probably meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (edits(name, known), known))
        .filter(|(edits, known)| *edits <= MAX_EDITS && *edits < known.len())
        .min()
        .map(|(_, known)| known)
}

/// Counts the insertions, deletions and replacements between two names (Levenshtein's distance).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut beside = i + 1;
        let mut next = vec![beside];
        for (b, pair) in to.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            beside = (diagonal + usize::from(a != *b)).min(above + 1).min(beside + 1);
            next.push(beside);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_name_within_two_edits_is_offered() {
        let known = ["listen", "admin_listen", "max_head", "max_headers", "id"];
        for (wrong, offered) in [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("max_heads", Some("max_head")),
            ("max-headers", Some("max_headers")),
            ("ip", Some("id")),
            ("xy", None),
            ("timeout", None),
        ] {
            assert_eq!(nearest(wrong, known), offered, "{wrong}");
        }
    }

    #[test]
    fn mistakes_are_shown_one_per_line_with_key_and_place() {
        let at = |key: &str, place| Mistake {
            key: key.into(),
            place,
            message: "is wrong".into(),
        };
        let mistakes = Mistakes::new(vec![
            at("account", None),
            at(
                "server.listen",
                Some(Place::Variable("TIDEGATE__SERVER__LISTEN".into())),
            ),
            at("admin.token", Some(Place::Line(7))),
        ]);
        assert_eq!(
            mistakes.to_string(),
            "admin.token (line 7): is wrong\n\
             server.listen (from TIDEGATE__SERVER__LISTEN): is wrong\n\
             account: is wrong"
        );
    }
}
