//! A request path, taken apart once: what comes out has one reading only.

/// The path can be read in two ways, or in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path is not plain")]
pub(super) struct OddPath;

/// Splits a raw path at its slashes and then decodes each segment, once.
///
/// A decoded `/` stays inside its segment: only a model name may hold one, and the route table sees to that.
///
/// # Errors
/// An empty, `.` or `..` segment (before or after decoding), a malformed or doubled escape, or any character that
/// servers disagree on: control, non-ASCII, backslash, `;`, quotes and brackets.
pub(super) fn segments(raw: &str) -> Result<Vec<String>, OddPath> {
    let rest = raw.strip_prefix('/').ok_or(OddPath)?;
    rest.split('/').map(decode).collect()
}

fn decode(raw: &str) -> Result<String, OddPath> {
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => escaped(rest.next(), rest.next())?,
            b'/' => return Err(OddPath),
            plain => plain,
        };
        if !is_plain(byte) {
            return Err(OddPath);
        }
        decoded.push(char::from(byte));
    }
    let dotted = decoded.split('/').any(|part| matches!(part, "" | "." | ".."));
    if dotted { Err(OddPath) } else { Ok(decoded) }
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Result<u8, OddPath> {
    let digit = |byte: Option<u8>| {
        char::from(byte?)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (high, low) = (digit(high).ok_or(OddPath)?, digit(low).ok_or(OddPath)?);
    Ok(high << 4 | low)
}

/// The characters of RFC 3986's `pchar` without `;` and without `%`, and the slash that an escape may mean.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_comes_apart_at_its_slashes_and_is_decoded_once() {
        let plain = segments("/v1/inference/meta-llama/Llama-3.3%2D70B").unwrap();
        assert_eq!(plain, ["v1", "inference", "meta-llama", "Llama-3.3-70B"]);
        assert_eq!(
            segments("/v1/inference/acme%2Fmodel").unwrap(),
            ["v1", "inference", "acme/model"]
        );
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_odd() {
        let dots = [
            "..",
            "%2e%2e",
            ".%2e",
            "%252e%252e",
            "..;x=1",
            "..%00",
            "..\\",
            "%c0%ae%c0%ae",
            "．．",
            ".",
            "%2e",
        ];
        for dots in dots {
            for path in [
                format!("/{dots}/v1/models"),
                format!("/v1/{dots}/models"),
                format!("/v1/models/{dots}"),
            ] {
                assert_eq!(segments(&path), Err(OddPath), "{path}");
            }
        }
        for path in [
            "",
            "v1",
            "//v1/models",
            "/v1//models",
            "/v1/models/",
            "/v1/mo%64els/%",
            "/v1/%zz",
            "/v1/%2",
            "/v1/%252F",
            "/v1/a%5cb",
            "/v1/a;b=c",
            "/v1/a%00",
            "/v1/a%0d%0a",
            "/v1/é",
            "/v1/a\u{7f}",
            "/v1/%2f",
            "/v1/a%2f..%2fb",
            "/v1/a%2f",
            "/v1/%2fa",
            "/v1/a b",
            "/v1/{a}",
            "/v1/a|b",
            "/v1/a^b",
            "/v1/\"a\"",
            "/v1/<a>",
            "/v1/a%25b",
        ] {
            assert_eq!(segments(path), Err(OddPath), "{path}");
        }
    }
}
