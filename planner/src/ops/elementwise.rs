//! Elementwise operators: arithmetic, comparisons, casts, dropout.

use smallvec::smallvec;

use super::call::{broadcast, one as one_shape};
use super::operands::one;
use super::{Autocast, Call, Class, Lines, Lower, Lowered, Names, Operand, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::lower::autograd::Gradients;
use crate::lower::checkpoint::Saved;
use crate::lower::context::Context;
use crate::lower::iterator::output_strides;
use crate::lower::kernels::memory_format::{empty, suggested};
use crate::lower::tensor::Tensor;

pub(super) const ROWS: &[Row] = &[
    binary(
        "add",
        Autocast::Keeps,
        &["add.Tensor"],
        &[("add.Tensor", "self, other", "alpha"), ("add.Scalar", "self, other", "alpha")],
        |context, a| arithmetic(context, a, Arithmetic::Add),
    ),
    binary(
        "sub",
        Autocast::Keeps,
        &["sub.Tensor"],
        &[
            ("sub.Tensor", "self, other", "alpha"),
            ("sub.Scalar", "self, other", "alpha"),
            ("rsub.Scalar", "other, self", "alpha"),
            ("rsub.Tensor", "other, self", "alpha"),
        ],
        |context, a| arithmetic(context, a, Arithmetic::Subtract),
    ),
    binary(
        "mul",
        Autocast::Keeps,
        &["mul.Tensor"],
        &[("mul.Tensor", "self, other", ""), ("mul.Scalar", "self, other", "")],
        |context, a| arithmetic(context, a, Arithmetic::Multiply),
    ),
    binary(
        "div",
        Autocast::Keeps,
        &["div.Tensor"],
        &[("div.Tensor", "self, other", ""), ("div.Scalar", "self, other", "")],
        |context, a| arithmetic(context, a, Arithmetic::Divide),
    ),
    binary(
        "remainder",
        Autocast::Keeps,
        &[],
        &[("remainder.Tensor", "self, other", ""), ("remainder.Scalar", "self, other", "")],
        |context, a| {
            let tensors: Vec<&Tensor> = [a.optional(0), a.optional(1)].into_iter().flatten().collect();
            if context.records(&tensors) {
                return Err("the gradient of remainder is not known".to_owned());
            }
            compare(context, "remainder", a, None)
        },
    ),
    binary(
        "bitwise_and",
        Autocast::Keeps,
        &[],
        &[("__and__.Tensor", "self, other", ""), ("bitwise_and.Tensor", "self, other", "")],
        |context, a| compare(context, "bitwise_and", a, None),
    ),
    binary(
        "bitwise_or",
        Autocast::Keeps,
        &[],
        &[("__or__.Tensor", "self, other", ""), ("bitwise_or.Tensor", "self, other", "")],
        |context, a| compare(context, "bitwise_or", a, None),
    ),
    binary(
        "floor_divide",
        Autocast::Keeps,
        &[],
        &[("div.Tensor_mode", "self, other", "rounding_mode=floor"), ("floor_divide.default", "self, other", "")],
        |context, a| compare(context, "floor_divide", a, None),
    ),
    binary("minimum", Autocast::Keeps, &[], &[("minimum.default", "self, other", "")], |context, a| {
        extreme(context, a, ["minimum", "MinimumBackward0"])
    }),
    binary("maximum", Autocast::Keeps, &[], &[("maximum.default", "self, other", "")], |context, a| {
        extreme(context, a, ["maximum", "MaximumBackward0"])
    }),
    binary(
        "bitwise_xor",
        Autocast::Keeps,
        &[],
        &[("bitwise_xor.Tensor", "self, other", ""), ("__xor__.Tensor", "self, other", "")],
        |context, a| compare(context, "bitwise_xor", a, None),
    ),
    binary("logical_and", Autocast::Keeps, &[], &[("logical_and.default", "self, other", "")], |context, a| {
        compare(context, "logical_and", a, Some(Dtype::Bool))
    }),
    binary("logical_or", Autocast::Keeps, &[], &[("logical_or.default", "self, other", "")], |context, a| {
        compare(context, "logical_or", a, Some(Dtype::Bool))
    }),
    binary("logical_xor", Autocast::Keeps, &[], &[("logical_xor.default", "self, other", "")], |context, a| {
        compare(context, "logical_xor", a, Some(Dtype::Bool))
    }),
    unary("logical_not", Autocast::Keeps, &[], &[("logical_not.default", "self", "")], |context, a| {
        one(elementwise(context, "logical_not", &[a.tensor(0)?], Dtype::Bool))
    }),
    binary(
        "eq",
        Autocast::Keeps,
        &[],
        &[("eq.Tensor", "self, other", ""), ("eq.Scalar", "self, other", "")],
        |context, a| compare(context, "eq", a, Some(Dtype::Bool)),
    ),
    binary(
        "ne",
        Autocast::Keeps,
        &[],
        &[("ne.Tensor", "self, other", ""), ("ne.Scalar", "self, other", "")],
        |context, a| compare(context, "ne", a, Some(Dtype::Bool)),
    ),
    binary(
        "lt",
        Autocast::Keeps,
        &[],
        &[("lt.Tensor", "self, other", ""), ("lt.Scalar", "self, other", "")],
        |context, a| compare(context, "lt", a, Some(Dtype::Bool)),
    ),
    binary(
        "le",
        Autocast::Keeps,
        &[],
        &[("le.Tensor", "self, other", ""), ("le.Scalar", "self, other", "")],
        |context, a| compare(context, "le", a, Some(Dtype::Bool)),
    ),
    binary(
        "gt",
        Autocast::Keeps,
        &[],
        &[("gt.Tensor", "self, other", ""), ("gt.Scalar", "self, other", "")],
        |context, a| compare(context, "gt", a, Some(Dtype::Bool)),
    ),
    binary(
        "ge",
        Autocast::Keeps,
        &[],
        &[("ge.Tensor", "self, other", ""), ("ge.Scalar", "self, other", "")],
        |context, a| compare(context, "ge", a, Some(Dtype::Bool)),
    ),
    Row {
        name: "addcmul",
        signature: "input, tensor1, tensor2, value=1",
        returns: Returns::One,
        // under autocast all are as wide as the widest, which weights in float32 are
        source: "aten/src/ATen/native/PointwiseOps.cpp, addcmul",
        class: Class::Elements,
        autocast: Autocast::Full,
        savable: &["addcmul.default"],
        aten: &[("addcmul.default", "self, tensor1, tensor2, value", "")],
        shapes: |call| one_shape(broadcast(call.shape(0)?, &broadcast(call.shape(1)?, call.shape(2)?)?)?),
        lower: addcmul,
    },
    Row {
        name: "pow",
        signature: "input, exponent",
        returns: Returns::One,
        source: "aten/src/ATen/native/Pow.cpp; torch/csrc/autograd/FunctionsManual.cpp, pow_backward",
        class: Class::Elements,
        autocast: Autocast::Full,
        savable: &["pow.Tensor_Scalar"],
        aten: &[("pow.Tensor_Scalar", "self, exponent", "")],
        shapes: |call| one_shape(broadcast(&call.shape_or_scalar(0)?, &call.shape_or_scalar(1)?)?),
        lower: pow,
    },
    unary("bitwise_not", Autocast::Keeps, &[], &[("bitwise_not.default", "self", "")], |context, a| {
        let x = a.tensor(0)?;
        one(elementwise(context, "bitwise_not", &[x], x.dtype))
    }),
    Row {
        name: "where",
        signature: "condition, input, other",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorCompare.cpp, where",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &["where.self"],
        aten: &[
            ("where.self", "condition, self, other", ""),
            ("where.ScalarOther", "condition, self, other", ""),
            ("where.ScalarSelf", "condition, self, other", ""),
        ],
        shapes: where_shape,
        lower: where_,
    },
    Row {
        name: "to",
        signature: "input, dtype, contiguous=False",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorConversions.cpp, to_impl",
        class: Class::Moves,
        autocast: Autocast::Keeps,
        savable: &["_to_copy.default"],
        aten: &[
            ("to.dtype", "self, dtype", "non_blocking, copy=False, memory_format"),
            (
                "to.dtype_layout",
                "self, dtype=None",
                "layout, device, pin_memory, non_blocking, copy=False, memory_format",
            ),
            ("to.device", "self, dtype", "device, non_blocking, copy=False, memory_format"),
            ("_to_copy.default", "self, dtype=None", "layout, device, pin_memory, non_blocking, memory_format"),
        ],
        shapes: first_shape,
        lower: |context, a| match a.dtype(1) {
            Some(dtype) => one(to_laid_out(context, a.tensor(0)?, dtype, a.flag(2))),
            None => one(a.tensor(0)?.clone()),
        },
    },
    Row {
        name: "clone",
        signature: "input",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorFactories.cpp, clone",
        class: Class::Moves,
        autocast: Autocast::Keeps,
        savable: &["clone.default"],
        aten: &[("clone.default", "self", "memory_format"), ("lift_fresh_copy.default", "self", "")],
        shapes: first_shape,
        lower: |context, a| one(clone(context, a.tensor(0)?)),
    },
    Row {
        class: Class::Moves,
        ..unary("float", Autocast::Keeps, &[], &[], |context, a| one(to(context, a.tensor(0)?, Dtype::F32)))
    },
    Row {
        name: "dropout",
        signature: "input, p, training",
        returns: Returns::One,
        source: "aten/src/ATen/native/Dropout.cpp, dropout; cuda/Dropout.cu, native_dropout_cuda",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &["native_dropout.default"],
        aten: &[("dropout.default", "input, p, train:train", "")],
        shapes: first_shape,
        lower: dropout,
    },
];

/// A function of two tensors, or of a tensor and a number, element by element.
const fn binary(name: &'static str, autocast: Autocast, savable: Names, aten: Lines, lower: Lower) -> Row {
    Row {
        name,
        signature: "input, other",
        returns: Returns::One,
        source: "aten/src/ATen/native/BinaryOps.cpp; tools/autograd/derivatives.yaml",
        class: Class::Elements,
        autocast,
        savable,
        aten,
        shapes: |call| one_shape(broadcast(&call.shape_or_scalar(0)?, &call.shape_or_scalar(1)?)?),
        lower,
    }
}

/// A function of one tensor, element by element.
const fn unary(name: &'static str, autocast: Autocast, savable: Names, aten: Lines, lower: Lower) -> Row {
    const SOURCE: &str = "aten/src/ATen/native/UnaryOps.cpp, Activation.cpp; tools/autograd/derivatives.yaml";
    like_first((name, "input"), SOURCE, autocast, savable, aten, lower)
}

/// What gives each element of its first tensor a new value.
pub(super) const fn like_first(
    (name, signature): (&'static str, &'static str),
    source: &'static str,
    autocast: Autocast,
    savable: Names,
    aten: Lines,
    lower: Lower,
) -> Row {
    let (returns, class) = (Returns::One, Class::Elements);
    Row { name, signature, returns, source, class, autocast, savable, aten, shapes: first_shape, lower }
}

pub(super) fn first_shape(call: &Call) -> Shapes {
    one_shape(call.shape(0)?.clone())
}

fn where_shape(call: &Call) -> Shapes {
    let values = broadcast(&call.shape_or_scalar(1)?, &call.shape_or_scalar(2)?)?;
    one_shape(broadcast(call.shape(0)?, &values)?)
}

// ---- layouts and types --------------------------------------------------------------------------------------------

/// A new tensor for an elementwise result of these operands, laid out as TensorIterator does.
pub(crate) fn elementwise(context: &mut Context, op: &'static str, operands: &[&Tensor], dtype: Dtype) -> Tensor {
    let mut sizes = operands[0].sizes.clone();
    for operand in &operands[1..] {
        sizes = broadcast(&sizes, &operand.sizes).unwrap_or(sizes);
    }
    let layouts: smallvec::SmallVec<[_; 3]> = operands.iter().map(|x| (&x.sizes, &x.strides)).collect();
    let strides = output_strides(&sizes, &layouts);
    context.aten(op, |context| context.empty_strided(op, sizes, strides, dtype))
}

/// c10/core/ScalarType.cpp, `promoteTypes`, over the types that the planner knows.
pub(super) fn promote(a: Dtype, b: Dtype) -> Dtype {
    use Dtype::{BF16, F16, F32};
    match (a.is_floating(), b.is_floating()) {
        _ if a == b => a,
        (true, false) => a,
        (false, true) => b,
        (true, true) if matches!((a, b), (F16, BF16) | (BF16, F16)) => F32,
        _ => a.max(b),
    }
}

/// The type of a result: tensors with dimensions decide before those without, and these before numbers
/// (aten/src/ATen/native/TypeProperties.cpp, `result_type`).
fn result_type(operands: &Operands) -> Dtype {
    let (mut dims, mut zero, mut number) = (None, None, None);
    let merge = |slot: &mut Option<Dtype>, dtype| *slot = Some(slot.map_or(dtype, |known| promote(known, dtype)));
    for operand in &operands.0 {
        match operand {
            Operand::Tensor(tensor) if tensor.sizes.is_empty() => merge(&mut zero, tensor.dtype),
            Operand::Tensor(tensor) => merge(&mut dims, tensor.dtype),
            Operand::Float(_) => merge(&mut number, Dtype::F32),
            Operand::Int(_) => merge(&mut number, Dtype::I64),
            _ => {}
        }
    }
    let lower = |high: Option<Dtype>, low: Option<Dtype>| match (high, low) {
        (Some(high), Some(low)) if category(low) > category(high) => Some(low),
        (Some(high), _) => Some(high),
        (None, low) => low,
    };
    lower(lower(dims, zero), number).unwrap_or(Dtype::F32)
}

/// The type of a result of tensors alone: those with dimensions decide, then those without.
pub(crate) fn common_type(tensors: &[&Tensor]) -> Dtype {
    result_type(&Operands(tensors.iter().map(|tensor| Operand::Tensor((*tensor).clone())).collect()))
}

fn category(dtype: Dtype) -> u8 {
    match dtype {
        Dtype::Bool => 0,
        Dtype::C64 => 3,
        _ if dtype.is_floating() => 2,
        _ => 1,
    }
}

// ---- casts ----------------------------------------------------------------------------------------------------------

/// `tensor.to(dtype)`: the tensor itself where it has the type.
pub(crate) fn to(context: &mut Context, tensor: &Tensor, dtype: Dtype) -> Tensor {
    to_laid_out(context, tensor, dtype, false)
}

/// The same; what is converted may be asked to be contiguous.
fn to_laid_out(context: &mut Context, tensor: &Tensor, dtype: Dtype, contiguous: bool) -> Tensor {
    if tensor.dtype == dtype {
        return tensor.clone();
    }
    let output = match contiguous {
        true => context.aten("_to_copy", |context| context.empty("_to_copy", &tensor.sizes, dtype)),
        false => cast(context, tensor, dtype),
    };
    if context.records(&[tensor]) {
        let from = tensor.dtype;
        context.record(
            "ToCopyBackward0",
            &[Some(tensor)],
            &[&output],
            Box::new(move |context, g| smallvec![g[0].as_ref().map(|g| no_grad_to(context, g, from))]),
        );
    }
    output
}

fn clone(context: &mut Context, tensor: &Tensor) -> Tensor {
    let output = context.aten("clone", |context| context.empty_like("clone", tensor));
    if context.records(&[tensor]) {
        context.record("CloneBackward0", &[Some(tensor)], &[&output], Box::new(|_, g| smallvec![g[0].clone()]));
    }
    output
}

fn no_grad_to(context: &mut Context, tensor: &Tensor, dtype: Dtype) -> Tensor {
    if tensor.dtype == dtype { tensor.clone() } else { cast(context, tensor, dtype) }
}

/// A copy with another type.
pub(crate) fn cast(context: &mut Context, tensor: &Tensor, dtype: Dtype) -> Tensor {
    context.aten("_to_copy", |context| context.empty_like_as("_to_copy", tensor, dtype))
}

// ---- arithmetic -----------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// The sum of two tensors, outside autograd.
pub(crate) fn add(context: &mut Context, a: &Tensor, b: &Tensor) -> Tensor {
    elementwise(context, "add", &[a, b], promote(a.dtype, b.dtype))
}

fn multiply(context: &mut Context, a: &Tensor, b: Option<&Tensor>) -> Tensor {
    let operands: smallvec::SmallVec<[&Tensor; 2]> = std::iter::once(a).chain(b).collect();
    let dtype = common_type(&operands);
    elementwise(context, "mul", &operands, dtype)
}

/// The gradient times the conjugate of the other, which is made for the product (aten/src/ATen/ConjugateFallback.cpp).
fn multiply_conjugate(context: &mut Context, g: &Tensor, other: Option<&Tensor>) -> Tensor {
    let complex = other.filter(|other| other.dtype == Dtype::C64);
    let conjugate = complex.map(|other| context.empty_like("clone", other));
    let product = multiply(context, g, other);
    drop(conjugate);
    product
}

fn arithmetic(context: &mut Context, operands: &Operands, kind: Arithmetic) -> Lowered {
    let (a, b) = (operands.optional(0), operands.optional(1));
    let tensors: smallvec::SmallVec<[&Tensor; 2]> = a.into_iter().chain(b).collect();
    let mut dtype = result_type(operands);
    if kind == Arithmetic::Divide && !dtype.is_floating() {
        dtype = Dtype::F32;
    }
    let op = match kind {
        Arithmetic::Add => "add",
        Arithmetic::Subtract if a.is_none() => "rsub",
        Arithmetic::Subtract => "sub",
        Arithmetic::Multiply => "mul",
        Arithmetic::Divide => "div",
    };
    let saved = context.records(&tensors).then(|| kind.save(context, a, b));
    let output = elementwise(context, op, &tensors, dtype);
    if let Some(saved) = saved {
        record_arithmetic(context, kind, (a, b), saved, &output);
    }
    one(output)
}

/// The sum of two tensors.
pub(super) fn sum_of(context: &mut Context, a: &Tensor, b: &Tensor) -> Tensor {
    let output = add(context, a, b);
    if context.records(&[a, b]) {
        record_arithmetic(context, Arithmetic::Add, (Some(a), Some(b)), [None, None], &output);
    }
    output
}

impl Arithmetic {
    /// What backward needs of the two operands (derivatives.yaml).
    pub(super) fn save(self, context: &mut Context, a: Option<&Tensor>, b: Option<&Tensor>) -> [Option<Saved>; 2] {
        let needs = |tensor: Option<&Tensor>| tensor.is_some_and(|tensor| tensor.requires_grad());
        let (needs_a, needs_b) = (needs(a), needs(b));
        let (keeps_a, keeps_b) = match self {
            Arithmetic::Add | Arithmetic::Subtract => (false, false),
            Arithmetic::Multiply => (needs_b, needs_a),
            Arithmetic::Divide => (needs_b, true),
        };
        let saved_a = a.filter(|_| keeps_a).map(|a| context.save(a));
        [saved_a, b.filter(|_| keeps_b).map(|b| context.save(b))]
    }
}

/// A node computes its outputs in the order of their names: `other` before `self`, in which it also lets go of them; what a second
/// run gave goes the other way round.
pub(super) fn record_arithmetic(
    context: &mut Context,
    kind: Arithmetic,
    (a, b): (Option<&Tensor>, Option<&Tensor>),
    saved: [Option<Saved>; 2],
    output: &Tensor,
) {
    let needs = |tensor: Option<&Tensor>| tensor.is_some_and(|tensor| tensor.requires_grad());
    let (needs_a, needs_b) = (needs(a), needs(b));
    let name = match kind {
        Arithmetic::Add => "AddBackward0",
        Arithmetic::Subtract => "SubBackward0",
        Arithmetic::Multiply => "MulBackward0",
        Arithmetic::Divide => "DivBackward0",
    };
    let [saved_a, saved_b] = saved;
    let saved = [saved_b, saved_a];
    let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
        let Some(g) = &g[0] else { return Gradients::new() };
        let [b, a] = [0, 1].map(|number: usize| saved[number].as_ref().map(|saved| saved.get(context)));
        let other = needs_b.then(|| match kind {
            Arithmetic::Add => g.clone(),
            Arithmetic::Subtract => elementwise(context, "neg", &[g], g.dtype),
            Arithmetic::Multiply => multiply_conjugate(context, g, a.as_ref()),
            Arithmetic::Divide => divide_other(context, g, a.as_ref(), b.as_ref()),
        });
        let this = needs_a.then(|| match kind {
            Arithmetic::Add | Arithmetic::Subtract => g.clone(),
            Arithmetic::Multiply => multiply_conjugate(context, g, b.as_ref()),
            Arithmetic::Divide => {
                let operands: smallvec::SmallVec<[&Tensor; 2]> = std::iter::once(g).chain(&b).collect();
                elementwise(context, "div", &operands, common_type(&operands))
            }
        });
        smallvec![this, other]
    };
    context.record(name, &[a, b], &[output], Box::new(apply));
}

