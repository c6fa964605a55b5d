//! What operators of the forward and backward pass allocate, where it is not plain from their shapes.
//!
//! Notation: +x allocates, -x frees; results that stay are named; n is the size of the operand in its own dtype.
//! "Nothing" means nothing beside the results. All of it measured with PyTorch 2.11; sources are below aten/src/ATen.
//!
//! # Softmax and losses (native/cuda/SoftMax.cu, NLLLoss2d.cu, native/cuda/Loss.cu, native/LossNLL.cpp)
//!
//! - `softmax`, `log_softmax`: +result. An input that is not contiguous is copied after: +result +copy -copy.
//! - With `dtype=float32`: from float16 fused, +result only; from bfloat16 **not** fused: +float32 copy +result -copy.
//! - `_softmax_backward_data`: +grad_input +(grad * output, n in the gradient's dtype) -that: `softmax_backward`. Gradients
//!   and outputs that are not contiguous are copied in between, which is not modelled.
//! - `_log_softmax_backward_data`: +grad_input, nothing else. A gradient that is not contiguous: +copy +grad_input -copy. An
//!   output that is not: its copy likewise.
//! - `nll_loss_forward`: +output, then +total_weight, both in the input's dtype: 1 element each, with `reduction="none"`
//!   the output is one a row (total_weight still allocated). `nll_loss_backward`: +grad_input. The same for nll_loss2d.
//! - `cross_entropy` without autograd: +log_softmax +loss +total_weight -total_weight -log_softmax.
//! - `mse_loss`, `smooth_l1_loss` with a mean: +result of **n** bytes, though it is a scalar (it is made unreduced, then
//!   resized, which keeps its storage), +n [scratch of the mean] -n. As long as the loss lives, so do the n bytes.
//! - `huber_loss` with a mean: +n +scalar [scratch] -n. `l1_loss`, `binary_cross_entropy_with_logits`: +n +n +scalar
//!   [scratch], then the two n freed, the second first. Backward passes of mse, huber, smooth_l1: +grad_input.
//!
//! # Pointwise (native/TensorIterator.cpp, native/cuda/*.cu)
//!
//! - gelu (both kinds), silu, relu, tanh, sigmoid, softplus, hardswish, leaky_relu, clamp, pow, rsqrt, exp, neg and their
//!   backward passes: one result. `glu` too; `glu_backward`: +grad_input n.
//! - `native_dropout(train=True)`: **the mask first** (bool, 1 byte an element), then the result. `F.dropout`
//!   is this in training, and without autograd frees the mask at its end; with p = 0 or in eval mode it is its input, and
//!   nothing is allocated. `native_dropout_backward`: +grad_input.
//! - Operands of different dtypes are converted inside the kernel: `bfloat16 + float32` gives +result alone.
//! - `where(mask, x, 0.0)` with a Python number: +a scalar tensor of x's element (a fill on the GPU) +result -scalar. With a
//!   tensor on the GPU: +result. `masked_fill(mask, number)`: +result; `masked_fill_`: nothing.
//! - `arange`, `linspace`, `full`, `eye`, `zeros`, `rand*`, `tril`, `triu`, `roll`, `flip`, `pad`, `repeat`,
//!   `repeat_interleave(int)`: the result. `torch.arange(..., dtype=float32)` too.
//! - `isinf`: +abs n +result -abs. `isnan`: +result.
//! - `x.to(other dtype)`: +result; to its own dtype: nothing, the same tensor.
//!
//! # Moving rows (native/cuda/Shape.cu, Indexing.cu, TensorCompare.cu)
//!
//! - `cat` of up to 4 dimensions, any number of tensors, contiguous or not, channels-last too: +result. Its metadata
//!   travels as launch arguments, so no pinned or device buffers. 5 dimensions, or inputs of different dtypes: +result
//!   too. `stack`: +result (its inputs are views).
//! - `index_select`, `x[indices]`, `embedding`, `gather`, `scatter_`, `scatter_add_`, `index_add_`,
//!   `index_put_(accumulate=False)`, `masked_fill_`: nothing. Their backward passes (`gather`, `index_select`): +zeros of the
//!   input's shape. `x[indices]` backward, which accumulates and so sorts: +zeros of the input's shape,
//!   then `index_put_accumulate`.
//! - `nonzero`, `x[mask]`, `masked_select`: the result's size depends on values; +4 +scan -scan +scan -... , unmodelled.
//!
//! # Normalization (native/cuda/{Normalization,group_norm_kernel}.cu; layers: `super::layer_norm`)
//!
//! - `native_batch_norm` (training): +result +save_mean +save_invstd (float32, a value a channel). Contiguous input: nothing
//!   else. Channels-last: a staging buffer and semaphores after the results, unmodelled. Backward: +grad_input +grad_weight
//!   +grad_bias. Through cuDNN (`F.batch_norm` of float16 or float32 on a real GPU): its reserve is a fourth result.
//! - `native_group_norm`: +result +mean +rstd (the input's dtype) +a +b (accumulation type, batch * channels
//!   each; not for a single position) -b -a. Backward: `group_norm_backward`.
//!
//! # Reductions with more than one kernel
//!
//! - `logsumexp`, `std_mean`, `var`, `norm`, `sum`, ...: `super::reduce`. `std` is `var` with the same scratch.
//! - `F.normalize(x)`: +norm +clamped -norm +result -clamped.
//! - `any`/`all` after `isnan` or `==`: the bool tensor, then `reduce::scratch` of Logical.

