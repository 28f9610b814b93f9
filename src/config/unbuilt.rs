//! Keys whose feature this version does not have: they are checked like all others and then refused, never
//! ignored. A version that has the feature takes the rows out of the table and reads the keys.

use super::reader::Section;

const SHARED_LIMITS: &str = "limits over a fleet";
const TRACES: &str = "traces";
const SIGN_INS: &str = "sign-ins with OpenID Connect";

/// What a key takes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Choice(&'static [&'static str]),
}

/// One key of a later version.
struct Row {
    /// Its path; `[]` stands for each table of a list.
    key: &'static str,
    kind: Kind,
    /// Its default as TOML; empty where there is none.
    default: &'static str,
    /// What it belongs to, in the plural, for the message.
    feature: &'static str,
    /// Whether the default may be written down, because this version does just that.
    default_accepted: bool,
}

const fn row(key: &'static str, kind: Kind, default: &'static str, feature: &'static str) -> Row {
    Row {
        key,
        kind,
        default,
        feature,
        default_accepted: false,
    }
}

const fn row_accepting_default(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    feature: &'static str,
) -> Row {
    Row {
        default_accepted: true,
        ..row(key, kind, default, feature)
    }
}

const UNBUILT: &[Row] = &[
    row("limits.shared.url", Kind::Text, "", SHARED_LIMITS),
    row(
        "limits.shared.on_outage",
        Kind::Choice(&["local", "deny"]),
        r#""local""#,
        SHARED_LIMITS,
    ),
    row("console.oidc.issuer", Kind::Text, "", SIGN_INS),
    row("console.oidc.client_id", Kind::Text, "", SIGN_INS),
    row("console.oidc.client_secret", Kind::Text, "", SIGN_INS),
    row("console.oidc.admin_emails", Kind::Texts, "", SIGN_INS),
    row("console.oidc.admin_groups", Kind::Texts, "", SIGN_INS),
    row_accepting_default("telemetry.otlp_endpoint", Kind::Text, r#""""#, TRACES),
];

/// Takes the keys of later versions out of `section`, checks them and notes a refusal for each. Tables of a list
/// are refused once, as the list.
pub(super) fn refuse(section: &mut Section<'_>) {
    let prefix = pattern(&section.key(""));
    for row in UNBUILT {
        let rest = match prefix.as_str() {
            "" => Some(row.key),
            prefix => row
                .key
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(rest) = rest else { continue };
        match rest.split_once('.') {
            None => refuse_key(section, rest, row),
            Some((inner, _)) => refuse_inner(section, inner, row),
        }
    }
}

fn refuse_key(section: &mut Section<'_>, name: &str, row: &Row) {
    let accepted = row.default_accepted && section.is_text(name, row.default.trim_matches('"'));
    let refused = section.has(name) && !accepted && !row.key.contains("[]");
    check(section, name, row.kind);
    if refused {
        section.mistake(name, message(row));
    }
}

fn refuse_inner(section: &mut Section<'_>, name: &str, row: &Row) {
    if let Some(name) = name.strip_suffix("[]") {
        if section.has(name) {
            section.sections(name).into_iter().for_each(Section::finish);
            section.mistake(name, message(row));
        }
    } else if let Some(inner) = section.section(name) {
        // An empty section asks for the feature with its defaults, unless those are what this version does.
        let own_key = row.key.matches('.').count() == inner.key("").matches('.').count() + 1;
        if inner.is_empty() && own_key && !row.default_accepted {
            section.mistake(name, message(row));
        }
        inner.finish();
    }
}

fn message(row: &Row) -> String {
    format!("{} are not in this version", row.feature)
}

/// The path of a section with `[]` for every index: `limits.override[0]` is `limits.override[]`.
fn pattern(path: &str) -> String {
    let mut pattern = String::new();
    let mut inside = false;
    for c in path.chars() {
        inside = inside && c != ']';
        if !inside {
            pattern.push(c);
        }
        inside = inside || c == '[';
    }
    pattern
}

/// Each key with its default (empty where there is none), and whether that default is accepted.
#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    UNBUILT
        .iter()
        .map(|row| (row.key, row.default, row.default_accepted))
}

/// Notes what is wrong with a value. What plain text refers to is not followed: it is refused anyway.
fn check(section: &mut Section<'_>, name: &str, kind: Kind) {
    match kind {
        Kind::Text => drop(section.literal(name)),
        Kind::Texts => drop(section.texts(name)),
        Kind::Choice(choices) => {
            let expected = format!("one of `{}`", choices.join("`, `"));
            section.parsed(name, &expected, |text| choices.contains(&text).then_some(()));
        }
    }
}
