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
fn by_cudnn(input: &Tensor, weight: &Tensor, training: bool) -> bool {
    let types = match input.dtype {
        Dtype::BF16 => false,
        Dtype::F16 => weight.dtype == Dtype::F32,
        _ => weight.dtype != Dtype::BF16,
    };
    types
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

/// Where channels are innermost, as in an image of one place, the sums are made first (cuda/Normalization.cu,
/// `batch_norm_backward_cuda`; Normalization.cuh, `batch_norm_backward_reduce_cuda_channels_last_template`).
fn native_by_channels(context: &mut Context, input: &Tensor, weight: &Tensor, wanted: [bool; 3]) -> Gradients {
    let op = "native_batch_norm_backward";
    let mut vector = |dtype| context.empty(op, &[input.sizes[1]], dtype);
    let _sums = [vector(Dtype::F32), vector(Dtype::F32)];
    let (second, third) = (vector(weight.dtype), vector(weight.dtype));
    let first = wanted[0].then(|| empty(context, op, &input.sizes, input.dtype, suggested(input)));
    smallvec![first, Some(second), Some(third)]
}

/// The result, and the mean and the inverse deviation of the batch, which training saves. The running statistics and the
/// count of batches change in place. cuDNN's reserve, like its workspaces, is not known, and counts as 0 bytes.
fn batch_norm(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, weight, bias) = (operands.tensor(0)?, operands.tensor(1)?, operands.tensor(2)?);
    let training = operands.flag(5);
    let cudnn = by_cudnn(input, weight, training);
    let format = suggested(input);
    let by_channels = !cudnn && training && lies_in(input, MemoryFormat::ChannelsLast);
    if by_channels && needs_staging(input) {
        return Err("batch norm with channels last over so many places is not known in this precision".to_owned());
    }
    let input = if cudnn { laid_out(context, input, format) } else { input.clone() };
    let running = [operands.tensor(3)?, operands.tensor(4)?];
    let inputs = [&input, weight, bias];
    let saved =
        context.records(&inputs).then(|| [&input, weight, running[0], running[1]].map(|tensor| context.save(tensor)));
    let op = if cudnn { "cudnn_batch_norm" } else { "native_batch_norm" };
    let output = context.empty_like(op, &input);
    let statistics: Vec<Tensor> = if cudnn && !training {
        Vec::new()
    } else {
        let dtype = if cudnn { weight.dtype } else { Dtype::F32 };
        (0..2).map(|_| context.empty(op, &[input.sizes[1]], dtype)).collect()
    };
    if let Some(saved) = saved {
        let statistics: Vec<_> = statistics.iter().map(|tensor| context.save(tensor)).collect();
        let wanted = inputs.map(|tensor| tensor.requires_grad());
        let name = if cudnn { "CudnnBatchNormBackward0" } else { "NativeBatchNormBackward0" };
        context.record(
            name,
            &inputs.map(Some),
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let [input, weight, _, _] = [0, 1, 2, 3].map(|number: usize| saved[number].get(context));
                let _statistics: Vec<Tensor> = statistics.iter().map(|saved| saved.get(context)).collect();
                let _g = if cudnn { laid_out(context, g, suggested(&input)) } else { g.clone() };
                if by_channels {
                    return native_by_channels(context, &input, &weight, wanted);
                }
                let op = if cudnn { "cudnn_batch_norm_backward" } else { "native_batch_norm_backward" };
                let first =
                    (cudnn || wanted[0]).then(|| empty(context, op, &input.sizes, input.dtype, suggested(&input)));
                let mut like_weight =
                    |wanted: bool| (cudnn || wanted).then(|| context.empty(op, &weight.sizes, weight.dtype));
                let second = like_weight(wanted[1]);
                smallvec![first, second, like_weight(wanted[2])]
            }),
        );
    }
    one(output)
}
