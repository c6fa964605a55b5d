//! FlashAttention 2: `pad_last_dim` and `post_process_flash_output` of `attention.cpp`, `mha_fwd` and `mha_bwd` of
//! `flash_api.cpp`.
//!
//! Kernels work on `[batch, sequence, heads, head_dim]`, the transposed view of what they are given. The output has the
//! layout of the (padded) query.

use super::layout::Layout;
use super::tape::{BufferId, Held, Reference, Tape, Value, held};
use super::{Nodes, Problem, Run};
use crate::lower::device::Device;

const FLOAT: u64 = 4;

/// What the autograd nodes of a flash call hold: `ScaledDotProductFlashAttentionBackward0`, before it three
/// `ConstantPadNdBackward0` and after it `SliceBackward0` where the head dimension was padded.
#[derive(Debug)]
pub struct Saved {
    /// Key, query, value, then results, in the order in which the node lets them go.
    references: Vec<Reference>,
    /// Query, key and value as the kernel reads them.
    inputs: [Value; 3],
    output: Value,
}

impl Saved {
    /// Those of the caller's tensors among it.
    pub fn held(&self) -> Vec<Held> {
        held(&self.references)
    }
}

/// Runs the call.
pub(super) fn forward(tape: &mut Tape, device: &Device, problem: &Problem) -> Run {
    let element = problem.dtype.size();
    let inputs = [("query, padded", &problem.query), ("key, padded", &problem.key), ("value, padded", &problem.value)]
        .map(|(what, layout)| padded(tape, what, layout, element));
    tape.kernel_begins();
    let output = tape.tensor("output", inputs[0].layout.like_query(problem), element);
    let logsumexp = tape.allocate("logsumexp", problem.batch() * problem.heads() * problem.queries() * FLOAT);
    let splits = split_accumulators(tape, device, problem);
    let state = random_state(tape, problem);
    for buffer in splits {
        tape.drop(&owned(buffer));
    }
    tape.kernel_ends();
    let mut references = Vec::new();
    if problem.any_grad() {
        let order = [(1, Held::Key), (0, Held::Query), (2, Held::Value)];
        references.extend(order.map(|(at, held)| reference(tape, &inputs[at], held)));
        references.extend([Reference::Own(owned(logsumexp)), Reference::Held(Held::Output)]);
        references.extend([state.0, state.1].map(|buffer| Reference::Own(owned(buffer))));
    } else {
        [logsumexp, state.0, state.1].into_iter().for_each(|buffer| tape.drop(&owned(buffer)));
    }
    for input in inputs.iter().rev() {
        tape.drop(input);
    }
    let returned = output.seen(output.layout.cut_last(problem.head_dim()));
    Run { output: returned, nodes: Nodes::Flash(Box::new(Saved { references, inputs, output })) }
}

/// A tensor whose layout nothing asks for.
fn owned(buffer: Option<BufferId>) -> Value {
    Value { buffer, ..Value::given(&Layout::contiguous(&[])) }
}

fn reference(tape: &mut Tape, value: &Value, held: Held) -> Reference {
    match value.buffer {
        Some(_) => Reference::Own(tape.keep(value)),
        None => Reference::Held(held),
    }
}

/// `pad_last_dim`: a zero-padded copy where the head dimension is no multiple of 8.
fn padded(tape: &mut Tape, what: &'static str, layout: &Layout, element: u64) -> Value {
    let size = layout.shape[3];
    if size.is_multiple_of(8) {
        return Value::given(layout);
    }
    tape.tensor(what, layout.suggested(&layout.shape_with_last(size.next_multiple_of(8))), element)
}

