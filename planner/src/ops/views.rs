//! Views: other sizes and strides over the same memory; and `reshape`, `contiguous`, `cat`, which copy where they must.

use std::borrow::Borrow;

use smallvec::{SmallVec, smallvec};

use super::call::{count, dimension, one as one_shape, resolve_sizes, several};
use super::elementwise::{first_shape, promote};
use super::operands::one;
use super::reduce::{reduce, sum_to};
use super::{Autocast, Call, Class, Lines, Lower, Lowered, Operand, Operands, Returns, Row, Shapes};
use crate::graph::{Argument, Dims};
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::memory_format::{MemoryFormat, empty, strides, suggested};
use crate::lower::kernels::reduce::Reduction;
use crate::lower::tensor::{Tensor, TensorData, contiguous_strides};

const SOURCE: &str = "aten/src/ATen/native/TensorShape.cpp; tools/autograd/derivatives.yaml";

pub(super) const ROWS: &[Row] = &[
    row("alias", "input", &[("alias.default", "self", "")], first_shape, |context, a| {
        one(alias(context, a.tensor(0)?))
    }),
    row(
        "view",
        "input, *size",
        &[("view.default", "self, size", ""), ("_unsafe_view.default", "self, size", "")],
        view_shape,
        |context, a| one(view(context, a.tensor(0)?, &a.ints(1)?)?),
    ),
    row("reshape", "input, *size", &[("reshape.default", "self, shape", "")], view_shape, |context, a| {
        one(reshape_to(context, a.tensor(0)?, &a.ints(1)?)?)
    }),
    row("contiguous", "input", &[("contiguous.default", "self", "memory_format=1")], first_shape, |context, a| {
        one(contiguous(context, a.tensor(0)?))
    }),
    row("contiguous_clone", "input", &[], first_shape, |context, a| one(clone(context, a.tensor(0)?))),
    row(
        "transpose",
        "input, dim0, dim1",
        &[("transpose.int", "self, dim0, dim1", "")],
        transpose_shape,
        |context, a| one(transpose(context, a.tensor(0)?, a.int(1)?, a.int(2)?)?),
    ),
    row("permute", "input, *dims", &[("permute.default", "self, dims", "")], permute_shape, permute),
    row("flatten", "input, start_dim=0, end_dim=-1", &[], flatten_shape, |context, a| {
        let x = a.tensor(0)?;
        let sizes = flattened(&x.sizes, [a.int(1)?, a.int(2)?])?;
        one(reshape(context, x, &sizes))
    }),
    row("unsqueeze", "input, dim", &[("unsqueeze.default", "self, dim", "")], unsqueeze_shape, unsqueeze),
    row(
        "squeeze",
        "input, dim=None",
        &[("squeeze.default", "self", ""), ("squeeze.dim", "self, dim", "")],
        squeeze_shape,
        squeeze,
    ),
    row("expand", "input, *size", &[("expand.default", "self, size", "implicit")], expand_shape, |context, a| {
        one(expand(context, a.tensor(0)?, &a.ints(1)?)?)
    }),
    row("slice", "input, dim, start, end, step=1", &[], slice_shape, slice),
    row("select", "input, dim, index", &[("select.int", "self, dim, index", "")], select_shape, select),
    Row {
        returns: Returns::Tuple,
        ..row(
            "split",
            "input, split_size, dim=0",
            &[
                ("split.Tensor", "self, split_size, dim=0", ""),
                ("split_with_sizes.default", "self, split_sizes, dim=0", ""),
                ("split.sizes", "self, split_size, dim=0", ""),
            ],
            split_shape,
            split,
        )
    },
    Row {
        returns: Returns::Tuple,
        ..row("unbind", "input, dim=0", &[("unbind.int", "self, dim=0", "")], unbind_shape, unbind)
    },
    row("repeat", "input, *repeats", &[("repeat.default", "self, repeats", "")], repeat_shape, repeat),
    row("flip", "input, *dims", &[("flip.default", "self, dims", "")], first_shape, |context, a| {
        let x = a.tensor(0)?;
        let output = context.aten("flip", |context| context.empty_like("flip", x));
        record_view(context, "FlipBackward0", x, &output, Box::new(|context, g| context.empty_like("flip", g)));
        one(output)
    }),
    row("detach", "input", &[("detach.default", "self", "")], first_shape, |_, a| {
        let x = a.tensor(0)?;
        one(TensorData::view(x, x.sizes.clone(), x.strides.clone()))
    }),
    Row {
        savable: &["cat.default"],
        ..row(
            "cat",
            "tensors, dim=0",
            &[("cat.default", "tensors, dim=0", ""), ("concat.default", "tensors, dim=0", "")],
            cat_shape,
            cat,
        )
    },
    row("stack", "tensors, dim=0", &[("stack.default", "tensors, dim=0", "")], stack_shape, stack),
];

