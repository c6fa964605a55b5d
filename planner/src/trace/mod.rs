//! The trace of a run: what the caching allocator is asked for and given back, in order, by whom, and why.
//!
//! ```text
//! Allocate(0) 6291456 B "embedding" in transformer.wte;  Allocate(1) ...;  Free(0, a name was bound anew);  Phase(0);  ...
//! ```
//!
//! A trace stands alone: its names are in tables of its own, so that it can be sent between threads, written to a file and
//! read again without loss ([`file`]). A plan's is written by the lowering; a file of another program's can be read as well.

mod alive;
mod category;
mod cause;
mod compare;
mod cursor;
pub mod file;
mod kept;
mod lifetimes;
mod live;
mod names;
mod stretch;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use crate::bytes::Bytes;
use crate::ids::ModuleId;
pub use category::{CATEGORIES, Cached, Category};
pub use cause::{Cause, Code, LettingGo, Place, PlaceId, Places, Standing};
pub use compare::{Difference, first_difference};
pub use cursor::{ByCategory, Cursor, Moved};
pub use lifetimes::{Lifetime, last_step, whole_run};
pub use live::{Live, live_after};
pub use names::{Name, Names};
pub use stretch::Events;
pub(crate) use stretch::Stretch;

/// An allocation's number, in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AllocationId(pub u32);

impl AllocationId {
    /// The position among the allocations.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One allocation: how much, and who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The bytes asked for, before rounding.
    pub bytes: Bytes,
    /// The CUDA stream, 0 for the default one.
    pub cuda_stream: u32,
    /// The private pool that was filled: a CUDA graph's, or a `torch.cuda.MemPool`'s.
    pub private_pool: Option<u16>,
    /// The operator of PyTorch, e.g. `addmm`.
    pub operator: Name,
    /// The autograd node that ran it, in a backward pass.
    pub node: Option<Name>,
    /// The module whose forward asked, or whose forward the node belongs to.
    pub module: ModuleId,
    /// What it was for when it was made.
    pub category: Category,
    /// The parameter that it belongs to, by its number among [`Trace::parameters`].
    pub parameter: Option<u32>,
    /// The line of Python that ran, or whose operator made the node that ran.
    pub place: Option<PlaceId>,
    /// Which layers' keys or values it holds, where those do not see all tokens of their own.
    pub cached: Option<Cached>,
}

/// A phase's end: where the records look at the allocator's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The step, from 0.
    pub step: u64,
    /// `load`, `pages`, `forward`, `backward`, `clip`, `optimizer`, `prefill`, `decode` or `end`.
    pub name: Arc<str>,
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
    /// Memory is given back, and what let go of it.
    Free(AllocationId, Cause),
    /// What the memory is for changes: a result is saved for backward, a gradient becomes a parameter's.
    Becomes(AllocationId, Category),
    /// A phase ends.
    Phase(u32),
}

/// The events of a run, and the tables that their names are in.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Events and allocations, in stretches.
    stretches: Vec<Stretch>,
    /// All phases, by the number in [`Event::Phase`].
    pub phases: Vec<Phase>,
    /// The names of operators and of autograd's nodes.
    pub names: Names,
    /// The paths of the model's modules, by [`ModuleId`]; the model itself comes first, with an empty path.
    pub modules: Vec<Arc<str>>,
    /// The names of parameters and buffers.
    pub parameters: Vec<Arc<str>>,
    /// The lines of Python, by [`PlaceId`].
    pub places: Vec<Place>,
    /// What the run keeps on the host when that is most: the states of paged optimizers; shards, gradients and states of
    /// FSDP's offload.
    pub host: Vec<(Category, Bytes)>,
}

impl Trace {
    /// The operator that asked: `addmm`.
    pub fn operator(&self, allocation: &Allocation) -> &str {
        self.names.text(allocation.operator)
    }

    /// The autograd node that asked, in a backward pass: `AddmmBackward0`.
    pub fn node(&self, allocation: &Allocation) -> Option<&str> {
        allocation.node.map(|node| self.names.text(node))
    }

    /// The path of the module that asked; empty for the model itself, and where no modules are known.
    pub fn module(&self, allocation: &Allocation) -> &str {
        self.modules.get(allocation.module.index()).map_or("", |path| path)
    }

    /// The name of the parameter that it belongs to.
    pub fn parameter(&self, allocation: &Allocation) -> Option<&str> {
        self.parameters.get(allocation.parameter? as usize).map(|name| &**name)
    }

    /// `addmm`, or `mm < AddmmBackward0` in a backward pass.
    pub fn asked_by(&self, allocation: &Allocation) -> String {
        let operator = self.operator(allocation);
        match self.node(allocation) {
            Some(node) => format!("{operator} < {node}"),
            None => operator.to_owned(),
        }
    }

    /// A name for what has none in PyTorch: the parameter's, or the module's with what the operator gives.
    pub fn tensor(&self, allocation: &Allocation) -> String {
        let (operator, module) = (self.operator(allocation), self.module(allocation));
        match (self.parameter(allocation), allocation.category) {
            (Some(parameter), Category::Parameters | Category::Buffers) => parameter.to_owned(),
            (Some(parameter), _) => format!("{operator} of {parameter}"),
            (None, _) if module.is_empty() => operator.to_owned(),
            (None, _) => format!("{operator} of {module}"),
        }
    }

    /// Whether a phase belongs to the last step: loading and the making of pages come before the first.
    pub fn is_of_last_step(&self, phase: u32) -> bool {
        let last = self.phases.last().map_or(0, |phase| phase.step);
        let phase = &self.phases[phase as usize];
        phase.step == last && !matches!(&*phase.name, "load" | "pages")
    }
}

/// Traces are the same that have the same events and tables, however they keep them.
impl PartialEq for Trace {
    fn eq(&self, other: &Trace) -> bool {
        let Trace { stretches: _, phases, names, modules, parameters, places, host } = self;
        (phases, names, modules, parameters) == (&other.phases, &other.names, &other.modules, &other.parameters)
            && (places, host) == (&other.places, &other.host)
            && self.events().eq(other.events())
            && self.allocations().eq(other.allocations())
    }
}
