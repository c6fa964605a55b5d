//! A run as people write it: the keys of `--run FILE.yaml`, which are those of the command line (`run/options.rs`).

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::files;
use crate::read::yaml;
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
    /// Not YAML, an unknown key, or a value that a key cannot have.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
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

/// The text of a run file or a kept plan, no longer than a run needs.
///
/// # Errors
/// A file that cannot be read.
pub fn text(path: &Path) -> Result<String, RunFileError> {
    files::text(path, LARGEST_RUN_FILE).map_err(|source| RunFileError::Io { path: path.to_owned(), source })
}

/// Reads the text of a run file; `path` is for errors.
///
/// # Errors
/// As `read`.
pub fn parse(path: &Path, text: &str) -> Result<RunOptions, RunFileError> {
    let options: Option<RunOptions> = yaml(path, text, "`memplan plan --help` lists all")?;
    let options = options.unwrap_or_default();
    options.check_ways(path)?;
    Ok(options)
}

/// YAML of any form; `path` is for errors, and `lists` says where all keys can be seen.
pub(crate) fn yaml<T: DeserializeOwned>(path: &Path, text: &str, lists: &str) -> Result<T, RunFileError> {
    yaml::parse(text, lists).map_err(|yaml::YamlFault { line, column, message }| RunFileError::Parse {
        path: path.to_owned(),
        line,
        column,
        message,
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
