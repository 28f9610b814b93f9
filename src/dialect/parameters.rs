//! A header's value with parameters, such as `form-data; name="model"`, where all parsers read the same.
//!
//! Parsers differ on backslashes in quotes, on quotes inside a value, on parameters that stand twice and on the
//! pieces and encodings of RFC 2231 (`name*0`, `boundary*`). Whoever uses one of these could show the gate one name and
//! the upstream another, so none has a reading here.

/// The most parameters of a header.
const MAX_PARAMETERS: usize = 16;

/// A value and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    essence: &'a str,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    /// Takes a header's value apart; `None` where parsers differ.
    pub(super) fn parse(header: &'a str) -> Option<Self> {
        let (essence, mut rest) = header.split_once(';').unwrap_or((header, ""));
        let mut parsed = Self {
            essence: essence.trim(),
            named: Vec::new(),
        };
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Some(parsed);
            }
            let (key, after) = rest.split_once('=')?;
            let (value, behind) = value(after)?;
            if !is_key(key) || parsed.get(key).is_some() || parsed.named.len() == MAX_PARAMETERS {
                return None;
            }
            parsed.named.push((key, value));
            rest = match behind.trim_start() {
                "" => "",
                more => more.strip_prefix(';')?,
            };
        }
    }

    /// Whether the value itself is `essence`, in any case.
    pub(super) fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }

    /// A parameter, by its name in any case.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let named = self.named.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value)
    }
}

/// A token (RFC 9110, section 5.6.2); of RFC 2231 only `filename*`, which decides nothing but that a part is a file.
fn is_key(key: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte);
    key.eq_ignore_ascii_case("filename*") || (!key.is_empty() && key.bytes().all(token))
}

/// The value at the beginning of `text`, without its quotes, and what stands behind it.
fn value(text: &str) -> Option<(&str, &str)> {
    let (value, behind) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => {
            let (value, behind) = text.split_at(text.find(';').unwrap_or(text.len()));
            let value = value.trim_end();
            if value.is_empty() || value.contains(['"', ' ', '\t']) {
                return None;
            }
            (value, behind)
        }
    };
    (!value.contains('\\')).then_some((value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_parameters_are_read_in_any_case_with_quotes_and_without() {
        let parsed =
            Parameters::parse("Form-Data; name=\"a; b=c\" ;FileName=x.wav; filename*=UTF-8''%e2;").unwrap();
        assert!(parsed.is("form-data") && !parsed.is("form"));
        assert_eq!(parsed.get("NAME"), Some("a; b=c"));
        assert_eq!(parsed.get("filename"), Some("x.wav"));
        assert_eq!(parsed.get("filename*"), Some("UTF-8''%e2"));
        assert_eq!(parsed.get("b"), None);
        assert!(Parameters::parse("text/plain").unwrap().is("text/plain"));
    }

    #[test]
    fn what_parsers_read_differently_has_no_reading() {
        for odd in [
            "f; name=\"x\"; name=\"model\"",
            "f; name=\"x\"; NAME=model",
            "f; name=\"x\"; name =\"model\"",
            "f; name=\"x\"; name= \"model\"",
            "f; name=\"x\"; name*=utf-8''model",
            "f; name=\"x\"; name*0=\"mo\"; name*1=\"del\"",
            "f; name=\"x\"; z=\"a\\\"b\"; name=\"model\"; y=\"",
            "f; name=\"x\"; z=a\"b; name=\"model\"; y=\"",
            "f; name=\"x\"y; z=1",
            "f; name=\"x",
            "f; name=",
            "f; name",
            "f; =x",
            "f;; name=x",
            "f; name=x y",
            "multipart/form-data; boundary=a; boundary*=b",
        ] {
            assert_eq!(Parameters::parse(odd), None, "{odd}");
        }
        let many: String = (0..=MAX_PARAMETERS).map(|n| format!("; p{n}=1")).collect();
        assert_eq!(Parameters::parse(&format!("f{many}")), None);
    }
}
