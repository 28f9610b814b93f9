//! How deep a JSON text nests.

use memchr::memchr2;

/// How deep arrays and objects may nest: what the strictest common parsers take.
pub(super) const MAX_DEPTH: usize = 128;

/// Whether brackets outside of strings nest deeper than [`MAX_DEPTH`], be the text JSON or not.
pub(super) fn too_deep(mut rest: &[u8]) -> bool {
    let mut depth = 0_usize;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => rest = behind_string(rest),
            _ => {}
        }
    }
    false
}

/// What stands behind the string whose inside begins here.
fn behind_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        rest = match rest.get(at..) {
            Some([b'"', after @ ..]) => return after,
            Some([b'\\', _, after @ ..]) => after,
            Some(_) | None => return &[],
        };
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_outside_of_strings_nest() {
        let nested =
            |open: &str, close: &str, depth: usize| format!("{}{}", open.repeat(depth), close.repeat(depth));
        for (text, deep) in [
            (nested("[", "]", MAX_DEPTH), false),
            (nested("[", "]", MAX_DEPTH + 1), true),
            (nested("{\"a\":", "}", MAX_DEPTH + 1), true),
            (format!("[{}]", "[],".repeat(1000)), false),
            (format!("\"{}\"", "[".repeat(1000)), false),
            (format!("[\"\\\"{}\"]", "[".repeat(1000)), false),
            (format!("[\"\\\\\",{}", "[".repeat(1000)), true),
            (format!("\"{}", "[".repeat(1000)), false),
        ] {
            assert_eq!(too_deep(text.as_bytes()), deep, "{text}");
        }
    }
}
