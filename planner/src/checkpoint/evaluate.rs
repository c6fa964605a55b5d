//! Full plans of choices: the same program, lowering and allocator as `plan`.

use std::cell::Cell;
use std::sync::Arc;

use super::Measure;
use super::profile;
use crate::allocate::simulate;
use crate::bytes::Bytes;
use crate::graph::Graph;
use crate::lower::timeline::Timeline;
use crate::lower::{lower, lower_with_timeline};
use crate::plan::{Emulation, PlanError, Prepared, named, prepare, program};
use crate::read::gpus::Gpu;
use crate::read::model::Model;
use crate::replay::UNLIMITED;
use crate::run::{Checkpointing, Run};
use crate::time::Speeds;
use crate::trace::Trace;

/// What plans are made of: a run without checkpoints, prepared once.
pub(super) struct Evaluator<'a> {
    model: &'a Model,
    run: Run,
    gpu: &'a Gpu,
    emulation: Emulation,
    prepared: Prepared,
    /// Events of full plans that may still be simulated.
    pub events_left: Cell<u64>,
}

/// A lowered program, with where its calls lie.
pub(super) struct Lowered {
    pub graph: Arc<Graph>,
    pub stream: Trace,
    pub timeline: Timeline,
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

impl<'a> Evaluator<'a> {
    pub fn new(
        model: &'a Model,
        run: Run,
        gpu: &'a Gpu,
        emulation: Emulation,
        effort: u64,
    ) -> Result<Evaluator<'a>, PlanError> {
        let prepared = prepare(model, &run, gpu, emulation)?;
        Ok(Evaluator { model, run, gpu, emulation, prepared, events_left: effort.into() })
    }

    /// What lowers the run as `config.use_cache = False` leaves it; None where it has no cache. Where transformers looks for
    /// packed sequences only because there is no cache, it finds none.
    pub fn without_cache(&self) -> Result<Option<Evaluator<'a>>, PlanError> {
        if !self.hands_cache() {
            return Ok(None);
        }
        let run = Run { use_cache: Some(false), ..self.run.clone() };
        let emulation = Emulation { reads_zeros: false, ..self.emulation };
        Evaluator::new(self.model, run, self.gpu, emulation, 0).map(Some)
    }

    /// Whether the model hands a cache to its layers in training.
    fn hands_cache(&self) -> bool {
        self.run.use_cache.or_else(|| self.model.entry("use_cache")?.as_bool()).unwrap_or(false)
    }

    /// How many steps the run has.
    pub fn steps(&self) -> u64 {
        self.run.steps.max(1)
    }

    /// The program with these checkpoints: its parameters are those of the run without any.
    fn program(&self, checkpoint: Checkpointing) -> Result<Arc<Graph>, PlanError> {
        let plain = &self.prepared.graph;
        if checkpoint == Checkpointing::Off {
            return Ok(plain.clone());
        }
        let graph = program(self.model, &Run { checkpoint, ..self.run.clone() }, self.emulation)?;
        Ok(Arc::new(Graph { parameters: plain.parameters.clone(), loading: plain.loading.clone(), ..graph }))
    }

    /// The lowered program.
    pub fn lower(&self, checkpoint: Checkpointing) -> Result<Lowered, PlanError> {
        let graph = self.program(checkpoint)?;
        let lowered =
            lower_with_timeline(&graph, &self.prepared.device, self.prepared.settings.clone(), Speeds::of(self.gpu));
        let (stream, timeline) = lowered.map_err(|error| named(error, &graph))?;
        Ok(Lowered { graph, stream, timeline })
    }

    /// The peaks of a choice; None where PyTorch refuses to run it.
    pub fn peaks(&self, checkpoint: Checkpointing) -> Result<Option<Peaks>, PlanError> {
        let graph = self.program(checkpoint)?;
        let stream = lower(&graph, &self.prepared.device, self.prepared.settings.clone());
        Ok(stream.ok().map(|stream| self.peaks_of(&stream)))
    }

    /// The peaks of a stream.
    pub fn peaks_of(&self, stream: &Trace) -> Peaks {
        self.events_left.set(self.events_left.get().saturating_sub(stream.events.len() as u64));
        let Prepared { options, capacity, .. } = &self.prepared;
        let limited = simulate(stream, options, Some(*capacity));
        let fits = limited.out_of_memory.is_none();
        let outcome = if fits { limited } else { simulate(stream, options, Some(UNLIMITED)) };
        let live = profile::peak(stream) as i64;
        Peaks { allocated: outcome.peak_allocated, reserved: outcome.peak_reserved, fits, live }
    }
}