/// A view, or what copies where it cannot be one: what it copies is saved as `clone`, whose row says so.
const fn row(
    name: &'static str,
    signature: &'static str,
    aten: Lines,
    shapes: fn(&Call) -> Shapes,
    lower: Lower,
) -> Row {
    moving(name, signature, SOURCE, aten, shapes, lower)
}

/// What moves data and computes nothing: autocast has it on no list, and no operator that it runs can be saved.
pub(super) const fn moving(
    name: &'static str,
    signature: &'static str,
    source: &'static str,
    aten: Lines,
    shapes: fn(&Call) -> Shapes,
    lower: Lower,
) -> Row {
    let (returns, class, autocast) = (Returns::One, Class::Moves, Autocast::Keeps);
    Row { name, signature, returns, source, class, autocast, savable: &[], aten, shapes, lower }
}

// ---- shapes -------------------------------------------------------------------------------------------------------

fn view_shape(call: &Call) -> Shapes {
    one_shape(resolve_sizes(count(call.shape(0)?), &call.ints(1)?)?)
}

fn transpose_shape(call: &Call) -> Shapes {
    let mut shape = call.shape(0)?.clone();
    let (a, b) = (dimension(call.int(1)?, shape.len())?, dimension(call.int(2)?, shape.len())?);
    shape.swap(a, b);
    one_shape(shape)
}

fn permutation(dims: &[i64], count: usize) -> Result<SmallVec<[usize; 4]>, String> {
    let order = dims.iter().map(|dim| dimension(*dim, count)).collect::<Result<SmallVec<[usize; 4]>, _>>()?;
    let whole = order.len() == count && (0..count).all(|dim| order.contains(&dim));
    if whole { Ok(order) } else { Err(format!("{dims:?} does not name each of {count} dimensions once")) }
}

fn permute_shape(call: &Call) -> Shapes {
    let shape = call.shape(0)?;
    one_shape(permutation(&call.ints(1)?, shape.len())?.iter().map(|dim| shape[*dim]).collect())
}

fn flatten_shape(call: &Call) -> Shapes {
    one_shape(flattened(call.shape(0)?, [call.int(1)?, call.int(2)?])?)
}

/// The dimensions from one to another become one.
fn flattened(sizes: &[u64], [start, end]: [i64; 2]) -> Result<Dims, String> {
    if sizes.is_empty() {
        return Ok(smallvec![1]);
    }
    let (start, end) = (dimension(start, sizes.len())?, dimension(end, sizes.len())?);
    let Some(within) = sizes.get(start..=end) else {
        return Err(format!("dimensions {start} to {end} are none that follow each other"));
    };
    Ok(sizes[..start].iter().copied().chain([count(within)]).chain(sizes[end + 1..].iter().copied()).collect())
}

fn unsqueeze_shape(call: &Call) -> Shapes {
    let mut shape = call.shape(0)?.clone();
    shape.insert(dimension(call.int(1)?, shape.len() + 1)?, 1);
    one_shape(shape)
}

fn squeeze_shape(call: &Call) -> Shapes {
    let shape = call.shape(0)?;
    let wanted = match call.argument(1) {
        Argument::None => None,
        _ => Some(dimension(call.int(1)?, shape.len())?),
    };
    let goes = |dim: usize| shape[dim] == 1 && wanted.is_none_or(|wanted| wanted == dim);
    one_shape((0..shape.len()).filter(|dim| !goes(*dim)).map(|dim| shape[dim]).collect())
}

