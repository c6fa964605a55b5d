//! Operators that write into their first argument: the same tensor at a new place of the autograd graph.

use smallvec::smallvec;

use super::call::{broadcast, dimension};
use super::elementwise::{Arithmetic, cast, elementwise, first_shape, record_arithmetic};
use super::indexing;
use super::indexing::record_masked_fill;
use super::operands::one;
use super::{Autocast, Class, Lines, Lower, Lowered, Operands, Returns, Row};
use crate::graph::Dims;
use crate::lower::autograd::{Edge, Gradients};
use crate::lower::checkpoint::Saved;
use crate::lower::context::Context;
use crate::lower::context::detach;
use crate::lower::tensor::{Tensor, TensorData, contiguous_strides};

const SOURCE: &str = "tools/autograd/derivatives.yaml; tools/autograd/gen_variable_type.py";

pub(super) const ROWS: &[Row] = &[
    arithmetic_row(
        "add_",
        &[("add_.Tensor", "self, other", "alpha"), ("add_.Scalar", "self, other", "alpha")],
        |context, a| arithmetic(context, a, Arithmetic::Add),
    ),
    arithmetic_row("sub_", &[], |context, a| arithmetic(context, a, Arithmetic::Subtract)),
    arithmetic_row("mul_", &[("mul_.Tensor", "self, other", "")], |context, a| {
        arithmetic(context, a, Arithmetic::Multiply)
    }),
    arithmetic_row("div_", &[("div_.Tensor", "self, other", "")], |context, a| {
        arithmetic(context, a, Arithmetic::Divide)
    }),
    Row {
        name: "index_copy_",
        signature: "input, dim, index, source",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, index_copy_out and its meta function",
        class: Class::InPlace,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: first_shape,
        lower: |context, a| {
            let (x, source) = (a.tensor(0)?, a.tensor(3)?);
            same_type("self and source are expected to have the same dtype", x, source)?;
            overwritten(context, x, source)
        },
    },
    Row {
        name: "index_add_",
        signature: "input, dim, index, source",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Indexing.cu, index_add_cuda_impl; tools/autograd/derivatives.yaml",
        class: Class::InPlace,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: first_shape,
        lower: index_add,
    },
    Row {
        name: "index_put_",
        signature: "input, index, values",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, make_info: an index of integers stays as it is",
        class: Class::InPlace,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: first_shape,
        lower: |context, a| {
            // a number fills the places (TensorAdvancedIndexing.cpp, canDispatchToMaskedFill)
            let Some(values) = a.optional(2) else { return without_gradient(context, a) };
            let x = a.tensor(0)?;
            same_type("the source and destination dtypes must match", x, values)?;
            overwritten(context, x, values)
        },
    },
    Row {
        name: "copy_",
        signature: "input, source",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Copy.cu: on one device a kernel copies, whatever the strides",
        class: Class::InPlace,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("copy_.default", "self, src", "non_blocking")],
        shapes: first_shape,
        lower: |context, a| match a.optional(1) {
            Some(source) => overwritten(context, a.tensor(0)?, source),
            // a number fills it
            None => without_gradient(context, a),
        },
    },
    Row {
        name: "masked_fill_",
        signature: "input, mask, value",
        returns: Returns::One,
        source: SOURCE,
        class: Class::InPlace,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("masked_fill_.Scalar", "self, mask, value", "")],
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
        class: Class::InPlace,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: first_shape,
        lower: |context, a| {
            let x = a.tensor(0)?;
            let saved = indexing::saved_index(context, a)?;
            indexing::record_scatter(context, [Some(x), a.optional(3)], saved, x);
            one(x.clone())
        },
    },
    copying_row("copy_slice_", "input, dim, start, end, source", |context, a| {
        let (dim, from, to) = (a.int(1)?, a.int(2)?, a.int(3)?);
        copied_into(context, a, dim, Some((to - from).max(0) as u64), a.optional(4))
    }),
    copying_row("copy_select_", "input, dim, index, source", |context, a| {
        copied_into(context, a, a.int(1)?, None, a.optional(3))
    }),
    Row { signature: "input, min=None, max=None", ..row("clamp_", &[], without_gradient) },
    row("relu_", &[("relu_.default", "self", "")], |context, a| {
        let x = a.tensor(0)?;
        // The result is saved.
        let saved = context.records(&[x]).then(|| context.save(x));
        record(context, ["ReluBackward0", "threshold_backward"], x, saved)
    }),
    // derivatives.yaml: these need their result
    row("leaky_relu_", &[("leaky_relu_.default", "self", "negative_slope")], |context, a| {
        let x = a.tensor(0)?;
        let saved = context.records(&[x]).then(|| context.save(x));
        record(context, ["LeakyReluBackward0", "leaky_relu_backward"], x, saved)
    }),
    row("elu_", &[("elu_.default", "self", "alpha, scale, input_scale")], |context, a| {
        let x = a.tensor(0)?;
        let saved = context.records(&[x]).then(|| context.save(x));
        record(context, ["EluBackward0", "elu_backward"], x, saved)
    }),
    row("hardsigmoid_", &[("hardsigmoid_.default", "self", "")], |context, a| {
        with_copy(context, a, ["HardsigmoidBackward0", "hardsigmoid_backward"])
    }),
    row("relu6_", &[("hardtanh_.default", "self", "min_val, max_val")], |context, a| {
        with_copy(context, a, ["HardtanhBackward0", "hardtanh_backward"])
    }),
    row("silu_", &[("silu_.default", "self", "")], |context, a| {
        with_copy(context, a, ["SiluBackward0", "silu_backward"])
    }),
    row("abs_", &[("abs_.default", "self", "")], |context, a| {
        let x = a.tensor(0)?;
        if context.records(&[x]) { Err("the gradient of abs_ is not known".to_owned()) } else { one(x.clone()) }
    }),
    row("hardswish_", &[("hardswish_.default", "self", "")], |context, a| {
        with_copy(context, a, ["HardswishBackward0", "hardswish_backward"])
    }),
];

