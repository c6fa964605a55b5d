//! Reading a checkpoint of DeepSeek-V3's size: 163 shards with 92,000 tensors, whose files are sparse.

use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use planner::read::{checkpoint, header, inspect};

const SHARDS: usize = 163;
const TENSORS: usize = 92_000;

fn main_benches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let shards = generate(folder.path());
    let read = checkpoint::read(folder.path()).expect("a checkpoint");
    assert_eq!((read.tensors.len(), read.files.len()), (TENSORS, SHARDS));

    let mut group = criterion.benchmark_group("headers");
    group.sample_size(20);
    group.bench_function("checkpoint of 163 shards, with its index", |b| {
        b.iter(|| checkpoint::read(black_box(folder.path())))
    });
    group.bench_function("163 headers on one thread", |b| {
        b.iter(|| shards.iter().map(|shard| header::read(shard)).collect::<Vec<_>>())
    });
    group.bench_function("163 headers by the crate's own types, unchecked", |b| {
        b.iter(|| shards.iter().map(|shard| by_crate(shard)).collect::<Vec<_>>())
    });
    group.bench_function("inspection", |b| b.iter(|| inspect::inspect(black_box(&read))));
    group.finish();
}

/// The crate's own way to a header without tensor data, for comparison.
fn by_crate(path: &Path) -> safetensors::tensor::Metadata {
    use std::io::Read;
    let mut file = File::open(path).expect("a shard");
    let mut length = [0; 8];
    file.read_exact(&mut length).expect("a length");
    let mut text = vec![0; u64::from_le_bytes(length) as usize];
    file.read_exact(&mut text).expect("a header");
    serde_json::from_slice(&text).expect("a valid header")
}

/// Writes the shards and their index; gives the shards' paths.
fn generate(folder: &Path) -> Vec<std::path::PathBuf> {
    let names: Vec<(String, &str, [u64; 2])> = names().take(TENSORS).collect();
    let mut index = String::from("{\"metadata\": {\"total_size\": 0}, \"weight_map\": {");
    let mut paths = Vec::new();
    for shard in 0..SHARDS {
        let file = format!("model-{:05}-of-{SHARDS:06}.safetensors", shard + 1);
        let (mut text, mut end) = (String::from("{\"__metadata__\":{\"format\":\"pt\"}"), 0);
        for (name, dtype, shape) in &names[shard * TENSORS / SHARDS..(shard + 1) * TENSORS / SHARDS] {
            let (start, width) = (end, if *dtype == "F32" { 4 } else { 1 });
            end += shape[0] * shape[1] * width;
            write!(
                text,
                ",\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":[{},{}],\"data_offsets\":[{start},{end}]}}",
                shape[0], shape[1]
            )
            .expect("text");
            write!(index, "{}\"{name}\": \"{file}\"", if index.ends_with('{') { "" } else { ", " }).expect("text");
        }
        text.push('}');
        paths.push(folder.join(file));
        let mut out = File::create(&paths[shard]).expect("a file");
        out.write_all(&(text.len() as u64).to_le_bytes()).expect("a prefix");
        out.write_all(text.as_bytes()).expect("a header");
        out.set_len(8 + text.len() as u64 + end).expect("sparse data");
    }
    std::fs::write(folder.join("model.safetensors.index.json"), index + "}}").expect("an index");
    paths
}

/// Tensors named like DeepSeek-V3's: 256 experts a layer, block-scaled fp8.
fn names() -> impl Iterator<Item = (String, &'static str, [u64; 2])> {
    let kinds = [("weight", "F8_E4M3", [2048, 7168]), ("weight_scale_inv", "F32", [16, 56])];
    (3..).flat_map(move |layer| {
        (0..256).flat_map(move |expert| {
            ["gate_proj", "up_proj", "down_proj"].into_iter().flat_map(move |projection| {
                kinds.into_iter().map(move |(kind, dtype, shape)| {
                    (format!("model.layers.{layer}.mlp.experts.{expert}.{projection}.{kind}"), dtype, shape)
                })
            })
        })
    })
}

criterion_group!(benches, main_benches);
criterion_main!(benches);
