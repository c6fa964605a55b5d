//! Offers against plans that know nothing of the search.

use super::*;
use crate::model::open;
use crate::read::gpus::GpuCatalogue;
use crate::read::spec::Shelf;

fn bought(name: &str, run: &Run, keys: &[&str], wanted: &Wanted) -> (Vec<Gpu>, Offers) {
    let catalogue = GpuCatalogue::load(None).unwrap();
    let gpus: Vec<Gpu> = keys.iter().map(|key| catalogue.find(key).unwrap().clone()).collect();
    let offers = buy(&open(name, None, &Shelf::default()).unwrap(), run, &gpus, wanted, &|_| {}).unwrap();
    (gpus, offers)
}

const ANY: Wanted = Wanted { most: 8, budget: None };

#[test]
fn an_offer_is_the_fewest_gpus_that_fit() {
    let run = Run { batch: 16, seq: 512, steps: 2, ..Run::default() };
    let (gpus, found) = bought("gpt2", &run, &["t4", "rtx3060", "rtx4090", "a100-40gb"], &ANY);
    let model = open("gpt2", None, &Shelf::default()).unwrap();
    for gpu in &gpus {
        for strategy in Strategy::of(&run).into_iter().filter(|strategy| !matches!(strategy.way, Way::Zero(_))) {
            let offer = found.offers.iter().find(|offer| offer.gpu.key == gpu.key && offer.strategy == strategy);
            for count in strategy.counts(&run, 8) {
                let plan = plan(&model, &strategy.apply(&run, count), gpu).unwrap();
                match offer.filter(|offer| offer.gpus <= count) {
                    None => assert!(!plan.fits(), "{} {strategy:?} on {count}", gpu.key),
                    Some(offer) if offer.gpus == count => {
                        let peaks = (plan.outcome.peak_allocated, Some(plan.outcome.peak_reserved));
                        assert!(plan.fits());
                        assert_eq!((offer.rank.allocated, offer.rank.reserved), peaks);
                        assert_eq!(offer.rank.host, plan.trace.host_bytes());
                    }
                    Some(_) => {}
                }
            }
        }
    }
    assert!(found.offers.iter().any(|offer| offer.strategy.checkpoint && offer.gpu.key == "rtx3060"));
}

#[test]
fn the_cheapest_comes_first_and_what_has_no_price_last() {
    let (_, found) = bought("distilgpt2", &Run::default(), &["t4", "l4", "rtx4090", "rtx3060", "l20"], &ANY);
    let prices: Vec<&Prices> = found.offers.iter().map(|offer| &offer.prices).collect();
    assert!(prices.is_sorted_by(|one, other| one.compare(other, false).is_le()));
    assert_eq!(prices.last().map(|prices| (&prices.hourly, &prices.purchase)), Some((&None, &None)));
    let first = &found.offers[0];
    assert_eq!((first.gpus, first.strategy.way), (1, Way::One));
}

#[test]
fn budgets_leave_out_what_is_beyond_and_what_has_no_price() {
    let keys = ["l4", "rtx4090", "l20"];
    let (_, all) = bought("distilgpt2", &Run::default(), &keys, &ANY);
    let wanted = Wanted { budget: Some(Budget::Purchase(2000.0)), ..ANY };
    let (_, within) = bought("distilgpt2", &Run::default(), &keys, &wanted);
    assert_eq!(all.offers.len(), within.offers.len() + within.beyond + within.unpriced);
    assert!(within.beyond > 0 && within.unpriced > 0 && !within.offers.is_empty());
    for offer in &within.offers {
        assert!(offer.prices.purchase.as_ref().is_some_and(|asked| asked.usd <= 2000.0));
    }
}

#[test]
fn serving_says_weights_cache_and_prefill() {
    let run = Run { mode: Mode::Generate, batch: 3, seq: 60, new_tokens: 4, steps: 1, ..Run::default() };
    let (_, found) = bought("gpt2", &run, &["t4"], &ANY);
    let [offer] = &found.offers[..] else { panic!("{} offers", found.offers.len()) };
    let served = offer.served.unwrap();
    // 124439808 numbers in fp32; twelve layers of keys and values of 768 numbers a token, of 63 tokens
    assert_eq!(served.weights, Bytes(4 * 124_439_808));
    let held = 4 * 12 * 2 * 768 * 3;
    assert!(served.cache.total().0 >= 63 * held && served.cache.total().0 <= 2 * 64 * held, "{:?}", served.cache);
    assert!(served.prefill <= offer.rank.allocated && served.prefill > served.weights);
}
