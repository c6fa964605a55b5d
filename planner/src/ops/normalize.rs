//! Normalizations along dimensions: layer norm and softmax.

use std::rc::Rc;

use smallvec::{SmallVec, smallvec};

use super::call::one as one_shape;
use super::elementwise::{first_shape, to};
use super::operands::one;
use super::views::contiguous;
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::layer_norm::{Backward, backward};
use crate::lower::kernels::memory_format::{MemoryFormat, laid_out, suggested};
use crate::lower::tensor::{Storage, Tensor, TensorData, contiguous_strides};
use crate::versions::Change;

/// Softmax, which attention written in Python ends with.
pub const SOFTMAX: &str = "softmax";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "layer_norm",
        signature: "input, weight, bias",
        returns: Returns::One,
        source: "aten/src/ATen/native/layer_norm.cpp; cuda/layer_norm_kernel.cu",
        class: Class::Elements,
        autocast: Autocast::Full,
        savable: &["native_layer_norm.default"],
        aten: &[("layer_norm.default", "input, weight!, bias=None", "normalized_shape, eps, cudnn_enable")],
        shapes: layer_norm_shape,
        lower: layer_norm,
    },
    Row {
        name: "rms_norm",
        signature: "input, weight=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/layer_norm.cpp, rms_norm_symint; cuda/layer_norm_kernel.cu",
        class: Class::Elements,
        autocast: Autocast::Full,
        savable: &["_fused_rms_norm.default"],
        aten: &[],
        shapes: layer_norm_shape,
        lower: rms_norm,
    },
    Row {
        name: SOFTMAX,
        signature: "input, dim, dtype=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/SoftMax.cpp, softmax; cuda/SoftMax.cu",
        class: Class::Elements,
        autocast: Autocast::FullResult,
        savable: &["_softmax.default"],
        aten: &[("softmax.int", "self, dim, dtype=None", ""), ("_softmax.default", "self, dim", "half_to_float=False")],
        shapes: first_shape,
        lower: |context, a| one(softmax(context, a.tensor(0)?, a.dtype(2))),
    },
    Row {
        name: "log_softmax",
        signature: "input, dim, dtype=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/SoftMax.cpp, log_softmax; cuda/SoftMax.cu",
        class: Class::Elements,
        autocast: Autocast::FullResult,
        savable: &["_log_softmax.default"],
        aten: &[
            ("log_softmax.int", "self, dim, dtype=None", ""),
            ("_log_softmax.default", "self, dim", "half_to_float=False"),
        ],
        shapes: first_shape,
        lower: |context, a| {
            let x = a.tensor(0)?;
            let target = a.dtype(2).unwrap_or(x.dtype);
            let x = if (x.dtype, target) == (Dtype::F16, Dtype::F32) { x.clone() } else { to(context, x, target) };
            let names = ["_log_softmax", "LogSoftmaxBackward0", "_log_softmax_backward_data"];
            one(normalized(context, &x, target, names))
        },
    },
    Row {
        name: "group_norm",
        signature: "input, num_groups, weight=None, bias=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/group_norm.cpp; cuda/group_norm_kernel.cu",
        class: Class::Elements,
        autocast: Autocast::Full,
        savable: &["native_group_norm.default"],
        aten: &[("group_norm.default", "input, num_groups, weight=None, bias=None", "eps, cudnn_enabled")],
        shapes: first_shape,
        lower: group_norm,
    },
];

fn layer_norm_shape(call: &Call) -> Shapes {
    let input = call.shape(0)?;
    if let Ok(weight) = call.shape(1)
        && !input.ends_with(weight)
    {
        return Err(format!("an input of shape {input:?} does not fit a weight of shape {weight:?}"));
    }
    one_shape(input.clone())
}

/// The type in which half precision accumulates (aten/src/ATen/AccumulateType.h).
fn accumulator(dtype: Dtype) -> Dtype {
    if dtype == Dtype::F64 { Dtype::F64 } else { Dtype::F32 }
}

/// What a normalization of rows is made of.
struct OfRows {
    op: &'static str,
    node: &'static str,
    backward: &'static str,
    /// How many numbers are kept of each row.
    statistics: usize,
}

/// Result, mean and rstd; backward needs the input, mean, rstd and the weight.
fn layer_norm(context: &mut Context, operands: &Operands) -> Lowered {
    const LAYER: OfRows = OfRows {
        op: "native_layer_norm",
        node: "NativeLayerNormBackward0",
        backward: "native_layer_norm_backward",
        statistics: 2,
    };
    of_rows(context, (operands.tensor(0)?, operands.optional(1), operands.optional(2)), &LAYER)
}

