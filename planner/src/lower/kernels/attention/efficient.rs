//! Memory-efficient attention: `_efficient_attention_forward` (`cuda/attention.cu`) and `_efficient_attention_backward`
//! (`cuda/attention_backward.cu`) over the kernels of `mem_eff_attention` (`kernel_backward.h`, `cutlassB.h`).
//!
//! Output and gradients are contiguous as `[batch, sequence, heads, head_dim]`, whatever the inputs' layout.

use super::layout::Layout;
use super::mask::{self, Padding};
use super::tape::{Held, Reference, Tape, Value, held};
use super::{AttentionError, Nodes, Problem, Run};
use crate::dtype::Dtype;
use crate::lower::device::Device;
use crate::run::Backend;
use crate::versions::Change;

const FLOAT: u64 = 4;

/// What `ScaledDotProductEfficientAttentionBackward0` holds.
#[derive(Debug)]
pub struct Saved {
    references: Vec<Reference>,
    padding: Option<Padding>,
}

impl Saved {
    /// Those of the caller's tensors among it.
    pub fn held(&self) -> Vec<Held> {
        held(&self.references)
    }
}

/// Runs the call.
pub(super) fn forward(tape: &mut Tape, device: &Device, problem: &Problem) -> Result<Run, AttentionError> {
    let bias = mask::additive(tape, problem).map(|mask| mask::prepared(tape, problem, mask));
    let (bias, padding) = bias.map_or((None, None), |(bias, padding)| (Some(bias), padding));
    check_alignment(problem, &[&problem.query, &problem.key])?;
    tape.kernel_begins();
    let seeds = seeds(tape, device, problem);
    let output = tape.tensor("output", by_sequence(&problem.query, problem.value_dim()), problem.dtype.size());
    let mut references = Vec::new();
    if problem.any_grad() || problem.mask_grad() {
        let rows = if problem.any_grad() { problem.queries().next_multiple_of(32) } else { 0 };
        let shape = [problem.batch(), problem.heads(), rows];
        let logsumexp = tape.tensor("logsumexp", Layout::contiguous(&shape), FLOAT);
        references.extend(bias.iter().map(|bias| mask::reference(tape, bias)));
        references.extend([Held::Key, Held::Query, Held::Value].map(Reference::Held));
        references.extend([Reference::Own(logsumexp), Reference::Held(Held::Output)]);
        references.extend(seeds.iter().rev().map(|seed| Reference::Own(tape.keep(seed))));
    }
    if problem.dtype != Dtype::F32 && problem.head_dim().max(problem.value_dim()) > 128 {
        let accumulator = tape.tensor("output in fp32", output.layout.clone(), FLOAT);
        tape.drop(&accumulator);
    }
    tape.kernel_ends();
    seeds.iter().for_each(|seed| tape.drop(seed));
    bias.iter().for_each(|bias| tape.drop(bias));
    Ok(Run { output, nodes: Nodes::Efficient(Saved { references, padding }) })
}

/// Philox' seed and offset where nothing is dropped: two zeros on the device. With dropout they lie on the host, outside CUDA graphs.
fn seeds(tape: &mut Tape, device: &Device, problem: &Problem) -> Vec<Value> {
    if problem.dropout > 0.0 || !device.rules.has(Change::EfficientSeedsOnDevice) {
        return Vec::new();
    }
    let zero = Layout::contiguous(&[]);
    ["seed", "offset"].into_iter().map(|what| tape.tensor(what, zero.clone(), Dtype::I64.size())).collect()
}

/// A tensor that is contiguous as `[batch, sequence, heads, last]`, seen as `[batch, heads, sequence, last]`.
fn by_sequence(layout: &Layout, last: u64) -> Layout {
    let shape = layout.transposed(1, 2).shape_with_last(last);
    Layout::contiguous(&shape).transposed(1, 2)
}

/// `Kernel::check_supported`: rows start at multiples of 16 bytes, and so do heads where there are several. The forward
/// looks at query and key, the backward at the value too.
fn check_alignment(problem: &Problem, inputs: &[&Layout]) -> Result<(), AttentionError> {
    let step = 16 / problem.dtype.size();
    let fits = |layout: &&Layout| {
        let heads = layout.shape[1] <= 1 || layout.strides[1].is_multiple_of(step);
        heads && layout.strides[2].is_multiple_of(step)
    };
    if inputs.iter().all(fits) {
        return Ok(());
    }
    let because = "rows of query, key or value are not aligned to 16 bytes";
    Err(AttentionError::Raises { backend: Backend::Efficient, because })
}

