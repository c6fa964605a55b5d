//! Whether offsets are a packing: every pair is looked at, with none of the code that packs.

use crate::buffer::Buffer;

/// Why offsets are no packing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is not one offset for each buffer.
    #[error("{buffers} buffers, but {offsets} offsets")]
    Count {
        /// How many buffers there are.
        buffers: usize,
        /// How many offsets there are.
        offsets: usize,
    },
    /// A buffer ends above what 64 bits address.
    #[error("buffer `{}` ends above 2^64 bytes", .id.escape_debug())]
    Overflow {
        /// The buffer.
        id: String,
    },
    /// An offset that is no multiple of the buffer's alignment.
    #[error("buffer `{}`: the offset {offset} is no multiple of its alignment {alignment}", .id.escape_debug())]
    Misaligned {
        /// The buffer.
        id: String,
        /// Where it lies, in bytes.
        offset: u64,
        /// Its alignment in bytes.
        alignment: u64,
    },
    /// A buffer is not where it was fixed.
    #[error("buffer `{}` lies at {offset}, but is fixed at {fixed}", .id.escape_debug())]
    Moved {
        /// The buffer.
        id: String,
        /// Where it lies, in bytes.
        offset: u64,
        /// Where it was to lie, in bytes.
        fixed: u64,
    },
    /// Two buffers that are alive together overlap.
    #[error("buffers `{}` and `{}` are alive together and overlap", .one.escape_debug(), .other.escape_debug())]
    Overlap {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
}

/// Checks that `offsets[n]`, in bytes, is a place for `buffers[n]`: aligned where the buffer says how, as fixed, and apart from
/// all that is alive with it.
pub fn validate(buffers: &[Buffer], offsets: &[u64]) -> Result<(), Fault> {
    if buffers.len() != offsets.len() {
        return Err(Fault::Count { buffers: buffers.len(), offsets: offsets.len() });
    }
    for (buffer, &offset) in buffers.iter().zip(offsets) {
        let id = || buffer.id.clone();
        if offset.checked_add(buffer.size).is_none() {
            return Err(Fault::Overflow { id: id() });
        }
        if let Some(alignment) = buffer.alignment
            && (alignment == 0 || offset % alignment != 0)
        {
            return Err(Fault::Misaligned { id: id(), offset, alignment });
        }
        if let Some(fixed) = buffer.offset
            && fixed != offset
        {
            return Err(Fault::Moved { id: id(), offset, fixed });
        }
    }
    for (number, one) in buffers.iter().enumerate() {
        for (other, &offset) in buffers.iter().zip(offsets).take(number) {
            let together = one.lower < other.upper && other.lower < one.upper;
            let apart = offsets[number] + one.size <= offset || offset + other.size <= offsets[number];
            if together && !apart && one.size > 0 && other.size > 0 {
                return Err(Fault::Overlap { one: other.id.clone(), other: one.id.clone() });
            }
        }
    }
    Ok(())
}
