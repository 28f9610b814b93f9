//! Wrong headers: algorithms, members, names of keys.

use super::*;

const KID: &str = r#""kid":"di:1000000000000:YXV0bw==""#;
const OTHER_ALGORITHM: Flaw = Flaw::Invalid {
    name: "alg",
    expected: "HS256",
};
const OTHER_TYPE: Flaw = Flaw::Invalid {
    name: "typ",
    expected: "JWT",
};
const OTHER_KID: Flaw = Flaw::Invalid {
    name: "kid",
    expected: "an account, a colon and a key's name in padded standard base64",
};

/// Values of `alg` that are not HS256, as JSON.
const ALGORITHMS: [&str; 30] = [
    r#""none""#,
    r#""None""#,
    r#""NONE""#,
    r#""nOnE""#,
    r#""""#,
    "null",
    "0",
    "256",
    "true",
    "[]",
    r#"["HS256"]"#,
    "{}",
    r#""hs256""#,
    r#""Hs256""#,
    r#""HS256 ""#,
    r#"" HS256""#,
    r#""HS256\u0000""#,
    r#""HS-256""#,
    r#""HMAC""#,
    r#""SHA256""#,
    r#""HS384""#,
    r#""HS512""#,
    r#""RS256""#,
    r#""RS512""#,
    r#""ES256""#,
    r#""ES256K""#,
    r#""PS256""#,
    r#""EdDSA""#,
    r#""dir""#,
    r#""ＨS256""#,
];

