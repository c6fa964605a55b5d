//! Combinations, a row each: as a table for people, with commas or as JSON for programs.

use indexmap::IndexSet;
use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, below, table};
use crate::bytes::Bytes;
use crate::fit::Axis;
use crate::model::Model;
use crate::read::gpus::Gpu;
use crate::run::Precision;
use crate::sweep::{Combination, Row};

use Align::{Left, Right};

/// Rows with what they are of.
#[derive(Clone, Copy, Debug)]
pub struct Swept<'a> {
    /// The model.
    pub model: &'a Model,
    /// The combinations.
    pub runs: &'a [Combination],
    /// The GPUs.
    pub gpus: &'a [Gpu],
    /// The rows.
    pub rows: &'a [Row],
}

/// `memplan sweep --format json`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct SweepReport {
    pub schema: u32,
    pub model: String,
    pub rows: Vec<SweepRow>,
}

/// A combination on a GPU. Sizes of memory are bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct SweepRow {
    pub gpu: String,
    /// Null where the run is refused and gives none.
    pub precision: Option<Precision>,
    pub checkpoint: String,
    /// Where they are chosen: none, the modules, or full where no choice fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<u64>,
    pub batch: u64,
    pub fits: bool,
    /// Without a limit where it does not fit; null where the run is refused.
    pub peak_allocated: Option<Bytes>,
    pub peak_reserved: Option<Bytes>,
    /// The bytes that the allocator may take from the GPU.
    pub capacity: Bytes,
    /// What is left of it; null where it does not fit.
    pub headroom: Option<Bytes>,
    pub refused: Option<String>,
}

/// The rows for programs.
pub fn json(swept: &Swept<'_>) -> SweepReport {
    let rows = swept.rows.iter().map(|row| line(swept, row)).collect();
    SweepReport { schema: SCHEMA, model: swept.model.name.clone(), rows }
}

fn line(swept: &Swept<'_>, row: &Row) -> SweepRow {
    let Combination { run, chosen } = &swept.runs[row.run];
    let (planned, peaks) = row.found.as_ref().ok().copied().unzip();
    let images = swept.model.takes_images();
    SweepRow {
        gpu: swept.gpus[row.gpu].key.clone(),
        precision: planned.or(run.precision),
        checkpoint: if *chosen { "auto".to_owned() } else { run.checkpoint.to_string() },
        chosen: row.chosen.as_ref().map(|chosen| chosen.to_string()),
        seq: (!images).then_some(run.seq),
        image: images.then(|| Axis::Image.size(swept.model, run)),
        batch: run.batch,
        fits: row.fits(),
        peak_allocated: peaks.map(|peaks| peaks.allocated),
        peak_reserved: peaks.map(|peaks| peaks.reserved),
        capacity: row.capacity,
        headroom: peaks.and_then(|peaks| peaks.headroom(row.capacity)),
        refused: row.found.as_ref().err().cloned(),
    }
}

/// The rows with commas between their cells, sizes of memory in bytes.
pub fn csv(swept: &Swept<'_>) -> String {
    let size = Axis::of(swept.model)[1];
    let mut text =
        format!("gpu,precision,checkpoint,{size},batch,fits,peak_allocated,peak_reserved,capacity,headroom,refused\n");
    for row in swept.rows {
        let row = line(swept, row);
        let number = |bytes: Option<Bytes>| bytes.map_or_else(String::new, |bytes| bytes.0.to_string());
        let cells = [
            quoted(&row.gpu),
            row.precision.map_or_else(String::new, |precision| precision.to_string()),
            quoted(&row.checkpoint),
            row.seq.or(row.image).map_or_else(String::new, |size| size.to_string()),
            row.batch.to_string(),
            row.fits.to_string(),
            number(row.peak_allocated),
            number(row.peak_reserved),
            row.capacity.0.to_string(),
            number(row.headroom),
            quoted(row.refused.as_deref().unwrap_or_default()),
        ];
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// A cell as RFC 4180 has it.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// The rows for people.
pub fn text(swept: &Swept<'_>) -> String {
    let size = Axis::of(swept.model)[1];
    let header = ["gpu", "precision", "checkpoint", size.word(), "batch", "allocated", "reserved", ""];
    let mut lines = vec![header.map(str::to_owned)];
    let mut reasons = IndexSet::new();
    lines.extend(swept.rows.iter().map(|row| {
        let row = line(swept, row);
        let peak = |bytes: Option<Bytes>| bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        let verdict = match (row.refused, row.fits) {
            (Some(reason), _) => format!("refused ({})", reasons.insert_full(reason).0 + 1),
            (None, true) => "fits".to_owned(),
            (None, false) => "does not fit".to_owned(),
        };
        [
            row.gpu,
            row.precision.map_or_else(|| "-".to_owned(), |precision| precision.to_string()),
            row.checkpoint,
            row.seq.or(row.image).map_or_else(String::new, |size| size.to_string()),
            row.batch.to_string(),
            peak(row.peak_allocated),
            peak(row.peak_reserved),
            verdict,
        ]
    }));
    let remarks = reasons.iter().enumerate().map(|(number, reason)| format!("({}) {reason}", number + 1));
    table([Left, Left, Left, Right, Right, Right, Right, Left], &lines) + &below(remarks)
}