/// FunctionsManual.cpp, `div_tensor_other_grad`: -grad * ((self / other) / other), an expression whose parts go at its end.
fn divide_other(context: &mut Context, g: &Tensor, a: Option<&Tensor>, b: Option<&Tensor>) -> Tensor {
    let operands: smallvec::SmallVec<[&Tensor; 2]> = a.into_iter().chain(b).collect();
    let once = elementwise(context, "div", &operands, common_type(&operands));
    let operands: smallvec::SmallVec<[&Tensor; 2]> = std::iter::once(&once).chain(b).collect();
    let twice = elementwise(context, "div", &operands, common_type(&operands));
    let negative = elementwise(context, "neg", &[g], g.dtype);
    multiply(context, &negative, Some(&twice))
}

fn compare(context: &mut Context, op: &'static str, operands: &Operands, dtype: Option<Dtype>) -> Lowered {
    let tensors: smallvec::SmallVec<[&Tensor; 2]> =
        operands.optional(0).into_iter().chain(operands.optional(1)).collect();
    one(elementwise(context, op, &tensors, dtype.unwrap_or_else(|| result_type(operands))))
}

/// The sum of a tensor and a product; the gradients are grad, grad * (tensor2 * value) and grad * (tensor1 * value) (derivatives.yaml).
fn addcmul(context: &mut Context, operands: &Operands) -> Lowered {
    let given = [operands.tensor(0)?, operands.tensor(1)?, operands.tensor(2)?];
    let needs = given.map(|tensor| tensor.requires_grad());
    let saved = context
        .records(&given)
        .then(|| [(1, needs[2]), (2, needs[1])].map(|(place, keeps)| keeps.then(|| context.save(given[place]))));
    let output = elementwise(context, "addcmul", &given, common_type(&given));
    if let Some(saved) = saved {
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let [first, second] = [0, 1].map(|place: usize| saved[place].as_ref().map(|saved| saved.get(context)));
            let mut scaled = |needed: bool, factor: &Option<Tensor>| {
                let factor = factor.as_ref().filter(|_| needed)?;
                let factor = multiply(context, factor, None);
                Some(multiply(context, g, Some(&factor)))
            };
            let to_first = scaled(needs[1], &second);
            let to_second = scaled(needs[2], &first);
            smallvec![needs[0].then(|| g.clone()), to_first, to_second]
        };
        context.record("AddcmulBackward0", &given.map(Some), &[&output], Box::new(apply));
    }
    one(output)
}

