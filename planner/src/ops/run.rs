//! What a run's loop asks for beside operators: loading, backward, the optimizer's step, the end of a phase.

use smallvec::SmallVec;

use super::{Autocast, Call, Class, Lower, Lowered, Operand, Operands, Returns, Row, Shapes};
use crate::lower::context::Context;
use crate::lower::{autograd, optimizer, parameters, scaler};
use crate::trace::Phase;

/// Makes the parameters.
pub const LOAD: &str = "load";
/// A phase of a step begins.
pub const MARK: &str = "mark";
/// Turns grad mode on or off.
pub const SET_GRAD_ENABLED: &str = "set_grad_enabled";
/// Runs the autograd engine.
pub const BACKWARD: &str = "backward";
/// Makes the optimizer.
pub const MAKE_OPTIMIZER: &str = "make_optimizer";

pub(super) const ROWS: &[Row] = &[
    row(LOAD, "", |context, _| {
        parameters::load(context);
        nothing(())
    }),
    row(MARK, "phase, step", mark),
    row(SET_GRAD_ENABLED, "enabled", |context, a| {
        context.set_grad_enabled(a.flag(0));
        nothing(())
    }),
    row("enter_autocast", "enabled", |context, a| {
        context.autocast.enter(a.flag(0));
        nothing(())
    }),
    // cuda/Copy.cu, copy_requires_temporaries: what does not lie closely together is copied on the device first
    row("read_on_host", "input", |context, a| {
        let x = a.tensor(0)?;
        let copy = (!x.is_dense()).then(|| context.empty("contiguous", &x.sizes, x.dtype));
        drop(copy);
        nothing(())
    }),
    row("exit_autocast", "", |context, _| {
        context.autocast.exit();
        nothing(())
    }),
    row(BACKWARD, "loss", |context, a| {
        autograd::backward(context, a.tensor(0)?)?;
        nothing(())
    }),
    row("requires_grad_", "input", |context, a| {
        context.require_gradient(&a.tensor(0)?.clone());
        nothing(())
    }),
    row(MAKE_OPTIMIZER, "", |context, _| optimizer::init(context).and_then(nothing)),
    row("optimizer_step", "", |context, _| optimizer::step(context).and_then(nothing)),
    row("clip_grad_norm_", "", |context, _| optimizer::clip(context).and_then(nothing)),
    Row {
        name: "scale_loss",
        signature: "loss",
        returns: Returns::One,
        source: "torch/amp/grad_scaler.py, scale",
        class: Class::Moves,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: super::elementwise::first_shape,
        lower: |context, a| scaler::scale(context, a.tensor(0)?).and_then(super::operands::one),
    },
    row("unscale", "", |context, _| scaler::unscale(context).and_then(nothing)),
    row("scaler_step", "", |context, _| scaler::step(context).and_then(nothing)),
    row("scaler_update", "", |context, _| scaler::update(context).and_then(nothing)),
    row("zero_grad", "", |context, _| {
        parameters::zero_grad(context);
        nothing(())
    }),
];

/// Whether an operator changes what the optimizer or the loss scaler keeps.
pub fn changes_optimizer(name: &str) -> bool {
    [MAKE_OPTIMIZER, "optimizer_step", "clip_grad_norm_", "unscale", "scaler_step", "scaler_update"].contains(&name)
}

/// A step of a run's loop, which gives no tensor.
const fn row(name: &'static str, signature: &'static str, lower: Lower) -> Row {
    Row {
        name,
        signature,
        returns: Returns::One,
        source: "the meaning of a run: README.md",
        class: Class::Nothing,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: none,
        lower,
    }
}

fn none(_: &Call) -> Shapes {
    Ok(SmallVec::new())
}

fn nothing(_: ()) -> Lowered {
    Ok(SmallVec::new())
}

fn mark(context: &mut Context, operands: &Operands) -> Lowered {
    let Operand::Text(name) = operands.at(0) else { return Err("a phase's name is a text".to_owned()) };
    let step = operands.int(1)?.max(0) as u64;
    context.memory.log.phase(Phase { step, name: (&**name).into() });
    nothing(())
}
