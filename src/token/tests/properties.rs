//! What holds for all tokens, not only for those in the tables.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::token::{Mint, MintError, PREFIX, Shown};
use crate::types::{AccountId, KeyName, ModelPattern, Money, TokenId};

/// Any token that can be minted.
fn mints() -> impl Strategy<Value = Mint> {
    let account = "[!-~]{1,40}".prop_map(|text| AccountId::parse(&text).unwrap());
    let key = "[^\\p{Cc}]{1,20}".prop_map(|text| KeyName::parse(&text).unwrap());
    let model = "[a-z0-9-]{1,8}/[A-Za-z0-9._-]{0,8}[a-z][*]?|[*]|deploy_id:[A-Za-z0-9]{1,8}"
        .prop_map(|text| ModelPattern::parse(&text).unwrap());
    let limit = (1..=i64::MAX).prop_map(|nanos| Money::from_nanos(nanos).unwrap());
    let jti = "[^\\p{Cc}]{1,40}";
    let lives = 1..=7 * 24 * 60 * 60_u64;
    (
        account,
        key,
        option::of(vec(model, 1..8)),
        lives,
        option::of(limit),
        option::of(jti),
    )
        .prop_map(|(account, key, models, lives, spending_limit, jti)| Mint {
            account,
            key,
            models,
            expires_at: Duration::from_secs(NOW + lives),
            spending_limit,
            jti,
        })
}

fn minted(mint: &Mint) -> String {
    let token = mint.sign(&key()).unwrap();
    token.strip_prefix(PREFIX).unwrap().to_owned()
}

fn simple() -> Mint {
    Mint {
        account: AccountId::parse("di:1000000000000").unwrap(),
        key: KeyName::parse("auto").unwrap(),
        models: Some(vec![ModelPattern::parse("acme/*").unwrap()]),
        expires_at: Duration::from_secs(NOW + 3600),
        spending_limit: Money::parse("1.50").ok(),
        jti: Some("a".into()),
    }
}

proptest! {
    #[test]
    fn what_is_minted_is_verified_as_it_was_meant(mint in mints()) {
        let token = minted(&mint);
        let scope = verify(token.as_bytes()).unwrap();
        match &mint.jti {
            Some(jti) => prop_assert_eq!(scope.id.to_string(), format!("jti:{jti}")),
            None => prop_assert!(scope.id.to_string().starts_with("sha256:")),
        }
        prop_assert_eq!(scope.account, mint.account);
        prop_assert_eq!(scope.key, mint.key);
        prop_assert_eq!(scope.models, mint.models);
        prop_assert_eq!(scope.expires_at, mint.expires_at);
        prop_assert_eq!(scope.spending_limit, mint.spending_limit);
    }

    #[test]
    fn another_secret_verifies_nothing(mint in mints(), secret in vec(any::<u8>(), 16..64)) {
        prop_assume!(!secret.starts_with(SECRET));
        let token = minted(&mint);
        let read = Unverified::read(token.as_bytes()).unwrap();
        let other = SigningKey::new(&secret).unwrap();
        prop_assert_eq!(
            read.verify(&other, Duration::from_secs(NOW), &Lifetimes::default()),
            Err(Flaw::Signature)
        );
    }

    #[test]
    fn what_is_accepted_has_one_text_and_so_one_identity(
        jti: bool,
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        insert: bool,
    ) {
        let mint = Mint { jti: jti.then(|| "a".into()), ..simple() };
        let token = minted(&mint).into_bytes();
        let mut changed = token.clone();
        let at = at.index(token.len());
        if insert {
            changed.insert(at, with);
        } else {
            changed[at] = with;
        }
        prop_assert_eq!(verify(&changed).is_ok(), changed == token);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200), header: Vec<u8>, payload: String) {
        prop_assert!(verify(&bytes).is_err());
        Shown::of(&bytes);
        prop_assert!(verify(signed(header, PAYLOAD).as_bytes()).is_err());
        prop_assert!(verify(signed(HEADER, payload).as_bytes()).is_err());
    }

    #[test]
    fn what_is_accepted_the_library_accepts_too(claim in "[a-z_]{1,4}", value in "[-+0-9.eE\"\\[\\]{}ntrufals:,]{0,12}") {
        let token = with(&format!(r#""x_":1,"{claim}":{value}"#));
        if verify(token.as_bytes()).is_ok() {
            let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
            (rules.validate_exp, rules.validate_aud) = (false, false);
            let key = jsonwebtoken::DecodingKey::from_secret(SECRET);
            let decoded = jsonwebtoken::decode::<serde::de::IgnoredAny>(&token, &key, &rules);
            prop_assert!(decoded.is_ok(), "{:?}", decoded);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_minted_token_is_noticed() {
    let token = minted(&simple()).into_bytes();
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut flipped = token.clone();
            flipped[at] ^= 1 << bit;
            assert!(verify(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn the_identity_is_the_jti_or_the_digest_of_what_is_signed() {
    let id = |members: &str| verify(with(members).as_bytes()).unwrap().id;
    assert_eq!(
        id(r#""jti":"a""#),
        id(r#""spending_limit":1,"jti":"\u0061""#),
        "a renewed token goes on"
    );
    assert_ne!(id(r#""jti":"a""#), id(r#""jti":"b""#));
    assert_eq!(id(r#""x_":1"#), id(r#""x_":1"#));
    assert_ne!(id(r#""x_":1"#), id(r#""x_":2"#));
    let token = signed(HEADER, PAYLOAD);
    let (message, _) = token.rsplit_once('.').unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message.as_bytes());
    let expected = TokenId::of_digest(digest.as_ref().try_into().unwrap());
    assert_eq!(verify(token.as_bytes()).unwrap().id, expected);
}

#[test]
fn a_minted_token_is_written_as_the_upstream_writes_it() {
    let token = minted(&simple());
    let shown = Shown::of(token.as_bytes());
    assert_eq!(shown.header.unwrap().get(), HEADER);
    assert_eq!(
        shown.payload.unwrap().get(),
        r#"{"sub":"di:1000000000000","models":["acme/*"],"exp":1790003600,"spending_limit":1.5,"jti":"a"}"#
    );
}

#[test]
fn a_token_of_no_use_is_not_minted() {
    let refused = |change: fn(&mut Mint)| {
        let mut mint = simple();
        change(&mut mint);
        mint.sign(&key()).unwrap_err()
    };
    assert_eq!(
        refused(|mint| mint.models = Some(Vec::new())),
        MintError::NoModels
    );
    assert_eq!(
        refused(|mint| mint.spending_limit = Some(Money::ZERO)),
        MintError::NoMoney
    );
    assert_eq!(refused(|mint| mint.jti = Some(String::new())), MintError::Jti);
    assert_eq!(refused(|mint| mint.jti = Some("a\0".into())), MintError::Jti);
    assert_eq!(
        refused(|mint| mint.models = Some(vec![ModelPattern::parse("acme/m:v2").unwrap()])),
        MintError::Version
    );
    let many = |mint: &mut Mint| mint.models = Some(vec![ModelPattern::parse("acme/model").unwrap(); 600]);
    assert_eq!(refused(many), MintError::TooLong);
}

#[test]
fn each_jti_that_is_made_is_another_and_long_enough_not_to_be_guessed() {
    let (one, other) = (Mint::random_jti().unwrap(), Mint::random_jti().unwrap());
    assert_ne!(one, other);
    assert_eq!(one.len(), 22);
}
