//! What an iteration leaves, laid out flat: where two in a row leave the same, all later ones do what they did.
//!
//! What a program does follows from its steps and from what it finds: tensors that are alive, gradients, what libraries keep,
//! autograd's graph. Allocations that the iteration made are numbered from its first, others as they are.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::autograd::{Edge, Leaf, Node};
use super::context::{Checkpointing, Context, Libraries, Program, Training};
use super::tensor::{Storage, Tensor, TensorData};
use crate::graph::{Graph, Repeat, Step};
use crate::ops;

/// What an iteration leaves.
#[derive(PartialEq, Eq)]
pub(super) struct Left(Vec<u64>);

/// Whether an iteration does nothing but what [`Left`] sees, and finds what it found but for the numbers of steps: nothing
/// grows, and the optimizer does not run.
pub(super) fn can_settle(graph: &Graph, repeat: &Repeat) -> bool {
    let grows = |(op, _): &(crate::graph::OpId, Vec<i64>)| graph.ops[op.index()].operator.name != ops::MARK;
    let steps_optimizer = |step: &Step| match step {
        Step::Op(op) => ops::changes_optimizer(graph.ops[op.index()].operator.name),
        _ => false,
    };
    repeat.sizes.is_empty()
        && !repeat.integers.iter().any(grows)
        && !graph.steps[repeat.steps.clone()].iter().any(steps_optimizer)
}

impl Context {
    /// What the iteration leaves whose first allocation has that number; None where something is left that cannot be compared.
    pub(super) fn left(&self, first: usize) -> Option<Left> {
        let Context {
            device: _,
            settings: _,
            graph: _,
            // who asks is said anew by each step
            memory: _,
            program: Program { values, dtypes, shapes: _, loaded },
            // grad mode is that of the loop's code, and later nodes are numbered on
            autograd: _,
            checkpointing: Checkpointing { frame, reentrant, recomputation, runs_again, gone_frames },
            functions,
            // states, options and the scaler change where the optimizer does
            training: Training { trained, states: _, group: _, scaler: _ },
            libraries: Libraries { workspaces, quantization, dynamic_codes, tuned },
            parallel,
            autocast,
            timeline: _,
            weight: _,
            failure,
        } = self;
        let under_way = frame.is_some()
            || reentrant.is_some()
            || recomputation.is_some()
            || runs_again.is_some()
            || !functions.is_empty();
        let waiting = under_way || !loaded.is_empty() || gone_frames.borrow().are_waiting();
        if waiting || !parallel.is_empty() || !autocast.is_closed() || failure.is_some() {
            return None;
        }
        let mut collector = Collector { first, left: Vec::new(), nodes: FxHashMap::default(), unseen: Vec::new() };
        for (number, value) in values.iter().enumerate() {
            if let Some(tensor) = value {
                collector.left.push(number as u64);
                collector.tensor(tensor);
            }
        }
        for (number, dtype) in dtypes.iter().enumerate() {
            collector.left.extend(dtype.map(|dtype| (number as u64) << 8 | dtype as u64));
        }
        for trained in trained {
            collector.tensor(&trained.tensor);
            collector.leaf(&trained.leaf);
        }
        workspaces.kept().for_each(|kept| collector.kept(kept));
        quantization.iter().for_each(|kept| collector.kept(Some(kept)));
        collector.kept(dynamic_codes.as_ref());
        collector.left.push(tuned.len() as u64);
        collector.graph()
    }
}

/// Goes through what is left.
struct Collector {
    /// The number of the iteration's first allocation.
    first: usize,
    left: Vec<u64>,
    /// Nodes that were come to, by address.
    nodes: FxHashMap<usize, u64>,
    unseen: Vec<Rc<Node>>,
}

/// What stands where nothing is.
const NOTHING: u64 = u64::MAX;

impl Collector {
    fn kept(&mut self, storage: Option<&Rc<Storage>>) {
        match storage {
            None => self.left.push(NOTHING),
            Some(storage) => self.storage(storage),
        }
    }

    fn storage(&mut self, storage: &Rc<Storage>) {
        let number = storage.allocation().map_or(NOTHING, |id| match id.index().checked_sub(self.first) {
            Some(of_iteration) => (of_iteration as u64) << 1 | 1,
            None => (id.index() as u64) << 1,
        });
        self.left.extend([number, storage.category() as u64, Rc::strong_count(storage) as u64]);
    }

    fn tensor(&mut self, tensor: &Tensor) {
        let TensorData { dtype, sizes, strides, base, gradient, storage } = &**tensor;
        self.left.extend([*dtype as u64, Rc::strong_count(tensor) as u64, sizes.len() as u64]);
        self.left.extend(sizes.iter().chain(strides));
        self.storage(storage);
        self.edge(&gradient.borrow());
        match base {
            None => self.left.push(NOTHING),
            Some(base) => self.tensor(base),
        }
    }

    fn edge(&mut self, edge: &Edge) {
        match edge {
            Edge::None => self.left.push(NOTHING),
            Edge::Leaf(leaf) => {
                self.left.push(u64::from(leaf.parameter));
                // one that is no parameter goes with the graph; several edges lead to it
                let next = self.nodes.len() as u64;
                let (mut is_new, address) = (false, Rc::as_ptr(leaf) as usize);
                self.left.push(*self.nodes.entry(address).or_insert_with(|| {
                    is_new = true;
                    next
                }));
                if let (true, Some(variable)) = (is_new, &leaf.variable) {
                    self.tensor(variable);
                    self.leaf(leaf);
                }
            }
            Edge::Node(node, position) => {
                let next = self.nodes.len() as u64;
                let number = *self.nodes.entry(Rc::as_ptr(node) as usize).or_insert_with(|| {
                    self.unseen.push(node.clone());
                    next
                });
                self.left.extend([number, u64::from(*position)]);
            }
        }
    }

    fn leaf(&mut self, leaf: &Leaf) {
        match &*leaf.gradient.borrow() {
            None => self.left.push(NOTHING),
            Some(gradient) => self.tensor(gradient),
        }
    }

    /// Goes through the graph behind what was come to: nodes that have run hold what they lead to, and what Python hung on them.
    fn graph(mut self) -> Option<Left> {
        while let Some(node) = self.unseen.pop() {
            let (edges, attributes) = node.left()?;
            edges.iter().for_each(|edge| self.edge(edge));
            for kept in attributes {
                self.tensor(&kept.downcast::<TensorData>().ok()?);
            }
        }
        Some(Left(self.left))
    }
}
