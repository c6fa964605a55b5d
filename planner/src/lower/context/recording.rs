//! What autograd records: grad mode, nodes and what they keep, and the scopes of nodes that run.

use std::any::Any;
use std::rc::Rc;

use smallvec::SmallVec;

use super::Context;
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::LowerError;
use crate::lower::autograd::{Apply, BACKWARD, Edge, Leaf, Node};
use crate::lower::checkpoint::{self, Saved};
use crate::lower::tensor::{Tensor, TensorData};
use crate::lower::timeline::Mark;
use crate::trace::{Category, Cause, Name};

/// The threads that ask for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// Python's.
    Forward,
    /// The autograd engine's for the device.
    Backward,
}

/// Grad mode and what numbers nodes.
pub(in crate::lower) struct Recording {
    /// Whether autograd records.
    pub(super) enabled: bool,
    /// The thread that runs.
    thread: Thread,
    /// The number of the next node.
    pub(in crate::lower) sequence: u64,
}

impl Recording {
    pub(super) fn new(enabled: bool) -> Recording {
        Recording { enabled, thread: Thread::Forward, sequence: 0 }
    }
}

impl Context {
    // ---- for a while --------------------------------------------------------------------------------------------

    /// Runs something with grad mode on or off.
    pub(crate) fn with_gradients<T>(&mut self, enabled: bool, run: impl FnOnce(&mut Context) -> T) -> T {
        let outer = std::mem::replace(&mut self.autograd.enabled, enabled);
        let result = run(self);
        self.autograd.enabled = outer;
        result
    }

    /// Runs something as the autograd engine's thread does, without grad mode.
    pub(in crate::lower) fn in_backward<T>(&mut self, run: impl FnOnce(&mut Context) -> T) -> T {
        let outer = std::mem::replace(&mut self.autograd.thread, BACKWARD);
        let result = self.with_gradients(false, run);
        self.autograd.thread = outer;
        result
    }

    /// Runs a node: its module, its line and its name are those that ask.
    pub(in crate::lower) fn as_node<T>(&mut self, node: &Node, run: impl FnOnce(&mut Context, Name) -> T) -> T {
        self.asking_apart(|context| {
            (context.memory.module, context.memory.place) = node.origin;
            let name = context.memory.log.name(node.name);
            context.memory.node = Some((node.name, name));
            context.memory.log.blame(Cause::Node(name));
            run(context, name)
        })
    }

    /// Runs something outside any node, as code that runs again is.
    pub(in crate::lower) fn outside_nodes<T>(&mut self, run: impl FnOnce(&mut Context) -> T) -> T {
        self.asking_apart(|context| {
            context.memory.node = None;
            run(context)
        })
    }

    /// Runs something that may say who asks, and for what cause memory goes; then all is as before.
    fn asking_apart<T>(&mut self, run: impl FnOnce(&mut Context) -> T) -> T {
        let memory = &self.memory;
        let (module, node, place, cause) = (memory.module, memory.node, memory.place, memory.log.cause());
        let result = run(self);
        (self.memory.module, self.memory.node, self.memory.place) = (module, node, place);
        self.memory.log.blame(cause);
        result
    }

    /// Whether grad mode is on.
    pub fn grad_enabled(&self) -> bool {
        self.autograd.enabled
    }

    /// `torch.set_grad_enabled`, until it is called again; gives what held before.
    pub fn set_grad_enabled(&mut self, enabled: bool) -> bool {
        std::mem::replace(&mut self.autograd.enabled, enabled)
    }

    /// The thread that runs.
    pub(in crate::lower) fn thread(&self) -> Thread {
        self.autograd.thread
    }

    // ---- recording ----------------------------------------------------------------------------------------------

    /// Whether an operator over these tensors is recorded.
    pub fn records(&self, inputs: &[&Tensor]) -> bool {
        self.autograd.enabled && inputs.iter().any(|input| input.requires_grad())
    }

    /// Keeps a tensor for backward: its memory, without its place in the graph.
    pub fn save(&mut self, tensor: &Tensor) -> Saved {
        let kept = self.checkpointing.frame.is_none();
        if kept && matches!(tensor.storage.category(), Category::Temporaries | Category::KvCache) {
            tensor.storage.becomes(Category::SavedActivations);
        }
        checkpoint::save(self, detach(tensor))
    }

    /// Whether what is saved now is not held, but computed again for backward.
    pub(crate) fn saves_for_later(&self) -> bool {
        self.checkpointing.frame.is_some()
    }

    /// Notes that something went wrong which `lower` will report; gives a tensor of no bytes to go on with.
    pub(crate) fn fail(&mut self, message: &str) -> Tensor {
        let (op, module) = (self.memory.node.map_or("backward", |(node, _)| node), self.memory.module);
        self.failure.get_or_insert_with(|| LowerError { op, module, message: message.to_owned() });
        TensorData::new(self.memory.log.nothing(), Dtype::U8, Dims::new(), Dims::new())
    }

    /// Hangs something on the node that made `output`, as a function written in Python does (`ctx.tensors = ...`): neither
    /// checkpointing nor the end of the node's run lets it go.
    pub(crate) fn keep_with_node(&mut self, output: &Tensor, kept: Rc<dyn Any>) {
        if let Edge::Node(node, _) = &*output.gradient.borrow() {
            node.attributes.borrow_mut().push(kept);
        }
    }

    /// `tensor.requires_grad_()`: a leaf of its own, whose gradient goes with the graph.
    pub fn require_gradient(&mut self, tensor: &Tensor) {
        if self.autograd.enabled && tensor.dtype.is_floating() && !tensor.requires_grad() {
            let (sizes, strides) = (tensor.sizes.clone(), tensor.strides.clone());
            let (dtype, module) = (tensor.dtype, self.memory.module);
            let variable = Some(detach(tensor));
            let gradient = Default::default();
            let leaf = Leaf { parameter: u32::MAX, sizes, strides, dtype, module, gradient, variable };
            tensor.gradient.replace(Edge::Leaf(Rc::new(leaf)));
        }
    }

    /// Records an operator: `outputs` become results of a node whose gradients go to `inputs`.
    pub fn record(&mut self, name: &'static str, inputs: &[Option<&Tensor>], outputs: &[&Tensor], apply: Apply) {
        let edges: SmallVec<[Edge; 3]> =
            inputs.iter().map(|input| input.map_or(Edge::None, |tensor| tensor.gradient.borrow().clone())).collect();
        let metadata = outputs.iter().map(|output| (output.sizes.clone(), output.dtype)).collect();
        let node =
            Node::new(name, (self.memory.module, self.memory.place), self.autograd.sequence, edges, metadata, apply);
        self.autograd.sequence += 1;
        for (position, output) in outputs.iter().enumerate() {
            if output.dtype.is_floating() {
                output.gradient.replace(Edge::Node(node.clone(), position as u32));
            }
        }
    }

    /// Notes where something lies in the stream, if that is asked for.
    pub(in crate::lower) fn mark(&mut self, mark: impl FnOnce(u64) -> Mark) {
        if let Some(timeline) = &mut self.timeline {
            timeline.marks.push((self.memory.log.events(), mark(self.autograd.sequence)));
        }
    }
}

/// The same memory, outside the autograd graph.
pub fn detach(tensor: &Tensor) -> Tensor {
    TensorData::new(tensor.storage.clone(), tensor.dtype, tensor.sizes.clone(), tensor.strides.clone())
}
