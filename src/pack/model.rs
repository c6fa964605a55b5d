//! `memplan pack MODEL`: the last step of a plan in one arena.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use packing::{Buffer, Goal, Options, Packing, csv, pack};
use planner::allocate::{AllocatorOptions, simulate};
use planner::bytes::Bytes;
use planner::plan::{PlanError, plan};
use planner::replay::Replay;
use planner::report::arena as report;
use planner::run::{Run, RunOptions};
use planner::trace::{Lifetime, Trace, last_step};

use crate::arguments::{Format, PackArguments};
use crate::failure::Failure;
use crate::plan::{coloured, opened, run_options};
use crate::replay::{self, is_trace};
use crate::{DOES_NOT_FIT, FITS, output};

/// What PyTorch's allocator rounds sizes to.
const ALIGNMENT: u64 = 512;
/// How long a page's arena is looked for.
const QUICKLY: Duration = Duration::from_millis(500);

/// Plans, packs the last step, reports.
pub fn run(arguments: &PackArguments) -> Result<ExitCode, Failure> {
    let wished = run_options(&arguments.run)?;
    if let Some(trace) = wished.model.as_deref().filter(|name| is_trace(name)) {
        let unlimited = RunOptions { capacity: None, ..wished.clone() };
        let (head, replay) = replay::of(trace, &unlimited)?;
        return packed(arguments, wished.capacity, &head.id, &head.allocator, &replay);
    }
    let (model, run, gpu) = opened(wished)?;
    let capacity = run.capacity;
    let run = Run { capacity: None, ..run };
    let plan = plan(&model, &run, &gpu)?;
    let name = format!("{}: {}", model.name, plan.architecture);
    packed(arguments, capacity, &name, &run.allocator, &plan)
}

fn packed(
    arguments: &PackArguments,
    capacity: Option<Bytes>,
    name: &str,
    allocator: &str,
    replay: &Replay,
) -> Result<ExitCode, Failure> {
    let alignment = arguments.align.unwrap_or(ALIGNMENT);
    let time_limit = arguments.time_limit.unwrap_or(Options::default().time_limit);
    let step = Step::of(replay, alignment, capacity, time_limit)?;
    let arena = step.arena(name.to_owned(), replay, allocator)?;
    if let Some(path) = arguments.output.as_deref().filter(|_| arena.fits()) {
        write(path, &arena, &replay.trace)?;
    }
    match arguments.run.format {
        Format::Text => output::print(&coloured(&report::text(&arena))),
        Format::Json => output::print_json(&report::json(&arena)),
    }?;
    Ok(ExitCode::from(if arena.fits() { FITS } else { DOES_NOT_FIT }))
}

/// A plan's last step, packed.
pub struct Step {
    places: Vec<report::Placed>,
    packing: Packing,
    /// Where those that stay end.
    base: u64,
    alignment: u64,
    capacity: Option<Bytes>,
}

impl Step {
    /// Packs the last step as the allocator would align it, for as long as a page may take.
    pub fn quickly(replay: &Replay) -> Result<Step, Failure> {
        Step::of(replay, ALIGNMENT, None, QUICKLY)
    }

    fn of(replay: &Replay, alignment: u64, capacity: Option<Bytes>, time_limit: Duration) -> Result<Step, Failure> {
        let (lives, _) = last_step(&replay.trace);
        let (stays, passes): (Vec<Lifetime>, Vec<Lifetime>) = lives.into_iter().partition(|life| life.stays);
        let (mut places, base) = laid_out(&replay.trace, &stays, alignment);
        let goal = capacity.map_or(Goal::Minimize, |capacity| Goal::Capacity(capacity.0.saturating_sub(base)));
        let options = Options { alignment, goal, time_limit, ..Options::default() };
        let buffers: Vec<Buffer> = passes.iter().map(|life| buffer(&replay.trace, life, alignment)).collect();
        let packing = pack(&buffers, &options).map_err(|error| Failure::new(error, None))?;
        let placed = |(life, offset): (&Lifetime, &u64)| report::Placed { life: *life, offset: Bytes(base + offset) };
        places.extend(passes.iter().zip(&packing.offsets).map(placed));
        Ok(Step { places, packing, base, alignment, capacity })
    }

    /// With what the caching allocator makes of the step.
    pub fn arena<'a>(
        &'a self,
        model: String,
        replay: &'a Replay,
        allocator: &str,
    ) -> Result<report::Arena<'a>, Failure> {
        let Step { places, packing, base, .. } = self;
        let (allocated, reserved) = figures(&replay.whole().phases, &replay.trace);
        Ok(report::Arena {
            model,
            replay,
            places,
            size: Bytes(base + packing.peak),
            stays: Bytes(*base),
            lower_bound: Bytes(base + packing.lower_bound),
            status: packing.status.name(),
            alignment: Bytes(self.alignment),
            capacity: self.capacity,
            allocated,
            reserved,
            expandable: expandable(&replay.trace, allocator)?,
        })
    }
}

/// In whole multiples of the alignment: what is left of the last one is of no use to others that begin at one.
fn buffer(trace: &Trace, life: &Lifetime, alignment: u64) -> Buffer {
    let size = trace.allocation(life.id).bytes.0.next_multiple_of(alignment);
    let (lower, upper) = (life.from as i64, life.until.max(life.from + 1) as i64);
    Buffer { id: life.id.index().to_string(), lower, upper, size, ..Buffer::default() }
}

/// Those that stay, one behind another, and where the last ends.
fn laid_out(trace: &Trace, stays: &[Lifetime], alignment: u64) -> (Vec<report::Placed>, u64) {
    let mut end = 0;
    let place = |life: &Lifetime| {
        let offset = end;
        end = (end + trace.allocation(life.id).bytes.0).next_multiple_of(alignment);
        report::Placed { life: *life, offset: Bytes(offset) }
    };
    (stays.iter().map(place).collect(), end)
}

/// The most that the caching allocator has allocated and reserved in the last step.
fn figures(phases: &[planner::allocate::PhaseFigures], trace: &Trace) -> (Bytes, Bytes) {
    phases
        .iter()
        .filter(|figures| trace.is_of_last_step(figures.phase))
        .fold((Bytes(0), Bytes(0)), |(allocated, reserved), figures| {
            (allocated.max(figures.peak_allocated), reserved.max(figures.peak_reserved))
        })
}

fn expandable(trace: &Trace, allocator: &str) -> Result<Bytes, Failure> {
    let given = if allocator.is_empty() { String::new() } else { format!("{allocator},") };
    let options: AllocatorOptions = format!("{given}expandable_segments:True").parse().map_err(PlanError::from)?;
    Ok(figures(&simulate(trace, &options, None).phases, trace).1)
}

/// The layout as a file: buffers with offsets in minimalloc's CSV, or JSON.
fn write(path: &Path, arena: &report::Arena<'_>, trace: &Trace) -> Result<(), Failure> {
    let text = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => output::json(&report::json(arena))?,
        Some("csv") => {
            let buffers: Vec<Buffer> =
                arena.places.iter().map(|place| buffer(trace, &place.life, arena.alignment.0)).collect();
            let offsets: Vec<u64> = arena.places.iter().map(|place| place.offset.0).collect();
            csv::write(&buffers, &offsets)
        }
        _ => {
            let hint = "name it .csv or .json".to_owned();
            return Err(Failure::new(format!("{}: no form of a layout", path.display()), Some(hint)));
        }
    };
    output::write_whole(path, |file| std::io::Write::write_all(file, text.as_bytes()))
}