/// The larger or the smaller of two; backward of each is where(self == other, grad / 2, grad).masked_fill_(self < other, 0), an expression
/// whose parts go at its end (derivatives.yaml).
fn extreme(context: &mut Context, operands: &Operands, [op, node]: [&'static str; 2]) -> Lowered {
    let (a, b) = (operands.tensor(0)?, operands.tensor(1)?);
    let saved = context.records(&[a, b]).then(|| [b, a].map(|tensor| context.save(tensor)));
    let output = elementwise(context, op, &[a, b], result_type(operands));
    if let Some(saved) = saved {
        let wanted = [b, a].map(|tensor| tensor.requires_grad());
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let [b, a] = [0, 1].map(|number: usize| saved[number].get(context));
            let [second, first] = wanted.map(|wanted| {
                wanted.then(|| {
                    let beyond = elementwise(context, "lt", &[&a, &b], Dtype::Bool);
                    let half = elementwise(context, "div", &[g], g.dtype);
                    let equal = elementwise(context, "eq", &[&a, &b], Dtype::Bool);
                    let result = elementwise(context, "where", &[&equal, &half, g], g.dtype);
                    drop((equal, half, beyond));
                    result
                })
            });
            smallvec![first, second]
        };
        context.record(node, &[Some(a), Some(b)], &[&output], Box::new(apply));
    }
    one(output)
}

