//! cuDNN's fused attention: `_scaled_dot_product_cudnn_attention` (`cuda/attention.cu`), `run_cudnn_SDP_fprop` and
//! `run_cudnn_SDP_bprop` (`aten/src/ATen/native/cudnn/MHA.cpp`).
//!
//! **On a real GPU each forward and each backward allocates a workspace on top**, after everything else and freed on
//! return, whose size only cuDNN knows: a profile may have it. What is here of the backward's workspace is the part that
//! cuDNN's frontend asks for itself: the softmax's sums and the query's gradient in fp32 (measured with PyTorch 2.11).
//! On the GPU it is one buffer: this part and cuDNN's own.

use super::layout::Layout;
use super::tape::{Held, Reference, Tape, Value, held};
use super::{AttentionError, Nodes, Problem, Run, mask};
use crate::run::Backend;

const FLOAT: u64 = 4;
const LONG: u64 = 8;

/// What `ScaledDotProductCudnnAttentionBackward0` holds.
#[derive(Debug)]
pub struct Saved {
    references: Vec<Reference>,
    output: Layout,
}

impl Saved {
    /// Those of the caller's tensors among it.
    pub fn held(&self) -> Vec<Held> {
        held(&self.references)
    }
}

/// Runs the call.
pub(super) fn forward(tape: &mut Tape, problem: &Problem) -> Result<Run, AttentionError> {
    let bias = mask::additive(tape, problem);
    tape.kernel_begins();
    let seed = tape.tensor("seed", Layout::contiguous(&[]), LONG);
    let offset = tape.tensor("offset", Layout::contiguous(&[]), LONG);
    let layout = output(problem);
    if layout.last_stride() != 1 {
        let because = "the output would not have stride 1 in its last dimension";
        return Err(AttentionError::Raises { backend: Backend::Cudnn, because });
    }
    let output = tape.tensor("output", layout.clone(), problem.dtype.size());
    let mut references = Vec::new();
    if problem.any_grad() {
        let rows = [problem.batch(), problem.heads(), problem.queries(), 1];
        let logsumexp = tape.tensor("logsumexp", Layout::contiguous(&rows), FLOAT);
        references.extend(bias.iter().map(|bias| mask::reference(tape, bias)));
        references.extend([Held::Key, Held::Query, Held::Value].map(Reference::Held));
        references.extend([Reference::Own(logsumexp), Reference::Held(Held::Output)]);
        references.extend([offset, seed].map(Reference::Own));
        workspace(tape, problem.cudnn_workspaces[0]);
        tape.kernel_ends();
    } else {
        workspace(tape, problem.cudnn_workspaces[0]);
        tape.kernel_ends();
        tape.drop(&seed);
        tape.drop(&offset);
    }
    bias.iter().for_each(|bias| tape.drop(bias));
    Ok(Run { output, nodes: Nodes::Cudnn(Saved { references, output: layout }) })
}

/// One buffer that goes when the kernel has run.
fn workspace(tape: &mut Tape, bytes: u64) {
    if bytes > 0 {
        let workspace = tape.tensor("workspace", Layout::contiguous(&[bytes]), 1);
        tape.drop(&workspace);
    }
}

/// `alloc_with_matching_layout`: in the query's order of dimensions.
fn output(problem: &Problem) -> Layout {
    let shape = problem.query.shape_with_last(problem.value_dim());
    if shape == problem.query.shape { problem.query.like() } else { problem.query.matching(&shape) }
}

/// Runs the backward.
pub(super) fn backward(tape: &mut Tape, problem: &Problem, saved: Saved, gradient: Value) -> [Option<Value>; 4] {
    let element = problem.dtype.size();
    let inputs = [
        ("gradient of the query", &problem.query),
        ("gradient of the key", &problem.key),
        ("gradient of the value", &problem.value),
    ];
    let gradients = inputs.map(|(what, layout)| tape.tensor(what, layout.like(), element));
    let copied = gradient.layout.last_stride() != 1;
    let copy = copied.then(|| tape.tensor("gradient of the output, in its layout", saved.output.clone(), element));
    let rows = problem.batch() * problem.heads() * problem.queries();
    workspace(tape, (rows * (problem.head_dim() + 1) * FLOAT).max(problem.cudnn_workspaces[1]));
    copy.iter().for_each(|copy| tape.drop(copy));
    let kept = [0, 1, 2].map(|at| problem.requires_grad[at].then(|| gradients[at].clone()));
    (0..3).filter(|&at| kept[at].is_none()).for_each(|at| tape.drop(&gradients[at]));
    tape.drop(&gradient);
    saved.references.iter().for_each(|reference| tape.release(reference));
    let [query, key, value] = kept;
    [query, key, value, None]
}
