//! Operators that write into their first argument: the same tensor at a new place of the autograd graph.

use smallvec::smallvec;

use super::elementwise::{elementwise, first_shape};
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

fn add(context: &mut Context, operands: &Operands) -> Lowered {
    let (x, other) = (operands.tensor(0)?, operands.tensor(1)?);
    if context.records(&[x, other]) {
        let needs = [x.requires_grad(), other.requires_grad()];
        context.record(
            "AddBackward0",
            &[Some(x), Some(other)],
            &[x],
            Box::new(move |_, g| needs.iter().map(|needed| g[0].clone().filter(|_| *needed)).collect()),
        );
    }
    one(x.clone())
}
