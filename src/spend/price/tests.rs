//! What prices come to, worked out by hand.

use super::*;

mod properties;

const MIB: u64 = 1024 * 1024;

fn rate(text: &str) -> Rate {
    Rate::parse(text).unwrap()
}

fn usd(text: &str) -> Money {
    Money::parse_down(text).unwrap()
}

fn rates(input: &str, output: &str) -> TokenRates {
    let input = rate(input);
    TokenRates {
        input,
        cached: input.times(Factor::parse("0.2").unwrap()),
        cache_write: input.times(Factor::parse("1.25").unwrap()),
        output: rate(output),
    }
}

fn tokens(rates: TokenRates) -> Charge {
    Charge::Tokens(Tiers {
        default: rates,
        priority: rates.times(Factor::parse("1.5").unwrap()),
        flex: rates.times(Factor::parse("0.8").unwrap()),
    })
}

/// $0.03 and $0.05 a million.
fn chat() -> Price {
    Price::new(tokens(rates("3e-8", "5e-8"))).bounded(Some(131_072), None)
}

fn pictures(unit: &str, pixels: u64, steps: u64) -> Price {
    Price::new(Charge::Pictures(Pictures {
        unit: rate(unit),
        pixels: NonZeroU64::new(pixels),
        steps: NonZeroU64::new(steps),
    }))
}

fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input,
        output,
        ..Usage::default()
    }
}

fn cost(price: &Price, usage: &Usage, demand: &Demand) -> Option<Money> {
    price.cost(usage, demand, Duration::ZERO)
}

#[test]
fn tokens_cost_what_their_kind_and_their_tier_cost() {
    let plain = usage(1_000_000, 1_000_000);
    let kinds = Usage {
        cached: 400_000,
        cache_write: 100_000,
        ..plain
    };
    for (used, tier, want) in [
        (plain, Tier::Default, "0.08"),
        (plain, Tier::Priority, "0.12"),
        (plain, Tier::Flex, "0.064"),
        // 500,000 at 0.03, 400,000 at 0.006, 100,000 at 0.0375 and 1,000,000 at 0.05 a million.
        (kinds, Tier::Default, "0.07115"),
        (usage(1, 0), Tier::Default, "0.00000003"),
        (usage(0, 1), Tier::Default, "0.00000005"),
    ] {
        let demand = Demand {
            tier,
            ..Demand::default()
        };
        assert_eq!(
            cost(&chat(), &used, &demand),
            Some(usd(want)),
            "{used:?} {tier:?}"
        );
    }
}

#[test]
fn a_sum_is_rounded_up_once() {
    let price = Price::new(tokens(rates("1e-10", "1e-10")));
    // 3 + 4 tenths of a nano-dollar are one, and not two.
    let demand = Demand::default();
    assert_eq!(cost(&price, &usage(3, 4), &demand), Some(usd("0.000000001")));
    assert_eq!(cost(&price, &usage(10, 0), &demand), Some(usd("0.000000001")));
    assert_eq!(cost(&price, &usage(10, 1), &demand), Some(usd("0.000000002")));
}

#[test]
fn pictures_cost_by_the_formula_of_size_and_steps() {
    let of = |pixels: u64, steps: Option<u64>, answers| Demand {
        pixels: Some(pixels),
        steps,
        answers,
        ..Demand::default()
    };
    for (price, demand, want) in [
        (pictures("0.005", MIB, 1), of(MIB, None, 1), "0.005"),
        (pictures("0.005", MIB, 1), of(512 * 512, Some(4), 2), "0.01"),
        (pictures("0.09", MIB, 25), of(MIB, Some(50), 1), "0.18"),
        (pictures("0.09", MIB, 25), of(1024 * 768, Some(10), 1), "0.027"),
        (pictures("0.09", MIB, 25), Demand::default(), "0.09"),
        (pictures("0.002", 512 * 512, 0), Demand::default(), "0.0005"),
        (pictures("0.002", MIB, 0), of(MIB, Some(50), 1), "0.002"),
        (pictures("0.04", 0, 0), of(4 * MIB, Some(50), 3), "0.12"),
    ] {
        assert_eq!(
            cost(&price, &Usage::default(), &demand),
            Some(usd(want)),
            "{demand:?}"
        );
    }
    let small = pictures("0.002", 512 * 512, 0);
    assert_eq!(
        small.ceiling(&Demand::default(), 0),
        usd("0.002"),
        "its size is not named"
    );
}

