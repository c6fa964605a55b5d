//! Where text goes: stdout and stderr, coloured on a terminal only (NO_COLOR is respected), and files written whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub const ALARM: Style = AnsiColor::Red.on_default().bold();
/// What to look at.
pub const CARE: Style = AnsiColor::Yellow.on_default().bold();

/// Prints text. A reader that has gone away (`| head`) has seen enough: that is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write the result: {error}"), None))
        }
        _ => Ok(()),
    }
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(&json(value)?)
}

/// A value as indented JSON.
pub fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error, None))?;
    Ok(format!("{text}\n"))
}

/// Tells what is wrong, on stderr; where even that fails, nothing is left to say.
pub fn complain(line: &str, hint: Option<&str>) {
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "memplan: {ALARM}error:{ALARM:#} {line}");
    if let Some(hint) = hint {
        let _ = writeln!(out, "{CARE}hint:{CARE:#} {hint}");
    }
}

/// Tells what to look at, on stderr.
pub fn warn(line: &str) {
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "memplan: {CARE}warning:{CARE:#} {line}");
}

/// A bar on stderr for work of so many parts; nothing where that is no terminal.
pub fn progress(parts: usize) -> ProgressBar {
    let bar = ProgressBar::new(parts as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed}");
    style.map_or_else(|_| ProgressBar::hidden(), |style| bar.with_style(style))
}

/// Writes a file through a temporary one beside it: at the end it is there in full, or as it was.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Failure> {
    let temporary = beside(path);
    let written = File::create_new(&temporary).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()?;
        fs::rename(&temporary, path)
    });
    written.map_err(|error| {
        if error.kind() != ErrorKind::AlreadyExists {
            let _ = fs::remove_file(&temporary);
        }
        Failure::new(format!("{}: cannot be written: {error}", path.display()), None)
    })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
