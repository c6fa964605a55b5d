//! The loss scaler of mixed precision in float16 (torch/amp/grad_scaler.py).
//!
//! What it keeps and allocates is written in `specs/optimizers/grad_scaler.yaml`; what autograd records is here: the loss
//! times the scale, which needs no gradient itself.

use smallvec::smallvec;

use super::context::Context;
use super::optimizer::{self, Value};
use super::tensor::Tensor;
use crate::ops::{self, Operand, Operands};

/// `scaler.scale(loss)`
pub(crate) fn scale(context: &mut Context, loss: &Tensor) -> Result<Tensor, String> {
    let scaler = context.training.scaler.clone();
    optimizer::call_companion(context, "scaler_start", vec![Value::Object(scaler.clone())])?;
    let scale = scaler.borrow().get("scale").cloned();
    let Some(Value::Tensor(scale)) = scale else { return Err("the scaler has no scale".to_owned()) };
    let multiply = ops::named("mul").ok_or("there is no operator `mul`")?;
    let operands = Operands(smallvec![Operand::Tensor(loss.clone()), Operand::Tensor(scale.tensor)]);
    let mut scaled = (multiply.lower)(context, &operands)?;
    scaled.pop().ok_or_else(|| "`mul` gives a tensor".to_owned())
}

/// `scaler.unscale_(optimizer)`
pub(crate) fn unscale(context: &mut Context) -> Result<(), String> {
    let given = vec![Value::Object(context.training.scaler.clone()), optimizer::parameters(context)];
    optimizer::call_companion(context, "scaler_unscale", given)
}

/// `scaler.step(optimizer)`: gradients are unscaled first, unless that was done; the step itself is the optimizer's.
pub(crate) fn step(context: &mut Context) -> Result<(), String> {
    let group = optimizer::group(context, &*optimizer::chosen(context)?);
    let given = vec![Value::Object(context.training.scaler.clone()), group, optimizer::parameters(context)];
    optimizer::call_companion(context, "scaler_step", given)
}

/// `scaler.update()`
pub(crate) fn update(context: &mut Context) -> Result<(), String> {
    optimizer::call_companion(context, "scaler_update", vec![Value::Object(context.training.scaler.clone())])
}
