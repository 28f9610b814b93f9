//! Calls side by side in ten thousand random orders: which task goes on next, and which of them falls instead, is up to
//! chance. Whatever the order, no limit is passed and every call is closed once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::super::price::{Charge as Paid, Tiers, TokenRates};
use super::super::*;
use super::model::Model;
use super::player::{Dice, Player, pause};
use crate::types::{AccountId, KeyName, Rate, SystemClock, TokenId, Usage};

/// How many orders are tried, where it is not to be as many as a quick test needs.
const SCHEDULES: u64 = 10_000;

const CALLERS: usize = 6;

const UPSTREAM: &str = "main";

/// What must stand in the ledger of a call, by the id of its request.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// It was not sent.
    Nothing,
    /// It was sent, and nobody knows how it ended.
    AllHeld,
    Cost(Money),
}

type Dues = Arc<Mutex<HashMap<RequestId, Due>>>;

/// Asks for some tokens; a token of the prompt costs 10 nano-dollars, one of the answer 100.
struct Asked {
    models: Vec<ModelName>,
    output: u64,
    can_be_clamped: bool,
}

const PROMPT: u64 = 20;

impl Spending for Asked {
    fn models(&self) -> &[ModelName] {
        &self.models
    }

    fn demand(&self) -> Demand {
        Demand {
            bytes: PROMPT,
            output: Some(self.output),
            ..Demand::default()
        }
    }

    fn outline(&self) -> Demand {
        self.demand()
    }

    fn output_can_be_clamped(&self) -> bool {
        self.can_be_clamped
    }

    fn clamp_output(&mut self, tokens: u64) {
        self.output = self.output.min(tokens);
    }
}

fn price() -> PriceTable {
    let rate = |nanos: &str| Rate::parse(nanos).unwrap();
    let rates = TokenRates {
        input: rate("0.00000001"),
        cached: rate("0.00000001"),
        cache_write: rate("0.00000001"),
        output: rate("0.0000001"),
    };
    let price = Price::new(Paid::Tokens(Tiers {
        default: rates,
        priority: rates,
        flex: rates,
    }));
    [(model(), price)].into_iter().collect()
}

fn model() -> ModelName {
    ModelName::parse("acme/m").unwrap()
}

/// One call after the other; any of them may fall at any time.
async fn call_often(spend: Arc<Spend>, dues: Dues, mut dice: Dice) {
    let account = AccountId::parse("di:1").unwrap();
    let key = KeyName::parse("auto").unwrap();
    let token = TokenId::parse(if dice.below(3) == 0 { "jti:b" } else { "jti:a" }).unwrap();
    let labels = ModelLabel::other();
    for _ in 0..1 + dice.below(3) {
        let request_id = RequestId::new(Duration::ZERO);
        let set = |due| {
            dues.lock().unwrap().insert(request_id.clone(), due);
        };
        set(Due::Nothing);
        let route = Route {
            payer: Payer {
                account: &account,
                key: &key,
                token: Some(&token),
                limit: Some(Money::from_nanos(25_000).unwrap()),
            },
            surface: "native",
            upstream: UPSTREAM,
            label: &labels,
            request_id: &request_id,
        };
        let mut asked = Asked {
            models: vec![model()],
            output: 20 + dice.below(100),
            can_be_clamped: dice.below(2) == 0,
        };
        let Ok(reservation) = spend.reserve(route, &mut asked).await else {
            pause(dice.below(40)).await;
            continue;
        };
        pause(dice.below(3)).await;
        if dice.below(5) == 0 {
            continue;
        }
        set(Due::AllHeld);
        let in_flight = reservation.sent();
        pause(dice.below(4)).await;
        if dice.below(5) > 0 {
            let usage = used(&mut dice, &asked);
            let charge = in_flight.settle(&seen(&mut dice, usage.as_ref())).unwrap();
            set(Due::Cost(charge.cost));
        }
    }
}

/// Some usage within what was asked for, or none.
fn used(dice: &mut Dice, asked: &Asked) -> Option<Usage> {
    let usage = Usage {
        input: dice.below(PROMPT + 1),
        output: dice.below(asked.output + 1),
        ..Usage::default()
    };
    (dice.below(3) > 0).then_some(usage)
}

fn seen<'a>(dice: &mut Dice, usage: Option<&'a Usage>) -> Seen<'a> {
    let ending = match dice.below(4) {
        0 => Ending::Failed,
        1 => Ending::Unseen,
        _ => Ending::Whole,
    };
    Seen {
        ending,
        usage,
        model: Some(model()),
        status: 200,
        outcome: "completed",
        took: Duration::ZERO,
    }
}

