//! Which modules to checkpoint so that a run fits, at the least recomputation; of a model without blocks, which runs of calls
//! between its cut points too (`graph/cuts.rs`).
//!
//! ```text
//! measure    candidates, and what each costs, saves and needs     from one lowering for each depth of nesting
//! cheapest   the cheapest set within a bound on what is alive     a dynamic program; its cost is a lower bound
//! search     sets whose full plan is within the budget            each verified by the allocator's simulation
//! ```

mod cheapest;
mod evaluate;
mod measure;
mod model;
mod profile;
mod reach;
mod search;
#[cfg(test)]
mod tests;

use crate::run::{Checkpointing, Region};
use regex::Regex;

pub use evaluate::Peaks;
pub use search::Chooser;

use crate::bytes::Bytes;
use crate::choices::choices;
use crate::model::Model;
use crate::plan::PlanError;
use crate::read::gpus::Gpu;
use crate::run::{Mode, Run, RunError};
use crate::time::Cost;

/// Which peak the budget is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// What the allocator takes from the GPU.
    #[default]
    Reserved,
    /// What tensors take.
    Allocated,
}

choices!(Measure, "peak", "reserved" => Measure::Reserved, "allocated" => Measure::Allocated);

/// How small the modules may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granularity {
    /// Whole blocks.
    Block,
    /// Any module that gives tensors.
    #[default]
    Module,
    /// Whole blocks, each with the operators whose results it saves (selective checkpointing); others are computed again.
    Op,
}

choices!(Granularity, "granularity", "block" => Granularity::Block, "module" => Granularity::Module,
    "op" => Granularity::Op);

/// What recomputation costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Currency {
    /// Operations.
    #[default]
    Flops,
    /// Time, by the GPU's roofline.
    Time,
}

choices!(Currency, "cost", "flops" => Currency::Flops, "time" => Currency::Time);

impl Currency {
    /// What counts of a cost: operations, or nanoseconds.
    pub(crate) fn of(self, cost: Cost) -> u64 {
        match self {
            Currency::Flops => cost.flops,
            Currency::Time => cost.nanoseconds,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The most that the peak may be.
    pub budget: Bytes,
    /// Which peak.
    pub measure: Measure,
    /// How small the modules may be.
    pub granularity: Granularity,
    /// What is to be least.
    pub currency: Currency,
    /// The modules that may be checkpointed; all where None is given.
    pub only: Option<Regex>,
    /// How many events of full plans may be simulated before the search ends with the best that it has.
    pub effort: u64,
}

impl Wanted {
    /// A budget, with what is usual beside it.
    pub fn within(budget: Bytes) -> Wanted {
        let (measure, granularity, currency) = Default::default();
        Wanted { budget, measure, granularity, currency, only: None, effort: 5_000_000 }
    }
}

/// A module that is checkpointed, or a run of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its path or first and last call, and the operators whose results it saves.
    pub region: Region,
    /// Whether it is a run of children that a Sequential calls one after the other.
    pub in_sequence: bool,
    /// Bytes that are not alive after its forward and before its backward.
    pub saves: Bytes,
    /// What its second runs cost, in a step.
    pub recompute: Cost,
}

/// A choice of modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The modules, in forward order.
    pub modules: Vec<Chosen>,
    /// Its peaks.
    pub peaks: Peaks,
    /// What second runs cost, in a step.
    pub recompute: Cost,
    /// What was to be least.
    pub currency: Currency,
    /// Whether no choice within the budget costs less.
    pub optimal: bool,
    /// No choice within the budget costs less than this, in what was to be least.
    pub lower_bound: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The choice; None where none is within the budget.
    pub choice: Option<Choice>,
    /// Peaks without checkpoints.
    pub without: Peaks,
    /// Peaks with all outermost candidates checkpointed; None where PyTorch refuses that.
    pub with_all: Option<Peaks>,
    /// What no choice gets below, in sizes rounded to 512 bytes; where there is no choice.
    pub least: Option<Bytes>,
    /// The operations and the time of a step without recomputation.
    pub step: Cost,
    /// The modules that PyTorch refuses to run again where the model hands a cache to its layers.
    pub refused: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// The run cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Nothing can be checkpointed.
    #[error("no module can be checkpointed here: with only, modules are chosen by their paths, such as `mlp$`")]
    NoCandidates,
    /// Nothing says how fast the GPU is.
    #[error(
        "{gpu} has no bandwidth in the catalogue, so nothing is known of its time: give a --profile, or --cost flops"
    )]
    NoSpeeds {
        /// The GPU.
        gpu: String,
    },
}

/// In which form a choice is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Python that wraps the modules' forwards.
    Torch,
    /// The same behind `from_pretrained`.
    Transformers,
    /// A path a line, as `--checkpoint @FILE` reads it.
    File,
}

choices!(Form, "form", "torch" => Form::Torch, "transformers" => Form::Transformers, "file" => Form::File);

/// Chooses the modules to checkpoint.
///
/// # Errors
/// A run that does not train or cannot be planned; no module that could be checkpointed.
pub fn choose(model: &Model, run: &Run, gpu: &Gpu, wanted: &Wanted) -> Result<Answer, ChooseError> {
    Chooser::new(model, run, gpu, wanted)?.choose(wanted.budget)
}

fn check(run: &Run) -> Result<(), ChooseError> {
    let refuse = |message| Err(ChooseError::Plan(RunError::Contradiction(message).into()));
    match () {
        () if run.mode != Mode::Train => refuse("checkpoints are for training: --mode train"),
        () if run.checkpoint != Checkpointing::Off => refuse("the checkpoints are to be chosen: leave checkpoint out"),
        () => Ok(()),
    }
}
