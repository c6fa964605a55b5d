//! Plans of odd cases against what PyTorch recorded: `tests/truth/unseen.yaml` and its records and traces.
//!
//! The emulated device on which they were recorded reads zeros on every copy to the host, so that a program decides
//! otherwise there: about packed sequences without a cache, about rotary frequencies. The plans do the same.

mod support;

use support::plans::{difference, phase_difference, planned};
use support::{Trace, TruthCase, records};

/// The first place where the plan differs from the record: an allocation, a free, or a figure.
fn wrong_in(record: &TruthCase) -> Option<String> {
    let plan = planned(record);
    difference(&plan, &Trace::load_from("unseen", &record.id)).or_else(|| phase_difference(&plan, record))
}

#[test]
fn odd_cases_have_pytorchs_event_stream_and_figures() {
    let records = records("unseen.jsonl");
    assert!(records.len() >= 40, "only {} cases", records.len());
    let found = records.iter().filter_map(|record| Some(format!("{}: {}", record.id, wrong_in(record)?)));
    let wrong: Vec<String> = found.collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}