impl Layout {
    /// The output's layout: `empty_like(query)`, which one query with grouped heads reaches over another view:
    /// `[batch, groups, key_heads, head_dim]`.
    fn like_query(&self, problem: &Problem) -> Layout {
        if !swaps_groups(problem) {
            return self.transposed(1, 2).like().transposed(1, 2);
        }
        let (batch, dim) = (self.shape[0], self.shape[3]);
        let (kept, groups) = (problem.key_heads(), problem.heads() / problem.key_heads());
        // [batch, 1, heads, dim] -> [batch, key_heads, groups, dim] -> [batch, groups, key_heads, dim]
        let split = self.transposed(1, 2).viewed(&[batch, kept, groups, dim]);
        let split = split.unwrap_or_else(|| Layout::contiguous(&[batch, kept, groups, dim]));
        let output = split.transposed(1, 2).like().transposed(1, 2);
        let whole = [batch, 1, problem.heads(), dim];
        output.viewed(&whole).unwrap_or_else(|| Layout::contiguous(&whole)).transposed(1, 2)
    }
}

/// `seqlenq_ngroups_swapped`: one query with grouped heads runs as many queries of the keys' heads.
fn swaps_groups(problem: &Problem) -> bool {
    problem.queries() == 1 && problem.heads() > problem.key_heads() && problem.dropout == 0.0
}

/// `set_params_splitkv`: where the heads are too few to fill the GPU, keys are split and partial results are kept in
/// fp32, `[splits, batch, heads, queries]` and `[splits, batch, heads, queries, head_dim]`.
fn split_accumulators(tape: &mut Tape, device: &Device, problem: &Problem) -> [Option<BufferId>; 2] {
    let (mut heads, mut queries) = (problem.heads(), problem.queries());
    if swaps_groups(problem) {
        (heads, queries) = (problem.key_heads(), heads / problem.key_heads());
    }
    let dim = problem.head_dim().next_multiple_of(8);
    if problem.dropout > 0.0 {
        return [None, None];
    }
    let splits = splits(device, problem.batch() * heads, queries, problem.keys(), dim);
    if splits <= 1 {
        return [None, None];
    }
    let rows = splits * problem.batch() * heads * queries;
    let logsumexp = tape.allocate("logsumexp of each split", rows * FLOAT);
    [logsumexp, tape.allocate("output of each split", rows * rounded(dim) * FLOAT)]
}

/// The head dimension as accumulators hold it.
fn rounded(dim: u64) -> u64 {
    dim.next_multiple_of(if dim <= 128 { 32 } else { 64 })
}

/// `num_splits_heuristic`: the fewest splits that fill the GPU to 85 % of the best that any number of them can.
pub(crate) fn splits(device: &Device, batch_heads: u64, queries: u64, keys: u64, dim: u64) -> u64 {
    let block = match dim {
        0..=64 => 256,
        65..=128 => 128,
        _ => 64,
    };
    let blocks = keys.div_ceil(block);
    let tiles = batch_heads * queries.div_ceil(64);
    let slots = device.multiprocessors * 2;
    if tiles as f32 >= 0.8f32 * slots as f32 {
        return 1;
    }
    let most = slots.min(blocks).min(128);
    let eligible = |count: u64| count == 1 || blocks.div_ceil(count) != blocks.div_ceil(count - 1);
    let efficiency = |count: u64| {
        let waves = (tiles * count) as f32 / slots as f32;
        waves / waves.ceil()
    };
    let best = (1..=most).filter(|&count| eligible(count)).map(efficiency).fold(0.0, f32::max);
    let enough = |count: &u64| eligible(*count) && f64::from(efficiency(*count)) >= 0.85 * f64::from(best);
    (1..=most).find(enough).unwrap_or(1)
}

/// The philox seed and offset in one tensor, and an unused scalar; dropout replaces the first by one of its own.
fn random_state(tape: &mut Tape, problem: &Problem) -> (Option<BufferId>, Option<BufferId>) {
    let state = tape.allocate("random state", 16);
    let unused = tape.allocate("unused", 8);
    if problem.dropout == 0.0 {
        return (state, unused);
    }
    let drawn = tape.allocate("random state", 16);
    tape.drop(&owned(state));
    (drawn, unused)
}