fn expand_shape(call: &Call) -> Shapes {
    one_shape(expanded_sizes(call.shape(0)?, &call.ints(1)?)?)
}

fn expanded_sizes(shape: &[u64], wanted: &[i64]) -> Result<Dims, String> {
    let fail = || format!("a tensor of shape {shape:?} cannot be expanded to {wanted:?}");
    let leading = wanted.len().checked_sub(shape.len()).ok_or_else(fail)?;
    let size = |(dim, wanted): (usize, &i64)| match (dim.checked_sub(leading), *wanted) {
        (Some(place), -1) => Ok(shape[place]),
        (Some(place), wanted) if shape[place] == 1 || shape[place] as i64 == wanted => {
            u64::try_from(wanted).map_err(|_| fail())
        }
        (None, wanted) => u64::try_from(wanted).map_err(|_| fail()),
        _ => Err(fail()),
    };
    wanted.iter().enumerate().map(size).collect()
}

/// Sizes times repeats; there may be more repeats than dimensions.
fn repeated(sizes: &[u64], repeats: &[i64]) -> Result<Dims, String> {
    let wrong = || format!("{repeats:?} does not repeat a tensor of shape {sizes:?}");
    let added = repeats.len().checked_sub(sizes.len()).ok_or_else(wrong)?;
    let whole = repeats.iter().enumerate().map(|(place, times)| {
        let size = if place < added { 1 } else { sizes[place - added] };
        u64::try_from(*times).ok().and_then(|times| size.checked_mul(times)).ok_or_else(wrong)
    });
    whole.collect()
}

fn repeat_shape(call: &Call) -> Shapes {
    one_shape(repeated(call.shape(0)?, &call.ints(1)?)?)
}

fn slice_shape(call: &Call) -> Shapes {
    let mut shape = call.shape(0)?.clone();
    let dim = dimension(call.int(1)?, shape.len())?;
    let (start, end) = (call.int(2)?, call.int(3)?);
    if start < 0 || end < start || end > shape[dim] as i64 {
        return Err(format!("{start}:{end} lies outside the {} elements of dimension {dim}", shape[dim]));
    }
    shape[dim] = stepped(start, end, call.int(4)?);
    one_shape(shape)
}

/// How many elements a range has.
fn stepped(start: i64, end: i64, step: i64) -> u64 {
    ((end - start).max(0) as u64).div_ceil(step.max(1) as u64)
}

fn select_shape(call: &Call) -> Shapes {
    let mut shape = call.shape(0)?.clone();
    let dim = dimension(call.int(1)?, shape.len())?;
    let index = call.int(2)?;
    if index >= shape[dim] as i64 || index < -(shape[dim] as i64) {
        return Err(format!("{index} lies outside the {} elements of dimension {dim}", shape[dim]));
    }
    shape.remove(dim);
    one_shape(shape)
}

fn split_shape(call: &Call) -> Shapes {
    let shape = call.shape(0)?;
    let dim = dimension(call.int(2)?, shape.len())?;
    several(parts(shape[dim], &call.ints(1)?)?.into_iter().map(|part| {
        let mut shape = shape.clone();
        shape[dim] = part;
        shape
    }))
}

/// The sizes of the parts: equal ones of the given size, or those of the list.
fn parts(total: u64, sizes: &[i64]) -> Result<Vec<u64>, String> {
    let fail = || format!("{total} elements cannot be split into {sizes:?}");
    match sizes {
        [size] if *size > 0 => {
            let size = *size as u64;
            if total / size > 100_000 {
                return Err(fail());
            }
            Ok((0..total.div_ceil(size)).map(|part| size.min(total - part * size)).collect())
        }
        sizes => {
            let sizes: Vec<u64> =
                sizes.iter().map(|size| u64::try_from(*size)).collect::<Result<_, _>>().map_err(|_| fail())?;
            let sum = sizes.iter().try_fold(0, |sum: u64, size| sum.checked_add(*size));
            if sum == Some(total) { Ok(sizes) } else { Err(fail()) }
        }
    }
}

