//! Reentrant activation checkpointing (torch/utils/checkpoint.py, `CheckpointFunction`).
//!
//! ```text
//! forward   the region runs without grad mode; one node stands for it, which saves the positional tensors
//! backward  the region runs again, to its end, on detached inputs; then backward through it, within the engine's own;
//!           the inputs' gradients are the node's results
//! node gone the named arguments go, which Python bound to the function
//! ```

use std::rc::Rc;

use smallvec::SmallVec;

use super::{Frame, Saved, replay};
use crate::graph::{CheckpointId, TensorId};
use crate::lower::autograd::{self, Edge, Gradients};
use crate::lower::context::{Context, detach};
use crate::lower::tensor::Tensor;
use crate::trace::Category;

/// A call under way.
pub(in crate::lower) struct Running {
    inputs: Vec<Tensor>,
    enabled: bool,
}

pub(super) fn enter(context: &mut Context, id: CheckpointId) {
    let graph = context.graph.clone();
    let Some(call) = &graph.checkpoints[id.index()].reentrant else { return };
    let inputs = present(context, &call.inputs);
    let enabled = context.set_grad_enabled(false);
    context.checkpointing.reentrant = Some(Running { inputs, enabled });
}

/// Whether a node holds the call.
pub(super) fn exit(context: &mut Context, id: CheckpointId) -> bool {
    let graph = context.graph.clone();
    let (Some(call), Some(running)) =
        (&graph.checkpoints[id.index()].reentrant, context.checkpointing.reentrant.take())
    else {
        return false;
    };
    context.set_grad_enabled(running.enabled);
    let inputs: SmallVec<[&Tensor; 4]> = running.inputs.iter().collect();
    if !context.records(&inputs) {
        return false;
    }
    let outputs = present(context, &call.results);
    let saved: Vec<(Saved, bool)> =
        running.inputs.iter().map(|input| (context.save(input), input.requires_grad())).collect();
    let frame = Rc::new(Frame::new(context, id));
    let held = frame.clone();
    let apply = move |context: &mut Context, gradients: &mut [Option<Tensor>]| {
        let inputs = saved.iter().map(|(saved, follows)| input(context, saved, *follows)).collect();
        backward(context, &held, inputs, gradients)
    };
    let inputs: Vec<Option<&Tensor>> = running.inputs.iter().map(Some).collect();
    let outputs: Vec<&Tensor> = outputs.iter().collect();
    context.record("CheckpointFunctionBackward", &inputs, &outputs, Box::new(apply));
    if let Some(output) = outputs.first() {
        context.keep_with_node(output, frame);
    }
    true
}

fn present(context: &Context, tensors: &[TensorId]) -> Vec<Tensor> {
    tensors.iter().filter_map(|id| context.program.values[id.index()].clone()).collect()
}

/// `detach_variable`: a leaf of its own where gradients are asked for.
fn input(context: &mut Context, saved: &Saved, follows: bool) -> Tensor {
    let tensor = detach(&saved.get(context));
    if follows {
        context.with_gradients(true, |context| context.require_gradient(&tensor));
    }
    tensor
}

fn backward(context: &mut Context, frame: &Frame, inputs: Vec<Tensor>, given: &[Option<Tensor>]) -> Gradients {
    let graph = context.graph.clone();
    let checkpoint = &graph.checkpoints[frame.id.index()];
    let Some(call) = &checkpoint.reentrant else { return Gradients::new() };
    frame.has_run_again.set(true);
    let arguments = call.inputs.iter().copied().zip(inputs.iter().cloned());
    let outputs = replay(context, frame, arguments.chain(frame.arguments.iter().cloned()), |context| {
        call.recomputed.iter().map(|id| context.program.values[id.index()].take()).collect::<Vec<_>>()
    });
    let roots: Vec<(Edge, Tensor)> = outputs
        .iter()
        .zip(given)
        .filter_map(|(output, gradient)| Some((output.as_ref()?, gradient.as_ref()?)))
        .filter(|(output, _)| output.requires_grad())
        .map(|(output, gradient)| (output.gradient.borrow().clone(), gradient.clone()))
        .collect();
    if let Err(message) = autograd::execute(context, roots) {
        context.fail(&message);
    }
    let gradient = |input: &Tensor| match &*input.gradient.borrow() {
        Edge::Leaf(leaf) => leaf.gradient.borrow().clone(),
        _ => None,
    };
    let gradients: Gradients = inputs.iter().map(gradient).collect();
    gradients.iter().flatten().for_each(|gradient| gradient.storage.becomes(Category::Temporaries));
    gradients
}
