//! A run as people write it: the keys of `--run FILE.yaml`, which are those of the command line (`run/options.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::run::RunOptions;

/// The longest run file that is read, in bytes.
const LARGEST_RUN_FILE: u64 = 1 << 20;

/// A run file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// The operating system refused.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// No run needs so much text.
    #[error("{}: {length} bytes, above the limit of {LARGEST_RUN_FILE} for a run", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// Not YAML, an unknown key, or a value that a key cannot have.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 where the place is unknown.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The reason, in words.
        message: String,
    },
}

/// Reads a run file.
///
/// # Errors
/// A file that cannot be read, is no YAML, has an unknown key or a value that its key cannot have.
pub fn read(path: &Path) -> Result<RunOptions, RunFileError> {
    parse(path, &text(path)?)
}

/// The text of a file that is no longer than a run needs.
pub(crate) fn text(path: &Path) -> Result<String, RunFileError> {
    let unreadable = |source| RunFileError::Io { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > LARGEST_RUN_FILE {
        return Err(RunFileError::TooLarge { path: path.to_owned(), length });
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// Reads the text of a run file; `path` is for errors.
///
/// # Errors
/// As `read`.
pub fn parse(path: &Path, text: &str) -> Result<RunOptions, RunFileError> {
    let options: Option<RunOptions> = yaml(path, text)?;
    let options = options.unwrap_or_default();
    options.check_ways(path)?;
    Ok(options)
}

/// YAML of any form; `path` is for errors.
pub(crate) fn yaml<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, RunFileError> {
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).replace('\n', " ");
        RunFileError::Parse { path: path.to_owned(), line, column, message }
    })
}

impl RunOptions {
    /// Refuses several ways of spreading the run over GPUs; `path` is for errors.
    pub(crate) fn check_ways(&self, path: &Path) -> Result<(), RunFileError> {
        if self.ways() < 2 {
            return Ok(());
        }
        let message = "`ddp`, `fsdp` and `parallel` say the same thing: one of them is enough".to_owned();
        Err(RunFileError::Parse { path: path.to_owned(), line: 1, column: 1, message })
    }
}
