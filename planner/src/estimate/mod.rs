//! What is known of a run of a model that no family describes: not a plan but bounds.
//!
//! ```text
//! headers (or config) ─ weights ─> plan of the weights alone      parameters, gradients, optimizer states: exact
//! config ─ outline ─┬─ lean stand-in ─> plan, of which all but these counts   ─┬─> at least
//!                   └─ rich stand-in ─> plan, likewise                        ─┴─> at most
//! ```
//!
//! Both are plans by the same pipeline as any other, of specs in `specs/estimate`. Their figures are added phase by phase (`bounds.rs`).

mod bounds;
mod outline;
mod stand_ins;
mod weights;

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::bytes::Bytes;
use crate::model::undescribed::Undescribed;
use crate::model::{Model, ModelError};
use crate::plan::{self, OutsideAllocator, PlanError};
use crate::read::config::ConfigError;
use crate::read::gpus::Gpu;
use crate::read::spec::{Shelf, SpecError};
use crate::replay::UNLIMITED;
use crate::run::{Mode, Precision, Run};
use crate::words::quote;

pub use bounds::Range;

use bounds::{Spans, composed};
use outline::Outline;
use weights::{Bound, Tensor, Used};

/// What stands between a model and a plan of it, for who has an estimate or none.
pub const WAYS: [&str; 3] = [
    "`memplan import` of the model's Python source",
    "an export of it (.pt2)",
    "a YAML file of your own that says its modules",
];

/// How the stand-ins are called and what they are.
pub const STAND_INS: [(&str, &str); 2] = [
    ("lean", "one norm a layer, attention beside an MLP, nothing scaled, dropped or made float32"),
    ("rich", "all that the known families have at once: full attention probabilities, gates, float32 norms, caps"),
];

/// Why there is no estimate.
#[derive(Debug, thiserror::Error)]
pub enum EstimateError {
    /// The config cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model's files cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A spec of the stand-ins is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The class is that of no model of text.
    #[error("by its name it is no language model, classifier or base model of text")]
    NoText,
    /// The config lacks a size.
    #[error("{}: none of {names}", quote::path(.path))]
    Lacks {
        /// The config.
        path: PathBuf,
        /// The names under which it was looked for.
        names: String,
    },
    /// A size that no model has.
    #[error("{}: key `{key}` is {found}, where 1 to {most} is expected", quote::path(.path))]
    Size {
        /// The config.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        found: u64,
        /// The most.
        most: u64,
    },
    /// A model with something else than attention.
    #[error("{}: {}", quote::path(.path), quote::cut(.what))]
    OtherLayers {
        /// The config.
        path: PathBuf,
        /// What it has.
        what: String,
    },
    /// Other parts, whose weights no headers list.
    #[error("{}: the model has parts beside text, whose weights only the headers of its checkpoint tell", quote::path(.path))]
    OtherParts {
        /// The config.
        path: PathBuf,
    },
    /// Weights that are stored quantised.
    #[error("{}: its weights are stored quantised (quantization_config), which is not estimated", quote::path(.path))]
    StoredQuantized {
        /// The config.
        path: PathBuf,
    },
    /// An option that cannot be taken over to a stand-in.
    #[error("{0}")]
    Option(&'static str),
    /// A run that a stand-in refuses.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Whether the run fits, as far as bounds say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At most as much is needed as is free.
    Fits,
    /// At least more is needed than is free.
    DoesNotFit,
    /// What is free lies between the bounds.
    MayFit,
}

/// Bounds of a run's memory.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The class that the config names.
    pub architecture: String,
    /// The section of the config that was taken, where the model has other parts: no figure but the weights' counts these.
    pub section: Option<&'static str>,
    /// Whether headers list the weights; else they follow from the config.
    pub has_headers: bool,
    /// How many parameters it has.
    pub parameters: Range<u64>,
    /// The precision of the run.
    pub precision: Precision,
    /// The most that is allocated at once.
    pub allocated: Range<Bytes>,
    /// The most that is reserved at once.
    pub reserved: Range<Bytes>,
    /// Bytes of the weights as the run has them.
    pub weights: Range<Bytes>,
    /// The most bytes of gradients.
    pub gradients: Range<Bytes>,
    /// The most bytes that the optimizer keeps.
    pub optimizer_states: Range<Bytes>,
    /// The most of all else at once: activations, temporaries, inputs, workspaces and the cache.
    pub activations: Range<Bytes>,
    /// Keys and values of past tokens at their most.
    pub cache: Range<Bytes>,
    /// The bytes that the allocator may take from the GPU.
    pub capacity: Bytes,
    /// What lies outside the allocator; None where the capacity was given.
    pub outside: Option<OutsideAllocator>,
}

