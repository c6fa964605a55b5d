//! Images of another size: `interpolate`.

use smallvec::smallvec;

use super::call::one as one_shape;
use super::operands::one;
use super::{Autocast, Class, Lowered, Operands, Returns, Row};
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::memory_format::{empty, suggested};
use crate::lower::tensor::Tensor;

pub(super) const ROWS: &[Row] = &[Row {
    name: "upsample",
    signature: "input, *size",
    returns: Returns::One,
    source: "aten/src/ATen/native/UpSample.cpp; cuda/UpSampleNearest2d.cu, UpSampleBilinear2d.cu, UpSampleBicubic2d.cu",
    class: Class::Elements,
    autocast: Autocast::Full,
    savable: &[],
    aten: &[],
    shapes: |call| one_shape(sized(call.shape(0)?, &call.ints(1)?)?),
    lower: upsample,
}];

/// Batch and channels stay.
fn sized(input: &[u64], size: &[i64]) -> Result<Dims, String> {
    let wrong = || format!("{size:?} is no size of an image of shape {input:?}");
    if input.len() != size.len() + 2 {
        return Err(wrong());
    }
    let places = size.iter().map(|places| u64::try_from(*places).ok().filter(|places| *places > 0).ok_or_else(wrong));
    input[..2].iter().map(|kept| Ok(*kept)).chain(places).collect()
}

/// Backward adds the gradient into an image of the old size; it keeps nothing.
fn upsample(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let sizes = sized(&x.sizes, &operands.ints(1)?)?;
    let format = suggested(x);
    let output = empty(context, "upsample", &sizes, x.dtype, format);
    if context.records(&[x]) {
        let original = x.sizes.clone();
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            smallvec![Some(empty(context, "upsample_backward", &original, g.dtype, suggested(g)))]
        };
        context.record("UpsampleBackward0", &[Some(x)], &[&output], Box::new(apply));
    }
    one(output)
}
