//! Right and wrong times.

use super::*;

const SECONDS: &str = "a whole number of seconds";

/// What is no whole number from 0 to 2⁶⁴ − 1, as JSON.
const NO_SECONDS: [&str; 20] = [
    "null",
    r#""1790003600""#,
    r#""""#,
    "true",
    "false",
    "{}",
    "[]",
    "[1790003600]",
    r#"{"seconds":1790003600}"#,
    "-1",
    "-0",
    "1790003600.0",
    "1790003600.5",
    "1.790003600e9",
    "17900036e2",
    "1e3",
    "1e300",
    "1e309",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
];

/// What is no JSON at all.
const NO_NUMBERS: [&str; 9] = [
    "NaN",
    "Infinity",
    "-Infinity",
    "01790003600",
    "+1790003600",
    "0x6AB1",
    "1_790",
    "1.",
    ".5",
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![bad("no exp", signed(HEADER, NAMED), Flaw::Missing("exp"))];
    for (at, text) in NO_SECONDS.into_iter().enumerate() {
        rows.push(bad(
            format!("exp {text}"),
            expiring(text),
            invalid("exp", SECONDS),
        ));
        rows.push(bad(
            format!("nbf {text}"),
            with(&format!(r#""nbf":{text}"#)),
            invalid("nbf", SECONDS),
        ));
        if at < 12 {
            rows.push(bad(
                format!("iat {text}"),
                with(&format!(r#""iat":{text}"#)),
                invalid("iat", SECONDS),
            ));
        }
    }
    for text in NO_NUMBERS {
        rows.push(bad(
            format!("exp {text}"),
            expiring(text),
            Flaw::NotAnObject(Part::Payload),
        ));
    }
    rows.extend(expiry_rows());
    for (name, value, expected) in [
        ("nbf", NOW, Ok(())),
        ("nbf", 0, Ok(())),
        ("nbf", NOW + 1, Err(Flaw::NotYetValid)),
        ("nbf", u64::MAX, Err(Flaw::NotYetValid)),
        ("iat", 0, Ok(())),
        ("iat", NOW + 60, Ok(())),
        ("iat", NOW + 61, Err(Flaw::IssuedInFuture)),
        ("iat", u64::MAX, Err(Flaw::IssuedInFuture)),
    ] {
        rows.push(Row {
            name: format!("{name} {value}"),
            token: with(&format!(r#""{name}":{value}"#)).into(),
            expected,
        });
    }
    rows
}

fn expiry_rows() -> Vec<Row> {
    const DAY: u64 = 24 * 60 * 60;
    let named = |exp: u64| signed(HEADER, NAMED.replace('}', &format!(r#","exp":{exp}}}"#)));
    let at = |exp: u64| expiring(&exp.to_string());
    let twice = || Flaw::duplicate(Part::Payload, "exp");
    vec![
        bad("exp 0", at(0), Flaw::Expired),
        bad("exp a minute ago", at(NOW - 60), Flaw::Expired),
        bad("exp a second ago", at(NOW - 1), Flaw::Expired),
        bad("exp now", at(NOW), Flaw::Expired),
        good("exp in a second", at(NOW + 1)),
        good("exp in 7 days", at(NOW + 7 * DAY)),
        bad(
            "exp in 7 days and a second",
            at(NOW + 7 * DAY + 1),
            Flaw::TooLongLived,
        ),
        good("exp in 365 days, with a jti", named(NOW + 365 * DAY)),
        bad(
            "exp in 365 days and a second, with a jti",
            named(NOW + 365 * DAY + 1),
            Flaw::TooLongLived,
        ),
        bad("exp in milliseconds", at(NOW * 1000), Flaw::TooLongLived),
        bad("exp 2^53 + 1", at((1 << 53) + 1), Flaw::TooLongLived),
        bad("exp 2^63", at(1 << 63), Flaw::TooLongLived),
        bad("exp 2^64 - 1", at(u64::MAX), Flaw::TooLongLived),
        bad("exp twice", with(r#""exp":1790003600"#), twice()),
        bad("exp twice, escaped", with(r#""\u0065xp":1"#), twice()),
        bad(
            "exp twice, first wrong",
            signed(HEADER, PAYLOAD.replace(r#""exp""#, r#""exp":null,"exp""#)),
            twice(),
        ),
        bad(
            "EXP beside exp",
            with(r#""EXP":1"#),
            Flaw::unknown(Part::Payload, "EXP"),
        ),
        bad(
            "EXP instead of exp",
            signed(HEADER, PAYLOAD.replace("exp", "EXP")),
            Flaw::unknown(Part::Payload, "EXP"),
        ),
        bad(
            "expired, with a wrong claim",
            signed(HEADER, r#"{"sub":"di:1000000000000","exp":1,"a":1}"#),
            Flaw::unknown(Part::Payload, "a"),
        ),
        bad(
            "expired, of another account",
            signed(HEADER, r#"{"sub":"di:2","exp":1}"#),
            Flaw::OtherAccount,
        ),
    ]
}
