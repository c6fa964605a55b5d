//! The event stream: what the caching allocator is asked for and given back, in order, and who asked.
//!
//! ```text
//! Allocate(0) 6291456 B "embedding" in transformer.wte;  Allocate(1) ...;  Free(0);  Phase(forward of step 0);  ...
//! ```

mod compare;
mod kept;
mod lifetimes;
mod live;

use std::fmt;
use std::rc::Rc;

pub use compare::{Difference, first_difference};
pub use lifetimes::{Lifetime, last_step};
pub use live::{Live, live_after};

use crate::bytes::Bytes;
use crate::graph::ModuleId;

/// An allocation's number, in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u32);

impl AllocationId {
    /// The position among the allocations.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// The model's weights.
    Parameters,
    /// Gradients of parameters.
    Gradients,
    /// What the optimizer keeps between steps.
    OptimizerStates,
    /// Results of the forward pass that the backward pass needs.
    SavedActivations,
    /// All that lives only for a while: intermediate results, scratch memory of kernels.
    Temporaries,
    /// cuBLAS's own memory, kept until the process ends.
    Workspace,
    /// Keys and values of past tokens.
    KvCache,
    /// Token ids, labels.
    Inputs,
    /// The model's buffers.
    Buffers,
    /// What data parallel training gathers and reduces in, beside the collectives' own buffers.
    Communication,
}

impl Category {
    /// Every category, in the order in which reports list them.
    pub const ALL: [Category; 10] = [
        Category::Parameters,
        Category::Gradients,
        Category::OptimizerStates,
        Category::SavedActivations,
        Category::Temporaries,
        Category::Workspace,
        Category::KvCache,
        Category::Inputs,
        Category::Buffers,
        Category::Communication,
    ];

    /// The name as a key: `kv_cache`.
    pub fn key(self) -> String {
        self.name().to_ascii_lowercase().replace(' ', "_")
    }

    /// The name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Category::Parameters => "parameters",
            Category::Gradients => "gradients",
            Category::OptimizerStates => "optimizer states",
            Category::SavedActivations => "saved activations",
            Category::Temporaries => "temporaries",
            Category::Workspace => "workspace",
            Category::KvCache => "KV cache",
            Category::Inputs => "inputs",
            Category::Buffers => "buffers",
            Category::Communication => "communication",
        }
    }
}

/// Whose keys and values memory holds, where it is not a layer's that sees all tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// A layer's with a sliding window.
    Window,
    /// The encoder's.
    Cross,
}

/// One allocation: how much, and who asked.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// The bytes asked for, before rounding.
    pub bytes: Bytes,
    /// The CUDA stream, 0 for the default one.
    pub stream: u32,
    /// The operator of PyTorch, e.g. `addmm`.
    pub op: &'static str,
    /// The autograd node that ran it, in a backward pass.
    pub node: Option<&'static str>,
    /// The module whose forward asked, or whose forward the node belongs to.
    pub module: ModuleId,
    /// What it was for when it was made.
    pub category: Category,
    /// The parameter that it belongs to, as an index into the graph's parameters.
    pub parameter: Option<u32>,
}

impl Allocation {
    /// `addmm`, or `mm < AddmmBackward0` in a backward pass.
    pub fn asked_by(&self) -> String {
        match self.node {
            Some(node) => format!("{} < {node}", self.op),
            None => self.op.to_owned(),
        }
    }
}

/// A phase's end: where the records look at the allocator's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The step, from 0.
    pub step: u64,
    /// `load`, `pages`, `forward`, `backward`, `clip`, `optimizer`, `prefill`, `decode` or `end`.
    pub name: Rc<str>,
}

impl fmt::Display for Phase {
    /// `step 0 forward`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} {}", self.step, self.name)
    }
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Memory is asked for.
    Allocate(AllocationId),
    /// Memory is given back.
    Free(AllocationId),
    /// What the memory is for changes: a result is saved for backward, a gradient becomes a parameter's.
    Becomes(AllocationId, Category),
    /// A phase ends.
    Phase(u32),
}

/// The events of a run.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// All allocations, by [`AllocationId`].
    pub allocations: Vec<Allocation>,
    /// All events, in order.
    pub events: Vec<Event>,
    /// All phases, by the number in [`Event::Phase`].
    pub phases: Vec<Phase>,
    /// The caches of layers that do not see all tokens of their own.
    pub cached: Vec<(AllocationId, Cached)>,
    /// What the run keeps on the host when that is most: the states of paged optimizers; shards, gradients and states of
    /// FSDP's offload.
    pub host: Vec<(Category, Bytes)>,
}

impl Stream {
    /// Whether a phase belongs to the last step: loading and the making of pages come before the first.
    pub fn is_of_last_step(&self, phase: u32) -> bool {
        let last = self.phases.last().map_or(0, |phase| phase.step);
        let phase = &self.phases[phase as usize];
        phase.step == last && !matches!(&*phase.name, "load" | "pages")
    }

    /// The most that is alive at once, where an allocation of so many bytes counts as `size` says.
    pub(crate) fn most_alive(&self, size: impl Fn(Bytes) -> u64) -> u64 {
        let (mut live, mut most) = (0, 0);
        for event in &self.events {
            match event {
                Event::Allocate(id) => live += size(self.allocations[id.index()].bytes),
                Event::Free(id) => live -= size(self.allocations[id.index()].bytes),
                Event::Becomes(..) | Event::Phase(_) => {}
            }
            most = most.max(live);
        }
        most
    }

    /// Writes an allocation.
    pub(crate) fn allocate(&mut self, allocation: Allocation) -> AllocationId {
        let id = AllocationId(self.allocations.len() as u32);
        self.allocations.push(allocation);
        self.events.push(Event::Allocate(id));
        id
    }
}
