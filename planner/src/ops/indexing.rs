//! Indexing with tensors of integers: `gather`, and `x[i, j]`; and `roll`.

use super::call::{broadcast, one as one_shape};
use super::elementwise::{elementwise, first_shape};
use super::operands::one;
use super::views::{contiguous, expanded};
use super::{Call, Lowered, Operands, Returns, Row, Shapes};
use crate::graph::Dims;
use crate::lower::context::Context;
use crate::lower::tensor::Tensor;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "gather",
        signature: "input, dim, index",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, gather",
        shapes: |call| one_shape(call.shape(2)?.clone()),
        lower: |context, a| {
            let sizes = a.tensor(2)?.sizes.clone();
            one(context.empty("gather", &sizes, a.tensor(0)?.dtype))
        },
    },
    Row {
        name: "roll",
        signature: "input, shifts, dim",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/TensorTransformations.cu, roll_cuda",
        shapes: first_shape,
        lower: |context, a| {
            let x = a.tensor(0)?;
            if context.records(&[x]) {
                return Err("rolling a tensor that needs a gradient is not known".to_owned());
            }
            let x = contiguous(context, x);
            one(context.empty_like("roll", &x))
        },
    },
    Row {
        name: "index",
        signature: "input, indices",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, index and AdvancedIndex; IndexingUtils.h",
        shapes: index_shape,
        lower: index,
    },
];

/// The indices address the leading dimensions; they take on one shape, which stands for these in the result.
fn index_shape(call: &Call) -> Shapes {
    let (input, indices) = (call.shape(0)?, call.shape_list(1)?);
    if indices.is_empty() || indices.len() > input.len() {
        return Err(format!("{} indices do not fit a tensor of shape {input:?}", indices.len()));
    }
    let mut shape = Dims::new();
    for index in &indices {
        shape = broadcast(&shape, index)?;
    }
    shape.extend(input[indices.len()..].iter().copied());
    one_shape(shape)
}

/// Indices whose strides differ are made contiguous, one after the other, before the result; without autograd alone.
fn index(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, indices) = (operands.tensor(0)?, operands.tensors(1)?);
    if context.records(&[input]) {
        return Err("indexing a tensor that needs a gradient is not known".to_owned());
    }
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
    let rest = &input.sizes[indices.len()..];
    let output = if rest.is_empty() {
        elementwise(context, "index", &indices.iter().collect::<Vec<_>>(), input.dtype)
    } else {
        let sizes: Dims = shape.iter().chain(rest).copied().collect();
        context.empty("index", &sizes, input.dtype)
    };
    one(output)
}
