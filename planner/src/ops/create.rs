//! Tensors made from nothing: ranges, zeros; and the few operators over integers that inputs and masks need.

use smallvec::smallvec;

use super::call::{dimension, one as one_shape};
use super::elementwise::{cast, first_shape};
use super::operands::one;
use super::views::moving;
use super::{Autocast, Call, Lines, Lower, Lowered, Operand, Operands, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::{Argument, Dims};
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::iterator::output_strides;
use crate::lower::kernels::memory_format::{empty, suggested};
use crate::lower::kernels::sort::cumsum;
use crate::lower::tensor::Tensor;
use crate::trace::{Cached, Category};

const SOURCE: &str = "aten/src/ATen/native/TensorFactories.cpp, PadNd.cpp, ReduceOps.cpp";

pub(super) const ROWS: &[Row] = &[
    row(
        "arange",
        "start, end=None, step=1, dtype=None",
        &[("arange.default", "end", "dtype=5, layout, device, pin_memory")],
        arange_shape,
        arange,
    ),
    row("zeros", "size, dtype=None", &[], sizes_shape, |context, a| filled(context, a, "zeros")),
    row("eye", "size, dtype", &[], sizes_shape, |context, a| filled(context, a, "eye")),
    row("empty_cache", "like", &[], |_| one_shape(smallvec![0]), empty_cache),
    row("scalar_on_device", "like", &[], |_| one_shape(Dims::new()), scalar_on_device),
    row("pad", "input, left, right", &[], pad_shape, pad),
    row(
        "constant_pad_nd",
        "input, pad, value=None",
        &[("pad.default", "self, pad", "mode=constant, value"), ("constant_pad_nd.default", "self, pad", "value")],
        padded_shape,
        constant_pad,
    ),
    Row {
        autocast: Autocast::FullResult,
        ..row(
            "cumsum",
            "input, dim, dtype=None",
            &[("cumsum.default", "self, dim, dtype=None", "")],
            first_shape,
            cumulative_sum,
        )
    },
    row("zeros_like", "input, dtype=None", &[], first_shape, |context, a| {
        let like = a.tensor(0)?.clone();
        one(context.empty_like_as("zeros_like", &like, a.dtype(1).unwrap_or(like.dtype)))
    }),
    row("new_empty", "input, *size", &[], new_shape, |context, a| {
        let sizes: Dims = a.ints(1)?.into_iter().map(size).collect::<Result<_, _>>()?;
        let dtype = a.tensor(0)?.dtype;
        one(context.empty("new_empty", &sizes, dtype))
    }),
    row(
        "empty_like",
        "input",
        &[
            ("zeros_like.default", "self", "dtype=None, layout, device, pin_memory, memory_format"),
            ("ones_like.default", "self", "dtype=None, layout, device, pin_memory, memory_format"),
            ("full_like.default", "self", "fill_value, dtype=None, layout, device, pin_memory, memory_format"),
            ("empty_like.default", "self", "dtype=None, layout, device, pin_memory, memory_format"),
            ("rand_like.default", "self", "dtype=None, layout, device, pin_memory, memory_format"),
        ],
        first_shape,
        |context, a| {
            let like = a.tensor(0)?.clone();
            one(context.empty_like("empty_like", &like))
        },
    ),
    row("as_input", "input", &[], first_shape, |_, a| {
        a.tensor(0)?.storage.becomes(Category::Inputs);
        one(a.tensor(0)?.clone())
    }),
    row("as_cache", "input, kind=None", &[], first_shape, |_, a| {
        let storage = &a.tensor(0)?.storage;
        storage.becomes(Category::KvCache);
        match a.at(1) {
            Operand::Text(kind) if &**kind == "window" => storage.note_cached(Cached::Window),
            Operand::Text(kind) if &**kind == "cross" => storage.note_cached(Cached::Cross),
            Operand::None => {}
            _ => return Err("a cache is of a window, of cross attention or of neither".to_owned()),
        }
        one(a.tensor(0)?.clone())
    }),
];

/// A new tensor: it is filled, which moves data; autocast has it on no list, and none can be saved.
const fn row(
    name: &'static str,
    signature: &'static str,
    aten: Lines,
    shapes: fn(&Call) -> Shapes,
    lower: Lower,
) -> Row {
    moving(name, signature, SOURCE, aten, shapes, lower)
}

fn constant_pad(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let sizes = padded(&x.sizes, &operands.ints(1)?)?;
    let output = empty(context, "constant_pad_nd", &sizes, x.dtype, suggested(x));
    if context.records(&[x]) {
        // FunctionsManual.cpp, constant_pad_nd_backward: the gradient is padded the other way round
        let sizes = x.sizes.clone();
        context.record(
            "ConstantPadNdBackward0",
            &[Some(x)],
            &[&output],
            Box::new(move |context, g| {
                smallvec![g[0].as_ref().map(|g| {
                    let strides = output_strides(&sizes, &[(&sizes, &g.strides)]);
                    context.empty_strided("constant_pad_nd", sizes.clone(), strides, g.dtype)
                })]
            }),
        );
    }
    one(output)
}

fn cumulative_sum(context: &mut Context, operands: &Operands) -> Lowered {
    let (x, dtype) = (operands.tensor(0)?, operands.dtype(2));
    // ReduceOps.cpp, cumsum: integers are added up in int64
    let dtype = dtype.unwrap_or(if x.dtype.is_floating() { x.dtype } else { Dtype::I64 });
    let dim = if x.sizes.is_empty() { 0 } else { dimension(operands.int(1)?, x.sizes.len())? };
    let output = context.empty("cumsum", &x.sizes, dtype);
    summed_up(context, x, dtype, dim);
    if context.records(&[x]) {
        // FunctionsManual.cpp, cumsum_backward: grad.flip(dim).cumsum(dim).flip(dim)
        let from = x.dtype;
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let g = if g.dtype == from { g.clone() } else { cast(context, g, from) };
            if g.count() <= 1 || g.sizes[dim] == 1 {
                return smallvec![Some(g)];
            }
            let turned = context.empty_like("flip", &g);
            let summed = context.empty("cumsum", &turned.sizes, turned.dtype);
            summed_up(context, &turned, turned.dtype, dim);
            let result = context.empty_like("flip", &summed);
            drop((turned, summed));
            smallvec![Some(result)]
        };
        context.record("CumsumBackward0", &[Some(x)], &[&output], Box::new(apply));
    }
    one(output)
}