/// pow with a number for exponent; backward is grad * (exponent * self.pow(exponent - 1)).
fn pow(context: &mut Context, operands: &Operands) -> Lowered {
    if let (None, Ok(exponent)) = (operands.tensor(0).ok(), operands.tensor(1)) {
        // Pow.cpp, pow(Scalar, Tensor)
        if context.records(&[exponent]) {
            return Err("a power whose exponent needs a gradient is not known".to_owned());
        }
        let dtype = if exponent.dtype.is_floating() { exponent.dtype } else { Dtype::F32 };
        let output = elementwise(context, "pow", &[exponent], dtype);
        // Pow.cpp, pow_Scalar_out: the base as a tensor of 64 bits on the device
        context.empty("scalar_tensor", &[], Dtype::I64);
        return one(output);
    }
    let x = operands.tensor(0)?;
    if let Some(exponent) = operands.optional(1) {
        if context.records(&[x, exponent]) {
            return Err("the gradient of a power of tensors is not known".to_owned());
        }
        return one(elementwise(context, "pow", &[x, exponent], result_type(operands)));
    }
    let Some(exponent) = operands.float(1) else { return Err("the exponent must be a number".to_owned()) };
    let saved = context.records(&[x]).then(|| context.save(x));
    let output = elementwise(context, "pow", &[x], result_type(operands));
    if let Some(saved) = saved {
        context.record(
            "PowBackward0",
            &[Some(x)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let saved = saved.get(context);
                if exponent == 0.0 {
                    return smallvec![Some(context.empty_like("zeros_like", &saved))];
                }
                let power = elementwise(context, "pow", &[&saved], saved.dtype);
                let scaled = elementwise(context, "mul", &[&power], power.dtype);
                smallvec![Some(multiply(context, g, Some(&scaled)))]
            }),
        );
    }
    one(output)
}

