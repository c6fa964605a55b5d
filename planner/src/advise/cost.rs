//! What a change costs: a class, ordered by how much a user gives up, and an amount within the class.

use std::fmt;

/// What a change is paid with; the classes are ordered, the cheapest first. That order is a judgement, and the only one here:
/// time before rounding, rounding before hardware, hardware before another result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Nothing: the same results, as fast.
    Nothing,
    /// More and smaller kernels.
    Launches,
    /// Operations that are computed again; the amount counts them, in a step.
    Recomputation,
    /// Copies between the host and the GPU in each step.
    Transfers,
    /// Results that differ by rounding.
    Rounding,
    /// More GPUs, or more traffic between them.
    Communication,
    /// Other parameters are trained, or fewer.
    Training,
    /// It is another model.
    Model,
}

impl Class {
    /// All of them, the cheapest first.
    pub const ALL: [Class; 8] = [
        Class::Nothing,
        Class::Launches,
        Class::Recomputation,
        Class::Transfers,
        Class::Rounding,
        Class::Communication,
        Class::Training,
        Class::Model,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Class::Nothing => "nothing",
            Class::Launches => "launches",
            Class::Recomputation => "recomputation",
            Class::Transfers => "transfers",
            Class::Rounding => "rounding",
            Class::Communication => "communication",
            Class::Training => "training",
            Class::Model => "model",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The cost of one change; the class counts before the amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// What it is paid with.
    pub class: Class,
    /// More is dearer, within the class: operations that are computed again, micro-batches, GPUs, the place in the table.
    pub amount: u64,
}

/// The cost of changes together, as it is compared: the worst class, how many there are, then each, the dearest first.
pub(super) fn together(costs: impl Iterator<Item = Cost>) -> (Option<Class>, usize, Vec<Cost>) {
    let mut costs: Vec<Cost> = costs.collect();
    costs.sort_by(|one, other| other.cmp(one));
    (costs.first().map(|cost| cost.class), costs.len(), costs)
}
