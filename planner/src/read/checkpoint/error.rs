//! What can be wrong with a model's weights as a whole, one variant a cause.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::read::header::HeaderError;
use crate::words::quote;

/// Weights that cannot be used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are named as the message that shows them names them")]
pub enum CheckpointError {
    /// One of the files is wrong in itself.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Neither a file nor a folder of that name.
    #[error("{}: no such file or folder", quote::path(.path))]
    NotFound { path: PathBuf },
    /// The operating system refused.
    #[error("{}: cannot be read: {source}", quote::path(.path))]
    Io { path: PathBuf, source: io::Error },
    /// A folder without safetensors; `other` are weights in another format.
    #[error("{}: no weights: expected model.safetensors, model.safetensors.index.json with its shards, or another .safetensors file{}", quote::path(.folder), elsewhere(.other))]
    NoWeights { folder: PathBuf, other: Option<String> },
    /// Several safetensors files of which none is the model's and no index tells.
    #[error("{}: {} .safetensors files and no model.safetensors.index.json to say how they belong together ({}): name one of them", quote::path(.folder), .files.len(), few(.files))]
    Ambiguous { folder: PathBuf, files: Vec<String> },
    /// Text that is no JSON.
    #[error("{}: not JSON: {message} (line {line} column {column})", quote::path(.path))]
    IndexJson { path: PathBuf, message: String, line: usize, column: usize },
    /// JSON that is no index.
    #[error("{}: not an index of shards: {message} (line {line} column {column})", quote::path(.path))]
    IndexContent { path: PathBuf, message: String, line: usize, column: usize },
    /// An index without tensors.
    #[error("{}: its weight_map is empty", quote::path(.path))]
    IndexEmpty { path: PathBuf },
    /// A shard's name that leads out of the folder: absolute, with `..`, or no file's name at all.
    #[error("{}: shard {} does not lie in the model's folder", quote::path(.path), quote::quoted(.shard))]
    ShardOutside { path: PathBuf, shard: String },
    /// Shards that are not there, of which the first is named.
    #[error("{}: shard {} is missing ({missing} of {shards} shards are): finish the download", quote::path(.folder), quote::quoted(.shard))]
    ShardMissing { folder: PathBuf, shard: String, missing: usize, shards: usize },
    /// A tensor that the index puts into a shard which does not have it.
    #[error("{}: the index puts tensor {} into shard {}, which does not have it", quote::path(.path), quote::quoted(.tensor), quote::quoted(.shard))]
    TensorMissing { path: PathBuf, tensor: String, shard: String },
    /// A tensor that two shards have.
    #[error("{}: tensor {} is in two shards, {} and {}", quote::path(.folder), quote::quoted(.tensor), quote::quoted(.first), quote::quoted(.second))]
    TensorTwice { folder: PathBuf, tensor: String, first: String, second: String },
    /// More than 1 EiB, which no machine holds and sums need not expect.
    #[error("{}: its tensors take more than 1 EiB", quote::path(.path))]
    TooLarge { path: PathBuf },
}

fn elsewhere(other: &Option<String>) -> String {
    other.as_ref().map_or(String::new(), |name| format!("; {} is there: convert it to safetensors", quote::cut(name)))
}

fn few(files: &[String]) -> String {
    let mut shown: Vec<String> = files.iter().take(3).map(|file| quote::cut(file)).collect();
    if files.len() > 3 {
        shown.push("...".into());
    }
    shown.join(", ")
}
