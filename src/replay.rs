//! `memplan replay` and `memplan why`: a trace from a file, or a plan's, through the allocator.

use std::path::Path;
use std::process::ExitCode;

use planner::allocate::{Addresses, AllocatorOptions, Ties};
use planner::plan::{PlanError, capacity, plan};
use planner::replay::{Replay, UNLIMITED};
use planner::report::{replay as json, text, why};
use planner::run::{Run, RunOptions};
use planner::trace::file::{self, Head};
use planner::versions::{Release, Rules, Versions};

use crate::arguments::{Format, ReplayArguments, WhyArguments};
use crate::failure::Failure;
use crate::plan::{coloured, gpu, opened, run_options};
use crate::{DOES_NOT_FIT, FITS, output};

/// Whether something named is a trace's file, by how its name ends.
pub fn is_trace(name: &str) -> bool {
    [".json", ".trace"].iter().any(|end| name.ends_with(end))
}

/// Replays a trace, and reports.
pub fn run(arguments: &ReplayArguments) -> Result<ExitCode, Failure> {
    let options = RunOptions {
        gpu: arguments.gpu.clone(),
        capacity: arguments.capacity,
        allocator: arguments.allocator.clone(),
        torch: arguments.torch,
        ..RunOptions::default()
    };
    let (head, replay) = of(&arguments.trace, &options)?;
    match arguments.format {
        Format::Text => output::print(&coloured(&text::replayed(&head, &replay))),
        Format::Json => output::print_json(&json::report(&head, &replay)),
    }?;
    Ok(ExitCode::from(if replay.fits() { FITS } else { DOES_NOT_FIT }))
}

/// A trace from a file, through an allocator with other options, on another GPU, of another release or with another capacity
/// where those are wished for. The head says what was replayed.
pub fn of(path: &str, wished: &RunOptions) -> Result<(Head, Replay), Failure> {
    let file::Recorded { mut head, trace } = file::read(Path::new(path))?;
    if let Some(allocator) = &wished.allocator {
        head.allocator.clone_from(allocator);
    }
    let options: AllocatorOptions = head.allocator.parse().map_err(PlanError::from)?;
    let mut room = wished.capacity.or(head.capacity).unwrap_or(UNLIMITED);
    if wished.gpu.is_some() {
        let gpu = gpu(wished)?;
        room = capacity(&Run { capacity: wished.capacity, ..Run::default() }, &gpu)?;
        if head.device != gpu.name {
            // no trace says what other kernels would take
            head.device = format!("{}, with the kernels of {}", gpu.name, head.device);
        }
    }
    let recorded: Option<Release> = head.torch.parse().ok();
    let torch = wished.torch.or(recorded).unwrap_or(Versions::default().torch);
    let versions = Versions { torch, ..Versions::default() };
    head.torch = versions.torch.to_string();
    let options = options.with_ties(Ties::of(Rules::of(versions), Addresses::Unknown));
    Ok((head, Replay::of(trace, options, room)))
}

/// Says who made a tensor, who held it and what let go of it.
pub fn why(arguments: &WhyArguments) -> Result<ExitCode, Failure> {
    let wished = run_options(&arguments.run)?;
    let told = match wished.model.as_deref().filter(|name| is_trace(name)) {
        Some(trace) => why::text(&of(trace, &wished)?.1, &arguments.tensor),
        None => {
            let (model, run, gpu) = opened(wished)?;
            why::text(&plan(&model, &run, &gpu)?.replay, &arguments.tensor)
        }
    };
    let text = told.map_err(|error| Failure::new(error, None))?;
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