const fn arithmetic_row(name: &'static str, aten: Lines, lower: Lower) -> Row {
    Row { signature: "input, other", ..row(name, aten, lower) }
}

/// A function that writes into a part of its argument.
const fn copying_row(name: &'static str, signature: &'static str, lower: Lower) -> Row {
    Row {
        signature,
        source: "torch/csrc/autograd/functions/tensor.cpp, CopySlices and CopyBackwards",
        ..row(name, &[], lower)
    }
}

/// The gradient goes on as it is, and to the source the rows that it was added to; the source is kept for its shape.
fn index_add(context: &mut Context, operands: &Operands) -> Lowered {
    let (x, index, source) = (operands.tensor(0)?, operands.tensor(2)?, operands.tensor(3)?);
    same_type("self and source expected to have the same dtype", x, source)?;
    if context.records(&[x, source]) {
        let needs = [x.requires_grad(), source.requires_grad()];
        let saved = needs[1].then(|| [context.save(index), context.save(source)]);
        let sizes = source.sizes.clone();
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let saved = saved.as_ref().map(|saved| [saved[0].get(context), saved[1].get(context)]);
            let of_source = saved.map(|_| context.empty("index_select", &sizes, g.dtype));
            smallvec![needs[0].then(|| g.clone()), of_source]
        };
        context.record("IndexAddBackward0", &[Some(x), Some(source)], &[x], Box::new(apply));
    }
    one(x.clone())
}

