//! What fits where: a run on each of many GPUs, and the largest sizes that fit there.
//!
//! GPUs with the same compute capability and as many multiprocessors run the same kernels, so a size is planned once for all of
//! them and only the allocator's capacity differs. Classes of such GPUs and the sizes to search run side by side.
//!
//! ```text
//! gpus ─ alike ─> classes x axes ─ (threads) ─> search ─ footprint of a size, kept ─> limits ─> rows, as given
//! ```

pub mod search;
pub mod smallest;
#[cfg(test)]
mod tests;

use rustc_hash::FxHashMap;

use rayon::prelude::*;

use crate::bytes::Bytes;
use crate::choices::choices;
use crate::model::Model;
use crate::plan::footprint::{Footprint, Peaks, alike, footprint, peaks_within};
use crate::plan::recorded::{Settled, settle};
use crate::plan::{PlanError, capacity};
use crate::read::gpus::Gpu;
use crate::run::{Precision, Run, RunOptions};
use crate::trace::file::{Head, Recorded};

/// A size that is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Sequences or images at once: requests that are served together.
    Batch,
    /// Tokens of each sequence; in generation those of the prompt.
    Seq,
    /// Rows and columns of each image.
    Image,
}

impl Axis {
    /// What a model's runs can grow in.
    pub fn of(model: &Model) -> [Axis; 2] {
        [Axis::Batch, if model.takes_images() { Axis::Image } else { Axis::Seq }]
    }

    /// A run's size.
    pub fn size(self, model: &Model, run: &Run) -> u64 {
        match self {
            Axis::Batch => run.batch,
            Axis::Seq => run.seq,
            Axis::Image => model.image_of(run).unwrap_or(1),
        }
    }

    /// The run with another size.
    pub fn with(self, run: &Run, size: u64) -> Run {
        let mut run = run.clone();
        match self {
            Axis::Batch => run.batch = size,
            Axis::Seq => run.seq = size,
            Axis::Image => run.image = Some(size),
        }
        run
    }
}

// its flags
choices!(Axis, "size", "batch" => Axis::Batch, "seq" => Axis::Seq, "image" => Axis::Image);

/// The largest size that fits, all else as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What grew.
    pub axis: Axis,
    /// The size, with its peaks; None where none fits. None of the [`search::BEYOND`] sizes behind it fits.
    pub largest: Option<(u64, Peaks)>,
    /// The next size.
    pub next: u64,
    /// Why that is too much.
    pub stop: Stop,
}

/// Why a size is too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It would reserve so much.
    Memory(Bytes),
    /// It cannot be planned, as where the model has no more positions: the message.
    Refused(String),
}

/// A run on a GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The GPU.
    pub gpu: Gpu,
    /// The bytes of it that the allocator may take.
    pub capacity: Bytes,
    /// What was found; why the run is refused where this GPU cannot run it.
    pub found: Result<Found, String>,
}

/// What was found for a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The run as given.
    pub given: Peaks,
    /// The precision that it was planned in.
    pub precision: Precision,
    /// The largest sizes.
    pub limits: Vec<Limit>,
}

impl Row {
    /// Whether the run fits as given.
    pub fn fits(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| found.given.fits)
    }

    /// What is left of the capacity at the peak of reserved memory; None where the run does not fit.
    pub fn headroom(&self) -> Option<Bytes> {
        self.found.as_ref().ok()?.given.headroom(self.capacity)
    }
}

/// Says for each GPU whether the run fits and which sizes would. `done` hears of searches that have ended, of which each GPU has
/// one for each axis.
///
/// # Errors
/// A run that cannot be planned with any of the GPUs.
pub fn fit(model: &Model, run: &Run, gpus: &[Gpu], done: &(dyn Fn(usize) + Sync)) -> Result<Vec<Row>, PlanError> {
    let capacities = gpus.iter().map(|gpu| capacity(run, gpu)).collect::<Result<Vec<_>, _>>()?;
    let classes = alike(model, gpus)?;
    let tasks: Vec<(&Vec<usize>, Axis)> =
        classes.iter().flat_map(|class| Axis::of(model).map(|axis| (class, axis))).collect();
    let search = |(class, axis): &(&Vec<usize>, Axis)| {
        let within: Vec<Bytes> = class.iter().map(|place| capacities[*place]).collect();
        let planned = FxHashMap::default();
        let found = Sizes { model, run, gpu: &gpus[class[0]], axis: *axis, within, planned }.limits();
        done(class.len());
        found
    };
    let searched: Vec<_> = tasks.par_iter().with_max_len(1).map(search).collect();
    let mut found: Vec<Option<Result<Found, String>>> = vec![None; gpus.len()];
    for ((class, _), answers) in tasks.iter().zip(searched) {
        for (place, answer) in class.iter().zip(answers) {
            match (&mut found[*place], answer) {
                (Some(Ok(found)), Ok(more)) => found.limits.extend(more.limits),
                (place, answer) => *place = Some(answer),
            }
        }
    }
    let rows = gpus.iter().zip(capacities).zip(found);
    let row =
        |((gpu, capacity), found): ((&Gpu, Bytes), Option<_>)| Some(Row { gpu: gpu.clone(), capacity, found: found? });
    let rows: Vec<Row> = rows.filter_map(row).collect();
    if let Some(row) = rows.first().filter(|_| rows.iter().all(|row| row.found.is_err())) {
        footprint(model, run, &row.gpu, &[])?;
    }
    Ok(rows)
}

