//! FSDP2: `fully_shard` on each of the model's blocks and on the model (torch/distributed/fsdp/_fully_shard/).
//!
//! ```text
//! load      every parameter becomes a shard: its first dimension over the ranks, rounded up     _fsdp_param.py
//! forward   before a block   all-gather into one buffer (copy-in stream), copied out into the parameters;
//!                            the buffer lives until the next block's parameters are copied out
//!           after a block    parameters are let go; the model's own stay
//! backward  before a block   copied out of the buffer, which goes; the all-gather of the block before begins
//!           after a block    parameters are let go; gradients are copied into one buffer (default stream) and reduced
//!                            into another (reduce-scatter stream), of which the shards' gradients are views;
//!                            the first buffer lives until the next block's begins
//! ```
//!
//! A parameter that is let go keeps its storage, which has no bytes until it is gathered again: what autograd saved of it
//! refers to that storage.

use std::rc::Rc;

use super::Hooks;
use super::groups::{Group, Phase, Sharded, shard};
use super::metadata;
use crate::dtype::Dtype;
use crate::graph::{CallId, ModuleId, TensorId};
use crate::lower::autograd::{Edge, Gradients};
use crate::lower::context::Context;
use crate::lower::tensor::{Storage, Tensor, TensorData};
use crate::run::Fsdp;
use crate::trace::Category;
use crate::versions::Change;

/// The side streams that allocate; the all-gather stream does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    CopyIn,
    ReduceScatter,
}

/// What FSDP keeps.
pub(in crate::lower) struct Sharding {
    options: Fsdp,
    /// Its place among the ways of the run.
    number: usize,
    /// The model's group, then the blocks'.
    groups: Vec<Group>,
    /// The side streams by the order of their first allocation.
    streams: Vec<Side>,
    /// `post_forward_order`: the groups in the order in which their forwards ended.
    forwarded: Vec<usize>,
    /// `all_gather_state`: the buffer of the last all-gather in forward.
    last_gathered: Option<Rc<Storage>>,
    /// `reduce_scatter_state`: what the last reduction reads.
    reducing: Option<Rc<Storage>>,
    /// The arguments of the calls under way, for which views stand in.
    outside: Vec<Vec<(TensorId, Tensor)>>,
}

impl Sharding {
    /// Shards the model that has been loaded.
    pub(super) fn new(context: &mut Context, options: Fsdp, number: usize) -> Sharding {
        let groups = shard(context, &options);
        let (streams, forwarded, outside) = (Vec::new(), Vec::new(), Vec::new());
        Sharding { options, number, groups, streams, forwarded, last_gathered: None, reducing: None, outside }
    }

    fn group_of(&self, context: &Context, call: CallId) -> Option<usize> {
        let module = context.graph.calls[call.index()].module;
        self.groups.iter().position(|group| group.module == module)
    }

    /// Runs on a side stream.
    fn on<T>(&mut self, context: &mut Context, side: Side, act: impl FnOnce(&mut Context) -> T) -> T {
        let place = self.streams.iter().position(|known| *known == side).unwrap_or_else(|| {
            self.streams.push(side);
            self.streams.len() - 1
        });
        context.on_stream(place as u32 + 1, act)
    }

    // ---- forward ------------------------------------------------------------------------------------------------

    /// _fsdp_param_group.py, `_register_post_backward_hook`: a node passes the gradients of the arguments on and sees that
    /// the block is done. Within the call, views stand for the arguments.
    fn stand_in(&self, context: &mut Context, call: CallId, group: usize) -> Vec<(TensorId, Tensor)> {
        let mut replaced = Vec::new();
        if !context.grad_enabled() || self.groups[group].parameters.is_empty() {
            return replaced;
        }
        let program = context.graph.clone();
        for id in &program.calls[call.index()].arguments {
            if let Some(tensor) = context.program.values[id.index()].as_ref().filter(|tensor| tensor.requires_grad()) {
                replaced.push((*id, tensor.clone()));
            }
        }
        if replaced.is_empty() {
            return replaced;
        }
        let view =
            |(_, tensor): &(TensorId, Tensor)| TensorData::view(tensor, tensor.sizes.clone(), tensor.strides.clone());
        let views: Vec<Tensor> = replaced.iter().map(view).collect();
        let inputs: Vec<Option<&Tensor>> = replaced.iter().map(|(_, tensor)| Some(tensor)).collect();
        let outputs: Vec<&Tensor> = views.iter().collect();
        let number = self.number;
        let apply = move |context: &mut Context, gradients: &mut [Option<Tensor>]| -> Gradients {
            super::after_block(context, number, group);
            gradients.iter_mut().map(Option::take).collect()
        };
        context.record("RegisterPostBackwardFunctionBackward", &inputs, &outputs, Box::new(apply));
        for ((id, _), view) in replaced.iter().zip(views) {
            context.program.values[id.index()] = Some(view);
        }
        replaced
    }

    // ---- all-gather ---------------------------------------------------------------------------------------------

