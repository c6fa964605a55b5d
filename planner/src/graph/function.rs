//! Functions with a gradient of their own, written in Python (`torch.autograd.Function`).
//!
//! ```text
//! apply(x)   EnterFunction; the steps of `forward`, which autograd does not record; ExitFunction: one node, which keeps
//!            what `ctx.save_for_backward` was given and the tensors among ctx's attributes
//! backward   the steps of `backward`, over the gradients that come in and what was kept
//! ```
//!
//! `backward` is unrolled where the function is applied: all sizes are known there.

use std::rc::Rc;
use std::sync::Arc;

use super::call::Given;
use super::machine::{Machine, Outcome};
use super::value::{Attributes, Reference, Value};
use super::{FunctionId, Step, TensorId};
use crate::interpret::Semantics;

/// A call of a function with a gradient of its own (torch/csrc/autograd/python_function.cpp, `THPFunction_apply` and `PyNode::apply`).
#[derive(Clone, Debug, Default)]
pub struct CustomFunction {
    /// Its arguments: gradients flow to those that are tensors.
    pub inputs: Vec<Option<TensorId>>,
    /// What it gave.
    pub results: Vec<TensorId>,
    /// What `ctx.save_for_backward` was given, with the names under which `backward` has it.
    pub saved: Vec<(TensorId, TensorId)>,
    /// Tensors among ctx's attributes, which the node holds for as long as it lives.
    pub kept: Vec<TensorId>,
    /// The gradients of the results.
    pub given: Vec<TensorId>,
    /// The steps of `backward`.
    pub backward: Vec<Step>,
    /// The gradients of the inputs.
    pub gives: Vec<Option<TensorId>>,
}

/// The attribute of ctx that holds what was saved.
const SAVED: &str = "saved_tensors";

/// `Function.apply(*arguments)`: its `forward` and `backward` and the arguments.
pub(super) fn autograd_function(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [forward, backward, arguments] = given.exactly(machine)?;
    let arguments = machine.elements(&arguments)?.to_vec();
    let inputs: Vec<Option<TensorId>> = arguments.iter().map(Value::tensor).collect();
    let id = FunctionId(machine.functions.len() as u32);
    machine.functions.push(CustomFunction { inputs: inputs.clone(), ..CustomFunction::default() });
    machine.tape.record(Step::EnterFunction(id));
    let ctx = Value::config(Attributes::default(), 2);
    // `arguments` are held until it has returned
    let positional = std::iter::once(ctx.clone()).chain(arguments.clone()).collect();
    let result = machine.call(forward, Given { positional, named: Vec::new() })?;
    let results: Vec<TensorId> = list_of(&result).iter().filter_map(Value::tensor).collect();
    if results.iter().any(|result| inputs.contains(&Some(*result))) {
        return machine.error("a function with a gradient of its own that gives back what it was given is not known");
    }
    machine.functions[id.index()].results = results;
    if machine.records {
        machine.unroll_backward(id, &ctx, backward)?;
    }
    machine.tape.record(Step::ExitFunction(id));
    Ok(result)
}

fn list_of(value: &Value) -> Vec<Value> {
    match value {
        Value::Sequence(values) => values.to_vec(),
        single => vec![single.clone()],
    }
}

impl Machine {
    /// A tensor whose references count for nothing: the engine holds it while `backward` runs.
    fn held(&mut self, like: TensorId) -> (TensorId, Value) {
        let tensor = TensorId(self.shapes.len() as u32);
        self.shapes.push(self.shapes[like.index()].clone());
        (tensor, Value::Tensor(Rc::new(Reference { tensor: tensor.into(), tape: None })))
    }

    fn unroll_backward(&mut self, id: FunctionId, ctx: &Value, backward: Value) -> Outcome<()> {
        let Value::Object(bag) = ctx else { return Ok(()) };
        let mut attributes = bag.attributes.borrow().clone();
        let (mut saved, mut kept) = (Vec::new(), Vec::new());
        let mut unpacked = Vec::new();
        for value in attributes.get(SAVED).map(list_of).unwrap_or_default() {
            unpacked.push(match value {
                Value::Tensor(reference) => {
                    let (tensor, held) = self.held(reference.tensor.get());
                    saved.push((reference.tensor.get(), tensor));
                    held
                }
                other => other,
            });
        }
        attributes.insert(Arc::from(SAVED), Value::sequence(unpacked));
        for value in attributes.values_mut() {
            if let Value::Tensor(reference) = value {
                kept.push(reference.tensor.get());
                *value = Value::Tensor(Rc::new(Reference { tensor: reference.tensor.clone(), tape: None }));
            }
        }
        let needs = self.functions[id.index()].inputs.iter().map(|input| Value::Bool(input.is_some())).collect();
        attributes.insert(Arc::from("needs_input_grad"), Value::sequence(needs));
        let gradients: Vec<(TensorId, Value)> =
            self.functions[id.index()].results.clone().into_iter().map(|result| self.held(result)).collect();
        let (given, values): (Vec<TensorId>, Vec<Value>) = gradients.into_iter().unzip();
        let forward = self.tape.take();
        let positional = std::iter::once(Value::config(attributes, 2)).chain(values).collect();
        let result = self.call(backward, Given { positional, named: Vec::new() });
        let steps = self.tape.take();
        let gives = result.as_ref().map(list_of).unwrap_or_default();
        let gives = gives.iter().map(Value::tensor).collect();
        drop(result?);
        self.tape.put_back(forward);
        let function = &mut self.functions[id.index()];
        (function.saved, function.kept, function.given) = (saved, kept, given);
        (function.backward, function.gives) = (steps, gives);
        Ok(())
    }
}
