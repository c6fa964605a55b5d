//! Which files of a folder are the model's weights.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::CheckpointError;
use crate::read::header;

/// Where the weights are.
#[derive(Debug)]
pub(super) enum Weights {
    /// Files that are complete without an index, by name.
    Files(Vec<PathBuf>),
    /// An index of shards.
    Index(PathBuf),
}

const MODEL: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const FILE_ENDING: &str = ".safetensors";
const INDEX_ENDING: &str = ".safetensors.index.json";

/// Finds the weights at `path`: a file itself; of a folder `model.safetensors`, else its index, else the only
/// `*.safetensors` file or index, else a full set of shards. The order is that of transformers'
/// `modeling_utils._get_resolved_checkpoint_files`.
pub(super) fn locate(path: &Path) -> Result<Weights, CheckpointError> {
    let found = fs::metadata(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => CheckpointError::NotFound { path: path.to_path_buf() },
        _ => CheckpointError::Io { path: path.to_path_buf(), source },
    })?;
    if !found.is_dir() {
        return Ok(match path.to_string_lossy().ends_with(".json") {
            true => Weights::Index(path.to_path_buf()),
            false => Weights::Files(vec![path.to_path_buf()]),
        });
    }
    let names = names(path)?;
    if names.iter().any(|name| name == MODEL || name.strip_suffix(header::ALONE) == Some(MODEL)) {
        return Ok(Weights::Files(vec![header::on_disk(path.join(MODEL))]));
    }
    if names.iter().any(|name| name == INDEX) {
        return Ok(Weights::Index(path.join(INDEX)));
    }
    unnamed(path, &names)
}

/// The weights of a folder whose files have other names than usual.
fn unnamed(folder: &Path, names: &[String]) -> Result<Weights, CheckpointError> {
    let ending = |ending: &str| names.iter().filter(|name| name.ends_with(ending)).cloned().collect::<Vec<_>>();
    if let [only] = &ending(INDEX_ENDING)[..] {
        return Ok(Weights::Index(folder.join(only)));
    }
    let files = ending(FILE_ENDING);
    match &files[..] {
        [] => Err(CheckpointError::NoWeights { folder: folder.to_path_buf(), other: other(names) }),
        [only] => Ok(Weights::Files(vec![folder.join(only)])),
        [first, ..] => match shards(first) {
            Some(expected) if files.iter().all(|file| expected.contains(file)) => whole(folder, &files, expected),
            _ => Err(CheckpointError::Ambiguous { folder: folder.to_path_buf(), files }),
        },
    }
}

/// A set of shards of which none is missing. `files` are among `expected`.
fn whole(folder: &Path, files: &[String], expected: Vec<String>) -> Result<Weights, CheckpointError> {
    match expected.iter().find(|shard| !files.contains(shard)) {
        Some(shard) => Err(CheckpointError::ShardMissing {
            folder: folder.to_path_buf(),
            shard: shard.clone(),
            missing: expected.len() - files.len(),
            shards: expected.len(),
        }),
        None => Ok(Weights::Files(expected.iter().map(|name| folder.join(name)).collect())),
    }
}

/// The names of all shards of the set that `name` (`model-00001-of-00004.safetensors`) belongs to.
fn shards(name: &str) -> Option<Vec<String>> {
    let (stem, count) = name.strip_suffix(FILE_ENDING)?.rsplit_once("-of-")?;
    let (stem, number) = stem.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let shards = count.parse::<u32>().ok().filter(|_| digits(number) && digits(count))?;
    Some((1..=shards).map(|shard| format!("{stem}-{shard:05}-of-{count}{FILE_ENDING}")).collect())
}

/// Weights in a format that memplan does not read.
fn other(names: &[String]) -> Option<String> {
    let pickled = names.iter().find(|name| name.starts_with("pytorch_model"));
    pickled.or_else(|| names.iter().find(|name| name.ends_with(".gguf"))).cloned()
}

/// The names in a folder, sorted. Those that are not UTF-8 are no weights.
fn names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let unreadable = |source| CheckpointError::Io { path: folder.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        names.extend(entry.map_err(unreadable)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}
