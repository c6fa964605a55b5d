//! Plans of selective activation checkpointing against what PyTorch recorded: `tests/truth/selective.yaml`, its records and
//! traces.

use crate::support::plans::{gpu_of, model_of, run_of};
use crate::support::{TruthCase, records};
use planner::plan::{Emulation, plan_with};
use planner::run::{Run, SavedOperators};

fn record(id: &str) -> TruthCase {
    records("selective.jsonl").into_iter().find(|record| record.id == id).expect("a record")
}

fn refusal(record: &TruthCase, run: &Run) -> Option<String> {
    plan_with(&model_of(&record.case), run, &gpu_of(record), Emulation::RECORDS).err().map(|error| error.to_string())
}

#[test]
fn what_is_not_planned_is_refused() {
    let record = record("mistral-window-save-where-eager");
    let refused = |run: &Run, expected: &str| {
        let message = refusal(&record, run).expect("a refusal");
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    };
    assert_eq!(refusal(&record, &run_of(&record)), None);
    refused(&Run { attention: Default::default(), ..run_of(&record) }, "attention makes numbers of its mask");
    let math = Run {
        attention: Default::default(),
        sdpa: "math".parse().expect("a kernel"),
        checkpoint_save: Some("mm".parse().expect("an operator")),
        ..run_of(&record)
    };
    refused(&math, "attention that PyTorch composes");
    let quantized = Run {
        quantize: Some("nf4".parse().expect("a form")),
        trainable: Some("norm".parse().expect("a pattern")),
        ..run_of(&record)
    };
    refused(&quantized, "quantised layers");
}

#[test]
fn names_are_those_of_pytorch() {
    let saved: SavedOperators = "mul, aten.mm,torch.ops.aten.mm.default,pow.Tensor_Scalar".parse().expect("operators");
    assert_eq!(saved.to_string(), "mm,mul,pow");
    let overloads: Vec<String> = saved.overloads().collect();
    assert_eq!(overloads, ["aten.mm.default", "aten.mul.Tensor", "aten.pow.Tensor_Scalar"]);
    for wrong in ["", "view", "mm.out", "aten", "mm,,addmm"] {
        assert!(wrong.parse::<SavedOperators>().is_err(), "{wrong}");
    }
}

/// What `memplan checkpoint --granularity op` chose for four models and budgets: PyTorch's own peak is within each budget.
#[test]
fn chosen_operators_lie_within_their_budgets() {
    let records = records("selective.jsonl");
    let budget = |record: &TruthCase| record.case["budget"].as_u64();
    let chosen = records.iter().filter_map(|record| Some((record, budget(record)?)));
    let within = chosen.map(|(record, budget)| record.max_reserved.0 <= budget);
    assert_eq!(within.collect::<Vec<_>>(), [true; 4]);
}
