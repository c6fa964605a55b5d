//! How long a choice of checkpoints takes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use planner::bytes::Bytes;
use planner::checkpoint::{Granularity, Wanted, choose};
use planner::model::open;
use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;
use planner::run::{OptimizerChoice, Precision, Run};

fn choices(criterion: &mut Criterion) {
    let shelf = Shelf::default();
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let h200 = catalogue.find("h200").expect("in the catalogue");
    let optimizer: OptimizerChoice = "adamw8bit".parse().expect("an optimizer");
    let giant = open("llama-3.1-405b", None, &shelf).expect("built in");
    let capacity = Some(Bytes(1 << 44));
    let run = Run { batch: 4, seq: 4096, precision: Some(Precision::Bf16), optimizer, capacity, ..Run::default() };
    for (name, granularity) in [("block", Granularity::Block), ("module", Granularity::Module)] {
        let wanted = Wanted { granularity, ..Wanted::within(Bytes(2600 << 30)) };
        criterion.bench_function(&format!("choose checkpoints of llama-3.1-405b, {name}"), |b| {
            b.iter(|| choose(black_box(&giant), &run, h200, &wanted).expect("an answer"));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(10));
    targets = choices
}
criterion_main!(benches);