/// Runs the backward.
pub(super) fn backward(
    tape: &mut Tape,
    device: &Device,
    problem: &Problem,
    saved: Saved,
    gradient: Value,
) -> Result<[Option<Value>; 4], AttentionError> {
    check_alignment(problem, &[&problem.value])?;
    let block = block(device, problem)?;
    let element = problem.dtype.size();
    let seen = gradient.layout.transposed(1, 2);
    let copy = (!seen.is_contiguous())
        .then(|| tape.tensor("gradient of the output, contiguous", Layout::contiguous(&seen.shape), element));
    let inputs = [
        ("gradient of the query", &problem.query),
        ("gradient of the key", &problem.key),
        ("gradient of the value", &problem.value),
    ];
    let gradients = inputs.map(|(what, layout)| tape.tensor(what, by_sequence(layout, layout.shape[3]), element));
    let bias = bias_gradient(tape, problem);
    let expanded = expanded(tape, problem, element);
    let delta = delta(tape, problem);
    let workspace = tape.allocate("workspace", block.workspace(problem));
    tape.drop(&delta);
    tape.drop(&Value { buffer: workspace, ..Value::given(&Layout::contiguous(&[])) });
    expanded.iter().rev().for_each(|expanded| tape.drop(expanded));
    copy.iter().for_each(|copy| tape.drop(copy));
    let kept = [0, 1, 2].map(|at| problem.requires_grad[at].then(|| gradients[at].clone()));
    (0..3).filter(|&at| kept[at].is_none()).for_each(|at| tape.drop(&gradients[at]));
    tape.drop(&gradient);
    saved.references.iter().for_each(|reference| tape.release(reference));
    let bias = bias.map(|bias| unprepared(tape, problem, bias, saved.padding.as_ref()));
    let [query, key, value] = kept;
    Ok([query, key, value, bias])
}

/// The gradients of key and value for each of the query's heads, where these share heads of key and value.
fn expanded(tape: &mut Tape, problem: &Problem, element: u64) -> Vec<Value> {
    if problem.heads() == problem.key_heads() {
        return Vec::new();
    }
    let inputs = [("gradient of the key, by heads", &problem.key), ("gradient of the value, by heads", &problem.value)];
    let by_heads =
        |layout: &Layout| Layout::contiguous(&[layout.shape[0], layout.shape[2], problem.heads(), layout.shape[3]]);
    inputs.into_iter().map(|(what, layout)| tape.tensor(what, by_heads(layout), element)).collect()
}

/// The mask's gradient for each batch and head, its last dimension padded to 16 elements.
fn bias_gradient(tape: &mut Tape, problem: &Problem) -> Option<Value> {
    problem.mask.as_ref().filter(|mask| mask::wants_gradient(mask))?;
    let keys = problem.keys();
    let shape = [problem.batch(), problem.heads(), problem.queries(), keys.next_multiple_of(16)];
    let padded = tape.tensor("gradient of the mask", Layout::contiguous(&shape), problem.dtype.size());
    Some(padded.seen(padded.layout.cut_last(keys)))
}

/// The sum of gradient times output over the head dimension, fp32 `[batch, heads, queries]`. Half-precision kernels sum
/// for themselves; for fp32 it is `(gradient * output).sum(-1).transpose(-2, -1).contiguous()`.
fn delta(tape: &mut Tape, problem: &Problem) -> Value {
    let rows = Layout::contiguous(&[problem.batch(), problem.heads(), problem.queries()]);
    if problem.dtype != Dtype::F32 {
        return tape.tensor("delta", rows, FLOAT);
    }
    let shape = [problem.batch(), problem.queries(), problem.heads(), problem.value_dim()];
    let product = tape.tensor("gradient times output", Layout::contiguous(&shape), FLOAT);
    let sum = tape.tensor("delta, by queries", Layout::contiguous(&shape[..3]), FLOAT);
    let seen = sum.layout.transposed(1, 2);
    if seen.is_contiguous() {
        tape.drop(&product);
        return sum.seen(seen);
    }
    let delta = tape.tensor("delta", rows, FLOAT);
    tape.drop(&sum);
    tape.drop(&product);
    delta
}

