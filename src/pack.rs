//! `memplan pack`: a model's buffers, or those of a CSV file, get offsets in one arena, or those that they have are checked.

mod model;

use std::path::Path;

use packing::{Buffer, Goal, Options, csv, pack};
use planner::bytes::Bytes;
use planner::files;
use planner::report::packed as report;
use rustc_hash::FxHashMap;

use crate::arguments::{Format, PackArguments};
use crate::failure::Failure;
use crate::output;
use crate::planning::coloured;
use crate::program::{DOES_NOT_FIT, FITS};

/// The longest file of buffers that is read, in bytes: some ten million buffers.
const LARGEST_CSV: u64 = 1 << 30;

/// Packs or checks, reports, and gives the verdict's exit code.
pub fn run(arguments: &PackArguments) -> Result<u8, Failure> {
    let Some(path) = arguments.run.model().map(Path::new).filter(|path| is_csv(path)) else {
        return model::run(arguments);
    };
    let capacity = arguments.run.options().capacity;
    if capacity.is_none() && !arguments.minimize && !arguments.validate {
        let hint = "give --minimize, --capacity BYTES, or --validate and the packing".to_owned();
        return Err(Failure::new("what is to be done with the buffers is not said", Some(hint)));
    }
    let buffers = read(path)?;
    let (good, report) = match &arguments.packed {
        Some(packed) => checked(arguments, buffers, packed)?,
        None => packed(arguments, path, capacity, &buffers)?,
    };
    output::print(&report)?;
    Ok(if good { FITS } else { DOES_NOT_FIT })
}

fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

fn read(path: &Path) -> Result<Vec<Buffer>, Failure> {
    let text = files::bytes(path, LARGEST_CSV).map_err(|error| about(path, error))?;
    csv::read(&text).map_err(|error| about(path, error))
}

fn about(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()), None)
}

/// Packs the buffers; whether they fit, and the report.
fn packed(
    arguments: &PackArguments,
    path: &Path,
    capacity: Option<Bytes>,
    buffers: &[Buffer],
) -> Result<(bool, String), Failure> {
    let mut options = Options { alignment: arguments.align.unwrap_or(1), ..Options::default() };
    if let Some(Bytes(capacity)) = capacity {
        options.goal = Goal::Capacity(capacity);
    }
    if let Some(time_limit) = arguments.time_limit {
        options.time_limit = time_limit;
    }
    let packing = pack(buffers, &options).map_err(|error| about(path, error))?;
    let result = report::Packed { buffers, capacity, packing: &packing };
    if let Some(path) = arguments.output.as_deref().filter(|_| result.fits()) {
        output::write_whole(path, |file| file.write_all(csv::write(buffers, &packing.offsets).as_bytes()))?;
    }
    let report = match arguments.run.format {
        Format::Text => coloured(&result.text()),
        Format::Json => output::json(&result.json())?,
    };
    Ok((result.fits(), report))
}

/// Checks the packing of a file; whether it is valid, and the report.
fn checked(arguments: &PackArguments, mut buffers: Vec<Buffer>, path: &Path) -> Result<(bool, String), Failure> {
    for buffer in &mut buffers {
        buffer.alignment = buffer.alignment.or(arguments.align);
    }
    let outcome = offsets(&buffers, &read(path)?).and_then(|offsets| {
        packing::validate(&buffers, &offsets).map_err(|fault| fault.to_string())?;
        let ends = buffers.iter().zip(&offsets).map(|(buffer, offset)| offset.saturating_add(buffer.size));
        Ok(ends.max().unwrap_or(0))
    });
    let report = match arguments.run.format {
        Format::Json => output::json(&report::validation(buffers.len(), &outcome))?,
        Format::Text => coloured(&match &outcome {
            Ok(peak) => format!("valid: {} buffers, peak {peak} bytes ({})\n", buffers.len(), Bytes(*peak)),
            Err(fault) => format!("not valid: {fault}\n"),
        }),
    };
    Ok((outcome.is_ok(), report))
}

/// The offset that `packed` gives each buffer, or why it is no packing of these buffers.
fn offsets(buffers: &[Buffer], packed: &[Buffer]) -> Result<Vec<u64>, String> {
    let mut places: FxHashMap<&str, &Buffer> = packed.iter().map(|place| (place.id.as_str(), place)).collect();
    let mut offsets = Vec::with_capacity(buffers.len());
    for buffer in buffers {
        let id = buffer.id.escape_debug();
        let place = places.remove(buffer.id.as_str()).ok_or_else(|| format!("buffer `{id}` is not in the packing"))?;
        if (place.lower, place.upper, place.size) != (buffer.lower, buffer.upper, buffer.size) {
            return Err(format!("buffer `{id}` has another size or lifetime in the packing"));
        }
        offsets.push(place.offset.ok_or_else(|| format!("buffer `{id}` has no offset"))?);
    }
    // The first of the file, since the order of a map is nobody's.
    match packed.iter().find(|place| places.contains_key(place.id.as_str())) {
        Some(place) => Err(format!("buffer `{}` is only in the packing", place.id.escape_debug())),
        None => Ok(offsets),
    }
}