use super::cub::{self, Architecture};
use super::step::{Step, Steps};
use crate::dtype::Dtype;
use crate::lower::device::Device;
use crate::versions::{Change, Rules};

/// `_softmax_backward_data` of `n` elements into `dtype`: its result and the product of gradient and output, which are both
/// in `gradient`'s dtype (float32 where a float16 softmax was computed as float32).
pub fn softmax_backward(n: u64, gradient: Dtype, dtype: Dtype) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.output(n * dtype.size());
    steps.pass(n * gradient.size());
    steps.finish()
}

/// `native_group_norm_backward` of `[batch, channels, ...]`, contiguous, all three gradients wanted, its results included.
pub fn group_norm_backward(rules: Rules, [batch, channels, positions, groups]: [u64; 4], dtype: Dtype) -> Vec<Step> {
    let accumulator = dtype.size().max(Dtype::F32.size());
    let (by_channel, by_group) = (batch * channels * accumulator, batch * groups * accumulator);
    let mut steps = Steps::default();
    steps.output(batch * channels * positions * dtype.size());
    steps.output(channels * dtype.size());
    steps.output(channels * dtype.size());
    if positions > 1 || !rules.has(Change::GroupNormOfOnePosition) {
        steps.hold(by_channel);
        steps.hold(by_channel);
    }
    let second = steps.keep(by_group);
    let third = steps.keep(by_group);
    let first = (positions > 1).then(|| steps.keep(by_channel));
    [Some(third), Some(second), first].into_iter().flatten().for_each(|number| steps.free(number));
    steps.finish()
}

/// The accumulating `index_put_` in the backward pass of `x[i]` or `x[i, j, ...]`: `tensors` int64 index tensors of
/// `indices` elements each (expanded to one another's shape), which address the leading dimensions of `x`, of `positions`
/// elements together. The bounds checks of an `index_put_` that a program calls itself are not part of it.
///
/// Each tensor is wrapped (negative indices) and scaled by its stride, added up, then sorted with a range, by as many
/// digits of 8 bits as positions need. Read from aten/src/ATen/native/cuda/Indexing.cu.
pub fn index_put_accumulate(device: &Device, indices: u64, tensors: u64, positions: u64) -> Vec<Step> {
    let bytes = indices * Dtype::I64.size();
    let mut steps = Steps::default();
    let first = steps.keep(bytes);
    steps.hold(bytes); // the linear index
    steps.free(first);
    for _ in 1..tensors {
        let wrapped = steps.keep(bytes);
        let scaled = steps.keep(bytes);
        steps.free(wrapped);
        steps.free(scaled);
    }
    (0..3).for_each(|_| steps.hold(bytes)); // sorted, where each came from, and a range
    let digits = (u64::BITS - positions.saturating_sub(1).max(1).leading_zeros()).div_ceil(8);
    steps.hold(cub::sort_by_digits(Architecture::of(device), digits.into(), indices));
    steps.finish()
}
