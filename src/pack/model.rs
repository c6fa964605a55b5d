//! `memplan pack MODEL`: the last step of a plan, or of a trace from a file, in one arena.

use std::path::Path;

use packing::csv;
use planner::arena::{Arena, ArenaOptions};
use planner::bytes::Bytes;
use planner::plan::plan;
use planner::replay::Replay;
use planner::report::arena as report;
use planner::run::{Run, RunOptions};
use planner::trace::file::is_trace;

use crate::arguments::PackArguments;
use crate::failure::Failure;
use crate::output;
use crate::planning::{coloured, opened, run_options};
use crate::program::{DOES_NOT_FIT, FITS};
use crate::replay;

/// Plans, packs the last step, reports.
pub fn run(arguments: &PackArguments) -> Result<u8, Failure> {
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

fn packed(arguments: &PackArguments, capacity: Option<Bytes>, name: &str, replay: &Replay) -> Result<u8, Failure> {
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
    output::report(arguments.run.format, || coloured(&report::text(name, &arena)), || report::json(&arena))?;
    Ok(if arena.fits() { FITS } else { DOES_NOT_FIT })
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
