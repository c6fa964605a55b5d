//! `memplan inspect`: what a checkpoint holds.

use planner::read::checkpoint;
use planner::read::inspect::{inspect, report, text};

use crate::arguments::{Format, InspectArguments};
use crate::failure::Failure;
use crate::output;
use crate::program::FITS;

/// The most lines of the text.
const LINES: usize = 60;

/// Reads the headers and shows what they list.
pub fn run(arguments: &InspectArguments) -> Result<u8, Failure> {
    let inspection = inspect(&checkpoint::read(&arguments.path)?);
    match arguments.format {
        Format::Text => output::print(&text(&inspection, LINES)),
        Format::Json => output::print_json(&report(&inspection)),
    }?;
    Ok(FITS)
}