/// Functions whose backward needs the input, of which they keep a copy.
fn with_copy(context: &mut Context, operands: &Operands, names: [&'static str; 2]) -> Lowered {
    let x = operands.tensor(0)?;
    let copy = context.records(&[x]).then(|| context.empty_like("clone", x));
    let saved = copy.map(|copy| context.save(&copy));
    record(context, names, x, saved)
}

/// A function that writes its result over its argument: autocast wraps operators out of place alone, and none can be
/// saved.
const fn row(name: &'static str, aten: Lines, lower: Lower) -> Row {
    Row {
        name,
        signature: "input",
        returns: Returns::One,
        source: SOURCE,
        class: Class::InPlace,
        autocast: Autocast::Keeps,
        savable: &[],
        aten,
        shapes: first_shape,
        lower,
    }
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

/// What lies there is gone, and nothing is allocated. A tensor that needed no gradient takes the source's place in the autograd graph
/// (torch/csrc/autograd/functions/tensor.cpp, CopyBackwards).
fn overwritten(context: &mut Context, x: &Tensor, source: &Tensor) -> Lowered {
    if context.records(&[x]) {
        return Err("overwriting a tensor that needs a gradient is not known".to_owned());
    }
    if context.records(&[source]) {
        let dtype = source.dtype;
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            smallvec![if g.dtype == dtype { Some(g.clone()) } else { Some(cast(context, g, dtype)) }]
        };
        context.record("CopyBackwards", &[Some(source)], &[x], Box::new(apply));
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

/// `input[..., start:end].copy_(source)`, or `input[..., index].copy_(source)` where there is no length: the base comes from a node that
/// hands its gradient on, zero where the slice was overwritten, and the slice's to the source, converted to its type.
fn copied_into(
    context: &mut Context,
    operands: &Operands,
    dim: i64,
    length: Option<u64>,
    source: Option<&Tensor>,
) -> Lowered {
    let x = operands.tensor(0)?;
    let dim = dimension(dim, x.sizes.len())?;
    let mut part = x.sizes.clone();
    // a number fills the place: the gradient is zero there (derivatives.yaml, zero_ and fill_)
    let Some(source) = source else {
        if let Some(length) = length {
            part[dim] = length;
            return filled_slice(context, x, part);
        }
        return without_gradient(context, operands);
    };
    match length {
        Some(length) => part[dim] = length,
        None => drop(part.remove(dim)),
    }
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

fn filled_slice(context: &mut Context, x: &Tensor, part: Dims) -> Lowered {
    if context.records(&[x]) {
        let (sizes, strides) = (x.sizes.clone(), x.strides.clone());
        context.record(
            "CopySlices",
            &[Some(x)],
            &[x],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let whole = context.empty_strided("new_empty_strided", sizes.clone(), strides.clone(), g.dtype);
                let slice = context.empty("clone", &part, g.dtype);
                let zeros = context.empty_like("zeros_like", &slice);
                drop(slice);
                drop(zeros);
                smallvec![Some(whole)]
            }),
        );
    }
    one(x.clone())
}

/// Whether a tensor is a view to autograd, which shares another's memory and stands behind it in the graph.
fn is_view(x: &Tensor) -> bool {
    matches!(&*x.gradient.borrow(), Edge::Node(node, _) if node.name == "ViewBackward0")
}

/// A view that is multiplied in place: its base comes from a node that copies the gradient, multiplies the view's part of it and hands it on;
/// the view itself is made of that base anew (torch/csrc/autograd/functions/tensor.cpp, CopySlices; variable.cpp,
/// VariableHooks::grad_fn, AsStridedBackward0).
fn multiplied_view(context: &mut Context, x: &Tensor, other: Saved) -> Tensor {
    let base = detach(x);
    let (sizes, strides) = (x.sizes.clone(), x.strides.clone());
    context.record(
        "CopySlices",
        &[Some(x)],
        &[&base],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let whole = context.empty_strided("new_empty_strided", sizes.clone(), strides.clone(), g.dtype);
            let part = context.empty("clone", &sizes, g.dtype);
            let other = other.get(context);
            let product = elementwise(context, "mul", &[&part, &other], g.dtype);
            drop(part);
            drop(product);
            smallvec![Some(whole)]
        }),
    );
    let sizes = x.sizes.clone();
    context.record(
        "AsStridedBackward0",
        &[Some(&base)],
        &[x],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let memory = context.empty("new_zeros", &[sizes.iter().product()], g.dtype);
            smallvec![Some(TensorData::view(&memory, sizes.clone(), contiguous_strides(&sizes)))]
        }),
    );
    x.clone()
}

/// What backward needs of both; of what is written over a copy is kept.
fn arithmetic(context: &mut Context, operands: &Operands, kind: Arithmetic) -> Lowered {
    let (x, other) = (operands.tensor(0)?, operands.optional(1));
    let tensors: smallvec::SmallVec<[&Tensor; 2]> = std::iter::once(x).chain(other).collect();
    if context.records(&tensors) {
        let needed = other.is_some_and(|other| other.requires_grad());
        let keeps = needed && matches!(kind, Arithmetic::Divide | Arithmetic::Multiply);
        let copy = keeps.then(|| context.aten("clone", |context| context.empty_like("clone", x)));
        let of_other = match kind {
            Arithmetic::Multiply => other.filter(|_| x.requires_grad()),
            Arithmetic::Divide => other,
            Arithmetic::Add | Arithmetic::Subtract => None,
        };
        let kept = [copy.map(|copy| context.save(&copy)), of_other.map(|other| context.save(other))];
        if let ([None, Some(_)], Arithmetic::Multiply, true) = (&kept, kind, is_view(x)) {
            let [_, Some(other)] = kept else { return one(x.clone()) };
            return one(multiplied_view(context, x, other));
        }
        record_arithmetic(context, kind, (Some(x), other), kept, x);
    }
    one(x.clone())
}
