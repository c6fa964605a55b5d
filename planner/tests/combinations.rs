//! Plans of combined choices against what PyTorch recorded: checkpointing under autocast, with accumulation, clipping, frozen
//! parameters, other optimizers; autocast in inference and generation.

mod support;

use support::plans::{difference, phase_difference, planned};
use support::{Trace, TruthCase, records};

fn wrong_in(record: &TruthCase) -> Option<String> {
    let plan = planned(record);
    difference(&plan, &Trace::load_from("combinations", &record.id)).or_else(|| phase_difference(&plan, record))
}

#[test]
fn combined_choices_have_pytorchs_event_stream_and_figures() {
    let records = records("combinations.jsonl");
    assert!(records.len() >= 20, "only {} cases", records.len());
    let found = records.iter().filter_map(|record| Some(format!("{}: {}", record.id, wrong_in(record)?)));
    let wrong: Vec<String> = found.collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), records.len(), wrong.join("\n"));
}
