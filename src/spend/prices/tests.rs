//! The two formats of price lists, and which price is in force.

use super::*;
use crate::spend::price::{Charge, Pictures, Tiers, TokenRates};
use crate::types::{Demand, Factor, Money, Rate, Tier, Usage};

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

fn rate(text: &str) -> Rate {
    Rate::parse(text).unwrap()
}

fn usd(text: &str) -> Money {
    Money::parse_down(text).unwrap()
}

fn listed(text: &str) -> PriceTable {
    PriceTable::from_upstream(text.as_bytes()).unwrap().0
}

fn community(text: &str) -> PriceTable {
    PriceTable::from_community(text).unwrap()
}

fn of(table: &PriceTable, model: &str) -> Price {
    Price::clone(table.price(&name(model)).unwrap())
}

/// What a million tokens in and a million out cost, in tier `tier`.
fn million(price: &Price, tier: Tier) -> String {
    let usage = Usage {
        input: 1_000_000,
        output: 1_000_000,
        ..Usage::default()
    };
    let demand = Demand {
        tier,
        ..Demand::default()
    };
    price.cost(&usage, &demand, Duration::ZERO).unwrap().to_string()
}

/// Every type of price, and everything that can be wrong.
const LIST: &str = r#"[
        {"model_name": "a/tokens", "max_tokens": 131072, "pricing": {"type": "tokens",
            "cents_per_input_token": 0.000003, "cents_per_output_token": 5e-06,
            "rate_per_input_token_cached": 0.2, "rate_per_input_token_cache_write": 1.25,
            "rate_per_explicit_cache_write_token": {"5m": 1.25, "1h": 2.0, "note": "x"},
            "rate_per_service_tier_priority": 2, "rate_per_service_tier_flex": null,
            "discount": 0.5, "discount_ends_at": 1000}},
        {"model_name": "a/embed", "pricing": {"type": "input_tokens", "cents_per_input_token": "0.000001"}},
        {"model_name": "a/hear", "pricing": {"type": "input_length", "cents_per_input_sec": 0.00075}},
        {"model_name": "a/speak", "pricing": {"type": "input_character_length", "cents_per_input_chars": 0.000062}},
        {"model_name": "a/paint", "pricing": {"type": "image_units", "cents_per_image_unit": 0.5,
            "default_width": 1024, "default_height": 512, "default_iterations": 25}},
        {"model_name": "a/flat", "pricing": {"type": "image_units", "default_price_cents": 4,
            "default_width": 0, "default_height": 0, "default_iterations": 0}},
        {"model_name": "a/film", "pricing": {"type": "output_length", "cents_per_output_sec": 2}},
        {"model_name": "a/frames", "pricing": {"type": "frame_units", "cents_per_frame_unit": 0.03}},
        {"model_name": "a/time", "pricing": {"type": "time", "cents_per_sec": 0.05}},
        {"model_name": "a/uptime", "pricing": {"type": "uptime", "cents_per_sec": 0.07}},
        {"model_name": "a/new", "pricing": {"type": "moonlight", "cents": 1}},
        {"model_name": "a/free", "pricing": null},
        {"model_name": "no name!", "pricing": {"type": "time", "cents_per_sec": 1}},
        {"model_name": "a/negative", "pricing": {"type": "time", "cents_per_sec": -1}},
        {"model_name": "a/words", "pricing": {"type": "time", "cents_per_sec": "much"}},
        {"model_name": "a/half", "pricing": {"type": "tokens", "cents_per_input_token": 1}},
        {"pricing": {"type": "time", "cents_per_sec": 1}},
        7, null
    ]"#;

