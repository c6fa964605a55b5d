//! The autograd graph and the engine that runs it backward.
//!
//! ```text
//! tensor --Edge--> Node (sequence, apply, edges) --Edge--> ... --Edge--> Leaf (a parameter's gradient)
//! ```
//!
//! Nodes run highest sequence number first, leaves as soon as they are ready (torch/csrc/autograd/engine.cpp). After a
//! node's function, its outputs are checked against what they are gradients of (`validate_outputs`: summed where the
//! forward broadcast, cast where it had another type); then the incoming gradients and what was saved go; then each
//! output joins the input buffer of the next node.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BinaryHeap;
use std::fmt;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::context::{Context, Thread};
use super::tensor::{Tensor, TensorData};
use super::timeline::Mark;
use crate::dtype::Dtype;
use crate::graph::{CallId, Dims, ModuleId};
use crate::ops;
use crate::trace::{Category, Cause, Name, PlaceId};
use crate::versions::Change;

/// Gradients: of a node's outputs going in, of its inputs coming out.
pub type Gradients = SmallVec<[Option<Tensor>; 3]>;

/// A node's function. It is called once; what it captured is what was saved for backward.
///
/// It may take an incoming gradient out where PyTorch lets it go before the function ends.
pub type Apply = Box<dyn Fn(&mut Context, &mut [Option<Tensor>]) -> Gradients>;

/// Where a gradient goes.
#[derive(Clone, Debug, Default)]
pub enum Edge {
    /// Nowhere: autograd does not follow this tensor.
    #[default]
    None,
    /// To a node, as the gradient of that output of its forward.
    Node(Rc<Node>, u32),
    /// To a parameter.
    Leaf(Rc<Leaf>),
}

/// Where the gradients of a node's inputs go.
pub(super) type Edges = SmallVec<[Edge; 3]>;

/// A parameter as autograd sees it (torch/csrc/autograd/functions/accumulate_grad.h).
#[derive(Debug)]
pub struct Leaf {
    /// Its index among the graph's parameters.
    pub parameter: u32,
    /// Its sizes.
    pub sizes: Dims,
    /// Its strides, which gradients take on.
    pub strides: Dims,
    /// Its type.
    pub dtype: Dtype,
    /// The module that owns it.
    pub module: ModuleId,
    /// Its gradient, once there is one.
    pub gradient: RefCell<Option<Tensor>>,
    /// The tensor itself, which the graph holds for as long as it may add to its gradient (`AccumulateGrad::variable`);
    /// None for parameters, which the model holds.
    pub variable: Option<Tensor>,
}

/// A differentiable operator's record.
pub struct Node {
    /// Its name in PyTorch, e.g. `AddmmBackward0`.
    pub name: &'static str,
    /// The module whose forward made it, and the line of Python that called its operator.
    pub origin: (ModuleId, Option<PlaceId>),
    sequence: u64,
    edges: RefCell<Edges>,
    /// The call whose hook waits for the gradient of a result that this node made (`Tensor.register_hook`).
    hook: Cell<Option<CallId>>,
    /// Sizes and type of each output of the forward.
    outputs: SmallVec<[(Dims, Dtype); 1]>,
    apply: RefCell<Option<Apply>>,
    /// What a node written in Python keeps as attributes: it goes with the node, not when the node has run.
    pub(super) attributes: RefCell<Vec<Rc<dyn Any>>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.name, self.sequence)
    }
}

impl Drop for Node {
    /// Lets a long chain of nodes go without deep recursion.
    fn drop(&mut self) {
        let mut waiting = std::mem::take(&mut *self.edges.borrow_mut());
        while let Some(edge) = waiting.pop() {
            if let Edge::Node(node, _) = edge
                && let Ok(node) = Rc::try_unwrap(node)
            {
                waiting.extend(std::mem::take(&mut *node.edges.borrow_mut()));
            }
        }
    }
}

impl Node {
    /// Whether its function is written in Python: the names of PyTorch's own end with a number.
    fn is_python(&self) -> bool {
        !self.name.ends_with(|last: char| last.is_ascii_digit())
    }

    /// What it leads to and what Python hung on it, where it has run; None before that.
    pub(super) fn left(&self) -> Option<(Edges, Vec<Rc<dyn Any>>)> {
        let has_run = self.apply.borrow().is_none() && self.hook.get().is_none();
        has_run.then(|| (self.edges.borrow().clone(), self.attributes.borrow().clone()))
    }

    /// Has the hook of a call run before it.
    pub(super) fn set_hook(&self, call: CallId) {
        self.hook.set(Some(call));
    }

