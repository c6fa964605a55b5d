//! What gives tokens to experts: the largest of scores, sorting, counting, where a mask is true.

use smallvec::smallvec;

use super::call::{dimension, one as one_shape};
use super::operands::one;
use super::reduce::record_selected;
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::context::Context;
use crate::lower::kernels::{cub, sort};
use crate::lower::tensor::{Tensor, TensorData};

/// The operator whose count a spec assumes: as many tokens for each expert.
pub const NONZERO: &str = "nonzero";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "topk",
        signature: "input, k, dim=-1",
        returns: Returns::Tuple,
        source: "aten/src/ATen/native/cuda/TensorTopK.cpp; FunctionsManual.cpp, value_selecting_reduction_backward",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| {
            let shape = chosen(call.shape(0)?, call.int(1)?, call.int(2)?)?;
            Ok(smallvec![shape.clone(), shape])
        },
        lower: topk,
    },
    Row {
        name: "sort",
        signature: "input",
        returns: Returns::Tuple,
        source: "aten/src/ATen/native/cuda/Sort.cpp, sort_cuda_kernel",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| Ok(smallvec![call.shape(0)?.clone(), call.shape(0)?.clone()]),
        lower: sort_last,
    },
    Row {
        name: "histc",
        signature: "input, bins",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/SummaryOps.cu, _histc_cuda",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| one_shape(counted(call)?),
        lower: |context, a| {
            let bins = u64::try_from(a.int(1)?).map_err(|_| "a histogram has bins".to_owned())?;
            one(context.empty("histc", &[bins], a.tensor(0)?.dtype))
        },
    },
    // How many there are is the caller's to say: here values are not known.
    Row {
        name: NONZERO,
        signature: "input, count",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Nonzero.cu, nonzero_cuda_out_impl",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| {
            let count = u64::try_from(call.int(1)?).map_err(|_| "fewer than no elements".to_owned())?;
            one_shape(smallvec![count, call.shape(0)?.len() as u64])
        },
        lower: nonzero,
    },
    // As above; the result lies in memory for all elements.
    Row {
        name: "unique_consecutive",
        signature: "input, count",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/UniqueCub.cu, compute_unique; the size of CUB's tiles was not read: it counts from 1,281 elements on",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| {
            one_shape(smallvec![u64::try_from(call.int(1)?).map_err(|_| "fewer than no elements".to_owned())?])
        },
        lower: |context, a| {
            let (x, count) = (a.tensor(0)?, a.int(1)?);
            let whole = context.empty("unique_consecutive", &[x.count()], x.dtype);
            let length = context.empty("unique_consecutive", &[1], Dtype::I64);
            drop(context.empty("unique_consecutive", &[cub::flagged(x.count())], Dtype::U8));
            drop(length);
            one(TensorData::view(&whole, smallvec![count as u64], smallvec![1]))
        },
    },
];

fn nonzero(context: &mut Context, operands: &Operands) -> Lowered {
    let count = u64::try_from(operands.int(1)?).map_err(|_| "fewer than no elements".to_owned())?;
    one(nonzero_of(context, operands.tensor(0)?, count))
}

/// The indices of `count` elements: counted, then picked, over a contiguous input; columns lie one after the other.
pub(super) fn nonzero_of(context: &mut Context, x: &Tensor, count: u64) -> Tensor {
    let n = x.count();
    let whole = (!x.is_contiguous()).then(|| context.empty("clone", &x.sizes, x.dtype));
    let counts = context.empty("nonzero", &[1], Dtype::I32);
    let temporary = cub::count(&context.device, n);
    drop(context.empty("nonzero", &[temporary], Dtype::U8));
    let sizes = smallvec![count, x.sizes.len() as u64];
    let output = context.empty_strided("nonzero", sizes, smallvec![1, count.max(1)], Dtype::I64);
    drop(context.empty("nonzero", &[cub::flagged(n)], Dtype::U8));
    drop((counts, whole));
    output
}

fn counted(call: &Call) -> Result<Dims, String> {
    // with one bin the bounds are equal, and the input is searched for others
    match u64::try_from(call.int(1)?) {
        Ok(bins) if bins > 1 => Ok(smallvec![bins]),
        _ => Err("a histogram of fewer than two bins is not known".to_owned()),
    }
}

/// The sizes of what is chosen along a dimension.
fn chosen(shape: &[u64], k: i64, dim: i64) -> Result<Dims, String> {
    let dim = dimension(dim, shape.len())?;
    let mut shape = Dims::from(shape);
    match u64::try_from(k) {
        Ok(k) if k <= shape[dim] => shape[dim] = k,
        _ => return Err(format!("{k} of {} elements cannot be chosen", shape[dim])),
    }
    Ok(shape)
}

/// Values and where they were; backward scatters the gradient into zeros.
fn topk(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let sizes = chosen(&x.sizes, operands.int(1)?, operands.int(2)?)?;
    if dimension(operands.int(2)?, x.sizes.len())? + 1 != x.sizes.len() || !x.is_contiguous() {
        return Err("topk is known along the last dimension of contiguous tensors alone".to_owned());
    }
    let outputs = context.aten_outputs("topk", |context| {
        let values = context.empty("topk", &sizes, x.dtype);
        let indices = context.empty("topk", &sizes, Dtype::I64);
        let length = x.sizes.last().copied().unwrap_or(1);
        context.scratch("topk", &sort::topk(&context.device, x.dtype, x.count() / length.max(1), length));
        smallvec![values, indices]
    });
    let [values, indices] = &outputs[..] else { return Err("topk gives two tensors".to_owned()) };
    record_selected(context, "TopkBackward0", x, values, indices);
    Ok(outputs.into_iter().collect())
}

/// Sorts integers along the last dimension.
fn sort_last(context: &mut Context, operands: &Operands) -> Lowered {
    let x: &Tensor = operands.tensor(0)?;
    if context.records(&[x]) || !x.is_contiguous() {
        return Err("sorting is known of contiguous tensors without a gradient alone".to_owned());
    }
    let length = x.sizes.last().copied().unwrap_or(1);
    let architecture = context.cub();
    let steps = sort::sort_on(architecture, x.dtype, x.count() / length.max(1), length);
    let steps = steps.ok_or_else(|| format!("the sort of {length} elements of {} is not known", x.dtype))?;
    let values = context.empty("sort", &x.sizes, x.dtype);
    let indices = context.empty("sort", &x.sizes, Dtype::I64);
    context.scratch("sort", &steps);
    Ok(smallvec![values, indices])
}