#[test]
fn every_type_of_an_upstreams_list_is_read_and_what_is_broken_spoils_nothing_else() {
    let (table, broken) = PriceTable::from_upstream(LIST.as_bytes()).unwrap();
    assert_eq!((table.len(), broken), (10, 6));
    let input = rate("3e-8");
    let default = TokenRates {
        input,
        cached: rate("6e-9"),
        cache_write: rate("6e-8"),
        output: rate("5e-8"),
    };
    let tokens = Price::new(Charge::Tokens(Tiers {
        default,
        priority: default.times(Factor::from_billionths(2_000_000_000)),
        flex: default.times(Factor::from_billionths(800_000_000)),
    }));
    let tokens = tokens.bounded(Some(131_072), None).discounted(
        Factor::from_billionths(500_000_000),
        Some(Duration::from_secs(1000)),
    );
    let pixels = std::num::NonZeroU64::new;
    let painted = |unit, size, steps| {
        Charge::Pictures(Pictures {
            unit: rate(unit),
            pixels: pixels(size),
            steps: pixels(steps),
        })
    };
    assert_eq!(of(&table, "a/tokens"), tokens);
    for (model, charge) in [
        ("a/hear", Charge::SoundSeconds(rate("0.0000075"))),
        ("a/speak", Charge::Characters(rate("6.2e-7"))),
        ("a/paint", painted("0.005", 1024 * 512, 25)),
        ("a/flat", painted("0.04", 0, 0)),
        ("a/film", Charge::FilmSeconds(rate("0.02"))),
        ("a/frames", Charge::Frames(rate("0.0003"))),
        ("a/time", Charge::WorkSeconds(rate("0.0005"))),
        ("a/uptime", Charge::WorkSeconds(rate("0.0007"))),
    ] {
        assert_eq!(of(&table, model), Price::new(charge), "{model}");
    }
    assert_eq!(million(&of(&table, "a/embed"), Tier::Default), "0.01");
    for wrong in ["{}", "7", "", "[1"] {
        assert!(PriceTable::from_upstream(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn the_end_of_a_discount_is_a_number_or_a_date() {
    let with = |discount: &str| {
        let text = format!(
            r#"[{{"model_name": "a/m", "pricing": {{"type": "input_tokens", "cents_per_input_token": 1,
               {discount}}}}}]"#
        );
        let usage = Usage {
            input: 100,
            ..Usage::default()
        };
        let price = of(&listed(&text), "a/m");
        let at = |seconds| {
            let now = Duration::from_secs(seconds);
            price.cost(&usage, &Demand::default(), now).unwrap().to_string()
        };
        [at(0), at(1_800_000_000)]
    };
    for (discount, want) in [
        (r#""discount": null"#, ["1", "1"]),
        (r#""discount": 0.25, "discount_ends_at": null"#, ["0.75", "0.75"]),
        (r#""discount": 0.25, "discount_ends_at": 1.8e9"#, ["0.75", "1"]),
        (
            r#""discount": 0.25, "discount_ends_at": "2027-01-15T08:00:00Z""#,
            ["0.75", "1"],
        ),
        (
            r#""discount": 0.25, "discount_ends_at": "2027-01-15T08:00:01+00:00""#,
            ["0.75", "0.75"],
        ),
        (r#""discount": 0.25, "discount_ends_at": "soon""#, ["1", "1"]),
        (r#""discount": 3, "discount_ends_at": null"#, ["1", "1"]),
        (r#""discount": {"percent": 20}"#, ["1", "1"]),
    ] {
        assert_eq!(with(discount), want, "{discount}");
    }
}

#[test]
fn a_community_table_is_read_by_its_modes() {
    let table = community(
        r#"{
        "sample_spec": {"max_tokens": "the most", "input_cost_per_token": "x"},
        "acme/chat": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "mode": "chat",
            "cache_read_input_token_cost": 1e-07, "cache_creation_input_token_cost": 1.25e-06,
            "cache_creation_input_token_cost_above_1hr": 2e-06,
            "input_cost_per_token_flex": 5e-07, "output_cost_per_token_flex": 1e-06,
            "input_cost_per_token_above_200k_tokens": 1.5e-06,
            "max_tokens": 8192, "max_input_tokens": "200000", "max_output_tokens": 8192.0},
        "acme/hear": {"input_cost_per_second": 0.0001, "output_cost_per_second": 0.0, "mode": "audio_transcription"},
        "acme/speak": {"input_cost_per_character": 1.5e-05, "mode": "audio_speech"},
        "acme/film": {"output_cost_per_second": 0.1, "mode": "video_generation"},
        "acme/paint": {"output_cost_per_image": 0.04, "input_cost_per_token": 0, "mode": "image_generation"},
        "acme/pixel": {"input_cost_per_pixel": 1.9e-08, "output_cost_per_pixel": 0.0, "mode": "image_generation"},
        "acme/search": {"input_cost_per_token": 0.0, "input_cost_per_query": 0.002, "mode": "rerank"},
        "acme/free": {"input_cost_per_token": 0, "output_cost_per_token": 0.0, "mode": "chat"},
        "acme/unknown": {"mode": "chat", "max_tokens": 100}
    }"#,
    );
    let chat = of(&table, "acme/chat");
    assert_eq!(million(&chat, Tier::Default), "3.5");
    assert_eq!(million(&chat, Tier::Priority), "5.25");
    assert_eq!(million(&chat, Tier::Flex), "1.5");
    let cached = Usage {
        input: 1_000_000,
        cached: 500_000,
        cache_write: 500_000,
        ..Usage::default()
    };
    let cost = chat.cost(&cached, &Demand::default(), Duration::ZERO);
    assert_eq!(cost, Some(usd("1.05")));
    let long = Demand {
        bytes: 1 << 40,
        ..Demand::default()
    };
    assert_eq!(chat.ceiling(&long, 1 << 40), usd("0.416384"));
    let million_pixels = of(&table, "acme/pixel").ceiling(&Demand::default(), 0);
    assert_eq!(million_pixels, usd("0.019922944"));
    for (model, charge) in [
        ("acme/hear", Charge::SoundSeconds(rate("0.0001"))),
        ("acme/speak", Charge::Characters(rate("0.000015"))),
        ("acme/film", Charge::FilmSeconds(rate("0.1"))),
    ] {
        assert_eq!(of(&table, model), Price::new(charge), "{model}");
    }
    let painted = of(&table, "acme/paint").ceiling(&Demand::default(), 0);
    assert_eq!(painted, usd("0.04"));
    assert_eq!(million(&of(&table, "acme/free"), Tier::Default), "0");
    assert_eq!(table.price(&name("acme/search")), None, "its query is not free");
    assert_eq!(table.price(&name("acme/unknown")), None);
}

#[test]
fn a_provider_in_front_of_a_name_may_be_left_out() {
    let table = community(
        r#"{
        "together_ai/org/m": {"input_cost_per_token": 3e-06, "litellm_provider": "together_ai"},
        "deepinfra/org/m": {"input_cost_per_token": 2e-06, "litellm_provider": "deepinfra"},
        "together_ai/org/whole": {"input_cost_per_token": 3e-06, "litellm_provider": "together_ai"},
        "org/whole": {"input_cost_per_token": 1e-06},
        "deepinfra/org/plain": {"input_cost_per_token": 4e-06},
        "org/other:v1": {"input_cost_per_token": 5e-06}
    }"#,
    );
    for (model, want) in [
        ("org/m", "2"),
        ("org/m:v2", "2"),
        ("together_ai/org/m", "3"),
        ("org/whole", "1"),
        ("org/plain", "4"),
        ("org/other", "5"),
    ] {
        assert_eq!(million(&of(&table, model), Tier::Default), want, "{model}");
    }
}

#[test]
fn everything_that_is_wrong_in_a_community_table_is_named() {
    let wrong = PriceTable::from_community(
        r#"{"a/m": {"input_cost_per_token": -1}, "b/m": 7, "c/m": {"input_cost_per_token": 1},
            "d/m": {"output_cost_per_token": "free"}}"#,
    );
    let shown: Vec<String> = wrong
        .unwrap_err()
        .iter()
        .map(|error| {
            let source = std::error::Error::source(error).unwrap();
            let deeper = source.source().map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}: {deeper}")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "the entry `a/m` of the price table: `input_cost_per_token` is wrong: an amount is not negative",
            "the entry `b/m` of the price table: is no object: ",
            "the entry `d/m` of the price table: `output_cost_per_token` is wrong: not a decimal number",
        ]
    );
    assert_eq!(PriceTable::from_community("[]").unwrap_err().len(), 1);
}

