//! Convolutions of images, by cuDNN or by PyTorch's kernel for one filter a channel.

use smallvec::smallvec;

use super::call::one as one_shape;
use super::operands::one;
use super::reduce::reduce;
use super::{Autocast, Call, Class, Multiplied, Operands, Returns, Row, Shapes};
use crate::bytes::Bytes;
use crate::dtype::Dtype;
use crate::graph::{Argument, Dims, Graph};
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::memory_format::{MemoryFormat, empty, laid_out, suggested};
use crate::lower::kernels::reduce::Reduction;
use crate::lower::measured::four;
use crate::lower::tensor::{Tensor, TensorData};
use crate::read::profiles::{ConvolutionKey, Direction};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "conv1d",
        signature: "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
        aten: &[(
            "conv1d.default",
            "input, weight, bias=None, stride:one=1, padding:one=0, dilation:one=1, groups=1",
            "",
        )],
        ..CONV2D
    },
    CONV2D,
    Row {
        name: "conv3d",
        aten: &[(
            "conv3d.default",
            "input, weight, bias=None, stride:one=1, padding:one=0, dilation:one=1, groups=1",
            "",
        )],
        ..CONV2D
    },
];

const CONV2D: Row = Row {
    name: "conv2d",
    signature: "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
    returns: Returns::One,
    source: "aten/src/ATen/native/Convolution.cpp; cudnn/ConvShared.cpp; cuda/DepthwiseConv2d.cu",
    class: Class::Product { left: 0, right: Some(1), of: Multiplied::Images },
    autocast: Autocast::Lower,
    savable: &[],
    aten: &[
        ("conv2d.default", "input, weight, bias=None, stride:one=1, padding:one=0, dilation:one=1, groups=1", ""),
        (
            "convolution.default",
            "input, weight, bias, stride:one, padding:one, dilation:one, groups",
            "transposed=False, output_padding",
        ),
    ],
    shapes: convolution_shape,
    lower: |context, a| one(convolution(context, a)?),
};

/// The numbers of a call, along the last two dimensions.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub stride: [i64; 2],
    pub padding: [i64; 2],
    pub dilation: [i64; 2],
    pub groups: u64,
}

/// What is given for one dimension holds for all; a sequence is an image of one row, which has no stride, no padding and no dilation.
pub(super) fn along_both(given: &[i64], is_sequence: bool, of_one_row: i64) -> Result<[i64; 2], String> {
    match *given {
        [one] if is_sequence => Ok([of_one_row, one]),
        [both] => Ok([both, both]),
        [.., rows, columns] if !is_sequence => Ok([rows, columns]),
        _ => Err(format!("{given:?} is no number for each dimension")),
    }
}

fn convolution_shape(call: &Call) -> Shapes {
    let (input, weight) = (call.shape(0)?, call.shape(1)?);
    let groups = call.int(6)?;
    let fits = matches!(input.len(), 3..=5)
        && weight.len() == input.len()
        && groups > 0
        && input[1] == weight[1].saturating_mul(groups as u64);
    if !fits {
        return Err(format!("an input of shape {input:?} does not fit {groups} groups of weight {weight:?}"));
    }
    let numbers = [call.ints(3)?, call.ints(4)?, call.ints(5)?];
    one_shape(sizes(input, weight, [&numbers[0], &numbers[1], &numbers[2]])?)
}

/// The sizes of what it gives.
fn sizes(input: &[u64], weight: &[u64], [stride, padding, dilation]: [&[i64]; 3]) -> Result<Dims, String> {
    let along = |numbers: &[i64], dim: usize| match numbers {
        [one] => Ok(*one),
        _ => numbers.get(dim - 2).copied().ok_or_else(|| format!("{numbers:?} is no number for each dimension")),
    };
    let mut sizes: Dims = smallvec![input[0], weight[0]];
    for dim in 2..input.len() {
        sizes.push(places(
            input[dim],
            weight[dim],
            [along(stride, dim)?, along(padding, dim)?, along(dilation, dim)?],
        )?);
    }
    Ok(sizes)
}

/// How many places a window of that length has (Convolution.h, `conv_output_size`; Pool.h, `pooling_output_shape`).
pub(super) fn places(size: u64, window: u64, [stride, padding, dilation]: [i64; 3]) -> Result<u64, String> {
    let reach =
        dilation.checked_mul(window as i64 - 1).and_then(|reach| (size as i64 + 2 * padding).checked_sub(reach + 1));
    match reach {
        Some(reach) if reach >= 0 && stride > 0 => Ok((reach / stride) as u64 + 1),
        _ => Err(format!("an image of {size} is smaller than a window of {window}")),
    }
}

