//! A weight as its length times its direction.

use smallvec::smallvec;

use super::elementwise::first_shape;
use super::operands::one;
use super::{Autocast, Class, Lowered, Operands, Returns, Row};
use crate::dtype::Dtype;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::tensor::Tensor;

pub(super) const ROWS: &[Row] = &[Row {
    name: "weight_norm_interface",
    signature: "v, g, dim=0",
    returns: Returns::One,
    source: "aten/src/ATen/native/cuda/WeightNorm.cu, weight_norm_cuda and weight_norm_backward_cuda",
    class: Class::Elements,
    autocast: Autocast::Keeps,
    savable: &["_weight_norm_interface.default"],
    aten: &[],
    shapes: first_shape,
    lower: weight_norm,
}];

/// The weight, and the norms of `v`, which are kept for backward with `v` and `g`.
fn weight_norm(context: &mut Context, operands: &Operands) -> Lowered {
    let (v, g) = (operands.tensor(0)?, operands.tensor(1)?);
    let saved = context.records(&[v, g]).then(|| [v, g].map(|tensor| context.save(tensor)));
    let op = "_weight_norm_interface";
    let half = matches!(g.dtype, Dtype::F16 | Dtype::BF16);
    let outputs = context.aten_outputs(op, |context| {
        let weight = context.empty(op, &v.sizes, v.dtype);
        let norms = context.empty(op, &g.sizes, if half { Dtype::F32 } else { g.dtype });
        smallvec![weight, norms]
    });
    let [weight, norms] = &outputs[..] else { return Err("a weight norm gives two tensors".to_owned()) };
    if let Some([saved_v, saved_g]) = saved {
        let saved_norms = context.save(norms);
        let apply = move |context: &mut Context, incoming: &mut [Option<Tensor>]| {
            let Some(incoming) = &incoming[0] else { return Gradients::new() };
            let op = "_weight_norm_interface_backward";
            let copy = (!incoming.is_contiguous()).then(|| context.empty("clone", &incoming.sizes, incoming.dtype));
            let (v, g) = (saved_v.get(context), saved_g.get(context));
            let _norms = saved_norms.get(context);
            let of_v = context.empty(op, &v.sizes, v.dtype);
            let of_g = context.empty(op, &g.sizes, g.dtype);
            drop(copy);
            smallvec![Some(of_v), Some(of_g)]
        };
        context.record("WeightNormInterfaceBackward0", &[Some(v), Some(g)], &[weight], Box::new(apply));
    }
    one(weight.clone())
}
