//! Differentiable functions of one tensor: activations, and what they are made of.

use smallvec::smallvec;

use super::call::{dimension, one as one_shape};
use super::elementwise::{elementwise, like_first};
use super::operands::one;
use super::reduce::whole;
use super::views::view;
use super::{Autocast, Lines, Lower, Lowered, Names, Operand, Operands, Row};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::reduce::Reduction;
use crate::lower::tensor::{Tensor, TensorData};
use crate::versions::Change;

const SOURCE: &str = "aten/src/ATen/native/UnaryOps.cpp, Activation.cpp; tools/autograd/derivatives.yaml";

pub(super) const ROWS: &[Row] = &[
    unary("neg", Autocast::Keeps, &["neg.default"], &[("neg.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &NEG))
    }),
    unary("abs", Autocast::Keeps, &[], &[("abs.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &ABS))
    }),
    unary("log", Autocast::Full, &[], &[("log.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &LOG))
    }),
    unary("rsqrt", Autocast::Full, &["rsqrt.default"], &[("rsqrt.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &RSQRT))
    }),
    unary("sqrt", Autocast::Keeps, &["sqrt.default"], &[("sqrt.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &SQRT))
    }),
    unary("cos", Autocast::Keeps, &["cos.default"], &[("cos.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &COS))
    }),
    unary("sin", Autocast::Keeps, &["sin.default"], &[("sin.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &SIN))
    }),
    // derivatives.yaml: the gradient of what rounds is zeros
    unary("floor", Autocast::Keeps, &[], &[("floor.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &FLOOR))
    }),
    unary("round", Autocast::Keeps, &[], &[("round.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &ROUND))
    }),
    unary("sign", Autocast::Keeps, &[], &[("sign.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &SIGN))
    }),
    unary("reciprocal", Autocast::Full, &[], &[("reciprocal.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &RECIPROCAL))
    }),
    unary("logsigmoid", Autocast::Keeps, &[], &[("log_sigmoid.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &LOGSIGMOID))
    }),
    row(
        "tril",
        "input, diagonal=0",
        Autocast::Keeps,
        &[],
        &[("tril.default", "self, diagonal=0", "")],
        |context, a| one(activation(context, a.tensor(0)?, &TRIL)),
    ),
    row(
        "triu",
        "input, diagonal=0",
        Autocast::Keeps,
        &[],
        &[("triu.default", "self, diagonal=0", "")],
        |context, a| one(activation(context, a.tensor(0)?, &TRIU)),
    ),
    unary("erf", Autocast::Keeps, &["erf.default"], &[("erf.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &ERF))
    }),
    unary("tanh", Autocast::Keeps, &["tanh.default"], &[("tanh.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &TANH))
    }),
    unary("sigmoid", Autocast::Keeps, &["sigmoid.default"], &[("sigmoid.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &SIGMOID))
    }),
    unary("relu", Autocast::Keeps, &["relu.default"], &[("relu.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &RELU))
    }),
    unary(
        "relu6",
        Autocast::Keeps,
        &["hardtanh.default"],
        &[("relu6.default", "self", ""), ("hardtanh.default", "self", "min_val, max_val")],
        |context, a| one(activation(context, a.tensor(0)?, &HARDTANH)),
    ),
    unary(
        "leaky_relu",
        Autocast::Keeps,
        &["leaky_relu.default"],
        &[("leaky_relu.default", "self", "negative_slope")],
        |context, a| one(activation(context, a.tensor(0)?, &LEAKY_RELU)),
    ),
    unary("silu", Autocast::Keeps, &["silu.default"], &[("silu.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &SILU))
    }),
    unary("mish", Autocast::Keeps, &["mish.default"], &[("mish.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &MISH))
    }),
    unary(
        "softplus",
        Autocast::Full,
        &["softplus.default"],
        &[("softplus.default", "self", "beta, threshold")],
        |context, a| one(activation(context, a.tensor(0)?, &SOFTPLUS)),
    ),
    unary("hardswish", Autocast::Keeps, &["hardswish.default"], &[("hardswish.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &HARDSWISH))
    }),
    unary("hardsigmoid", Autocast::Keeps, &[], &[("hardsigmoid.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &HARDSIGMOID))
    }),
    unary("elu", Autocast::Keeps, &[], &[("elu.default", "self", "alpha, scale, input_scale")], |context, a| {
        one(activation(context, a.tensor(0)?, &ELU))
    }),
    unary("exp", Autocast::Full, &[], &[("exp.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &EXP))
    }),
    unary("expm1", Autocast::Full, &[], &[("expm1.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &EXPM1))
    }),
    unary("log1p", Autocast::Full, &[], &[("log1p.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &LOG1P))
    }),
    unary("log2", Autocast::Full, &[], &[("log2.default", "self", "")], |context, a| {
        one(activation(context, a.tensor(0)?, &LOG2))
    }),
    Row {
        shapes: |call| {
            let mut shape = call.shape(0)?.clone();
            let dim = dimension(call.int(1)?, shape.len())?;
            shape[dim] /= 2;
            one_shape(shape)
        },
        ..row("glu", "input, dim=-1", Autocast::Keeps, &[], &[("glu.default", "self, dim=-1", "")], glu)
    },
    row(
        "gelu",
        "input, approximate=None",
        Autocast::Keeps,
        &["gelu.default"],
        &[("gelu.default", "self", "approximate")],
        |context, a| one(activation(context, a.tensor(0)?, &GELU)),
    ),
    row(
        "clamp",
        "input, min=None, max=None",
        Autocast::Keeps,
        &[],
        &[("clamp.default", "self, min=None, max=None", "")],
        clamp,
    ),
    Row {
        shapes: |_| one_shape(Dims::new()),
        ..row("half_clamp_value", "input", Autocast::Keeps, &[], &[], |context, a| {
            one(half_clamp_value(context, a.tensor(0)?))
        })
    },
    row("clamp_half", "input, limit", Autocast::Keeps, &[], &[], |context, a| {
        one(clamp_half(context, a.tensor(0)?, a.tensor(1)?))
    }),
    row("prelu", "input, weight", Autocast::Lower, &[], &[("prelu.default", "self, weight", "")], prelu),
];

/// A differentiable function of one tensor, element by element.
const fn unary(name: &'static str, autocast: Autocast, savable: Names, aten: Lines, lower: Lower) -> Row {
    row(name, "input", autocast, savable, aten, lower)
}

/// The same with further arguments.
const fn row(
    name: &'static str,
    signature: &'static str,
    autocast: Autocast,
    savable: Names,
    aten: Lines,
    lower: Lower,
) -> Row {
    like_first((name, signature), SOURCE, autocast, savable, aten, lower)
}

/// What backward of a function of one tensor keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Nothing,
    Input,
    Result,
}

/// A differentiable function of one tensor.
struct Activation {
    op: &'static str,
    node: &'static str,
    keeps: Keeps,
    /// The kernels that backward runs, in order, over the gradient and what was kept; all but the last are temporaries.
    backward: &'static [&'static str],
}

const NEG: Activation = Activation { op: "neg", node: "NegBackward0", keeps: Keeps::Nothing, backward: &["neg"] };
/// grad * self.sgn()
const ABS: Activation = Activation { op: "abs", node: "AbsBackward0", keeps: Keeps::Input, backward: &["sgn", "mul"] };
const LOG: Activation = Activation { op: "log", node: "LogBackward0", keeps: Keeps::Input, backward: &["div"] };
/// -0.5 * grad * result.pow(3)
const RSQRT: Activation =
    Activation { op: "rsqrt", node: "RsqrtBackward0", keeps: Keeps::Result, backward: &["pow", "mul", "mul"] };
/// grad / (2 * result)
const SQRT: Activation =
    Activation { op: "sqrt", node: "SqrtBackward0", keeps: Keeps::Result, backward: &["mul", "div"] };
/// 2 / sqrt(pi) * exp(-self.pow(2)) * grad
const ERF: Activation =
    Activation { op: "erf", node: "ErfBackward0", keeps: Keeps::Input, backward: &["pow", "neg", "exp", "mul", "mul"] };
const COS: Activation =
    Activation { op: "cos", node: "CosBackward0", keeps: Keeps::Input, backward: &["sin", "neg", "mul"] };
const FLOOR: Activation =
    Activation { op: "floor", node: "FloorBackward0", keeps: Keeps::Nothing, backward: &["zeros_like"] };
const ROUND: Activation =
    Activation { op: "round", node: "RoundBackward0", keeps: Keeps::Nothing, backward: &["zeros_like"] };
const SIGN: Activation =
    Activation { op: "sign", node: "SignBackward0", keeps: Keeps::Nothing, backward: &["zeros_like"] };
/// -grad * (result * result)
const RECIPROCAL: Activation = Activation {
    op: "reciprocal",
    node: "ReciprocalBackward0",
    keeps: Keeps::Result,
    backward: &["neg", "mul", "mul"],
};
/// Its second output is empty on CUDA (Activation.cpp, log_sigmoid_forward_cuda).
const LOGSIGMOID: Activation = Activation {
    op: "log_sigmoid_forward",
    node: "LogSigmoidBackward0",
    keeps: Keeps::Input,
    backward: &["log_sigmoid_backward"],
};
const TRIL: Activation = Activation { op: "tril", node: "TrilBackward0", keeps: Keeps::Nothing, backward: &["tril"] };
const TRIU: Activation = Activation { op: "triu", node: "TriuBackward0", keeps: Keeps::Nothing, backward: &["triu"] };
const SIN: Activation = Activation { op: "sin", node: "SinBackward0", keeps: Keeps::Input, backward: &["cos", "mul"] };
const TANH: Activation =
    Activation { op: "tanh", node: "TanhBackward0", keeps: Keeps::Result, backward: &["tanh_backward"] };
const SIGMOID: Activation =
    Activation { op: "sigmoid", node: "SigmoidBackward0", keeps: Keeps::Result, backward: &["sigmoid_backward"] };
const RELU: Activation =
    Activation { op: "relu", node: "ReluBackward0", keeps: Keeps::Result, backward: &["threshold_backward"] };
const SILU: Activation =
    Activation { op: "silu", node: "SiluBackward0", keeps: Keeps::Input, backward: &["silu_backward"] };
/// nn.functional.relu6 is hardtanh between 0 and 6.
const HARDTANH: Activation =
    Activation { op: "hardtanh", node: "HardtanhBackward0", keeps: Keeps::Input, backward: &["hardtanh_backward"] };
const LEAKY_RELU: Activation = Activation {
    op: "leaky_relu",
    node: "LeakyReluBackward0",
    keeps: Keeps::Input,
    backward: &["leaky_relu_backward"],
};
const MISH: Activation =
    Activation { op: "mish", node: "MishBackward0", keeps: Keeps::Input, backward: &["mish_backward"] };
const SOFTPLUS: Activation =
    Activation { op: "softplus", node: "SoftplusBackward0", keeps: Keeps::Input, backward: &["softplus_backward"] };
const HARDSWISH: Activation =
    Activation { op: "hardswish", node: "HardswishBackward0", keeps: Keeps::Input, backward: &["hardswish_backward"] };
const HARDSIGMOID: Activation = Activation {
    op: "hardsigmoid",
    node: "HardsigmoidBackward0",
    keeps: Keeps::Input,
    backward: &["hardsigmoid_backward"],
};
const ELU: Activation =
    Activation { op: "elu", node: "EluBackward0", keeps: Keeps::Input, backward: &["elu_backward"] };
/// grad * result
const EXP: Activation = Activation { op: "exp", node: "ExpBackward0", keeps: Keeps::Result, backward: &["mul"] };
/// grad * (result + 1)
const EXPM1: Activation =
    Activation { op: "expm1", node: "Expm1Backward0", keeps: Keeps::Result, backward: &["add", "mul"] };
/// grad / (self + 1)
const LOG1P: Activation =
    Activation { op: "log1p", node: "Log1PBackward0", keeps: Keeps::Input, backward: &["add", "div"] };
/// grad / (self * ln(2))
const LOG2: Activation =
    Activation { op: "log2", node: "Log2Backward0", keeps: Keeps::Input, backward: &["mul", "div"] };
const GELU: Activation =
    Activation { op: "gelu", node: "GeluBackward0", keeps: Keeps::Input, backward: &["gelu_backward"] };

fn activation(context: &mut Context, x: &Tensor, rule: &'static Activation) -> Tensor {
    let dtype =
        if x.dtype.is_floating() || matches!(rule.op, "neg" | "abs" | "floor" | "round" | "sign" | "tril" | "triu") {
            x.dtype
        } else {
            Dtype::F32
        };
    let records = context.records(&[x]);
    let saved_input = (records && rule.keeps == Keeps::Input).then(|| context.save(x));
    let output = elementwise(context, rule.op, &[x], dtype);
    if records {
        let saved_result = (rule.keeps == Keeps::Result).then(|| context.save(&output));
        let saved = saved_input.or(saved_result);
        context.record(
            rule.node,
            &[Some(x)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let saved = saved.as_ref().map(|saved| saved.get(context));
                let operands: smallvec::SmallVec<[&Tensor; 2]> = std::iter::once(g).chain(&saved).collect();
                let mut results: smallvec::SmallVec<[Tensor; 3]> =
                    rule.backward.iter().map(|op| elementwise(context, op, &operands, g.dtype)).collect();
                let gradient = results.pop();
                while results.pop().is_some() {} // temporaries of an expression go in reverse
                smallvec![gradient]
            }),
        );
    }
    output
}

/// Half of the input gates the other half (aten/src/ATen/native/GatedLinearUnit.cpp).
fn glu(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let dim = dimension(operands.int(1)?, x.sizes.len())?;
    let saved = context.records(&[x]).then(|| context.save(x));
    let mut sizes = x.sizes.clone();
    sizes[dim] /= 2;
    let output = context.aten("glu", |context| context.empty("glu", &sizes, x.dtype));
    if let Some(saved) = saved {
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let x = saved.get(context);
            smallvec![Some(context.empty("glu_backward", &x.sizes, g.dtype))]
        };
        context.record("GluBackward0", &[Some(x)], &[&output], Box::new(apply));
    }
    one(output)
}

/// Between two numbers.
fn clamp(context: &mut Context, operands: &Operands) -> Lowered {
    let x = operands.tensor(0)?;
    let bounds: smallvec::SmallVec<[&'static str; 2]> = [(1, "ge"), (2, "le")]
        .into_iter()
        .filter(|(place, _)| !matches!(operands.at(*place), Operand::None))
        .map(|(_, op)| op)
        .collect();
    let saved = context.records(&[x]).then(|| context.save(x));
    let output = elementwise(context, "clamp", &[x], x.dtype);
    if let Some(saved) = saved {
        context.record(
            "ClampBackward1",
            &[Some(x)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let saved = saved.get(context);
                smallvec![Some(clamp_backward(context, g, &saved, &bounds))]
            }),
        );
    }
    one(output)
}

/// What T5's blocks clamp float16 to, `where(isinf(x).any(), max - 1000, max)` of two numbers; other types need none
/// (transformers 5.17.0, models/t5/modeling_t5.py, `T5Block.forward`; aten/src/ATen/native/TensorCompare.cpp, `isinf`).
fn half_clamp_value(context: &mut Context, x: &Tensor) -> Tensor {
    if x.dtype != Dtype::F16 {
        return TensorData::new(context.memory.log.nothing(), Dtype::F32, Dims::new(), Dims::new());
    }
    let magnitude = elementwise(context, "abs", &[x], x.dtype);
    let infinite = elementwise(context, "eq", &[&magnitude], Dtype::Bool);
    drop(magnitude);
    let any = whole(context, "any", Reduction::Logical, &infinite, Dtype::Bool);
    drop(infinite);
    let [less, most] = [0; 2].map(|_| context.empty("scalar_tensor", &[], Dtype::F32));
    elementwise(context, "where", &[&any, &less, &most], Dtype::F32)
}

/// `clamp(x, min=-limit, max=limit)` where `x` is float16; backward as that of `clamp` between tensors.
fn clamp_half(context: &mut Context, x: &Tensor, limit: &Tensor) -> Tensor {
    if x.dtype != Dtype::F16 {
        return x.clone();
    }
    let least = elementwise(context, "neg", &[limit], limit.dtype);
    let saved = context.records(&[x]).then(|| [limit, &least, x].map(|tensor| context.save(tensor)));
    let output = elementwise(context, "clamp", &[x], x.dtype);
    if let Some(saved) = saved {
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let [_limit, _least, x] = [0, 1, 2].map(|number: usize| saved[number].get(context));
            smallvec![Some(clamp_between_backward(context, g, &x))]
        };
        context.record("ClampBackward0", &[Some(x)], &[&output], Box::new(apply));
    }
    output
}

/// FunctionsManual.cpp, `clamp_backward` of numbers: where(self >= min and self <= max, grad, 0), the zero made first.
fn clamp_backward(context: &mut Context, g: &Tensor, x: &Tensor, bounds: &[&'static str]) -> Tensor {
    let zero = context.empty("scalar_tensor", &[], g.dtype);
    let masks: smallvec::SmallVec<[Tensor; 2]> =
        bounds.iter().map(|op| elementwise(context, op, &[x], Dtype::Bool)).collect();
    let Some(within) = masks.first() else { return g.clone() };
    let result = elementwise(context, "where", &[within, g, &zero], g.dtype);
    drop(masks);
    result
}

/// The same of tensors. From 2.15 on, by measuring: a byte, a mask by way of three others for one bound, by way of two for the other, and the gradient
/// through one after the other.
fn clamp_between_backward(context: &mut Context, g: &Tensor, x: &Tensor) -> Tensor {
    if !context.device.rules.has(Change::ClampMasksEachBound) {
        return clamp_backward(context, g, x, &["ge", "le"]);
    }
    let zero = context.empty("scalar_tensor", &[], Dtype::Bool);
    let [one, two, three, above] = ["ge", "eq", "ne", "where"].map(|op| elementwise(context, op, &[x], Dtype::Bool));
    drop((three, two, one));
    let [one, two, below] = ["le", "eq", "where"].map(|op| elementwise(context, op, &[x], Dtype::Bool));
    drop((two, one));
    let inner = elementwise(context, "where", &[&below, g, &zero], g.dtype);
    let result = elementwise(context, "where", &[&above, &inner, &zero], g.dtype);
    drop((inner, below, above, zero));
    result
}

/// One slope for all channels: the weight is viewed with the input's dimensions, and its gradient, made with the input's
/// sizes, is summed by the engine (aten/src/ATen/native/Activation.cpp, `prelu`, `_prelu_kernel_backward`).
fn prelu(context: &mut Context, operands: &Operands) -> Lowered {
    let (x, weight) = (operands.tensor(0)?, operands.tensor(1)?);
    if weight.count() != 1 {
        return Err("a slope a channel is not known".to_owned());
    }
    let ones: Vec<i64> = x.sizes.iter().map(|_| 1).collect();
    let slope = view(context, weight, &ones)?;
    let saved = context.records(&[x, &slope]).then(|| [x, &slope].map(|tensor| context.save(tensor)));
    let output = elementwise(context, "_prelu_kernel", &[x, &slope], x.dtype);
    if let Some(saved) = saved {
        context.record(
            "PreluKernelBackward0",
            &[Some(x), Some(&slope)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let [x, slope] = [0, 1].map(|number: usize| saved[number].get(context));
                let operands = [&x, &slope, g];
                (0..2).map(|_| Some(elementwise(context, "_prelu_kernel_backward", &operands, g.dtype))).collect()
            }),
        );
    }
    one(output)
}