/// What the kernel takes beside the result: a contiguous copy of the input, and CUB's memory where it goes along the last dimension
/// (cuda/ScanKernels.cpp, ScanUtils.cuh, `scan_dim`).
fn summed_up(context: &mut Context, x: &Tensor, dtype: Dtype, dim: usize) {
    let copy = (!x.is_contiguous()).then(|| context.empty("clone", &x.sizes, x.dtype));
    let length = x.sizes.last().copied().unwrap_or(1);
    let rows = x.count() / length.max(1);
    if dim + 1 >= x.sizes.len() || rows != 1 {
        let rules = context.device.rules;
        context.scratch("cumsum", &cumsum(rules, x.dtype, dtype, rows, length));
    }
    drop(copy);
}

fn size(number: i64) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| format!("{number} is no size"))
}

fn arange_shape(call: &Call) -> Shapes {
    let number = |place| match call.argument(place) {
        Argument::Int(number) => Ok(*number as f64),
        Argument::Float(number) => Ok(*number),
        _ => Err("a range is of numbers".to_owned()),
    };
    let (start, end) = match call.argument(1) {
        Argument::None => (0.0, number(0)?),
        _ => (number(0)?, number(1)?),
    };
    let (span, step) = (end - start, number(2)?);
    if step == 0.0 || span / step < 0.0 {
        return Err(format!("a range from {start} to {end} has no steps of {step}"));
    }
    one_shape(smallvec![(span / step).ceil() as u64])
}

