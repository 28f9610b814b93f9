//! Bodies around the keys that decide something, made at random: well-formed ones, and such as two parsers may read in
//! two ways.

use super::dice::Dice;

/// Names that two of three calls may ask for, and how they may be written.
const MODELS: [&str; 6] = [
    r#""acme/model""#,
    r#""acme/model""#,
    r#""acme\/model""#,
    r#""\u0061cme/mod\u0065l""#,
    r#""acme/model:v1""#,
    r#""deploy_id:X""#,
];

const LISTS: [&str; 5] = [
    r#"["acme/model"]"#,
    r#"["acme/model","acme/other"]"#,
    "[ \"acme/model\" ,\n\t\"\\u0061cme/other\" ]",
    r#"["acme/model","acme/model"]"#,
    r#"["acme/other:v1","deploy_id:X"]"#,
];

const NUMBERS: [&str; 7] = [
    "0",
    "1",
    "16",
    "100",
    "4096",
    "9007199254740991",
    "9007199254740992",
];

const OPTIONS: [&str; 8] = [
    "{}",
    r#"{"include_usage":true}"#,
    r#"{"include_usage":false}"#,
    r#"{ "include_usage" : null , "continuous_usage_stats":true }"#,
    r#"{"include\u005fusage":true,"other":1,"other":{"include_usage":false}}"#,
    r#"{"other":[],"include_usage":false}"#,
    r#"{"include_usage":true,"include_usage":false}"#,
    r#"{"Include_Usage":true}"#,
];

const TEXTS: [&str; 8] = [
    r#""default""#,
    r#""priority""#,
    r#""\ud83c\udf0a \uD83C\uDF0A""#,
    "\"🌊 é \u{2028}\u{7f}\"",
    r#""\"\\\/\b\f\n\r\t\u0000""#,
    r#""""#,
    "\"\u{feff}\"",
    "\"\u{10ffff}\u{fffe}\"",
];

/// Values that are of no policy key's type, or no JSON at all.
const ODD: [&str; 52] = [
    "1e2",
    "1E2",
    "100.0",
    "1.5",
    "-0",
    "-1",
    "-0.0",
    "0e0",
    "1e400",
    "-1e400",
    "1e-400",
    "9007199254740993",
    "18446744073709551616",
    "100000000000000000000000000000000000000000000000000",
    "007",
    "+7",
    "0x10",
    "0o7",
    "1_000",
    "1.",
    ".5",
    "1e",
    "1e+",
    "-",
    "\u{ff11}",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "undefined",
    "None",
    "True",
    "TRUE",
    "nUll",
    "\"5\"",
    "\"true\"",
    "'x'",
    "`x`",
    "true",
    "false",
    "null",
    "[]",
    "{}",
    "[null]",
    "[1,]",
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""\x61""#,
    r#""\u{61}""#,
    "\"\u{0}\"",
    "\"\n\"",
    "\"open",
];

const PLAIN_KEYS: [&str; 8] = [
    "messages",
    "prompt",
    "input",
    "temperature",
    "user",
    "x",
    "",
    "__proto__",
];

/// Values of keys that decide nothing.
const PLAIN: [&str; 10] = [
    r#"[{"role":"user","content":"hi"}]"#,
    r#"{"model":"acme/other","model":7,"stream":true,"Model":1}"#,
    r#"[{"n":1,"n":"two","max_tokens":1e9}]"#,
    r#""\"model\":\"acme/other\"""#,
    r#""{\"model\":\"acme/other\"}\\""#,
    "0.7",
    "1e400",
    "-0",
    r#""\ud800""#,
    r#"{"":{"__proto__":{"model":"acme/other"}}}"#,
];

const SPACE: [&str; 5] = ["", "", " ", "\r\n\t", "  "];

/// What some parsers take for white space, or pass over.
const ODD_SPACE: [&str; 12] = [
    "\u{b}", "\u{c}", "\u{a0}", "\u{85}", "\u{2028}", "\u{3000}", "\u{feff}", "\u{0}", "/* c */", "// c\n",
    "# c\n", ",",
];

const ENDS: [&str; 10] = [
    "\u{0}",
    "{}",
    "}",
    ",",
    "]",
    " null",
    "// c",
    "\u{feff}",
    "\u{1a}",
    r#"{"model":"acme/other"}"#,
];

/// What stands in place of a letter for a reader that folds.
const LOOKS: [(char, &str); 12] = [
    ('s', "\u{17f}"),
    ('k', "\u{212a}"),
    ('i', "\u{131}"),
    ('i', "\u{130}"),
    ('i', "\u{2170}"),
    ('e', "\u{2147}"),
    ('m', "\u{ff4d}"),
    ('o', "\u{ba}"),
    ('o', "\u{43e}"),
    ('n', "\u{207f}"),
    ('_', "\u{ff3f}"),
    ('_', "-"),
];

/// Invisible or combining characters behind or in a key.
const GARNISH: [&str; 8] = [
    " ", "\\u0000", "\u{200d}", "\u{ad}", "\u{301}", "\u{feff}", "[]", ".x",
];

