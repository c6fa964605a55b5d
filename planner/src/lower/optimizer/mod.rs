//! The optimizer, gradient clipping and the loss scaler: runs their code of `specs/optimizers` over storages.
//!
//! ```text
//! init(group, params)    when the optimizer is made, before the inputs
//! step(group, params)    at each step; `state(p)` is what it keeps for a parameter, `group` its options
//! ```

mod arithmetic;
mod builtins;
mod machine;
mod operators;
#[cfg(test)]
mod tests;
mod value;

use std::rc::Rc;
use std::sync::Arc;

use super::context::Context;
use crate::interpret::Interpreter;
use crate::read::optimizers::{Optimizer, Setting};
use crate::trace::Category;
use machine::Machine;
use value::{Given, Handle};

pub(crate) use value::{Attributes, Value};

/// `torch.optim.AdamW(parameters, ...)`: a few keep something from the start.
pub(crate) fn init(context: &mut Context) -> Result<(), String> {
    let optimizer = chosen(context)?;
    let Some(init) = optimizer.init.clone() else { return Ok(()) };
    let given = vec![group(context, &optimizer), parameters(context)];
    where_parameters_lie(context, |context| call(context, optimizer, &init, given))
}

/// `optimizer.step()`
pub(crate) fn step(context: &mut Context) -> Result<(), String> {
    let optimizer = chosen(context)?;
    let given = vec![group(context, &optimizer), parameters(context)];
    let step = optimizer.step.clone();
    where_parameters_lie(context, |context| call(context, optimizer, &step, given))?;
    if !context.optimizes_on_host() {
        context.count_moved(moved(context));
    }
    Ok(())
}

/// Bytes that a step reads and writes at least: the gradients once, the parameters and their states in and out.
fn moved(context: &Context) -> u64 {
    let trained = context.training.trained.iter().enumerate().filter_map(|(number, trained)| {
        let gradient = trained.leaf.gradient.borrow().as_ref()?.bytes();
        let states = context.training.states.get(&(number as u32)).map_or(0, |states| {
            let held = states.borrow();
            held.values().filter_map(|value| Some(value.tensor().ok()?.tensor.bytes())).sum::<u64>()
        });
        Some(gradient + 2 * (trained.tensor.bytes() + states))
    });
    trained.sum()
}

/// `clip_grad_norm_(model.parameters(), norm)`
pub(crate) fn clip(context: &mut Context) -> Result<(), String> {
    let given = vec![parameters(context)];
    where_parameters_lie(context, |context| call_companion(context, "clip_grad_norm", given))
}

fn where_parameters_lie<T>(context: &mut Context, run: impl FnOnce(&mut Context) -> T) -> T {
    if context.optimizes_on_host() { context.on_host(run) } else { run(context) }
}

/// Calls a function that every optimizer has beside its own: clipping, or the scaler's.
pub(crate) fn call_companion(context: &mut Context, name: &str, given: Vec<Value>) -> Result<(), String> {
    let optimizer = chosen(context)?;
    let function = optimizer.companion(name).map_err(|error| error.to_string())?;
    call(context, optimizer, &function, given)
}

/// The parameters that are trained, as a list.
pub(crate) fn parameters(context: &Context) -> Value {
    let handle = |(number, trained): (usize, &super::parameters::Trained)| {
        Value::Tensor(Handle { tensor: trained.tensor.clone(), owner: Some(number as u32) })
    };
    Value::list(context.training.trained.iter().enumerate().map(handle).collect())
}

/// The options of the optimizer, where it notes what it keeps beside the parameters' states. For tensors on the host a loop
/// is PyTorch's default (torch/optim/optimizer.py, `_default_to_fused_or_foreach`).
pub(crate) fn group(context: &mut Context, optimizer: &Optimizer) -> Value {
    let on_host = context.optimizes_on_host();
    let group = context.training.group.get_or_insert_with(|| {
        let value = |(name, setting): &(Arc<str>, Setting)| match (&**name, *setting) {
            ("foreach", Setting::Default(())) if on_host => (name.clone(), Value::Bool(false)),
            (_, setting) => (name.clone(), Value::from(setting)),
        };
        Rc::new(Attributes::new(optimizer.settings.iter().map(value).collect()))
    });
    Value::Object(group.clone())
}

pub(crate) fn chosen(context: &Context) -> Result<Arc<Optimizer>, String> {
    context.settings.optimizer.clone().ok_or_else(|| "no optimizer was chosen".to_owned())
}

fn call(
    context: &mut Context,
    optimizer: Arc<Optimizer>,
    function: &crate::read::spec::syntax::Function,
    positional: Vec<Value>,
) -> Result<(), String> {
    let run = |context: &mut Context| {
        let mut machine = Machine { context, optimizer, depth: 0, spent: 0, placed: false };
        machine.call_function(function, Given { positional, named: Vec::new() }).map(drop)
    };
    context.counted_as(Category::Temporaries, |context| context.with_gradients(false, run))
}
