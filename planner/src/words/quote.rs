//! Names and paths out of files, made fit for one line of a terminal: control and invisible characters are escaped (a
//! tensor's name may hold line breaks or escape sequences), and what is too long is cut.

use std::fmt::Write;
use std::path::Path;

/// The most characters of a name or a message that an error shows.
const LONGEST: usize = 200;

/// `text` in double quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", cut(text))
}

/// `text` without quotes, at most 200 characters of it.
pub fn cut(text: &str) -> String {
    let mut shown = escaped(text.chars().take(LONGEST));
    if text.chars().nth(LONGEST).is_some() {
        let _ = write!(shown, "... ({} bytes)", text.len());
    }
    shown
}

/// A path in full.
pub fn path(path: &Path) -> String {
    escaped(path.to_string_lossy().chars())
}

/// A tensor's shape as PyTorch writes it: `[128256, 4096]`. Of hostile ranks the first 16 dimensions.
pub fn shape(shape: &[u64]) -> String {
    let dimensions: Vec<String> = shape.iter().take(16).map(u64::to_string).collect();
    let more = if shape.len() > 16 { format!(", ... {} dimensions", shape.len()) } else { String::new() };
    format!("[{}{more}]", dimensions.join(", "))
}

/// serde_json's message without the position that it ends with.
pub fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    cut(text.strip_suffix(&format!(" at line {} column {}", error.line(), error.column())).unwrap_or(&text))
}

fn escaped(characters: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    for character in characters {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}
