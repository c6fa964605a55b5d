//! What the targets start from: files of the repository, and what its tests build.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use planner::Gpu;
use planner::plan::plan;
use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;
use planner::run::{Mode, Run};
use planner::trace::file::{Head, write};
use serde_json::{Map, Value, json};

use super::programs::NARROW;

#[path = "../../planner/tests/support/exports.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "a part is used, and the tests use it too")]
mod written;

type Seeds = Vec<Vec<u8>>;

/// The longest seed, in bytes: longer ones are mutated in vain.
const LONGEST: usize = 64 << 10;

/// The files of a folder of the repository whose names end so, in their order.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.display().to_string().ends_with(end));
    files.sort();
    files
}

/// The bytes of those files that are not too long.
fn read(folder: &str, end: &str) -> Seeds {
    let files = files(folder, end).into_iter();
    files.map(|path| fs::read(path).expect("a file")).filter(|bytes| bytes.len() <= LONGEST).collect()
}

/// The text of a compressed file.
fn unpacked(path: PathBuf) -> String {
    let mut text = String::new();
    GzDecoder::new(File::open(path).expect("a file")).read_to_string(&mut text).expect("a text");
    text
}

fn texts(texts: &[&str]) -> Seeds {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Headers of safetensors files with their data: of a scalar, of types that take less than a byte, of nothing.
pub(super) fn headers() -> Seeds {
    let file = |(header, data): (&str, usize)| {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    };
    let headers = [
        ("{}", 0),
        (r#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4),
        (
            r#"{"__metadata__":{"format":"pt"},"a.w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"a.b":{"dtype":"F64","shape":[1],"data_offsets":[12,20]}}   "#,
            20,
        ),
        (
            r#"{"b":{"dtype":"F4","shape":[4],"data_offsets":[3,5]},"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]},"c":{"dtype":"I64","shape":[0,7],"data_offsets":[5,5]}}"#,
            5,
        ),
    ];
    headers.into_iter().map(file).collect()
}

/// Indexes of the two shards that the target has.
pub(super) fn indexes() -> Seeds {
    texts(&[
        r#"{"metadata":{"total_size":16},"weight_map":{"first.weight":"a.safetensors","second.weight":"b.safetensors"}}"#,
        r#"{"weight_map":{"first.weight":"./a.safetensors"}}"#,
        r#"{"weight_map":{"first.weight":"c.safetensors"},"x":[1,2.5,null,true]}"#,
    ])
}

/// Buffers, with and without alignments and offsets, and with ends that still live.
pub(super) fn buffers() -> Seeds {
    texts(&[
        "id,lower,upper,size\na,0,3,4\nb,1,4,4\nc,3,9,8\nd,2,5,1\n",
        "id,start,end,size,alignment,offset\nx,0,2,100,64,0\ny,1,1,7,,128\nz,-5,4611686018427387904,1,1,\n",
        "buffer_id,begin,end,size\r\n0,0,0,1152921504606846976\r\n1,1,1,0\r\n",
    ])
}

/// The configs of shipped families, of few layers, and those of recorded quantised checkpoints.
pub(super) fn configs() -> Seeds {
    let stored = pairs().into_iter().map(|(config, _)| config);
    let families = Shelf::default().families().expect("sound specs");
    let shipped = families.iter().flat_map(|family| {
        let own = family.configurations.values().take(1).map(|own| (own.architecture.clone(), own.config.clone()));
        own.map(|(architecture, config)| {
            let mut config: Map<String, Value> = config.into_iter().collect();
            let layers: Vec<String> = family.defaults.keys().filter(|key| key.contains("layer")).cloned().collect();
            for key in layers.into_iter().filter(|key| family.defaults.get(key).is_some_and(Value::is_u64)) {
                config.insert(key, json!(2));
            }
            config.insert("architectures".to_owned(), json!([architecture]));
            Value::Object(config).to_string()
        })
    });
    stored.chain(shipped).map(String::into_bytes).collect()
}

/// The configs and headers of recorded quantised checkpoints.
fn pairs() -> Vec<(String, String)> {
    let texts = files("tests/truth/stored/models", ".json.gz").into_iter().map(unpacked);
    let pair =
        |text: String| text.split_once('\n').map(|(config, header)| (config.to_owned(), header.trim().to_owned()));
    texts.filter_map(pair).collect()
}

/// Recorded quantised checkpoints.
pub(super) fn stored() -> Seeds {
    pairs().into_iter().map(|(config, header)| format!("{config}\n{header}").into_bytes()).collect()
}

/// Run files: each option once, and the forms that do not go together.
pub(super) fn runs() -> Seeds {
    let all = include_bytes!("../../planner/src/run/options/all.yaml").to_vec();
    let others = texts(&[
        "model: gpt2\nfsdp: 8,reshard=false,param_dtype=bf16,reduce_dtype=fp32,offload\n",
        "parallel: {fsdp: 4}\ncheckpoint: full\nuse-cache: null\n",
        "env: uv.lock\nmode: generate\nnew-tokens: 4\ncache: static\n",
        "lora: {r: 8, alpha: 16.5, dropout: 0.1, targets: [c_attn]}\nprecision: amp-fp16\nclip: 1.0\naccumulate: 2\n",
        "allocator: 'max_split_size_mb:64,garbage_collection_threshold:0.8,roundup_power2_divisions:[256:1,>:4]'\n",
    ]);
    [vec![all], others].concat()
}

/// The plans that are kept among the snapshots.
pub(super) fn kept() -> Seeds {
    let snaps = [read("examples/snapshots", ".snap"), read("snapshots", "snapshot_run.snap")].concat();
    let text = |snap: Vec<u8>| {
        let snap = String::from_utf8(snap).expect("a text");
        let text = snap.splitn(3, "---\n").nth(2).expect("a snapshot");
        text.replace("VERSION", "0.1.0").replace("DIGEST", "00000000").into_bytes()
    };
    snaps.into_iter().map(text).collect()
}

/// A profile of the tests, and one that has the other keys too.
pub(super) fn profiles() -> Seeds {
    let own = include_str!("../../planner/src/read/profiles/mine.yaml");
    let figure = "{median: 1.5e+09, spread: 0.01, runs: 20}";
    let copies = ["device", "from_pinned", "to_pinned", "from_pageable", "to_pageable"]
        .map(|copy| format!("  {copy}: {figure}\n"));
    let workspaces = "workspaces:\n  blas: 8519680\n  convolutions:\n  - of: {direction: forward, input: [1, 3, 8, 8], weight: [4, 3, 3, 3], \
                      stride: 1, padding: 1, dilation: 1, dtype: float32, channels_last: false}\n    heuristic: 512\n    benchmark: 0\n    \
                      trying: 1024\n  attention:\n  - of: {query: [1, 2, 8, 4], key: [1, 2, 8, 4], dtype: bfloat16, causal: true}\n    \
                      forward: 64\n    backward: 128\n";
    texts(&[own, &format!("{own}copies:\n{}{workspaces}", copies.concat())])
}

/// The shipped GPUs.
pub(super) fn gpus() -> Seeds {
    read("specs/gpus", ".yaml")
}

/// Lists of modules.
pub(super) fn modules() -> Seeds {
    texts(&["# the first half\nh.0\nh.1, h.2\n", "h.0.attn..h.3.mlp:mm+addmm\n\nh.4:aten.mm.default", "none,@list"])
}

/// Lock files of each kind, and requirements.
pub(super) fn locks() -> Seeds {
    texts(&[
        "version = 1\n[[package]]\nname = \"torch\"\nversion = \"2.14.1+cu130\"\nsource = { registry = \"r\" }\n[[package]]\nname = \"mine\"\n",
        "lock-version = \"1.0\"\n[[packages]]\nname = \"transformers\"\nversion = \"5.22.2\"\n",
        "# ours\nTorch[opt] == 2.12.1 ; sys_platform == 'linux'  # pinned\ntransformers===5.21.0 \\\n  --hash=sha256:0\n",
    ])
}

/// The shipped specs that hold code.
pub(super) fn specs() -> Seeds {
    [read("specs/models", ".yaml"), read("specs/library", ".yaml")].concat()
}

/// The shipped optimizers.
pub(super) fn optimizers() -> Seeds {
    read("specs/optimizers", ".yaml")
}

/// Traces of a narrow model, and one of the older form.
pub(super) fn traces() -> Seeds {
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let gpu: &Gpu = catalogue.find("h200").expect("in the catalogue");
    let traced = |mode: Mode| {
        let run = Run { mode, batch: 1, seq: 8, steps: 1, new_tokens: 6, ..Run::default() };
        let plan = plan(&NARROW, &run, gpu).expect("a plan");
        let head =
            Head { id: "narrow".to_owned(), device: gpu.name.clone(), torch: "2.15".to_owned(), ..Head::default() };
        let mut bytes = Vec::new();
        write((&head, &plan.trace), &mut bytes).expect("a trace");
        bytes
    };
    let older = r#"{"id": "m", "device": "g", "max_allocated": 1, "max_reserved": 2, "phases": [
        {"step": 0, "phase": "load", "allocations": 1, "frees": 0, "reserved": 0},
        {"step": 0, "phase": "end", "allocations": 2, "frees": 1}],
        "events": [{"alloc": 512, "op": "mm", "by": "x"}, {"alloc": 8, "stream": 3}, -1]}"#;
    let small = r#"{"format": "memplan trace 1", "id": "m", "device": "g", "allocator": "expandable_segments:True", "capacity": 1000000,
        "max_allocated": 1, "max_reserved": 2, "names": ["mm", "AddmmBackward0"], "modules": ["", "a"], "parameters": ["a.w"],
        "places": [], "cached": [[0, {"of": "full"}]], "host": [["parameters", 12]], "events": [
        {"alloc": 512, "op": "mm", "module": "a", "category": "parameters", "parameter": "a.w"},
        {"alloc": 3000000, "stream": 1, "pool": 2, "op": "mm", "node": "AddmmBackward0", "module": ""},
        {"becomes": 1, "category": "gradients"}, {"phase": "forward", "step": 0}, {"free": 1, "saved": "AddmmBackward0"},
        {"free": 0, "frame": "a"}, {"phase": "end", "step": 0}]}"#;
    [vec![traced(Mode::Infer), traced(Mode::Train), traced(Mode::Generate)], texts(&[older, small])].concat()
}

