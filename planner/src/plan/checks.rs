//! What a run and a model must have in common.

use crate::dtype::Dtype;
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

/// Checks that DoRA's magnitudes can be planned: where a weight that is stored the other way round stays as it is, peft makes a
/// parameter of its view, whose gradient nobody asked for (peft 0.21.2, utils/other.py, `transpose`).
///
/// # Errors
/// Such weights, where dropout has them multiplied again.
pub(super) fn magnitudes(run: &Run, weights: Dtype, parameters: &[Parameter]) -> Result<(), RunError> {
    let drops = run.lora.as_ref().is_some_and(|lora| lora.dropout > 0.0);
    let transposed = |parameter: &Parameter| parameter.origin == Origin::Magnitude { transposed: true };
    if drops && weights == Dtype::F32 && parameters.iter().any(transposed) {
        return Err(RunError::Contradiction(
            "lora: use_dora with dropout is not planned for float32 weights that are stored the other way round, as GPT-2's \
             are: leave dropout out, or say a precision of bf16",
        ));
    }
    Ok(())
}
