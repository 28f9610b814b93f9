//! Which route of the admin API a path is.

use http::Method;

use crate::admin::problem::Problem;
use crate::types::{AccountId, JobId, KeyName, TokenId};

/// Routes that the contract has and this version lacks.
const LATER: [&str; 5] = ["tokens", "limits", "audit", "status", "openapi.json"];

/// A route, with what its path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Accounts,
    Account(AccountId),
    Keys(AccountId),
    Key(AccountId, KeyName),
    Rotate(AccountId, KeyName),
    Disable(AccountId, KeyName),
    Enable(AccountId, KeyName),
    Token(TokenId),
    Usage,
    Jobs,
    Job(JobId),
    Redeliver(JobId),
    Cancel(JobId),
    RotateWebhookSecret(AccountId),
}

impl Route {
    /// Reads what follows `/api/v1/` in a path as it came. It is split first; then each segment is decoded,
    /// once.
    ///
    /// # Errors
    /// There is no such route, or what it names can't be there.
    pub(super) fn read(rest: &str) -> Result<Self, Problem> {
        let segments: Option<Vec<String>> = rest.split('/').map(decode).collect();
        let segments = segments.ok_or_else(Problem::unknown_route)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Ok(match segments.as_slice() {
            ["accounts"] => Self::Accounts,
            ["usage"] => Self::Usage,
            ["accounts", id] => Self::Account(account(id)?),
            ["accounts", id, "keys"] => Self::Keys(account(id)?),
            ["accounts", id, "keys", name] => Self::Key(account(id)?, key(name)?),
            ["accounts", id, "keys", name, "rotate"] => Self::Rotate(account(id)?, key(name)?),
            ["accounts", id, "keys", name, "disable"] => Self::Disable(account(id)?, key(name)?),
            ["accounts", id, "keys", name, "enable"] => Self::Enable(account(id)?, key(name)?),
            ["tokens", id] => Self::Token(TokenId::parse(id).map_err(|_| Problem::not_found("token"))?),
            ["accounts", id, "webhook-secret", "rotate"] => Self::RotateWebhookSecret(account(id)?),
            ["jobs"] => Self::Jobs,
            ["jobs", id] => Self::Job(job(id)?),
            ["jobs", id, "redeliver"] => Self::Redeliver(job(id)?),
            ["jobs", id, "cancel"] => Self::Cancel(job(id)?),
            [first, ..] if LATER.contains(first) => return Err(Problem::not_in_this_version()),
            _ => return Err(Problem::unknown_route()),
        })
    }

    /// Checks that the route takes a method.
    ///
    /// # Errors
    /// It does not; the answer says which it takes.
    pub(super) fn check(&self, method: &Method) -> Result<(), Problem> {
        let allow = match self {
            Self::Accounts | Self::Keys(_) => "GET, HEAD, POST",
            Self::Account(_) => "GET, HEAD, PATCH, DELETE",
            Self::Usage | Self::Jobs | Self::Job(_) => "GET, HEAD",
            Self::Key(..) | Self::Token(_) => "DELETE",
            Self::Rotate(..)
            | Self::Disable(..)
            | Self::Enable(..)
            | Self::Redeliver(_)
            | Self::Cancel(_)
            | Self::RotateWebhookSecret(_) => "POST",
        };
        if allow.split(", ").any(|known| known == method.as_str()) {
            Ok(())
        } else {
            Err(Problem::method_not_allowed(allow))
        }
    }
}

fn account(text: &str) -> Result<AccountId, Problem> {
    AccountId::parse(text).map_err(|_| Problem::not_found("account"))
}

fn key(text: &str) -> Result<KeyName, Problem> {
    KeyName::parse(text).map_err(|_| Problem::not_found("key"))
}

fn job(text: &str) -> Result<JobId, Problem> {
    JobId::parse(text).ok_or_else(|| Problem::not_found("job"))
}

/// Decodes a segment. `None` for one that servers and clients may read differently, and what is no UTF-8.
fn decode(raw: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => digit(rest.next())? << 4 | digit(rest.next())?,
            plain => plain,
        });
    }
    let text = String::from_utf8(decoded).ok()?;
    (!matches!(text.as_str(), "" | "." | "..")).then_some(text)
}

fn digit(byte: Option<u8>) -> Option<u8> {
    let digit = char::from(byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AccountId {
        AccountId::parse(text).unwrap()
    }

    fn name(text: &str) -> KeyName {
        KeyName::parse(text).unwrap()
    }

    #[test]
    fn segments_are_decoded_once_after_the_split() {
        for (path, route) in [
            ("accounts", Route::Accounts),
            ("accounts/di:1", Route::Account(id("di:1"))),
            ("accounts/di%3A1", Route::Account(id("di:1"))),
            ("accounts/di%253A1", Route::Account(id("di%3A1"))),
            ("accounts/a%2Fkeys", Route::Account(id("a/keys"))),
            ("accounts/a/keys", Route::Keys(id("a"))),
            ("accounts/a/keys/k%20%C3%A9", Route::Key(id("a"), name("k é"))),
            ("accounts/a/keys/..%2Fb", Route::Key(id("a"), name("../b"))),
            (
                "accounts/a/keys/rotate/rotate",
                Route::Rotate(id("a"), name("rotate")),
            ),
            ("tokens/jti:a%2Fb", Route::Token(TokenId::of_jti("a/b").unwrap())),
        ] {
            assert_eq!(Route::read(path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn a_path_with_steps_gaps_or_broken_escapes_is_no_route() {
        for path in [
            "",
            "accounts/",
            "/accounts",
            "accounts//keys",
            "accounts/..",
            "accounts/%2e%2E/keys",
            "accounts/a/keys/.",
            "accounts/a/keys/%",
            "accounts/a/keys/%2",
            "accounts/a/keys/%zz",
            "accounts/a/keys/%ff",
            "accounts/a/keys/%00",
            "accounts/a%20b",
            "accounts/a/keys/b/c",
            "Accounts",
            "accounts%2Fa",
            "tokens/a",
        ] {
            let status = Route::read(path).unwrap_err().into_response().status();
            assert_eq!(status, 404, "{path}");
        }
    }
}
