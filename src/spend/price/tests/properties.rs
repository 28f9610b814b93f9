//! What holds of every price and every call.

use proptest::prelude::*;

use super::*;

fn any_rate() -> impl Strategy<Value = Rate> {
    prop_oneof![
        Just(Rate::ZERO),
        (0..10_u128.pow(16)).prop_map(Rate::from_attos),
        (0..10_u128.pow(11)).prop_map(Rate::from_attos),
    ]
}

prop_compose! {
    fn any_rates()(input in any_rate(), cached in any_rate(), cache_write in any_rate(), output in any_rate())
        -> TokenRates {
        TokenRates { input, cached, cache_write, output }
    }
}

fn any_charge() -> impl Strategy<Value = Charge> {
    prop_oneof![
        3 => (any_rates(), any_rates(), any_rates())
            .prop_map(|(default, priority, flex)| Charge::Tokens(Tiers { default, priority, flex })),
        1 => any_rate().prop_map(Charge::SoundSeconds),
        1 => any_rate().prop_map(Charge::Characters),
        1 => (any_rate(), 0..5 * MIB, 0..100_u64).prop_map(|(unit, pixels, steps)| {
            Charge::Pictures(Pictures {
                unit,
                pixels: NonZeroU64::new(pixels),
                steps: NonZeroU64::new(steps),
            })
        }),
        1 => any_rate().prop_map(Charge::FilmSeconds),
        1 => any_rate().prop_map(Charge::Frames),
    ]
}

prop_compose! {
    fn any_price()(
        charge in any_charge(),
        discount in proptest::option::of((0..=1_000_000_000_u64, proptest::option::of(0..10_u64))),
        context in proptest::option::of(1..2_000_000_u64),
        max_output in proptest::option::of(1..200_000_u64),
    ) -> Price {
        let price = Price::new(charge).bounded(context, max_output);
        match discount {
            None => price,
            Some((left, until)) => {
                price.discounted(Factor::from_billionths(left), until.map(Duration::from_secs))
            }
        }
    }
}

prop_compose! {
    fn any_demand()(
        (bytes, media, elsewhere) in (0..1_u64 << 36, 0..20_u64, any::<bool>()),
        output in proptest::option::of(0..300_000_u64),
        answers in 1..200_u64,
        (pixels, steps) in (proptest::option::of(0..64 * MIB), proptest::option::of(0..500_u64)),
        (frames, seconds) in (proptest::option::of(0..10_000_u64), proptest::option::of(0..600_u64)),
        tier in prop_oneof![Just(Tier::Default), Just(Tier::Priority), Just(Tier::Flex)],
    ) -> Demand {
        Demand { bytes, media, elsewhere, output, answers, pixels, steps, frames, seconds, tier }
    }
}

/// A part of `whole`, in thousandths.
fn part(whole: u64, thousandths: u64) -> u64 {
    u64::try_from(u128::from(whole) * u128::from(thousandths) / 1000).unwrap()
}

/// The most that a call within `demand` can use.
fn most_used(price: &Price, demand: &Demand, unnamed: u64) -> Usage {
    let Charge::Tokens(tiers) = &price.list else {
        let sound = matches!(price.list, Charge::SoundSeconds(_)).then(|| sound_bound(demand));
        let film = demand.seconds.unwrap_or(LONGEST_FILM) * demand.answers;
        return Usage {
            duration: Some(Duration::from_secs(sound.unwrap_or(film))),
            ..Usage::default()
        };
    };
    let each = demand.output.unwrap_or(unnamed).min(price.most_output());
    usage(
        price.input_bound(tiers.of(demand.tier), demand),
        each * demand.answers,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_call_within_its_demand_costs_more_than_its_ceiling(
        (price, demand, unnamed) in (any_price(), any_demand(), 0..100_000_u64),
        (input, output, cached, written) in (0..=1000_u64, 0..=1000_u64, 0..=1000_u64, 0..=1000_u64),
        now in 0..10_u64,
    ) {
        let most = most_used(&price, &demand, unnamed);
        let input = part(most.input, input);
        let cached = part(input, cached);
        let used = Usage {
            input,
            cached,
            cache_write: part(input - cached, written),
            output: part(most.output, output),
            duration: most.duration.map(|longest| longest.mul_f64(output as f64 / 1000.0).min(longest)),
            ..Usage::default()
        };
        if let Some(cost) = price.cost(&used, &demand, Duration::from_secs(now)) {
            let ceiling = price.ceiling(&demand, unnamed);
            prop_assert!(cost <= ceiling, "{} is more than {}", cost, ceiling);
        }
    }

    #[test]
    fn asking_for_more_never_lowers_a_ceiling(
        (price, demand, more) in (any_price(), any_demand(), any_demand()),
        unnamed in 0..100_000_u64,
    ) {
        let larger = Demand {
            bytes: demand.bytes + more.bytes,
            media: demand.media + more.media,
            elsewhere: demand.elsewhere || more.elsewhere,
            output: demand.output.map(|output| output + more.output.unwrap_or(0)),
            answers: demand.answers + more.answers,
            pixels: demand.pixels.map(|pixels| pixels + more.pixels.unwrap_or(0)),
            steps: demand.steps.map(|steps| steps + more.steps.unwrap_or(0)),
            frames: demand.frames.map(|frames| frames + more.frames.unwrap_or(0)),
            seconds: demand.seconds.map(|seconds| seconds + more.seconds.unwrap_or(0)),
            tier: demand.tier,
        };
        prop_assert!(price.ceiling(&larger, unnamed) >= price.ceiling(&demand, unnamed));
    }

    #[test]
    fn using_more_never_costs_less(
        (price, demand) in (any_price(), any_demand()),
        (input, output, more_input, more_output) in (1..1_000_000_u64, 0..1_000_000_u64, 0..1000_u64, 0..1000_u64),
    ) {
        let less = price.cost(&usage(input, output), &demand, Duration::ZERO);
        let more = price.cost(&usage(input + more_input, output + more_output), &demand, Duration::ZERO);
        prop_assert!(more >= less);
    }

    #[test]
    fn output_within_is_the_longest_that_can_be_paid(
        (price, demand) in (any_price(), any_demand()),
        money in prop_oneof![0..2_000_000_000_i64, 0..i64::MAX],
    ) {
        let money = Money::from_nanos(money).unwrap();
        let ceiling = |output| price.ceiling(&Demand { output: Some(output), ..demand }, 0);
        let longest = price.output_within(&demand, money);
        prop_assert!(longest <= price.most_output());
        if longest > 0 {
            prop_assert!(ceiling(longest) <= money);
        }
        if longest < price.most_output() {
            prop_assert!(ceiling(longest + 1) > money);
        }
    }
}
