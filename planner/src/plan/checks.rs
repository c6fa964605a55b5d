//! What a run and a model must have in common.

use crate::graph::{Origin, Parameter};
use crate::model::quantization::Quantization;
use crate::run::{Mode, Run, RunError};

/// Checks the run against how the checkpoint stores its weights.
///
/// # Errors
/// A run that such weights cannot serve.
pub(super) fn stored(run: &Run, quantization: &Quantization) -> Result<(), RunError> {
    if run.quantize.is_some() {
        return Err(RunError::Contradiction("the checkpoint stores its weights quantised already: leave quantize out"));
    }
    if run.shards_from_elsewhere() {
        return Err(RunError::Contradiction(
            "the checkpoint's quantised weights come to the GPU: leave fsdp's load out",
        ));
    }
    if run.mode.records() && !quantization.records() {
        return Err(RunError::OnlyInfers { method: quantization.word() });
    }
    if run.mode == Mode::Train && run.lora.is_none() && run.trainable.is_none() {
        return Err(RunError::Contradiction(
            "the checkpoint's quantised weights cannot be trained: give lora for adapters, or trainable for the other \
             parameters",
        ));
    }
    Ok(())
}

/// Checks the choice of trained parameters against the program's.
///
/// # Errors
/// A choice that matches none, or a quantised weight.
pub(super) fn trainable(run: &Run, parameters: &[Parameter]) -> Result<(), RunError> {
    let Some(pattern) = run.trainable.as_ref().filter(|_| run.mode == Mode::Train) else { return Ok(()) };
    let mut chosen = parameters.iter().filter(|parameter| !parameter.buffer && pattern.0.is_match(&parameter.name));
    let quantized = chosen.clone().find(|parameter| matches!(parameter.origin, Origin::Quantized(_)));
    match (chosen.next(), quantized) {
        (None, _) => Err(RunError::NothingTrained { pattern: pattern.to_string() }),
        (_, Some(parameter)) => Err(RunError::QuantizedTrained { name: parameter.name.clone() }),
        _ => Ok(()),
    }
}