/// Result and rstd.
fn rms_norm(context: &mut Context, operands: &Operands) -> Lowered {
    const RMS: OfRows = OfRows {
        op: "_fused_rms_norm",
        node: "FusedRmsNormBackward0",
        backward: "_fused_rms_norm_backward",
        statistics: 1,
    };
    let (input, weight) = (operands.tensor(0)?, operands.optional(1));
    if weight.is_some_and(|weight| weight.dtype != input.dtype) {
        return Err("torch.nn.RMSNorm of an input whose type is not its weight's is not planned".to_owned());
    }
    of_rows(context, (input, weight, None), &RMS)
}

fn of_rows(
    context: &mut Context,
    (input, weight, bias): (&Tensor, Option<&Tensor>, Option<&Tensor>),
    kind: &'static OfRows,
) -> Lowered {
    let inputs: smallvec::SmallVec<[&Tensor; 3]> = std::iter::once(input).chain(weight).chain(bias).collect();
    let saved_inputs = context
        .records(&inputs)
        .then(|| (context.save(input), weight.map(|weight| context.save(weight)), bias.map(|bias| context.save(bias))));
    let width: u64 = weight.map_or(*input.sizes.last().unwrap_or(&1), |weight| weight.count());
    let rows = input.count() / width.max(1);
    let outputs = context.aten_outputs(kind.op, |context| {
        let op = kind.op;
        let copy = (!input.is_contiguous()).then(|| context.empty(op, &input.sizes, input.dtype));
        let output = context.empty(op, &input.sizes, input.dtype);
        let mut made: SmallVec<[Tensor; 3]> =
            (0..kind.statistics).map(|_| context.empty(op, &[rows], accumulator(input.dtype))).collect();
        drop(copy);
        made.push(output);
        made
    });
    let Some((output, statistics)) = outputs.split_last() else { return Err("a norm gives a tensor".to_owned()) };
    if let Some((saved_input, saved_weight, saved_bias)) = saved_inputs {
        let statistics: SmallVec<[_; 2]> = statistics.iter().map(|tensor| context.save(tensor)).collect();
        let needs = |tensor: Option<&Tensor>| tensor.is_some_and(|tensor| tensor.requires_grad());
        let wanted = [input.requires_grad(), needs(weight), needs(bias)];
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let input = saved_input.get(context);
            let weight = saved_weight.as_ref().map(|saved| saved.get(context));
            let _bias = saved_bias.as_ref().map(|saved| saved.get(context));
            let _statistics: SmallVec<[_; 2]> = statistics.iter().map(|saved| saved.get(context)).collect();
            let call = Backward {
                gradient_is_contiguous: g.is_contiguous(),
                input_is_contiguous: input.is_contiguous(),
                ..Backward::new(rows, width, input.dtype, wanted)
            };
            let steps = backward(&context.device, &call);
            let results = context.scratch(kind.backward, &steps);
            gradients(results, wanted, [Some(&input), weight.as_ref(), weight.as_ref()], g.dtype)
        };
        context.record(kind.node, &[Some(input), weight, bias], &[output], Box::new(apply));
    }
    one(output.clone())
}

/// The wanted gradients, each with the sizes of what it is the gradient of.
fn gradients(
    results: impl IntoIterator<Item = Rc<Storage>>,
    wanted: [bool; 3],
    like: [Option<&Tensor>; 3],
    dtype: Dtype,
) -> Gradients {
    let mut results = results.into_iter();
    let tensor = |(wanted, like): (bool, Option<&Tensor>)| {
        let sizes = like.filter(|_| wanted)?.sizes.clone();
        let strides = contiguous_strides(&sizes);
        Some(TensorData::new(results.next()?, dtype, sizes, strides))
    };
    wanted.into_iter().zip(like).map(tensor).collect()
}

/// Result, mean and rstd of each group; the kernel makes a scale and a shift for each channel of an image. Backward needs the input, mean, rstd and the
/// weight (`GroupNormKernelImplInternal`, `GroupNormBackwardKernelImplInternal`).
fn contiguous_of_gradient(context: &mut Context, g: &Tensor) -> Tensor {
    if g.is_contiguous() { g.clone() } else { context.empty("clone", &g.sizes, g.dtype) }
}

