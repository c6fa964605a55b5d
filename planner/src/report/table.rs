//! Columns of text: cells to the left or to the right of their column, two spaces between.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How wide text is, where names allow it.
static WIDTH: AtomicUsize = AtomicUsize::new(80);

/// The least that text is laid out for.
const NARROWEST: usize = 40;

/// Lays out all texts from here on for so many columns, instead of 80: what a terminal has.
pub fn lay_out_for(columns: usize) {
    WIDTH.store(columns.max(NARROWEST), Ordering::Relaxed);
}

fn width() -> usize {
    WIDTH.load(Ordering::Relaxed)
}

/// Where a column's cells stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// The fewest columns that cells are broken to.
const LEAST: usize = 24;

/// Lays out rows of as many cells as there are columns; each line ends with a line break and no spaces.
pub(super) fn table<const N: usize>(columns: [Align; N], rows: &[[String; N]]) -> String {
    laid_out(columns, rows, N, usize::MAX)
}

/// The same of a list that is read from the top: words of the last column go on below it where a line would be too long.
pub(super) fn list<const N: usize>(columns: [Align; N], rows: &[[String; N]]) -> String {
    broken_at(N - 1, columns, rows)
}

/// The same where words of another column go on below it.
pub(super) fn broken_at<const N: usize>(column: usize, columns: [Align; N], rows: &[[String; N]]) -> String {
    laid_out(columns, rows, column, width())
}

fn laid_out<const N: usize>(columns: [Align; N], rows: &[[String; N]], flows: usize, most: usize) -> String {
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..N).map(widest).collect();
    let others: usize = (0..N).filter(|column| *column != flows).map(|column| widths[column] + 2).sum();
    let room = most.saturating_sub(others).max(LEAST);
    let before: usize = widths.iter().take(flows).map(|width| width + 2).sum();
    let parts = |row: &[String; N]| row.get(flows).map_or_else(Vec::new, |words| broken(words, room));
    if let Some(width) = widths.get_mut(flows) {
        let lines = rows.iter().flat_map(parts).map(|line| line.chars().count());
        *width = lines.max().unwrap_or(0);
    }
    let mut text = String::new();
    for row in rows {
        let (mut row, mut parts) = (row.clone(), parts(row).into_iter());
        if let Some(first) = parts.next() {
            row[flows] = first;
        }
        let cells = row.iter().zip(&columns).zip(&widths).map(|((cell, align), width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        parts.for_each(|line| text.push_str(&format!("{:before$}{line}\n", "")));
    }
    text
}

/// Words in lines of so many columns, at least one, behind the spaces that they begin with. What is short enough stays as it is.
fn broken(words: &str, room: usize) -> Vec<String> {
    if words.chars().count() <= room {
        return vec![words.to_owned()];
    }
    let indent = &words[..words.len() - words.trim_start().len()];
    let parts: Vec<String> =
        words.split_whitespace().flat_map(|word| parts(word, room.saturating_sub(indent.len()))).collect();
    lines(&parts.join(" "), (indent, indent), room)
}

/// A word, or where it is longer than a line and a module's path its parts, each of which ends with a dot.
fn parts(word: &str, room: usize) -> Vec<String> {
    if word.contains('/') {
        return vec![word.to_owned()]; // a file's path, or an address
    }
    let mut parts = vec![String::new()];
    for name in word.split_inclusive('.') {
        match parts.last_mut() {
            Some(part) if part.is_empty() || part.chars().count() + name.chars().count() <= room => part.push_str(name),
            _ => parts.push(name.to_owned()),
        }
    }
    parts
}

/// Words in lines of the width, behind what the first line and the others begin with; a word of its own length stays whole.
pub(super) fn wrapped(words: &str, first: &str, others: &str) -> String {
    lines(words, (first, others), width()).join("\n") + "\n"
}

/// Words in lines of so many columns, behind what the first and the others begin with.
fn lines(words: &str, (first, others): (&str, &str), room: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), first.to_owned());
    for word in words.split_whitespace() {
        if !line.trim().is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::replace(&mut line, others.to_owned()));
        }
        if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// Remarks below a table, after an empty line.
pub(super) fn below(remarks: impl IntoIterator<Item = String>) -> String {
    let lines = remarks.into_iter().map(|remark| wrapped(&remark, "", "  "));
    let text: String = lines.collect();
    if text.is_empty() { text } else { format!("\n{text}") }
}
