//! What a verified token lets its holder do, and when it stops to.

use super::*;

#[test]
fn the_token_of_the_upstreams_manual_is_accepted() {
    const MANUAL: u64 = 1_734_616_903;
    let payload = format!(r#"{{"sub":"di:1000000000000","model":"deepseek-ai/DeepSeek-R1","exp":{MANUAL}}}"#);
    let token = signed(HEADER, payload);
    assert!(
        token.starts_with("eyJhbGciOiJIUzI1NiIsImtpZC"),
        "as their own tokens do"
    );
    let read = Unverified::read(token.as_bytes()).unwrap();
    let at = |seconds| read.verify(&key(), Duration::from_secs(seconds), &Lifetimes::default());
    let scope = at(MANUAL - 7 * 24 * 60 * 60).unwrap();
    assert_eq!(
        (scope.account.as_str(), scope.key.as_str()),
        ("di:1000000000000", "auto")
    );
    assert_eq!(scope.expires_at, Duration::from_secs(MANUAL));
    assert_eq!(scope.spending_limit, None);
    let allowed = |model: &str| scope.allows(&crate::types::ModelName::parse(model).unwrap());
    assert!(allowed("deepseek-ai/DeepSeek-R1") && allowed("deepseek-ai/DeepSeek-R1:v2"));
    assert!(!allowed("deepseek-ai/DeepSeek-R1-Turbo") && !allowed("deepseek-ai/deepseek-r1"));
    assert_eq!(at(MANUAL), Err(Flaw::Expired));
    assert_eq!(at(MANUAL - 7 * 24 * 60 * 60 - 1), Err(Flaw::TooLongLived));
}

#[test]
fn models_are_the_union_of_both_claims() {
    let models = |members: &str| {
        let models = verify(with(members).as_bytes()).unwrap().models;
        models.map(|models| models.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    for members in [r#""models":null"#, r#""x_":1"#] {
        assert_eq!(models(members), None);
    }
    assert_eq!(models(r#""models":[]"#).unwrap(), [""; 0]);
    assert_eq!(models(r#""models":[],"model":"a""#).unwrap(), ["a"]);
    assert_eq!(models(r#""model":"a","models":null"#).unwrap(), ["a"]);
    assert_eq!(models(r#""model":"a","models":["b","a"]"#).unwrap(), ["b", "a"]);
    assert_eq!(models(r#""model":"a","models":["b/*"]"#).unwrap(), ["b/*", "a"]);
}

#[test]
fn a_limit_is_read_exactly_and_rounded_down() {
    for (text, nanos) in [
        ("0.1", 100_000_000),
        ("1e-9", 1),
        ("0.0000000019", 1),
        ("0.30000000000000004", 300_000_000),
    ] {
        let scope = verify(with(&format!(r#""spending_limit":{text}"#)).as_bytes()).unwrap();
        assert_eq!(scope.spending_limit.unwrap().as_nanos(), nanos, "{text}");
    }
}

#[test]
fn the_part_of_a_second_counts() {
    let token = expiring(&(NOW + 1).to_string());
    let at = |now| {
        Unverified::read(token.as_bytes())
            .unwrap()
            .verify(&key(), now, &Lifetimes::default())
    };
    assert!(at(Duration::from_millis(NOW * 1000 + 999)).is_ok());
    assert_eq!(at(Duration::from_millis(NOW * 1000 + 1000)), Err(Flaw::Expired));
}

#[test]
fn a_token_without_jti_never_lives_longer_than_one_with_it() {
    let day = Duration::from_secs(24 * 60 * 60);
    let lifetimes = Lifetimes {
        max: day,
        max_self_signed: day * 7,
    };
    let token = expiring(&(NOW + 2 * 24 * 60 * 60).to_string());
    let read = Unverified::read(token.as_bytes()).unwrap();
    assert_eq!(
        read.verify(&key(), Duration::from_secs(NOW), &lifetimes),
        Err(Flaw::TooLongLived)
    );
}

#[test]
fn only_a_token_that_was_good_once_has_expired() {
    let expired = expiring("1");
    assert!(verify(expired.as_bytes()).unwrap_err().is_expiry());
    let (head, seal) = (
        expired.split('.').next().unwrap(),
        expired.rsplit('.').next().unwrap(),
    );
    let forged = format!(
        "{head}.{}.{seal}",
        encoded(r#"{"sub":"di:1000000000000","exp":2}"#)
    );
    let (message, _) = expired.rsplit_once('.').unwrap();
    let unsigned = format!("{message}.{}", encoded([0; 32]));
    for token in [forged, unsigned] {
        let flaw = verify(token.as_bytes()).unwrap_err();
        assert!(!flaw.is_expiry(), "{flaw}");
    }
    assert!(Flaw::Signature.is_of_key() && !Flaw::Expired.is_of_key());
}

#[test]
fn a_flaw_repeats_of_a_token_no_more_than_a_short_name() {
    let name = format!("\\n{}", "a".repeat(1000));
    let flaw = verify(with(&format!(r#""{name}":"secret""#)).as_bytes()).unwrap_err();
    let said = flaw.to_string();
    assert!(
        said.contains("`\\naaa") && !said.contains('\n') && !said.contains("secret") && said.len() < 120,
        "{said}"
    );
}
