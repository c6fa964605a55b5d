//! The composed path: `_scaled_dot_product_attention_math` (`attention.cpp`), as the ops that it calls and their
//! autograd nodes. Half precision is computed in fp32 (`allowFP16BF16ReductionMathSDP` is off by default).
//!
//! ```text
//! q, k, v -> float             half precision only                          ToCopyBackward0
//! query = q * sqrt(scale)                                                   MulBackward1
//! mask = where(ones.tril(), 0, -inf)         is_causal only
//! k, v = repeat_interleave(k | v)            grouped queries only           UnsqueezeBackward0 Expand Clone View
//! attn = matmul(query, k.transpose(-2, -1) * sqrt(scale))                   Transpose MulBackward1 Expand View Bmm UnsafeView
//! attn.add_(mask)                                                           AddBackward0
//! attn = _safe_softmax(attn)                 keeps its result               SafeSoftmaxBackward0
//! attn = dropout(attn)                       keeps its mask                 NativeDropoutBackward0
//! attn.to(dtype)                             half precision; the second result, dropped by the caller
//! matmul(attn, v).to(dtype)                  keeps attn and v               Expand View Bmm UnsafeView ToCopyBackward0
//! ```
//!
//! The backward runs the nodes from the last made to the first.

mod backward;

pub(super) use backward::backward;

use super::layout::Layout;
use super::matmul::{Product, matmul};
use super::tape::{Held, Reference, Tape, Value, held};
use super::{Nodes, Problem, Run, mask};
use crate::dtype::Dtype;

/// What the nodes hold.
#[derive(Debug)]
pub struct Saved {
    /// Query and scaled, transposed key as the first `bmm` reads them.
    scores: Product,
    /// Attention and value as the second does.
    weighted: Product,
    /// The result of the softmax.
    softmax: Option<Reference>,
    /// Which elements dropout kept.
    dropout: Option<Reference>,
}

impl Saved {
    /// Those of the caller's tensors among it.
    pub fn held(&self) -> Vec<Held> {
        let references = [&self.weighted.saved_right, &self.weighted.saved_left, &self.scores.saved_right];
        held(&references.into_iter().flatten().cloned().collect::<Vec<_>>())
    }
}

/// Bytes of an element while computing.
fn element(problem: &Problem) -> u64 {
    if is_half(problem) { Dtype::F32.size() } else { problem.dtype.size() }
}

fn is_half(problem: &Problem) -> bool {
    matches!(problem.dtype, Dtype::F16 | Dtype::BF16)
}

/// Whether a gradient flows into the attention scores.
fn scores_grad(problem: &Problem) -> bool {
    problem.requires_grad[0] || problem.requires_grad[1] || mask_grad(problem)
}

fn mask_grad(problem: &Problem) -> bool {
    problem.mask.as_ref().is_some_and(mask::wants_gradient)
}