fn where_(context: &mut Context, operands: &Operands) -> Lowered {
    let condition = operands.tensor(0)?;
    let scalars = Operands([operands.at(1).clone(), operands.at(2).clone()].into_iter().collect());
    let dtype = result_type(&scalars);
    // A number becomes a tensor without dimensions on the device first (TensorCompare.cpp, where with a scalar).
    let made: Vec<Tensor> = (1..3)
        .filter(|position| operands.optional(*position).is_none())
        .map(|_| context.empty("scalar_tensor", &[], dtype))
        .collect();
    let given: smallvec::SmallVec<[&Tensor; 3]> =
        std::iter::once(condition).chain(operands.optional(1)).chain(operands.optional(2)).chain(&made).collect();
    let (a, b) = (operands.optional(1), operands.optional(2));
    let tracked: smallvec::SmallVec<[&Tensor; 2]> = a.into_iter().chain(b).collect();
    let saved = context.records(&tracked).then(|| context.save(condition));
    let output = elementwise(context, "where", &given, dtype);
    if let Some(saved) = saved {
        let needs = [a, b].map(|tensor| tensor.is_some_and(|tensor| tensor.requires_grad()));
        context.record(
            "WhereBackward0",
            &[a, b],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let saved = saved.get(context);
                // self: where(condition, grad, 0), other: where(condition, 0, grad)
                let mut part = |needed: bool| {
                    needed.then(|| {
                        let zero = context.empty("scalar_tensor", &[], g.dtype);
                        elementwise(context, "where", &[&saved, g, &zero], g.dtype)
                    })
                };
                let other = part(needs[1]);
                smallvec![part(needs[0]), other]
            }),
        );
    }
    one(output)
}

/// The mask is made before the result; without training or with p = 0 the input comes back.
fn dropout(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let p = operands.float(1).unwrap_or(0.0);
    if !operands.flag(2) || p == 0.0 || x.count() == 0 {
        return one(x.clone());
    }
    let outputs = context.aten_outputs("native_dropout", |context| {
        let mask = context.empty_like_as("native_dropout", x, Dtype::Bool);
        smallvec![mask, context.empty_like("native_dropout", x)]
    });
    let [mask, output] = &outputs[..] else { return Err("dropout gives two tensors".to_owned()) };
    if context.records(&[x]) {
        let saved = context.save(mask);
        context.record(
            "NativeDropoutBackward0",
            &[Some(x)],
            &[output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let _mask = saved.get(context);
                // cuda/Dropout.cu, dropout_backward_cuda: in the layout that the gradient suggests, which of a sequence is the plain one
                smallvec![Some(empty(context, "native_dropout_backward", &g.sizes, g.dtype, suggested(g)))]
            }),
        );
    }
    one(output.clone())
}
