//! Where the next of a few bytes stands.
//!
//! Most strings of JSON, and most gaps between them, are shorter than what it costs to begin a search over all that
//! follows: what is near is looked at byte by byte, or in words of eight.

use memchr::{memchr, memchr2, memchr3};

/// How many words of a string are looked at before a search begins.
const NEAR_WORDS: usize = 4;

/// How many bytes of a gap are.
const NEAR_BYTES: usize = 8;

/// How much of a long string is searched before it is looked at again, in bytes: what is still at hand then.
const BLOCK: usize = 4096;

/// 1 in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The highest bit of every byte.
const HIGHEST: u64 = 0x8080_8080_8080_8080;

/// The [`rank`] of the lowest byte that is not ASCII.
const FIRST_HIGH: u8 = 0x80 - b' ';

/// The [`rank`] of the lowest control character.
const FIRST_CONTROL: u8 = 0_u8.wrapping_sub(b' ');

/// Where the first quote is.
#[inline]
pub(super) fn quote(bytes: &[u8]) -> Option<usize> {
    match words(bytes, |word| equal(word, b'"')) {
        Ok(at) => Some(at),
        Err((passed, rest)) => Some(passed + memchr(b'"', rest)?),
    }
}

/// Where the first quote or bracket is.
#[inline]
pub(super) fn structure(open: u8, close: u8, bytes: &[u8]) -> Option<usize> {
    let (near, far) = bytes.split_at(NEAR_BYTES.min(bytes.len()));
    let is_one = |byte: &u8| *byte == b'"' || *byte == open || *byte == close;
    match near.iter().position(is_one) {
        Some(at) => Some(at),
        None => Some(near.len().saturating_add(memchr3(b'"', open, close, far)?)),
    }
}

/// The bytes in front that a string of JSON has as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plain {
    /// How many stand before the first that none has: a quote, a backslash, a control character.
    pub(super) len: usize,
    /// Whether all of those are ASCII.
    pub(super) ascii: bool,
}

/// How many bytes in front are plain: all of them, if none is special.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> Plain {
    let mut high = 0;
    let found = words(bytes, |word| {
        let special = equal(word, b'"') | equal(word, b'\\') | controls(word);
        // What stands behind the first special byte does not count.
        high |= word & (special & special.wrapping_neg()).wrapping_sub(1);
        special
    });
    let ascii = high & HIGHEST == 0;
    match found {
        Ok(len) => Plain { len, ascii },
        Err((passed, rest)) => {
            let far = plain_far(rest);
            Plain {
                len: passed + far.len,
                ascii: ascii && far.ascii,
            }
        }
    }
}

/// The same of what does not end near.
#[inline(never)]
fn plain_far(bytes: &[u8]) -> Plain {
    let mut far = Plain { len: 0, ascii: true };
    for block in bytes.chunks(BLOCK) {
        let end = memchr2(b'"', b'\\', block).unwrap_or(block.len());
        let part = block.get(..end).unwrap_or_default();
        let (len, ascii) = match part.iter().fold(0, |most, byte| most.max(rank(*byte))) {
            0..FIRST_HIGH => (end, true),
            FIRST_HIGH..FIRST_CONTROL => (end, false),
            FIRST_CONTROL.. => {
                let text = part.iter().take_while(|byte| **byte >= b' ');
                let ascii = text.clone().all(u8::is_ascii);
                (text.count(), ascii)
            }
        };
        far.len += len;
        far.ascii &= ascii;
        if len < block.len() {
            break;
        }
    }
    far
}

/// Ranks a byte: ASCII that can be seen is the lowest, control characters are the highest. One search for the most of
/// them tells what there is.
fn rank(byte: u8) -> u8 {
    byte.wrapping_sub(b' ')
}

/// Where the first byte is that `marks` marks in its word, if it is near; or how much was looked at, and what was not.
#[inline]
fn words(bytes: &[u8], mut marks: impl FnMut(u64) -> u64) -> Result<usize, (usize, &[u8])> {
    let mut rest = bytes;
    let mut passed = 0;
    while passed < NEAR_WORDS * 8
        && let Some((word, after)) = rest.split_first_chunk::<8>()
    {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return Ok(passed + usize::try_from(marked.trailing_zeros() / 8).unwrap_or_default());
        }
        rest = after;
        passed += 8;
    }
    Err((passed, rest))
}

/// Marks bytes of a word; the lowest that is marked is the lowest that is `byte`, those above it may be others.
fn equal(word: u64, byte: u8) -> u64 {
    let differences = word ^ ONES.wrapping_mul(u64::from(byte));
    differences.wrapping_sub(ONES) & !differences & HIGHEST
}

/// The same of control characters.
fn controls(word: u64) -> u64 {
    word.wrapping_sub(ONES.wrapping_mul(u64::from(b' '))) & !word & HIGHEST
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_found_wherever_it_stands(
            before in prop::collection::vec(prop::sample::select(b"a!# |\x7f\xa2\xff".to_vec()), 0..200),
            found in prop::sample::select(b"\"\\{}[\0\x1f\n".to_vec()),
            after in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = [before.as_slice(), &[found], &after].concat();
            let of = |is: &dyn Fn(u8) -> bool| bytes.iter().position(|byte| is(*byte));
            prop_assert_eq!(quote(&bytes), of(&|byte| byte == b'"'));
            prop_assert_eq!(structure(b'{', b'}', &bytes), of(&|byte| b"\"{}".contains(&byte)));
            let special = of(&|byte| byte < b' ' || byte == b'"' || byte == b'\\');
            let len = special.unwrap_or(bytes.len());
            let ascii = bytes[..len].is_ascii();
            prop_assert_eq!(plain(&bytes), Plain { len, ascii });
        }
    }
}