impl Estimate {
    /// Whether the run fits.
    pub fn verdict(&self) -> Verdict {
        match () {
            () if self.reserved.high <= self.capacity => Verdict::Fits,
            () if self.reserved.low > self.capacity => Verdict::DoesNotFit,
            () => Verdict::MayFit,
        }
    }
}

/// Estimates a run of a model that no family describes.
///
/// # Errors
/// A model that is no decoder or encoder of text, and runs that the stand-ins cannot take.
pub fn estimate(model: &Undescribed, run: &Run, gpu: &Gpu) -> Result<Estimate, EstimateError> {
    let outline = outline::read(model)?;
    if outline.other_parts && model.weights.is_none() {
        return Err(EstimateError::OtherParts { path: model.config.path().to_owned() });
    }
    let settled = stand_ins::settled(model, outline.head, run)?;
    let shelf = Shelf { folder: run.specs.clone() };
    let alone = WeightsAlone { run: stand_ins::run_of_weights(&settled), gpu, shelf: &shelf, outline: &outline };
    let (least, most) = match &model.weights {
        Some(headers) => (weights::stored(headers, &outline), None),
        None => (weights::of_config(&outline, false), Some(weights::of_config(&outline, true))),
    };
    let most = alone.spans(most.as_ref().unwrap_or(&least), Bound::Most)?;
    let trains = settled.mode == Mode::Train;
    let used = if settled.lora.is_some() || settled.trainable.is_some() { Used::All } else { used(&outline, &settled) };
    let trains_least = trains && least.iter().any(|(name, sizes)| used.holds(name, sizes, &outline));
    let least = match trains == trains_least {
        true => alone.spans(&least, Bound::Least(used))?,
        false => alone.at_rest().spans(&least, Bound::Least(used))?,
    };
    let stand_in = |is_rich: bool| -> Result<Spans, EstimateError> {
        let stand_in = stand_ins::model(&outline, is_rich, &shelf)?;
        Ok(Spans::of(&plan::plan(&stand_in, &stand_ins::run(&settled, &outline, is_rich), gpu)?))
    };
    let (lean, rich) = (stand_in(false)?, stand_in(true)?);
    let (capacity, outside) = plan::free(run, gpu).map_err(PlanError::from)?;
    let (allocated, reserved) = composed((&least, &lean, trains_least), (&most, &rich, trains));
    Ok(Estimate {
        architecture: model.architecture.clone(),
        section: outline.section,
        has_headers: model.weights.is_some(),
        parameters: Range { low: least.parameters, high: most.parameters },
        precision: settled.precision.unwrap_or(Precision::Fp32),
        allocated,
        reserved,
        weights: Range { low: least.weights, high: most.weights },
        gradients: Range { low: least.gradients, high: most.gradients },
        optimizer_states: Range { low: least.states, high: most.states },
        activations: Range { low: lean.others_asked(), high: rich.others_allocated() },
        cache: Range { low: lean.cache, high: rich.cache },
        capacity,
        outside,
    })
}

/// What of the weights a run surely uses: the layers, and experts where there are tokens for each.
fn used(outline: &Outline, run: &Run) -> Used {
    let tokens = run.batch.saturating_mul(run.seq);
    let has_all = outline.experts.is_none_or(|experts| tokens.saturating_mul(experts.chosen) >= experts.count);
    if has_all { Used::Layers } else { Used::LayersWithoutExperts }
}

/// Plans of weights that nothing else is done with than to train them.
struct WeightsAlone<'a> {
    run: Run,
    gpu: &'a Gpu,
    shelf: &'a Shelf,
    outline: &'a Outline,
}

impl WeightsAlone<'_> {
    /// The same where none is trained.
    fn at_rest(&self) -> WeightsAlone<'_> {
        WeightsAlone { run: Run { mode: Mode::Infer, ..self.run.clone() }, ..*self }
    }

    fn spans(&self, tensors: &[Tensor], bound: Bound) -> Result<Spans, EstimateError> {
        let config = weights::config(tensors, self.outline, bound);
        let model = of_spec(self.shelf, ("weights", "Weights"), config)?;
        Ok(Spans::of(&plan::plan(&model, &self.run, self.gpu)?))
    }
}

/// A model of a spec in `specs/estimate`, by the spec's name and its architecture.
fn of_spec(shelf: &Shelf, (spec, architecture): (&str, &str), config: Map<String, Value>) -> Result<Model, SpecError> {
    let family = shelf.family_for_estimates(spec)?;
    let (name, architecture) = (spec.to_owned(), architecture.to_owned());
    Ok(Model { name, family, exported: None, architecture, config, config_file: None, dtype: None, weights: None })
}

/// Room for any run.
const ROOM: Bytes = UNLIMITED;
