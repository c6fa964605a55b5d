//! What can be wrong with a config.json, one variant a cause.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::words::quote;

/// A configuration that cannot be read, or a key of it that cannot be used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are named as the message that shows them names them")]
pub enum ConfigError {
    /// No such file.
    #[error("{}: no such file: a model's folder has a config.json", quote::path(.path))]
    NotFound { path: PathBuf },
    /// The operating system refused, or it is no file.
    #[error("{}: cannot be read: {source}", quote::path(.path))]
    Io { path: PathBuf, source: io::Error },
    /// Text that is no JSON.
    #[error("{}: line {line} column {column}: not JSON: {message}", quote::path(.path))]
    Json { path: PathBuf, message: String, line: usize, column: usize },
    /// JSON that is no object.
    #[error("{}: not a JSON object but {found}", quote::path(.path))]
    NotAnObject { path: PathBuf, found: &'static str },
    /// A key that is needed and absent, or null.
    #[error("{}: key {} is missing", quote::path(.path), quote::quoted(.key))]
    Missing { path: PathBuf, key: String },
    /// A key whose value is of another type.
    #[error("{}: key {} is {found}, where {expected} is expected", quote::path(.path), quote::quoted(.key))]
    Type { path: PathBuf, key: String, expected: &'static str, found: String },
}
