//! Pooling of images.

use smallvec::smallvec;

use super::call::one as one_shape;
use super::convolution::places;
use super::operands::one;
use super::reduce::mean_of;
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::memory_format::{MemoryFormat, empty, laid_out, strides, suggested};
use crate::lower::tensor::{Tensor, TensorData, contiguous_strides};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "max_pool2d",
        signature: "input, kernel_size, stride, padding, ceil_mode=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/Pooling.cpp, max_pool2d; cuda/DilatedMaxPool2d.cu",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: window_shape,
        lower: max_pool,
    },
    Row {
        name: "avg_pool2d",
        signature: "input, kernel_size, stride, padding, ceil_mode=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/AveragePool2d.cu",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: window_shape,
        lower: average_pool,
    },
    Row {
        name: "adaptive_avg_pool2d",
        signature: "input, output_size",
        returns: Returns::One,
        source: "aten/src/ATen/native/AdaptiveAveragePooling.cpp, adaptive_avg_pool2d",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("adaptive_avg_pool2d.default", "self, output_size:one", "")],
        shapes: |call| match (&call.shape(0)?[..], both(&call.ints(1)?)?) {
            ([batch, channels, _, _], [rows, columns]) if rows > 0 && columns > 0 => {
                one_shape(smallvec![*batch, *channels, rows as u64, columns as u64])
            }
            _ => Err("adaptive_avg_pool2d takes images of four dimensions and gives at least one place".to_owned()),
        },
        lower: |context, a| match both(&a.ints(1)?)? {
            [1, 1] => one(whole_average(context, a.tensor(0)?)?),
            places => one(adaptive_average(context, a.tensor(0)?, places.map(i64::unsigned_abs))),
        },
    },
];

fn window_shape(call: &Call) -> Shapes {
    one_shape(pooled(call.shape(0)?, &[call.ints(1)?, call.ints(2)?, call.ints(3)?], call.flag(4))?)
}

/// The places of a window (kernel, stride, padding), each number for both dimensions or one for each (aten/src/ATen/native/Pool.h,
/// pooling_output_shape): with `ceil_mode` a last window may reach beyond the image, but not begin there.
fn pooled(sizes: &[u64], [kernel, stride, padding]: &[Vec<i64>; 3], ceil_mode: bool) -> Result<Dims, String> {
    let [batch, channels, rows, columns] = *sizes else { return Err("an image has four dimensions".to_owned()) };
    let along = |size: u64, dim: usize| {
        let of = |numbers: &[i64]| numbers.get(dim).or(numbers.first()).copied().ok_or("a window has a size");
        let (kernel, stride, padding) = (of(kernel)?, of(stride)?, of(padding)?);
        let window = u64::try_from(kernel).ok().filter(|kernel| *kernel > 0).ok_or("a window of no size")?;
        let whole = places(size, window, [stride, padding, 1])?;
        let reached = (whole as i64 - 1) * stride + kernel;
        let begins_within = whole as i64 * stride < size as i64 + padding;
        let is_left = reached < size as i64 + 2 * padding && begins_within;
        Ok::<u64, String>(if ceil_mode && is_left { whole + 1 } else { whole })
    };
    Ok(smallvec![batch, channels, along(rows, 0)?, along(columns, 1)?])
}

/// A number for each dimension, or one for both.
fn both(given: &[i64]) -> Result<[i64; 2], String> {
    match *given {
        [one] => Ok([one, one]),
        [rows, columns] => Ok([rows, columns]),
        _ => Err(format!("{given:?} is no number for each dimension")),
    }
}

fn window_of(operands: &Operands, x: &Tensor) -> Result<Dims, String> {
    pooled(&x.sizes, &[operands.ints(1)?, operands.ints(2)?, operands.ints(3)?], operands.flag(4))
}

