//! Indexing with tensors of integers: `gather`, and `x[i, j]`; `masked_fill`; `roll`.

use smallvec::smallvec;

use super::call::{broadcast, dimension, one as one_shape};
use super::elementwise::{elementwise, first_shape};
use super::operands::one;
use super::views::expanded;
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::checkpoint::Saved;
use crate::lower::context::Context;
use crate::lower::kernels::index_put::sort_and_add;
use crate::lower::tensor::Tensor;

/// `x[i, j]` of tensors of integers.
pub const INDEX: &str = "index";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "gather",
        signature: "input, dim, index",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, gather",
        class: Class::Picks,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("gather.default", "self, dim, index", "sparse_grad=False")],
        shapes: |call| one_shape(call.shape(2)?.clone()),
        lower: gather,
    },
    // `scatter`, whose source is a tensor or a number
    Row {
        name: "scattered",
        signature: "input, dim, index, value",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, scatter_meta_impl; derivatives.yaml, scatter.src and scatter.value",
        class: Class::Picks,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: first_shape,
        lower: scattered,
    },
    Row {
        name: "index_select",
        signature: "input, dim, index",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Indexing.cu, index_select_out_cuda_impl; FunctionsManual.cpp, index_select_backward",
        class: Class::Picks,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("index_select.default", "self, dim, index", "")],
        shapes: |call| {
            let mut shape = call.shape(0)?.clone();
            let dim = dimension(call.int(1)?, shape.len())?;
            shape[dim] = call.shape(2)?.iter().product();
            one_shape(shape)
        },
        lower: index_select,
    },
    Row {
        name: "roll",
        signature: "input, shifts, dims",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/TensorTransformations.cu, roll_cuda",
        class: Class::Picks,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("roll.default", "self, shifts, dims", "")],
        shapes: first_shape,
        lower: |context, a| {
            let x = a.tensor(0)?;
            let output = rolled(context, x, a.ints(2)?.len());
            if context.records(&[x]) {
                let dims = a.ints(2)?.len();
                context.record(
                    "RollBackward0",
                    &[Some(x)],
                    &[&output],
                    Box::new(move |context, g| smallvec![g[0].as_ref().map(|g| rolled(context, g, dims))]),
                );
            }
            one(output)
        },
    },
    Row {
        name: INDEX,
        // where the indices are copies of the host's, autograd keeps those of the host
        signature: "input, indices, dim=0, from_host=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, index and AdvancedIndex; IndexingUtils.h",
        class: Class::Picks,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("index.Tensor", "self, indices!", "")],
        shapes: index_shape,
        lower: index,
    },
    Row {
        name: "masked_fill",
        signature: "input, mask, value",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, masked_fill; FunctionsManual.cpp, masked_fill_backward",
        class: Class::Picks,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("masked_fill.Scalar", "self, mask, value", "")],
        shapes: first_shape,
        lower: |context, a| {
            let (x, mask) = (a.tensor(0)?, a.tensor(1)?);
            let saved = context.records(&[x]).then(|| context.save(mask));
            let output = filled(context, x);
            record_masked_fill(context, x, saved, &output);
            one(output)
        },
    },
];

/// A contiguous copy, written in place.
fn scattered(context: &mut Context, a: &Operands) -> Lowered {
    let (x, source) = (a.tensor(0)?, a.optional(3));
    let saved = saved_index(context, a)?;
    let output = context.empty("scatter", &x.sizes, x.dtype);
    record_scatter(context, [Some(x), source], saved, &output);
    one(output)
}

/// Backward keeps the index alone.
pub(super) fn saved_index(context: &mut Context, a: &Operands) -> Result<Option<Saved>, String> {
    let (x, index, source) = (a.tensor(0)?, a.tensor(2)?, a.optional(3));
    let inputs: smallvec::SmallVec<[&Tensor; 2]> = std::iter::once(x).chain(source).collect();
    Ok(context.records(&inputs).then(|| context.save(index)))
}