/// Graphs: of a chain of operators, and recorded ones without what nobody plans by.
pub(super) fn exports() -> Seeds {
    let recorded = ["vgg11-bn-train", "vit-infer", "mixer-infer"].into_iter().flat_map(|name| {
        let file = files("tests/truth/exports/graphs", &format!("{name}.json.gz")).pop();
        file.map(|path| serde_json::from_str::<Value>(&unpacked(path)).expect("a graph"))
    });
    let chains = [written::chain(3), written::chain(24)];
    chains.into_iter().chain(recorded.map(shortened)).map(|graph| graph.to_string().into_bytes()).collect()
}

/// A graph without the stacks of its calls.
fn shortened(mut graph: Value) -> Value {
    if let Some(nodes) = graph["graph_module"]["graph"]["nodes"].as_array_mut() {
        for node in nodes {
            if let Some(metadata) = node["metadata"].as_object_mut() {
                metadata.retain(|key, _| key == "nn_module_stack");
            }
        }
    }
    graph
}

/// An archive with a graph and a table of weights, and one without a program.
pub(super) fn archives() -> Seeds {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.pt2");
    let graph = written::chain(3).to_string();
    let whole = [
        ("m/models/model.json", graph.as_bytes()),
        ("m/data/weights/model_weights_config.json", br#"{"config": {}}"#),
        ("m/byteorder", b"little"),
    ];
    let archive = |entries: &[(&str, &[u8])]| {
        written::archive(&path, entries);
        fs::read(&path).expect("an archive")
    };
    vec![archive(&whole), archive(&whole[..1]), archive(&[("m/data.pkl", b"x")])]
}
