//! `memplan calibrate --replay`: a plan on the device, and the largest batch that fits with the next.

use std::path::Path;

use calibrate::{Device, Element, Gpu, Replay};
use planner::allocate::{AllocatorOptions, simulate};
use planner::bytes::Bytes;
use planner::fit::{Axis, fit};
use planner::plan::{PlanError, plan};

use planner::read::gpus::Gpu as Described;
use planner::report::calibrate as report;
use planner::run::Run;
use planner::trace::Trace;
use planner::trace::file::{self, is_trace};

use crate::arguments::{CalibrateArguments, Format};
use crate::failure::Failure;
use crate::output;
use crate::planning::{open_other, run_options};
use crate::program::{DOES_NOT_FIT, FITS};

/// Where cudaMalloc's pages were not measured (planner/src/allocate/rounding.rs, `DRIVER_PAGE`).
const PAGE: Bytes = Bytes(2 << 20);

/// Replays what is named: an event file, or a model with the flags of a plan.
pub fn run(gpu: &mut Gpu, what: &str, arguments: &CalibrateArguments) -> Result<u8, Failure> {
    let (given, limits) = if is_trace(what) {
        let recorded = file::read(Path::new(what))?;
        let allocator = run_options(&arguments.run)?.allocator.unwrap_or_default();
        prepare(gpu)?;
        let free = Bytes(gpu.free()?);
        (replayed(gpu, &recorded.trace, &options(&allocator)?, free, PAGE)?, Vec::new())
    } else {
        modelled(gpu, what, arguments)?
    };
    match arguments.run.format {
        Format::Text => output::print(&report::replay(&given, &limits)),
        Format::Json => output::print_json(&report::replay_json(&given, &limits)),
    }?;
    Ok(if report::holds(&given, &limits) { FITS } else { DOES_NOT_FIT })
}

type Limits = Vec<(u64, report::Replayed)>;

fn modelled(gpu: &mut Gpu, name: &str, arguments: &CalibrateArguments) -> Result<(report::Replayed, Limits), Failure> {
    let (model, run, described) = open_other(&arguments.run, Some(name), &gpu.facts()?.name)?;
    prepare(gpu)?;
    let free = Bytes(gpu.free()?);
    let run = Run { capacity: Some(run.capacity.map_or(free, |capacity| capacity.min(free))), ..run };
    let options = options(&run.allocator)?;
    let page = page(&described);
    let given = plan(&model, &run, &described)?;
    let given = replayed(gpu, &given.trace, &options, given.capacity, page)?;
    let rows = fit(&model, &run, std::slice::from_ref(&described), &|_| {})?;
    let found = rows.iter().filter_map(|row| row.found.as_ref().ok()).flat_map(|found| &found.limits);
    let largest = found.filter(|limit| limit.axis == Axis::Batch).find_map(|limit| Some(limit.largest.as_ref()?.0));
    let mut limits = Limits::new();
    for batch in largest.into_iter().flat_map(|batch| [batch, batch + 1]) {
        let planned = plan(&model, &Run { batch, ..run.clone() }, &described)?;
        limits.push((batch, replayed(gpu, &planned.trace, &options, planned.capacity, page)?));
    }
    Ok((given, limits))
}

/// What a replay loads takes memory too: before that which is free is asked for.
fn prepare(gpu: &mut Gpu) -> Result<(), Failure> {
    gpu.load_kernels()?;
    gpu.load_blas()?;
    Ok(())
}

fn options(allocator: &str) -> Result<AllocatorOptions, Failure> {
    Ok(allocator.parse().map_err(PlanError::from)?)
}

fn page(described: &Described) -> Bytes {
    let memory = described.profile.as_ref().and_then(|profile| profile.memory.as_ref());
    memory.map_or(PAGE, |memory| memory.granularity)
}

fn replayed(
    gpu: &mut Gpu,
    trace: &Trace,
    options: &AllocatorOptions,
    capacity: Bytes,
    page: Bytes,
) -> Result<report::Replayed, Failure> {
    let fits = simulate(trace, options, Some(capacity)).out_of_memory.is_none();
    let replay = Replay { options, capacity, page, element: Element::Fp32 };
    let bar = output::progress(trace.event_count());
    let done = replay.run(trace, gpu, &|event| bar.set_position(event as u64));
    bar.finish_and_clear();
    let done = done?;
    Ok(report::Replayed {
        fits,
        steps: done.steps,
        out_of_memory: done.out_of_memory,
        touched: Bytes(done.touched),
        products: done.products,
    })
}