    pub(super) fn new(
        name: &'static str,
        origin: (ModuleId, Option<PlaceId>),
        sequence: u64,
        edges: Edges,
        outputs: SmallVec<[(Dims, Dtype); 1]>,
        apply: Apply,
    ) -> Rc<Node> {
        Rc::new(Node {
            name,
            origin,
            sequence,
            edges: RefCell::new(edges),
            hook: Cell::default(),
            attributes: RefCell::default(),
            outputs,
            apply: RefCell::new(Some(apply)),
        })
    }
}

/// A node that is ready to run, with the gradients of its outputs. The heap gives the highest sequence first.
struct Ready {
    sequence: u64,
    target: Edge,
    inputs: Gradients,
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}
impl Eq for Ready {}
impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ready {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.sequence.cmp(&other.sequence)
    }
}

/// What waits for a node's or leaf's further gradients.
#[derive(Default)]
struct Waiting {
    dependencies: u32,
    inputs: Gradients,
}

/// `loss.backward()`.
pub fn backward(context: &mut Context, loss: &Tensor) -> Result<(), String> {
    let root = loss.gradient.borrow().clone();
    if !matches!(root, Edge::Node(..)) {
        return Err("the loss does not depend on anything that needs a gradient".to_owned());
    }
    // torch/autograd/__init__.py, `_make_grads`: Python holds the first gradient until backward returns.
    let ones = context.empty_like("ones_like", loss);
    execute(context, vec![(root, ones.clone())])?;
    context.in_backward(|context| {
        super::parallel::backward_done(context);
        context.mark(|_| Mark::Done);
    });
    drop(ones);
    Ok(())
}

/// Runs the nodes that these lead to, with the gradients of what they made (engine.cpp, `Engine::execute`). A node's own
/// function may come here too: it then runs to its end before the nodes that wait outside.
pub(super) fn execute(context: &mut Context, roots: Vec<(Edge, Tensor)>) -> Result<(), String> {
    let mut waiting = dependencies(roots.iter().map(|(edge, _)| edge));
    context.in_backward(|context| {
        let mut queue = BinaryHeap::new();
        for (edge, gradient) in roots {
            deliver(context, edge, Some(gradient), &mut waiting, &mut queue);
        }
        while let Some(Ready { target, inputs, .. }) = queue.pop() {
            match target {
                Edge::Node(node, _) => run(context, &node, inputs, &mut waiting, &mut queue)?,
                Edge::Leaf(leaf) => {
                    accumulate(context, &leaf, inputs);
                    super::parallel::gradient_ready(context, &leaf);
                }
                Edge::None => {}
            }
        }
        Ok(())
    })
}

/// How many gradients each node reachable from the roots waits for, the roots' own included (engine.cpp,
/// `compute_dependencies`).
fn dependencies<'a>(roots: impl Iterator<Item = &'a Edge>) -> FxHashMap<usize, Waiting> {
    let mut waiting: FxHashMap<usize, Waiting> = FxHashMap::default();
    let mut unseen = Vec::new();
    let mut count = |edge: &Edge, unseen: &mut Vec<Rc<Node>>| {
        let Some(key) = key(edge) else { return };
        let entry = waiting.entry(key).or_default();
        entry.dependencies += 1;
        if let (1, Edge::Node(next, _)) = (entry.dependencies, edge) {
            unseen.push(next.clone());
        }
    };
    roots.for_each(|edge| count(edge, &mut unseen));
    while let Some(node) = unseen.pop() {
        node.edges.borrow().iter().for_each(|edge| count(edge, &mut unseen));
    }
    waiting
}

fn key(edge: &Edge) -> Option<usize> {
    match edge {
        Edge::None => None,
        Edge::Node(node, _) => Some(Rc::as_ptr(node) as usize),
        Edge::Leaf(leaf) => Some(Rc::as_ptr(leaf) as usize),
    }
}

fn run(
    context: &mut Context,
    node: &Rc<Node>,
    inputs: Gradients,
    waiting: &mut FxHashMap<usize, Waiting>,
    queue: &mut BinaryHeap<Ready>,
) -> Result<(), String> {
    let Some(apply) = node.apply.borrow_mut().take() else {
        return Err(format!("{} was already run backward", node.name));
    };
    context.as_node(node, |context, name| {
        let (edges, outputs) = applied(context, (node, name), apply, inputs);
        for (edge, output) in edges.into_iter().zip(outputs) {
            deliver(context, edge, output, waiting, queue);
        }
    });
    Ok(())
}

