//! Embedding: rows of a table by index.

use smallvec::smallvec;

use super::call::one as one_shape;
use super::operands::one;
use super::views::can_view;
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::embedding::{Gradient, backward_on};
use crate::lower::tensor::{TensorData, contiguous_strides};

pub(super) const ROWS: &[Row] = &[Row {
    name: "embedding",
    signature: "input, weight",
    returns: Returns::One,
    source: "aten/src/ATen/native/Embedding.cpp; cuda/Embedding.cu, embedding_dense_backward_cuda",
    class: Class::Picks,
    autocast: Autocast::Keeps,
    savable: &["embedding.default"],
    aten: &[("embedding.default", "indices, weight", "padding_idx, scale_grad_by_freq=False, sparse=False")],
    shapes: shape,
    lower: embedding,
}];

fn sizes(indices: &[u64], weight: &[u64]) -> Result<Dims, String> {
    let [_, width] = weight else { return Err(format!("a table of shape {weight:?} is no matrix")) };
    Ok(indices.iter().chain([width]).copied().collect())
}

fn shape(call: &Call) -> Shapes {
    one_shape(sizes(call.shape(0)?, call.shape(1)?)?)
}

/// `indices.reshape(-1)` copies where there is no such view; then rows are selected.
fn embedding(context: &mut Context, operands: &Operands) -> Lowered {
    let (indices, weight) = (operands.tensor(0)?, operands.tensor(1)?);
    let saved = context.records(&[weight]).then(|| context.save(indices));
    let sizes_of_result = sizes(&indices.sizes, &weight.sizes)?;
    let output = context.aten("embedding", |context| {
        let is_flat = can_view(indices, &[indices.count()]).is_some();
        let _flat = (!is_flat).then(|| context.empty("clone", &indices.sizes, indices.dtype));
        context.empty("embedding", &sizes_of_result, weight.dtype)
    });
    if let Some(saved) = saved {
        let [rows, width] = weight.sizes[..] else { return Err("the table is no matrix".to_owned()) };
        context.record(
            "EmbeddingBackward0",
            &[Some(weight)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let saved = saved.get(context);
                let call = Gradient {
                    gradient_is_contiguous: g.is_contiguous(),
                    indices_are_contiguous: saved.is_contiguous(),
                    ..Gradient::new(saved.count(), width, rows, g.dtype)
                };
                let architecture = context.cub();
                let steps = backward_on(architecture, &context.device, &call);
                let kept = context.scratch("embedding_dense_backward", &steps);
                let sizes: Dims = smallvec![rows, width];
                let strides = contiguous_strides(&sizes);
                let result = kept.into_iter().next_back().map(|s| TensorData::new(s, g.dtype, sizes, strides));
                smallvec![result]
            }),
        );
    }
    one(output)
}
