//! The timeline in a few lines of a terminal: what is allocated over the events, in blocks.

use crate::allocate::Height;
use crate::bytes::Bytes;
use crate::replay::{HEIGHTS, Replay};
use crate::trace::Trace;

/// The columns of the picture: with the figures beside it a line has 80.
const COLUMNS: usize = HEIGHTS;
/// Its lines.
const LINES: u64 = 3;
/// A column's parts in a line, from nothing to all of it.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The timeline, with its scale and where steps begin.
pub(super) fn timeline(replay: &Replay) -> String {
    let (events, peak) = (replay.trace.event_count(), replay.whole().peak_allocated);
    if events < COLUMNS || peak.0 == 0 {
        return String::new();
    }
    let columns = columns(&replay.whole().heights, events, peak);
    let mut text = "allocated over the events of the run\n".to_owned();
    for line in (0..LINES).rev() {
        let figure = match line {
            0 => Bytes(0).to_string(),
            _ if line == LINES - 1 => peak.to_string(),
            _ => String::new(),
        };
        let blocks = columns.iter().map(|height| BLOCKS[height.saturating_sub(8 * line).min(8) as usize]);
        let blocks: String = blocks.collect();
        text.push_str(format!("{figure:>10} |{blocks}").trim_end());
        text.push('\n');
    }
    text.push_str(format!("{:>10}  {}", "", steps(&replay.trace, events)).trim_end());
    text.push('\n');
    text
}

/// The heights of the columns in eighths of a line; what is there at all shows.
fn columns(heights: &[Height], events: usize, peak: Bytes) -> Vec<u64> {
    let all = u128::from(8 * LINES);
    let height = |bytes: u64| (u128::from(bytes) * all).div_ceil(u128::from(peak.0)) as u64;
    let step = events as f64 / COLUMNS as f64;
    let column = |number: usize| {
        let (from, to) = (step * number as f64, step * (number + 1) as f64);
        let within = heights.iter().filter(|height| (height.event as f64) >= from && (height.event as f64) < to);
        let highest = within.map(|height| height.allocated.0).max();
        let there = || heights.iter().find(|height| height.to > from as usize).map(|height| height.allocated.0);
        height(highest.or_else(there).unwrap_or(0))
    };
    (0..COLUMNS).map(column).collect()
}

/// Where steps begin: `|step 0`, or `|` where there is no room.
fn steps(trace: &Trace, events: usize) -> String {
    let mut starts: Vec<(usize, u64)> = Vec::new();
    let mut start = 0;
    for (number, phase) in trace.phase_ends(0) {
        let Some(phase) = trace.phases.get(phase as usize) else { continue };
        if starts.last().is_none_or(|(_, step)| *step != phase.step) {
            starts.push((start * COLUMNS / events.max(1), phase.step));
        }
        start = number + 1;
    }
    let mut line = vec![' '; COLUMNS];
    for (place, (column, step)) in starts.iter().enumerate() {
        let end = starts.get(place + 1).map_or(COLUMNS, |(next, _)| *next);
        let label = format!("|step {step}");
        let label = if label.len() <= end.saturating_sub(*column) { label } else { "|".to_owned() };
        line.iter_mut().skip(*column).zip(label.chars()).for_each(|(cell, character)| *cell = character);
    }
    line.into_iter().collect()
}
