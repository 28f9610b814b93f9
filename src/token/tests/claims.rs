//! Right and wrong claims: accounts, models, money, and what is not known.

use super::*;

const ACCOUNT: Flaw = Flaw::Invalid {
    name: "sub",
    expected: "an account id",
};
const MODEL: Flaw = Flaw::Invalid {
    name: "model",
    expected: "the name of a model",
};
const MODELS: Flaw = Flaw::Invalid {
    name: "models",
    expected: "a list of names of models",
};
const LIMIT: Flaw = Flaw::Invalid {
    name: "spending_limit",
    expected: "a number of dollars above zero",
};
const JTI: Flaw = Flaw::Invalid {
    name: "jti",
    expected: "a string of 1 to 256 bytes without control characters",
};
const SKIPPED: Flaw = Flaw::Invalid {
    name: "x_",
    expected: "a value nested at most 32 deep",
};
const NO_JSON: Flaw = Flaw::NotAnObject(Part::Payload);

pub(super) fn account_rows() -> Vec<Row> {
    let of = |sub: &str| signed(HEADER, format!(r#"{{"sub":{sub},"exp":1790003600}}"#));
    let mut rows = vec![
        bad(
            "no sub",
            signed(HEADER, r#"{"exp":1790003600}"#),
            Flaw::Missing("sub"),
        ),
        bad("no claims", signed(HEADER, "{}"), Flaw::Missing("sub")),
        bad("sub twice", with(r#""sub":"di:1000000000000""#), twice("sub")),
        good("sub with an escape", of(r#""d\u0069:1000000000000""#)),
    ];
    let others = "di:2000000000000 | DI:1000000000000 | di:01000000000000 | 1000000000000 | \
                  di:1000000000000:YXV0bw== | di:100000000000 | di:10000000000000 | admin | *";
    for sub in others.split(" | ") {
        rows.push(bad(
            format!("sub {sub}"),
            of(&format!("{sub:?}")),
            Flaw::OtherAccount,
        ));
    }
    let none = r#"null | 1000000000000 | true | [] | {} | ["di:1000000000000"] | "" | "di:1000000000000 " | " di:1000000000000" | "di:1000000000000\u0000" | "di:100000000000\u0660" | "\ud800""#;
    for sub in none.split(" | ") {
        rows.push(bad(format!("sub as {sub}"), of(sub), ACCOUNT));
    }
    rows
}

pub(super) fn model_rows() -> Vec<Row> {
    let lists = r#"null | [] | ["acme/m"] | ["acme/m","acme/m"] | ["acme/*","*"] | ["deploy_id:XyZ"] | ["acme/M","acme/m"] | ["acme\/m"]"#;
    let no_lists =
        r#""acme/m" | 1 | true | {} | [null] | [1] | [["acme/m"]] | ["acme/m",null] | [{}] | [""]"#;
    let no_names = r#"["acme/m/"] | ["/acme/m"] | ["acme//m"] | ["../m"] | ["acme/../m"] | ["."] | ["**"] | ["acme/*/m"] | ["*m"] | ["acme m"] | ["acme/m "] | ["acme/m\u0000"] | ["acme/caf\u00e9"] | ["acme/cafe\u0301"] | ["acme%2Fm"] | ["acme\\m"] | ["m:"]"#;
    let mut rows = vec![
        good(
            "model and models",
            with(r#""model":"acme/a","models":["acme/b"]"#),
        ),
        good("model and models null", with(r#""model":"acme/a","models":null"#)),
        bad("model twice", with(r#""model":"a","model":"b""#), twice("model")),
        bad(
            "models twice",
            with(r#""models":["a"],"\u006dodels":null"#),
            twice("models"),
        ),
        bad("Models", with(r#""Models":["a"]"#), unknown("Models")),
    ];
    rows.extend(accepted("models", lists));
    rows.extend(refused("models", no_lists, &MODELS));
    rows.extend(refused("models", no_names, &MODELS));
    rows.extend(accepted(
        "model",
        r#""deepseek-ai/DeepSeek-R1" | "deepseek-ai/*""#,
    ));
    rows.extend(refused(
        "model",
        r#"null | 1 | true | {} | [] | ["acme/m"] | "" | "acme/" | "..""#,
        &MODEL,
    ));
    rows
}

pub(super) fn money_rows() -> Vec<Row> {
    let limits =
        "null | 1 | 1.0 | 1e0 | 0.30000000000000004 | 0.000000001 | 1e-9 | 9223372036.854775807 | 5E+3";
    let none = r#"0 | 0.0 | -0 | -0.0 | 0e9 | -1 | -0.01 | 1e-10 | 1e-30 | 1e-400 | 1e10 | 1e400 | 9223372036.854775808 | 9223372036854775808 | "1" | "" | true | [] | [1] | {} | {"usd":1}"#;
    let mut rows = vec![
        bad(
            "spending_limit twice",
            with(r#""spending_limit":1,"spending_limit":1000"#),
            twice("spending_limit"),
        ),
        bad(
            "spending_limit twice, escaped",
            with(r#""spending_limit":1,"spending\u005flimit":null"#),
            twice("spending_limit"),
        ),
    ];
    rows.extend(accepted("spending_limit", limits));
    rows.extend(refused("spending_limit", none, &LIMIT));
    rows.extend(refused(
        "spending_limit",
        "NaN | Infinity | 1,5 | $1 | .5",
        &NO_JSON,
    ));
    rows
}

pub(super) fn other_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in ["iss", "aud"] {
        rows.extend(accepted(name, r#""" | "https://example.com/a" | "\u0000""#));
        rows.extend(refused(
            name,
            r#"null | 5 | true | ["a"] | ["bad","good"] | {} | "\ud800""#,
            &invalid(name, "a string"),
        ));
    }
    rows.extend(accepted("jti", r#""a" | "sha256:0" | "../a b" | "\u00e9""#));
    rows.extend(accepted("jti", &format!("\"{}\"", "a".repeat(256))));
    rows.extend(refused(
        "jti",
        r#"null | 1 | [] | {} | true | "" | "\u0000" | "a\nb" | "\u009b" | "\ud800""#,
        &JTI,
    ));
    for long in ["a".repeat(257), "\u{e9}".repeat(129)] {
        rows.extend(refused("jti", &format!("\"{long}\""), &JTI));
    }
    for name in [
        "scope",
        "allowed_ips",
        "cnf",
        "act",
        "limit",
        "ip",
        "X_a",
        "x-a",
        "x",
        "",
    ] {
        let token = with(&format!(r#""{name}":null"#));
        rows.push(bad(format!("claim {name:?}"), token, unknown(name)));
    }
    rows.extend(private_rows());
    rows
}

/// Claims that begin with `x_`.
fn private_rows() -> Vec<Row> {
    let nested = |open: &str, close: &str, depth: usize| {
        with(&format!(r#""x_":{}0{}"#, open.repeat(depth), close.repeat(depth)))
    };
    let invalid_utf8 = [PAYLOAD.trim_end_matches('}').as_bytes(), b",\"x_\":\"\xff\"}"].concat();
    let mut rows = vec![
        good("32 lists in x_", nested("[", "]", 32)),
        bad("33 lists in x_", nested("[", "]", 33), SKIPPED),
        bad("2,500 lists in x_", nested("[", "]", 2500), SKIPPED),
        good("32 objects in x_", nested(r#"{"a":"#, "}", 32)),
        bad("33 objects in x_", nested(r#"{"a":"#, "}", 33), SKIPPED),
        bad("x_ twice", with(r#""x_a":1,"x_b":2,"x_a":3"#), twice("x_a")),
        bad("x_ twice, escaped", with(r#""x_a":1,"\u0078_a":1"#), twice("x_a")),
        bad("invalid UTF-8 in x_", signed(HEADER, invalid_utf8), NO_JSON),
    ];
    rows.extend(accepted(
        "x_team",
        r#"null | 1.5 | -1e3 | "a" | [] | {"exp":1,"exp":2} | [{},[null,true]]"#,
    ));
    rows.extend(refused(
        "x_team",
        r#""\udead" | {"\udead":1} | 1e999 | [[-1e999]]"#,
        &SKIPPED,
    ));
    rows.extend(refused("x_team", r#"NaN | [1,] | 'a' | "a"b"#, &NO_JSON));
    rows
}

/// Tokens that have each of `values`, which stand between bars, for a claim.
fn tokens(claim: &str, values: &str) -> impl Iterator<Item = (String, String)> {
    values
        .split(" | ")
        .map(move |value| (format!("{claim} {value}"), with(&format!(r#""{claim}":{value}"#))))
}

fn accepted(claim: &str, values: &str) -> Vec<Row> {
    tokens(claim, values)
        .map(|(name, token)| good(name, token))
        .collect()
}

fn refused(claim: &str, values: &str, flaw: &Flaw) -> Vec<Row> {
    tokens(claim, values)
        .map(|(name, token)| bad(name, token, flaw.clone()))
        .collect()
}

fn twice(name: &str) -> Flaw {
    Flaw::duplicate(Part::Payload, name)
}

fn unknown(name: &str) -> Flaw {
    Flaw::unknown(Part::Payload, name)
}