/// Runs the call.
pub(super) fn forward(tape: &mut Tape, problem: &Problem) -> Run {
    let size = element(problem);
    let [wants_query, wants_key, wants_value] = problem.requires_grad;
    let given = mask::additive(tape, problem);
    let inputs = [("query in fp32", &problem.query), ("key in fp32", &problem.key), ("value in fp32", &problem.value)]
        .map(|(what, layout)| cast(tape, what, layout, problem));
    let query = tape.tensor("query, scaled", inputs[0].layout.like(), size);
    let causal = problem.causal.then(|| causal_mask(tape, problem));
    let key = repeated(tape, "key, by the query's heads", &inputs[1], problem);
    let value = repeated(tape, "value, by the query's heads", &inputs[2], problem);

    let scaled = tape.tensor("key, scaled", key.layout.transposed(2, 3).like(), size);
    let scores = matmul(tape, "scores", [&query, &scaled], [wants_query, wants_key], None, size);
    tape.drop(&scaled);
    let attention = safe_softmax(tape, &scores.output, size);
    tape.drop(&scores.output);
    let softmax = scores_grad(problem).then(|| Reference::Own(tape.keep(&attention)));
    let (attention, dropout) = dropped_out(tape, problem, attention);
    let second = is_half(problem).then(|| {
        let layout = attention.layout.clone();
        tape.tensor("attention in half precision", layout, problem.dtype.size())
    });
    let needs = [scores_grad(problem), wants_value];
    let weighted = matmul(tape, "output", [&attention, &value], needs, Some(Held::Value), size);
    let output = if is_half(problem) {
        let output = tape.tensor("output", weighted.output.layout.clone(), problem.dtype.size());
        tape.drop(&weighted.output);
        output
    } else {
        weighted.output.clone()
    };

    let returned = second.unwrap_or_else(|| tape.keep(&attention));
    tape.drop(&attention);
    for repeated in [&key, &value] {
        if problem.heads() != problem.key_heads() {
            tape.drop(repeated);
        }
    }
    tape.drop(&query);
    causal.iter().for_each(|mask| tape.drop(mask));
    inputs.iter().rev().for_each(|input| tape.drop(input));
    tape.drop(&returned);
    given.iter().for_each(|mask| tape.drop(mask));
    let saved = Saved { scores: scores.product, weighted: weighted.product, softmax, dropout };
    Run { output, nodes: Nodes::Math(Box::new(saved)) }
}

/// The input as fp32, or as it is where it is no half precision.
fn cast(tape: &mut Tape, what: &'static str, layout: &Layout, problem: &Problem) -> Value {
    if !is_half(problem) {
        return Value::given(layout);
    }
    tape.tensor(what, layout.like(), Dtype::F32.size())
}

/// `ones(queries, keys).tril()` as numbers.
fn causal_mask(tape: &mut Tape, problem: &Problem) -> Value {
    let layout = Layout::contiguous(&[problem.queries(), problem.keys()]);
    let ones = tape.tensor("causal mask: ones", layout.clone(), 1);
    let triangle = tape.tensor("causal mask: triangle", layout, 1);
    tape.drop(&ones);
    let mask = mask::chosen(tape, &triangle, element(problem));
    tape.drop(&triangle);
    mask
}

/// `repeat_interleave` over the heads: a contiguous copy, or the tensor itself where heads are as many as the query's.
fn repeated(tape: &mut Tape, what: &'static str, input: &Value, problem: &Problem) -> Value {
    if problem.heads() == problem.key_heads() {
        return input.clone();
    }
    let mut shape = input.layout.shape.clone();
    shape[1] = problem.heads();
    tape.tensor(what, Layout::contiguous(&shape), element(problem))
}

/// `_safe_softmax`: the softmax, then rows that are all minus infinity are set to 0 in place. Not modelled: `all` over a few
/// rows of some 100000 keys splits each row over blocks, with temporaries of tens of bytes.
fn safe_softmax(tape: &mut Tape, scores: &Value, element: u64) -> Value {
    let shape = &scores.layout.shape;
    let result = tape.tensor("attention", scores.layout.clone(), element);
    let infinite = tape.tensor("scores that are -inf", scores.layout.clone(), 1);
    let rows = tape.tensor("rows that are all -inf", Layout::contiguous(&shape[..3]), 1);
    let zero = tape.tensor("softmax: the scalar 0", Layout::contiguous(&[]), element);
    [&zero, &rows, &infinite].into_iter().for_each(|temporary| tape.drop(temporary));
    result
}

/// `native_dropout`, and its mask where autograd holds it.
fn dropped_out(tape: &mut Tape, problem: &Problem, attention: Value) -> (Value, Option<Reference>) {
    if problem.dropout == 0.0 {
        return (attention, None);
    }
    let kept = tape.tensor("dropout: which are kept", attention.layout.clone(), 1);
    let output = tape.tensor("attention after dropout", attention.layout.clone(), element(problem));
    let saved = scores_grad(problem).then(|| Reference::Own(tape.keep(&kept)));
    tape.drop(&kept);
    tape.drop(&attention);
    (output, saved)
}
