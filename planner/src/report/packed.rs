//! Buffers of a file that were packed, or whose packing was checked: for programs.

use packing::{Buffer, Packing};
use serde::Serialize;

use super::SCHEMA;
use crate::bytes::Bytes;

/// `memplan pack BUFFERS.csv --format json`: a packing; sizes are bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct PackedReport<'a> {
    schema: u32,
    status: &'static str,
    fits: bool,
    buffers: usize,
    capacity: Option<Bytes>,
    lower_bound: u64,
    proved_bound: u64,
    peak: u64,
    gap: u64,
    /// Only where the buffers fit.
    layout: Option<Vec<Place<'a>>>,
}

/// A buffer in its place.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
struct Place<'a> {
    id: &'a str,
    lower: i64,
    upper: i64,
    size: u64,
    offset: u64,
}

/// `memplan pack --validate BUFFERS.csv PACKED.csv --format json`: whether a packing is one of these buffers.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct ValidationReport<'a> {
    schema: u32,
    valid: bool,
    fault: Option<&'a str>,
    buffers: usize,
    /// Bytes, of a packing that is valid.
    peak: Option<u64>,
}

/// A packing in the form that is written out.
pub fn json<'a>(buffers: &'a [Buffer], capacity: Option<Bytes>, packing: &Packing) -> PackedReport<'a> {
    let fits = capacity.is_none_or(|capacity| packing.peak <= capacity.0);
    let place = |(Buffer { id, lower, upper, size, .. }, &offset): (&'a Buffer, &u64)| Place {
        id,
        lower: *lower,
        upper: *upper,
        size: *size,
        offset,
    };
    PackedReport {
        schema: SCHEMA,
        status: packing.status.name(),
        fits,
        buffers: buffers.len(),
        capacity,
        lower_bound: packing.lower_bound,
        proved_bound: packing.proved,
        peak: packing.peak,
        gap: packing.peak.saturating_sub(packing.lower_bound),
        layout: fits.then(|| buffers.iter().zip(&packing.offsets).map(place).collect()),
    }
}

/// A check of so many buffers, which gave the packing's peak or what is wrong.
pub fn validation(buffers: usize, outcome: &Result<u64, String>) -> ValidationReport<'_> {
    let fault = outcome.as_ref().err().map(String::as_str);
    ValidationReport { schema: SCHEMA, valid: fault.is_none(), fault, buffers, peak: outcome.as_ref().ok().copied() }
}