    /// _fsdp_collectives.py, `foreach_all_gather`.
    /// A single rank has nothing to gather.
    fn unshard(&mut self, context: &mut Context, group: usize) {
        let ranks = self.options.ranks;
        let wanted = &self.groups[group];
        if wanted.gathered.is_some() || wanted.unsharded || wanted.parameters.is_empty() {
            return;
        }
        let bytes = wanted.parameters.iter().map(|p| p.padded * p.tensor.dtype.size()).sum();
        let inputs: Vec<(u64, Dtype, Dtype)> =
            wanted.parameters.iter().map(|p| (p.padded / ranks, p.dtype, p.tensor.dtype)).collect();
        let offload = self.options.offload;
        let gather = |context: &mut Context| {
            let inputs = gather_inputs(context, &inputs, offload);
            let buffer = context.allocate("all_gather", bytes);
            drop(inputs);
            buffer
        };
        let gather = |context: &mut Context| context.counted_as(Category::Communication, gather);
        let buffer = if ranks == 1 { context.memory.log.nothing() } else { self.on(context, Side::CopyIn, gather) };
        self.groups[group].gathered = Some(buffer);
    }

    /// _fsdp_param_group.py, `wait_for_unshard`: the parameters are copied out of the buffer. The buffer of the group before goes
    /// first, or before 2.15 with a variable when the function returns.
    fn wait_for_unshard(&mut self, context: &mut Context, group: usize) {
        let ranks = self.options.ranks;
        let wanted = &mut self.groups[group];
        let Some(buffer) = wanted.gathered.take() else { return };
        let is_forward = wanted.phase == Phase::Forward;
        let mut before = if is_forward { self.last_gathered.take() } else { None };
        if context.device.rules.has(Change::FsdpLetsGoFirst) {
            before = None;
        }
        context.counted_as(Category::Parameters, |context| {
            for parameter in &wanted.parameters {
                let bytes = parameter.padded * parameter.tensor.dtype.size();
                let copied = context.allocation("all_gather_copy_out", bytes, Some(parameter.number));
                parameter.tensor.storage.refill(copied);
            }
        });
        if ranks > 1 {
            let rows = wanted.parameters.iter().map(|p| p.padded / ranks * p.tensor.dtype.size());
            let rows: Vec<u64> = rows.collect();
            let bytes = metadata::split_with_sizes_copy(&context.device, &rows, ranks);
            drop(context.counted_as(Category::Temporaries, |context| context.allocate("split_with_sizes_copy", bytes)));
        }
        wanted.unsharded = true;
        if is_forward && ranks > 1 {
            self.last_gathered = Some(buffer);
        }
        drop(before);
    }

    // ---- backward -----------------------------------------------------------------------------------------------

    /// _fsdp_collectives.py, `foreach_reduce`. Before 2.15 a variable of a loop holds the last gradient until the function returns.
    fn reduce(&mut self, context: &mut Context, group: usize, mut gradients: Vec<(usize, Tensor)>) {
        let ranks = self.options.ranks;
        let parameters = &self.groups[group].parameters;
        let places: Vec<usize> = gradients.iter().map(|(place, _)| *place).collect();
        let original = parameters[places[0]].dtype;
        let as_kept = context.device.rules.has(Change::FsdpReducesAsKept);
        let reduced = self.options.reduce_dtype.unwrap_or(if as_kept { original } else { gradients[0].1.dtype });
        let elements: u64 = places.iter().map(|place| parameters[*place].padded).sum();
        let chunks: Vec<u64> = places.iter().map(|place| parameters[*place].padded / ranks * reduced.size()).collect();
        let gathered = |context: &mut Context| context.allocate("reduce_scatter", elements * reduced.size());
        let input = context.counted_as(Category::Communication, gathered);
        let copied = |context: &mut Context| context.allocate("_chunk_cat", metadata::chunk_cat(&chunks));
        drop(context.counted_as(Category::Temporaries, copied));
        let held = ranks > 1 && !context.device.rules.has(Change::FsdpLetsGoFirst);
        let last = gradients.pop().filter(|_| held);
        drop(gradients);
        let scatter = |context: &mut Context| {
            let output = context.allocate("reduce_scatter", elements / ranks * reduced.size());
            if reduced == original {
                return output;
            }
            let cast = context.allocate("_to_copy", elements / ranks * original.size());
            drop(output);
            cast
        };
        let scatter = |context: &mut Context| context.counted_as(Category::Gradients, scatter);
        let output = self.on(context, Side::ReduceScatter, scatter);
        for place in places {
            self.groups[group].parameters[place].take_gradient(context, &output);
        }
        drop(output);
        drop(last);
        self.reducing = Some(input);
    }
}

impl Hooks for Sharding {
    /// _fsdp_state.py, `_pre_forward`.
    fn before_call(&mut self, context: &mut Context, call: CallId) {
        let Some(group) = self.group_of(context, call) else { return };
        self.groups[group].phase = Phase::Forward;
        context.within(self.groups[group].module, |context| {
            self.unshard(context, group);
            self.wait_for_unshard(context, group);
            let arguments = self.stand_in(context, call, group);
            self.outside.push(arguments);
        });
    }