#[test]
fn sound_film_frames_and_characters_cost_by_the_unit() {
    let heard = Usage {
        duration: Some(Duration::from_millis(61_500)),
        ..Usage::default()
    };
    let demand = Demand {
        bytes: 57,
        answers: 2,
        seconds: Some(5),
        frames: Some(120),
        ..Demand::default()
    };
    let of = |charge: fn(Rate) -> Charge, each: &str| Price::new(charge(rate(each)));
    for (price, used, want) in [
        (of(Charge::SoundSeconds, "7.5e-6"), heard, Some("0.00046125")),
        (of(Charge::SoundSeconds, "7.5e-6"), usage(9, 9), None),
        (of(Charge::Characters, "6.2e-7"), usage(0, 0), Some("0.00003534")),
        (of(Charge::FilmSeconds, "0.02"), usage(0, 0), Some("0.2")),
        (of(Charge::FilmSeconds, "0.02"), heard, Some("1.23")),
        (of(Charge::Frames, "0.0003"), usage(0, 0), Some("0.072")),
        (of(Charge::WorkSeconds, "0.0005"), heard, None),
        (chat(), usage(0, 0), None),
    ] {
        assert_eq!(cost(&price, &used, &demand), want.map(usd), "{price:?}");
    }
    let open = Demand::default();
    let frames = of(Charge::Frames, "0.0003");
    assert_eq!(cost(&frames, &heard, &open), None, "nobody said how many");
    assert_eq!(frames.ceiling(&open, 0), usd("0.54"));
    assert_eq!(of(Charge::FilmSeconds, "0.02").ceiling(&open, 0), usd("1.2"));
    assert_eq!(of(Charge::WorkSeconds, "0.0005").ceiling(&open, 0), usd("0.9"));
    let sound = Demand { bytes: 5_001, ..open };
    assert_eq!(of(Charge::SoundSeconds, "0.001").ceiling(&sound, 0), usd("0.011"));
    let linked = Demand {
        elsewhere: true,
        ..sound
    };
    assert_eq!(of(Charge::SoundSeconds, "0.001").ceiling(&linked, 0), usd("21.6"));
}

#[test]
fn the_ceiling_is_the_longest_prompt_and_the_longest_answers() {
    let demand = |bytes, media, output, answers| Demand {
        bytes,
        media,
        output,
        answers,
        ..Demand::default()
    };
    // The dearest token of a prompt costs 3.75e-8.
    for (demand, want) in [
        (demand(1000, 0, Some(100), 1), "0.0000425"),
        (demand(1000, 0, Some(100), 3), "0.0000525"),
        (demand(1000, 0, None, 1), "0.0008567"),
        (demand(1000, 0, Some(1 << 40), 1), "0.0065911"),
        (demand(0, 1, Some(0), 1), "0.0006144"),
        (demand(1 << 40, 0, Some(0), 1), "0.0049152"),
        (demand(1 << 40, 0, Some(0), 2), "0.0098304"),
    ] {
        assert_eq!(chat().ceiling(&demand, 16_384), usd(want), "{demand:?}");
    }
    let linked = Demand {
        elsewhere: true,
        ..demand(1000, 0, Some(0), 1)
    };
    assert_eq!(chat().ceiling(&linked, 0), usd("0.0049152"));
    let unknown = Price::new(tokens(rates("3e-8", "5e-8")));
    assert_eq!(unknown.ceiling(&linked, 0), usd("0.0393591"));

    let short = chat().bounded(Some(131_072), Some(50));
    assert_eq!(short.ceiling(&demand(1000, 0, Some(100), 1), 9), usd("0.00004"));
    let reads = Price::new(tokens(rates("1e-8", "0"))).bounded(Some(512), None);
    assert_eq!(
        reads.ceiling(&demand(100_000, 0, None, 1), 16_384),
        usd("0.00125"),
        "it takes many texts at once"
    );
    assert!(chat().has_output() && !reads.has_output());
}

#[test]
fn a_discount_counts_until_it_ends_and_never_in_a_ceiling() {
    let half = Factor::left_by("0.5").unwrap();
    let until = Duration::from_secs(1_000);
    let price = chat().discounted(half, Some(until));
    let used = usage(1_000_000, 0);
    let demand = Demand {
        bytes: 1_000,
        ..Demand::default()
    };
    let at = |now| price.cost(&used, &demand, now);
    assert_eq!(
        at(until.saturating_sub(Duration::from_nanos(1))),
        Some(usd("0.015"))
    );
    assert_eq!(at(until), Some(usd("0.03")));
    assert_eq!(price.ceiling(&demand, 10), chat().ceiling(&demand, 10));
    let always = chat().discounted(half, None);
    assert_eq!(always.cost(&used, &demand, Duration::MAX), Some(usd("0.015")));
}

#[test]
fn what_is_beyond_all_bounds_is_the_most_there_is() {
    let dear = Price::new(tokens(TokenRates {
        input: Rate::from_attos(u128::MAX),
        ..TokenRates::default()
    }));
    let demand = Demand {
        bytes: u64::MAX,
        media: u64::MAX,
        answers: u64::MAX,
        output: Some(u64::MAX),
        ..Demand::default()
    };
    assert_eq!(dear.ceiling(&demand, u64::MAX), Money::MAX);
    assert_eq!(cost(&dear, &usage(2, 0), &demand), Some(Money::MAX));
    assert_eq!(dear.output_within(&demand, usd("1")), 0);
    assert_eq!(
        pictures("9e9", u64::MAX, u64::MAX).ceiling(&demand, 0),
        Money::MAX
    );
}
