//! Rows against plans of their own.

use super::*;
use crate::model::open;
use crate::plan::plan;
use crate::read::gpus::GpuCatalogue;
use crate::read::spec::Shelf;

#[test]
fn each_row_is_a_plan_and_rows_keep_their_order() {
    let catalogue = GpuCatalogue::load(None).unwrap();
    let gpus = ["a100-80gb", "t4", "a100-40gb"].map(|name| catalogue.find(name).unwrap().clone());
    let model = open("distilgpt2", None, &Shelf::default()).unwrap();
    let lists = Lists {
        batch: vec![1, 40, 3],
        size: vec![64, 1025],
        precision: vec![Precision::Fp32, Precision::AmpBf16],
        checkpoint: [Checkpointing::Off, Checkpointing::Full].map(Checkpoints::Given).to_vec(),
    };
    let runs = lists.runs(&model, &Run { steps: 2, ..Run::default() });
    assert_eq!(runs.len(), lists.combinations());
    let short: Vec<(u64, u64)> = runs.iter().map(|made| (made.run.seq, made.run.batch)).take(6).collect();
    assert_eq!(short, [(64, 1), (64, 40), (64, 3), (1025, 1), (1025, 40), (1025, 3)]);
    let rows = sweep(&model, &runs, &gpus, &|_| {}).unwrap();
    let order: Vec<(usize, usize)> = rows.iter().map(|row| (row.gpu, row.run)).collect();
    assert_eq!(order, (0..3).flat_map(|gpu| (0..24).map(move |run| (gpu, run))).collect::<Vec<_>>());
    for row in rows {
        match (plan(&model, &runs[row.run].run, &gpus[row.gpu]), row.found) {
            (Ok(plan), Ok((precision, peaks))) => {
                let whole = plan.whole();
                assert_eq!((plan.precision, plan.fits(), plan.capacity), (precision, peaks.fits, row.capacity));
                assert_eq!((whole.peak_allocated, whole.peak_reserved), (peaks.allocated, peaks.reserved));
            }
            (Err(error), Err(reason)) => assert_eq!(error.to_string(), reason),
            (plan, found) => panic!("{:?}: {found:?}", plan.map(|plan| plan.outcome.peak_reserved)),
        }
    }
}

/// Where a run fits, nothing is checkpointed; where it does not, what is chosen fits, and is what a plan of it says.
#[test]
fn checkpoints_are_chosen_for_each_gpu() {
    let catalogue = GpuCatalogue::load(None).unwrap();
    let gpus = ["rtx3060", "rtx3050", "a100-40gb"].map(|name| catalogue.find(name).unwrap().clone());
    let model = open("distilgpt2", None, &Shelf::default()).unwrap();
    let lists = Lists { batch: vec![9, 400], checkpoint: vec![Checkpoints::Chosen], ..Lists::default() };
    let runs = lists.runs(&model, &Run { steps: 2, seq: 1000, ..Run::default() });
    let rows = sweep(&model, &runs, &gpus, &|_| {}).unwrap();
    let chosen = |row: &Row| row.chosen.clone().unwrap();
    assert!(rows.iter().any(|row| chosen(row) == Checkpointing::Off));
    assert!(rows.iter().any(|row| matches!(chosen(row), Checkpointing::Modules(_))));
    assert!(rows.iter().any(|row| chosen(row) == Checkpointing::Full && !row.fits()));
    for row in &rows {
        let run = Run { checkpoint: chosen(row), ..runs[row.run].run.clone() };
        let plan = plan(&model, &run, &gpus[row.gpu]).unwrap();
        let (_, peaks) = row.found.clone().unwrap();
        assert_eq!((plan.fits(), plan.whole().peak_reserved), (peaks.fits, peaks.reserved));
        assert!(peaks.fits || chosen(row) == Checkpointing::Full);
    }
}