pub(super) fn record_scatter(
    context: &mut Context,
    [x, source]: [Option<&Tensor>; 2],
    saved: Option<Saved>,
    output: &Tensor,
) {
    let Some(saved) = saved else { return };
    let wanted = [x, source].map(|tensor| tensor.is_some_and(|tensor| tensor.requires_grad()));
    let name = if source.is_some() { "ScatterBackward0" } else { "ScatterBackward1" };
    context.record(
        name,
        &[x, source],
        &[output],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let index = saved.get(context);
            let of_input = wanted[0].then(|| context.empty("scatter", &g.sizes, g.dtype));
            let of_source = wanted[1].then(|| context.empty("gather", &index.sizes, g.dtype));
            smallvec![of_input, of_source]
        }),
    );
}

/// One dimension after the other, each into a result of its own (TensorTransformations.h, `roll_common`); the input is made
/// contiguous each time.
fn rolled(context: &mut Context, x: &Tensor, dims: usize) -> Tensor {
    let mut x = x.clone();
    for _ in 0..dims.max(1) {
        let input = copied_whole(context, &x);
        x = context.empty_like("roll", &input);
    }
    x
}

/// A contiguous tensor without a place in the autograd graph.
pub(super) fn copied_whole(context: &mut Context, x: &Tensor) -> Tensor {
    if x.is_contiguous() { x.clone() } else { context.empty("clone", &x.sizes, x.dtype) }
}

/// A contiguous copy, filled in place.
pub(super) fn filled(context: &mut Context, x: &Tensor) -> Tensor {
    context.aten("masked_fill", |context| context.empty("clone", &x.sizes, x.dtype))
}

/// The node of `masked_fill`, which fills the gradient in the same places.
pub(super) fn record_masked_fill(context: &mut Context, x: &Tensor, saved: Option<Saved>, output: &Tensor) {
    let Some(saved) = saved else { return };
    context.record(
        "MaskedFillBackward0",
        &[Some(x)],
        &[output],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let _mask = saved.get(context);
            smallvec![Some(filled(context, g))]
        }),
    );
}

/// `gather_backward` adds the gradient into zeros.
fn gather(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, index) = (operands.tensor(0)?, operands.tensor(2)?);
    let saved = context.records(&[input]).then(|| (context.save(input), context.save(index)));
    let output = context.aten("gather", |context| context.empty("gather", &index.sizes, input.dtype));
    if let Some((input_saved, index_saved)) = saved {
        context.record(
            "GatherBackward0",
            &[Some(input)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let (input, _index) = (input_saved.get(context), index_saved.get(context));
                smallvec![Some(context.empty("new_zeros", &input.sizes, g.dtype))]
            }),
        );
    }
    one(output)
}

/// Backward adds the gradient into zeros.
fn index_select(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, index) = (operands.tensor(0)?, operands.tensor(2)?);
    let saved = context.records(&[input]).then(|| context.save(index));
    let mut sizes = input.sizes.clone();
    sizes[dimension(operands.int(1)?, input.sizes.len())?] = index.count();
    let output = context.aten("index_select", |context| context.empty("index_select", &sizes, input.dtype));
    if let Some(saved) = saved {
        let sizes = input.sizes.clone();
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let _index = saved.get(context);
            smallvec![Some(context.empty("new_zeros", &sizes, g.dtype))]
        };
        context.record("IndexSelectBackward0", &[Some(input)], &[&output], Box::new(apply));
    }
    one(output)
}

/// The indices address dimensions beside each other; they take on one shape, which stands for these in the result.
fn index_shape(call: &Call) -> Shapes {
    let (input, indices) = (call.shape(0)?, call.shape_list(1)?);
    let first = usize::try_from(call.int(2)?).unwrap_or(usize::MAX);
    let wrong = || format!("{} indices do not fit a tensor of shape {input:?}", indices.len());
    let rest = first.checked_add(indices.len()).and_then(|end| input.get(end..)).ok_or_else(wrong)?;
    if indices.is_empty() {
        return Err(wrong());
    }
    let mut shape = Dims::new();
    for index in &indices {
        shape = broadcast(&shape, index)?;
    }
    one_shape(input[..first].iter().chain(&shape).chain(rest).copied().collect())
}