/// Runs the backward.
pub(super) fn backward(tape: &mut Tape, problem: &Problem, saved: Saved, gradient: Value) -> [Option<Value>; 4] {
    let element = problem.dtype.size();
    let gradient = unsliced(tape, &saved, gradient, element);
    let copies = [("gradient of the output, contiguous", &gradient), ("output, contiguous", &saved.output)]
        .map(|(what, value)| contiguous(tape, what, value, element));
    let names = ["gradient of the query", "gradient of the key", "gradient of the value"];
    let gradients: Vec<Value> = names
        .iter()
        .zip(&saved.inputs)
        .map(|(what, input)| tape.tensor(what, input.layout.transposed(1, 2).like().transposed(1, 2), element))
        .collect();
    let temporaries = temporaries(tape, problem, element);
    for buffer in temporaries.into_iter().rev() {
        tape.drop(&owned(buffer));
    }
    copies.iter().rev().flatten().for_each(|copy| tape.drop(copy));
    let kept = [0, 1, 2].map(|at| problem.requires_grad[at].then(|| gradients[at].clone()));
    (0..3).filter(|&at| kept[at].is_none()).for_each(|at| tape.drop(&gradients[at]));
    tape.drop(&gradient);
    saved.references.iter().for_each(|reference| tape.release(reference));
    let mut returned = [None, None, None, None];
    for at in [2, 1, 0] {
        returned[at] = kept[at].clone().map(|gradient| unpadded(tape, problem, gradient, names[at]));
    }
    returned
}

/// `slice_backward` of the cut to the real head dimension: zeros of the padded shape, into which the gradient is copied.
fn unsliced(tape: &mut Tape, saved: &Saved, gradient: Value, element: u64) -> Value {
    if saved.inputs[0].buffer.is_none() {
        return gradient;
    }
    let shape = &saved.output.layout.shape;
    let padded = tape.tensor("gradient of the output, padded", Layout::contiguous(shape), element);
    tape.drop(&gradient);
    padded
}

/// A copy for a kernel that reads `[batch, queries, heads, dim]` contiguously, where that is not how it lies.
fn contiguous(tape: &mut Tape, what: &'static str, value: &Value, element: u64) -> Option<Value> {
    let seen = value.layout.transposed(1, 2);
    (!seen.is_contiguous()).then(|| tape.tensor(what, Layout::contiguous(&seen.shape), element))
}

/// fp32 sums for the softmax and the query's gradient, with queries rounded up to 128, and the gradients of keys and
/// values for each of the query's heads where groups share them; these are summed over each group (`sum_out`).
fn temporaries(tape: &mut Tape, problem: &Problem, element: u64) -> Vec<Option<BufferId>> {
    let dim = problem.head_dim().next_multiple_of(8);
    let rows = problem.batch() * problem.heads() * problem.queries().next_multiple_of(128);
    let mut buffers = vec![
        tape.allocate("softmax sums", rows * FLOAT),
        tape.allocate("gradient of the query in fp32", rows * rounded(dim) * FLOAT),
    ];
    if problem.heads() != problem.key_heads() {
        let bytes = problem.batch() * problem.keys() * problem.heads() * dim * element;
        buffers.push(tape.allocate("gradient of the key, by the query's heads", bytes));
        buffers.push(tape.allocate("gradient of the value, by the query's heads", bytes));
        let summed = problem.batch() * problem.keys() * problem.key_heads() * dim;
        for _ in ["key", "value"] {
            accumulate(tape, bytes, summed);
        }
    }
    buffers
}

/// A sum in half precision over more bytes than 32 bits index runs piece by piece, and keeps its partial results in fp32
/// (`gpu_reduce_kernel`, `aten/src/ATen/native/cuda/Reduce.cuh`).
fn accumulate(tape: &mut Tape, bytes: u64, summed: u64) {
    const INDEXED: u64 = 1 << 31;
    if bytes > INDEXED {
        let accumulator = tape.allocate("sum over groups, in fp32", summed * FLOAT);
        tape.drop(&owned(accumulator));
    }
}

/// `constant_pad_nd_backward`: a copy without the padding.
fn unpadded(tape: &mut Tape, problem: &Problem, gradient: Value, what: &'static str) -> Value {
    let size = problem.head_dim();
    if gradient.layout.shape[3] == size {
        return gradient;
    }
    let cut = tape.tensor(what, gradient.layout.cut_last(size).like(), problem.dtype.size());
    tape.drop(&gradient);
    cut
}
