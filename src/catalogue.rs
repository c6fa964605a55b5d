//! `memplan gpus`, `memplan models` and `memplan versions`: what is known.

use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;
use planner::report::{catalogue, versions};

use crate::arguments::{Format, ListArguments, VersionsArguments};
use crate::failure::Failure;
use crate::output;
use crate::program::FITS;
use planner::model::opened::check_folder;

/// Lists the GPUs.
pub fn gpus(arguments: &ListArguments) -> Result<u8, Failure> {
    check_folder(arguments.specs.as_deref())?;
    let gpus = GpuCatalogue::load(arguments.specs.as_deref())?;
    match arguments.format {
        Format::Text => output::print(&catalogue::gpus_text(&gpus)),
        Format::Json => output::print_json(&catalogue::gpus(&gpus)),
    }?;
    Ok(FITS)
}

/// Lists the built-in models.
pub fn models(arguments: &ListArguments) -> Result<u8, Failure> {
    check_folder(arguments.specs.as_deref())?;
    let shelf = Shelf { folder: arguments.specs.clone() };
    let families = shelf.families().map_err(|error| Failure::new(error, None))?;
    match arguments.format {
        Format::Text => output::print(&catalogue::models_text(&families)),
        Format::Json => output::print_json(&catalogue::models(&families)),
    }?;
    Ok(FITS)
}

/// Lists the releases of PyTorch and transformers that are planned, and what changed in each.
pub fn versions(arguments: &VersionsArguments) -> Result<u8, Failure> {
    let broken = |error| Failure::new(error, None);
    match arguments.format {
        Format::Text => output::print(&versions::text().map_err(broken)?),
        Format::Json => output::print_json(&versions::report().map_err(broken)?),
    }?;
    Ok(FITS)
}