fn unbind_shape(call: &Call) -> Shapes {
    let mut shape = call.shape(0)?.clone();
    let dim = dimension(call.int(1)?, shape.len())?;
    let count = shape.remove(dim);
    if count > 100_000 {
        return Err(format!("{count} parts are more than any program's"));
    }
    several((0..count).map(|_| shape.clone()))
}

fn cat_shape(call: &Call) -> Shapes {
    let shapes = call.shape_list(0)?;
    let counted: Vec<&&Dims> = shapes.iter().filter(|shape| shape[..] != [0]).collect();
    let Some(first) = counted.first() else { return one_shape(smallvec![0]) };
    let mut result = (**first).clone();
    let dim = dimension(call.int(1)?, result.len())?;
    for shape in &counted[1..] {
        let fits = shape.len() == result.len() && (0..result.len()).all(|d| d == dim || shape[d] == result[d]);
        if !fits {
            return Err(format!("shapes {result:?} and {shape:?} cannot be joined along dimension {dim}"));
        }
        result[dim] += shape[dim];
    }
    one_shape(result)
}

fn stack_shape(call: &Call) -> Shapes {
    let shapes = call.shape_list(0)?;
    let Some(first) = shapes.first() else { return Err("stack takes one tensor or more".into()) };
    if let Some(other) = shapes.iter().find(|shape| shape != &first) {
        return Err(format!("shapes {first:?} and {other:?} cannot be stacked"));
    }
    let mut result = (**first).clone();
    result.insert(dimension(call.int(1)?, first.len() + 1)?, shapes.len() as u64);
    one_shape(result)
}

// ---- views ----------------------------------------------------------------------------------------------------------

/// The strides of a view of other sizes, where one exists (aten/src/ATen/TensorUtils.cpp, `computeStride`).
fn view_strides(old_sizes: &[u64], old_strides: &[u64], sizes: &[u64]) -> Option<Dims> {
    if old_sizes.is_empty() {
        return Some(sizes.iter().map(|_| 1).collect());
    }
    if count(old_sizes) == 0 {
        return Some(contiguous_strides(sizes));
    }
    let mut strides: Dims = sizes.iter().map(|_| 0).collect();
    let mut place = sizes.len();
    let mut base = old_strides[old_sizes.len() - 1];
    let (mut chunk, mut filled) = (1, 1);
    for dim in (0..old_sizes.len()).rev() {
        chunk *= old_sizes[dim];
        let ends = dim == 0 || (old_sizes[dim - 1] != 1 && old_strides[dim - 1] != chunk * base);
        if !ends {
            continue;
        }
        while place > 0 && (filled < chunk || sizes[place - 1] == 1) {
            strides[place - 1] = filled * base;
            filled *= sizes[place - 1];
            place -= 1;
        }
        if filled != chunk {
            return None;
        }
        if dim > 0 {
            base = old_strides[dim - 1];
            (chunk, filled) = (1, 1);
        }
    }
    (place == 0).then_some(strides)
}

/// The strides of a view of other sizes, where one exists.
pub(super) fn can_view(x: &Tensor, sizes: &[u64]) -> Option<Dims> {
    view_strides(&x.sizes, &x.strides, sizes)
}

/// A view outside autograd; what backward formulas call `reshape`.
fn plain_reshape(context: &mut Context, x: &Tensor, sizes: &[u64]) -> Tensor {
    match can_view(x, sizes) {
        Some(strides) => TensorData::view(x, sizes.into(), strides),
        None => {
            let copy = context.empty("clone", &x.sizes, x.dtype);
            TensorData::view(&copy, sizes.into(), contiguous_strides(sizes))
        }
    }
}

fn record_view(context: &mut Context, node: &'static str, x: &Tensor, output: &Tensor, back: ViewBack) {
    if context.records(&[x]) {
        context.record(
            node,
            &[Some(x)],
            &[output],
            Box::new(move |context, g| smallvec![g[0].as_ref().map(|g| back(context, g))]),
        );
    }
}

type ViewBack = Box<dyn Fn(&mut Context, &Tensor) -> Tensor>;

