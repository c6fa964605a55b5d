//! Whether offsets are a packing: every pair that is alive together is looked at, with none of the code that packs.

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
    match overlap(buffers, offsets) {
        None => Ok(()),
        Some((one, other)) => Err(Fault::Overlap { one: buffers[one].id.clone(), other: buffers[other].id.clone() }),
    }
}

/// Two buffers that are alive together and overlap, by their numbers.
fn overlap(buffers: &[Buffer], offsets: &[u64]) -> Option<(usize, usize)> {
    let mut by_begin: Vec<usize> = (0..buffers.len()).filter(|number| buffers[*number].size > 0).collect();
    by_begin.sort_by_key(|number| buffers[*number].lower);
    for (place, &one) in by_begin.iter().enumerate() {
        let (begin, end) = (buffers[one].lower, buffers[one].upper);
        let (bottom, top) = (offsets[one], offsets[one] + buffers[one].size);
        // Of those that begin later, what begins before this one ends is alive with it.
        let later = by_begin[place + 1..].iter().take_while(|other| buffers[**other].lower < end);
        for &other in later.filter(|other| begin < buffers[**other].upper) {
            if bottom < offsets[other] + buffers[other].size && offsets[other] < top {
                return Some((one.min(other), one.max(other)));
            }
        }
    }
    None
}
