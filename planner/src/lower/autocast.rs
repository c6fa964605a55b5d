//! Autocast: which operators run in which type, and the copies of weights that it keeps.
//!
//! ```text
//! linear(x, w, b) under bf16  ->  b, then w, then x are cast, each if float32;  casts of leaves are kept until the
//!                                 outermost autocast ends
//! ```
//!
//! An operator's row says on which list of aten/src/ATen/autocast_mode.h it stands (`ops::Autocast`); the wrapper's
//! arguments are cast from the last to the first, which is how the compiled wheel evaluates them
//! (aten/src/ATen/autocast_mode.cpp, `cached_cast`).

use std::rc::Rc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::autograd::Edge;
use super::context::Context;
use super::tensor::{Tensor, TensorData};
use crate::dtype::Dtype;
use crate::ops::{self, Autocast, Operand, Operands, Operator};

/// Autocast's state: the regions that are open, innermost last, and the casts that are kept.
#[derive(Default)]
pub struct Regions {
    open: Vec<bool>,
    /// In the order of their making, which is that of their going; PyTorch lets them go in an order of addresses.
    kept: IndexMap<usize, Tensor, FxBuildHasher>,
}

impl Regions {
    /// A region begins.
    pub fn enter(&mut self, enabled: bool) {
        self.open.push(enabled);
    }

    /// A region ends; with the outermost the kept casts go.
    pub fn exit(&mut self) {
        self.open.pop();
        if self.open.is_empty() {
            self.kept.clear();
        }
    }

    /// Whether no region is open, and so no cast kept.
    pub(super) fn is_closed(&self) -> bool {
        self.open.is_empty() && self.kept.is_empty()
    }

    /// Whether the innermost region is one that casts.
    pub fn is_on(&self) -> bool {
        self.open.last() == Some(&true)
    }
}

/// Runs something in a region of its own, with casts of its own that go at its end.
pub(super) fn within<T>(context: &mut Context, enabled: bool, run: impl FnOnce(&mut Context) -> T) -> T {
    let outer = std::mem::take(&mut context.autocast);
    context.autocast.enter(enabled);
    let result = run(context);
    context.autocast = outer;
    result
}

/// Casts the arguments of an operator as autocast does, if a region is open.
pub fn cast_arguments(context: &mut Context, operator: &Operator, operands: &mut Operands) {
    match operator.autocast {
        Autocast::Keeps => {}
        Autocast::Lower | Autocast::Full => {
            for operand in operands.0.iter_mut().rev() {
                if let Operand::Tensor(tensor) = operand {
                    *tensor = cast_argument(context, operator.autocast, tensor);
                }
            }
        }
        Autocast::FullResult => ask_for_full_result(context, operator, operands),
    }
}

/// An argument of an operator with that entry in autocast's lists, cast if a region is open.
pub fn cast_argument(context: &mut Context, autocast: Autocast, tensor: &Tensor) -> Tensor {
    match (lower_type(context), autocast) {
        (Some(lower), Autocast::Lower) => cached_cast(context, tensor, lower, lower),
        (Some(lower), Autocast::Full) => cached_cast(context, tensor, Dtype::F32, lower),
        (_, Autocast::Keeps | Autocast::FullResult) | (None, _) => tensor.clone(),
    }
}

/// Asks for a float32 result where no type is given and the first argument is of a floating type but float64
/// (`fp32_set_opt_dtype`, `firstarg_is_eligible`).
fn ask_for_full_result(context: &Context, operator: &Operator, operands: &mut Operands) {
    let eligible = matches!(operands.at(0), Operand::Tensor(x) if x.dtype.is_floating() && !matches!(x.dtype, Dtype::F64 | Dtype::C64));
    let Some(place) = operator.place("dtype").filter(|_| eligible && lower_type(context).is_some()) else { return };
    if operands.dtype(place).is_none() {
        operands.0[place] = Operand::Dtype(Dtype::F32);
    }
}

/// The type that autocast lowers to; None outside its regions.
fn lower_type(context: &Context) -> Option<Dtype> {
    context.settings.autocast.filter(|_| context.autocast.is_on())
}

/// `cached_cast`: casts of float32 leaves that need gradients to the lower type are kept, and recorded without grad mode too,
/// since whoever uses them later may need gradients.
fn cached_cast(context: &mut Context, tensor: &Tensor, to: Dtype, lower: Dtype) -> Tensor {
    if !tensor.dtype.is_floating() || matches!(tensor.dtype, Dtype::F64 | Dtype::C64) || tensor.dtype == to {
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
    let cast = context.with_gradients(true, |context| ops::to(context, tensor, to));
    context.autocast.kept.insert(key, cast.clone());
    cast
}

/// A parameter that requires a gradient, which it does without grad mode too.
fn is_leaf(tensor: &TensorData) -> bool {
    tensor.base.is_none() && matches!(*tensor.gradient.borrow(), Edge::Leaf(_))
}