/// RangeFactories.cpp, arange: of integers unless a bound or the step is none, then of the default type.
fn arange(context: &mut Context, operands: &Operands) -> Lowered {
    let number = |place| match operands.at(place) {
        Operand::Int(number) => Ok((*number as f64, true)),
        Operand::Float(number) => Ok((*number, false)),
        _ => Err("a range is of numbers".to_owned()),
    };
    let ((start, a), (end, b)) = match operands.at(1) {
        Operand::None => ((0.0, true), number(0)?),
        _ => (number(0)?, number(1)?),
    };
    let (step, c) = number(2)?;
    let dtype = operands.dtype(3).unwrap_or(if a && b && c { Dtype::I64 } else { Dtype::F32 });
    one(context.empty("arange", &[((end - start) / step).ceil() as u64], dtype))
}

fn sizes_shape(call: &Call) -> Shapes {
    if let Argument::Int(only) = call.argument(0) {
        return one_shape(smallvec![size(*only)?]);
    }
    one_shape(call.ints(0)?.into_iter().map(size).collect::<Result<_, _>>()?)
}

fn new_shape(call: &Call) -> Shapes {
    one_shape(call.ints(1)?.into_iter().map(size).collect::<Result<_, _>>()?)
}

fn filled(context: &mut Context, operands: &Operands, op: &'static str) -> Lowered {
    let sizes: Dims = match operands.at(0) {
        Operand::Int(only) => smallvec![size(*only)?],
        _ => operands.ints(0)?.into_iter().map(size).collect::<Result<_, _>>()?,
    };
    let dtype = operands.dtype(1).unwrap_or(context.settings.weights);
    one(context.empty(op, &sizes, dtype))
}

/// `torch.tensor([], dtype=like.dtype)`: no bytes, so no event.
fn empty_cache(context: &mut Context, operands: &Operands) -> Lowered {
    let dtype = operands.tensor(0)?.dtype;
    one(context.empty("empty", &[0], dtype))
}

/// `torch.tensor(number, device=..., dtype=like.dtype)`: a number copied to the device.
fn scalar_on_device(context: &mut Context, operands: &Operands) -> Lowered {
    let dtype = operands.tensor(0)?.dtype;
    one(context.empty("_to_copy", &[], dtype))
}

fn padded_shape(call: &Call) -> Shapes {
    one_shape(padded(call.shape(0)?, &call.ints(1)?)?)
}

/// The sizes with a pair of paddings for each of the last dimensions, from the last one on.
fn padded(sizes: &[u64], pad: &[i64]) -> Result<Dims, String> {
    let mut sizes: Dims = sizes.into();
    if pad.len() > 2 * sizes.len() {
        return Err(format!("{} paddings do not fit {} dimensions", pad.len(), sizes.len()));
    }
    for (place, pair) in pad.chunks(2).enumerate() {
        let dim = sizes.len() - 1 - place;
        let total = pair.iter().try_fold(sizes[dim] as i64, |sum, part| sum.checked_add(*part));
        sizes[dim] = size(total.unwrap_or(-1))?;
    }
    Ok(sizes)
}

fn pad_shape(call: &Call) -> Shapes {
    let mut shape = call.shape(0)?.clone();
    let last = dimension(-1, shape.len())?;
    shape[last] += size(call.int(1)?)? + size(call.int(2)?)?;
    one_shape(shape)
}

fn pad(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    if x.requires_grad() {
        return Err("padding of a tensor that needs a gradient is not known".to_owned());
    }
    let mut sizes = x.sizes.clone();
    let last = dimension(-1, sizes.len())?;
    sizes[last] += size(operands.int(1)?)? + size(operands.int(2)?)?;
    one(context.empty("constant_pad_nd", &sizes, x.dtype))
}
