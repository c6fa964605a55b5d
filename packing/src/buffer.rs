//! What is to be packed, and what is refused.

use rustc_hash::FxHashSet;

/// The largest size, offset and alignment, and the largest sum of all sizes, in bytes.
pub const LARGEST: u64 = 1 << 60;

/// Bytes that are needed for a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffer {
    /// Its name; no two buffers have the same.
    pub id: String,
    /// When it begins to live.
    pub lower: i64,
    /// When it lives no more: a buffer that begins then may have its place.
    pub upper: i64,
    /// Bytes.
    pub size: u64,
    /// Its offset is a multiple of this many bytes; `None`: of the default of [`Options`](crate::Options).
    pub alignment: Option<u64>,
    /// Its offset in bytes, where that is not to be chosen.
    pub offset: Option<u64>,
}

/// Why buffers are no problem that could be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BufferError {
    /// A lifetime that ends before it begins.
    #[error("buffer `{}`: upper {upper} is not above lower {lower}", .id.escape_debug())]
    Lifetime {
        /// The buffer.
        id: String,
        /// When it begins.
        lower: i64,
        /// When it ends.
        upper: i64,
    },
    /// A size, offset or alignment that no machine has.
    #[error("buffer `{}`: {what} {value} is above 2^60 bytes", .id.escape_debug())]
    TooLarge {
        /// The buffer.
        id: String,
        /// `size`, `offset` or `alignment`.
        what: &'static str,
        /// Its bytes.
        value: u64,
    },
    /// An alignment of nothing.
    #[error("buffer `{}`: the alignment is 0", .id.escape_debug())]
    NoAlignment {
        /// The buffer.
        id: String,
    },
    /// All sizes together, each rounded up to its alignment.
    #[error("the buffers take more than 2^60 bytes in all")]
    SumTooLarge,
    /// A fixed offset that is no multiple of the alignment.
    #[error("buffer `{}`: the offset {offset} is no multiple of the alignment {alignment}", .id.escape_debug())]
    Misaligned {
        /// The buffer.
        id: String,
        /// Its fixed offset in bytes.
        offset: u64,
        /// Its alignment in bytes.
        alignment: u64,
    },
    /// Two buffers of one name.
    #[error("two buffers have the id `{}`", .id.escape_debug())]
    Duplicate {
        /// The name.
        id: String,
    },
    /// Two buffers that are alive together and fixed at places that overlap.
    #[error("buffers `{}` and `{}` are fixed at places that overlap", .one.escape_debug(), .other.escape_debug())]
    FixedOverlap {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
}

/// Refuses buffers that make no sense; nothing computed from those that pass overflows 64 bits.
pub(crate) fn check(buffers: &[Buffer], default_alignment: u64) -> Result<(), BufferError> {
    let mut seen = FxHashSet::default();
    let mut sum = 0_u64;
    for buffer in buffers {
        check_one(buffer, default_alignment)?;
        // Rounded up, since what lies on a buffer may have to leave that much free.
        let alignment = buffer.alignment.unwrap_or(default_alignment);
        sum = sum.saturating_add(buffer.size).saturating_add(alignment - 1);
        if sum > LARGEST {
            return Err(BufferError::SumTooLarge);
        }
        if !seen.insert(buffer.id.as_str()) {
            return Err(BufferError::Duplicate { id: buffer.id.clone() });
        }
    }
    check_fixed(buffers)
}

fn check_one(buffer: &Buffer, default_alignment: u64) -> Result<(), BufferError> {
    let id = || buffer.id.clone();
    if buffer.upper <= buffer.lower {
        return Err(BufferError::Lifetime { id: id(), lower: buffer.lower, upper: buffer.upper });
    }
    let alignment = buffer.alignment.unwrap_or(default_alignment);
    let offset = buffer.offset.unwrap_or(0);
    for (what, value) in [("size", buffer.size), ("offset", offset), ("alignment", alignment)] {
        if value > LARGEST {
            return Err(BufferError::TooLarge { id: id(), what, value });
        }
    }
    if alignment == 0 {
        return Err(BufferError::NoAlignment { id: id() });
    }
    if !offset.is_multiple_of(alignment) {
        return Err(BufferError::Misaligned { id: id(), offset, alignment });
    }
    Ok(())
}

fn check_fixed(buffers: &[Buffer]) -> Result<(), BufferError> {
    let mut fixed: Vec<(u64, &Buffer)> =
        buffers.iter().filter(|b| b.size > 0).filter_map(|b| Some((b.offset?, b))).collect();
    fixed.sort_by_key(|(offset, _)| *offset);
    for (number, (offset, one)) in fixed.iter().enumerate() {
        let above = fixed[number + 1..].iter().take_while(|(other, _)| *other < offset + one.size);
        for (_, other) in above {
            if one.lower < other.upper && other.lower < one.upper {
                return Err(BufferError::FixedOverlap { one: one.id.clone(), other: other.id.clone() });
            }
        }
    }
    Ok(())
}
