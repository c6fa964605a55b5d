//! Parallel training, as one rank sees it: what PyTorch's wrappers do where they hook into a run. Each way of spreading a run is
//! a type with hooks; all that a run has act, in the order in which the run names them.
//!
//! ```text
//! load            buckets are made / parameters are sharded         after_load
//! a call begins   buckets rebuilt, buffers broadcast / all-gather   before_call
//! a call returns  parameters let go, results copied                 after_call
//! backward        the gradient of a block's result: all-gather      before_node
//!                 a parameter's gradient: into its bucket           gradient_ready
//!                 the last node has run: what is left to reduce     backward_done
//! ```
//!
//! The collectives themselves allocate nothing here: their buffers lie outside the allocator.

mod ddp;
mod fsdp;
mod groups;
mod metadata;

use std::rc::Rc;

use super::autograd::Leaf;
use super::context::Context;
use crate::graph::CallId;
use crate::run::{LoadedTo, Parallel};

/// What a way of spreading a run does where it hooks into it.
pub(super) trait Hooks {
    /// A call of the model or of a block begins.
    fn before_call(&mut self, _context: &mut Context, _call: CallId) {}
    /// A call of the model or of a block has returned.
    fn after_call(&mut self, _context: &mut Context, _call: CallId) {}
    /// The node that made a result of the call is about to run.
    fn before_node(&mut self, _context: &mut Context, _call: CallId) {}
    /// The gradients of a block's arguments are known: the block, by the way's own number, is done.
    fn after_block(&mut self, _context: &mut Context, _block: usize) {}
    /// A parameter's gradient has been added to.
    fn gradient_ready(&mut self, _leaf: &Rc<Leaf>) {}
    /// The last node has run.
    fn backward_done(&mut self, _context: &mut Context) {}
}

/// Lets every way act; what one does calls no hooks.
fn each(context: &mut Context, mut act: impl FnMut(&mut dyn Hooks, &mut Context)) {
    let mut ways = std::mem::take(&mut context.parallel);
    ways.iter_mut().for_each(|way| act(&mut **way, context));
    context.parallel = ways;
}

/// Whether parameters and buffers come to the device as the model is wrapped, and not before.
pub(super) fn brings_parameters(context: &Context) -> bool {
    let graph = &context.graph;
    let mut ways = context.settings.parallel.iter();
    ways.any(|way| matches!(way, Parallel::Fsdp(options) if options.loaded_to(graph.is_quantized()) != LoadedTo::Gpu))
}

/// The model is on the device, or is brought there: it is wrapped.
pub(super) fn after_load(context: &mut Context) {
    for (number, way) in context.settings.parallel.clone().into_iter().enumerate() {
        let hooks: Box<dyn Hooks> = match way {
            Parallel::Ddp(options) => Box::new(ddp::Reducer::new(context, options)),
            Parallel::Fsdp(options) => Box::new(fsdp::Sharding::new(context, options, number)),
        };
        context.parallel.push(hooks);
    }
}

/// A call of the model or of a block begins.
pub(super) fn before_call(context: &mut Context, call: CallId) {
    each(context, |way, context| way.before_call(context, call));
}

/// A call of the model or of a block has returned.
pub(super) fn after_call(context: &mut Context, call: CallId) {
    each(context, |way, context| way.after_call(context, call));
}

/// The node that made a result of the call is about to run.
pub(super) fn before_node(context: &mut Context, call: CallId) {
    each(context, |way, context| way.before_node(context, call));
}

/// A block of the way with this number is done in backward.
fn after_block(context: &mut Context, way: usize, block: usize) {
    let mut ways = std::mem::take(&mut context.parallel);
    if let Some(way) = ways.get_mut(way) {
        way.after_block(context, block);
    }
    context.parallel = ways;
}

/// A parameter's gradient has been added to.
pub(super) fn gradient_ready(context: &mut Context, leaf: &Rc<Leaf>) {
    each(context, |way, _| way.gradient_ready(leaf));
}

/// The last node has run.
pub(super) fn backward_done(context: &mut Context) {
    each(context, |way, context| way.backward_done(context));
}
