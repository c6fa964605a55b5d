//! What says where tensors are and how large: headers, indexes, buffers.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use packing::{Options, csv, pack as packed, validate};
use planner::read::header::{self as headers, HeaderFault};
use planner::read::{checkpoint, inspect};
use safetensors::SafeTensors;
use tempfile::TempDir;

use super::{names, readable};

/// Any bytes as a safetensors file. What is accepted is whole; what the safetensors crate accepts is accepted here too, but for
/// names that occur twice.
pub fn header(file: &[u8]) {
    let theirs = SafeTensors::read_metadata(file);
    match headers::from_reader(file, file.len() as u64) {
        Ok(header) => {
            let mut end = 0;
            for tensor in &header.tensors {
                assert_eq!(tensor.data.start, end);
                let elements: u128 = tensor.shape.iter().map(|dimension| u128::from(*dimension)).product();
                assert_eq!(elements * tensor.dtype.bitsize() as u128, u128::from(tensor.bytes().0) * 8);
                end = tensor.data.end;
            }
            assert_eq!(end, header.data.0);
            if let Ok((text, metadata)) = theirs {
                assert_eq!(header.data.0, (file.len() - 8 - text) as u64);
                assert_eq!(header.tensors.len(), metadata.offset_keys().len());
            }
        }
        Err(HeaderFault::Duplicate { .. }) => {}
        Err(fault) => {
            readable(&fault);
            assert!(theirs.is_err(), "{fault}");
        }
    }
}

/// Any bytes as an index of shards, beside two shards.
pub fn index(text: &[u8]) {
    thread_local! {
        static FOLDER: TempDir = sharded();
    }
    FOLDER.with(|folder| {
        let path: PathBuf = folder.path().join("model.safetensors.index.json");
        fs::write(&path, text).expect("an index");
        match checkpoint::read(&path) {
            Ok(checkpoint) => {
                let inspection = inspect::inspect(&checkpoint);
                assert_eq!(inspection.total.bytes, checkpoint.bytes());
                assert!(inspect::text(&inspection, 60).lines().count() <= 60);
            }
            Err(error) => names(&error, &folder.path().display().to_string()),
        }
    });
}

/// A folder with two shards, each of one tensor, named as in the seeds.
fn sharded() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (shard, tensor) in [("a.safetensors", "first.weight"), ("b.safetensors", "second.weight")] {
        let header = format!(r#"{{"{tensor}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}"#);
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat();
        fs::write(folder.path().join(shard), file).expect("a shard");
    }
    folder
}

/// Any bytes as a CSV of buffers: whatever is read makes sense to the packer, and what it packs passes the checker and is read
/// back.
pub fn pack(text: &[u8]) {
    let buffers = match csv::read(text) {
        Ok(buffers) => buffers,
        Err(error) => return drop(readable(&error)),
    };
    let options = Options { time_limit: Duration::from_millis(20), ..Options::default() };
    let Ok(packing) = packed(&buffers, &options) else { return };
    assert_eq!(validate(&buffers, &packing.offsets), Ok(()));
    let written = csv::write(&buffers, &packing.offsets);
    let read = csv::read(written.as_bytes()).expect("what was written is read");
    let offsets: Vec<Option<u64>> = read.iter().map(|buffer| buffer.offset).collect();
    assert!(offsets.iter().zip(&packing.offsets).all(|(read, packed)| *read == Some(*packed)));
}