/// The largest values and where they were, which backward needs with the input; both are made without autograd too.
fn max_pool(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let sizes = window_of(operands, x)?;
    let saved = context.records(&[x]).then(|| context.save(x));
    let format = suggested(x);
    let output = empty(context, "max_pool2d_with_indices", &sizes, x.dtype, format);
    let indices = empty(context, "max_pool2d_with_indices", &sizes, Dtype::I64, format);
    let copy = laid_out(context, x, format);
    drop(copy);
    if let Some(saved) = saved {
        let saved = [saved, context.save(&indices)];
        drop(indices);
        record_pool(
            context,
            ["MaxPool2DWithIndicesBackward0", "max_pool2d_with_indices_backward"],
            x,
            &output,
            move |context| saved.iter().map(|saved| saved.get(context)).collect(),
        );
    }
    one(output)
}

/// Backward asks for the input's sizes, and keeps it.
fn average_pool(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let sizes = window_of(operands, x)?;
    let saved = context.records(&[x]).then(|| context.save(x));
    let output = empty(context, "avg_pool2d", &sizes, x.dtype, suggested(x));
    let copy = laid_out(context, x, suggested(x));
    drop(copy);
    if let Some(saved) = saved {
        let names = ["AvgPool2DBackward0", AVERAGE];
        record_pool(context, names, x, &output, move |context| vec![saved.get(context)]);
    }
    one(output)
}

/// The backward of average pooling.
const AVERAGE: &str = "avg_pool2d_backward";

/// Backward makes its result in the input's format, then lays the gradient out alike; the node holds what it saved, the input
/// first, until it has run (`unpack` into locals of `apply`, derivatives.yaml's generated code).
fn record_pool(
    context: &mut Context,
    [node, op]: [&'static str; 2],
    x: &Tensor,
    output: &Tensor,
    saved: impl Fn(&mut Context) -> Vec<Tensor> + 'static,
) {
    context.record(
        node,
        &[Some(x)],
        &[output],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let saved = saved(context);
            let Some(input) = saved.first() else { return Gradients::new() };
            let format = suggested(input);
            let result = empty(context, op, &input.sizes, g.dtype, format);
            // the input is laid out alike as well: before the gradient by avg_pool2d_backward_out_cuda (cuda/AveragePool2d.cu), behind it by
            // max_pool2d_with_indices_backward_out_cuda (cuda/DilatedMaxPool2d.cu)
            let is_average = op == AVERAGE;
            let before = is_average.then(|| laid_out(context, input, format));
            let g = laid_out(context, g, format);
            let behind = (!is_average).then(|| laid_out(context, input, format));
            drop((behind, g, before));
            smallvec![Some(result)]
        }),
    );
}

/// Backward keeps the input for its sizes, and adds into zeros (cuda/AdaptiveAveragePooling.cu).
fn adaptive_average(context: &mut Context, x: &Tensor, [rows, columns]: [u64; 2]) -> Tensor {
    let saved = context.records(&[x]).then(|| context.save(x));
    let sizes = [x.sizes[0], x.sizes[1], rows, columns];
    let output = empty(context, "_adaptive_avg_pool2d", &sizes, x.dtype, suggested(x));
    let copy = laid_out(context, x, suggested(x));
    drop(copy);
    if let Some(saved) = saved {
        let names = ["AdaptiveAvgPool2DBackward0", "_adaptive_avg_pool2d_backward"];
        record_pool(context, names, x, &output, move |context| vec![saved.get(context)]);
    }
    output
}

/// The mean over rows and columns, which channels last give their strides (`as_strided_`).
fn whole_average(context: &mut Context, x: &Tensor) -> Result<Tensor, String> {
    let mean = mean_of(context, x, &[-1, -2], true)?;
    if suggested(x) != MemoryFormat::ChannelsLast {
        return Ok(mean);
    }
    let sizes = mean.sizes.clone();
    let laid =
        TensorData::new(mean.storage.clone(), mean.dtype, sizes.clone(), strides(&sizes, MemoryFormat::ChannelsLast));
    if context.records(&[&mean]) {
        // FunctionsManual.cpp, as_strided_backward: the gradient is put into zeros of the memory's size
        context.record(
            "AsStridedBackward0",
            &[Some(&mean)],
            &[&laid],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let memory = context.empty("new_zeros", &[g.count()], g.dtype);
                smallvec![Some(TensorData::view(&memory, sizes.clone(), contiguous_strides(&sizes)))]
            }),
        );
    }
    Ok(laid)
}
