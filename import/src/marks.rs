//! Where in Python's source the lines of a spec stand: a comment behind each of them, from which a plan of that source takes its places.
//!
//! ```text
//! x = self.norm(x)  #@model.py:31:9
//! ```

/// What stands between a line and its place.
const SIGN: &str = "  #@";

/// The comment that says a place: its file, line and column, counted from 1.
pub fn mark(file: &str, line: usize, column: usize) -> String {
    format!("{SIGN}{file}:{line}:{column}")
}

/// Puts a place behind each line that has none.
pub fn add(lines: &mut [String], file: &str, line: usize, column: usize) {
    for text in lines.iter_mut().filter(|text| place(text).is_none()) {
        *text += &mark(file, line, column);
    }
}

/// The place that stands behind a line: file, line and column.
pub fn place(text: &str) -> Option<(&str, u32, u32)> {
    let (_, place) = text.rsplit_once(SIGN)?;
    let (rest, column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some((file, line.parse().ok()?, column.parse().ok()?))
}
