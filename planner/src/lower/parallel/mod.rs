//! Data parallel training, as one rank sees it: what PyTorch's wrappers do where they hook into a run.
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
use crate::run::Parallel;

/// What a wrapper keeps.
pub(super) enum State {
    /// Every rank holds all parameters.
    Replicated(ddp::Reducer),
    /// Every rank holds a part of each parameter.
    Sharded(fsdp::Sharding),
}

/// Lets the wrapper act, if there is one.
fn with(context: &mut Context, act: impl FnOnce(&mut State, &mut Context)) {
    if let Some(mut state) = context.parallel.take() {
        act(&mut state, context);
        context.parallel = Some(state);
    }
}

/// The model is on the device: it is wrapped.
pub(super) fn after_load(context: &mut Context) {
    let state = match context.settings.parallel.clone() {
        None => return,
        Some(Parallel::Ddp(options)) => State::Replicated(ddp::Reducer::new(context, options)),
        Some(Parallel::Fsdp(options)) => State::Sharded(fsdp::Sharding::new(context, options)),
    };
    context.parallel = Some(Box::new(state));
}

/// A call of the model or of a block begins.
pub(super) fn before_call(context: &mut Context, call: CallId) {
    with(context, |state, context| match state {
        State::Replicated(reducer) => reducer.before_call(context, call),
        State::Sharded(sharding) => sharding.before_call(context, call),
    });
}

/// A call of the model or of a block has returned.
pub(super) fn after_call(context: &mut Context, call: CallId) {
    with(context, |state, context| match state {
        State::Replicated(reducer) => reducer.after_call(context, call),
        State::Sharded(sharding) => sharding.after_call(context, call),
    });
}

/// The node that made a result of the call is about to run.
pub(super) fn before_node(context: &mut Context, call: CallId) {
    with(context, |state, context| match state {
        State::Replicated(_) => {}
        State::Sharded(sharding) => sharding.before_backward(context, call),
    });
}

/// The gradients of a block's arguments are known: the block is done.
fn after_block(context: &mut Context, group: usize) {
    with(context, |state, context| match state {
        State::Replicated(_) => {}
        State::Sharded(sharding) => sharding.after_backward(context, group),
    });
}

/// A parameter's gradient has been added to.
pub(super) fn gradient_ready(context: &mut Context, leaf: &Rc<Leaf>) {
    with(context, |state, _| match state {
        State::Replicated(reducer) => reducer.gradient_ready(leaf),
        State::Sharded(_) => {}
    });
}

/// The last node has run.
pub(super) fn backward_done(context: &mut Context) {
    with(context, |state, context| match state {
        State::Replicated(reducer) => reducer.backward_done(),
        State::Sharded(sharding) => sharding.backward_done(context),
    });
}