/// Members that no header of ours has, as JSON.
const MEMBERS: [(&str, &str); 24] = [
    ("jwk", r#"{"kty":"oct","k":"AAAA"}"#),
    ("jku", r#""https://example.com/keys""#),
    ("x5u", r#""https://example.com/cert""#),
    ("x5c", r#"["MIIB"]"#),
    ("x5t", r#""AAAA""#),
    ("x5t#S256", r#""AAAA""#),
    ("crit", r#"["exp"]"#),
    ("crit", "[]"),
    ("crit", r#""exp""#),
    ("b64", "false"),
    ("b64", "true"),
    ("zip", r#""DEF""#),
    ("enc", r#""A128GCM""#),
    ("cty", r#""JWT""#),
    ("p2c", "1000000"),
    ("p2s", r#""AAAA""#),
    ("epk", "{}"),
    ("iv", r#""AAAA""#),
    ("url", r#""https://example.com""#),
    ("nonce", r#""a""#),
    ("Alg", r#""HS256""#),
    ("KID", r#""di:1000000000000:YXV0bw==""#),
    ("x_trace", r#""a""#),
    ("", "1"),
];

/// Values of `kid` that name no key, as JSON.
const NO_KIDS: [&str; 34] = [
    "null",
    "1",
    "[]",
    "{}",
    "true",
    r#"["di:1000000000000:YXV0bw=="]"#,
    r#""""#,
    r#"":""#,
    r#""di:1000000000000""#,
    r#""di:1000000000000:""#,
    r#"":YXV0bw==""#,
    r#""YXV0bw==""#,
    r#""di:1000000000000:auto!""#,
    r#""di:1000000000000:YXV0bw""#,
    r#""di:1000000000000:YXV0bw=""#,
    r#""di:1000000000000:YXV0bw===""#,
    r#""di:1000000000000:YXV0bx==""#,
    r#""di:1000000000000:YXV0bw==\n""#,
    r#""di:1000000000000:YXV0bw== ""#,
    r#""di:1000000000000: YXV0bw==""#,
    r#""di:1000000000000:YXV0 bw==""#,
    r#""di:1000000000000:Pz8_""#,
    r#""di:1000000000000:fn5-""#,
    r#""di:1000000000000:YQBi""#,
    r#""di:1000000000000:AA==""#,
    r#""di:1000000000000:Cg==""#,
    r#""di:1000000000000:/w==""#,
    r#""di:1000000000000:7aCA""#,
    r#""di:10000 0000000:YXV0bw==""#,
    r#""di:1\u0000:YXV0bw==""#,
    r#""di:1\u00e9:YXV0bw==""#,
    r#""../../dev/null""#,
    r#""' OR 1=1 --""#,
    r#""di:1000000000000:YXV0bw==\ud800""#,
];

pub(super) fn rows() -> Vec<Row> {
    let signed_so = |header: String| signed(header, PAYLOAD);
    let mut rows = Vec::new();
    for algorithm in ALGORITHMS {
        let header = format!(r#"{{"alg":{algorithm},{KID},"typ":"JWT"}}"#);
        let unsigned = format!("{}.{}.", encoded(&header), encoded(PAYLOAD));
        rows.push(bad(
            format!("alg {algorithm}, not signed"),
            unsigned,
            OTHER_ALGORITHM,
        ));
        rows.push(bad(
            format!("alg {algorithm}, signed"),
            signed_so(header),
            OTHER_ALGORITHM,
        ));
    }
    for (name, value) in MEMBERS {
        let header = HEADER.replace('}', &format!(r#","{name}":{value}}}"#));
        let flaw = Flaw::unknown(Part::Header, name);
        rows.push(bad(
            format!("{name:?} {value} in the header"),
            signed_so(header),
            flaw,
        ));
    }
    for value in [
        r#""jwt""#,
        r#""JWE""#,
        r#""at+jwt""#,
        r#""application/JWT""#,
        r#""""#,
        "null",
        "1",
        r#"["JWT"]"#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{KID},"typ":{value}}}"#);
        rows.push(bad(format!("typ {value}"), signed_so(header), OTHER_TYPE));
    }
    rows.extend(members());
    rows.extend(uncounted());
    rows
}

fn members() -> Vec<Row> {
    vec![
        good("no typ", signed(format!(r#"{{"alg":"HS256",{KID}}}"#), PAYLOAD)),
        good(
            "another order",
            signed(format!(r#"{{"typ":"JWT",{KID},"alg":"HS256"}}"#), PAYLOAD),
        ),
        good(
            "escapes in names and values",
            signed(
                format!(r#"{{"\u0061lg":"\u0048S256",{KID},"typ":"\u004aWT"}}"#),
                PAYLOAD,
            ),
        ),
    ]
}

/// Members that are missing, or there twice.
fn uncounted() -> Vec<Row> {
    let row = |name: &str, header: &str, flaw| bad(name, signed(header, PAYLOAD), flaw);
    let twice = |name| Flaw::duplicate(Part::Header, name);
    vec![
        row("no members", "{}", Flaw::Missing("alg")),
        row(
            "no alg",
            &format!(r#"{{{KID},"typ":"JWT"}}"#),
            Flaw::Missing("alg"),
        ),
        row("no kid", r#"{"alg":"HS256","typ":"JWT"}"#, Flaw::Missing("kid")),
        row(
            "alg twice, first wrong",
            &HEADER.replace(r#""alg""#, r#""alg":"none","alg""#),
            twice("alg"),
        ),
        row(
            "alg twice, last wrong",
            &HEADER.replace(r#""typ""#, r#""alg":"none","typ""#),
            twice("alg"),
        ),
        row(
            "alg twice, both right",
            &HEADER.replace(r#""typ""#, r#""alg":"HS256","typ""#),
            twice("alg"),
        ),
        row(
            "alg twice, escaped",
            &HEADER.replace(r#""typ""#, r#""\u0061lg":"none","typ""#),
            twice("alg"),
        ),
        row(
            "kid twice",
            &HEADER.replace(r#""typ""#, &format!(r#"{KID},"typ""#)),
            twice("kid"),
        ),
        row(
            "typ twice",
            &HEADER.replace('}', r#","typ":"JWT"}"#),
            twice("typ"),
        ),
        row(
            "an unknown member twice",
            &HEADER.replace('}', r#","a":1,"a":2}"#),
            twice("a"),
        ),
        row(
            "a token in the header",
            &format!(
                r#"{{"alg":"HS256","kid":"{}","typ":"JWT"}}"#,
                signed(HEADER, PAYLOAD)
            ),
            OTHER_KID,
        ),
    ]
}

pub(super) fn kid_rows() -> Vec<Row> {
    let with_kid = |kid: &str| format!(r#"{{"alg":"HS256","kid":{kid},"typ":"JWT"}}"#);
    let mut rows = Vec::new();
    for value in NO_KIDS {
        rows.push(bad(
            format!("kid {value}"),
            signed(with_kid(value), PAYLOAD),
            OTHER_KID,
        ));
    }
    for (name, text) in [
        ("a key name of 129 bytes", "a".repeat(129)),
        ("a key name of 4 KB", "a".repeat(4000)),
    ] {
        let kid = format!(
            r#""di:1000000000000:{}""#,
            base64::engine::general_purpose::STANDARD.encode(text)
        );
        rows.push(bad(name, signed(with_kid(&kid), PAYLOAD), OTHER_KID));
    }
    let long = format!(r#""{}:YXV0bw==""#, "d".repeat(129));
    rows.push(bad(
        "an account of 129 bytes",
        signed(with_kid(&long), PAYLOAD),
        OTHER_KID,
    ));
    // These are names of other keys and accounts: which ones exist is not known here.
    for (name, kid) in [
        ("a kid with escapes", r#""di:1000000000000:\u0059XV0bw==""#),
        ("a key name with a colon", r#""di:1000000000000:YTpi""#),
        ("a key name with a slash", r#""di:1000000000000:Li4vYQ==""#),
        ("a key name with an accent", r#""di:1000000000000:w6k=""#),
        ("a key name with + in base64", r#""di:1000000000000:fn5+""#),
    ] {
        rows.push(good(name, signed(with_kid(kid), PAYLOAD)));
    }
    for (name, kid) in [
        ("another account in kid", r#""di:2000000000000:YXV0bw==""#),
        ("kid without di:", r#""1000000000000:YXV0bw==""#),
        ("kid with di: twice", r#""di:di:1000000000000:YXV0bw==""#),
        ("kid with DI:", r#""DI:1000000000000:YXV0bw==""#),
        ("kid with one part more", r#""di:1000000000000:YQ==:YXV0bw==""#),
        ("kid with a leading zero", r#""di:01000000000000:YXV0bw==""#),
    ] {
        rows.push(bad(name, signed(with_kid(kid), PAYLOAD), Flaw::OtherAccount));
    }
    rows
}

#[test]
fn a_kid_is_split_at_its_last_colon() {
    for (kid, account, key) in [
        ("di:1000000000000:YXV0bw==", "di:1000000000000", "auto"),
        ("acme:YTpi", "acme", "a:b"),
        ("a:b:c::w6k=", "a:b:c:", "\u{e9}"),
    ] {
        let token = signed(format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), "");
        let token = Unverified::read(token.as_bytes()).unwrap();
        assert_eq!((token.account().as_str(), token.key().as_str()), (account, key));
    }
}
