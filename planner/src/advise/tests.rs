//! Advice against plans that know nothing of it.

use super::*;
use crate::plan::plan;
use crate::read::gpus::GpuCatalogue;
use crate::run::Mode;

fn gpu(name: &str) -> Gpu {
    GpuCatalogue::load(None).unwrap().find(name).unwrap().clone()
}

fn advised(name: &str, run: &Run, gpu: &Gpu) -> Advice {
    advise(&open(name, None, &Shelf::default()).unwrap(), run, gpu, &|_, _| {}).unwrap()
}

/// What a plan of a variant says: whether it fits, and its peaks.
fn planned(name: &str, variant: &Variant, gpu: &Gpu) -> (bool, Bytes, Bytes) {
    let model = open(variant.model.as_deref().unwrap_or(name), None, &Shelf::default()).unwrap();
    let plan = plan(&model, &variant.run, gpu).unwrap();
    (plan.fits(), plan.whole().peak_allocated, plan.whole().peak_reserved)
}

fn figures(peaks: Peaks) -> (bool, Bytes, Bytes) {
    (peaks.fits, peaks.allocated, peaks.reserved)
}

/// Every change and the combination are what plans of their runs say, in a run that the advice is for.
fn check(name: &str, run: &Run, gpu: &Gpu) -> Advice {
    let advice = advised(name, run, gpu);
    let given = Variant { model: None, run: run.clone(), flags: Flags::default() };
    assert_eq!(figures(advice.given), planned(name, &given, gpu), "{name} as given");
    for change in &advice.changes {
        assert_eq!(figures(change.peaks), planned(name, &change.variant, gpu), "{name}: {}", change.variant.flags);
        assert!(change.variant.flags != Flags::default());
    }
    assert!(advice.changes.is_sorted_by_key(|change| change.cost));
    let found = advice.combination.as_ref().or(advice.nearest.as_ref()).unwrap();
    assert_eq!(figures(found.peaks), planned(name, &found.variant, gpu), "{name}: {}", found.variant.flags);
    assert_eq!(found.peaks.fits, advice.combination.is_some());
    assert_eq!(advice, advised(name, run, gpu), "the same advice each time");
    advice
}

#[test]
fn every_advice_is_what_a_plan_of_it_says() {
    let small = |run: Run, mib: u64| Run { capacity: Some(Bytes(mib << 20)), steps: 2, ..run };
    let cases = [
        ("distilgpt2", Run { batch: 12, seq: 256, ..Run::default() }, 1400),
        ("distilgpt2", Run { batch: 6, mode: Mode::EvalWithGrad, keep_losses: 2, ..Run::default() }, 650),
        ("bert-base", Run { batch: 8, parallel: crate::run::Parallel::ddp("2").ok(), ..Run::default() }, 1400),
        ("resnet18", Run { batch: 6, optimizer: "momentum".parse().unwrap(), ..Run::default() }, 240),
        ("t5-small", Run { batch: 5, mode: Mode::Generate, new_tokens: 2, ..Run::default() }, 140),
    ];
    for (name, run, capacity) in cases {
        let advice = check(name, &small(run, capacity), &gpu("rtx3060"));
        assert!(!advice.given.fits, "{name}: {}", advice.given.reserved);
        assert!(advice.combination.is_some(), "{name}");
    }
}

/// Sets of one and of two changes, all of them planned: none that fits is paid with less.
#[test]
fn no_smaller_set_of_a_cheaper_class_fits() {
    let gpu = gpu("rtx3060");
    let model = open("distilgpt2", None, &Shelf::default()).unwrap();
    for mib in [900, 1200, 1600, 2200] {
        let run = Run { batch: 4, seq: 300, steps: 2, capacity: Some(Bytes(mib << 20)), ..Run::default() };
        let advice = advised("distilgpt2", &run, &gpu);
        let worst = |set: &[usize]| set.iter().map(|place| advice.changes[*place].cost.class).max();
        let found = &advice.combination.as_ref().unwrap().changes;
        let adviser = Adviser { model: &model, run: &run, gpu: &gpu, capacity: advice.capacity, done: &|_, _| {} };
        let count = advice.changes.len();
        let pairs = (0..count).flat_map(|one| (one..count).map(move |other| vec![one, other]));
        let different =
            |set: &Vec<usize>| set[0] == set[1] || advice.changes[set[0]].slot != advice.changes[set[1]].slot;
        let cheaper =
            |set: &Vec<usize>| (worst(set), if set[0] == set[1] { 1 } else { 2 }) < (worst(found), found.len());
        let sets: Vec<Vec<usize>> = pairs.filter(different).filter(cheaper).collect();
        for (set, planned) in sets.iter().zip(adviser.plan_sets(&advice.changes, &sets)) {
            let fits = planned.is_ok_and(|planned| planned.within[0].fits);
            assert!(!fits, "{mib} MiB: {} is smaller", adviser.together(&advice.changes, set).flags);
        }
    }
}

#[test]
fn a_run_that_fits_needs_nothing() {
    let advice = check("distilgpt2", &Run::default(), &gpu("t4"));
    let combination = advice.combination.unwrap();
    assert_eq!((combination.changes.len(), combination.variant.flags), (0, Flags::default()));
    assert_eq!((advice.tried, advice.untried), (0, 0));
}

#[test]
fn where_nothing_fits_the_nearest_is_said() {
    let advice = check("distilgpt2", &Run { capacity: Some(Bytes(8 << 20)), ..Run::default() }, &gpu("t4"));
    assert_eq!(advice.combination, None);
    let nearest = advice.nearest.unwrap().peaks.reserved;
    assert!(advice.changes.iter().all(|change| nearest <= change.peaks.reserved));
}
