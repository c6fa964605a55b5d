//! Plans of recorded cases, and where they differ from what PyTorch did, in words.

use std::fmt::Write as _;
use std::sync::LazyLock;

use planner::allocate::PhaseFigures;
use planner::bytes::Bytes;
use planner::graph::{Checkpointing, Lora};
use planner::plan::{Emulation, Plan, plan_with};
use planner::read::gpus::{Gpu, GpuCatalogue};
use planner::read::model::{Model, open};
use planner::read::spec::Shelf;
use planner::run::{Attention, CacheChoice, Mode, OptimizerChoice, Parallel, Run, SavedOperators, parse_kernel};
use planner::trace::first_difference;
use planner::versions::Versions;
use serde_json::Value;

pub use super::models::model_of;
use super::models::{exported, folder, stored};
use super::{Event, Trace, TruthCase};

pub fn run_of(record: &TruthCase) -> Run {
    let case = &record.case;
    let number = |key: &str| case[key].as_u64().expect("a size");
    let word = |key: &str| case[key].as_str().expect("a word");
    Run {
        mode: word("mode").parse::<Mode>().expect("a mode"),
        batch: number("batch"),
        seq: number("seq"),
        image: case["image"].as_u64(),
        new_tokens: number("new_tokens"),
        precision: Some(word("precision").parse().expect("a precision")),
        accumulate: number("accumulate"),
        checkpoint: checkpointing(&case["checkpoint"]),
        reentrant: case["reentrant"] == true,
        checkpoint_save: saved_operators(&case["checkpoint_save"]),
        parallel: parallel(&case["parallel"]),
        steps: number("steps"),
        attention: Some(word("attention").parse::<Attention>().expect("an attention")),
        optimizer: OptimizerChoice::from_json(&case["optimizer"]).expect("an optimizer"),
        clip: case["clip"].as_f64(),
        trainable: case["trainable"].as_str().map(|pattern| pattern.parse().expect("a regular expression")),
        lora: Some(&case["lora"]).filter(|lora| !lora.is_null()).map(adapters),
        quantize: case["quantize"].as_str().map(|word| word.parse().expect("a quantised form")),
        double_quant: case["double_quant"] != false,
        sdpa: parse_kernel(case["sdpa"].as_str().unwrap_or("auto")).expect("a kernel"),
        cache: CacheChoice {
            kind: case["cache"].as_str().map(|word| word.parse().expect("a cache")),
            tokens: case["max_cache_len"].as_u64(),
            ..CacheChoice::default()
        },
        hold_outputs: case["hold_outputs"] == true,
        capacity: Some(record.total_memory),
        allocator: record.allocator.clone(),
        versions: versions_of(record),
        ..Run::default()
    }
}

/// The releases that a record was made with.
fn versions_of(record: &TruthCase) -> Versions {
    let release = |text: &str| text.parse().unwrap_or_else(|error| panic!("{}: {error}", record.id));
    let newest = Versions::default();
    Versions {
        torch: release(&record.torch),
        transformers: record.transformers.as_deref().map_or(newest.transformers, release),
    }
}

fn parallel(wanted: &Value) -> Option<Parallel> {
    let words = |key: &str| wanted.get(key).map(|ranks| ranks.to_string().replace('"', ""));
    let ddp = words("ddp").map(|words| Parallel::ddp(&words).expect("a way"));
    ddp.or_else(|| words("fsdp").map(|words| Parallel::fsdp(&words).expect("a way")))
}

fn checkpointing(wanted: &Value) -> Checkpointing {
    match wanted {
        Value::Array(paths) => {
            let region = |path: &Value| path.as_str().expect("a path").parse().expect("a region");
            Checkpointing::Modules(paths.iter().map(region).collect())
        }
        word => word.as_str().expect("a word").parse().expect("none or full"),
    }
}

fn saved_operators(wanted: &Value) -> Option<SavedOperators> {
    let names: Vec<&str> = wanted.as_array()?.iter().map(|name| name.as_str().expect("a name")).collect();
    (!names.is_empty()).then(|| names.join(",").parse().expect("operators that can be saved"))
}

fn adapters(wanted: &Value) -> Lora {
    let number = |key: &str, default: f64| wanted[key].as_f64().unwrap_or(default);
    let targets = wanted["targets"].as_array().expect("a list of targets");
    Lora {
        rank: wanted["r"].as_u64().expect("a rank"),
        alpha: number("alpha", 16.0),
        dropout: number("dropout", 0.0),
        targets: targets.iter().map(|target| target.as_str().expect("a target").to_owned()).collect(),
    }
}

/// The GPU that a record was made for. The catalogue is read once.
pub fn gpu_of(record: &TruthCase) -> Gpu {
    static CATALOGUE: LazyLock<GpuCatalogue> =
        LazyLock::new(|| GpuCatalogue::load(None).expect("the shipped GPUs are sound"));
    CATALOGUE.find(&record.device).expect("the record's GPU is in the catalogue").clone()
}