fn group_norm(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, weight, bias) = (operands.tensor(0)?, operands.optional(2), operands.optional(3));
    let groups = u64::try_from(operands.int(1)?).ok().filter(|groups| *groups > 0).ok_or("a group norm has groups")?;
    let [batch, channels, ref places @ ..] = input.sizes[..] else {
        return Err("a group norm takes a batch with channels".to_owned());
    };
    let is_one = places.iter().product::<u64>() == 1;
    let keeps =
        context.device.rules.has(Change::GroupNormKeepsFormat) && suggested(input) == MemoryFormat::ChannelsLast;
    let x = if keeps { laid_out(context, input, MemoryFormat::ChannelsLast) } else { contiguous(context, input) };
    let inputs: smallvec::SmallVec<[&Tensor; 3]> = std::iter::once(&x).chain(weight).chain(bias).collect();
    let saved = context.records(&inputs).then(|| (context.save(&x), weight.map(|weight| context.save(weight))));
    let mixed = weight.is_some_and(|weight| weight.dtype != x.dtype);
    let statistic = if mixed { accumulator(x.dtype) } else { x.dtype };
    let wide = accumulator(x.dtype);
    let outputs = context.aten_outputs("native_group_norm", |context| {
        let op = "native_group_norm";
        let output = context.empty_like(op, &x);
        let [mean, rstd] = [(); 2].map(|()| context.empty(op, &[batch, groups], statistic));
        let is_rounded = statistic != wide && context.device.rules.has(Change::GroupNormWideStatistics);
        let rounded = is_rounded.then(|| [(); 2].map(|()| context.empty(op, &[batch, groups], wide)));
        if !is_one && (weight.is_some() || bias.is_some()) {
            let scale = context.empty(op, &[batch, channels], wide);
            let shift = context.empty(op, &[batch, channels], wide);
            drop((shift, scale));
        }
        drop(rounded);
        smallvec![mean, rstd, output]
    });
    let [mean, rstd, output] = &outputs[..] else { return Err("group norm gives three tensors".to_owned()) };
    if let Some((saved_input, saved_weight)) = saved {
        let statistics = [mean, rstd].map(|tensor| context.save(tensor));
        let needs = |tensor: Option<&Tensor>| tensor.is_some_and(|tensor| tensor.requires_grad());
        let wanted = [x.requires_grad(), needs(weight), needs(bias)];
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let op = "native_group_norm_backward";
            let x = saved_input.get(context);
            let weight = saved_weight.as_ref().map(|saved| saved.get(context));
            let _statistics = [0, 1].map(|number: usize| statistics[number].get(context));
            let _g = match keeps {
                true => laid_out(context, g, MemoryFormat::ChannelsLast),
                false => contiguous_of_gradient(context, g),
            };
            let first = wanted[0].then(|| context.empty_like(op, &x));
            let like_weight = |context: &mut Context| {
                let dtype = weight.as_ref().map_or(x.dtype, |weight| weight.dtype);
                context.empty(op, &[channels], dtype)
            };
            let second = wanted[1].then(|| like_weight(context));
            let third = wanted[2].then(|| like_weight(context));
            let sums = (!is_one).then(|| [(); 2].map(|()| context.empty(op, &[batch, channels], wide)));
            if wanted[0] {
                let parts = [(); 2].map(|()| context.empty(op, &[batch, groups], wide));
                let scale =
                    (!is_one && !keeps && weight.is_some()).then(|| context.empty(op, &[batch, channels], wide));
                drop((scale, parts));
            }
            drop(sums);
            smallvec![first, second, third]
        };
        context.record("NativeGroupNormBackward0", &[Some(&x), weight, bias], &[output], Box::new(apply));
    }
    one(output.clone())
}

/// Where another type is asked for, the input is converted first, but float16 to float32, which the kernel does.
pub(crate) fn softmax(context: &mut Context, x: &Tensor, dtype: Option<Dtype>) -> Tensor {
    let target = dtype.unwrap_or(x.dtype);
    let fused = x.dtype == Dtype::F16 && target == Dtype::F32;
    let x = if fused { x.clone() } else { to(context, x, target) };
    normalized(context, &x, target, ["_softmax", "SoftmaxBackward0", "_softmax_backward_data"])
}

/// The operator, its node and its backward, of softmax and of log-softmax.
type Names = [&'static str; 3];

/// Softmax or log-softmax. The result is kept; backward of softmax makes the product of gradient and result beside its own
/// result (native/cuda/SoftMax.cu, `softmax_backward_cuda_out`), that of log-softmax does not.
pub(super) fn normalized(context: &mut Context, x: &Tensor, dtype: Dtype, names: Names) -> Tensor {
    let output = context.aten(names[0], |context| {
        let output = context.empty(names[0], &x.sizes, dtype);
        if !x.is_contiguous() {
            context.empty(names[0], &x.sizes, x.dtype);
        }
        output
    });
    if context.records(&[x]) {
        let saved = context.save(&output);
        let from = x.dtype;
        let log = names[0] == "_log_softmax";
        context.record(
            names[1],
            &[Some(x)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let saved = saved.get(context);
                let copy = (!g.is_contiguous()).then(|| context.empty(names[2], &g.sizes, g.dtype));
                let result = context.empty(names[2], &saved.sizes, from);
                if !log {
                    context.empty("mul", &saved.sizes, g.dtype);
                }
                drop(copy);
                smallvec![Some(result)]
            }),
        );
    }
    output
}
