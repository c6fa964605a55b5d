//! Buffers of a file that were packed, or whose packing was checked.

use packing::{Buffer, Packing, Status};
use serde::Serialize;

use super::SCHEMA;
use crate::bytes::Bytes;

/// `memplan pack BUFFERS.csv --format json`: a packing; sizes are bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct PackedReport<'a> {
    schema: u32,
    #[cfg_attr(feature = "schemas", schemars(extend("enum" = Status::ALL.map(Status::name))))]
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

/// A packing with what was asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// What was packed.
    pub buffers: &'a [Buffer],
    /// What it was to fit in.
    pub capacity: Option<Bytes>,
    /// Where everything lies.
    pub packing: &'a Packing,
}

impl<'a> Packed<'a> {
    /// Whether it fits where it was to fit.
    pub fn fits(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.packing.peak <= capacity.0)
    }

    fn gap(&self) -> u64 {
        self.packing.peak.saturating_sub(self.packing.lower_bound)
    }

    fn verdict(&self) -> String {
        let Packing { peak, proved, status, .. } = *self.packing;
        match (self.capacity, status) {
            (None, _) => format!("packed: {}", Bytes(peak)),
            (Some(capacity), _) if self.fits() => format!("fits: {} of {capacity}", Bytes(peak)),
            (Some(_), Status::Infeasible) => format!("does not fit: every packing takes at least {proved} bytes"),
            (Some(_), _) => format!("does not fit: the smallest packing that was found takes {peak} bytes"),
        }
    }

    /// The packing for people.
    pub fn text(&self) -> String {
        let packing = self.packing;
        let mut rows = vec![("lower bound", packing.lower_bound, Bytes(packing.lower_bound).to_string())];
        if packing.proved > packing.lower_bound {
            rows.push(("proved bound", packing.proved, Bytes(packing.proved).to_string()));
        }
        rows.push(("peak", packing.peak, Bytes(packing.peak).to_string()));
        rows.push(("gap", self.gap(), format!("{:.2} %", percent(self.gap(), packing.lower_bound))));
        if let Some(capacity) = self.capacity {
            rows.insert(0, ("capacity", capacity.0, capacity.to_string()));
        }
        let width = rows.iter().map(|row| row.1.to_string().len()).max().unwrap_or(0);
        let mut text = format!("{}\n\n{:<12}  {}\n", self.verdict(), "buffers", self.buffers.len());
        for (name, bytes, people) in rows {
            text.push_str(&format!("{name:<12}  {bytes:>width$}  {people}\n"));
        }
        text.push_str(&format!("{:<12}  {}\n", "status", packing.status));
        text
    }

    /// The packing for programs.
    pub fn json(&self) -> PackedReport<'a> {
        let place = |(Buffer { id, lower, upper, size, .. }, &offset): (&'a Buffer, &u64)| Place {
            id,
            lower: *lower,
            upper: *upper,
            size: *size,
            offset,
        };
        PackedReport {
            schema: SCHEMA,
            status: self.packing.status.name(),
            fits: self.fits(),
            buffers: self.buffers.len(),
            capacity: self.capacity,
            lower_bound: self.packing.lower_bound,
            proved_bound: self.packing.proved,
            peak: self.packing.peak,
            gap: self.gap(),
            layout: self.fits().then(|| self.buffers.iter().zip(&self.packing.offsets).map(place).collect()),
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// A check of so many buffers, which gave the packing's peak or what is wrong.
pub fn validation(buffers: usize, outcome: &Result<u64, String>) -> ValidationReport<'_> {
    let fault = outcome.as_ref().err().map(String::as_str);
    ValidationReport { schema: SCHEMA, valid: fault.is_none(), fault, buffers, peak: outcome.as_ref().ok().copied() }
}
