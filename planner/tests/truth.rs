//! Plans against what PyTorch recorded: the event stream first, then every phase's figures, then the peaks.

mod support;

use std::fmt::Write as _;

use planner::allocate::{AllocatorOptions, simulate};
use planner::bytes::Bytes;
use planner::graph::Checkpointing;
use planner::plan::{Emulation, Plan, plan_with};
use planner::read::gpus::{Gpu, GpuCatalogue};
use planner::read::model::Model;
use planner::read::spec::Shelf;
use planner::run::{Attention, Mode, Precision, Run, parse_checkpoint, parse_kernel};
use planner::schedule::first_difference;
use serde_json::Value;
use support::{Event, Trace, TruthCase, truth_cases};

/// Keys of a case that plans do not cover yet, with the value that means "not used".
const NOT_COVERED: [(&str, &str); 5] =
    [("clip", "null"), ("trainable", "null"), ("lora", "null"), ("quantize", "null"), ("parallel", "null")];

fn is_covered(case: &TruthCase) -> bool {
    let case = &case.case;
    let unused = NOT_COVERED.iter().all(|(key, unused)| case[key].to_string() == *unused);
    let optimizer = case["optimizer"].as_object().is_some_and(|keys| keys.len() == 1);
    let adamw = optimizer && case["optimizer"]["name"] == "adamw";
    // The gradient scaler of amp-fp16 is not covered yet.
    let word = case["precision"].as_str().unwrap_or("none");
    let precision = word.parse::<Precision>().is_ok_and(|precision| precision != Precision::AmpFp16);
    let architecture = case["model"]["architecture"].as_str().unwrap_or("none");
    let known = Shelf::default().family_of_architecture(architecture).expect("the shipped specs are sound").is_some();
    unused && adamw && precision && known
}

fn model_of(case: &Value) -> Model {
    let architecture = case["model"]["architecture"].as_str().expect("a case names its architecture");
    let family = Shelf::default().family_of_architecture(architecture).expect("sound specs").expect("a known family");
    Model {
        name: case["model"]["called"].as_str().unwrap_or("unnamed").to_owned(),
        family,
        architecture: architecture.to_owned(),
        config: case["model"]["config"].as_object().cloned().unwrap_or_default(),
        dtype: None,
        weights: None,
    }
}

fn run_of(record: &TruthCase) -> Run {
    let case = &record.case;
    let number = |key: &str| case[key].as_u64().expect("a size");
    let word = |key: &str| case[key].as_str().expect("a word");
    Run {
        mode: word("mode").parse::<Mode>().expect("a mode"),
        batch: number("batch"),
        seq: number("seq"),
        new_tokens: number("new_tokens"),
        precision: Some(word("precision").parse().expect("a precision")),
        accumulate: number("accumulate"),
        checkpoint: checkpointing(&case["checkpoint"]),
        steps: number("steps"),
        attention: word("attention").parse::<Attention>().expect("an attention"),
        sdpa: parse_kernel(case["sdpa"].as_str().unwrap_or("auto")).expect("a kernel"),
        hold_outputs: case["hold_outputs"] == true,
        capacity: Some(record.total_memory),
        allocator: record.allocator.clone(),
        ..Run::default()
    }
}

fn checkpointing(wanted: &Value) -> Checkpointing {
    match wanted {
        Value::Array(paths) => {
            Checkpointing::Modules(paths.iter().map(|path| path.as_str().expect("a path").to_owned()).collect())
        }
        word => parse_checkpoint(word.as_str().expect("a word")),
    }
}

fn gpu_of(record: &TruthCase) -> Gpu {
    let catalogue = GpuCatalogue::load(None).expect("the shipped GPUs are sound");
    catalogue.find(&record.device).expect("the record's GPU is in the catalogue").clone()
}

fn planned(record: &TruthCase) -> Plan {
    let plan = plan_with(&model_of(&record.case), &run_of(record), &gpu_of(record), Emulation::RECORDS);
    plan.unwrap_or_else(|error| panic!("{}: {error}", record.id))
}

