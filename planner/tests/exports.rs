//! Plans of exported programs against what PyTorch recorded of the eager models, which is what a user runs: the graphs and the
//! records of `tests/truth/exports.yaml`, made by `tests/truth/export_models.py` and the recorder.

mod support;

use std::io::Read;
use std::path::Path;

use planner::plan::{Emulation, Plan, plan_with};
use planner::read::export;
use planner::read::model::Model;
use planner::read::spec::Shelf;
use planner::run::Run;
use support::plans::{difference, gpu_of, peaks, phase_difference, planned as planned_from_spec, run_of};
use support::{Trace, TruthCase, records, truth_folder};

/// The exported model of a record.
fn exported(record: &TruthCase) -> Model {
    let graph = record.case["graph"].as_str().unwrap_or(&record.id);
    let path = truth_folder().join(format!("exports/graphs/{graph}.json.gz"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut text).expect("a compressed graph");
    let whole: serde_json::Value = serde_json::from_slice(&text).expect("a graph");
    let weights = whole["weights_config"].to_string();
    let name = format!("{graph}.pt2");
    let model = export::parse(Path::new(&name), &text, Some(weights.as_bytes()), &Shelf::default());
    let model = model.unwrap_or_else(|error| panic!("{}: {error}", record.id));
    let (config, weights) = Default::default();
    Model { name, family: model.family, architecture: model.architecture, config, dtype: Some(model.dtype), weights }
}

fn planned(record: &TruthCase) -> Plan {
    let plan = plan_with(&exported(record), &run_of(record), &gpu_of(record), Emulation::RECORDS);
    plan.unwrap_or_else(|error| panic!("{}: {error}", record.id))
}

/// By how much ours is above theirs, in percent.
fn off(ours: u64, theirs: u64) -> f64 {
    100.0 * (ours as f64 / theirs as f64 - 1.0)
}

/// Peak allocated is within 1 % of the eager model's in training, and within 2 % in inference.
#[test]
fn exports_have_the_eager_models_peaks() {
    let records = records("exports.jsonl");
    assert!(records.len() >= 38, "only {} cases", records.len());
    let mut wrong = Vec::new();
    for record in records {
        let (ours, theirs) = (peaks(&planned(&record)).0.0, record.max_allocated.0);
        let most = if record.case["mode"] == "train" { 1.0 } else { 2.0 };
        if off(ours, theirs).abs() > most {
            wrong.push(format!(
                "{}: peak allocated {ours} B, PyTorch's {theirs} B: {:+.3} %",
                record.id,
                off(ours, theirs)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// README's table of exports is this test's own output: `UPDATE_README=1 cargo test` writes it anew.
#[test]
fn the_readmes_table_of_exports_is_up_to_date() {
    let mut table = String::from("| case | peak allocated, eager PyTorch | of the plan from the export | events |\n");
    table.push_str("| --- | ---: | ---: | --- |\n");
    for record in records("exports.jsonl") {
        let plan = planned(&record);
        let (ours, theirs) = (peaks(&plan).0.0, record.max_allocated.0);
        let shown = if ours == theirs { "exact".to_owned() } else { format!("{:+.3} %", off(ours, theirs)) };
        let differs = difference(&plan, &Trace::load_from("exports", &record.id)).is_some();
        let events = if differs { "differ" } else { "the same" };
        table.push_str(&format!("| {} | {theirs} B | {shown} | {events} |\n", record.id));
    }
    support::readme_has("exports", &table);
}

/// The cases whose event stream is the eager model's: each allocation of its size in its order, each free in its place.
const THE_SAME: [&str; 11] = [
    "gpt2-infer",
    "bert-train",
    "albert-train",
    "electra-train",
    "electra-infer",
    "vit-train",
    "vit-infer",
    "resnet50-train",
    "vgg11-bn-train",
    "mobilenet-v3-train",
    "regnet-train",
];

#[test]
fn most_exports_have_the_eager_models_event_stream() {
    for id in THE_SAME {
        let record = &records("exports.jsonl").into_iter().find(|record| record.id == id).expect("a record");
        let plan = planned(record);
        assert_eq!(difference(&plan, &Trace::load_from("exports", id)), None, "{id}");
        assert_eq!(phase_difference(&plan, record), None, "{id}");
    }
}

/// What a spec says of the same model is the same, but for what an export cannot say: Python's names in functions.
#[test]
fn exports_and_specs_plan_the_same() {
    for id in [
        "gpt2-train",
        "gpt2-infer",
        "bert-train",
        "bert-infer",
        "llama-train",
        "llama-infer",
        "vit-train",
        "resnet50-train",
    ] {
        let record = &records("exports.jsonl").into_iter().find(|record| record.id == id).expect("a record");
        let (export, spec) = (peaks(&planned(record)).0.0, peaks(&planned_from_spec(record)).0.0);
        assert!(off(export, spec).abs() < 0.01, "{id}: {export} B from the export, {spec} B from the spec");
    }
}

/// An operator that no line knows is planned with a bound: no less than what it is.
#[test]
fn an_operator_that_is_not_known_is_bounded() {
    for id in ["mobilenet-v3-train", "mobilenet-v3-infer", "bert-train"] {
        let record = &records("exports.jsonl").into_iter().find(|record| record.id == id).expect("a record");
        let path = truth_folder().join(format!("exports/graphs/{id}.json.gz"));
        let mut text = String::new();
        let file = std::fs::File::open(&path).expect("a graph");
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("a compressed graph");
        let text = text
            .replace("aten.hardsigmoid.default", "mine.gate.default")
            .replace("aten.gelu.default", "mine.gelu.default");
        let model = export::parse(Path::new("mine.pt2"), text.as_bytes(), None, &Shelf::default()).expect("a model");
        let (config, weights) = Default::default();
        let (name, dtype) = ("mine.pt2".to_owned(), Some(model.dtype));
        let model = Model { name, family: model.family, architecture: model.architecture, config, dtype, weights };
        let run = run_of(record);
        let plan = plan_with(&model, &run, &gpu_of(record), Emulation::RECORDS).expect("a plan");
        let unknown = plan.unknown_operators(&Run { ..run });
        assert_eq!(unknown.len(), 1, "{id}: {unknown:?}");
        assert!(unknown[0].name.starts_with("mine.") && unknown[0].calls >= 6, "{unknown:?}");
        let (ours, theirs) = (peaks(&plan).0.0, record.max_allocated.0);
        assert!(
            ours * 1000 >= theirs * 999 && ours <= theirs + unknown[0].bytes.0,
            "{id}: {ours} B, PyTorch's {theirs} B"
        );
    }
}
