//! Full plans of choices: the same program, lowering and allocator as `plan`.

use std::cell::Cell;
use std::sync::Arc;

use super::Measure;
use super::profile;
use crate::allocate::simulate;
use crate::bytes::Bytes;
use crate::graph::{Graph, lay};
use crate::lower::timeline::Timeline;
use crate::lower::{lower, lower_with_timeline};
use crate::model::Model;
use crate::plan::{Emulation, PlanError, Prepared, named, prepare, program_with};
use crate::read::gpus::Gpu;
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
    /// Runs of calls that are functions in what is measured.
    spans: Vec<String>,
    /// The program with these.
    marked: Option<Arc<Graph>>,
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
        let mut prepared = prepare(model, &run, gpu, emulation)?;
        if !prepared.graph.repeats.is_empty() {
            let written_out = program_with(model, &run, emulation, (&[], false))?;
            prepared.graph = Arc::new(over(written_out, &prepared.graph));
        }
        Ok(Evaluator {
            model,
            run,
            gpu,
            emulation,
            prepared,
            spans: Vec::new(),
            marked: None,
            events_left: effort.into(),
        })
    }

    /// The program of the run as it is given.
    pub fn graph(&self) -> &Graph {
        self.marked.as_ref().unwrap_or(&self.prepared.graph)
    }

    /// Whether what is measured has runs of calls that plans do not have.
    pub fn has_functions(&self) -> bool {
        self.marked.is_some()
    }

    /// Whether a call is that of a Sequential's child.
    pub fn is_in_sequence(&self, call: &str) -> bool {
        let around = call.rsplit_once('.').map_or("", |(around, _)| around);
        let mut modules = self.graph().modules.iter();
        !call.contains('%') && modules.any(|module| module.path == around && &*module.class == "Sequential")
    }

    /// Has every program that is lowered to be measured call these runs of calls as functions, whether they are checkpointed
    /// or not: so what their names held goes in all of them alike, sooner than in a plan, and bounds stay below. They are
    /// numbered alike, as modules.
    pub fn mark(&mut self, spans: Vec<String>) -> Result<(), PlanError> {
        if !spans.is_empty() {
            let mut graph = Graph::clone(&self.prepared.graph);
            lay(&mut graph, &spans, &[], None, false)?;
            (self.marked, self.spans) = (Some(Arc::new(graph)), spans);
        }
        Ok(())
    }

    /// What lowers the run as `config.use_cache = False` leaves it; None where it has no cache. Where transformers looks for
    /// packed sequences only because there is no cache, it finds none.
    pub fn without_cache(&self) -> Result<Option<Evaluator<'a>>, PlanError> {
        if !self.hands_cache() {
            return Ok(None);
        }
        let run = Run { use_cache: Some(false), ..self.run.clone() };
        let emulation = Emulation { reads_zeros: false, ..self.emulation };
        let mut uncached = Evaluator::new(self.model, run, self.gpu, emulation, 0)?;
        uncached.mark(self.spans.clone())?;
        Ok(Some(uncached))
    }

    /// Whether the model hands a cache to its layers in training.
    fn hands_cache(&self) -> bool {
        self.run.use_cache.or_else(|| self.model.entry("use_cache")?.as_bool()).unwrap_or(false)
    }

    /// How many steps the run has.
    pub fn steps(&self) -> u64 {
        self.run.steps.max(1)
    }

    /// The program with these checkpoints: its parameters are those of the run without any. What is to be measured is written
    /// out, since of iterations that are kept once nothing tells where they lie.
    fn program(&self, checkpoint: Checkpointing, spans: &[String], folds: bool) -> Result<Arc<Graph>, PlanError> {
        let plain = &self.prepared.graph;
        if checkpoint == Checkpointing::Off {
            return Ok(self.marked.as_ref().filter(|_| !spans.is_empty()).unwrap_or(plain).clone());
        }
        let run = Run { checkpoint, ..self.run.clone() };
        Ok(Arc::new(over(program_with(self.model, &run, self.emulation, (spans, folds))?, plain)))
    }

    /// The lowered program.
    pub fn lower(&self, checkpoint: Checkpointing) -> Result<Lowered, PlanError> {
        let graph = self.program(checkpoint, &self.spans, false)?;
        let lowered =
            lower_with_timeline(&graph, &self.prepared.device, self.prepared.settings.clone(), Speeds::of(self.gpu));
        let (stream, timeline) = lowered.map_err(|error| named(error, &graph))?;
        Ok(Lowered { graph, stream, timeline })
    }

    /// The peaks of a choice; None where PyTorch refuses to run it.
    pub fn peaks(&self, checkpoint: Checkpointing) -> Result<Option<Peaks>, PlanError> {
        let graph = self.program(checkpoint, &[], true)?;
        let stream = lower(&graph, &self.prepared.device, self.prepared.settings.clone());
        Ok(stream.ok().map(|stream| self.peaks_of(&stream)))
    }

    /// The peaks of a stream.
    pub fn peaks_of(&self, stream: &Trace) -> Peaks {
        self.events_left.set(self.events_left.get().saturating_sub(stream.event_count() as u64));
        let Prepared { options, capacity, .. } = &self.prepared;
        let limited = simulate(stream, options, Some(*capacity));
        let fits = limited.out_of_memory.is_none();
        let outcome = if fits { limited } else { simulate(stream, options, Some(UNLIMITED)) };
        let live = profile::peak(stream) as i64;
        Peaks { allocated: outcome.peak_allocated, reserved: outcome.peak_reserved, fits, live }
    }
}

/// A program over the parameters of another.
fn over(graph: Graph, plain: &Graph) -> Graph {
    let (parameters, applied) = (plain.parameters.clone(), plain.applied.clone());
    Graph { parameters, applied, loading: plain.loading.clone(), ..graph }
}
