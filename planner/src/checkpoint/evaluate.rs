//! Full plans of choices: the same program, lowering and allocator as `plan`.

use std::rc::Rc;

use super::Measure;
use super::profile::profile;
use crate::allocate::simulate;
use crate::bytes::Bytes;
use crate::graph::{Checkpointing, Graph};
use crate::lower::lower_with_timeline;
use crate::lower::timeline::Timeline;
use crate::plan::{Emulation, PlanError, device, named, prepare};
use crate::read::gpus::Gpu;
use crate::read::model::Model;
use crate::run::Run;
use crate::schedule::Stream;

/// What plans are made of.
pub(super) struct Evaluator<'a> {
    pub model: &'a Model,
    pub run: &'a Run,
    pub gpu: &'a Gpu,
    pub emulation: Emulation,
    /// Events of full plans that may still be simulated.
    pub events_left: std::cell::Cell<u64>,
}

/// A planned choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peaks {
    /// Peak allocated.
    pub allocated: Bytes,
    /// Peak reserved.
    pub reserved: Bytes,
    /// Whether it runs within the GPU's capacity.
    pub fits: bool,
    /// The most that is alive, in sizes rounded to 512 bytes.
    pub(super) live: i64,
}

impl Peaks {
    /// The peak that counts.
    pub fn by(&self, measure: Measure) -> Bytes {
        match measure {
            Measure::Allocated => self.allocated,
            Measure::Reserved => self.reserved,
        }
    }

    pub(super) fn within(&self, budget: Bytes, measure: Measure) -> bool {
        self.fits && self.by(measure) <= budget
    }
}

impl Evaluator<'_> {
    /// The run as `config.use_cache = False` leaves it.
    pub fn run_without_cache(&self) -> Run {
        Run { use_cache: self.hands_cache().then_some(false).or(self.run.use_cache), ..self.run.clone() }
    }

    /// What lowers that run. Where transformers looks for packed sequences only because there is no cache, it finds none.
    pub fn without_cache<'b>(&'b self, run: &'b Run) -> Evaluator<'b> {
        let reads_zeros = self.emulation.reads_zeros && !self.hands_cache();
        let emulation = Emulation { reads_zeros, ..self.emulation };
        Evaluator { model: self.model, run, gpu: self.gpu, emulation, events_left: 0.into() }
    }

    /// Whether the model hands a cache to its layers in training.
    fn hands_cache(&self) -> bool {
        let of_config = || self.model.config.get("use_cache").or(self.model.family.defaults.get("use_cache"));
        self.run.use_cache.or_else(|| of_config()?.as_bool()).unwrap_or(false)
    }

    fn with(&self, checkpoint: Checkpointing) -> Run {
        Run { checkpoint, ..self.run.clone() }
    }

    /// The lowered program, with where its calls lie.
    pub fn lower(&self, checkpoint: Checkpointing) -> Result<(Rc<Graph>, Stream, Timeline), PlanError> {
        let prepared = prepare(self.model, &self.with(checkpoint), self.gpu, self.emulation)?;
        let lowered = lower_with_timeline(&prepared.graph, &device(self.gpu), prepared.settings);
        let (stream, timeline) = lowered.map_err(|error| named(error, &prepared.graph))?;
        Ok((prepared.graph, stream, timeline))
    }

    /// The peaks of a choice; one that PyTorch refuses has none that fit.
    pub fn peaks_if_run(&self, checkpoint: Checkpointing) -> Result<Peaks, PlanError> {
        match self.peaks(checkpoint) {
            Err(PlanError::Lower { .. }) => {
                let endless = Bytes(u64::MAX);
                Ok(Peaks { allocated: endless, reserved: endless, fits: false, live: i64::MAX })
            }
            peaks => peaks,
        }
    }

    /// The peaks of a choice.
    pub fn peaks(&self, checkpoint: Checkpointing) -> Result<Peaks, PlanError> {
        let prepared = prepare(self.model, &self.with(checkpoint), self.gpu, self.emulation)?;
        let lowered = lower_with_timeline(&prepared.graph, &device(self.gpu), prepared.settings);
        let (stream, timeline) = lowered.map_err(|error| named(error, &prepared.graph))?;
        let events = self.events_left.get();
        self.events_left.set(events.saturating_sub(stream.events.len() as u64));
        let limited = simulate(&stream, &prepared.options, Some(prepared.capacity));
        let fits = limited.out_of_memory.is_none();
        let outcome = if fits { limited } else { simulate(&stream, &prepared.options, Some(crate::plan::UNLIMITED)) };
        let live = profile(&stream, &timeline, &Default::default()).peak() as i64;
        Ok(Peaks { allocated: outcome.peak_allocated, reserved: outcome.peak_reserved, fits, live })
    }
}
