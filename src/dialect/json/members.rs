//! The members of one JSON object, in one walk that is as strict as a parser and keeps nothing.

use std::borrow::Cow;
use std::ops::Range;

use crate::dialect::depth::MAX_DEPTH;
use crate::dialect::find::{Plain, plain};

/// The text is not one JSON object in UTF-8 and nothing else, or it nests deeper than [`MAX_DEPTH`] levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct NoObject;

/// The key as it reads, borrowed where it has no escapes, and the value's own text.
pub(in crate::dialect) type Member<'a> = (Cow<'a, str>, &'a str);

/// The members of the object that is all of a text, in their order, whatever they are.
///
/// That the text is an object is known at the end of the walk, not before.
#[derive(Debug)]
pub(in crate::dialect) struct Members<'a> {
    text: &'a str,
    walk: Walk<'a>,
}

impl<'a> Members<'a> {
    pub(in crate::dialect) fn of(text: &'a str) -> Self {
        Self {
            text,
            walk: Walk::over(text.as_bytes()),
        }
    }

    /// All of them; `None` if the text is no object.
    pub(in crate::dialect) fn all(text: &'a str) -> Option<Vec<Member<'a>>> {
        Self::of(text).collect::<Result<_, _>>().ok()
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, NoObject>;

    fn next(&mut self) -> Option<Self::Item> {
        let member = self.walk.next()?;
        Some(member.and_then(|(key, place)| Ok((key, self.text.get(place).ok_or(NoObject)?))))
    }
}

/// The key as it reads, and where the value is.
type Located<'a> = (Cow<'a, str>, Range<usize>);

/// The same of bytes, which are known to be UTF-8 at the end of the walk, not before.
#[derive(Debug)]
pub(in crate::dialect) struct Walk<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Within,
    Behind,
}

impl<'a> Walk<'a> {
    pub(in crate::dialect) fn over(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            rest: bytes,
            place: Place::Before,
        }
    }

    fn member(&mut self) -> Result<Option<Located<'a>>, NoObject> {
        let mut rest = behind_space(self.rest);
        if self.place == Place::Before {
            rest = behind_space(rest.strip_prefix(b"{").ok_or(NoObject)?);
        }
        rest = match (self.place, rest) {
            (Place::Behind, _) => return Ok(None),
            (_, [b'}', after @ ..]) if behind_space(after).is_empty() => {
                self.place = Place::Behind;
                return Ok(None);
            }
            (Place::Before, rest) => rest,
            (Place::Within, [b',', rest @ ..]) => behind_space(rest),
            (Place::Within, _) => return Err(NoObject),
        };
        let (key, rest) = key(rest)?;
        let value = behind_space(rest);
        self.rest = behind_value(value)?;
        self.place = Place::Within;
        let place = |rest: &[u8]| self.bytes.len().saturating_sub(rest.len());
        Ok(Some((key, place(value)..place(self.rest))))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Located<'a>, NoObject>;

    fn next(&mut self) -> Option<Self::Item> {
        let member = self.member();
        if member.is_err() {
            self.place = Place::Behind;
        }
        member.transpose()
    }
}

/// The key that stands here, and what follows its colon.
fn key(quoted: &[u8]) -> Result<(Cow<'_, str>, &[u8]), NoObject> {
    let inside = quoted.strip_prefix(b"\"").ok_or(NoObject)?;
    let (key, rest) = match inside.split_at_checked(plain(inside).len) {
        Some((key, [b'"', rest @ ..])) => {
            let key = std::str::from_utf8(key).map_err(|_| NoObject)?;
            (Cow::Borrowed(key), rest)
        }
        _ => {
            let rest = behind_string(inside)?;
            let (key, _) = quoted.split_at(quoted.len().saturating_sub(rest.len()));
            let key = serde_json::from_slice(key).map_err(|_| NoObject)?;
            (Cow::Owned(key), rest)
        }
    };
    let rest = behind_space(rest).strip_prefix(b":").ok_or(NoObject)?;
    Ok((key, rest))
}

/// The kinds of what is open within a member, the innermost as the lowest bit: 1 is an object, 0 a list.
#[derive(Debug, Clone, Copy)]
struct Open {
    kinds: u128,
    depth: usize,
}

impl Open {
    /// Nothing but the object that has the member.
    const NOTHING: Self = Self { kinds: 0, depth: 1 };