/// Money over a model of the ledger, with so many places in the queue.
fn open(
    config: &Config,
    model: &Arc<Model>,
    metrics: &Arc<Metrics>,
    places: usize,
) -> (Arc<Spend>, Settling) {
    let (queue, ended) = mpsc::channel(places);
    let spend = Spend {
        owner: CallId::new(Duration::ZERO),
        rules: ArcSwap::from_pointee(Rules::of(config)),
        prices: Arc::default(),
        ledger: Arc::clone(model) as Arc<dyn Ledger>,
        queue,
        ratios: ratios::Ratios::default(),
        metrics: Arc::clone(metrics),
        clock: Arc::new(SystemClock),
    };
    let settling = Settling {
        ended,
        ledger: Arc::clone(model) as Arc<dyn Ledger>,
        metrics: Arc::clone(metrics),
    };
    (Arc::new(spend), settling)
}

/// Plays one order to its end; how many calls were not sent, were cut and were settled, and what they cost.
async fn schedule(seed: u64, config: &Config, metrics: &Arc<Metrics>) -> ([usize; 3], Money) {
    let mut dice = Dice::new(seed);
    let model = Arc::new(Model::new(dice.fork()));
    let places = [3, 6, 64][usize::try_from(dice.below(3)).unwrap()];
    let (spend, settling) = open(config, &model, metrics, places);
    let (dues, stop) = (Dues::default(), CancellationToken::new());
    let mut player = Player::new(dice.fork());
    for _ in 0..CALLERS {
        let calling = call_often(Arc::clone(&spend), Arc::clone(&dues), dice.fork());
        player.add(calling, true).await;
    }
    player.add(Arc::clone(&model).serve(), false).await;
    player.add(settling.run(stop.clone()), false).await;
    // The price list may come while calls wait for it.
    let prices = Arc::clone(&spend.prices);
    let upstream = Arc::from(UPSTREAM);
    prices.expect(&upstream);
    let wait = dice.below(2) * dice.below(30);
    let learning = async move {
        pause(wait).await;
        prices.learn(&upstream, price());
    };
    player.add(learning, false).await;
    // The stop may come while calls run.
    let early = if dice.below(4) == 0 {
        dice.below(200)
    } else {
        u64::MAX
    };
    let steps = AtomicU64::new(0);
    player
        .play(|player| {
            model.check();
            if steps.fetch_add(1, Ordering::Relaxed) == early {
                stop.cancel();
            }
            !player.has_callers()
        })
        .await;
    let is_settled = || spend.queue.capacity() == places && model.state().holds.is_empty();
    player
        .play(|_| {
            model.check();
            is_settled()
        })
        .await;
    stop.cancel();
    // Whoever serves the ledger never ends.
    player.play(|player| player.len() == 1).await;
    compare(&model, &dues)
}

/// Every call has cost what is due, and its purses have spent it.
fn compare(model: &Model, dues: &Dues) -> ([usize; 3], Money) {
    let state = model.state();
    let dues = dues.lock().unwrap();
    let (mut counts, mut spent) = ([0; 3], Money::ZERO);
    for (id, due) in dues.iter() {
        let cost = state.costs.get(id).copied();
        let (kind, want) = match due {
            Due::Nothing => (0, None),
            Due::AllHeld => (1, state.held.get(id).copied()),
            Due::Cost(due) => (2, Some(*due)),
        };
        assert_eq!(cost, want, "{due:?}");
        counts[kind] += 1;
        spent = spent.saturating_add(cost.unwrap_or_default());
    }
    let of_tokens = |purse: &Purse| matches!(purse.share, Share::Token(_));
    for is_token in [true, false] {
        let purses = state
            .purses
            .iter()
            .filter(|(purse, _)| of_tokens(purse) == is_token);
        let sum = purses.map(|(_, (_, balance))| balance.spent);
        assert_eq!(sum.fold(Money::ZERO, Money::saturating_add), spent);
    }
    (counts, spent)
}

#[test]
fn in_every_order_of_events_no_limit_is_passed_and_every_call_is_closed_once() {
    let none = std::collections::BTreeMap::<String, String>::new();
    let cap = "[[budget.limit]]\naccount = \"di:1\"\nwindow = \"total\"\nusd = 0.00004\n";
    let config = Config::parse(cap, std::path::Path::new(""), &none).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let (mut counts, mut spent) = ([0; 3], Money::ZERO);
    for seed in 0..SCHEDULES {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let played = runtime.unwrap().block_on(schedule(seed, &config, &metrics));
        for (count, more) in counts.iter_mut().zip(played.0) {
            *count += more;
        }
        spent = spent.saturating_add(played.1);
    }
    let [unsent, cut, settled] = counts;
    println!("{unsent} calls were not sent, {cut} were cut and {settled} settled: they have cost {spent}");
    let text = metrics.render().unwrap();
    let shown = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(shown("tidegate_open_holds"), 0.0);
    assert_eq!(shown("tidegate_holds_usd"), 0.0);
    assert_eq!(
        shown("tidegate_spend_usd_total"),
        spent.to_string().parse::<f64>().unwrap()
    );
}