/// The most that cuDNN may take as a workspace for a convolution of this program, with elements of so many bytes: its
/// columns as an explicit matrix product has them (input channels, window, places of the result), and input, weight and
/// result once more in another layout. PyTorch takes what cuDNN says on the device (cudnn/Conv_v8.cpp,
/// `getWorkspaceSize`).
pub fn convolution_workspace(graph: &Graph, element: u64) -> Bytes {
    let convolutions = graph.ops.iter().filter(|op| matches!(op.operator.name, "conv1d" | "conv2d" | "conv3d"));
    let bytes = convolutions.map(|op| match (&op.arguments[..], &op.outputs[..]) {
        ([Argument::Tensor(input), Argument::Tensor(weight), .., Argument::Int(groups)], [output]) => {
            let [input, weight, output] = [input, weight, output].map(|id| &graph.shapes[id.index()]);
            let window: u64 = weight[1..].iter().product::<u64>().saturating_mul(groups.unsigned_abs());
            let places: u64 = output[0].saturating_mul(output[2..].iter().product());
            let elements = |shape: &Dims| shape.iter().product::<u64>();
            let copies = elements(input).saturating_add(elements(weight)).saturating_add(elements(output));
            window.saturating_mul(places).saturating_add(copies).saturating_mul(element)
        }
        _ => 0,
    });
    Bytes(bytes.max().unwrap_or(0))
}

/// Whether cuDNN is asked (`use_cudnn_depthwise`, `is_depthwise`): one filter a channel has a kernel of PyTorch's own.
fn by_cudnn(input: &Tensor, weight: &Tensor, window: Window) -> bool {
    let depthwise =
        input.sizes[1] == window.groups && window.groups > 1 && weight.sizes[0].is_multiple_of(input.sizes[1]);
    if !depthwise || format(input, weight) == MemoryFormat::ChannelsLast {
        return true;
    }
    let half = input.dtype == Dtype::F16 && weight.dtype == Dtype::F16;
    half && window.dilation == [1, 1] && input.sizes[1] >= 32 && cudnn_is_faster(input, weight, window.stride)
}

/// `check_cudnn_depthwise_workload_with_filter`
fn cudnn_is_faster(input: &Tensor, weight: &Tensor, [down, stride]: [i64; 2]) -> bool {
    let [batch, channels, rows, columns] = input.sizes[..] else { return false };
    if rows == 1 && stride == 1 {
        return true;
    }
    if down != stride {
        return false;
    }
    let filter = weight.sizes[3];
    if weight.sizes[2] != filter || !matches!(filter, 1 | 3 | 5) || columns < 7 {
        return false;
    }
    match (stride, batch, filter) {
        (1, _, _) => true,
        (2, 1, 1) => columns <= 28,
        (2, 1, _) => true,
        (2, _, 1) => batch <= 16 && channels >= 128 && columns <= 7,
        (2, _, _) => channels >= 512 || (channels >= 256 && columns >= 28),
        _ => false,
    }
}

/// `cudnn_conv_suggest_memory_format`
pub(super) fn format(a: &Tensor, b: &Tensor) -> MemoryFormat {
    if suggested(a) == MemoryFormat::ChannelsLast { MemoryFormat::ChannelsLast } else { suggested(b) }
}

fn convolution(context: &mut Context, operands: &Operands) -> Result<Tensor, String> {
    let (input, weight, bias) = (operands.tensor(0)?, operands.tensor(1)?, operands.optional(2));
    let is_sequence = input.sizes.len() == 3;
    let numbers = [operands.ints(3)?, operands.ints(4)?, operands.ints(5)?];
    let window = Window {
        stride: along_both(&numbers[0], is_sequence, 1)?,
        padding: along_both(&numbers[1], is_sequence, 0)?,
        dilation: along_both(&numbers[2], is_sequence, 1)?,
        groups: operands.int(6)?.max(1) as u64,
    };
    let inputs: smallvec::SmallVec<[&Tensor; 3]> = [input, weight].into_iter().chain(bias).collect();
    let saved = context.records(&inputs).then(|| [input, weight].map(|tensor| context.save(tensor)));
    let sizes = sizes(&input.sizes, &weight.sizes, [&numbers[0], &numbers[1], &numbers[2]])?;
    let output = if is_sequence {
        let sizes = [sizes[0], sizes[1], 1, sizes[2]];
        let input = in_rows(context, input);
        as_sequence(&forward(context, &as_image(&input), &as_image(weight), window, &sizes))
    } else {
        forward(context, input, weight, window, &sizes)
    };
    if let Some(saved) = saved {
        let needs = |tensor: Option<&Tensor>| tensor.is_some_and(|tensor| tensor.requires_grad());
        let wanted = [needs(Some(input)), needs(Some(weight)), needs(bias)];
        context.record(
            "ConvolutionBackward0",
            &[Some(input), Some(weight), bias],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let [input, weight] = [0, 1].map(|number: usize| saved[number].get(context));
                if !is_sequence {
                    return backward(context, g, &input, &weight, window, wanted);
                }
                let input = in_rows(context, &input);
                let [g, input, weight] = [g, &input, &weight].map(as_image);
                let mut gradients = backward(context, &g, &input, &weight, window, wanted);
                for gradient in gradients.iter_mut().take(2) {
                    *gradient = gradient.as_ref().map(as_sequence);
                }
                gradients
            }),
        );
    }
    Ok(output)
}

/// A sequence is made contiguous first, lest it be taken for an image with channels last (`_convolution`, `convolution_backward`).
fn in_rows(context: &mut Context, x: &Tensor) -> Tensor {
    if x.is_contiguous() { x.clone() } else { context.empty("clone", &x.sizes, x.dtype) }
}

