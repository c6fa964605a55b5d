//! Plans against what PyTorch recorded: the event stream first, then every phase's figures, then the peaks.

mod support;

use std::fmt::Write as _;

use planner::allocate::{AllocatorOptions, simulate};
use planner::bytes::Bytes;
use planner::read::spec::Shelf;
use planner::run::Precision;
use support::plans::{difference, phase_difference, planned, trace_of};
use support::{Trace, TruthCase, truth_cases};

/// Keys of a case that plans do not cover yet, with the value that means "not used".
const NOT_COVERED: [(&str, &str); 0] = [];

fn is_covered(case: &TruthCase) -> bool {
    let case = &case.case;
    let unused = NOT_COVERED.iter().all(|(key, unused)| case[key].to_string().as_str() == *unused);
    let precision = case["precision"].as_str().is_some_and(|word| word.parse::<Precision>().is_ok());
    let known = match (case["model"]["architecture"].as_str(), case["model"]["name"].as_str()) {
        (Some(architecture), _) => Shelf::default().family_of_architecture(architecture),
        (None, name) => Shelf::default().family_of_configuration(name.unwrap_or("none")),
    };
    unused && precision && known.expect("the shipped specs are sound").is_some()
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
    let mut table = String::from(
        "| case | allocated, 2.11 | reserved, 2.11 | events, 2.11 | allocated, 2.15 | reserved, 2.15 | events, 2.15 |\n\
         | --- | ---: | ---: | --- | ---: | ---: | --- |\n",
    );
    let newest = support::plans::release_records("torch-2.15", "truth");
    for record in truth_cases().into_iter().filter(is_covered) {
        let with_newest = newest.iter().find(|other| other.id == record.id).expect("the same cases");
        let cells = [figures(&record, &Trace::load(&record.id)), figures(with_newest, &trace_of(with_newest))];
        let _ = writeln!(table, "| {} | {} |", record.id, cells.join(" | "));
    }
    support::readme_has("accuracy", &table);
}

/// Both peaks and the events of a plan beside a record's.
fn figures(record: &TruthCase, trace: &Trace) -> String {
    let plan = planned(record);
    let show = |ours: Bytes, theirs: Bytes| match ours.0 as i128 - theirs.0 as i128 {
        0 => format!("{} B, exact", ours.0),
        off => format!("{} B, {off:+} B", ours.0),
    };
    let events = match difference(&plan, trace) {
        None => format!("{} the same", plan.stream.events.iter().filter(|e| counts(e)).count()),
        Some(_) => "differ".to_owned(),
    };
    let allocated = show(plan.outcome.peak_allocated, record.max_allocated);
    let reserved = show(plan.outcome.peak_reserved, record.max_reserved);
    format!("{allocated} | {reserved} | {events}")
}

fn counts(event: &planner::schedule::Event) -> bool {
    use planner::schedule::Event;
    matches!(event, Event::Allocate(_) | Event::Free(_))
}
