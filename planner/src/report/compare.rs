//! The table of levers: what each saves against the run as given.

use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, table};
use crate::plan::compare::Compared;

/// The comparison for people: a line a lever, then what all of them are.
pub fn text(rows: &[Compared]) -> String {
    let header = ["", "peak allocated", "peak reserved", "saves", ""].map(str::to_owned);
    let given = rows.first().map_or(0, |row| row.peak_reserved.0);
    let line = |row: &Compared| {
        let name = match row.flags.split_once(": ") {
            Some((all, _)) => all.to_owned(),
            None if row.flags.is_empty() => "as given".to_owned(),
            None => row.flags.clone(),
        };
        let saved = given as f64 - row.peak_reserved.0 as f64;
        // A share that rounds to nothing has no sign.
        let percent = (1000.0 * saved / given as f64).round() / 10.0 + 0.0;
        let share = if row.flags.is_empty() { String::new() } else { format!("{percent:.1} %") };
        let verdict = if row.fits { "fits" } else { "does not fit" };
        [name, row.peak_allocated.to_string(), row.peak_reserved.to_string(), share, verdict.to_owned()]
    };
    let lines: Vec<[String; 5]> = std::iter::once(header).chain(rows.iter().map(line)).collect();
    let mut text = table([Align::Left, Align::Right, Align::Right, Align::Right, Align::Left], &lines);
    if let Some((_, all)) = rows.last().and_then(|row| row.flags.split_once(": ")) {
        text.push_str(&format!("\nall: {all}\n"));
    }
    text
}

/// `memplan plan --compare --format json`: the run as given, then each lever.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct CompareReport {
    pub schema: u32,
    pub rows: Vec<Row>,
}

/// A row in JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Row {
    /// The flags; empty for the run as given.
    pub flags: String,
    /// Bytes.
    pub peak_allocated: u64,
    /// Bytes.
    pub peak_reserved: u64,
    /// Whether it fits.
    pub fits: bool,
}

/// The comparison for programs.
pub fn json(rows: &[Compared]) -> CompareReport {
    let row = |row: &Compared| Row {
        flags: row.flags.clone(),
        peak_allocated: row.peak_allocated.0,
        peak_reserved: row.peak_reserved.0,
        fits: row.fits,
    };
    CompareReport { schema: SCHEMA, rows: rows.iter().map(row).collect() }
}
