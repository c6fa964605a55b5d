//! Every built-in model but timm's, loaded and planned: a step of training, a forward pass, and a few tokens where it generates.

use planner::bytes::Bytes;
use planner::model::{Model, open};
use planner::plan::plan;
use planner::read::gpus::{Gpu, GpuCatalogue};
use planner::read::spec::Shelf;
use planner::run::{Mode, Run};

use crate::support::assert_snapshot;

/// Room for any of them.
const ROOM: Bytes = Bytes(1 << 46);

#[test]
fn built_in_models_are_planned() {
    let catalogue = GpuCatalogue::load(None).unwrap();
    let gpu = catalogue.find("h200").unwrap();
    let shelf = Shelf::default();
    let families = shelf.families().unwrap();
    let names = families.iter().flat_map(|family| family.configurations.keys()).filter(|name| !is_of_timm(name));
    let lines: Vec<String> = names.map(|name| line(&open(name, None, &shelf).unwrap(), gpu)).collect();
    let head = format!("{:<21} {:>13} {:>14} {:>14} {:>14}\n", "model", "parameters", "train", "infer", "generate");
    for (number, lines) in lines.chunks(40).enumerate() {
        assert_snapshot(&format!("built_in_models_{}", number + 1), &(head.clone() + &lines.concat()));
    }
}

/// timm's models are many and have records of their own; some are listed whose code cannot be said, and are refused.
pub fn is_of_timm(name: &str) -> bool {
    name.starts_with("timm/")
}

fn line(model: &Model, gpu: &Gpu) -> String {
    let peak = |mode: Mode| {
        let run = Run { mode, seq: 32, new_tokens: 4, steps: 2, capacity: Some(ROOM), ..Run::default() };
        plan(model, &run, gpu).unwrap_or_else(|error| panic!("{}: {mode}: {error}", model.name))
    };
    let generates = model.architecture(false).unwrap().generates;
    let generated = if generates { peak(Mode::Generate).outcome.peak_reserved.0.to_string() } else { "-".to_owned() };
    let inferred = peak(Mode::Infer);
    let sizes = inferred.graph.parameters.iter().filter(|parameter| !parameter.buffer);
    let parameters: u64 =
        sizes.map(|parameter| inferred.graph.shapes[parameter.tensor.index()].iter().product::<u64>()).sum();
    let (trained, inferred) = (peak(Mode::Train).outcome.peak_reserved.0, inferred.outcome.peak_reserved.0);
    format!("{:<21} {parameters:>13} {trained:>14} {inferred:>14} {generated:>14}\n", model.name)
}
