//! Names and paths out of files, made fit for one line of a terminal: control and invisible characters are escaped (a
//! tensor's name may hold line breaks or escape sequences), and what is too long is cut.

use std::borrow::Cow;
use std::ffi::OsStr;
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

/// What is said of a name that is no text, where one has to be.
pub fn no_text(name: &OsStr) -> String {
    format!("`{}` is not UTF-8: rename it, or go there and name it `.`", cut(&name.display().to_string()))
}

/// A message that quotes what comes from a file: one line without quotes, at most 1000 characters of it.
pub fn message(text: &str) -> String {
    const LONGEST: usize = 1000;
    let shown = escaped(text.chars().take(LONGEST));
    if text.chars().nth(LONGEST).is_some() { format!("{shown}...") } else { shown }
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

/// A text in which nothing hides: characters that turn the direction of text, or that take no room, are escaped. Line breaks and colours
/// stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| if is_invisible(c) { c.escape_unicode().to_string() } else { c.into() });
    Cow::Owned(shown.collect())
}

/// Whether a character is a mark of direction, a separator that breaks lines, or has no width.
pub fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn escaped(characters: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    for character in characters {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            _ if is_invisible(character) => shown.extend(character.escape_unicode()),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides() {
        for hidden in
            "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}\u{feff}\u{200b}\u{200d}\u{2028}\u{2029}".chars()
        {
            let text = format!("a{hidden}b\n\u{1b}[1m");
            let shown = format!("a\\u{{{:x}}}b", hidden as u32);
            assert_eq!(visible(&text), format!("{shown}\n\u{1b}[1m"));
            assert_eq!(cut(&text), format!("{shown}\\n\\u{{1b}}[1m"));
        }
        assert!(matches!(visible("größe 大きさ"), Cow::Borrowed("größe 大きさ")));
    }
}
