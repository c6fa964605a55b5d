//! Batch norm: by cuDNN in float32 and, with weights in float32, in float16; else by PyTorch's own kernels.

use smallvec::smallvec;

use super::elementwise::first_shape;
use super::operands::one;
use super::{Autocast, Class, Lowered, Operands, Returns, Row};
use crate::dtype::Dtype;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::memory_format::{MemoryFormat, empty, laid_out, lies_in, suggested};
use crate::lower::tensor::Tensor;

pub(super) const ROWS: &[Row] = &[Row {
    name: "batch_norm",
    signature: "input, weight, bias, running_mean, running_var, training",
    returns: Returns::One,
    source: "aten/src/ATen/native/Normalization.cpp; cudnn/BatchNorm.cpp; cuda/Normalization.cu",
    class: Class::Elements,
    autocast: Autocast::Keeps,
    savable: &[],
    aten: &[(
        "batch_norm.default",
        "input, weight!, bias!, running_mean!, running_var!, training:train",
        "momentum, eps, cudnn_enabled",
    )],
    shapes: first_shape,
    lower: batch_norm,
}];

/// The largest batches of cuDNN's kernels, in training and else (`_select_batch_norm_backend`).
const LARGEST_BATCH: [u64; 2] = [880_801, 65_535];

/// `_select_batch_norm_backend`
fn by_cudnn(input: &Tensor, given: [&Option<Tensor>; 4], training: bool) -> bool {
    let [weight, bias, mean, variance] = given;
    let Some(weight) = weight else { return false };
    let types = match input.dtype {
        Dtype::BF16 => false,
        Dtype::F16 => weight.dtype == Dtype::F32,
        _ => weight.dtype != Dtype::BF16,
    };
    let has_statistics = mean.is_some() && variance.is_some() || mean.is_none() && variance.is_none() && training;
    types
        && bias.is_some()
        && has_statistics
        && input.sizes.len() >= 3
        && input.sizes[0] <= LARGEST_BATCH[usize::from(!training)]
        && input.count() < i32::MAX as u64
}

/// Whether kernels over channels sum in several rows of blocks, for which they take more memory (cuda/Normalization.cuh,
/// `flexible_launch_configs` with `coop_flag`).
fn needs_staging(input: &Tensor) -> bool {
    let channels = input.sizes[1].max(1);
    let places = input.count() / channels;
    let power = |number: u64| 1 << number.max(1).ilog2();
    let width: u64 = power(channels).min(32);
    let height: u64 = power(places.div_ceil(16)).min(512 / width);
    places.div_ceil(height * 16) >= 8
}

/// Whether channels are innermost (Normalization.cu, `batch_norm_use_channels_last_kernels`).
fn goes_by_channels(input: &Tensor) -> bool {
    input.sizes.len() == 4 && lies_in(input, MemoryFormat::ChannelsLast)
        || input.is_contiguous() && input.strides.get(1) == Some(&1)
}

/// Where channels are innermost, as in an image of one place, the sums are made first (cuda/Normalization.cu,
/// `batch_norm_backward_cuda`; Normalization.cuh, `batch_norm_backward_reduce_cuda_channels_last_template`).
fn native_by_channels(context: &mut Context, input: &Tensor, weight: Dtype, wanted: [bool; 3]) -> Gradients {
    let op = "native_batch_norm_backward";
    let mut vector = |dtype| context.empty(op, &[input.sizes[1]], dtype);
    let _sums = [vector(Dtype::F32), vector(Dtype::F32)];
    let (second, third) = (vector(weight), vector(weight));
    let first = wanted[0].then(|| empty(context, op, &input.sizes, input.dtype, suggested(input)));
    smallvec![first, Some(second), Some(third)]
}

/// The result, and the mean and the inverse deviation of the batch, which training saves. The running statistics and the
/// count of batches change in place. cuDNN's reserve, like its workspaces, is not known, and counts as 0 bytes.
fn batch_norm(context: &mut Context, operands: &Operands) -> Lowered {
    let input = operands.tensor(0)?;
    let [weight, bias, mean, variance] = [1, 2, 3, 4].map(|place| operands.optional(place).cloned());
    let training = operands.flag(5);
    let cudnn = by_cudnn(input, [&weight, &bias, &mean, &variance], training);
    let format = suggested(input);
    let by_channels = !cudnn && training && goes_by_channels(input);
    if by_channels && needs_staging(input) {
        return Err("batch norm with channels last over so many places is not known in this precision".to_owned());
    }
    let input = if cudnn { laid_out(context, input, format) } else { input.clone() };
    let inputs = [Some(&input), weight.as_ref(), bias.as_ref()];
    let tracked: Vec<&Tensor> = inputs.into_iter().flatten().collect();
    let saved = context.records(&tracked).then(|| {
        [inputs[0], inputs[1], mean.as_ref(), variance.as_ref()].map(|tensor| tensor.map(|tensor| context.save(tensor)))
    });
    let of_weights = weight.as_ref().map_or(input.dtype, |weight| weight.dtype);
    let op = if cudnn { "cudnn_batch_norm" } else { "native_batch_norm" };
    let output = context.empty_like(op, &input);
    let statistics: Vec<Tensor> = if cudnn && !training {
        Vec::new()
    } else {
        let dtype = if cudnn { of_weights } else { Dtype::F32 };
        (0..2).map(|_| context.empty(op, &[input.sizes[1]], dtype)).collect()
    };
    if let Some(saved) = saved {
        let statistics: Vec<_> = statistics.iter().map(|tensor| context.save(tensor)).collect();
        let wanted = inputs.map(|tensor| tensor.is_some_and(|tensor| tensor.requires_grad()));
        let name = if cudnn { "CudnnBatchNormBackward0" } else { "NativeBatchNormBackward0" };
        context.record(
            name,
            &inputs,
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let unpacked = [0, 1, 2, 3].map(|number: usize| saved[number].as_ref().map(|saved| saved.get(context)));
                let [Some(input), weight, _, _] = unpacked else { return Gradients::new() };
                let channels = weight.as_ref().map_or_else(|| smallvec![input.sizes[1]], |weight| weight.sizes.clone());
                let _statistics: Vec<Tensor> = statistics.iter().map(|saved| saved.get(context)).collect();
                let _g = if cudnn { laid_out(context, g, suggested(&input)) } else { g.clone() };
                if by_channels {
                    return native_by_channels(context, &input, of_weights, wanted);
                }
                let op = if cudnn { "cudnn_batch_norm_backward" } else { "native_batch_norm_backward" };
                let first =
                    (cudnn || wanted[0]).then(|| empty(context, op, &input.sizes, input.dtype, suggested(&input)));
                let mut like_weight =
                    |wanted: bool| (cudnn || wanted).then(|| context.empty(op, &channels, of_weights));
                let second = like_weight(wanted[1]);
                smallvec![first, second, like_weight(wanted[2])]
            }),
        );
    }
    one(output)
}
