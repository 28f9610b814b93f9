//! The forms that a text may have to have: durations, sizes, URLs, origins.

use std::time::Duration;

use http::Uri;

/// The longest duration that is taken: ten years. Timers beyond it gain nobody anything and overflow clocks.
const MAX_DURATION: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Reads a whole number and one of `ms s m h d`, such as `10s`; at most ten years.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(millis)?);
    (duration <= MAX_DURATION).then_some(duration)
}

/// Reads a whole number and one of `B KiB MiB GiB`, such as `32KiB`, as bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

/// Reads `http://` or `https://`, a host, maybe a port and a path; slashes at the end are dropped.
///
/// # Errors
/// What is wrong with it.
pub(super) fn base_url(text: &str) -> Result<Uri, &'static str> {
    if text.contains(['?', '#']) {
        return Err("a base URL has no query and no fragment");
    }
    let uri: Uri = text
        .trim_end_matches('/')
        .parse()
        .map_err(|_| "is no URL; expected such as `https://api.example.com`")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("a base URL begins with `http://` or `https://`");
    }
    let authority = uri.authority().ok_or("a base URL has a host")?;
    if authority.as_str().contains('@') {
        return Err("a base URL has no user or password; the key goes into `api_key`");
    }
    if authority.host().is_empty() {
        return Err("a base URL has a host");
    }
    let bare = authority.as_str().len() == authority.host().len();
    if !bare && authority.port_u16().is_none_or(|port| port == 0) {
        return Err("the port of a base URL is a number from 1 to 65535");
    }
    if uri.path() != "/" && !is_clean_path(uri.path()) {
        return Err("the path of a base URL has no empty, `.` or `..` part");
    }
    Ok(uri)
}

/// Reads the beginning of a path, such as `/v1`; a slash at the end is dropped, so `/` is no prefix at all.
pub(super) fn path_prefix(text: &str) -> Option<String> {
    let prefix = text.trim_end_matches('/');
    let plain = prefix
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"?#\\%".contains(&b));
    (prefix.is_empty() || (plain && is_clean_path(prefix))).then(|| prefix.to_owned())
}

fn is_clean_path(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|path| path.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

/// Checks that `text` is an origin just as a browser sends it: `scheme://host[:port]`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn origin(text: &str) -> Result<(), &'static str> {
    const FORM: &str =
        "an origin is exactly `scheme://host` or `scheme://host:port`, without `*`, path or slash";
    let (scheme, authority) = text.split_once("://").ok_or(FORM)?;
    let begins = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let scheme_valid = begins
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let uri: http::uri::Authority = authority.parse().map_err(|_| FORM)?;
    let host_valid = !uri.host().is_empty()
        && uri
            .host()
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
    let bare = authority.len() == uri.host().len();
    if !scheme_valid || !host_valid || authority.contains('@') || !(bare || uri.port_u16().is_some()) {
        return Err(FORM);
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("browsers send origins in lower case, so this one would never match");
    }
    if matches!(
        (scheme, uri.port_u16()),
        ("http", Some(80)) | ("https", Some(443))
    ) {
        return Err("browsers leave the scheme's own port out, so this one would never match");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("250ms", Some(250)),
            ("10s", Some(10_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("7d", Some(604_800_000)),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("+1s", None),
            ("1 s", None),
            ("1S", None),
            ("1sec", None),
            ("1h30m", None),
            ("3651d", None),
            ("99999999999999999999s", None),
            ("999999999999999999d", None),
            ("1s\u{e9}", None),
            ("", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn a_size_is_a_whole_number_and_a_binary_unit() {
        for (text, bytes) in [
            ("0B", Some(0)),
            ("100B", Some(100)),
            ("32KiB", Some(32_768)),
            ("1MiB", Some(1_048_576)),
            ("2GiB", Some(2_147_483_648)),
            ("32KB", None),
            ("32k", None),
            ("32", None),
            ("1TiB", None),
            ("1.5MiB", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_base_url_is_http_with_a_host_and_nothing_after_the_path() {
        for (text, taken) in [
            ("https://api.deepinfra.com", Some("https://api.deepinfra.com/")),
            ("http://10.0.0.7:8000/", Some("http://10.0.0.7:8000/")),
            ("http://[::1]:8000/a/b/", Some("http://[::1]:8000/a/b")),
            ("ftp://a", None),
            ("api.deepinfra.com", None),
            ("/v1", None),
            ("https://", None),
            ("https://u:p@a", None),
            ("https://a?x=1", None),
            ("https://a/#x", None),
            ("https://a:0", None),
            ("https://a:99999", None),
            ("https://a:", None),
            ("https://a/../b", None),
            ("https://a//b", None),
            ("https://a b", None),
        ] {
            assert_eq!(
                base_url(text).ok().map(|uri| uri.to_string()).as_deref(),
                taken,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_path_prefix_begins_with_a_slash() {
        for (text, taken) in [
            ("/v1", Some("/v1")),
            ("/v1/", Some("/v1")),
            ("/", Some("")),
            ("", Some("")),
            ("v1", None),
            ("/a//b", None),
            ("/a/../b", None),
            ("/a?b", None),
            ("/a b", None),
            ("/%2e%2e", None),
        ] {
            assert_eq!(path_prefix(text).as_deref(), taken, "{text:?}");
        }
    }

    #[test]
    fn an_origin_is_exact() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://[::1]:3000",
            "chrome-extension://abcdef",
        ] {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
        for bad in [
            "*",
            "null",
            "https://*",
            "https://*.example.com",
            "https://example.com/",
            "https://example.com/app",
            "https://Example.com",
            "https://example.com:443",
            "http://example.com:80",
            "https://user@example.com",
            "https://example.com:",
            "https://",
            "example.com",
            "https://a b",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
