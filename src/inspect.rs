//! `memplan inspect`: what a checkpoint holds.

use std::path::{Path, PathBuf};

use planner::model::named::{self, HubId};
use planner::read::checkpoint;
use planner::read::inspect::{inspect, report, text};
use planner::read::spec::Shelf;

use crate::arguments::{Format, InspectArguments};
use crate::failure::Failure;
use crate::program::FITS;
use crate::{hub, output};

/// The most lines of the text.
const LINES: usize = 60;

/// Where the checkpoint lies: a path, or a model of the hub by its id.
fn checkpoint(path: &Path) -> Result<PathBuf, Failure> {
    let Some(word) = path.to_str().filter(|_| !path.exists()) else { return Ok(path.to_owned()) };
    hub::fetch_named(word, &Shelf::default())?;
    if let Some(folder) = HubId::of(word).as_ref().and_then(named::cached) {
        return Ok(folder);
    }
    match named::built_in(word, &Shelf::default()) {
        Ok(Some(found)) => {
            let hint = format!("`memplan plan {}` has its parameters, `memplan graph {0}` its modules", found.name);
            Err(Failure::new(format!("{word} is built in, without a checkpoint"), Some(hint)))
        }
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