/// Indices whose strides differ are made contiguous, one after the other, before the result.
fn index(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, indices) = (operands.tensor(0)?, operands.tensors(1)?);
    let first = usize::try_from(operands.int(2)?).unwrap_or(0);
    let recorded = context.records(&[input]);
    let saved = recorded.then(|| match operands.flag(3) {
        true => Places::OfHost(indices.len()),
        false => Places::Saved(indices.iter().map(|index| context.save(index)).collect()),
    });
    let mut shape = Dims::new();
    for index in &indices {
        shape = broadcast(&shape, &index.sizes)?;
    }
    let wanted: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
    let indices = indices.into_iter().map(|index| expanded(index, &wanted)).collect::<Result<Vec<Tensor>, _>>()?;
    let alike = indices.iter().all(|index| index.strides == indices[0].strides);
    let copied = |context: &mut Context, index: &Tensor| {
        if alike || index.is_contiguous() { index.clone() } else { context.empty("clone", &index.sizes, index.dtype) }
    };
    let indices: Vec<Tensor> = indices.iter().map(|index| copied(context, index)).collect();
    let (before, rest) = (&input.sizes[..first], &input.sizes[first + indices.len()..]);
    let output = if before.is_empty() && rest.is_empty() {
        elementwise(context, "index", &indices.iter().collect::<Vec<_>>(), input.dtype)
    } else {
        let sizes: Dims = before.iter().chain(&shape).chain(rest).copied().collect();
        context.empty("index", &sizes, input.dtype)
    };
    if let Some(saved) = saved {
        record_index(context, input, first, saved, shape.iter().product(), &output);
    }
    one(output)
}

/// The indices that backward needs: saved tensors, or so many of the host's.
enum Places {
    Saved(Vec<Saved>),
    OfHost(usize),
}

const ADDED: &str = "_index_put_impl_";

/// The places along the first dimension, to which those along further ones are added (cuda/Indexing.cu, computeLinearIndex).
pub(super) fn flat_places(context: &mut Context, count: u64, dims: usize) -> Tensor {
    let wrapped = context.empty(ADDED, &[count], Dtype::I64);
    let linear = context.empty(ADDED, &[count], Dtype::I64);
    drop(wrapped);
    for _ in 1..dims {
        let wrapped = context.empty(ADDED, &[count], Dtype::I64);
        let place = context.empty(ADDED, &[count], Dtype::I64);
        drop((wrapped, place));
    }
    linear
}

/// Adds a gradient's slices at these places, which go when it is done.
pub(super) fn added_at(context: &mut Context, g: &Tensor, linear: Tensor, sizes: (u64, &[u64])) {
    let copied = if g.is_contiguous() { 0 } else { g.bytes() };
    context.scratch(ADDED, &sort_and_add(context.cub(), linear.count(), sizes, copied));
    drop(linear);
}

/// `index_backward`: the gradient is added up into zeros.
fn record_index(context: &mut Context, input: &Tensor, first: usize, saved: Places, count: u64, output: &Tensor) {
    let sizes = input.sizes.clone();
    context.record(
        "IndexBackward0",
        &[Some(input)],
        &[output],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let (indices, dims): (Vec<Tensor>, usize) = match &saved {
                Places::Saved(saved) => (saved.iter().map(|saved| saved.get(context)).collect(), saved.len()),
                Places::OfHost(dims) => (Vec::new(), *dims),
            };
            let zeros = context.empty("new_zeros", &sizes, g.dtype);
            // what is counted on the host goes to the device as it is
            let linear = match indices.is_empty() {
                true => context.empty(ADDED, &[count], Dtype::I64),
                false => flat_places(context, count, dims),
            };
            added_at(context, g, linear, (sizes[..first].iter().product(), &sizes[first..first + dims]));
            smallvec![Some(zeros)]
        }),
    );
}
