//! What looks at windows and borders of images beside convolutions and pools, and attention of other dimensions than four, which is
//! composed of other operators.

use smallvec::smallvec;

use super::call::{dimension, one as one_shape};
use super::elementwise::first_shape;
use super::operands::one;
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::tensor::{Tensor, TensorData, contiguous_strides};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "im2col",
        signature: "input, kernel_size, dilation, padding, stride",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Im2Col.cu; derivatives.yaml, im2col",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("im2col.default", "self, kernel_size, dilation, padding, stride", "")],
        shapes: columns_shape,
        lower: |context, a| {
            let call = shape_of_columns(&a.tensor(0)?.sizes, [a.ints(1)?, a.ints(2)?, a.ints(3)?, a.ints(4)?])?;
            moved(context, a.tensor(0)?, call, ["im2col", "Im2ColBackward0", "col2im"])
        },
    },
    // Tensor.unfold: a view
    Row {
        name: "windows_along",
        signature: "input, dimension, size, step",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorShape.cpp, unfold",
        class: Class::Moves,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("unfold.default", "self, dimension, size, step", "")],
        shapes: |call| one_shape(along(call.shape(0)?, [call.int(1)?, call.int(2)?, call.int(3)?])?.1),
        lower: |context, a| {
            let x = a.tensor(0)?;
            if context.records(&[x]) {
                return Err("the gradient of a tensor's unfold is not known".to_owned());
            }
            let (dim, sizes) = along(&x.sizes, [a.int(1)?, a.int(2)?, a.int(3)?])?;
            let mut strides = x.strides.clone();
            strides.push(strides[dim]);
            strides[dim] *= a.int(3)?.unsigned_abs();
            one(TensorData::view(x, sizes, strides))
        },
    },
    Row {
        name: "col2im",
        signature: "input, output_size, kernel_size",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Col2Im.cu; derivatives.yaml, col2im",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("col2im.default", "self, output_size, kernel_size", "dilation, padding, stride")],
        shapes: |call| one_shape(shape_of_image(call.shape(0)?, &call.ints(1)?, &call.ints(2)?)?),
        lower: |context, a| {
            let sizes = shape_of_image(&a.tensor(0)?.sizes, &a.ints(1)?, &a.ints(2)?)?;
            moved(context, a.tensor(0)?, sizes, ["col2im", "Col2ImBackward0", "im2col"])
        },
    },
    Row {
        name: "reflection_pad2d",
        signature: "input, padding",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/ReflectionPad.cu; derivatives.yaml, reflection_pad2d",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("reflection_pad2d.default", "self, padding", "")],
        shapes: |call| one_shape(around(call.shape(0)?, &call.ints(1)?)?),
        lower: reflected,
    },
    // `_safe_softmax`: rows that are -inf throughout are 0
    Row {
        name: "safe_softmax",
        signature: "input",
        returns: Returns::One,
        source: "aten/src/ATen/native/SoftMax.cpp, _safe_softmax",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: first_shape,
        lower: safe_softmax,
    },
    // What attention is given under autocast, before it is composed (autocast_mode.h, scaled_dot_product_attention).
    Row {
        name: "lowered",
        signature: "input",
        returns: Returns::One,
        source: "aten/src/ATen/autocast_mode.h, AT_FORALL_LOWER_PRECISION_FP",
        class: Class::Elements,
        autocast: Autocast::Lower,
        savable: &[],
        aten: &[],
        shapes: first_shape,
        lower: |_, a| one(a.tensor(0)?.clone()),
    },
];

/// Two numbers, or one that stands for both.
fn both(numbers: &[i64]) -> Result<[i64; 2], String> {
    match numbers {
        [one] => Ok([*one, *one]),
        [first, second] => Ok([*first, *second]),
        _ => Err("a window of an image has two dimensions".to_owned()),
    }
}

fn columns_shape(call: &Call) -> Shapes {
    one_shape(shape_of_columns(call.shape(0)?, [call.ints(1)?, call.ints(2)?, call.ints(3)?, call.ints(4)?])?)
}

/// Batch, what a window holds, windows.
fn shape_of_columns(sizes: &[u64], window: [Vec<i64>; 4]) -> Result<Dims, String> {
    let [batch, channels, rows, columns] = sizes else {
        return Err("images of four dimensions are unfolded".to_owned());
    };
    let [kernel, dilation, padding, stride] =
        [both(&window[0])?, both(&window[1])?, both(&window[2])?, both(&window[3])?];
    let places = |size: u64, at: usize| {
        let reach = dilation[at] * (kernel[at] - 1) + 1;
        let room = size as i64 + 2 * padding[at] - reach;
        if room < 0 || stride[at] < 1 {
            Err("a window is larger than its image".to_owned())
        } else {
            Ok(room / stride[at] + 1)
        }
    };
    let count = places(*rows, 0)? * places(*columns, 1)?;
    let held = channels * (kernel[0] * kernel[1]).unsigned_abs();
    Ok(smallvec![*batch, held, count.unsigned_abs()])
}

