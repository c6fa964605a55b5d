//! Reductions: sum, mean; and the sum that brings a gradient back to what the forward broadcast.

use smallvec::smallvec;

use super::call::{dimension, one as one_shape};
use super::elementwise::{cast, elementwise};
use super::operands::{Operand, one};
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::{Argument, Dims};
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::layout::Layout;
use crate::lower::kernels::reduce::{Reduction, scratch};
use crate::lower::tensor::{Tensor, TensorData};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "mean",
        signature: "input, dim=None, keepdim=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/ReduceOps.cpp, mean",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &["mean.dim"],
        aten: &[("mean.dim", "self, dim, keepdim=False", "dtype=None")],
        shapes: reduced_shape,
        lower: mean,
    },
    Row {
        name: "sum",
        signature: "input, dim=None, keepdim=False, dtype=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/ReduceOps.cpp, sum",
        class: Class::Elements,
        autocast: Autocast::FullResult,
        savable: &["sum.dim_IntList"],
        aten: &[("sum.dim_IntList", "self, dim, keepdim=False, dtype=None", "")],
        shapes: reduced_shape,
        lower: sum,
    },
    Row {
        name: "prod",
        signature: "input, dim=None, keepdim=False, dtype=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/ReduceOps.cpp, prod",
        class: Class::Elements,
        autocast: Autocast::FullResult,
        savable: &[],
        aten: &[],
        shapes: reduced_shape,
        lower: |context, a| {
            let x = a.tensor(0)?;
            if context.records(&[x]) {
                return Err("the gradient of prod is not known".to_owned());
            }
            let dims = if matches!(a.at(1), Operand::None) { Vec::new() } else { a.ints(1)? };
            let marks = marks(x.sizes.len(), &dims)?;
            let dtype = a.dtype(3).unwrap_or(if x.dtype.is_floating() { x.dtype } else { Dtype::I64 });
            one(reduce(context, "prod", Reduction::Product, x, &marks, a.flag(2), dtype))
        },
    },
    Row {
        name: "vector_norm",
        signature: "input, dim, keepdim=False, dtype=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/LinearAlgebra.cpp, linalg_vector_norm_out; FunctionsManual.cpp, norm_backward",
        class: Class::Elements,
        // autocast_mode.h, AT_FORALL_FP32_SET_OPT_DTYPE
        autocast: Autocast::FullResult,
        savable: &[],
        aten: &[],
        shapes: reduced_shape,
        lower: vector_norm,
    },
    Row {
        name: "all",
        signature: "input, dim=None, keepdim=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/ReduceOps.cpp, all",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("all.default", "self", ""), ("all.dim", "self, dim, keepdim=False", "")],
        shapes: reduced_shape,
        lower: |context, a| logical(context, "all", a),
    },
    Row {
        name: "any",
        signature: "input, dim=None, keepdim=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/ReduceOps.cpp, any",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("any.default", "self", ""), ("any.dim", "self, dim, keepdim=False", "")],
        shapes: reduced_shape,
        lower: |context, a| logical(context, "any", a),
    },
    Row {
        name: "max_of_all",
        signature: "input",
        returns: Returns::One,
        source: "aten/src/ATen/native/ReduceAllOps.cpp, max",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |_| one_shape(Dims::new()),
        lower: |context, a| {
            let x = a.tensor(0)?;
            one(whole(context, "max", Reduction::ExtremeOfAll, x, x.dtype))
        },
    },
    Row {
        name: "max_along",
        signature: "input, dim, keepdim=False",
        returns: Returns::Tuple,
        source: "aten/src/ATen/native/TensorCompare.cpp, max; FunctionsManual.cpp, value_selecting_reduction_backward",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("max.dim", "self, dim, keepdim=False", ""), ("min.dim", "self, dim, keepdim=False", "")],
        shapes: |call| {
            let shape = call.shape(0)?;
            let shape = kept(shape, &marks(shape.len(), &[call.int(1)?])?, call.flag(2));
            Ok(smallvec![shape.clone(), shape])
        },
        lower: max_along,
    },
    Row {
        name: "argmax",
        signature: "input, dim, keepdim=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/ReduceOps.cpp, argmax",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("argmax.default", "self, dim, keepdim=False", "")],
        shapes: |call| {
            let shape = call.shape(0)?;
            one_shape(kept(shape, &marks(shape.len(), &[call.int(1)?])?, call.flag(2)))
        },
        lower: |context, a| {
            let x = a.tensor(0)?;
            let marks = marks(x.sizes.len(), &[a.int(1)?])?;
            one(reduce(context, "argmax", Reduction::Argument, x, &marks, a.flag(2), Dtype::I64))
        },
    },
];