/// The first place where the plan's stream differs from the trace, in words.
fn difference(plan: &Plan, trace: &Trace) -> Option<String> {
    let events = trace.events.iter().filter_map(|event| match event {
        Event::Allocate { bytes, stream } => Some(Ok((bytes.0, stream.0))),
        Event::Free(number) => Some(Err(*number)),
        Event::Segment(_) | Event::SegmentFree(_) => None,
    });
    let found = first_difference(&plan.stream, events)?;
    let name = |number: usize| match plan.stream.allocations.get(number) {
        None => "nothing".to_owned(),
        Some(allocation) => {
            let node = allocation.node.map_or(String::new(), |node| format!(" < {node}"));
            let module = &plan.graph.modules[allocation.module.index()].path;
            format!("#{number} {} B by {}{node} in `{module}`", allocation.bytes.0, allocation.op)
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

/// The first figure of a phase that differs, in words.
fn phase_difference(plan: &Plan, record: &TruthCase) -> Option<String> {
    if plan.outcome.phases.len() != record.phases.len() {
        return Some(format!("{} phases, PyTorch has {}", plan.outcome.phases.len(), record.phases.len()));
    }
    plan.outcome.phases.iter().zip(&record.phases).find_map(|(ours, theirs)| {
        let phase = &plan.stream.phases[ours.phase as usize];
        let figures = [
            ("allocated", ours.allocated, theirs.allocated),
            ("peak allocated", ours.peak_allocated, theirs.peak_allocated),
            ("reserved", ours.reserved, theirs.reserved),
            ("peak reserved", ours.peak_reserved, theirs.peak_reserved),
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

#[test]
fn every_covered_case_has_pytorchs_event_stream_and_figures() {
    let records: Vec<TruthCase> = truth_cases().into_iter().filter(is_covered).collect();
    assert!(records.len() >= 20, "only {} cases are covered", records.len());
    let mut wrong = Vec::new();
    for record in &records {
        let plan = planned(record);
        if let Some(text) = difference(&plan, &Trace::load(&record.id)) {
            wrong.push(format!("{}: {text}", record.id));
        } else if let Some(text) = phase_difference(&plan, record) {
            wrong.push(format!("{}: {text}", record.id));
        }
        let peaks = (plan.outcome.peak_allocated, plan.outcome.peak_reserved);
        if peaks != (record.max_allocated, record.max_reserved) {
            wrong.push(format!("{}: peaks {peaks:?}", record.id));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}

/// An independent reading of the stream, simpler than what made it: nothing is freed twice or before it is made, and the
/// bytes alive at each phase's end are those that PyTorch counts as requested.
#[test]
fn streams_are_balanced_and_sum_to_the_requested_bytes() {
    use planner::schedule::Event;
    for record in truth_cases().into_iter().filter(is_covered) {
        let stream = planned(&record).stream;
        let mut alive = vec![false; stream.allocations.len()];
        let (mut bytes, mut made, mut freed) = (Bytes(0), 0, 0);
        for event in &stream.events {
            match event {
                Event::Allocate(id) => {
                    assert_eq!(id.index(), made, "{}: allocations are numbered in order", record.id);
                    alive[id.index()] = true;
                    bytes += stream.allocations[id.index()].bytes;
                    made += 1;
                }
                Event::Free(id) => {
                    assert!(std::mem::replace(&mut alive[id.index()], false), "{}: freed twice", record.id);
                    bytes -= stream.allocations[id.index()].bytes;
                    freed += 1;
                }
                Event::Becomes(id, _) => assert!(alive[id.index()], "{}: the dead do not change", record.id),
                Event::Phase(number) => {
                    let phase = &record.phases[*number as usize];
                    let counted = (phase.requested, phase.allocations, phase.frees);
                    assert_eq!((bytes, made, freed), counted, "{}: {} {}", record.id, phase.step, phase.phase);
                }
            }
        }
    }
}

/// What is alive at the peak, block rounding and unsplit rests aside, is what the allocator counts there.
#[test]
fn what_is_alive_at_the_peak_explains_the_peak() {
    for record in truth_cases().into_iter().filter(is_covered) {
        let plan = planned(&record);
        let alive: Bytes = plan.at_peak.iter().map(|live| plan.stream.allocations[live.id.index()].bytes).sum();
        let slack = plan.outcome.peak_allocated.0 - alive.0;
        let rounding = 512 * plan.at_peak.len() as u64;
        let rests = (1 << 20) * plan.at_peak.len() as u64;
        assert!(slack <= rounding + rests, "{}: {slack} B at the peak belong to nothing", record.id);
    }
}

#[test]
fn a_smaller_capacity_runs_out_and_says_where() {
    let record = support::truth_case("gpt2-train-fp32");
    let plan = planned(&record);
    let enough = plan.outcome.peak_reserved;
    let options: AllocatorOptions = record.allocator.parse().expect("options");
    assert!(simulate(&plan.stream, &options, Some(enough)).out_of_memory.is_none());
    let short = simulate(&plan.stream, &options, Some(Bytes(plan.outcome.peak_allocated.0 - 1)));
    let (event, error) = short.out_of_memory.expect("less than the live bytes cannot do");
    assert!(matches!(plan.stream.events[event], planner::schedule::Event::Allocate(_)));
    assert!(error.reserved < enough);
}

/// README's accuracy table is this test's own output: `UPDATE_README=1 cargo test` writes it anew.
#[test]
fn the_readmes_accuracy_table_is_up_to_date() {
    let path = support::truth_folder().join("../../README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let mut table = String::from("| case | peak allocated | peak reserved | events |\n| --- | ---: | ---: | --- |\n");
    for record in truth_cases().into_iter().filter(is_covered) {
        let plan = planned(&record);
        let show = |ours: Bytes, theirs: Bytes| match ours.0 as i128 - theirs.0 as i128 {
            0 => format!("{} B, exact", ours.0),
            off => format!("{} B, {off:+} B", ours.0),
        };
        let events = match difference(&plan, &Trace::load(&record.id)) {
            None => format!("{} the same", plan.stream.events.iter().filter(|e| counts(e)).count()),
            Some(_) => "differ".to_owned(),
        };
        let allocated = show(plan.outcome.peak_allocated, record.max_allocated);
        let reserved = show(plan.outcome.peak_reserved, record.max_reserved);
        let _ = writeln!(table, "| {} | {allocated} | {reserved} | {events} |", record.id);
    }
    let (begin, end) = ("<!-- accuracy: begin -->\n", "<!-- accuracy: end -->");
    let start = readme.find(begin).expect("the table's begin") + begin.len();
    let stop = readme.find(end).expect("the table's end");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &readme[..start], &readme[stop..])).expect("README.md is written");
        return;
    }
    assert_eq!(&readme[start..stop], table, "run UPDATE_README=1 cargo test to write the table anew");
}

fn counts(event: &planner::schedule::Event) -> bool {
    use planner::schedule::Event;
    matches!(event, Event::Allocate(_) | Event::Free(_))
}
