//! Columns of text: cells to the left or to the right of their column, two spaces between.

/// Columns, where names allow it.
const WIDTH: usize = 80;

/// Where a column's cells stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// The fewest columns that the last one is broken to.
const LEAST: usize = 24;

/// Lays out rows of as many cells as there are columns; each line ends with a line break and no spaces.
pub(super) fn table<const N: usize>(columns: [Align; N], rows: &[[String; N]]) -> String {
    laid_out(columns, rows, usize::MAX)
}

/// The same of a list that is read from the top: words of the last column go on below it where a line would be too long.
pub(super) fn list<const N: usize>(columns: [Align; N], rows: &[[String; N]]) -> String {
    laid_out(columns, rows, WIDTH)
}

fn laid_out<const N: usize>(columns: [Align; N], rows: &[[String; N]], most: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let before: usize = widths.iter().take(N - 1).map(|width| width + 2).sum();
    let room = most.saturating_sub(before).max(LEAST);
    let mut text = String::new();
    for row in rows {
        let mut last = broken(&row[N - 1], room);
        let mut row = row.clone();
        row[N - 1] = last.remove(0);
        let cells = row.iter().zip(&columns).zip(&widths).map(|((cell, align), width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        last.iter().for_each(|line| text.push_str(&format!("{:before$}{line}\n", "")));
    }
    text
}

/// Words in lines of so many columns, at least one; a word of its own length stays whole. What is short enough stays as it is.
fn broken(words: &str, room: usize) -> Vec<String> {
    if words.chars().count() <= room { vec![words.to_owned()] } else { lines(words, ("", ""), room) }
}

/// Words in lines of the width, behind what the first line and the others begin with; a word of its own length stays whole.
pub(super) fn wrapped(words: &str, first: &str, others: &str) -> String {
    lines(words, (first, others), WIDTH).join("\n") + "\n"
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