/// The largest along a dimension, and where it is; the gradient is put into zeros.
fn max_along(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let marks = marks(x.sizes.len(), &[operands.int(1)?])?;
    let sizes = kept(&x.sizes, &marks, operands.flag(2));
    let values = context.empty("max", &sizes, x.dtype);
    let indices = context.empty("max", &sizes, Dtype::I64);
    let layout = layout(&x.sizes, &x.strides);
    let steps = scratch(&context.device, Reduction::ExtremeWithIndex, &layout, x.dtype, &marks, x.dtype);
    context.scratch("max", &steps);
    record_selected(context, "MaxBackward0", x, &values, &indices);
    Ok(smallvec![values, indices])
}

/// Records what chose values of `x` by indices: the gradient is put into zeros (FunctionsManual.cpp, value_selecting_reduction_backward).
pub(super) fn record_selected(
    context: &mut Context,
    node: &'static str,
    x: &Tensor,
    values: &Tensor,
    indices: &Tensor,
) {
    if context.records(&[x]) {
        let (saved, sizes) = (context.save(indices), x.sizes.clone());
        context.record(
            node,
            &[Some(x)],
            &[values],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let _indices = saved.get(context);
                smallvec![Some(context.empty("zeros", &sizes, g.dtype))]
            }),
        );
    }
}

/// A reduction of a whole tensor without autograd: of integers or booleans.
pub(super) fn whole(context: &mut Context, op: &'static str, kind: Reduction, x: &Tensor, dtype: Dtype) -> Tensor {
    let marks: Vec<bool> = x.sizes.iter().map(|_| true).collect();
    reduce(context, op, kind, x, &marks, false, dtype)
}

/// `any` and `all`, of a whole tensor or along dimensions.
fn logical(context: &mut Context, op: &'static str, a: &Operands) -> Lowered {
    let x = a.tensor(0)?;
    let dims = if matches!(a.at(1), Operand::None) { Vec::new() } else { a.ints(1)? };
    let marks = marks(x.sizes.len(), &dims)?;
    one(reduce(context, op, Reduction::Logical, x, &marks, a.flag(2), Dtype::Bool))
}

fn marks(count: usize, dims: &[i64]) -> Result<Vec<bool>, String> {
    let mut marks = vec![dims.is_empty(); count];
    for dim in dims {
        marks[dimension(*dim, count)?] = true;
    }
    Ok(marks)
}

fn reduced_shape(call: &Call) -> Shapes {
    let shape = call.shape(0)?;
    // without dimensions all of them
    let dims = if matches!(call.argument(1), Argument::None) { Vec::new() } else { call.ints(1)? };
    let marks = marks(shape.len(), &dims)?;
    one_shape(kept(shape, &marks, call.flag(2)))
}

fn kept(shape: &[u64], marks: &[bool], keepdim: bool) -> Dims {
    let sizes = shape.iter().zip(marks);
    sizes.filter(|(_, reduced)| keepdim || !**reduced).map(|(size, reduced)| if *reduced { 1 } else { *size }).collect()
}

/// Allocates the result of a reduction and the kernel's scratch memory.
pub(crate) fn reduce(
    context: &mut Context,
    op: &'static str,
    kind: Reduction,
    x: &Tensor,
    marks: &[bool],
    keepdim: bool,
    dtype: Dtype,
) -> Tensor {
    context.aten(op, |context| {
        let output = context.empty(op, &kept(&x.sizes, marks, keepdim), dtype);
        let layout = layout(&x.sizes, &x.strides);
        let steps = scratch(&context.device, kind, &layout, x.dtype, marks, dtype);
        context.scratch(op, &steps);
        output
    })
}

fn layout(sizes: &[u64], strides: &[u64]) -> Layout {
    Layout { shape: sizes.to_vec(), strides: strides.iter().map(|stride| *stride as i64).collect(), offset: 0 }
}

/// The dimensions that `sum_to` sums: the leading ones, and those of size 1 in the result.
fn broadcast_marks(from: &[u64], to: &[u64]) -> Vec<bool> {
    let leading = from.len() - to.len().min(from.len());
    let sizes = from.iter().enumerate();
    sizes.map(|(dim, size)| dim < leading || (to[dim - leading] == 1 && *size != 1)).collect()
}

/// The scratch memory of a sum from one shape to another, whose result somebody else allocates.
pub(super) fn sum_scratch(context: &mut Context, sizes: &[u64], strides: &[u64], to: &[u64], dtype: Dtype) {
    let marks = broadcast_marks(sizes, to);
    let steps = scratch(&context.device, Reduction::Sum, &layout(sizes, strides), dtype, &marks, dtype);
    context.scratch("sum", &steps);
}

/// The scratch memory of a reduction of a whole tensor, whose result somebody else allocates.
pub(super) fn whole_scratch(context: &mut Context, op: &'static str, kind: Reduction, x: &Tensor) {
    let marks: Vec<bool> = x.sizes.iter().map(|_| true).collect();
    let steps = scratch(&context.device, kind, &layout(&x.sizes, &x.strides), x.dtype, &marks, x.dtype);
    context.scratch(op, &steps);
}

