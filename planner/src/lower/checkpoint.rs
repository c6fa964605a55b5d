//! Non-reentrant activation checkpointing (torch/utils/checkpoint.py, `_CheckpointFrame`).
//!
//! ```text
//! forward   save(x) -> Saved::Later(holder)       nothing is kept; the frame counts its holders
//! backward  holder.get() the first time           the region runs again: its n-th save goes to the n-th holder;
//!                                                 after the last one it stops
//!           holder.get()                          takes its tensor out; it dies with the node that needed it
//!           the last holder goes                  the frame lets go of its arguments; Python of what objects among
//!                                                 them held (the graph's `release` steps)
//! ```
//!
//! Operators save their inputs before they allocate and their results after, as the generated code of autograd does: where
//! the last tensor that is needed is an input, the operator that takes it does not run again. Once the region has stopped,
//! what the operator at hand still asks for makes no event.

pub(super) mod reentrant;
pub mod selective;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use super::context::Context;
use super::tensor::{Tensor, TensorData, contiguous_strides};
use crate::dtype::Dtype;
use crate::graph::{CheckpointId, Dims, Graph, Step, TensorId};
use crate::trace::Cause;

/// A checkpointed call.
#[derive(Debug)]
pub struct Frame {
    id: CheckpointId,
    /// Whether autocast was on.
    autocast: bool,
    /// The call's tensors.
    arguments: Vec<(TensorId, Tensor)>,
    holders: RefCell<Vec<Weak<Holder>>>,
    /// Sizes and types of what the first run saved.
    saved: RefCell<Vec<(Dims, Dtype)>>,
    recomputed: RefCell<Vec<Option<Tensor>>>,
    has_run_again: Cell<bool>,
    /// What saved operators gave in the first run, until the second takes it.
    kept: RefCell<selective::Kept>,
    /// Where the frame tells that it is gone.
    gone: Rc<RefCell<GoneFrames>>,
}

impl Frame {
    /// A call that begins or ends now, with what it holds.
    fn new(context: &Context, id: CheckpointId) -> Frame {
        let held = |id: &TensorId| Some((*id, context.program.values[id.index()].clone()?));
        Frame {
            id,
            arguments: context.graph.checkpoints[id.index()].arguments.iter().filter_map(held).collect(),
            autocast: context.autocast.is_on(),
            holders: RefCell::default(),
            saved: RefCell::default(),
            recomputed: RefCell::default(),
            has_run_again: Cell::new(false),
            kept: RefCell::default(),
            gone: context.checkpointing.gone_frames.clone(),
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.gone.borrow_mut().add(self.id, self.has_run_again.get());
    }
}

/// Frames that are gone. An object that several of them held goes with the last, which is that of the first call: most go in
/// the reverse of their order, but one that saved nothing goes when its region ends.
#[derive(Debug, Default)]
pub(super) struct GoneFrames {
    arrived: bool,
    /// By the number of their checkpoint: whether the region has run again.
    waiting: BTreeMap<CheckpointId, bool>,
    released: BTreeSet<CheckpointId>,
}

impl GoneFrames {
    /// Whether some wait for others.
    pub(super) fn are_waiting(&self) -> bool {
        self.arrived || !self.waiting.is_empty()
    }

    /// An iteration begins whose calls have the numbers of those before.
    pub(super) fn begin_again(&mut self) {
        if self.waiting.is_empty() {
            self.released.clear();
        }
    }

    fn add(&mut self, id: CheckpointId, has_run_again: bool) {
        self.arrived = true;
        self.waiting.insert(id, has_run_again);
    }

