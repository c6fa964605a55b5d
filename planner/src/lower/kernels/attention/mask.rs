//! Turns the `attn_mask` of a call into what a backend reads (`aten/src/ATen/native/transformers/attention.cpp`).

use super::layout::Layout;
use super::tape::{Held, Reference, Tape, Value};
use super::{Mask, Problem};

/// A boolean mask becomes one of 0 and minus infinity: `where(mask, 0, -inf)`, with both scalars on the device. A mask of
/// numbers is used as it is.
pub fn additive(tape: &mut Tape, problem: &Problem) -> Option<Value> {
    let mask = problem.mask.as_ref()?;
    let value = Value::given(&mask.layout);
    Some(if mask.boolean { chosen(tape, &value, problem.dtype.size()) } else { value })
}

/// `where(condition, scalar, scalar)` with elements of `element` bytes; the caller drops the condition.
pub fn chosen(tape: &mut Tape, condition: &Value, element: u64) -> Value {
    let scalar = Layout::contiguous(&[]);
    let zero = tape.tensor("mask: the scalar 0", scalar.clone(), element);
    let infinity = tape.tensor("mask: the scalar -inf", scalar, element);
    let mask = tape.tensor("mask as numbers", condition.layout.packed(), element);
    tape.drop(&infinity);
    tape.drop(&zero);
    mask
}

/// The mask of a call that autograd holds: its own buffer, or the caller's.
pub fn reference(tape: &mut Tape, mask: &Value) -> Reference {
    match mask.buffer {
        Some(_) => Reference::Own(tape.keep(mask)),
        None => Reference::Held(Held::Mask),
    }
}

/// What `pad_bias` did, for its backward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Padding {
    /// The mask before it was padded.
    pub from: Vec<u64>,
    /// The shape with the last dimension padded.
    pub to: Vec<u64>,
}

/// `preprocess_mask`: where rows do not start at multiples of 8 elements, the mask is copied with its last dimension padded
/// to the next multiple (`pad_bias`) and cut back to its size as a view. Then it is expanded to
/// `[batch, heads, queries, keys]`. Takes over the reference to `mask`.
pub fn prepared(tape: &mut Tape, problem: &Problem, mask: Value) -> (Value, Option<Padding>) {
    const ALIGNMENT: u64 = 8;
    let wanted = [problem.batch(), problem.heads(), problem.queries(), problem.keys()];
    let size = mask.layout.shape.last().copied().unwrap_or(1);
    let outer = mask.layout.strides.len().saturating_sub(1);
    if mask.layout.strides[..outer].iter().all(|stride| stride.is_multiple_of(ALIGNMENT)) {
        let expanded = mask.layout.expanded(&wanted);
        return (mask.seen(expanded), None);
    }
    let padded = mask.layout.shape_with_last((size + 1).next_multiple_of(ALIGNMENT));
    let value = tape.tensor("mask, padded", Layout::contiguous(&padded), problem.dtype.size());
    tape.drop(&mask);
    let layout = value.layout.cut_last(size).expanded(&wanted);
    (value.seen(layout), Some(Padding { from: mask.layout.shape, to: padded }))
}

/// Sums a gradient over the dimensions along which its tensor was expanded; as it is where there are none.
pub fn summed_to(tape: &mut Tape, gradient: Value, shape: &[u64], element: u64) -> Value {
    if gradient.layout.shape == shape {
        return gradient;
    }
    let sum = tape.tensor("gradient of the mask, summed", Layout::contiguous(shape), element);
    tape.sum(&gradient.layout, shape);
    tape.drop(&gradient);
    sum
}

/// Whether a gradient reaches the mask.
pub fn wants_gradient(mask: &Mask) -> bool {
    mask.requires_grad && !mask.boolean
}
