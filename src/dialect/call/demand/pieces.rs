//! A JSON document that is known to be one, piece by piece: nothing is decoded, nothing is kept.

use memchr::memchr2;

/// A piece of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A member's key, as it is written between its quotes.
    Key(&'a [u8]),
    /// A string, as it is written between its quotes.
    Text(&'a [u8]),
    /// A number, `true`, `false` or `null`.
    Word(&'a [u8]),
    /// The beginning of an object.
    Object,
    /// The beginning of a list.
    List,
    /// The end of either.
    End,
}

/// Takes a document apart. Of what is no JSON it may give anything, but it comes to an end.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    /// The pieces of `document`.
    pub(super) fn of(document: &'a [u8]) -> Self {
        Self { rest: document }
    }

    fn string(&mut self, rest: &'a [u8]) -> Option<Piece<'a>> {
        let mut end = 0;
        while let Some(at) = memchr2(b'"', b'\\', rest.get(end..)?) {
            end = end.saturating_add(at);
            if rest.get(end) == Some(&b'"') {
                let (text, after) = rest.split_at_checked(end)?;
                let after = after.get(1..)?;
                // Behind a string a colon can stand only where the string is a key.
                if let Some(value) = after.trim_ascii_start().strip_prefix(b":") {
                    self.rest = value;
                    return Some(Piece::Key(text));
                }
                self.rest = after;
                return Some(Piece::Text(text));
            }
            end = end.saturating_add(2);
        }
        None
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            let piece = match first {
                b'"' => return self.string(rest),
                b'{' => Piece::Object,
                b'[' => Piece::List,
                b'}' | b']' => Piece::End,
                b',' | b' ' | b'\n' | b'\r' | b'\t' => {
                    self.rest = rest;
                    continue;
                }
                _ => {
                    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                    let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at_checked(end)?;
                    self.rest = rest;
                    return Some(Piece::Word(word));
                }
            };
            self.rest = rest;
            return Some(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The pieces that a document has, in the words of its own values.
    fn expected(value: &Value, pieces: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                pieces.push("{".to_owned());
                for (key, value) in members {
                    pieces.push(format!("{}:", Value::from(key.as_str())));
                    expected(value, pieces);
                }
                pieces.push("end".to_owned());
            }
            Value::Array(entries) => {
                pieces.push("[".to_owned());
                entries.iter().for_each(|entry| expected(entry, pieces));
                pieces.push("end".to_owned());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                pieces.push(value.to_string())
            }
        }
    }

    fn found(document: &str) -> Vec<String> {
        let text = |raw: &[u8]| String::from_utf8(raw.to_vec()).unwrap();
        Pieces::of(document.as_bytes())
            .map(|piece| match piece {
                Piece::Key(key) => format!("\"{}\":", text(key)),
                Piece::Text(string) => format!("\"{}\"", text(string)),
                Piece::Word(word) => text(word),
                Piece::Object => "{".to_owned(),
                Piece::List => "[".to_owned(),
                Piece::End => "end".to_owned(),
            })
            .collect()
    }

    fn documents() -> impl Strategy<Value = Value> {
        let strings = prop::sample::select(vec!["", "a", "\"", "\\", "\\\"", ":", "{[,]}", "\u{1f30a}\n"]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            strings.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            let members = prop::collection::vec((strings.clone(), inner.clone()), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(Value::from),
                members.prop_map(|members| members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_piece_of_a_document_is_found_however_it_is_written(document in documents(), pretty: bool) {
            let text = if pretty { format!(" {document:#}\n") } else { document.to_string() };
            let mut want = Vec::new();
            expected(&document, &mut want);
            prop_assert_eq!(found(&text), want);
        }

        #[test]
        fn what_is_no_document_comes_to_an_end_too(text in "[\\[\\]{}\",:a1 \\\\]{0,40}") {
            prop_assert!(Pieces::of(text.as_bytes()).count() <= text.len());
        }
    }
}
