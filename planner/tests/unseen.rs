//! Plans of odd cases against what PyTorch recorded: `unseen.yaml`, `text.yaml`, `caches.yaml` and `experts.yaml` of
//! `tests/truth`, their records and traces.
//!
//! The emulated device on which they were recorded reads zeros on every copy to the host, so that a program decides
//! otherwise there: about packed sequences without a cache, about rotary frequencies. The plans do the same.

mod support;

use support::plans::{difference, phase_difference, planned};
use support::{Trace, TruthCase, records};

/// The first place where the plan differs from the record: an allocation, a free, or a figure.
fn wrong_in(folder: &str, record: &TruthCase) -> Option<String> {
    let plan = planned(record);
    difference(&plan, &Trace::load_from(folder, &record.id)).or_else(|| phase_difference(&plan, record))
}

fn all_are_the_same(folder: &str, at_least: usize) {
    let records = records(&format!("{folder}.jsonl"));
    assert!(records.len() >= at_least, "only {} cases", records.len());
    let found = records.iter().filter_map(|record| Some(format!("{}: {}", record.id, wrong_in(folder, record)?)));
    let wrong: Vec<String> = found.collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}

#[test]
fn odd_cases_have_pytorchs_event_stream_and_figures() {
    all_are_the_same("unseen", 40);
}

#[test]
fn families_that_came_later_have_pytorchs_event_stream_and_figures() {
    all_are_the_same("text", 140);
}

#[test]
fn static_caches_have_pytorchs_event_stream_and_figures() {
    all_are_the_same("caches", 77);
}

#[test]
fn mixtures_of_experts_have_pytorchs_event_stream_and_figures() {
    all_are_the_same("experts", 80);
}