/// A sequence is an image of one row (`view4d`).
fn as_image(x: &Tensor) -> Tensor {
    let [batch, channels, places] = x.sizes[..] else { return x.clone() };
    let row = places * x.strides[2];
    TensorData::view(x, smallvec![batch, channels, 1, places], smallvec![x.strides[0], x.strides[1], row, x.strides[2]])
}

/// `view3d`
fn as_sequence(x: &Tensor) -> Tensor {
    let pick = |from: &Dims| [0, 1, 3].iter().map(|dim| from[*dim]).collect();
    TensorData::view(x, pick(&x.sizes), pick(&x.strides))
}

/// The bias is added in place (`_convolution`).
fn forward(context: &mut Context, input: &Tensor, weight: &Tensor, window: Window, sizes: &[u64]) -> Tensor {
    if !by_cudnn(input, weight, window) {
        let _input = laid_out(context, input, MemoryFormat::Contiguous);
        let _weight = laid_out(context, weight, MemoryFormat::Contiguous);
        return context.empty("_conv_depthwise2d", sizes, input.dtype);
    }
    let format = format(input, weight);
    let input = laid_out(context, input, format);
    let output = empty(context, "cudnn_convolution", sizes, input.dtype, format);
    let weight = laid_out(context, weight, format);
    context.convolve(|| key(Direction::Forward, &input, &weight, window, format));
    output
}

/// How a profile knows a convolution that cuDNN computes.
fn key(
    direction: Direction,
    input: &Tensor,
    weight: &Tensor,
    window: Window,
    format: MemoryFormat,
) -> Option<ConvolutionKey> {
    let Window { stride, padding, dilation, .. } = window;
    let alike = |[rows, columns]: [i64; 2]| (rows == columns).then_some(columns.unsigned_abs());
    let (stride, padding, dilation) = (alike(stride)?, alike(padding)?, alike(dilation)?);
    let (input_sizes, weight) = (four(&input.sizes)?, four(&weight.sizes)?);
    let (dtype, channels_last) = (input.dtype.name().to_owned(), format == MemoryFormat::ChannelsLast);
    Some(ConvolutionKey { direction, input: input_sizes, weight, stride, padding, dilation, dtype, channels_last })
}

/// `convolution_backward`: the gradients of the input and of the weight by the same library, that of the bias by a sum.
fn backward(
    context: &mut Context,
    g: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    window: Window,
    wanted: [bool; 3],
) -> Gradients {
    let [first, second] = if by_cudnn(input, weight, window) {
        cudnn_backward(context, g, input, weight, window, wanted)
    } else {
        depthwise_backward(context, g, input, weight, wanted)
    };
    let all_but_channels: smallvec::SmallVec<[bool; 5]> = (0..g.sizes.len()).map(|dim| dim != 1).collect();
    let third = wanted[2].then(|| reduce(context, "sum", Reduction::Sum, g, &all_but_channels, false, g.dtype));
    smallvec![first, second, third]
}

/// cudnn/ConvShared.cpp, `cudnn_convolution_backward`
pub(super) fn cudnn_backward(
    context: &mut Context,
    g: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    window: Window,
    wanted: [bool; 3],
) -> [Option<Tensor>; 2] {
    let input = if wanted[1] { laid_out(context, input, format(input, weight)) } else { input.clone() };
    let other = suggested(g) != suggested(&input);
    let g = if other { empty(context, "_to_copy", &g.sizes, g.dtype, suggested(&input)) } else { g.clone() };
    let first = wanted[0].then(|| {
        let format = format(&g, weight);
        let result = empty(context, "cudnn_convolution_backward_input", &input.sizes, g.dtype, format);
        let weight = laid_out(context, weight, format);
        let _g = laid_out(context, &g, format);
        context.convolve(|| key(Direction::Input, &input, &weight, window, format));
        result
    });
    let second = wanted[1].then(|| {
        let format = format(&input, &g);
        let _g = laid_out(context, &g, format);
        let input = laid_out(context, &input, format);
        let result = empty(context, "cudnn_convolution_backward_weight", &weight.sizes, weight.dtype, format);
        context.convolve(|| key(Direction::Weight, &input, weight, window, format));
        result
    });
    [first, second]
}

/// cuda/DepthwiseConv2d.cu, `conv_depthwise2d_backward_cuda_out`: the weight's gradient is made first.
fn depthwise_backward(
    context: &mut Context,
    g: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    wanted: [bool; 3],
) -> [Option<Tensor>; 2] {
    let g = laid_out(context, g, MemoryFormat::Contiguous);
    let second = wanted[1].then(|| {
        let _input = laid_out(context, input, MemoryFormat::Contiguous);
        context.empty("_conv_depthwise2d_backward", &weight.sizes, g.dtype)
    });
    let first = wanted[0].then(|| {
        let _weight = laid_out(context, weight, MemoryFormat::Contiguous);
        context.empty("_conv_depthwise2d_backward", &input.sizes, g.dtype)
    });
    [first, second]
}