/// The backward of [`mask::prepared`]: summed where it was expanded, cut and unpadded where it was padded.
fn unprepared(tape: &mut Tape, problem: &Problem, gradient: Value, padding: Option<&Padding>) -> Value {
    let element = problem.dtype.size();
    let Some(padding) = padding else {
        let shape = problem.mask.as_ref().map_or(Vec::new(), |mask| mask.layout.shape.clone());
        return mask::summed_to(tape, gradient, &shape, element);
    };
    let summed = mask::summed_to(tape, gradient, &padding.from, element);
    let padded = tape.tensor("gradient of the mask, padded", Layout::contiguous(&padding.to), element);
    tape.drop(&summed);
    let size = padding.from.last().copied().unwrap_or(1);
    let unpadded = tape.tensor("gradient of the mask", padded.layout.cut_last(size).like(), element);
    tape.drop(&padded);
    unpadded
}

/// The tile of a backward kernel: queries by keys, for head dimensions up to a limit.
#[derive(Clone, Copy, Debug)]
struct Block {
    queries: u64,
    keys: u64,
    head_dim: u64,
    /// Also fits the 99 KiB of shared memory that a block may have on GPUs for desktops.
    small: bool,
    /// Only where it is chosen by name: on 8.6 and 8.9, and without dropout.
    special: bool,
}

const ANY: u64 = 65536;

const fn tile(queries: u64, keys: u64, head_dim: u64, small: bool) -> Block {
    Block { queries, keys, head_dim, small, special: false }
}

/// `dispatch_cutlassB_{f16,bf16}_sm80`, in order. What fits is measured with PyTorch 2.11.
const HALF_BLOCKS: [Block; 6] = [
    tile(64, 64, 32, true),
    tile(64, 64, 64, true),
    Block { special: true, ..tile(128, 64, 96, true) },
    tile(128, 128, 128, false),
    tile(64, 64, 128, true),
    tile(128, 64, ANY, true),
];

/// `dispatch_cutlassB_f32_sm80`, in order.
const FLOAT_BLOCKS: [Block; 6] = [
    tile(64, 64, 32, true),
    tile(64, 64, 64, true),
    tile(128, 64, 128, false),
    tile(64, 64, 128, true),
    tile(128, 64, ANY, false),
    tile(64, 64, ANY, true),
];

/// The first kernel that fits the head dimension and the GPU's shared memory.
fn block(device: &Device, problem: &Problem) -> Result<Block, AttentionError> {
    let backend = Backend::Efficient;
    let capability = device.compute_capability;
    if capability < (8, 0) {
        return Err(AttentionError::NotModelled {
            backend,
            what: "training on GPUs older than compute capability 8.0",
        });
    }
    if capability > (12, 0) {
        return Err(AttentionError::Raises { backend, because: "no kernel for this GPU's compute capability" });
    }
    if !problem.any_grad() && problem.batch() * problem.heads() > 1 {
        return Err(AttentionError::Raises { backend, because: "only the mask requires a gradient" });
    }
    let small = matches!(capability, (8, 6) | (8, 9) | (12, _));
    let named = matches!(capability, (8, 6) | (8, 9)) && problem.dropout == 0.0;
    let blocks = if problem.dtype == Dtype::F32 { FLOAT_BLOCKS } else { HALF_BLOCKS };
    let size = problem.head_dim().max(problem.value_dim());
    let fits = |block: &Block| block.head_dim >= size && (block.small || !small) && (named || !block.special);
    let raises = AttentionError::Raises { backend, because: "no kernel for this head dimension" };
    blocks.into_iter().find(fits).ok_or(raises)
}

impl Block {
    /// `Params::workspace_size`: fp32 tiles for the query's gradient, each after four words for its lock; for half
    /// precision also for the key's and the value's where they do not stay in registers, once a split of the keys.
    fn workspace(&self, problem: &Problem) -> u64 {
        const LOCK: u64 = 4;
        let heads = problem.batch() * problem.heads();
        let staged = problem.dtype != Dtype::F32 && self.head_dim > self.queries;
        let key_blocks = problem.keys().div_ceil(self.keys);
        let mut splits = if heads >= 256 && problem.keys() <= 2 * self.keys { 1 } else { key_blocks };
        if staged {
            splits = splits.min(200 / heads);
        }
        let rows = splits.max(1) * self.keys;
        let staging = |dim: u64| if staged { rows * dim.next_multiple_of(self.queries) } else { 0 };
        let tiles = problem.queries().div_ceil(self.queries) * problem.head_dim().div_ceil(self.keys);
        let elements = staging(problem.head_dim()) + staging(problem.value_dim());
        let elements = elements + tiles * (LOCK + self.queries * self.keys);
        heads * elements.next_multiple_of(4) * FLOAT
    }
}