fn reshape_back(x: &Tensor) -> ViewBack {
    let sizes = x.sizes.clone();
    Box::new(move |context, g| plain_reshape(context, g, &sizes))
}

/// The same tensor again, as indexing gives it where nothing is left out.
fn alias(context: &mut Context, x: &Tensor) -> Tensor {
    let output = TensorData::view(x, x.sizes.clone(), x.strides.clone());
    record_view(context, "AliasBackward0", x, &output, Box::new(|_, g| g.clone()));
    output
}

/// `x.view(sizes)`.
pub(crate) fn view(context: &mut Context, x: &Tensor, sizes: &[i64]) -> Result<Tensor, String> {
    let sizes = resolve_sizes(x.count(), sizes)?;
    let Some(strides) = can_view(x, &sizes) else {
        return Err(format!("a tensor of shape {:?} has no view of shape {sizes:?}: use reshape", x.sizes));
    };
    let output = TensorData::view(x, sizes, strides);
    record_view(context, "ViewBackward0", x, &output, reshape_back(x));
    Ok(output)
}

fn reshape_to(context: &mut Context, x: &Tensor, sizes: &[i64]) -> Result<Tensor, String> {
    let sizes = resolve_sizes(x.count(), sizes)?;
    Ok(reshape(context, x, &sizes))
}

/// `x.reshape(sizes)`: a view where one exists, else a contiguous copy.
pub(crate) fn reshape(context: &mut Context, x: &Tensor, sizes: &[u64]) -> Tensor {
    if let Some(strides) = can_view(x, sizes) {
        let output = TensorData::view(x, sizes.into(), strides);
        record_view(context, "ViewBackward0", x, &output, reshape_back(x));
        return output;
    }
    let copy = clone(context, x);
    unsafe_view(context, &copy, sizes)
}

/// `_unsafe_view`: a view of a result that nothing else refers to; it is not noted as a view.
pub(crate) fn unsafe_view(context: &mut Context, x: &Tensor, sizes: &[u64]) -> Tensor {
    let strides = can_view(x, sizes).unwrap_or_else(|| contiguous_strides(sizes));
    let output = TensorData::new(x.storage.clone(), x.dtype, sizes.into(), strides);
    record_view(context, "UnsafeViewBackward0", x, &output, reshape_back(x));
    output
}

/// A contiguous copy.
fn clone(context: &mut Context, x: &Tensor) -> Tensor {
    let output = context.aten("clone", |context| context.empty("clone", &x.sizes, x.dtype));
    record_view(context, "CloneBackward0", x, &output, Box::new(|_, g| g.clone()));
    output
}

/// `x.contiguous()`.
pub(crate) fn contiguous(context: &mut Context, x: &Tensor) -> Tensor {
    if x.is_contiguous() { x.clone() } else { clone(context, x) }
}

/// `x.transpose(a, b)`.
pub(crate) fn transpose(context: &mut Context, x: &Tensor, a: i64, b: i64) -> Result<Tensor, String> {
    let (a, b) = (dimension(a, x.sizes.len())?, dimension(b, x.sizes.len())?);
    let output = transposed(x, a, b);
    let name = if x.sizes.len() == 2 { "TBackward0" } else { "TransposeBackward0" };
    record_view(context, name, x, &output, Box::new(move |_, g| transposed(g, a, b)));
    Ok(output)
}

/// A transposed view outside autograd.
pub(crate) fn transposed(x: &Tensor, a: usize, b: usize) -> Tensor {
    let (mut sizes, mut strides) = (x.sizes.clone(), x.strides.clone());
    sizes.swap(a, b);
    strides.swap(a, b);
    TensorData::view(x, sizes, strides)
}

