//! Plans of recorded cases, and where they differ from what PyTorch did, in words.

use std::fmt::Write as _;
use std::sync::LazyLock;

use planner::allocate::PhaseFigures;
use planner::bytes::Bytes;
use planner::model::{Model, open};
use planner::plan::{Emulation, Plan, plan_with};
use planner::read::gpus::{Gpu, GpuCatalogue};
use planner::read::spec::Shelf;
use planner::run::{LoadedTo, Parallel, Run, RunOptions};
use planner::trace::{AllocationId, first_difference};
use serde_json::Value;

pub use super::models::model_of;
use super::models::{exported, folder, stored};
use super::{Event, Trace, TruthCase};

/// Keys of a case that say no option: which model, and how it was recorded.
const NOT_OPTIONS: [&str; 6] = ["model", "env", "stored", "stored_dtype", "budget", "graph"];

/// The run of a case. Its keys are those of a run file, but for a name and a default.
pub fn run_of(record: &TruthCase) -> Run {
    let mut keys = record.case.as_object().expect("keys with values").clone();
    keys.retain(|key, _| !NOT_OPTIONS.contains(&key.as_str()));
    if let Some(tokens) = keys.remove("max_cache_len") {
        keys.insert("cache_tokens".to_owned(), tokens);
    }
    if let Some(Value::Object(lora)) = keys.get_mut("lora") {
        lora.entry("alpha").or_insert(16.into()); // record.py's default; peft's is 8
    }
    keys.insert("capacity".to_owned(), record.total_memory.0.into());
    keys.insert("allocator".to_owned(), record.allocator.clone().into());
    keys.insert("torch".to_owned(), record.torch.clone().into());
    keys.insert("transformers".to_owned(), record.transformers.clone().into());
    let options = serde_json::from_value::<RunOptions>(keys.into());
    let mut run = options.unwrap_or_else(|error| panic!("{}: {error}", record.id)).run();
    if let Some(Parallel::Fsdp(fsdp)) = &mut run.parallel {
        fsdp.load.get_or_insert(LoadedTo::Gpu); // record.py moves the model before it is sharded
    }
    run
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
    let (missing, unexpected) = (&plan.agreement.missing, &plan.agreement.unexpected);
    assert!(missing.is_empty() && unexpected.is_empty(), "{}: {missing:?}, {unexpected:?}", record.id);
    plan
}

fn plan_of(record: &TruthCase, model: &Model) -> Plan {
    let run = run_of(record);
    // with images a shadow of integers answers what Python reads
    let emulation = Emulation { reads_zeros: run.images.is_none(), ..Emulation::RECORDS };
    let plan = plan_with(model, &run, &gpu_of(record), emulation);
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
    let name = |number: usize| match (number < plan.trace.allocation_count())
        .then(|| plan.trace.allocation(AllocationId(number as u32)))
    {
        None => "nothing".to_owned(),
        Some(allocation) => {
            let (by, module) = (plan.trace.asked_by(&allocation), plan.trace.module(&allocation));
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