/// What a node's function gives for each of its edges; what it was given and what it saved goes.
fn applied(
    context: &mut Context,
    (node, name): (&Node, Name),
    apply: Apply,
    mut inputs: Gradients,
) -> (Edges, Gradients) {
    context.mark(|_| Mark::Node(node.sequence));
    if let Some(call) = node.hook.take() {
        super::parallel::before_node(context, call);
    }
    let mut outputs = if inputs.iter().any(Option::is_some) { apply(context, &mut inputs) } else { Gradients::new() };
    let edges = node.edges.borrow().clone();
    if node.is_python() && context.device.rules.has(Change::PythonNodesLetGoFirst) {
        context.let_go(std::mem::take(&mut inputs), Cause::Gradient(name));
    }
    validate(context, &edges, &mut outputs);
    context.let_go(inputs, Cause::Gradient(name));
    context.let_go(apply, Cause::Saved(name));
    super::checkpoint::release(context);
    outputs.resize(edges.len(), None);
    (edges, outputs)
}

/// Joins a gradient, if there is one, to those that its node or leaf waits for; after the last one it is ready.
fn deliver(
    context: &mut Context,
    edge: Edge,
    gradient: Option<Tensor>,
    waiting: &mut FxHashMap<usize, Waiting>,
    queue: &mut BinaryHeap<Ready>,
) {
    let Some(key) = key(&edge) else { return };
    let entry = waiting.entry(key).or_default();
    entry.dependencies -= 1;
    if let Some(gradient) = gradient {
        let position = if let Edge::Node(_, position) = &edge { *position } else { 0 };
        put(context, &mut entry.inputs, position, gradient);
    }
    if entry.dependencies == 0 {
        let inputs = std::mem::take(&mut entry.inputs);
        let sequence = if let Edge::Node(next, _) = &edge { next.sequence } else { u64::MAX };
        queue.push(Ready { sequence, target: edge, inputs });
    }
}

/// engine.cpp, `validate_outputs`: a gradient takes the sizes and the type of what it is the gradient of.
fn validate(context: &mut Context, edges: &[Edge], outputs: &mut Gradients) {
    for (edge, output) in edges.iter().zip(outputs.iter_mut()) {
        let Some(gradient) = output.take() else { continue };
        let (sizes, dtype) = match edge {
            Edge::None => continue,
            Edge::Node(node, position) => {
                let (sizes, dtype) = &node.outputs[*position as usize];
                (sizes, *dtype)
            }
            Edge::Leaf(leaf) => (&leaf.sizes, leaf.dtype),
        };
        let gradient = if gradient.sizes == *sizes { gradient } else { ops::sum_to(context, gradient, sizes) };
        *output = Some(if gradient.dtype == dtype { gradient } else { ops::cast(context, &gradient, dtype) });
    }
}

/// torch/csrc/autograd/input_buffer.cpp: sums in place only where nothing else holds the buffered gradient.
fn put(context: &mut Context, buffer: &mut Gradients, position: u32, gradient: Tensor) {
    let position = position as usize;
    if buffer.len() <= position {
        buffer.resize(position + 1, None);
    }
    buffer[position] = Some(match buffer[position].take() {
        None => gradient,
        Some(old) => {
            let unique = Rc::strong_count(&old) == 1 && Rc::strong_count(&old.storage) == 1 && old.is_dense();
            if unique { old } else { ops::add(context, &old, &gradient) }
        }
    });
}

/// accumulate_grad.h: the first gradient is taken over if nothing else holds it and its layout is the parameter's.
fn accumulate(context: &mut Context, leaf: &Rc<Leaf>, mut inputs: Gradients) {
    let Some(new) = inputs.first_mut().and_then(Option::take) else { return };
    let mut gradient = leaf.gradient.borrow_mut();
    if gradient.is_some() {
        return; // added in place
    }
    let taken = if Rc::strong_count(&new) == 1 && obeys_layout(&new, leaf) {
        new
    } else {
        context.within(leaf.module, |context| {
            context.empty_strided("clone", leaf.sizes.clone(), leaf.strides.clone(), leaf.dtype)
        })
    };
    taken.storage.becomes(Category::Gradients);
    *gradient = Some(taken);
}

/// torch/csrc/autograd/utils/grad_layout_contract.h: a dense parameter's gradient has its strides.
fn obeys_layout(gradient: &TensorData, leaf: &Leaf) -> bool {
    let same = gradient.sizes.iter().zip(gradient.strides.iter().zip(&leaf.strides));
    same.into_iter().all(|(size, (ours, theirs))| *size == 1 || ours == theirs)
}

/// The thread that allocates: cuBLAS handles, and so workspaces, belong to threads.
pub(super) const BACKWARD: Thread = Thread::Backward;
