//! Operators over lists of tensors: `torch._foreach_*`, and gradient clipping.
//!
//! The lists travel to the kernels as launch arguments (aten/src/ATen/native/cuda/MultiTensorApply.cuh): chunks of 65536
//! elements, in as many launches as needed, and no memory for metadata however many tensors there are.
//!
//! - In place (`_foreach_add_`, `mul_`, `lerp_`, `addcmul_`, `addcdiv_`, `div_`, `zero_`, `copy_`, ...): nothing.
//! - Out of place (`_foreach_sqrt`, `mul`, `div`, `pow`, `neg`, ...): one result a tensor, in the list's order, up front.
//! - `_foreach_norm`: `norm`. `_foreach_max`: the results first, then chunks' maxima in the tensors' own dtype, freed.
//!
//! What optimizers, clipping and the loss scaler make of them stands in `specs/optimizers`.
//!
//! Measured with PyTorch 2.11 and 2.15.

use super::layout::Layout;
use super::reduce::{self, Reduction};
use super::step::{Step, Steps};
use crate::dtype::Dtype;
use crate::lower::device::Device;
use crate::versions::{Change, Rules};

/// Elements that one block of a launch over lists works on.
const CHUNK: u64 = 65536;

/// `_foreach_norm` (orders 1, 2 and infinity) of tensors of `sizes` elements, its results included.
///
/// First a partial norm for every chunk of every tensor, in the accumulation type; then a scalar a tensor; then the partial norms
/// are freed. Read from aten/src/ATen/native/cuda/ForeachReduceOp.cu.
pub fn norm(rules: Rules, sizes: &[u64], dtype: Dtype) -> Vec<Step> {
    let mut steps = Steps::default();
    partial_norms(rules, sizes, dtype).into_iter().for_each(|bytes| steps.hold(bytes));
    sizes.iter().for_each(|_| steps.output(dtype.size()));
    steps.finish()
}

/// Bytes of the partial norms of `_foreach_norm`: as if all tensors were as long as the longest, or packed, behind where each
/// tensor's begin.
fn partial_norms(rules: Rules, sizes: &[u64], dtype: Dtype) -> Vec<u64> {
    let width = dtype.size().max(Dtype::F32.size());
    let chunks = || sizes.iter().map(|size| size.div_ceil(CHUNK));
    if rules.has(Change::PackedForeachNorm) {
        return vec![(sizes.len() as u64 + 1) * Dtype::I64.size(), chunks().sum::<u64>() * width];
    }
    vec![chunks().max().unwrap_or(0) * sizes.len() as u64 * width]
}

/// How `clip_grad_norm_` takes the norms of the gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norms {
    /// All at once with `_foreach_norm`: the default on CUDA.
    Foreach,
    /// One after another (`foreach=False`).
    Each,
}

/// `torch.nn.utils.clip_grad_norm_` for gradients of `sizes` elements and one dtype, all contiguous. The total norm that
/// it returns is the step list's `Output`; the scaling of the gradients itself is in place.
///
/// Read from torch/nn/utils/clip_grad.py: the norms, their stack, the stack's norm; free stack and norms; then total + 1e-6,
/// its reciprocal, times the limit; free the first two; the clamped coefficient; free the unclamped; free it at the end.
pub fn clip_grad_norm(device: &Device, sizes: &[u64], dtype: Dtype, norms: Norms) -> Vec<Step> {
    let mut steps = Steps::default();
    if sizes.is_empty() {
        return steps.finish();
    }
    let scalar = dtype.size();
    let kept = match norms {
        Norms::Foreach => norms_at_once(device.rules, sizes, dtype, &mut steps),
        Norms::Each => norms_one_by_one(device, sizes, dtype, &mut steps),
    };
    let stack = steps.keep(sizes.len() as u64 * scalar);
    steps.output(scalar);
    steps.append(&whole_norm(device, sizes.len() as u64, dtype));
    steps.free(stack);
    kept.into_iter().rev().for_each(|number| steps.free(number));
    let increased = steps.keep(scalar);
    let reciprocal = steps.keep(scalar);
    let coefficient = steps.keep(scalar);
    steps.free(reciprocal);
    steps.free(increased);
    steps.hold(scalar);
    steps.free(coefficient);
    steps.finish()
}

fn norms_at_once(rules: Rules, sizes: &[u64], dtype: Dtype, steps: &mut Steps) -> Vec<usize> {
    let partial: Vec<usize> = partial_norms(rules, sizes, dtype).into_iter().map(|bytes| steps.keep(bytes)).collect();
    let kept = sizes.iter().map(|_| steps.keep(dtype.size())).collect();
    partial.into_iter().rev().for_each(|number| steps.free(number));
    kept
}

fn norms_one_by_one(device: &Device, sizes: &[u64], dtype: Dtype, steps: &mut Steps) -> Vec<usize> {
    let norm_of = |&size: &u64| {
        let number = steps.keep(dtype.size());
        steps.append(&whole_norm(device, size, dtype));
        number
    };
    sizes.iter().map(norm_of).collect()
}

/// What `vector_norm` of a contiguous tensor holds meanwhile.
fn whole_norm(device: &Device, elements: u64, dtype: Dtype) -> Vec<Step> {
    reduce::scratch(device, Reduction::Norm, &Layout::contiguous(&[elements]), dtype, &[true], dtype)
}