    fn begin(&mut self, object: bool) -> Result<(), NoObject> {
        self.kinds = self.kinds << 1 | u128::from(object);
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            Err(NoObject)
        } else {
            Ok(())
        }
    }

    fn end(&mut self) {
        self.kinds >>= 1;
        self.depth = self.depth.saturating_sub(1);
    }

    fn is_empty(&self) -> bool {
        self.depth <= Self::NOTHING.depth
    }

    fn in_object(&self) -> bool {
        self.kinds & 1 == 1
    }
}

/// What follows the value that begins here.
fn behind_value(mut rest: &[u8]) -> Result<&[u8], NoObject> {
    let mut open = Open::NOTHING;
    loop {
        rest = match rest {
            [b'"', inside @ ..] => behind_string(inside)?,
            [b'{', inside @ ..] => {
                open.begin(true)?;
                match behind_space(inside) {
                    end @ [b'}', ..] => end,
                    key => {
                        rest = behind_key(key)?;
                        continue;
                    }
                }
            }
            [b'[', inside @ ..] => {
                open.begin(false)?;
                match behind_space(inside) {
                    end @ [b']', ..] => end,
                    entry => {
                        rest = entry;
                        continue;
                    }
                }
            }
            word => behind_word(word)?,
        };
        loop {
            if open.is_empty() {
                return Ok(rest);
            }
            match (behind_space(rest), open.in_object()) {
                ([b',', next @ ..], true) => {
                    rest = behind_key(behind_space(next))?;
                    break;
                }
                ([b',', next @ ..], false) => {
                    rest = behind_space(next);
                    break;
                }
                ([b'}', after @ ..], true) | ([b']', after @ ..], false) => {
                    rest = after;
                    open.end();
                }
                _ => return Err(NoObject),
            }
        }
    }
}

/// The value that follows the key that begins here.
fn behind_key(rest: &[u8]) -> Result<&[u8], NoObject> {
    let inside = rest.strip_prefix(b"\"").ok_or(NoObject)?;
    let colon = behind_space(behind_string(inside)?);
    Ok(behind_space(colon.strip_prefix(b":").ok_or(NoObject)?))
}

/// What follows the string whose inside begins here. Halves of surrogates are not its concern.
fn behind_string(mut rest: &[u8]) -> Result<&[u8], NoObject> {
    loop {
        let Plain { len, ascii } = plain(rest);
        let (text, special) = rest.split_at_checked(len).ok_or(NoObject)?;
        if !ascii {
            std::str::from_utf8(text).map_err(|_| NoObject)?;
        }
        rest = match special {
            [b'"', rest @ ..] => return Ok(rest),
            [
                b'\\',
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                rest @ ..,
            ] => rest,
            [b'\\', b'u', a, b, c, d, rest @ ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                rest
            }
            _ => return Err(NoObject),
        };
    }
}

/// What follows the number, the truth value or the null that begins here.
fn behind_word(rest: &[u8]) -> Result<&[u8], NoObject> {
    match rest {
        [b't', b'r', b'u', b'e', rest @ ..]
        | [b'f', b'a', b'l', b's', b'e', rest @ ..]
        | [b'n', b'u', b'l', b'l', rest @ ..] => Ok(rest),
        [b'-', rest @ ..] | rest => behind_number(rest),
    }
}

fn behind_number(rest: &[u8]) -> Result<&[u8], NoObject> {
    let mut rest = match rest {
        [b'0', b'0'..=b'9', ..] => return Err(NoObject),
        [b'0', rest @ ..] => rest,
        rest => behind_digits(rest)?,
    };
    if let [b'.', decimals @ ..] = rest {
        rest = behind_digits(decimals)?;
    }
    if let [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] = rest {
        rest = behind_digits(exponent)?;
    }
    Ok(rest)
}

/// What follows at least one digit.
fn behind_digits(rest: &[u8]) -> Result<&[u8], NoObject> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest.get(digits..).filter(|_| digits > 0).ok_or(NoObject)
}

