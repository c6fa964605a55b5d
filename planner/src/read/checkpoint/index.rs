//! `model.safetensors.index.json`: which tensor lies in which shard.
//!
//! ```json
//! {"metadata": {"total_size": 16060522496}, "weight_map": {"lm_head.weight": "model-00004-of-00004.safetensors"}}
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{CheckpointError, FileId, LARGEST_INDEX};
use crate::files;
use crate::words::quote;

/// An index's content.
#[derive(Debug, Default)]
pub(super) struct Index<'text> {
    /// The shards by their names as written, in order of first mention.
    pub shards: Vec<Cow<'text, str>>,
    /// Each tensor's name and shard.
    pub tensors: Vec<(Cow<'text, str>, FileId)>,
}

/// The text of the index at `path`, at most `LARGEST_INDEX` bytes of it.
pub(super) fn text(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    files::bytes(path, LARGEST_INDEX).map_err(|source| CheckpointError::Io { path: path.to_path_buf(), source })
}

/// Reads an index out of its text; every shard's name is checked to stay in the folder.
pub(super) fn parse<'text>(path: &Path, text: &'text [u8]) -> Result<Index<'text>, CheckpointError> {
    let Written { weight_map: index } = serde_json::from_slice(text).map_err(|error| {
        let (path, message, line, column) =
            (path.to_path_buf(), quote::json_message(&error), error.line(), error.column());
        match error.is_data() {
            true => CheckpointError::IndexContent { path, message, line, column },
            false => CheckpointError::IndexJson { path, message, line, column },
        }
    })?;
    if index.tensors.is_empty() {
        return Err(CheckpointError::IndexEmpty { path: path.to_path_buf() });
    }
    match index.shards.iter().find(|shard| !inside(shard)) {
        Some(shard) => Err(CheckpointError::ShardOutside { path: path.to_path_buf(), shard: shard.to_string() }),
        None => Ok(index),
    }
}

/// Whether a path as written names something below the folder that it is relative to. Links are no matter: in the Hub's
/// cache every file is a link to `../../blobs`.
fn inside(shard: &str) -> bool {
    let path = Path::new(shard);
    path.file_name().is_some() && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[derive(Deserialize)]
struct Written<'text> {
    #[serde(borrow)]
    weight_map: Index<'text>,
}

#[derive(Deserialize)]
struct Text<'text>(#[serde(borrow)] Cow<'text, str>);

impl<'de: 'text, 'text> Deserialize<'de> for Index<'text> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WeightMap).map(|index: Index<'de>| index)
    }
}

struct WeightMap;

impl<'de> Visitor<'de> for WeightMap {
    type Value = Index<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensor names and shard names")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Index<'de>, M::Error> {
        let mut index = Index::default();
        let mut ids: HashMap<Cow<'de, str>, FileId> = HashMap::new();
        while let Some((Text(tensor), Text(shard))) = map.next_entry()? {
            let next = FileId(index.shards.len() as u32);
            let id = *ids.entry(shard).or_insert_with_key(|shard| {
                index.shards.push(shard.clone());
                next
            });
            index.tensors.push((tensor, id));
        }
        Ok(index)
    }
}
