//! Autocast: which operators run in which type, and the copies of weights that it keeps.
//!
//! ```text
//! linear(x, w, b) under bf16  ->  b, then w, then x are cast, each if float32;  casts of leaves are kept until the
//!                                 outermost autocast ends
//! ```
//!
//! The lists are those of aten/src/ATen/autocast_mode.h; the wrapper's arguments are cast from the last to the first, which
//! is how the compiled wheel evaluates them (aten/src/ATen/autocast_mode.cpp, `cached_cast`).

use std::rc::Rc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::autograd::Edge;
use super::context::Context;
use super::tensor::{Tensor, TensorData};
use crate::dtype::Dtype;
use crate::ops::{self, Operand, Operands};

/// What autocast does with an operator's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// Casts float32 to the lower type.
    Lower,
    /// Casts the lower type to float32.
    Full,
    /// Asks the operator for a float32 result where no type is given; the position of that argument.
    FullResult(usize),
}

/// The operators that autocast changes; all others take what they are given.
const POLICIES: [(&str, Policy); 19] = [
    ("addmm", Policy::Lower),
    ("baddbmm", Policy::Lower),
    ("conv2d", Policy::Lower),
    ("linear", Policy::Lower),
    ("matmul", Policy::Lower),
    ("prelu", Policy::Lower),
    ("scaled_dot_product_attention", Policy::Lower),
    ("binary_cross_entropy_with_logits", Policy::Full),
    ("layer_norm", Policy::Full),
    ("mse_loss", Policy::Full),
    ("nll_loss", Policy::Full),
    ("pow", Policy::Full),
    ("reciprocal", Policy::Full),
    ("rsqrt", Policy::Full),
    ("softplus", Policy::Full),
    ("cumsum", Policy::FullResult(2)),
    ("log_softmax", Policy::FullResult(2)),
    ("softmax", Policy::FullResult(2)),
    ("sum", Policy::FullResult(3)),
];

/// Autocast's state: the regions that are open, innermost last, and the casts that are kept.
#[derive(Default)]
pub struct Autocast {
    regions: Vec<bool>,
    /// In the order of their making, which is that of their going; PyTorch lets them go in an order of addresses.
    kept: IndexMap<usize, Tensor, FxBuildHasher>,
}

impl Autocast {
    /// A region begins.
    pub fn enter(&mut self, enabled: bool) {
        self.regions.push(enabled);
    }

    /// A region ends; with the outermost the kept casts go.
    pub fn exit(&mut self) {
        self.regions.pop();
        if self.regions.is_empty() {
            self.kept.clear();
        }
    }

    /// Whether the innermost region is one that casts.
    pub fn is_on(&self) -> bool {
        self.regions.last() == Some(&true)
    }
}

/// Casts the arguments of an operator as autocast does, if a region is open.
pub fn cast_arguments(context: &mut Context, operator: &str, operands: &mut Operands) {
    let Some(lower) = context.settings.autocast.filter(|_| context.autocast.is_on()) else { return };
    let Some((_, policy)) = POLICIES.iter().find(|(name, _)| *name == operator) else { return };
    match policy {
        Policy::Lower => cast_all(context, operands, lower, lower),
        Policy::Full => cast_all(context, operands, Dtype::F32, lower),
        Policy::FullResult(position) => {
            let eligible =
                matches!(operands.at(0), Operand::Tensor(x) if x.dtype.is_floating() && x.dtype != Dtype::F64);
            if eligible && operands.dtype(*position).is_none() && operands.0.len() > *position {
                operands.0[*position] = Operand::Dtype(Dtype::F32);
            }
        }
    }
}

fn cast_all(context: &mut Context, operands: &mut Operands, to: Dtype, lower: Dtype) {
    for operand in operands.0.iter_mut().rev() {
        if let Operand::Tensor(tensor) = operand {
            *tensor = cached_cast(context, tensor, to, lower);
        }
    }
}

/// `cached_cast`: casts of float32 leaves that need gradients to the lower type are kept, and recorded without grad mode too,
/// since whoever uses them later may need gradients.
pub fn cached_cast(context: &mut Context, tensor: &Tensor, to: Dtype, lower: Dtype) -> Tensor {
    if !tensor.dtype.is_floating() || tensor.dtype == Dtype::F64 || tensor.dtype == to {
        return tensor.clone();
    }
    let key = Rc::as_ptr(tensor) as usize;
    let keeps = to == lower && tensor.dtype == Dtype::F32 && is_leaf(tensor);
    if let Some(kept) = context.autocast.kept.get(&key).filter(|_| keeps) {
        return kept.clone();
    }
    // read and written, and its gradient likewise
    let passes = if context.records(&[tensor]) { 2 } else { 1 };
    context.count_moved(passes * tensor.count() * (tensor.dtype.size() + to.size()));
    if !keeps {
        return ops::to(context, tensor, to);
    }
    let enabled = std::mem::replace(&mut context.grad_enabled, true);
    let cast = ops::to(context, tensor, to);
    context.grad_enabled = enabled;
    context.autocast.kept.insert(key, cast.clone());
    cast
}

/// A parameter that requires a gradient, which it does without grad mode too.
fn is_leaf(tensor: &TensorData) -> bool {
    tensor.base.is_none() && matches!(*tensor.gradient.borrow(), Edge::Leaf(_))
}
