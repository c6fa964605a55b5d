//! Runs of calls between cut points, as `memplan checkpoint` chooses them where a model has no blocks, against what PyTorch
//! recorded of forwards that a person wrote: `tests/truth/cutpoints.yaml`, made by `tests/truth/record_cutpoints.py`.

use serde_json::Value;

use crate::support::models::model_of_graph;
use crate::support::plans::{difference, gpu_of, peaks, run_of};
use crate::support::{TruthCase, records, text_of, truth_folder};
use planner::bytes::Bytes;
use planner::checkpoint::{Chooser, Granularity, Measure, Wanted};
use planner::model::Model;
use planner::plan::{Emulation, Plan, PlanError, plan_with};
use planner::run::{Checkpointing, Run};

fn model_of(record: &TruthCase) -> Model {
    let graph = record.case["graph"].as_str().expect("a case names its graph");
    let text = text_of(&truth_folder().join(format!("cutpoints/graphs/{graph}.json.gz")));
    let whole: Value = serde_json::from_str(&text).expect("a graph");
    model_of_graph(&format!("{graph}.pt2"), &text, Some(whole["weights_config"].to_string().as_bytes()))
}

fn all() -> Vec<TruthCase> {
    records("cutpoints.jsonl.gz")
}

fn case(id: &str) -> TruthCase {
    all().into_iter().find(|record| record.id == id).expect("a record")
}

fn plan(record: &TruthCase, checkpoint: &str) -> Result<Plan, PlanError> {
    let checkpoint: Checkpointing = checkpoint.parse().expect("regions");
    plan_with(&model_of(record), &Run { checkpoint, ..run_of(record) }, &gpu_of(record), Emulation::RECORDS)
}

#[test]
fn plans_are_what_pytorch_does() {
    let mut wrong = Vec::new();
    for record in all() {
        let plan =
            plan_with(&model_of(&record), &run_of(&record), &gpu_of(&record), Emulation::RECORDS).expect("a plan");
        let (ours, theirs) = (peaks(&plan), (record.max_allocated, record.max_reserved));
        let stream = difference(&plan, &record.trace().expect("the record holds its trace"));
        if ours != theirs || stream.is_some() {
            wrong.push(format!("{}: {ours:?} for {theirs:?}, {}", record.id, stream.unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What was recorded is what is chosen, and PyTorch's own peak is within the budget.
#[test]
fn chosen_regions_lie_within_their_budgets() {
    let mut chosen = 0;
    for record in all() {
        let Some(budget) = record.case["budget"].as_object() else { continue };
        let (measure, recorded) = match budget.contains_key("allocated") {
            true => (Measure::Allocated, record.max_allocated),
            false => (Measure::Reserved, record.max_reserved),
        };
        let budget = Bytes(budget.values().next().and_then(Value::as_u64).expect("bytes"));
        assert!(recorded <= budget, "{}: {} of {}", record.id, recorded.0, budget.0);
        let wanted = Wanted { measure, granularity: Granularity::Block, ..Wanted::within(budget) };
        let run = Run { checkpoint: Checkpointing::Off, ..run_of(&record) };
        let (model, gpu) = (model_of(&record), gpu_of(&record));
        let chooser = Chooser::new(&model, &run, &gpu, &wanted).expect("candidates");
        let choice = chooser.choose(budget).expect("an answer").choice.expect("a choice");
        let regions = choice.modules.into_iter().map(|chosen| chosen.region).collect();
        assert_eq!(Checkpointing::Modules(regions), run_of(&record).checkpoint, "{}", record.id);
        chosen += 1;
    }
    assert_eq!(chosen, 6);
}

/// A run of one call is the module that is called: the events are the same.
#[test]
fn a_run_of_one_call_is_that_call() {
    let record = case("unet-plain");
    for module in ["enc1", "middle", "up2", "dec1", "dec3.second"] {
        let of_call = plan(&record, &format!("{module}..{module}")).expect("a plan");
        let of_module = plan(&record, module).expect("a plan");
        assert!(of_call.trace.events().eq(of_module.trace.events()), "{module}");
        assert_eq!(peaks(&of_call), peaks(&of_module), "{module}");
    }
}

/// The children of a Sequential together are the Sequential.
#[test]
fn all_calls_of_a_module_are_the_module() {
    let record = case("vgg11-bn-plain");
    let (children, whole) = (plan(&record, "features.0..features.28"), plan(&record, "features"));
    assert_eq!(peaks(&children.expect("a plan")), peaks(&whole.expect("a plan")));
}

#[test]
fn what_is_no_function_of_one_tensor_is_refused() {
    let record = case("unet-plain");
    let refused = |regions: &str| plan(&record, regions).err().map(|error| error.to_string()).unwrap_or_default();
    for (regions, why) in [
        ("pool..nothing", "there is no call `nothing`"),
        ("enc1.first..enc2.first", "no calls of one module's code in this order"),
        ("dec3..pool", "no calls of one module's code in this order"),
        ("pool..dec3", "it takes 1 tensors and gives 2"),
        ("up3..dec3", "it takes 2 tensors and gives 1"),
        ("pool@1..up2,enc3", "it lies in another region, or another lies in it"),
        ("enc3,enc3.first..enc3.second", "it lies in another region, or another lies in it"),
        ("pool@1..up2,pool@2..up3", "a part of it lies in `pool@1..up2`"),
    ] {
        assert!(refused(regions).contains(why), "{regions}: {}", refused(regions));
    }
    let vgg = case("vgg11-bn-plain");
    let in_place = plan(&vgg, "features.2..features.4").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(in_place.contains("works in place on the tensor that it takes"), "{in_place}");
    let run = Run { reentrant: true, checkpoint: "pool..up1".parse().expect("a region"), ..run_of(&record) };
    let reentrant = plan_with(&model_of(&record), &run, &gpu_of(&record), Emulation::RECORDS);
    let reentrant = reentrant.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(reentrant.contains("not planned as reentrant checkpoints"), "{reentrant}");
}
