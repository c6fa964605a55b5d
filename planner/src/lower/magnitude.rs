//! The magnitude that DoRA gives a layer: the norm of each row of its weight with the adapters added.
//!
//! ```text
//! lora_B @ lora_A, in float32 where weights are float16;  times the scale;  plus the weight;  the norms, which are kept
//! ```
//!
//! Read from peft 0.21.2, tuners/lora/dora.py (`DoraLinearLayer.update_layer`, `get_weight_norm`).

use std::rc::Rc;

use super::context::Context;
use super::kernels::layout::Layout;
use super::kernels::reduce::{Reduction, scratch};
use super::tensor::{Storage, TensorData, contiguous_strides};
use crate::dtype::Dtype;
use crate::ops;

/// Makes the magnitude, which is the parameter of that number; its adapters are the two before it. Where the weight is stored
/// the other way round, so is its sum with them.
pub(super) fn load(context: &mut Context, number: usize, transposed: bool) -> Rc<Storage> {
    let (graph, weights) = (context.graph.clone(), context.settings.weights);
    let dtype = if weights == Dtype::F16 { Dtype::F32 } else { weights };
    let [a, b] = [2, 1].map(|before| {
        let shape = &graph.parameters[number - before].shape;
        let adapter = TensorData::new(context.memory.log.nothing(), weights, shape.clone(), contiguous_strides(shape));
        if dtype == weights { adapter } else { ops::cast(context, &adapter, dtype) }
    });
    let mut product = ops::matmul(context, &b, &a).unwrap_or_else(|message| context.fail(&message));
    if dtype != weights {
        product = ops::cast(context, &product, weights);
    }
    let (rows, columns) = (product.sizes[0], product.sizes[1]);
    let scaled = context.empty("mul", &product.sizes, weights);
    let sum = context.empty("add", &product.sizes, weights);
    drop(scaled);
    let magnitude = context.allocate_for("linalg_vector_norm", rows * weights.size(), Some(number as u32));
    let strides = if transposed { [1, rows] } else { [columns, 1] };
    let layout =
        Layout { shape: vec![rows, columns], strides: strides.map(|stride| stride as i64).to_vec(), offset: 0 };
    let steps = scratch(&context.device, Reduction::Norm, &layout, weights, &[false, true], weights);
    context.scratch("linalg_vector_norm", &steps);
    drop((product, sum, a, b));
    magnitude
}
