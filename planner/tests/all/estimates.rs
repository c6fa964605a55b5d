//! Estimates against plans: of each family it is taken that nobody describes it, and its plan must lie within the bounds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use planner::bytes::Bytes;
use planner::estimate::{Estimate, EstimateError, estimate};
use planner::model::Model;
use planner::model::undescribed::Undescribed;
use planner::plan::{Plan, plan, program};
use planner::read::checkpoint::{Checkpoint, FileId, StoredFile, StoredTensor};
use planner::read::config;
use planner::read::gpus::{Gpu, GpuCatalogue};
use planner::read::header::Dtype;
use planner::run::{Run, RunOptions};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::lines;
use crate::support::plans::model_of;

/// A recorded case: what was run.
#[derive(serde::Deserialize)]
struct Case {
    id: String,
    case: Value,
}

impl Case {
    /// Its run, as large as it likes.
    fn run(&self) -> Run {
        let mut keys = self.case.as_object().expect("keys with values").clone();
        keys.retain(|key, _| !["model", "env", "image", "max_cache_len"].contains(&key.as_str()));
        let options = serde_json::from_value::<RunOptions>(keys.into());
        let run = options.unwrap_or_else(|error| panic!("{}: {error}", self.id)).run();
        Run { capacity: Some(Bytes(1 << 46)), specs: std::env::var_os("MEMPLAN_SPECS").map(Into::into), ..run }
    }
}

/// What is left of a model where nobody describes it: its config with the defaults of its class, and its tensors' names and sizes.
fn undescribed(model: &Model, run: &Run, with_headers: bool) -> Undescribed {
    let mut entries: Map<String, Value> = Map::new();
    entries.extend(model.family.defaults.iter().map(|(key, value)| (key.clone(), value.clone())));
    entries.extend(model.config.clone());
    entries.insert("architectures".to_owned(), json!([model.architecture]));
    let config = config::parse(Path::new("config.json"), Value::Object(entries).to_string().as_bytes());
    Undescribed {
        name: model.name.clone(),
        architecture: model.architecture.clone(),
        config: config.expect("a config"),
        weights: with_headers.then(|| headers(model, run)),
        dtype: model.dtype,
    }
}

/// The headers of a checkpoint of the model.
fn headers(model: &Model, run: &Run) -> Checkpoint {
    let run = Run { lora: None, quantize: None, trainable: None, ..run.clone() };
    let graph = program(model, &run, Default::default()).expect("a program");
    let stored = graph.parameters.iter().filter(|parameter| parameter.stored).map(|parameter| {
        let shape = parameter.shape.to_vec();
        let bytes = Bytes(2 * shape.iter().product::<u64>());
        (parameter.name.clone(), StoredTensor { dtype: Dtype::BF16, shape, bytes, file: FileId(0) })
    });
    let tensors = stored.collect();
    let file = StoredFile { path: PathBuf::from("model.safetensors"), tensors: 0, data: Bytes(0) };
    Checkpoint { tensors, files: vec![file], ..Checkpoint::default() }
}

/// What is wrong with an estimate, in words; how far apart its bounds are, over the plan.
fn compared(estimate: &Estimate, plan: &Plan) -> Result<(f64, f64), String> {
    let (allocated, reserved) = (plan.peak_allocated(), plan.peak_reserved());
    let share = |bytes: Bytes| bytes.0 as f64 / allocated.0 as f64;
    let range = (share(estimate.allocated.low), share(estimate.allocated.high));
    if estimate.allocated.low > allocated || allocated > estimate.allocated.high {
        return Err(format!("allocated {allocated}, not in {:?} ({:.3}..{:.3})", estimate.allocated, range.0, range.1));
    }
    if estimate.reserved.low > reserved || reserved > estimate.reserved.high {
        return Err(format!("reserved {reserved}, not in {:?}", estimate.reserved));
    }
    Ok(range)
}

/// A case's range, or what is wrong; None where there is no estimate.
fn judged(
    record: &Case,
    model: &Model,
    run: &Run,
    gpu: &Gpu,
    with_headers: bool,
) -> Option<Result<(f64, f64), String>> {
    let planned = plan(model, run, gpu).ok()?;
    let named = |text: String| format!("{}: {text}", record.id);
    let estimated = match estimate(&undescribed(model, run, with_headers), run, gpu) {
        Ok(estimated) => estimated,
        Err(EstimateError::Plan(error)) => return Some(Err(named(error.to_string()))),
        Err(_) => return None,
    };
    if std::env::var("CASE").is_ok_and(|case| case == record.id) {
        println!(
            "{estimated:#?}\n{:?} slack {:?}\n{:?}",
            planned.categories_at_peak(),
            planned.slack_at_peak(),
            planned.peak_phase()
        );
        for live in planned.at_peak.iter().take(14) {
            let a = planned.trace.allocation(live.id);
            println!("{} {:?} {} {}", a.bytes, live.category, planned.trace.module(&a), planned.trace.operator(&a));
        }
    }
    Some(compared(&estimated, &planned).map_err(named))
}

/// The cases of a file of records.
fn cases(file: &str) -> Vec<Case> {
    lines(&format!("tests/truth/{file}"))
        .into_iter()
        .map(|line| serde_json::from_value(line).expect("a case"))
        .collect()
}

/// Small runs of each architecture of transformers that was recorded, as they were recorded.
#[test]
fn plans_of_known_families_lie_within_estimates_of_them() {
    let cases: Vec<Case> = ["imported.jsonl", "text.jsonl", "experts.jsonl"].into_iter().flat_map(cases).collect();
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs");
    let gpu = catalogue.find("h200").expect("a GPU");
    let cases: Vec<Case> =
        cases.into_iter().filter(|c| std::env::var("CASE").map_or(true, |case| case == c.id)).collect();
    let found: Vec<_> = cases
        .par_iter()
        .filter_map(|record| {
            let (model, run) = (model_of(&record.case), record.run());
            Some((record, model.architecture.clone(), judged(record, &model, &run, gpu, true)?))
        })
        .collect();
    let architectures: BTreeSet<&String> = found.iter().map(|(_, architecture, _)| architecture).collect();
    let wrong: Vec<&String> = found.iter().filter_map(|(.., found)| found.as_ref().err()).collect();
    let ranges: Vec<(f64, f64)> = found.iter().filter_map(|(.., found)| found.as_ref().ok().copied()).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| ranges.iter().map(of).sum::<f64>() / ranges.len() as f64;
    println!(
        "{} cases of {} architectures: {:.2}..{:.2}",
        ranges.len(),
        architectures.len(),
        mean(|r| r.0),
        mean(|r| r.1)
    );
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.iter().map(|w| format!("{w}\n")).collect::<String>());
}
