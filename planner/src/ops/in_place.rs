//! Operators that write into their first argument: the same tensor at a new place of the autograd graph.

use smallvec::smallvec;

use super::call::{broadcast, dimension};
use super::elementwise::{Arithmetic, cast, elementwise, first_shape, record_arithmetic};
use super::indexing::record_masked_fill;
use super::operands::one;
use super::{Lowered, Operands, Returns, Row};
use crate::lower::autograd::Gradients;
use crate::lower::checkpoint::Saved;
use crate::lower::context::Context;
use crate::lower::tensor::Tensor;

const SOURCE: &str = "tools/autograd/derivatives.yaml; tools/autograd/gen_variable_type.py";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "add_",
        signature: "input, other",
        returns: Returns::One,
        source: SOURCE,
        shapes: first_shape,
        lower: add,
    },
    Row {
        name: "index_copy_",
        signature: "input, dim, index, source",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, index_copy_out and its meta function",
        shapes: first_shape,
        lower: |context, a| {
            let (x, source) = (a.tensor(0)?, a.tensor(3)?);
            same_type("self and source are expected to have the same dtype", x, source)?;
            overwritten(context, x, source)
        },
    },
    Row {
        name: "index_put_",
        signature: "input, index, values",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, make_info: an index of integers stays as it is",
        shapes: first_shape,
        lower: |context, a| {
            let (x, values) = (a.tensor(0)?, a.tensor(2)?);
            same_type("the source and destination dtypes must match", x, values)?;
            overwritten(context, x, values)
        },
    },
    Row {
        name: "copy_",
        signature: "input, source",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Copy.cu: on one device a kernel copies, whatever the strides",
        shapes: first_shape,
        lower: |context, a| overwritten(context, a.tensor(0)?, a.tensor(1)?),
    },
    Row {
        name: "div_",
        signature: "input, other",
        returns: Returns::One,
        source: SOURCE,
        shapes: first_shape,
        lower: divide,
    },
    Row {
        name: "masked_fill_",
        signature: "input, mask, value",
        returns: Returns::One,
        source: SOURCE,
        shapes: first_shape,
        lower: |context, a| {
            let (x, mask) = (a.tensor(0)?, a.tensor(1)?);
            let saved = context.records(&[x]).then(|| context.save(mask));
            record_masked_fill(context, x, saved, x);
            one(x.clone())
        },
    },
    Row {
        name: "scatter_",
        signature: "input, dim, index, value",
        returns: Returns::One,
        source: SOURCE,
        shapes: first_shape,
        lower: without_gradient,
    },
    Row {
        name: "copy_slice_",
        signature: "input, dim, start, end, source",
        returns: Returns::One,
        source: "torch/csrc/autograd/functions/tensor.cpp, CopySlices and CopyBackwards",
        shapes: first_shape,
        lower: copy_slice,
    },
    row("clamp_", without_gradient),
    row("relu_", |context, a| {
        let x = a.tensor(0)?;
        // The result is saved.
        let saved = context.records(&[x]).then(|| context.save(x));
        record(context, ["ReluBackward0", "threshold_backward"], x, saved)
    }),
    row("relu6_", |context, a| {
        let x = a.tensor(0)?;
        // hardtanh_ needs its input, of which it keeps a copy.
        let copy = context.records(&[x]).then(|| context.empty_like("clone", x));
        let saved = copy.map(|copy| context.save(&copy));
        record(context, ["HardtanhBackward0", "hardtanh_backward"], x, saved)
    }),
];

const fn row(name: &'static str, lower: super::Lower) -> Row {
    Row { name, signature: "input", returns: Returns::One, source: SOURCE, shapes: first_shape, lower }
}

fn record(context: &mut Context, [node, op]: [&'static str; 2], x: &Tensor, saved: Option<Saved>) -> Lowered {
    if let Some(saved) = saved {
        context.record(
            node,
            &[Some(x)],
            &[x],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let saved = saved.get(context);
                smallvec![Some(elementwise(context, op, &[g, &saved], g.dtype))]
            }),
        );
    }
    one(x.clone())
}

fn same_type(refusal: &str, x: &Tensor, source: &Tensor) -> Result<(), String> {
    if x.dtype == source.dtype {
        return Ok(());
    }
    Err(format!("{refusal}: PyTorch refuses {} into {}", source.dtype, x.dtype))
}

/// What lies there is gone, and nothing is allocated.
fn overwritten(context: &mut Context, x: &Tensor, source: &Tensor) -> Lowered {
    if context.records(&[x, source]) {
        return Err("overwriting a tensor that needs a gradient is not known".to_owned());
    }
    one(x.clone())
}

fn without_gradient(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    if context.records(&[x]) {
        return Err("writing into a tensor that needs a gradient is not known here".to_owned());
    }
    one(x.clone())
}

/// `input[..., start:end].copy_(source)`: the base comes from a node that hands its gradient on, zero where the slice was
/// overwritten, and the slice's to the source, converted to its type.
fn copy_slice(context: &mut Context, operands: &Operands) -> Lowered {
    let (x, source) = (operands.tensor(0)?, operands.tensor(4)?);
    let dim = dimension(operands.int(1)?, x.sizes.len())?;
    let mut part = x.sizes.clone();
    part[dim] = (operands.int(3)? - operands.int(2)?).max(0) as u64;
    if broadcast(&part, &source.sizes)? != part {
        return Err(format!("{:?} does not fit into {part:?}", source.sizes));
    }
    if context.records(&[x, source]) {
        let needs = [x.requires_grad(), source.requires_grad()];
        let (sizes, strides, dtype) = (x.sizes.clone(), x.strides.clone(), source.dtype);
        context.record(
            "CopySlices",
            &[Some(x), Some(source)],
            &[x],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let whole = context.empty_strided("new_empty_strided", sizes.clone(), strides.clone(), g.dtype);
                let slice = context.empty("clone", &part, g.dtype);
                let zeros = needs[0].then(|| context.empty_like("zeros_like", &slice));
                let of_source =
                    needs[1].then(|| if dtype == g.dtype { slice.clone() } else { cast(context, &slice, dtype) });
                drop(slice);
                drop(zeros);
                smallvec![needs[0].then_some(whole), of_source]
            }),
        );
    }
    one(x.clone())
}

/// Where the divisor needs a gradient, backward needs the dividend, of which a copy is kept.
fn divide(context: &mut Context, operands: &Operands) -> Lowered {
    let (x, other) = (operands.tensor(0)?, operands.tensor(1)?);
    if context.records(&[x, other]) {
        let copy = other.requires_grad().then(|| context.aten("clone", |context| context.empty_like("clone", x)));
        let original = copy.as_ref().map_or_else(|| x.clone(), |copy| copy.clone());
        let kept = [copy.map(|_| context.save(&original)), Some(context.save(other))];
        record_arithmetic(context, Arithmetic::Divide, (Some(x), Some(other)), kept, x);
    }
    one(x.clone())
}

fn add(context: &mut Context, operands: &Operands) -> Lowered {
    let (x, other) = (operands.tensor(0)?, operands.tensor(1)?);
    if context.records(&[x, other]) {
        record_arithmetic(context, Arithmetic::Add, (Some(x), Some(other)), [None, None], x);
    }
    one(x.clone())
}
