//! Plans of exported programs beside those of specs, and with operators that nobody knows: the graphs of
//! `tests/truth/exports.yaml`, made by `tests/truth/export_models.py`.

use crate::support::models::{exported_graph, model_of_graph};
use crate::support::plans::{export_planned, gpu_of, peaks, planned, run_of};
use crate::support::records;
use planner::plan::{Emulation, plan_with};
use planner::run::Run;

/// By how much ours is above theirs, in percent.
fn off(ours: u64, theirs: u64) -> f64 {
    100.0 * (ours as f64 / theirs as f64 - 1.0)
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
        let (export, spec) = (peaks(&export_planned(record)).0.0, peaks(&planned(record)).0.0);
        assert!(off(export, spec).abs() < 0.01, "{id}: {export} B from the export, {spec} B from the spec");
    }
}

/// An operator that no line knows is planned with a bound: no less than what it is.
#[test]
fn an_operator_that_is_not_known_is_bounded() {
    for id in ["mobilenet-v3-train", "mobilenet-v3-infer", "bert-train"] {
        let record = &records("exports.jsonl").into_iter().find(|record| record.id == id).expect("a record");
        let text = exported_graph(record);
        let text = text
            .replace("aten.hardsigmoid.default", "mine.gate.default")
            .replace("aten.gelu.default", "mine.gelu.default");
        let model = model_of_graph("mine.pt2", &text, None);
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