    /// _fsdp_state.py, `_post_forward`.
    fn after_call(&mut self, context: &mut Context, call: CallId) {
        let Some(group) = self.group_of(context, call) else { return };
        for (id, tensor) in self.outside.pop().unwrap_or_default() {
            let value = &mut context.program.values[id.index()];
            if value.is_some() {
                *value = Some(tensor);
            }
        }
        if !self.groups[group].parameters.is_empty() {
            let is_model = self.groups[group].module == ModuleId(0);
            if self.options.reshard.unwrap_or(!is_model) {
                self.groups[group].reshard();
            }
            self.groups[group].forwards.push(self.forwarded.len());
            self.forwarded.push(group);
        }
        self.groups[group].phase = Phase::Idle;
        if context.grad_enabled() {
            let program = context.graph.clone();
            for id in &program.calls[call.index()].results {
                let Some(tensor) = &context.program.values[id.index()] else { continue };
                if let Edge::Node(node, _) = &*tensor.gradient.borrow() {
                    node.set_hook(call);
                }
            }
        }
        if self.groups[group].module == ModuleId(0) {
            self.last_gathered = None;
        }
    }

    /// _fsdp_param_group.py, `pre_backward`: the first gradient of the call's results is known.
    fn before_node(&mut self, context: &mut Context, call: CallId) {
        let Some(group) = self.group_of(context, call) else { return };
        if self.groups[group].phase == Phase::BeforeBackward || self.groups[group].parameters.is_empty() {
            return;
        }
        self.groups[group].phase = Phase::BeforeBackward;
        self.unshard(context, group);
        self.wait_for_unshard(context, group);
        let next = self.groups[group].forwards.pop().and_then(|index| index.checked_sub(1));
        if let Some(next) = next.and_then(|index| self.forwarded.get(index).copied()) {
            self.unshard(context, next);
        }
    }

    /// _fsdp_param_group.py, `post_backward`: the input of the reduction before goes first; in 2.12 a loop's variable holds it to the end.
    fn after_block(&mut self, context: &mut Context, group: usize) {
        let done = &mut self.groups[group];
        done.phase = Phase::AfterBackward;
        let mut gradients = Vec::new();
        for (place, parameter) in done.parameters.iter().enumerate() {
            let gradient = parameter.leaf.as_ref().and_then(|leaf| leaf.gradient.borrow_mut().take());
            gradients.extend(gradient.map(|gradient| (place, gradient)));
        }
        done.reshard();
        if gradients.is_empty() {
            return;
        }
        let module = done.module;
        let before = self.reducing.take();
        let held = before.filter(|_| context.device.rules.has(Change::FsdpHoldsTheLastReduction));
        context.within(module, |context| self.reduce(context, group, gradients));
        drop(held);
    }

    /// _fsdp_state.py, `_root_post_backward_final_callback`: groups whose arguments needed no gradient are done now.
    fn backward_done(&mut self, context: &mut Context) {
        for group in 0..self.groups.len() {
            if self.groups[group].phase != Phase::AfterBackward {
                self.after_block(context, group);
            }
            let done = &mut self.groups[group];
            done.phase = Phase::Idle;
            done.gathered = None;
            done.forwards.clear();
        }
        self.forwarded.clear();
        self.reducing = None;
    }
}

/// _fsdp_collectives.py, `_get_param_all_gather_inputs`: shards (elements, type, type to gather in) that do not lie ready on
/// the device in the type that is gathered are copied, together where they only need another type.
fn gather_inputs(context: &mut Context, shards: &[(u64, Dtype, Dtype)], offload: bool) -> Vec<Rc<Storage>> {
    if !offload {
        let cast = shards.iter().filter(|(_, from, to)| from != to);
        let bytes = cast.map(|(elements, _, to)| elements * to.size()).sum();
        return vec![context.allocate("_foreach_copy_", bytes)];
    }
    let mut inputs = Vec::new();
    for (elements, from, to) in shards {
        let moved = context.allocate("_to_copy", elements * from.size());
        let ready = if from == to { moved } else { context.allocate("_to_copy", elements * to.size()) };
        inputs.push(ready);
    }
    inputs
}

impl Sharded {
    /// The shard's gradient becomes a view of what was reduced, or is added to in place; with offload it goes to the host.
    fn take_gradient(&self, context: &mut Context, reduced: &Rc<Storage>) {
        let Some(leaf) = &self.shard else { return };
        let mut gradient = leaf.gradient.borrow_mut();
        if gradient.is_some() {
            return;
        }
        let storage = if context.optimizes_on_host() {
            let bytes = leaf.sizes.iter().product::<u64>() * leaf.dtype.size();
            let moved = |host: &mut Context| host.allocate_for("_to_copy", bytes, Some(leaf.parameter));
            context.counted_as(Category::Gradients, |context| context.on_host(moved))
        } else {
            reduced.clone()
        };
        *gradient = Some(TensorData::new(storage, leaf.dtype, leaf.sizes.clone(), leaf.strides.clone()));
    }
}
