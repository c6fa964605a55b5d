//! Where text goes: stdout and stderr, coloured on a terminal only (NO_COLOR is respected), and files written whole (`file.rs`).
//! Where a caller keeps what is said (`kept.rs`), nothing goes to the streams.

mod file;
mod kept;

#[cfg(unix)]
use std::fs::File;
use std::io::{self, ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use planner::words::quote;
use serde::Serialize;

pub use file::{write_whole, write_with_folder};
pub use kept::{Kept, keep};

use crate::arguments::Format;
use crate::failure::Failure;

/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub const ALARM: Style = AnsiColor::Red.on_default().bold();
/// What to look at.
pub const CARE: Style = AnsiColor::Yellow.on_default().bold();

/// Lays texts out for the terminal that they go to; elsewhere they keep their width.
pub fn follow_terminal() {
    if let Some((columns, _)) = terminal_size::terminal_size_of(io::stdout()).filter(|_| !kept::is_on()) {
        planner::report::lay_out_for(columns.0.into());
    }
}

/// Prints text for people, in which nothing hides.
pub fn print(text: &str) -> Result<(), Failure> {
    print_data(&quote::visible(text))
}

/// Prints text for programs as it is. A reader that has gone away (`| head`) has seen enough: that is no failure.
pub fn print_data(text: &str) -> Result<(), Failure> {
    if kept::add(|kept| kept.text.push_str(&anstream::adapter::strip_str(text).to_string())) {
        return Ok(());
    }
    match write(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write the result: {error}"), None))
        }
        _ => Ok(()),
    }
}

/// Writes to standard output past the standard library's handle, which takes a closed one for written.
#[cfg(unix)]
fn write(text: &str) -> io::Result<()> {
    let mut out = standard_output()?;
    match anstream::AutoStream::choice(&io::stdout()) {
        anstream::ColorChoice::Never => out.write_all(anstream::adapter::strip_str(text).to_string().as_bytes()),
        _ => out.write_all(text.as_bytes()),
    }
}

/// Standard output as a file that says every error.
#[cfg(unix)]
fn standard_output() -> io::Result<File> {
    use std::os::fd::AsFd;

    if start::stdout_was_closed() {
        return Err(io::Error::other("standard output is closed"));
    }
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
fn write(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Prints a report in its form for people or for programs; where what is said is kept, both are.
pub fn report<T: Serialize>(
    format: Format,
    text: impl FnOnce() -> String,
    value: impl FnOnce() -> T,
) -> Result<(), Failure> {
    if kept::is_on() {
        let json = json(&value())?;
        kept::add(|kept| kept.json = Some(json));
        return print(&text());
    }
    match format {
        Format::Text => print(&text()),
        Format::Json => print_json(&value()),
    }
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print_data(&json(value)?)
}

/// A value as indented JSON. What would hide on a terminal is escaped.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error, None))?;
    let shown = text.chars().map(|c| if quote::is_invisible(c) { format!("\\u{:04x}", c as u32) } else { c.into() });
    Ok(if text.contains(quote::is_invisible) { shown.collect() } else { text } + "\n")
}

/// Tells what is wrong, on stderr; where even that fails, nothing is left to say.
pub fn complain(line: &str, hint: Option<&str>) {
    if kept::add(|kept| (kept.error, kept.hint) = (Some(line.to_owned()), hint.map(str::to_owned))) {
        return;
    }
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "memplan: {ALARM}error:{ALARM:#} {line}");
    if let Some(hint) = hint {
        let _ = writeln!(out, "{CARE}hint:{CARE:#} {hint}");
    }
}

/// Tells what to look at, on stderr.
pub fn warn(line: &str) {
    let line = quote::visible(line);
    if kept::add(|kept| kept.warnings.push(line.to_string())) {
        return;
    }
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "memplan: {CARE}warning:{CARE:#} {line}");
}

/// Says how something was understood, on stderr.
pub fn note(line: &str) {
    let line = quote::visible(line);
    if !kept::add(|kept| kept.warnings.push(format!("note: {line}"))) {
        let mut out = anstream::stderr().lock();
        let _ = writeln!(out, "memplan: note: {line}");
    }
}

/// A bar on stderr for work of so many parts; nothing where that is no terminal, or not said to.
pub fn progress(parts: usize) -> ProgressBar {
    if kept::is_on() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(parts as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed}");
    style.map_or_else(|_| ProgressBar::hidden(), |style| bar.with_style(style))
}
