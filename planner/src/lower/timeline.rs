//! Where in a stream the calls of modules and the nodes of autograd lie, and what the run computes: what a choice of
//! checkpoints is made from.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::measured::CudnnCalls;
use crate::graph::ModuleId;
use crate::time::{Cost, Speeds, Work};

/// A set that keeps its order.
pub type FxIndexSet<T> = IndexSet<T, FxBuildHasher>;

/// The marks of a lowering, in the order of the stream.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// What happens before the stream's event of that number.
    pub marks: Vec<(usize, Mark)>,
    /// The roofline of the device; without it nothing takes time.
    pub speeds: Option<Speeds>,
    /// What the run costs beside second runs.
    pub computed: Cost,
    /// What second runs cost, by the number of the checkpointed call.
    pub recomputed: Vec<Cost>,
    /// The calls of cuDNN, whose workspaces only it knows.
    pub cudnn: CudnnCalls,
    /// Whether second runs use cuBLASLt, by the number of the checkpointed call: the first use by the engine's thread makes a
    /// workspace that stays.
    pub uses_blas_lt: Vec<bool>,
    /// The operators of ATen that checkpointed modules call in their first runs and could save, in the order of their first
    /// calls.
    pub savable: FxIndexSet<(ModuleId, &'static str)>,
}

impl Timeline {
    /// What kernels cost on the device.
    pub fn cost(&self, works: &[Work]) -> Cost {
        let flops = || works.iter().map(|work| work.flops).fold(0, u64::saturating_add);
        self.speeds.as_ref().map_or_else(|| Cost { flops: flops(), nanoseconds: 0 }, |speeds| speeds.cost(works))
    }

    /// What the run costs with its second runs.
    pub fn whole(&self) -> Cost {
        self.recomputed.iter().fold(self.computed, |whole, cost| whole.and(*cost))
    }
}

/// Something that memory is not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A module's call begins; autograd's next node has this sequence number.
    Enter(ModuleId, u64),
    /// A module's call has returned.
    Exit(ModuleId, u64),
    /// The node of that sequence number runs backward.
    Node(u64),
    /// The last node has run.
    Done,
}

impl Mark {
    /// The same, behind so many more of autograd's nodes.
    pub(super) fn later(self, nodes: u64) -> Mark {
        match self {
            Mark::Enter(module, sequence) => Mark::Enter(module, sequence + nodes),
            Mark::Exit(module, sequence) => Mark::Exit(module, sequence + nodes),
            Mark::Node(sequence) => Mark::Node(sequence + nodes),
            Mark::Done => Mark::Done,
        }
    }
}
