//! `memplan inspect`: what a checkpoint holds.

use std::path::{Path, PathBuf};

use planner::model::named::{self, HubId};
use planner::read::checkpoint;
use planner::read::inspect::{inspect, text};
use planner::read::spec::Shelf;
use planner::report::inspect::report;

use crate::arguments::{Format, InspectArguments};
use crate::failure::Failure;
use crate::program::FITS;
use crate::{hub, output};

/// The most lines of the text.
const LINES: usize = 60;

/// Where the checkpoint lies: a path, or a model of the hub by its id.
fn checkpoint(path: &Path) -> Result<PathBuf, Failure> {
    let Some(word) = path.to_str().filter(|_| !path.exists()) else { return Ok(path.to_owned()) };
    let id = HubId::of(word);
    if let Some(folder) = id.as_ref().and_then(named::cached) {
        return Ok(folder);
    }
    if let Ok(Some(found)) = named::built_in(word, &Shelf::default()) {
        let hint = format!("`memplan plan {}` has its parameters, `memplan graph {0}` its modules", found.name);
        return Err(Failure::new(format!("{word} is built in, without a checkpoint"), Some(hint)));
    }
    match id {
        Some(id) if hub::fetch(&id)? => Ok(named::cached(&id).unwrap_or_else(|| path.to_owned())),
        _ => Ok(path.to_owned()),
    }
}

/// Reads the headers and shows what they list.
pub fn run(arguments: &InspectArguments) -> Result<u8, Failure> {
    let inspection = inspect(&checkpoint::read(&checkpoint(&arguments.path)?)?);
    match arguments.format {
        Format::Text => output::print(&text(&inspection, LINES)),
        Format::Json => output::print_json(&report(&inspection)),
    }?;
    Ok(FITS)
}
