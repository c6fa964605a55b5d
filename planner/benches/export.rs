//! How long an exported program of 100,000 operators takes: to be read, and to be planned.

#[path = "../tests/support/exports.rs"]
#[allow(dead_code)] // tests use the rest
mod exports;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use planner::model::Model;
use planner::model::export::parse;
use planner::plan::plan;
use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;
use planner::run::{Mode, Run};

/// How many operators the program has.
const OPERATORS: usize = 100_000;

fn export(criterion: &mut Criterion) {
    let text = exports::chain(OPERATORS).to_string().into_bytes();
    let (path, shelf) = (Path::new("chain.pt2"), Shelf::default());
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let h200 = catalogue.find("h200").expect("in the catalogue");
    let read = || parse(path, black_box(&text), None, &shelf).expect("a program");
    let exported = read();
    let (config, weights) = Default::default();
    let (name, dtype) = ("chain.pt2".to_owned(), Some(exported.dtype));
    let model = Model {
        name,
        family: exported.family,
        exported: Some(exported.exported),
        architecture: exported.architecture,
        config,
        config_file: None,
        dtype,
        weights,
    };
    let infer = Run { mode: Mode::Infer, batch: 8, steps: 1, ..Run::default() };
    criterion.bench_function("read an export of 100,000 operators", |b| b.iter(read));
    criterion.bench_function("plan an export of 100,000 operators, inference", |b| {
        b.iter(|| plan(black_box(&model), &infer, h200).expect("a plan"));
    });
    let train = Run { mode: Mode::Train, ..infer };
    criterion.bench_function("plan an export of 100,000 operators, a training step", |b| {
        b.iter(|| plan(black_box(&model), &train, h200).expect("a plan"));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5));
    targets = export
}
criterion_main!(benches);
