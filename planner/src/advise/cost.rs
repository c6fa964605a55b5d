//! What a change costs: a class, ordered by how much a user gives up, and an amount within the class.

use crate::choices::choices;

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

choices!(Class, "class of costs", "nothing" => Class::Nothing, "launches" => Class::Launches,
    "recomputation" => Class::Recomputation, "transfers" => Class::Transfers, "rounding" => Class::Rounding,
    "communication" => Class::Communication, "training" => Class::Training, "model" => Class::Model);

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
