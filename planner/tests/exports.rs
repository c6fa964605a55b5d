//! Plans of exported programs against what PyTorch recorded of the eager models: `tests/truth/exports.yaml`, its graphs and records.

mod support;

use std::io::Read;
use std::path::Path;

use planner::plan::{Emulation, Plan, plan_with};
use planner::read::export;
use planner::read::model::Model;
use planner::read::spec::Shelf;
use support::plans::{difference, gpu_of, peaks, run_of};
use support::{Trace, TruthCase, records, truth_folder};

/// The exported model of a record.
fn exported(record: &TruthCase) -> Model {
    let path = truth_folder().join(format!("exports/graphs/{}.json.gz", record.id));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut text).expect("a compressed graph");
    let whole: serde_json::Value = serde_json::from_slice(&text).expect("a graph");
    let weights = whole["weights_config"].to_string();
    let name = format!("{}.pt2", record.id);
    let model = export::parse(Path::new(&name), &text, Some(weights.as_bytes()), &Shelf::default());
    let model = model.unwrap_or_else(|error| panic!("{}: {error}", record.id));
    let (config, weights) = Default::default();
    Model { name, family: model.family, architecture: model.architecture, config, dtype: Some(model.dtype), weights }
}

fn planned(record: &TruthCase) -> Plan {
    let plan = plan_with(&exported(record), &run_of(record), &gpu_of(record), Emulation::RECORDS);
    plan.unwrap_or_else(|error| panic!("{}: {error}", record.id))
}

/// Peak allocated is within 1 % of the eager model's in training, and within 2 % in inference.
#[test]
fn exports_have_the_eager_models_peaks() {
    let mut wrong = Vec::new();
    for record in records("exports.jsonl") {
        let plan = planned(&record);
        let (ours, theirs) = (peaks(&plan).0.0 as f64, record.max_allocated.0 as f64);
        let off = 100.0 * (ours / theirs - 1.0);
        let most = if record.case["mode"] == "train" { 1.0 } else { 2.0 };
        if std::env::var("SHOW").is_ok() {
            let same = difference(&plan, &Trace::load_from("exports", &record.id));
            println!("{:24} {off:+.3} % {}", record.id, same.unwrap_or_else(|| "the same".to_owned()));
        }
        if off.abs() > most {
            wrong.push(format!("{}: peak allocated {ours} B, PyTorch's {theirs} B: {off:+.3} %", record.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
