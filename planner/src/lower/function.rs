//! Functions with a gradient of their own, written in Python (torch/csrc/autograd/python_function.cpp).

use std::rc::Rc;

use smallvec::SmallVec;

use super::autograd::Gradients;
use super::checkpoint::Saved;
use super::context::Context;
use super::tensor::Tensor;
use crate::dtype::Dtype;
use crate::graph::{Dims, FunctionId, Step, TensorId};
use crate::trace::Cause;

/// A call that runs forward.
pub(super) struct Running {
    inputs: Vec<Option<Tensor>>,
    enabled: bool,
}

/// `forward` runs without grad mode.
pub(super) fn enter(context: &mut Context, id: FunctionId) {
    let graph = context.graph.clone();
    let of = |input: &Option<TensorId>| input.and_then(|id| context.program.values[id.index()].clone());
    let inputs = graph.functions[id.index()].inputs.iter().map(of).collect();
    let enabled = context.set_grad_enabled(false);
    context.functions.push(Running { inputs, enabled });
}

/// One node stands for the call, where autograd records it.
pub(super) fn exit(context: &mut Context, id: FunctionId) {
    let graph = context.graph.clone();
    let function = &graph.functions[id.index()];
    let Some(Running { inputs, enabled }) = context.functions.pop() else { return };
    context.set_grad_enabled(enabled);
    let tensors: SmallVec<[&Tensor; 4]> = inputs.iter().flatten().collect();
    if !context.records(&tensors) {
        return;
    }
    let value = |context: &Context, id: &TensorId| context.program.values[id.index()].clone();
    let outputs: Vec<Tensor> = function.results.iter().filter_map(|id| value(context, id)).collect();
    let mut saved: Vec<(TensorId, Saved)> = Vec::new();
    for (id, name) in &function.saved {
        if let Some(tensor) = value(context, id) {
            saved.push((*name, context.save(&tensor)));
        }
    }
    let kept: Rc<Vec<(TensorId, Tensor)>> =
        Rc::new(function.kept.iter().filter_map(|id| Some((*id, value(context, id)?))).collect());
    let held = kept.clone();
    let like: Vec<(Dims, Dtype)> = outputs.iter().map(|output| (output.sizes.clone(), output.dtype)).collect();
    let apply = move |context: &mut Context, gradients: &mut [Option<Tensor>]| {
        let mut bound: Vec<(TensorId, Tensor)> =
            saved.iter().map(|(name, saved)| (*name, saved.get(context))).collect();
        bound.extend(held.iter().cloned());
        backward(context, id, bound, gradients, &like)
    };
    let of_inputs: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_ref).collect();
    let of_outputs: Vec<&Tensor> = outputs.iter().collect();
    context.record("FunctionBackward", &of_inputs, &of_outputs, Box::new(apply));
    if let Some(output) = of_outputs.first() {
        context.keep_with_node(output, kept);
    }
}

/// The steps of `backward`; a gradient that nothing gave is zeros (`ctx.set_materialize_grads`).
fn backward(
    context: &mut Context,
    id: FunctionId,
    mut bound: Vec<(TensorId, Tensor)>,
    gradients: &[Option<Tensor>],
    like: &[(Dims, Dtype)],
) -> Gradients {
    let graph = context.graph.clone();
    let function = &graph.functions[id.index()];
    for (place, name) in function.given.iter().enumerate() {
        let gradient = match gradients.get(place).cloned().flatten() {
            Some(gradient) => gradient,
            None => context.empty("zeros", &like[place].0, like[place].1),
        };
        bound.push((*name, gradient));
    }
    for (name, tensor) in &bound {
        context.program.dtypes[name.index()] = Some(tensor.dtype);
        context.program.values[name.index()] = Some(tensor.clone());
    }
    super::autocast::within(context, false, |context| {
        for step in &function.backward {
            match step {
                Step::Op(op) => super::run(context, &graph.ops[op.index()]),
                Step::Drop(tensor, place) => context.drop_tensor(*tensor, Cause::Python(*place)),
                _ => {}
            }
        }
    });
    let given: Gradients =
        function.gives.iter().map(|id| id.and_then(|id| context.program.values[id.index()].clone())).collect();
    let names = function.gives.iter().flatten().chain(bound.iter().map(|(name, _)| name));
    names.for_each(|name| context.program.values[name.index()] = None);
    given
}