/// `x.repeat(repeats)`: a copy; its gradient is summed over what was repeated (FunctionsManual.cpp, repeat_backward).
fn repeat(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let repeats = operands.ints(1)?;
    let sizes = repeated(&x.sizes, &repeats)?;
    let output = context.aten("repeat", |context| context.empty("repeat", &sizes, x.dtype));
    if context.records(&[x]) {
        let original = x.sizes.clone();
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let added = repeats.len() - original.len();
            let mut g = g.clone();
            for _ in 0..added {
                let marks: Vec<bool> = (0..g.sizes.len()).map(|dim| dim == 0).collect();
                g = reduce(context, "sum", Reduction::Sum, &g, &marks, false, g.dtype);
            }
            let (mut sizes, mut marks) = (Dims::new(), Vec::new());
            for (size, times) in original.iter().zip(&repeats[added..]) {
                if *times != 1 {
                    sizes.push(times.unsigned_abs());
                    marks.push(true);
                }
                sizes.push(*size);
                marks.push(false);
            }
            if marks.contains(&true) {
                let parts = plain_reshape(context, &g, &sizes);
                g = reduce(context, "sum", Reduction::Sum, &parts, &marks, false, parts.dtype);
            }
            smallvec![Some(g)]
        };
        context.record("RepeatBackward0", &[Some(x)], &[&output], Box::new(apply));
    }
    one(output)
}

/// `x.permute(dims)`; backward is the other way round.
fn permute(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let order = permutation(&operands.ints(1)?, x.sizes.len())?;
    let output = permuted(x, &order);
    let mut back = order.clone();
    order.iter().enumerate().for_each(|(place, dim)| back[*dim] = place);
    record_view(context, "PermuteBackward0", x, &output, Box::new(move |_, g| permuted(g, &back)));
    one(output)
}

fn permuted(x: &Tensor, order: &[usize]) -> Tensor {
    let pick = |from: &Dims| order.iter().map(|dim| from[*dim]).collect();
    TensorData::view(x, pick(&x.sizes), pick(&x.strides))
}

fn unsqueeze(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let dim = dimension(operands.int(1)?, x.sizes.len() + 1)?;
    let output = unsqueezed(x, dim);
    record_view(context, "UnsqueezeBackward0", x, &output, Box::new(move |_, g| squeezed(g, dim)));
    one(output)
}

fn unsqueezed(x: &Tensor, dim: usize) -> Tensor {
    let (mut sizes, mut strides) = (x.sizes.clone(), x.strides.clone());
    let stride = if dim < sizes.len() { sizes[dim] * strides[dim] } else { 1 };
    sizes.insert(dim, 1);
    strides.insert(dim, stride);
    TensorData::view(x, sizes, strides)
}

fn squeezed(x: &Tensor, dim: usize) -> Tensor {
    let (mut sizes, mut strides) = (x.sizes.clone(), x.strides.clone());
    if sizes[dim] == 1 {
        sizes.remove(dim);
        strides.remove(dim);
    }
    TensorData::view(x, sizes, strides)
}

/// Without a dimension all of size 1 go.
fn squeeze(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let (output, node) = match operands.at(1) {
        Operand::None => {
            let left: Vec<usize> = (0..x.sizes.len()).filter(|dim| x.sizes[*dim] != 1).collect();
            let pick = |from: &Dims| left.iter().map(|dim| from[*dim]).collect();
            (TensorData::view(x, pick(&x.sizes), pick(&x.strides)), "SqueezeBackward0")
        }
        _ => (squeezed(x, dimension(operands.int(1)?, x.sizes.len())?), "SqueezeBackward1"),
    };
    record_view(context, node, x, &output, reshape_back(x));
    one(output)
}

/// `x.expand(sizes)`.
pub(crate) fn expand(context: &mut Context, x: &Tensor, sizes: &[i64]) -> Result<Tensor, String> {
    let output = expanded(x, sizes)?;
    let original = x.sizes.clone();
    record_view(
        context,
        "ExpandBackward0",
        x,
        &output,
        Box::new(move |context, g| sum_to(context, g.clone(), &original)),
    );
    Ok(output)
}

/// An expanded view outside autograd.
pub(super) fn expanded(x: &Tensor, sizes: &[i64]) -> Result<Tensor, String> {
    let sizes = expanded_sizes(&x.sizes, sizes)?;
    let leading = sizes.len() - x.sizes.len();
    let strides = (0..sizes.len())
        .map(|dim| match dim.checked_sub(leading) {
            Some(place) if x.sizes[place] == sizes[dim] => x.strides[place],
            _ => 0,
        })
        .collect();
    Ok(TensorData::view(x, sizes, strides))
}