/// The plan of a model that a spec knows.
pub fn planned(record: &TruthCase) -> Plan {
    plan_of(record, &model_of(&record.case))
}

/// The plan of an exported program.
pub fn export_planned(record: &TruthCase) -> Plan {
    plan_of(record, &exported(record))
}

/// The plan of a checkpoint that stores its weights quantised: all that a config says of them is as the header has it.
pub fn stored_planned(record: &TruthCase) -> Plan {
    let (config, header) = stored(&record.id);
    let folder = folder(&config, &header);
    let model = open(&folder.path().display().to_string(), None, &Shelf::default());
    let plan = plan_of(record, &model.unwrap_or_else(|error| panic!("{}: {error}", record.id)));
    assert_eq!(plan.agreement, Default::default(), "{}", record.id);
    plan
}

fn plan_of(record: &TruthCase, model: &Model) -> Plan {
    let plan = plan_with(model, &run_of(record), &gpu_of(record), Emulation::RECORDS);
    plan.unwrap_or_else(|error| panic!("{}: {error}", record.id))
}

/// The first place where the plan's stream differs from the trace, in words.
pub fn difference(plan: &Plan, trace: &Trace) -> Option<String> {
    let events = trace.events.iter().filter_map(|event| match event {
        Event::Allocate { bytes, stream } => Some(Ok((bytes.0, stream.0))),
        Event::Free(number) => Some(Err(*number)),
        Event::Segment(_) | Event::SegmentFree(_) => None,
    });
    let found = first_difference(&plan.trace, events)?;
    let name = |number: usize| match plan.trace.allocations.get(number) {
        None => "nothing".to_owned(),
        Some(allocation) => {
            let (by, module) = (plan.trace.asked_by(allocation), plan.trace.module(allocation));
            format!("#{number} {} B by {by} in `{module}`", allocation.bytes.0)
        }
    };
    let at = found.allocation;
    let mut text = format!("allocation #{at}: ours {}, PyTorch's {:?} B", name(at), found.theirs.unwrap_or(0));
    for number in &found.freed_early {
        let _ = write!(text, "\n  freed before PyTorch frees it: {}", name(*number));
    }
    for number in &found.freed_late {
        let _ = write!(text, "\n  PyTorch frees before: {}", name(*number));
    }
    let sizes: Vec<u64> = trace
        .events
        .iter()
        .filter_map(|e| if let Event::Allocate { bytes, .. } = e { Some(bytes.0) } else { None })
        .collect();
    for number in at.saturating_sub(3)..at + 4 {
        let theirs = sizes.get(number).map_or("nothing".to_owned(), |size| format!("{size} B"));
        let _ = write!(text, "\n  {} | PyTorch's {theirs}", name(number));
    }
    Some(text)
}

/// A phase's peaks as record.py takes them: it resets them once the model is loaded, so that what loading needs for a while
/// (whole parameters that are then sharded) is not in its figures.
fn recorded_peaks(plan: &Plan, figures: &PhaseFigures) -> (Bytes, Bytes) {
    match &*plan.trace.phases[figures.phase as usize].name {
        "load" => (figures.allocated, figures.reserved),
        _ => (figures.peak_allocated, figures.peak_reserved),
    }
}

/// Both peaks of a run as record.py takes them.
pub fn peaks(plan: &Plan) -> (Bytes, Bytes) {
    let phases = plan.outcome.phases.iter().map(|figures| recorded_peaks(plan, figures));
    phases.fold((Bytes(0), Bytes(0)), |most, peaks| (most.0.max(peaks.0), most.1.max(peaks.1)))
}

/// The first figure of a phase that differs, in words.
pub fn phase_difference(plan: &Plan, record: &TruthCase) -> Option<String> {
    if plan.outcome.phases.len() != record.phases.len() {
        return Some(format!("{} phases, PyTorch has {}", plan.outcome.phases.len(), record.phases.len()));
    }
    plan.outcome.phases.iter().zip(&record.phases).find_map(|(ours, theirs)| {
        let phase = &plan.trace.phases[ours.phase as usize];
        let (peak_allocated, peak_reserved) = recorded_peaks(plan, ours);
        let figures = [
            ("allocated", ours.allocated, theirs.allocated),
            ("peak allocated", peak_allocated, theirs.peak_allocated),
            ("reserved", ours.reserved, theirs.reserved),
            ("peak reserved", peak_reserved, theirs.peak_reserved),
        ];
        if (phase.step as usize, &*phase.name) != (theirs.step, &theirs.phase[..]) {
            return Some(format!("phase {} {}, PyTorch's {} {}", phase.step, phase.name, theirs.step, theirs.phase));
        }
        let wrong = figures.iter().find(|(_, ours, theirs)| ours != theirs);
        wrong.map(|(what, ours, theirs)| {
            format!("step {} {}: {what} {} B, PyTorch's {} B", phase.step, phase.name, ours.0, theirs.0)
        })
    })
}