/// The image that columns are folded to.
fn shape_of_image(sizes: &[u64], output: &[i64], kernel: &[i64]) -> Result<Dims, String> {
    let [batch, held, _] = sizes else { return Err("columns of three dimensions are folded".to_owned()) };
    let ([rows, columns], kernel) = (both(output)?, both(kernel)?);
    let window = (kernel[0] * kernel[1]).unsigned_abs().max(1);
    Ok(smallvec![*batch, held / window, rows.unsigned_abs(), columns.unsigned_abs()])
}

/// An operator whose backward is the other way round.
fn moved(context: &mut Context, x: &Tensor, sizes: Dims, [op, node, back]: [&'static str; 3]) -> Lowered {
    let output = resized(context, op, x, &sizes);
    if context.records(&[x]) {
        let sizes = x.sizes.clone();
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            smallvec![Some(resized(context, back, g, &sizes))]
        };
        context.record(node, &[Some(x)], &[&output], Box::new(apply));
    }
    one(output)
}

/// The dimension that windows go along, and the sizes with them.
fn along(shape: &[u64], [dim, size, step]: [i64; 3]) -> Result<(usize, Dims), String> {
    let dim = dimension(dim, shape.len())?;
    let left = shape[dim] as i64 - size;
    if left < 0 || size < 0 || step < 1 {
        return Err(format!("windows of {size} every {step} do not fit {} places", shape[dim]));
    }
    let mut sizes = Dims::from(shape);
    sizes[dim] = (left / step + 1) as u64;
    sizes.push(size as u64);
    Ok((dim, sizes))
}

/// What is made like the input, and resized: it stays where it is where it gets no larger (`im2col_cuda`, `resize_`).
fn resized(context: &mut Context, op: &'static str, x: &Tensor, sizes: &Dims) -> Tensor {
    let first = context.empty(op, &x.sizes, x.dtype);
    let copy = (!x.is_contiguous()).then(|| context.empty("clone", &x.sizes, x.dtype));
    let output = match sizes.iter().product::<u64>() > x.count() {
        true => context.empty(op, sizes, x.dtype),
        false => TensorData::new(first.storage.clone(), x.dtype, sizes.clone(), contiguous_strides(sizes)),
    };
    drop(first);
    drop(copy);
    output
}

/// The sizes with what is put on the left, right, above and below.
fn around(sizes: &[u64], padding: &[i64]) -> Result<Dims, String> {
    let ([batch, channels, rows, columns], [left, right, above, below]) = (sizes, padding) else {
        return Err("images of four dimensions are padded by four numbers".to_owned());
    };
    let padded = |size: u64, before: i64, after: i64| (size as i64 + before + after).max(0).unsigned_abs();
    Ok(smallvec![*batch, *channels, padded(*rows, *above, *below), padded(*columns, *left, *right)])
}

fn reflected(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let sizes = around(&x.sizes, &operands.ints(1)?)?;
    let saved = context.records(&[x]).then(|| context.save(x));
    let copy = (!x.is_contiguous()).then(|| context.empty("clone", &x.sizes, x.dtype));
    let output = context.empty("reflection_pad2d", &sizes, x.dtype);
    drop(copy);
    if let Some(saved) = saved {
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let input = saved.get(context);
            let result = context.empty_like("reflection_pad2d_backward", &input);
            let copy = (!g.is_contiguous()).then(|| context.empty("clone", &g.sizes, g.dtype));
            drop(copy);
            smallvec![Some(result)]
        };
        context.record("ReflectionPad2DBackward0", &[Some(x)], &[&output], Box::new(apply));
    }
    one(output)
}

fn safe_softmax(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let output = context.aten("_safe_softmax", |context| {
        let output = context.empty_like("_safe_softmax", x);
        let infinite = context.empty_like_as("eq", x, Dtype::Bool);
        let mut rows = x.sizes.clone();
        if let Some(last) = rows.last_mut() {
            *last = 1;
        }
        let rows = context.empty("all", &rows, Dtype::Bool);
        let zero = context.empty("scalar_tensor", &[], x.dtype);
        drop(zero);
        drop(rows);
        drop(infinite);
        output
    });
    if context.records(&[x]) {
        let saved = context.save(&output);
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let saved = saved.get(context);
            let copy = (!g.is_contiguous()).then(|| context.empty("_softmax_backward_data", &g.sizes, g.dtype));
            let result = context.empty("_softmax_backward_data", &saved.sizes, saved.dtype);
            context.empty("mul", &saved.sizes, g.dtype);
            drop(copy);
            smallvec![Some(result)]
        };
        context.record("SafeSoftmaxBackward0", &[Some(x)], &[&output], Box::new(apply));
    }
    one(output)
}