/// Backward of `slice` and `select`: zeros of the input's sizes, into which the gradient is copied
/// (FunctionsManual.cpp, `slice_backward`, `select_backward`).
fn zeros_back(x: &Tensor) -> ViewBack {
    let sizes = x.sizes.clone();
    Box::new(move |context, g| context.empty("zeros", &sizes, g.dtype))
}

fn slice(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let dim = dimension(operands.int(1)?, x.sizes.len())?;
    let step = operands.int(4)?;
    let (mut sizes, mut strides) = (x.sizes.clone(), x.strides.clone());
    sizes[dim] = stepped(operands.int(2)?, operands.int(3)?, step);
    strides[dim] *= step.max(1) as u64;
    let output = TensorData::view(x, sizes, strides);
    record_view(context, "SliceBackward0", x, &output, zeros_back(x));
    one(output)
}

fn narrowed(x: &Tensor, dim: usize, length: u64) -> Tensor {
    let mut sizes = x.sizes.clone();
    sizes[dim] = length;
    TensorData::view(x, sizes, x.strides.clone())
}

fn selected(x: &Tensor, dim: usize) -> Tensor {
    let (mut sizes, mut strides) = (x.sizes.clone(), x.strides.clone());
    sizes.remove(dim);
    strides.remove(dim);
    TensorData::view(x, sizes, strides)
}

fn select(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let dim = dimension(operands.int(1)?, x.sizes.len())?;
    let output = selected(x, dim);
    record_view(context, "SelectBackward0", x, &output, zeros_back(x));
    one(output)
}

/// The views along a dimension; backward stacks their gradients (`unbind_backward`).
fn unbind(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let dim = dimension(operands.int(1)?, x.sizes.len())?;
    let outputs: SmallVec<[Tensor; 2]> = (0..x.sizes[dim]).map(|_| selected(x, dim)).collect();
    record_parts(context, "UnbindBackward0", x, &outputs, Joining::Stack(dim));
    Ok(outputs)
}

/// Backward joins the parts' gradients; a part without one counts as zeros (`split_backward`).
fn split(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let dim = dimension(operands.int(2)?, x.sizes.len())?;
    let parts = parts(x.sizes[dim], &operands.ints(1)?)?;
    let outputs: SmallVec<[Tensor; 2]> = parts.iter().map(|length| narrowed(x, dim, *length)).collect();
    record_parts(context, "SplitBackward0", x, &outputs, Joining::Cat);
    Ok(outputs)
}

/// How the gradients of a tensor's parts become one.
#[derive(Clone, Copy)]
enum Joining {
    Cat,
    /// Along a new dimension.
    Stack(usize),
}

/// The node of views that make up a tensor: one result of its sizes, beside zeros for those without a gradient.
fn record_parts(context: &mut Context, node: &'static str, x: &Tensor, outputs: &[Tensor], joining: Joining) {
    if context.records(&[x]) {
        let shapes: Vec<Dims> = outputs.iter().map(|output| output.sizes.clone()).collect();
        let sizes = x.sizes.clone();
        context.record(
            node,
            &[Some(x)],
            &outputs.iter().collect::<Vec<_>>(),
            Box::new(move |context, gradients| {
                let Some(dtype) = gradients.iter().flatten().map(|g| g.dtype).next() else { return Gradients::new() };
                let parts: Vec<Tensor> = shapes
                    .iter()
                    .enumerate()
                    .map(|(part, shape)| match gradients.get(part) {
                        Some(Some(g)) => g.clone(),
                        _ => context.empty("zeros", shape, dtype),
                    })
                    .collect();
                let (op, strides) = match joining {
                    Joining::Cat => ("cat", strides(&sizes, joined_format(parts.iter().map(|part| suggested(part))))),
                    Joining::Stack(dim) => ("stack", stacked_strides(&parts, &sizes, dim)),
                };
                smallvec![Some(context.empty_strided(op, sizes.clone(), strides, dtype))]
            }),
        );
    }
}

