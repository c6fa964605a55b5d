//! How fast instances are packed: cut rectangles at the bound, training steps, small ones that are joined and split.

#![allow(missing_docs)] // criterion's macros make public items.

#[path = "../tests/all/support.rs"]
mod support;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use packing::{Buffer, Options, Packing, pack};
use support::{Random, churn, rectangle, scattered, training};

fn packed(buffers: &[Buffer]) -> Packing {
    let options = Options { time_limit: Duration::from_secs(60), ..Options::default() };
    pack(buffers, &options).expect("the buffers make sense")
}

fn packings(criterion: &mut Criterion) {
    let instances = [
        ("rectangle of 150", rectangle(&mut Random::new(0), 1_000, 1_024, 150)),
        ("rectangle of 300", rectangle(&mut Random::new(0), 1_000, 1_024, 300)),
        ("training step of 1,000", training(&mut Random::new(1), 162)),
        ("training step of 20,000", training(&mut Random::new(0), 3_226)),
        ("20,000 scattered", scattered(&mut Random::new(0), 20_000, 20_000, 200)),
        ("16 or so, joined and split", churn(&mut Random::new(0), 7, 9)),
    ];
    let mut group = criterion.benchmark_group("pack");
    group.sample_size(10);
    for (name, buffers) in &instances {
        group.bench_function(*name, |bencher| bencher.iter(|| packed(buffers)));
    }
    group.finish();
}

criterion_group!(benches, packings);
criterion_main!(benches);
