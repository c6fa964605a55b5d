//! `memplan pack MODEL`: the last step of a plan, or of a trace from a file, in one arena.

use std::path::Path;
use std::process::ExitCode;

use packing::csv;
use planner::arena::{Arena, ArenaOptions};
use planner::bytes::Bytes;
use planner::plan::plan;
use planner::replay::Replay;
use planner::report::arena as report;
use planner::run::{Run, RunOptions};
use planner::trace::file::is_trace;

use crate::arguments::{Format, PackArguments};
use crate::failure::Failure;
use crate::plan::{coloured, opened, run_options};
use crate::replay;
use crate::{DOES_NOT_FIT, FITS, output};

/// Plans, packs the last step, reports.
pub fn run(arguments: &PackArguments) -> Result<ExitCode, Failure> {
    let wished = run_options(&arguments.run)?;
    if let Some(trace) = wished.model.as_deref().filter(|name| is_trace(name)) {
        let unlimited = RunOptions { capacity: None, ..wished.clone() };
        let (head, replay) = replay::of(trace, &unlimited)?;
        return packed(arguments, wished.capacity, &head.id, &replay);
    }
    let (model, run, gpu) = opened(wished)?;
    let capacity = run.capacity;
    let plan = plan(&model, &Run { capacity: None, ..run }, &gpu)?;
    packed(arguments, capacity, &format!("{}: {}", model.name, plan.architecture), &plan)
}

fn packed(
    arguments: &PackArguments,
    capacity: Option<Bytes>,
    name: &str,
    replay: &Replay,
) -> Result<ExitCode, Failure> {
    let default = ArenaOptions::default();
    let options = ArenaOptions {
        alignment: arguments.align.map_or(default.alignment, Bytes),
        capacity,
        time_limit: arguments.time_limit.unwrap_or(default.time_limit),
    };
    let arena = Arena::of(replay, &options).map_err(|error| Failure::new(error, None))?;
    if let Some(path) = arguments.output.as_deref().filter(|_| arena.fits()) {
        write(path, &arena)?;
    }
    match arguments.run.format {
        Format::Text => output::print(&coloured(&report::text(name, &arena))),
        Format::Json => output::print_json(&report::json(&arena)),
    }?;
    Ok(ExitCode::from(if arena.fits() { FITS } else { DOES_NOT_FIT }))
}

/// The layout as a file: buffers with offsets in minimalloc's CSV, or JSON.
fn write(path: &Path, arena: &Arena<'_>) -> Result<(), Failure> {
    let text = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => output::json(&report::json(arena))?,
        Some("csv") => {
            let (buffers, offsets) = arena.layout();
            csv::write(&buffers, &offsets)
        }
        _ => {
            let hint = "name it .csv or .json".to_owned();
            return Err(Failure::new(format!("{}: no form of a layout", path.display()), Some(hint)));
        }
    };
    output::write_whole(path, |file| file.write_all(text.as_bytes()))
}