/// The memory format of tensors put together: theirs when all have one, else contiguous
/// (aten/src/ATen/native/TensorShape.cpp, `cat_compute_output_memory_format`).
fn joined_format(mut formats: impl Iterator<Item = MemoryFormat>) -> MemoryFormat {
    let first = formats.next().unwrap_or(MemoryFormat::Contiguous);
    if formats.all(|format| format == first) { first } else { MemoryFormat::Contiguous }
}

/// aten/src/ATen/native/TensorShape.cpp, `stack`: `cat` along that dimension, which a view then splits; where it is the last, `cat` of
/// tensors with one dimension more.
fn stacked_strides<T: Borrow<Tensor>>(parts: &[T], sizes: &[u64], dim: usize) -> Dims {
    let Some(first) = parts.first().map(Borrow::borrow) else { return Dims::new() };
    if dim == first.sizes.len() {
        return strides(sizes, joined_format(parts.iter().map(|part| suggested(&unsqueezed(part.borrow(), dim)))));
    }
    let mut joined = first.sizes.clone();
    joined[dim] *= parts.len() as u64;
    let mut strides = strides(&joined, joined_format(parts.iter().map(|part| suggested(part.borrow()))));
    strides.insert(dim, strides[dim] * first.sizes[dim]);
    strides
}

/// Tensors of one shape along a new dimension; backward gives views of the gradient (derivatives.yaml: `unbind`).
fn stack(context: &mut Context, operands: &Operands) -> Lowered {
    let tensors = operands.tensors(0)?;
    let Some(first) = tensors.first() else { return Err("stack takes one tensor or more".into()) };
    let dim = dimension(operands.int(1)?, first.sizes.len() + 1)?;
    let mut sizes = first.sizes.clone();
    sizes.insert(dim, tensors.len() as u64);
    let dtype = tensors.iter().fold(first.dtype, |dtype, x| promote(dtype, x.dtype));
    let strides = stacked_strides(&tensors, &sizes, dim);
    let output = context.aten("cat", |context| context.empty_strided("cat", sizes, strides, dtype));
    if context.records(&tensors) {
        let wanted: Vec<bool> = tensors.iter().map(|x| x.requires_grad()).collect();
        let inputs: Vec<Option<&Tensor>> = tensors.iter().map(|x| Some(*x)).collect();
        context.record(
            "StackBackward0",
            &inputs,
            &[&output],
            Box::new(move |_, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                wanted.iter().map(|wanted| wanted.then(|| selected(g, dim))).collect()
            }),
        );
    }
    one(output)
}

/// aten/src/ATen/native/cuda/Shape.cu, `cat_out_cuda`: one result of the type that all go into, converted within the kernel;
/// tensors of shape [0] count for nothing but their type.
fn cat(context: &mut Context, operands: &Operands) -> Lowered {
    let tensors = operands.tensors(0)?;
    let counted: Vec<&Tensor> = tensors.iter().copied().filter(|x| x.sizes[..] != [0]).collect();
    let Some(first) = counted.first() else { return one((*tensors[0]).clone()) };
    let dim = dimension(operands.int(1)?, first.sizes.len())?;
    let mut sizes = first.sizes.clone();
    sizes[dim] = counted.iter().map(|x| x.sizes[dim]).sum();
    let dtype = tensors.iter().fold(first.dtype, |dtype, x| promote(dtype, x.dtype));
    let format = joined_format(counted.iter().map(|x| suggested(x)));
    let output = context.aten("cat", |context| empty(context, "cat", &sizes, dtype, format));
    if context.records(&tensors) {
        // Each gradient is a view of the whole; a tensor of shape [0] gets zeros of no bytes.
        let lengths: Vec<Option<u64>> =
            tensors.iter().map(|x| (x.requires_grad() && x.sizes[..] != [0]).then(|| x.sizes[dim])).collect();
        let inputs: Vec<Option<&Tensor>> = tensors.iter().map(|x| Some(*x)).collect();
        context.record(
            "CatBackward0",
            &inputs,
            &[&output],
            Box::new(move |_, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                lengths.iter().map(|length| length.map(|length| narrowed(g, dim, length))).collect()
            }),
        );
    }
    one(output)
}