fn behind_space(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\r' | b'\t', next @ ..] = rest {
        rest = next;
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// The members as another parser reads them; `None` if it does not.
    fn parsed(text: &str) -> Option<Vec<(String, String)>> {
        struct Pairs;
        impl<'de> serde::de::Visitor<'de> for Pairs {
            type Value = Vec<(String, String)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    pairs.push((key, value.get().to_owned()));
                }
                Ok(pairs)
            }
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let pairs = serde::Deserializer::deserialize_map(&mut deserializer, Pairs).ok()?;
        deserializer.end().ok()?;
        Some(pairs)
    }

    fn walked(text: &str) -> Option<Vec<(String, String)>> {
        let owned = |(key, value): Member<'_>| (key.into_owned(), value.to_owned());
        Members::of(text)
            .map(|member| member.map(owned))
            .collect::<Result<_, _>>()
            .ok()
    }

    /// Values, some of which are none.
    const SCALARS: [&str; 32] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "10",
        "01",
        "-",
        "1.",
        "1.50",
        ".5",
        "1e5",
        "1E+05",
        "2e-7",
        "1e",
        "+1",
        "nul",
        "truex",
        "NaN",
        r#""""#,
        r#""a""#,
        r#""\u00e9""#,
        r#""\ud800""#,
        r#""\u12g4""#,
        r#""\x""#,
        r#""\"\\\/\b\f\n\r\t""#,
        "\"\t\"",
        "\"\u{7f}\u{e9}\"",
        "\"\u{1f}\"",
        "\"a",
        "'a'",
        r#""0123456789012345678901234567890123456789012345678901234567890123456789\"{[x""#,
    ];

    /// A text of tokens that often is an object.
    fn text() -> impl Strategy<Value = String> {
        let scalar = prop::sample::select(SCALARS.to_vec()).prop_map(str::to_owned);
        let space = || prop::sample::select(vec!["", "", "", " ", "\n", "\t\r", "\u{a0}", "\u{b}"]);
        let key = || {
            prop::sample::select(vec![
                r#""a""#,
                r#""\u0062""#,
                r#""\udc00""#,
                r#""""#,
                "\"\u{e9}\"",
                "a",
                "1",
            ])
        };
        let good = prop::sample::select(vec!["1", r#""b""#, "null", "-1.5e+3", "{}", "[]", "[ ]", "{ }"]);
        let leaf = prop_oneof![3 => good.prop_map(str::to_owned), 1 => scalar];
        let value = leaf.prop_recursive(4, 24, 4, move |inner| {
            let entry = (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
            let member = (space(), key(), space(), inner, space());
            let member = member.prop_map(|(a, key, b, value, c)| format!("{a}{key}{b}:{c}{value}"));
            prop_oneof![
                prop::collection::vec(entry, 0..4).prop_map(|entries| format!("[{}]", entries.join(","))),
                prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        });
        let member = (key(), value).prop_map(|(key, value)| format!("{key}: {value}"));
        (prop::collection::vec(member, 0..5), space())
            .prop_map(|(members, space)| format!("{space}{{{space}{}{space}}}{space}", members.join(",")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_walk_sees_what_a_parser_sees(text in text()) {
            prop_assert_eq!(walked(&text), parsed(&text), "{}", text);
        }

        #[test]
        fn a_walk_takes_nothing_that_a_parser_refuses(
            text in text(),
            at: prop::sample::Index,
            put in "[{}\\[\\]\":, 0-9a-fnul.eE+\\\\\t-]{0,2}",
        ) {
            let at = text.floor_char_boundary(at.index(text.len()));
            let behind = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
            let broken = format!("{}{put}{}", &text[..at], &text[behind..]);
            prop_assert_eq!(walked(&broken), parsed(&broken), "{}", broken);
        }
    }

    proptest! {
        #[test]
        fn a_walk_over_bytes_takes_only_utf8(
            text in text(),
            long in "[a-z\u{e9}\u{4e2d}]{0,90}",
            at: prop::sample::Index,
            put in prop::collection::vec(any::<u8>(), 1..3),
        ) {
            let text = text.replace('b', &long);
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            let behind = bytes.len().min(at + put.len());
            bytes.splice(at..behind, put);
            let walked = Walk::over(&bytes).all(|member| member.is_ok());
            let parsed = std::str::from_utf8(&bytes).is_ok_and(|text| parsed(text).is_some());
            prop_assert_eq!(walked, parsed, "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_walk_goes_as_deep_as_bodies_may_nest() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[{\"b\":".repeat(depth), "}]".repeat(depth));
        assert!(walked(&nested(63)).is_some());
        assert_eq!(walked(&nested(64)), None);
        let lists = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(walked(&lists(MAX_DEPTH - 1)).is_some());
        assert_eq!(walked(&lists(MAX_DEPTH)), None);
        assert_eq!(walked(&"{\"a\":".repeat(1_000_000)), None);
    }
}
