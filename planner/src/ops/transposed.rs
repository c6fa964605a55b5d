//! Transposed convolutions of images, by cuDNN: forward is what a convolution's backward does to its gradient.

use smallvec::smallvec;

use super::call::one as one_shape;
use super::convolution::{Window, along_both, cudnn_backward, format};
use super::operands::one;
use super::reduce::reduce;
use super::{Autocast, Call, Class, Lowered, Multiplied, Operands, Returns, Row, Shapes};
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::memory_format::{empty, laid_out, suggested};
use crate::lower::kernels::reduce::Reduction;
use crate::lower::tensor::Tensor;

pub(super) const ROWS: &[Row] = &[Row {
    name: "conv_transpose2d",
    signature: "input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1",
    returns: Returns::One,
    source: "aten/src/ATen/native/Convolution.cpp, ConvBackend::CudnnTranspose; cudnn/ConvShared.cpp",
    class: Class::Product { left: 0, right: Some(1), of: Multiplied::Images },
    autocast: Autocast::Lower,
    savable: &[],
    aten: &[(
        "conv_transpose2d.input",
        "input, weight, bias=None, stride:one=1, padding:one=0, output_padding:one=0, groups=1, dilation:one=1",
        "",
    )],
    shapes: transposed_shape,
    lower: transposed,
}];

/// `conv_input_size` (ConvUtils.h): the input of which a convolution would give this one.
fn sizes(
    input: &[u64],
    weight: &[u64],
    [stride, padding, beyond, dilation]: [[i64; 2]; 4],
    groups: u64,
) -> Result<Dims, String> {
    let fits = input.len() == 4 && weight.len() == 4 && input[1] == weight[0];
    if !fits {
        return Err(format!("an input of shape {input:?} does not fit a transposed weight of shape {weight:?}"));
    }
    let mut sizes: Dims = smallvec![input[0], weight[1] * groups];
    for place in 0..2 {
        let reach = dilation[place] * (weight[2 + place] as i64 - 1);
        let size = (input[2 + place] as i64 - 1) * stride[place] - 2 * padding[place] + reach + beyond[place] + 1;
        match u64::try_from(size) {
            Ok(size) if size > 0 => sizes.push(size),
            _ => return Err(format!("an image of shape {input:?} becomes {size} wide")),
        }
    }
    Ok(sizes)
}

/// Stride, padding, output padding and dilation along both dimensions.
fn numbers(given: [&[i64]; 4]) -> Result<[[i64; 2]; 4], String> {
    let mut all = [[0; 2]; 4];
    for (numbers, given) in all.iter_mut().zip(given) {
        *numbers = along_both(given, false, 0)?;
    }
    Ok(all)
}

fn transposed_shape(call: &Call) -> Shapes {
    let given = [call.ints(3)?, call.ints(4)?, call.ints(5)?, call.ints(7)?];
    let numbers = numbers([&given[0], &given[1], &given[2], &given[3]])?;
    one_shape(sizes(call.shape(0)?, call.shape(1)?, numbers, call.int(6)?.max(1) as u64)?)
}

/// The bias is added in place (`_convolution`).
fn transposed(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, weight, bias) = (operands.tensor(0)?, operands.tensor(1)?, operands.optional(2));
    let given = [operands.ints(3)?, operands.ints(4)?, operands.ints(5)?, operands.ints(7)?];
    let numbers = numbers([&given[0], &given[1], &given[2], &given[3]])?;
    let window = Window {
        stride: numbers[0],
        padding: numbers[1],
        dilation: numbers[3],
        groups: operands.int(6)?.max(1) as u64,
    };
    let sizes = sizes(&input.sizes, &weight.sizes, numbers, window.groups)?;
    let inputs: smallvec::SmallVec<[&Tensor; 3]> = [input, weight].into_iter().chain(bias).collect();
    let saved = context.records(&inputs).then(|| [input, weight].map(|tensor| context.save(tensor)));
    let output = {
        let format = format(input, weight);
        let input = laid_out(context, input, format);
        let output = empty(context, "cudnn_convolution_transpose", &sizes, input.dtype, format);
        let _weight = laid_out(context, weight, format);
        output
    };
    if let Some(saved) = saved {
        let needs = |tensor: Option<&Tensor>| tensor.is_some_and(|tensor| tensor.requires_grad());
        let wanted = [needs(Some(input)), needs(Some(weight)), needs(bias)];
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let [input, weight] = [0, 1].map(|number: usize| saved[number].get(context));
            // cudnn/ConvShared.cpp, cudnn_convolution_transpose_backward: the gradient is laid out once, for both
            let laid = laid_out(context, g, suggested(&input));
            let [first, second] = cudnn_backward(context, &laid, &input, &weight, window, wanted);
            drop(laid);
            let all_but_channels: smallvec::SmallVec<[bool; 5]> = (0..g.sizes.len()).map(|dim| dim != 1).collect();
            let third = wanted[2].then(|| reduce(context, "sum", Reduction::Sum, g, &all_but_channels, false, g.dtype));
            smallvec![first, second, third]
        };
        context.record("ConvolutionBackward0", &[Some(input), Some(weight), bias], &[&output], Box::new(apply));
    }
    one(output)
}