fn one(model: &str, dollars: &str) -> PriceTable {
    let price = Price::new(Charge::Characters(rate(dollars)));
    [(name(model), price)].into_iter().collect()
}

#[test]
fn the_own_table_wins_and_each_upstream_has_its_prices() {
    let prices = Prices::new(one("a/own", "1"));
    let (first, second): (Arc<str>, Arc<str>) = ("first".into(), "second".into());
    prices.learn(&first, one("a/own", "2"));
    prices.learn(&second, one("a/m", "3"));
    let of = |upstream: &str, model: &str| prices.price(upstream, &name(model));
    let own = one("a/own", "1");
    assert_eq!(of("first", "a/own").as_ref(), own.price(&name("a/own")));
    assert!(of("second", "a/m:v7").is_some());
    assert_eq!(of("first", "a/m"), None);
    prices.replace_own(PriceTable::default());
    let theirs = one("a/own", "2");
    assert_eq!(of("first", "a/own").as_ref(), theirs.price(&name("a/own")));
    prices.forget("first");
    assert_eq!(of("first", "a/own"), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_first_list_and_no_longer_than_it_may() {
    let prices = Arc::new(Prices::default());
    let slow: Arc<str> = "slow".into();
    let began = tokio::time::Instant::now();
    prices.ready("slow", Duration::from_secs(2)).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody fetches it");

    prices.expect(&slow);
    prices.ready("slow", Duration::from_secs(2)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));

    let waiting = async {
        prices.ready("slow", Duration::from_secs(2)).await;
        prices.price("slow", &name("a/m"))
    };
    let learning = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        prices.learn(&slow, one("a/m", "1"));
    };
    let (price, ()) = tokio::join!(waiting, learning);
    assert!(price.is_some(), "it is there when the wait is over");
    assert_eq!(began.elapsed(), Duration::from_millis(2_100));

    prices.expect(&slow);
    prices.ready("slow", Duration::from_secs(2)).await;
    assert_eq!(
        began.elapsed(),
        Duration::from_millis(2_100),
        "the old list counts"
    );
}