/// Sums a gradient over the dimensions that were broadcast (aten/src/ATen/ExpandUtils.h, `sum_to`).
pub(crate) fn sum_to(context: &mut Context, gradient: Tensor, sizes: &[u64]) -> Tensor {
    let leading = gradient.sizes.len() - sizes.len().min(gradient.sizes.len());
    let marks = broadcast_marks(&gradient.sizes, sizes);
    let summed = if marks.contains(&true) {
        let dtype = gradient.dtype;
        reduce(context, "sum", Reduction::Sum, &gradient, &marks, true, dtype)
    } else {
        gradient
    };
    if leading == 0 {
        return summed;
    }
    let strides = summed.strides[leading..].into();
    TensorData::view(&summed, sizes.into(), strides)
}

fn mean(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let dims = if matches!(operands.at(1), Operand::None) { Vec::new() } else { operands.ints(1)? };
    one(mean_of(context, x, &dims, operands.flag(2))?)
}

/// `torch.linalg.vector_norm(input, dim=dim)`, the root of the sum of squares; backward is grad * (self / norm).masked_fill_(norm == 0, 0).
fn vector_norm(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let marks = marks(x.sizes.len(), &operands.ints(1)?)?;
    let keepdim = operands.flag(2);
    let saved = context.records(&[x]).then(|| context.save(x));
    let wide = operands.dtype(3).unwrap_or(x.dtype);
    let output = reduce(context, "linalg_vector_norm", Reduction::Norm, x, &marks, keepdim, wide);
    if let Some(saved) = saved {
        let norm = context.save(&output);
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let x = saved.get(context);
            let norm = norm.get(context);
            let [g, norm] = [g, &norm].map(|tensor| if keepdim { tensor.clone() } else { unreduced(tensor, &marks) });
            let quotient = elementwise(context, "div", &[&x, &norm], wide);
            let zero = elementwise(context, "eq", &[&norm], Dtype::Bool);
            let result = elementwise(context, "mul", &[&g, &quotient], g.dtype);
            drop((zero, quotient));
            smallvec![Some(if x.dtype == result.dtype { result } else { cast(context, &result, x.dtype) })]
        };
        context.record("LinalgVectorNormBackward0", &[Some(x)], &[&output], Box::new(apply));
    }
    one(output)
}

/// A reduced tensor with its dimensions again, each of size 1.
fn unreduced(x: &Tensor, marks: &[bool]) -> Tensor {
    let (mut sizes, mut strides) = (Dims::new(), Dims::new());
    let mut left = x.sizes.iter().zip(&x.strides);
    for reduced in marks {
        let (size, stride) =
            if *reduced { (1, 1) } else { left.next().map_or((1, 1), |(size, stride)| (*size, *stride)) };
        sizes.push(size);
        strides.push(stride);
    }
    TensorData::view(x, sizes, strides)
}

/// The mean over some dimensions.
pub(super) fn mean_of(context: &mut Context, x: &Tensor, dims: &[i64], keepdim: bool) -> Result<Tensor, String> {
    let marks = marks(x.sizes.len(), dims)?;
    let output = reduce(context, "mean", Reduction::Mean, x, &marks, keepdim, x.dtype);
    if context.records(&[x]) {
        let sizes = x.sizes.clone();
        // FunctionsManual.cpp, mean_backward: the expanded gradient divided by the count
        context.record(
            "MeanBackward1",
            &[Some(x)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                smallvec![Some(context.empty("div", &sizes, g.dtype))]
            }),
        );
    }
    Ok(output)
}

/// FunctionsManual.cpp, `sum_backward`: the gradient expanded over what was summed.
fn spread(g: &Tensor, sizes: &Dims, marks: &[bool], keepdim: bool) -> Tensor {
    let mut strides = g.strides.iter().copied();
    let stride = |reduced: &bool| {
        let kept = if *reduced && !keepdim { None } else { strides.next() };
        kept.filter(|_| !*reduced).unwrap_or(0)
    };
    let strides = marks.iter().map(stride).collect();
    TensorData::view(g, sizes.clone(), strides)
}

fn sum(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    // without dimensions all of them
    let dims = if matches!(operands.at(1), Operand::None) { Vec::new() } else { operands.ints(1)? };
    let marks = marks(x.sizes.len(), &dims)?;
    let dtype = operands.dtype(3).unwrap_or(if x.dtype.is_floating() { x.dtype } else { Dtype::I64 });
    let output = reduce(context, "sum", Reduction::Sum, x, &marks, operands.flag(2), dtype);
    if context.records(&[x]) {
        let (sizes, keepdim) = (x.sizes.clone(), operands.flag(2));
        context.record(
            "SumBackward1",
            &[Some(x)],
            &[&output],
            Box::new(move |_, g| smallvec![g[0].as_ref().map(|g| spread(g, &sizes, &marks, keepdim))]),
        );
    }
    one(output)
}