/// What a trace takes of a GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Room {
    /// The GPU.
    pub gpu: Gpu,
    /// The bytes of it that the allocator may take.
    pub capacity: Bytes,
    /// What it makes of the trace.
    pub given: Peaks,
}

/// Says for each GPU whether a trace from a file fits, by its memory alone: with the kernels of the GPU that it was made for.
///
/// # Errors
/// Options that the allocator does not know, or that only a plan can obey; a wrong spec.
pub fn by_capacity(recorded: Recorded, options: &RunOptions, gpus: &[Gpu]) -> Result<(Head, Vec<Room>), PlanError> {
    let run = Run { capacity: options.capacity, ..Run::default() };
    let Settled { head, trace, allocator, .. } = settle(recorded, options, None)?;
    let capacities = gpus.iter().map(|gpu| capacity(&run, gpu)).collect::<Result<Vec<_>, _>>()?;
    let peaks = peaks_within(&trace, &allocator, &capacities);
    let rooms = gpus.iter().zip(capacities).zip(peaks);
    Ok((head, rooms.map(|((gpu, capacity), given)| Room { gpu: gpu.clone(), capacity, given }).collect()))
}

/// Sizes on GPUs that run the same kernels, each planned at most once.
struct Sizes<'a> {
    model: &'a Model,
    run: &'a Run,
    gpu: &'a Gpu,
    axis: Axis,
    within: Vec<Bytes>,
    planned: FxHashMap<u64, Result<Footprint, String>>,
}

impl Sizes<'_> {
    /// Plans sizes side by side, those that are not known.
    fn plan(&mut self, sizes: &[u64]) {
        let Sizes { model, run, gpu, axis, within, planned } = self;
        let unknown: Vec<u64> = sizes.iter().copied().filter(|size| !planned.contains_key(size)).collect();
        let plan = |size: &u64| {
            let planned = footprint(model, &axis.with(run, *size), gpu, within).map_err(|error| error.to_string());
            (*size, planned)
        };
        let found: Vec<_> = unknown.par_iter().with_max_len(1).map(plan).collect();
        planned.extend(found);
    }

    fn footprint(&mut self, size: u64) -> &Result<Footprint, String> {
        self.plan(&[size]);
        &self.planned[&size]
    }

    /// What each of the GPUs is said.
    fn limits(mut self) -> Vec<Result<Found, String>> {
        let given = self.axis.size(self.model, self.run);
        (0..self.within.len())
            .map(|place| {
                let Footprint { precision, within, .. } = self.footprint(given).clone()?;
                let limit = self.limit(place, given);
                Ok(Found { given: within[place], precision, limits: vec![limit] })
            })
            .collect()
    }

    fn limit(&mut self, place: usize, given: u64) -> Limit {
        let capacity = self.within[place];
        let answer = search::largest(given, capacity, |sizes| {
            self.plan(sizes);
            let judged = |size: &u64| match &self.planned[size] {
                Ok(planned) => search::Judged { fits: planned.within[place].fits, peak: Some(planned.unlimited) },
                Err(_) => search::Judged { fits: false, peak: None },
            };
            sizes.iter().map(judged).collect()
        });
        let next = answer.map_or(1, |size| size + 1);
        let stop = match self.footprint(next) {
            Ok(planned) => Stop::Memory(planned.within[place].reserved),
            Err(reason) => Stop::Refused(reason.clone()),
        };
        let largest = answer.and_then(|size| Some((size, self.footprint(size).as_ref().ok()?.within[place])));
        Limit { axis: self.axis, largest, next, stop }
    }
}
