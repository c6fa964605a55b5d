//! The backward of the composed path, node by node from the last made to the first.

use super::{Saved, element, is_half, mask_grad, scores_grad};
use crate::lower::kernels::attention::layout::Layout;
use crate::lower::kernels::attention::matmul::{product_backward, reshaped};
use crate::lower::kernels::attention::tape::{Reference, Tape, Value};
use crate::lower::kernels::attention::{Problem, mask};

/// Runs the backward.
pub fn backward(tape: &mut Tape, problem: &Problem, saved: Saved, gradient: Value) -> [Option<Value>; 4] {
    let [wants_query, wants_key, wants_value] = problem.requires_grad;
    let size = element(problem);
    let mut gradients = [None, None, None, None];
    let gradient = widened(tape, problem, gradient);
    let flat = reshaped(tape, "gradient of the output, contiguous", &gradient, size);
    if flat.buffer != gradient.buffer {
        tape.drop(&gradient);
    }
    let needs = [scores_grad(problem), wants_value];
    let [attention, value] = product_backward(
        tape,
        ["gradient of the attention", "gradient of the value"],
        flat,
        saved.weighted,
        needs,
        size,
    );
    let (mut query, mut key) = (None, None);
    if let Some(attention) = attention {
        let attention = dropout_backward(tape, attention, saved.dropout, size);
        let scores = softmax_backward(tape, attention, saved.softmax, size);
        if mask_grad(problem) {
            let mask = mask_backward(tape, problem, &scores);
            tape.hand(&mask);
            gradients[3] = Some(mask);
        }
        let what = ["gradient of the query, scaled", "gradient of the key, scaled"];
        [query, key] = product_backward(tape, what, scores, saved.scores, [wants_query, wants_key], size);
    }
    let shape = |layout: &Layout| [problem.batch(), problem.heads(), layout.shape[1], layout.shape[2]];
    let unflat = |value: Value| value.seen(Layout::contiguous(&shape(&value.layout)));
    let key = key.map(|key| scale_backward(tape, "gradient of the key", unflat(key), size));
    let key = key.map(|key| key.seen(key.layout.transposed(2, 3)));
    let value = value.map(unflat).map(|value| repeat_backward(tape, "gradient of the value", value, problem));
    let key = key.map(|key| repeat_backward(tape, "gradient of the key", key, problem));
    let query = query.map(|query| scale_backward(tape, "gradient of the query", unflat(query), size));
    gradients[2] = value.map(|value| cast_backward(tape, "gradient of the value", value, problem));
    gradients[1] = key.map(|key| cast_backward(tape, "gradient of the key", key, problem));
    gradients[0] = query.map(|query| cast_backward(tape, "gradient of the query", query, problem));
    gradients
}

/// `ToCopyBackward0` of the output: to fp32.
fn widened(tape: &mut Tape, problem: &Problem, gradient: Value) -> Value {
    if !is_half(problem) {
        return gradient;
    }
    let wide = tape.tensor("gradient of the output in fp32", gradient.layout.like(), element(problem));
    tape.drop(&gradient);
    wide
}

fn dropout_backward(tape: &mut Tape, gradient: Value, kept: Option<Reference>, element: u64) -> Value {
    let Some(kept) = kept else { return gradient };
    let result = tape.tensor("gradient of the attention before dropout", gradient.layout.clone(), element);
    tape.drop(&gradient);
    tape.release(&kept);
    result
}

/// `_softmax_backward_data`: with the product of gradient and result as a temporary.
fn softmax_backward(tape: &mut Tape, gradient: Value, result: Option<Reference>, element: u64) -> Value {
    let scores = tape.tensor("gradient of the scores", gradient.layout.clone(), element);
    let product = tape.tensor("gradient times attention", gradient.layout.clone(), element);
    tape.drop(&product);
    tape.drop(&gradient);
    result.iter().for_each(|result| tape.release(result));
    scores
}

/// The mask's share of `AddBackward0`: the scores' gradient itself, summed where the mask was broadcast, in its own type.
fn mask_backward(tape: &mut Tape, problem: &Problem, scores: &Value) -> Value {
    let shape = [problem.batch(), problem.heads(), problem.queries(), problem.keys()];
    let scores = tape.keep(&scores.seen(Layout::contiguous(&shape)));
    let wanted = problem.mask.as_ref().map_or(Vec::new(), |mask| mask.layout.shape.clone());
    let summed = mask::summed_to(tape, scores, &wanted, element(problem));
    cast_backward(tape, "gradient of the mask", summed, problem)
}

/// `MulBackward1` of a tensor and a number.
fn scale_backward(tape: &mut Tape, what: &'static str, gradient: Value, element: u64) -> Value {
    let scaled = tape.tensor(what, gradient.layout.like(), element);
    tape.drop(&gradient);
    scaled
}

/// `ExpandBackward0` of `repeat_interleave`: the sum over each group.
fn repeat_backward(tape: &mut Tape, what: &'static str, gradient: Value, problem: &Problem) -> Value {
    if problem.heads() == problem.key_heads() {
        return gradient;
    }
    let mut shape = gradient.layout.shape.clone();
    shape[1] = problem.key_heads();
    let summed = tape.tensor(what, Layout::contiguous(&shape), element(problem));
    tape.drop(&gradient);
    summed
}

/// `ToCopyBackward0`: back to half precision.
fn cast_backward(tape: &mut Tape, what: &'static str, gradient: Value, problem: &Problem) -> Value {
    if !is_half(problem) {
        return gradient;
    }
    let narrow = tape.tensor(what, gradient.layout.like(), problem.dtype.size());
    tape.drop(&gradient);
    narrow
}
