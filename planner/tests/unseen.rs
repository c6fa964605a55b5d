//! Plans of odd cases against what PyTorch recorded: `tests/truth/unseen.yaml` and its records and traces.
//!
//! The emulated device on which they were recorded reads zeros on every copy to the host, so that a program decides
//! otherwise there: about packed sequences without a cache, about rotary frequencies. The plans do the same.

mod support;

use planner::allocate::{AllocatorOptions, Outcome, simulate};
use planner::graph::{Graph, Loop, READS_ZEROS, unroll};
use planner::lower::context::Settings;
use planner::lower::kernels::cub::Architecture;
use planner::lower::lower;
use planner::plan::device;
use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;
use planner::run::{Mode, Precision, parse_kernel};
use planner::schedule::{Stream, first_difference};
use support::{Event, Trace, TruthCase, records};

fn program(record: &TruthCase) -> Result<Graph, String> {
    let case = &record.case;
    let number = |key: &'static str| (key, case[key].as_u64().expect("a size"));
    let mode: Mode = case["mode"].as_str().expect("a word").parse().expect("a mode");
    let name = case["model"]["architecture"].as_str().expect("a case names its architecture");
    let family = Shelf::default().family_of_architecture(name).expect("sound specs").expect("a known family");
    let wanted = Loop {
        checkpoint: planner::graph::Checkpointing::Off,
        quantize: None,
        lora: None,
        mode: mode.function(),
        training: mode == Mode::Train,
        integers: ["batch", "seq", "new_tokens", "steps", "accumulate"].map(number).to_vec(),
        flags: vec![("hold_outputs", case["hold_outputs"] == true), ("labels", mode.records()), (READS_ZEROS, true)],
        attention: case["attention"].as_str().expect("a word").to_owned(),
    };
    let config = case["model"]["config"].as_object().expect("a config");
    unroll(&family, &family.architectures[name], config, &wanted).map_err(|error| error.to_string())
}

fn planned(record: &TruthCase) -> Result<(Graph, Stream, Outcome), String> {
    let case = &record.case;
    let graph = program(record)?;
    let mode: Mode = case["mode"].as_str().expect("a word").parse().expect("a mode");
    let precision: Precision = case["precision"].as_str().expect("a word").parse().expect("a precision");
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    let gpu = catalogue.find(&record.device).expect("the record's GPU is in the catalogue");
    let settings = Settings {
        training: mode.records(),
        trainable: None,
        weights: precision.dtype(),
        autocast: precision.autocast(),
        cub: Some(Architecture::Sm90),
        attention_kernel: parse_kernel(case["sdpa"].as_str().unwrap_or("auto")).expect("a kernel"),
    };
    let stream = lower(&std::rc::Rc::new(graph.clone()), &device(gpu), settings).map_err(|error| error.to_string())?;
    let options: AllocatorOptions = record.allocator.parse().expect("options");
    let outcome = simulate(&stream, &options, Some(record.total_memory));
    Ok((graph, stream, outcome))
}

/// The first place where the plan differs from the record: an allocation, a free, or a figure.
fn difference(record: &TruthCase) -> Option<String> {
    let (graph, stream, outcome) = match planned(record) {
        Ok(planned) => planned,
        Err(error) => return Some(error),
    };
    let trace = Trace::load_from("unseen", &record.id);
    let events = trace.events.iter().filter_map(|event| match event {
        Event::Allocate { bytes, stream } => Some(Ok((bytes.0, stream.0))),
        Event::Free(number) => Some(Err(*number)),
        Event::Segment(_) | Event::SegmentFree(_) => None,
    });
    if let Some(found) = first_difference(&stream, events) {
        let ours = stream.allocations.get(found.allocation).map(|allocation| {
            let module = &graph.modules[allocation.module.index()].path;
            format!("{} B by {} {:?} in `{module}`", allocation.bytes.0, allocation.op, allocation.node)
        });
        return Some(format!("{found:?}, ours {}", ours.unwrap_or_default()));
    }
    let ours = outcome.phases.iter().map(|phase| {
        let named = &stream.phases[phase.phase as usize];
        let figures = [phase.allocated, phase.peak_allocated, phase.reserved, phase.peak_reserved];
        (named.step as usize, named.name.to_string(), figures)
    });
    let theirs = record.phases.iter().map(|phase| {
        let figures = [phase.allocated, phase.peak_allocated, phase.reserved, phase.peak_reserved];
        (phase.step, phase.phase.clone(), figures)
    });
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), theirs.collect());
    if ours.len() != theirs.len() {
        return Some(format!("{} phases, PyTorch has {}", ours.len(), theirs.len()));
    }
    let wrong = ours.into_iter().zip(theirs).find(|(ours, theirs)| ours != theirs);
    wrong.map(|(ours, theirs)| format!("{ours:?}, PyTorch's {theirs:?}"))
}

#[test]
fn odd_cases_have_pytorchs_event_stream_and_figures() {
    let records = records("unseen.jsonl");
    assert!(records.len() >= 40, "only {} cases", records.len());
    let found = records.iter().filter_map(|record| Some(format!("{}: {}", record.id, difference(record)?)));
    let wrong: Vec<String> = found.collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}
