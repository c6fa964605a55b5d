//! A model's stored weights: the tensors of one file, or of all the shards of a folder, by name.
//!
//! ```text
//! folder -> locate: one file, or an index -> header of each shard (in parallel) -> merge -> check against the index
//! ```
//!
//! A checkpoint that is accepted has each tensor once, in a file that exists and is whole.

mod error;
mod index;
mod locate;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use indexmap::IndexMap;
use indexmap::map::Entry;

pub use error::CheckpointError;

use super::header::{self, Dtype, Header, HeaderError};
use crate::bytes::Bytes;
use index::Index;
use locate::Weights;

/// The longest index that is read, in bytes.
pub const LARGEST_INDEX: u64 = 100_000_000;

/// The most bytes of tensors: 1 EiB. Below it no sum over bytes, bits or elements overflows.
const LARGEST_CHECKPOINT: u64 = 1 << 60;

/// The most threads that read headers.
const MOST_THREADS: usize = 8;

/// A model's stored weights.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The tensors by name, in the order of the files and of the offsets in them.
    pub tensors: IndexMap<String, StoredTensor>,
    /// The files' free-form metadata together; of a key that several files have, the first file's value.
    pub metadata: BTreeMap<String, String>,
    /// The files, by their id.
    pub files: Vec<StoredFile>,
}

/// A file of a checkpoint: its position in `Checkpoint::files`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Where it is.
    pub path: PathBuf,
    /// How many tensors it holds.
    pub tensors: usize,
    /// Bytes of their data.
    pub data: Bytes,
}

/// A tensor as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions; none for a scalar.
    pub shape: Vec<u64>,
    /// Bytes of its data.
    pub bytes: Bytes,
    /// The file that holds it.
    pub file: FileId,
}

impl StoredTensor {
    /// How many elements it has.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, &dimension| product.saturating_mul(dimension))
    }
}

impl Checkpoint {
    /// Bytes of all tensors.
    pub fn bytes(&self) -> Bytes {
        self.files.iter().map(|file| file.data).sum()
    }
}

/// Reads the weights at `path`: a folder (`model.safetensors`; else `model.safetensors.index.json` and its shards; else
/// what other safetensors files there are, if they can be told apart), a safetensors file, or an index. Only headers are
/// read.
pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    match locate::locate(path)? {
        Weights::Files(files) => merge(path, headers(files)?),
        Weights::Index(index) => sharded(&index),
    }
}

/// Reads the shards that the index at `path` names.
fn sharded(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let text = index::text(path)?;
    let index = index::parse(path, &text)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let files = present(folder, &index)?;
    let checkpoint = merge(folder, headers(files)?)?;
    listed(path, &index, &checkpoint)?;
    Ok(checkpoint)
}

/// The paths of an index's shards, all of which exist.
fn present(folder: &Path, index: &Index<'_>) -> Result<Vec<PathBuf>, CheckpointError> {
    let files: Vec<PathBuf> = index.shards.iter().map(|shard| header::on_disk(folder.join(&**shard))).collect();
    let mut missing = files.iter().zip(&index.shards).filter(|(file, _)| !file.exists());
    match missing.next() {
        Some((_, shard)) => Err(CheckpointError::ShardMissing {
            folder: folder.to_path_buf(),
            shard: shard.to_string(),
            missing: missing.count() + 1,
            shards: files.len(),
        }),
        None => Ok(files),
    }
}

/// Reads the headers of all files, on several threads where there are several files. The error is the first file's.
fn headers(files: Vec<PathBuf>) -> Result<Vec<(PathBuf, Header)>, HeaderError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(files.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut read = Vec::new();
        loop {
            let file = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(file) else { return read };
            read.push((file, header::read(path)));
        }
    };
    let mut read = thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads).filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut read = work();
        read.extend(others.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))));
        read
    });
    read.sort_unstable_by_key(|(file, _)| *file);
    files.into_iter().zip(read).map(|(path, (_, header))| Ok((path, header?))).collect()
}

/// All files' tensors under one roof.
fn merge(path: &Path, headers: Vec<(PathBuf, Header)>) -> Result<Checkpoint, CheckpointError> {
    let count = headers.iter().map(|(_, header)| header.tensors.len()).sum();
    let mut checkpoint = Checkpoint { tensors: IndexMap::with_capacity(count), ..Checkpoint::default() };
    let mut total = 0u64;
    for (file, header) in headers {
        total = total.saturating_add(header.data.0);
        if total > LARGEST_CHECKPOINT {
            return Err(CheckpointError::TooLarge { path: path.to_path_buf() });
        }
        add(path, &mut checkpoint, file, header)?;
    }
    Ok(checkpoint)
}

fn add(folder: &Path, checkpoint: &mut Checkpoint, path: PathBuf, header: Header) -> Result<(), CheckpointError> {
    let Checkpoint { tensors, metadata, files } = checkpoint;
    let file = FileId(files.len() as u32);
    files.push(StoredFile { path, tensors: header.tensors.len(), data: header.data });
    for (key, value) in header.metadata {
        metadata.entry(key).or_insert(value);
    }
    for tensor in header.tensors {
        let bytes = tensor.bytes();
        match tensors.entry(tensor.name) {
            Entry::Vacant(place) => {
                place.insert(StoredTensor { dtype: tensor.dtype, shape: tensor.shape, bytes, file });
            }
            Entry::Occupied(there) => {
                return Err(CheckpointError::TensorTwice {
                    folder: folder.to_path_buf(),
                    tensor: there.key().clone(),
                    first: shard(folder, files, there.get().file),
                    second: shard(folder, files, file),
                });
            }
        }
    }
    Ok(())
}

/// A file's name within the folder.
fn shard(folder: &Path, files: &[StoredFile], file: FileId) -> String {
    let path = files.get(file.0 as usize).map_or(Path::new(""), |file| &file.path);
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned()
}

/// Checks that every tensor which the index lists is in the shard that it says. Shards may hold more: transformers loads
/// those too.
fn listed(path: &Path, index: &Index<'_>, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    let there = |name: &str, file: FileId| checkpoint.tensors.get(name).is_some_and(|tensor| tensor.file == file);
    match index.tensors.iter().find(|(name, file)| !there(name, *file)) {
        Some((name, file)) => Err(CheckpointError::TensorMissing {
            path: path.to_path_buf(),
            tensor: name.to_string(),
            shard: index.shards.get(file.0 as usize).map_or(String::new(), |shard| shard.to_string()),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stay_countable() {
        let header = |data| Header { tensors: Vec::new(), metadata: BTreeMap::new(), data: Bytes(data) };
        let merged =
            |first, second| merge(Path::new("m"), vec![("a".into(), header(first)), ("b".into(), header(second))]);
        assert_eq!(merged(1, LARGEST_CHECKPOINT - 1).unwrap().bytes(), Bytes(LARGEST_CHECKPOINT));
        for (first, second) in [(1, LARGEST_CHECKPOINT), (u64::MAX, u64::MAX)] {
            assert_eq!(merged(first, second).unwrap_err().to_string(), "m: its tensors take more than 1 EiB");
        }
    }
}
