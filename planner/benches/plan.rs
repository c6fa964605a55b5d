//! How long plans take, and the stages of one.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use planner::allocate::{AllocatorOptions, simulate};
use planner::fit::fit;
use planner::lower::context::Settings;
use planner::lower::lower;
use planner::model::open;
use planner::plan::{Emulation, device, plan, program};
use planner::read::gpus::GpuCatalogue;
use planner::read::optimizers::choose;
use planner::read::spec::Shelf;
use planner::run::{Checkpointing, Mode, Precision, Run};
use planner::sweep::{Checkpoints, Lists, sweep};

fn plans(criterion: &mut Criterion) {
    let shelf = Shelf::default();
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let h200 = catalogue.find("h200").expect("in the catalogue");
    let gpt2 = open("gpt2", None, &shelf).expect("built in");
    let run = Run { batch: 4, seq: 512, precision: Some(Precision::Fp32), ..Run::default() };
    criterion.bench_function("plan gpt2, training in fp32, batch 4, seq 512", |b| {
        b.iter(|| plan(black_box(&gpt2), &run, h200).expect("a plan"));
    });
    let giant = open("llama-3.1-405b", None, &shelf).expect("built in");
    let long = Run { batch: 1, seq: 4096, precision: Some(Precision::Bf16), ..Run::default() };
    let roomy = Run { capacity: Some(planner::bytes::Bytes(1 << 50)), ..long.clone() };
    criterion.bench_function("plan llama-3.1-405b, training in bf16, seq 4096", |b| {
        b.iter(|| plan(black_box(&giant), &roomy, h200).expect("a plan"));
    });
    let tokens = Run { mode: Mode::Generate, batch: 1, seq: 4096, new_tokens: 64, ..long };
    let llama = open("llama-3.1-8b", None, &shelf).expect("built in");
    criterion.bench_function("plan llama-3.1-8b, 64 new tokens, three times", |b| {
        b.iter(|| plan(black_box(&llama), &tokens, h200).expect("a plan"));
    });
    let chat = Run { seq: 1000, new_tokens: 4096, ..tokens.clone() };
    criterion.bench_function("plan llama-3.1-8b, 4,096 new tokens, three times", |b| {
        b.iter(|| plan(black_box(&llama), &chat, h200).expect("a plan"));
    });
    let accumulating = Run { mode: Mode::Train, seq: 4096, accumulate: 256, ..tokens.clone() };
    criterion.bench_function("plan llama-3.1-8b, training with 256 micro-batches", |b| {
        b.iter(|| plan(black_box(&llama), &accumulating, h200).expect("a plan"));
    });
    criterion.bench_function("open llama-3.1-405b: parse its family", |b| {
        b.iter(|| open(black_box("llama-3.1-405b"), None, &shelf).expect("built in"));
    });
    sizes(criterion, &gpt2, &catalogue);
    stages(criterion, &giant, &roomy, h200);
}

/// Searches over the catalogue, and combinations.
fn sizes(criterion: &mut Criterion, gpt2: &planner::model::Model, catalogue: &GpuCatalogue) {
    let all: Vec<_> = catalogue.iter().cloned().collect();
    let mut group = criterion.benchmark_group("many plans");
    group.sample_size(10);
    group.bench_function("fit gpt2 on all GPUs", |b| {
        b.iter(|| fit(gpt2, black_box(&Run::default()), &all, &|_| {}).expect("rows"));
    });
    let lists = Lists {
        batch: (1..=64).collect(),
        size: vec![512, 1024],
        checkpoint: [Checkpointing::Off, Checkpointing::Full].map(Checkpoints::Given).to_vec(),
        ..Lists::default()
    };
    let runs = lists.runs(gpt2, &Run::default());
    group.bench_function("sweep gpt2, 256 combinations", |b| {
        b.iter(|| sweep(gpt2, black_box(&runs), &all[..1], &|_| {}).expect("rows"));
    });
}

fn stages(criterion: &mut Criterion, model: &planner::model::Model, run: &Run, gpu: &planner::read::gpus::Gpu) {
    let graph = std::sync::Arc::new(program(model, run, Emulation::default()).expect("a program"));
    let adamw = std::sync::Arc::new(choose(&run.optimizer, None).expect("shipped"));
    let settings = || Settings {
        training: true,
        weights: planner::dtype::Dtype::BF16,
        autocast: None,
        cub: None,
        parallel: Vec::new(),
        attention_kernel: None,
        profile: None,
        trainable: None,
        optimizer: Some(adamw.clone()),
        variables: Default::default(),
        reads_zeros: false,
    };
    let stream = lower(&graph, &device(gpu, run.versions()), settings()).expect("a stream");
    criterion.bench_function("stage: unroll llama-3.1-405b", |b| {
        b.iter(|| program(model, run, Emulation::default()).expect("a program"))
    });
    criterion.bench_function("stage: lower llama-3.1-405b", |b| {
        b.iter(|| lower(&graph, &device(gpu, run.versions()), settings()).expect("a stream"));
    });
    criterion.bench_function("stage: allocate llama-3.1-405b", |b| {
        b.iter(|| simulate(&stream, &AllocatorOptions::default(), run.capacity));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = plans
}
criterion_main!(benches);
