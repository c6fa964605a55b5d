//! What a class in a file of the user's own returns, as far as a loss is made of it: its forward runs once before the run is unrolled.

use super::PlanError;
use crate::graph::{GraphError, Loop, unroll};
use crate::model::Model;
use crate::read::spec::Architecture;
use crate::run::{Checkpointing, LossKind};

/// The loop that runs a model's forward once, whose last tensor says by its sizes which loss there is and how many labels it takes.
const WHAT_IT_RETURNS: &str = "what_it_returns";

/// The loss of a class by what its forward returns, and how many labels it takes: its own where it returns a number, else the one of
/// an export with such outputs.
pub fn loss(
    model: &Model,
    architecture: &Architecture,
    config: &serde_json::Map<String, serde_json::Value>,
    wanted: &Loop,
) -> Result<(LossKind, u64), PlanError> {
    let once = Loop {
        mode: WHAT_IT_RETURNS,
        folds: false,
        checkpoint: Checkpointing::Off,
        quantize: None,
        stored: None,
        lora: None,
        ..wanted.clone()
    };
    let graph = unroll(&model.family, architecture, config, &once).map_err(in_source)?;
    let last = graph.ops.last().and_then(|op| op.outputs.first());
    let (kind, labels) = match last.map(|tensor| &graph.shapes[tensor.index()][..]) {
        Some([kind, labels]) => (*kind, *labels),
        _ => (1, 1),
    };
    let loss = match kind {
        1 => LossKind::Output,
        2 => LossKind::CrossEntropy,
        _ => LossKind::Sum,
    };
    Ok((loss, labels))
}

/// The error at the place in the user's own source, where a function of the library was called that found it.
pub fn in_source(mut error: GraphError) -> GraphError {
    if let Some(own) = error.at.iter().position(|place| !place.starts_with("specs/library/")) {
        error.at.drain(..own);
    }
    error
}