/// A body that may be anything, but often is something that the gate accepts.
pub fn some_body(dice: &mut Dice, keys: &[&'static str]) -> Vec<u8> {
    let mut members = Vec::new();
    if !dice.one_in(12) {
        members.push(format!("{}:{}", key(dice, "model"), value(dice, "model")));
    }
    if dice.one_in(3) {
        members.push(format!("{}:{}", key(dice, "stream"), value(dice, "stream")));
    }
    for _ in 0..dice.below(4) {
        let member = if dice.one_in(3) {
            let name = dice.pick(&PLAIN_KEYS);
            format!("\"{name}\":{}", plain(dice))
        } else {
            let name = dice.pick(keys);
            format!("{}:{}", key(dice, name), value(dice, name))
        };
        let at = dice.below(members.len() + 1);
        members.insert(at, member);
    }
    let mut text = space(dice).to_owned();
    text.push('{');
    for (at, member) in members.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        text.extend([comma, space(dice), member, space(dice)]);
    }
    text.push('}');
    text.push_str(space(dice));
    if dice.one_in(60) {
        text.push_str(dice.pick(&ENDS));
    }
    let mut bytes = encoded(dice, &text);
    if dice.one_in(5) {
        for _ in 0..=dice.below(3) {
            damage(dice, &mut bytes);
        }
    }
    bytes
}

fn space(dice: &mut Dice) -> &'static str {
    if dice.one_in(400) {
        dice.pick(&ODD_SPACE)
    } else {
        dice.pick(&SPACE)
    }
}

/// A key in one of its writings, with its quotes.
fn key(dice: &mut Dice, name: &str) -> String {
    let escaped = |letter: char, upper: bool| {
        let code = u32::from(letter);
        if upper {
            format!("\\u{code:04X}")
        } else {
            format!("\\u{code:04x}")
        }
    };
    let at = dice.below(name.len());
    let changed = |change: &dyn Fn(char) -> String| {
        let letters = name.chars().enumerate();
        let letters = letters.map(|(n, letter)| if n == at { change(letter) } else { letter.into() });
        letters.collect::<String>()
    };
    let written = match dice.below(40) {
        0..=29 => name.to_owned(),
        30..=33 => changed(&|letter| escaped(letter, at.is_multiple_of(2))),
        34 | 35 => name.chars().map(|letter| escaped(letter, false)).collect(),
        36 => changed(&|letter| letter.to_ascii_uppercase().to_string()),
        37 => changed(&|letter| char::from_u32(u32::from(letter) + 0xfee0).unwrap().to_string()),
        38 => {
            let (letter, look) = dice.pick(&LOOKS);
            let shown = if dice.one_in(2) {
                escaped(look.chars().next().unwrap(), true)
            } else {
                look.to_owned()
            };
            name.replacen(letter, &shown, 1)
        }
        _ => format!("{name}{}", dice.pick(&GARNISH)),
    };
    format!("\"{written}\"")
}

/// A value of a policy key, mostly of its type.
fn value(dice: &mut Dice, key: &str) -> String {
    if dice.one_in(8) {
        return dice.pick(&ODD).to_owned();
    }
    if dice.one_in(12) {
        return "null".to_owned();
    }
    let typed = match key {
        "model" | "model_id" => dice.pick(&MODELS),
        "models" => dice.pick(&LISTS),
        "stream" | "background" => dice.pick(&["true", "false"]),
        "stream_options" => dice.pick(&OPTIONS),
        "service_tier" => dice.pick(&TEXTS),
        "webhook" => dice.pick(&["\"https://example.com/\"", "\"\""]),
        _ => dice.pick(&NUMBERS),
    };
    typed.to_owned()
}

fn plain(dice: &mut Dice) -> String {
    match dice.below(12) {
        0 => dice.pick(&ODD).to_owned(),
        1 => {
            let depth = dice.pick(&[1, 60, 126, 127, 128, 129, 1500]);
            let (open, close) = dice.pick(&[("[", "]"), ("{\"model\":", "}")]);
            format!("{}0{}", open.repeat(depth), close.repeat(depth))
        }
        2 => "9".repeat(dice.below(400) + 1),
        _ => dice.pick(&PLAIN).to_owned(),
    }
}

/// The bytes of a text, seldom in another encoding than UTF-8.
fn encoded(dice: &mut Dice, text: &str) -> Vec<u8> {
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: bool| {
        let mark = mark.then_some(0xfeff);
        mark.into_iter()
            .chain(text.encode_utf16())
            .flat_map(bytes)
            .collect()
    };
    match dice.below(300) {
        0 => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        1 => utf16(u16::to_le_bytes, true),
        2 => utf16(u16::to_be_bytes, true),
        3 => utf16(u16::to_le_bytes, false),
        4 => utf16(u16::to_be_bytes, false),
        5 => text
            .chars()
            .flat_map(|letter| u32::from(letter).to_le_bytes())
            .collect(),
        6 => text
            .chars()
            .flat_map(|letter| u32::from(letter).to_be_bytes())
            .collect(),
        7 => [b"\x1f\x8b", text.as_bytes()].concat(),
        _ => text.into(),
    }
}

/// Changes one place of a body.
fn damage(dice: &mut Dice, bytes: &mut Vec<u8>) {
    const BYTES: &[u8] = b"{}[]\":,\\/ \n\t\r\0-+.0123456789eEuntfmod_'\x0b\x7f\x80\xa0\xc0\xe2\xed\xff";
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    let until = at + dice.below(bytes.len() - at).min(24);
    let byte = dice.pick(BYTES);
    match dice.below(5) {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        3 => drop(bytes.drain(at..until)),
        _ => {
            let part = bytes[at..until].to_vec();
            let to = dice.below(bytes.len());
            bytes.splice(to..to, part);
        }
    }
}