    /// The next of those after which all later calls of the same backward have gone.
    fn next(&mut self, graph: &Graph) -> Option<(CheckpointId, bool)> {
        let goes = |id: &CheckpointId| {
            graph.checkpoints[id.index()].last == Some(*id) || self.released.contains(&CheckpointId(id.0 + 1))
        };
        let id = self.waiting.keys().rev().copied().find(goes);
        self.arrived = id.is_some();
        let id = id?;
        self.released.insert(id);
        Some((id, self.waiting.remove(&id)?))
    }
}

/// The place of a tensor that a region saved.
#[derive(Debug)]
pub struct Holder {
    frame: Rc<Frame>,
    number: usize,
}

/// A tensor kept for backward.
#[derive(Clone, Debug)]
pub enum Saved {
    /// In memory.
    Now(Tensor),
    /// To be computed again.
    Later(Rc<Holder>),
}

impl Saved {
    /// The tensor; runs its region again where that has not happened yet.
    pub fn get(&self, context: &mut Context) -> Tensor {
        match self {
            Saved::Now(tensor) => tensor.clone(),
            Saved::Later(holder) => {
                let frame = holder.frame.clone();
                if !frame.has_run_again.replace(true) {
                    run_again(context, &frame);
                }
                let (sizes, dtype) = frame.saved.borrow()[holder.number].clone();
                let tensor = frame.recomputed.borrow_mut().get_mut(holder.number).and_then(Option::take);
                // after a failure something of the right shape goes on
                tensor.filter(|tensor| tensor.sizes == sizes && tensor.dtype == dtype).unwrap_or_else(|| {
                    context.fail("what the checkpointed region saved is asked for twice");
                    let strides = contiguous_strides(&sizes);
                    TensorData::new(context.memory.log.nothing(), dtype, sizes, strides)
                })
            }
        }
    }
}

/// A recomputation under way.
pub(super) struct Recomputation {
    frame: Rc<Frame>,
    next: usize,
    /// Whether the last holder has its tensor.
    pub(super) stopped: bool,
    /// Whether it saved other tensors than the first run.
    differs: bool,
    /// What of the operator that runs now was taken in place of computed.
    pub(super) spared: Option<selective::Spared>,
}

/// A region begins.
pub(super) fn enter(context: &mut Context, id: CheckpointId) {
    if context.graph.checkpoints[id.index()].reentrant.is_some() {
        reentrant::enter(context, id);
    } else if context.grad_enabled() {
        context.checkpointing.frame = Some(Rc::new(Frame::new(context, id)));
    }
}

/// A region ends.
pub(super) fn exit(context: &mut Context, id: CheckpointId) {
    let holds_nothing = context.checkpointing.frame.take().is_none() && !reentrant::exit(context, id);
    if holds_nothing {
        context.checkpointing.gone_frames.borrow_mut().add(id, false);
    }
}

/// Keeps a tensor for backward: in a region, its place; where a region runs again, its place's tensor.
pub(super) fn save(context: &mut Context, tensor: Tensor) -> Saved {
    if let Some(frame) = &context.checkpointing.frame {
        let mut holders = frame.holders.borrow_mut();
        let holder = Rc::new(Holder { frame: frame.clone(), number: holders.len() });
        holders.push(Rc::downgrade(&holder));
        frame.saved.borrow_mut().push((tensor.sizes.clone(), tensor.dtype));
        return Saved::Later(holder);
    }
    if let Some(again) = &mut context.checkpointing.recomputation {
        let same = |(sizes, dtype): &(Dims, Dtype)| *sizes == tensor.sizes && *dtype == tensor.dtype;
        again.differs |= !again.frame.saved.borrow().get(again.next).is_none_or(same);
        let holders = again.frame.holders.borrow();
        if holders.get(again.next).is_some_and(|holder| holder.strong_count() > 0) {
            again.frame.recomputed.borrow_mut()[again.next] = Some(tensor.clone());
        }
        again.next += 1;
        again.stopped = again.next >= holders.len();
    }
    Saved::Now(tensor)
}

fn run_again(context: &mut Context, frame: &Rc<Frame>) {
    let places = frame.holders.borrow().len();
    frame.recomputed.borrow_mut().resize(places, None);
    let again = Recomputation { frame: frame.clone(), next: 0, stopped: false, differs: false, spared: None };
    let outer = context.checkpointing.recomputation.replace(again);
    replay(context, frame, frame.arguments.iter().cloned(), |_| ());
    let again = std::mem::replace(&mut context.checkpointing.recomputation, outer);
    if again.is_none_or(|again| again.differs || !again.stopped) {
        let forced = if context.settings.attention_kernel.is_some() {
            ": the choice of an attention kernel holds for the forward alone, the second run takes the one that PyTorch picks"
        } else {
            ""
        };
        context.fail(&format!(
            "the checkpointed region saves other tensors when it runs again, which PyTorch refuses (CheckpointError){forced}"
        ));
    }
}

/// Runs a region's second run on these arguments, as it was called but for the attention kernel that a context manager
/// chose for the forward; gives what `results` takes of it before the arguments and autocast's casts go.
fn replay<T>(
    context: &mut Context,
    frame: &Frame,
    arguments: impl Iterator<Item = (TensorId, Tensor)>,
    results: impl FnOnce(&mut Context) -> T,
) -> T {
    let as_called = |context: &mut Context| {
        let bind = |(id, tensor): (TensorId, Tensor)| (id, context.program.values[id.index()].replace(tensor));
        let outer_values: Vec<(TensorId, Option<Tensor>)> = arguments.map(bind).collect();
        recompute(context, frame.id);
        let results = results(context);
        for (id, value) in outer_values {
            context.program.values[id.index()] = value;
        }
        results
    };
    context.outside_nodes(|context| {
        context.with_gradients(true, |context| {
            super::autocast::within(context, frame.autocast, |context| context.with_own_attention_kernel(as_called))
        })
    })
}

/// Runs the steps of a region's second run, as far as anything is asked of them.
fn recompute(context: &mut Context, id: CheckpointId) {
    let graph = context.graph.clone();
    let outer = context.checkpointing.runs_again.replace(id);
    for step in &graph.checkpoints[id.index()].recompute {
        match step {
            Step::Op(op) if !context.is_stopped() => super::run(context, &graph.ops[op.index()]),
            Step::Drop(tensor, place) => context.drop_tensor(*tensor, Cause::Python(*place)),
            Step::EnterFunction(id) => super::function::enter(context, *id),
            Step::ExitFunction(id) => super::function::exit(context, *id),
            _ => {}
        }
    }
    context.checkpointing.runs_again = outer;
}

/// Lets go of what frames held that are gone: Python's references to their arguments. Where a region never ran again, so do
/// the references that its second run would have let go.
pub(super) fn release(context: &mut Context) {
    if !context.checkpointing.gone_frames.borrow().arrived {
        return;
    }
    let graph = context.graph.clone();
    while let Some((id, has_run_again)) = { context.checkpointing.gone_frames.borrow_mut().next(&graph) } {
        let checkpoint = &graph.checkpoints[id.index()];
        let unrun = checkpoint.recompute.iter().filter(|_| !has_run_again);
        for step in unrun.chain(&checkpoint.release) {
            if let Step::Drop(tensor, _) = step {
                context.drop_tensor(*tensor, Cause::Frame(checkpoint.module));
            }
        }
    }
}
