//! The header of one `.safetensors` file: which tensors it holds, of what dtype and shape, at which bytes. Tensor data is
//! never read.
//!
//! ```text
//! | 8 bytes: n, little-endian | n bytes: JSON | data: every byte belongs to exactly one tensor |
//! ```
//!
//! The file may be hostile. A header that is accepted satisfies: its tensors, by rising offset, start at 0 and leave
//! neither gap nor overlap; each takes as many bytes as its dtype and shape say; the last one ends where the file ends;
//! no name occurs twice; no count overflows 64 bits. The `safetensors` crate provides the dtypes and their widths.
//!
//! Source of the format: <https://github.com/huggingface/safetensors>, README.md and `tensor.rs`.

mod error;
mod parse;

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use error::{HeaderError, HeaderFault};
pub use safetensors::Dtype;

use super::foreign;
use crate::bytes::Bytes;
use crate::files;
use parse::{Entries, Entry};

/// The longest header that is read, in bytes: the format's own limit.
pub const LARGEST_HEADER: u64 = 100_000_000;

/// Bytes that hold the header's length.
const PREFIX: u64 = 8;

/// What Git LFS leaves in place of a file that it has not fetched.
const LFS_POINTER: &[u8; 8] = b"version ";

/// A valid header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The tensors by rising offset.
    pub tensors: Vec<HeaderTensor>,
    /// The free-form `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// The tensor data's length: the file's without prefix and header.
    pub data: Bytes,
}

/// One tensor of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTensor {
    /// Its name: a module path and a parameter's name, joined by dots.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions; none for a scalar.
    pub shape: Vec<u64>,
    /// Its bytes, counted from the end of the header.
    pub data: Range<u64>,
}

impl HeaderTensor {
    /// Bytes of the tensor's data.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.data.end.saturating_sub(self.data.start))
    }
}

/// What the name of a file ends with that holds a header alone, as it is read from the hub.
pub const ALONE: &str = ".header";

/// The longest header that is read, in bytes.
pub const LARGEST: u64 = LARGEST_HEADER;

/// A file, or where it is not there the one that holds its header alone.
pub fn on_disk(path: PathBuf) -> PathBuf {
    if path.exists() {
        return path;
    }
    let mut alone = path.clone().into_os_string();
    alone.push(ALONE);
    let alone = PathBuf::from(alone);
    if alone.exists() { alone } else { path }
}

/// Reads and checks the header of the file at `path`; symbolic links are followed. The data may be missing where the file's name
/// says so.
pub fn read(path: &Path) -> Result<Header, HeaderError> {
    let is_alone = path.to_string_lossy().ends_with(ALONE);
    let read = |(file, length)| match is_alone {
        true => parts(file, length).map(|(header, _)| header),
        false => from_reader(file, length),
    };
    files::open(path).map_err(HeaderFault::from).and_then(read).map_err(|fault| at(path, fault))
}

/// Reads and checks the header of a file of `length` bytes, of which `reader` gives the first.
pub fn from_reader(reader: impl Read, length: u64) -> Result<Header, HeaderFault> {
    let (header, data) = parts(reader, length)?;
    ends(header.data.0, data, length)?;
    Ok(header)
}

/// The header of a file of that length, and how many bytes of data follow it.
fn parts(mut reader: impl Read, length: u64) -> Result<(Header, u64), HeaderFault> {
    let mut prefix = [0; PREFIX as usize];
    let Some(present) = length.checked_sub(PREFIX) else { return Err(HeaderFault::TooShort { length }) };
    reader.read_exact(&mut prefix)?;
    let header = u64::from_le_bytes(prefix);
    if header > LARGEST_HEADER {
        let pointer = &prefix == LFS_POINTER && length < 1024;
        return Err(match foreign::kind(&prefix) {
            _ if pointer => HeaderFault::LfsPointer,
            Some(kind) => HeaderFault::Foreign { kind },
            None => HeaderFault::TooLarge { header },
        });
    }
    let Some(data) = present.checked_sub(header) else { return Err(HeaderFault::BeyondFile { header, present }) };
    let mut text = vec![0; header as usize];
    reader.read_exact(&mut text)?;
    Ok((check(parse::entries(&text)?)?, data))
}

fn at(path: &Path, fault: HeaderFault) -> HeaderError {
    HeaderError { path: path.to_path_buf(), fault }
}

fn check(entries: Entries<'_>) -> Result<Header, HeaderFault> {
    distinct(&entries)?;
    let tensors = entries.tensors.into_iter().map(|(name, entry)| tensor(name, entry));
    let mut tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by_key(|tensor| (tensor.data.start, tensor.data.end));
    contiguous(&tensors)?;
    let data = Bytes(tensors.last().map_or(0, |last| last.data.end));
    Ok(Header { tensors, metadata: entries.metadata.unwrap_or_default(), data })
}

fn distinct(entries: &Entries<'_>) -> Result<(), HeaderFault> {
    let mut seen = HashSet::with_capacity(entries.tensors.len());
    match entries.tensors.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        Some((again, _)) => Err(HeaderFault::Duplicate { tensor: again.clone() }),
        None => Ok(()),
    }
}

/// One tensor whose bytes are those of its dtype and shape.
fn tensor(name: String, entry: Entry<'_>) -> Result<HeaderTensor, HeaderFault> {
    let Entry { dtype, shape, data_offsets: (start, end) } = entry;
    let Some(dtype) = parse::dtype(&dtype) else {
        return Err(HeaderFault::UnknownDtype { tensor: name, dtype: dtype.into_owned() });
    };
    let elements = shape.iter().try_fold(1u64, |product, &dimension| product.checked_mul(dimension));
    let Some(bits) = elements.and_then(|elements| elements.checked_mul(dtype.bitsize() as u64)) else {
        return Err(HeaderFault::Overflow { tensor: name, shape });
    };
    let Some(found) = end.checked_sub(start) else { return Err(HeaderFault::Reversed { tensor: name, start, end }) };
    if !bits.is_multiple_of(8) {
        return Err(HeaderFault::PartialByte { tensor: name, dtype, shape });
    }
    if bits / 8 != found {
        return Err(HeaderFault::Size { tensor: name, dtype, shape, expected: bits / 8, found });
    }
    Ok(HeaderTensor { name, dtype, shape, data: start..end })
}

/// Checks that tensors, sorted by offset, start at 0 and follow each other directly.
fn contiguous(tensors: &[HeaderTensor]) -> Result<(), HeaderFault> {
    let mut end = 0;
    let mut other = "";
    for HeaderTensor { name, data: Range { start, end: next }, .. } in tensors {
        if *start > end {
            return Err(HeaderFault::Gap { tensor: name.clone(), start: *start, end });
        }
        if *start < end {
            return Err(HeaderFault::Overlap { tensor: name.clone(), start: *start, other: other.to_string(), end });
        }
        (end, other) = (*next, name);
    }
    Ok(())
}

/// Checks that the tensors end where the file ends: `expected` and `found` are bytes of data, `length` is the file's.
fn ends(expected: u64, found: u64, length: u64) -> Result<(), HeaderFault> {
    if let Some(extra @ 1..) = found.checked_sub(expected) {
        return Err(HeaderFault::Trailing { extra });
    }
    let missing = expected - found;
    if missing > 0 {
        return Err(HeaderFault::Truncated { missing, expected: length.saturating_add(missing), length });
    }
    Ok(())
}
