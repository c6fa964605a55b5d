//! Answers against plans that know nothing of the search.

use super::search::BEYOND;
use super::*;
use crate::model::open;
use crate::plan::plan;
use crate::read::gpus::GpuCatalogue;
use crate::read::spec::Shelf;
use crate::run::Mode;

fn gpus(names: &[&str]) -> Vec<Gpu> {
    let catalogue = GpuCatalogue::load(None).unwrap();
    names.iter().map(|name| catalogue.find(name).unwrap().clone()).collect()
}

fn model(name: &str) -> Model {
    open(name, None, &Shelf::default()).unwrap()
}

/// Answers for a built-in model.
fn fitted(model: &Model, run: &Run, gpus: &[Gpu]) -> Result<Vec<Row>, PlanError> {
    fit(model, run, gpus, &|_| {})
}

fn limits(model: &Model, run: &Run, gpus: &[Gpu]) -> Vec<(Row, Vec<Limit>)> {
    let rows = fitted(model, run, gpus).unwrap();
    rows.into_iter().map(|row| (row.clone(), row.found.unwrap().limits)).collect()
}

/// Whether a size fits by a plan of its own; a refused one does not.
fn fits(model: &Model, run: &Run, gpu: &Gpu, axis: Axis, size: u64) -> bool {
    plan(model, &axis.with(run, size), gpu).is_ok_and(|plan| plan.fits())
}

#[test]
fn answers_fit_and_what_lies_beyond_does_not() {
    let names = ["rtx3060-12gb", "t4", "rtx4090"];
    let train = Run { steps: 2, ..Run::default() };
    let generate = Run { mode: Mode::Generate, new_tokens: 3, steps: 1, ..Run::default() };
    let infer = Run { mode: Mode::Infer, steps: 1, batch: 3, ..Run::default() };
    let cases = [
        ("distilgpt2", &train),
        ("gemma-3-270m", &generate),
        ("t5-small", &infer),
        ("bert-base", &train),
        ("resnet18", &infer),
    ];
    for (name, run) in cases {
        let (model, gpus) = (model(name), gpus(&names));
        for (row, limits) in limits(&model, run, &gpus) {
            for Limit { axis, largest, next, stop } in limits {
                let (size, peaks) = largest.unwrap();
                assert_eq!(next, size + 1);
                let alone = plan(&model, &axis.with(run, size), &row.gpu).unwrap();
                let found =
                    (alone.fits(), alone.outcome.peak_allocated, alone.outcome.peak_reserved, alone.given_back());
                assert_eq!(found, (true, peaks.allocated, peaks.reserved, peaks.given_back), "{name} {axis} {size}");
                for beyond in next..next + BEYOND {
                    assert!(!fits(&model, run, &row.gpu, axis, beyond), "{name} on {}: {axis} {beyond}", row.gpu.key);
                }
                let expected = match plan(&model, &axis.with(run, next), &row.gpu) {
                    Ok(plan) => Stop::Memory(plan.whole().peak_reserved),
                    Err(error) => Stop::Refused(error.to_string()),
                };
                assert_eq!(stop, expected);
            }
        }
    }
}

/// Every batch size up to twice the answer, on capacities where blocks are cut in many ways.
#[test]
fn the_largest_batch_is_that_of_a_linear_scan() {
    let (model, gpu) = (model("minilm-l6"), &gpus(&["t4"])[0]);
    for capacity in [500 << 20, 700 << 20, 1001 << 20] {
        for allocator in ["", "expandable_segments:True", "max_split_size_mb:20", "per_process_memory_fraction:0.9"] {
            let (capacity, allocator) = (Some(Bytes(capacity)), allocator.to_owned());
            let run = Run { capacity, allocator, seq: 67, steps: 1, ..Run::default() };
            let (_, limits) = limits(&model, &run, std::slice::from_ref(gpu)).remove(0);
            let answer = limits[0].largest.unwrap().0;
            let scanned = (1..2 * answer + BEYOND).rev().find(|batch| fits(&model, &run, gpu, Axis::Batch, *batch));
            assert_eq!(Some(answer), scanned, "{run:?}");
        }
    }
}

#[test]
fn a_gpu_among_others_is_told_what_it_is_told_alone() {
    let (model, run) = (model("distilgpt2"), Run { steps: 1, batch: 20, ..Run::default() });
    let gpus = gpus(&["a100-40gb", "t4", "a100-80gb", "h100"]);
    assert_eq!(alike(&model, &gpus).unwrap()[0], [0, 2]);
    let together = fitted(&model, &run, &gpus).unwrap();
    for (row, gpu) in together.iter().zip(&gpus) {
        assert_eq!(std::slice::from_ref(row), fitted(&model, &run, std::slice::from_ref(gpu)).unwrap());
    }
}

#[test]
fn what_fits_nowhere_is_said_and_what_cannot_be_planned_is_an_error() {
    let (model, gpus) = (model("gpt2"), gpus(&["t4"]));
    let run = Run { capacity: Some(Bytes(100 << 20)), ..Run::default() };
    for (row, limits) in limits(&model, &run, &gpus) {
        assert!(!row.fits() && row.headroom().is_none());
        assert!(limits.iter().all(|limit| limit.largest.is_none() && matches!(limit.stop, Stop::Memory(_))));
    }
    assert!(fitted(&model, &Run { seq: 1025, ..run }, &gpus).is_err());
}
