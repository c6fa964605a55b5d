//! Plans of combined choices against what PyTorch recorded: checkpointing under autocast, with accumulation, clipping, frozen
//! parameters, other optimizers; autocast in inference and generation.

use crate::support::plans::{gpu_of, model_of, planned, run_of};
use crate::support::{TruthCase, records};
use planner::plan::{Emulation, plan_with};

/// A kernel is chosen by a context manager around the forward (`torch.nn.attention.sdpa_kernel`), which the second run does
/// not see: PyTorch raises CheckpointError where that picks another one.
#[test]
fn a_kernel_that_the_second_run_would_not_pick_is_refused() {
    let records = records("combinations.jsonl");
    let record = records.iter().find(|record| record.id == "llama-efficient-h200-fp32").expect("a record");
    let refused = |kernel: &str| {
        let run = planner::run::Run { sdpa: kernel.parse().expect("a kernel"), ..run_of(record) };
        let planned = plan_with(&model_of(&record.case), &run, &gpu_of(record), Emulation::RECORDS);
        planned.err().map(|error| error.to_string())
    };
    assert_eq!(refused("efficient"), None);
    let message = refused("math").expect("a refusal");
    assert!(message.contains("CheckpointError") && message.contains("holds for the forward alone"), "{message}");
}

#[test]
fn two_plans_of_a_run_are_the_same_event_by_event() {
    let records = records("combinations.jsonl");
    let record = records.iter().find(|record| record.id == "gpt2-amp-fp16-checkpoint-blocks").expect("a record");
    assert_eq!(planned(record).trace, planned(record).trace);
}

/// The modules that `memplan checkpoint` chose for twelve models and budgets: PyTorch's own peak is within each budget.
#[test]
fn chosen_checkpoints_lie_within_their_budgets() {
    let records = records("combinations.jsonl");
    let chosen: Vec<&TruthCase> = records.iter().filter(|record| record.case["budget"].is_u64()).collect();
    assert_eq!(chosen.len(), 12);
    for record in chosen {
        let budget = record.case["budget"].as_u64().expect("bytes");
        assert!(record.max_reserved.0 <= budget, "{}: {} of {budget}", record.id, record.max_reserved.0);
    }
}
