//! What can be wrong with a safetensors file, one variant a cause.

use std::io;
use std::path::PathBuf;

use safetensors::Dtype;
use thiserror::Error;

use super::LARGEST_HEADER;
use crate::words::quote;

/// A file whose header cannot be used.
#[derive(Debug, Error)]
#[error("{}: {fault}", quote::path(.path))]
pub struct HeaderError {
    /// The file.
    pub path: PathBuf,
    /// The reason why it is refused, in words.
    pub fault: HeaderFault,
}

/// Why a header cannot be used. Offsets and lengths are in bytes; offsets count from the end of the header.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are named as the message that shows them names them")]
pub enum HeaderFault {
    /// The operating system refused to open or read the file.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Fewer than the 8 bytes that hold the header's length.
    #[error("is not a safetensors file: {length} bytes, where the header's length alone takes 8")]
    TooShort { length: u64 },
    /// The pointer that git leaves where Git LFS has not fetched the file.
    #[error("is a Git LFS pointer, not the weights: run `git lfs pull`")]
    LfsPointer,
    /// A file of another program.
    #[error("{kind}")]
    Foreign { kind: &'static str },
    /// A header above the format's limit.
    #[error("is not a safetensors file: its header would be {header} bytes long, above the limit of {LARGEST_HEADER}")]
    TooLarge { header: u64 },
    /// A header that the file is too short for.
    #[error("truncated: its header is {header} bytes long, but only {present} bytes follow")]
    BeyondFile { header: u64, present: u64 },
    /// Text that is no UTF-8.
    #[error("its header is not UTF-8 (byte {at} of the header)")]
    Utf8 { at: usize },
    /// Text that is no JSON.
    #[error("its header is not JSON: {message} (line {line} column {column})")]
    Json { message: String, line: usize, column: usize },
    /// JSON that is no header: an entry without a shape, a negative dimension.
    #[error("its header's entry {} is wrong: {message} (line {line} column {column})", quote::quoted(.entry))]
    Entry { entry: String, message: String, line: usize, column: usize },
    /// JSON that is no object.
    #[error("its header is not a JSON object: {message} (line {line} column {column})")]
    NotAnObject { message: String, line: usize, column: usize },
    /// A dtype that the safetensors crate does not know.
    #[error("tensor {} has the unknown dtype {}", quote::quoted(.tensor), quote::quoted(.dtype))]
    UnknownDtype { tensor: String, dtype: String },
    /// A name that occurs more than once.
    #[error("its header names {} twice", quote::quoted(.tensor))]
    Duplicate { tensor: String },
    /// More elements or bits than 64 bits can count.
    #[error("tensor {} of shape {} is too large to count", quote::quoted(.tensor), quote::shape(.shape))]
    Overflow { tensor: String, shape: Vec<u64> },
    /// Elements of less than a byte that do not fill their last byte.
    #[error("tensor {} ({dtype} {}) ends inside a byte", quote::quoted(.tensor), quote::shape(.shape))]
    PartialByte { tensor: String, dtype: Dtype, shape: Vec<u64> },
    /// An end before the start.
    #[error("tensor {} ends at offset {end}, before its start at {start}", quote::quoted(.tensor))]
    Reversed { tensor: String, start: u64, end: u64 },
    /// Bytes that two tensors share.
    #[error("tensor {} starts at offset {start}, inside {} which ends at {end}", quote::quoted(.tensor), quote::quoted(.other))]
    Overlap { tensor: String, start: u64, other: String, end: u64 },
    /// Bytes that no tensor has.
    #[error("tensor {} starts at offset {start}, {} bytes after the end of the one before", quote::quoted(.tensor), .start - .end)]
    Gap { tensor: String, start: u64, end: u64 },
    /// A tensor whose bytes are not those of its dtype and shape.
    #[error("tensor {} ({dtype} {}) takes {expected} bytes, but its offsets hold {found}", quote::quoted(.tensor), quote::shape(.shape))]
    Size { tensor: String, dtype: Dtype, shape: Vec<u64>, expected: u64, found: u64 },
    /// A file that ends before its tensors do.
    #[error("truncated: {missing} bytes are missing (its tensors end at byte {expected}, the file at {length})")]
    Truncated { missing: u64, expected: u64, length: u64 },
    /// A file that goes on after its tensors.
    #[error("{extra} bytes follow its last tensor")]
    Trailing { extra: u64 },
}
