//! Memory formats of images: channels before rows and columns, or after them (c10/core/MemoryFormat.h).

use crate::graph::Dims;
use crate::lower::context::Context;
use crate::lower::tensor::{Tensor, TensorData, contiguous_strides};

/// The order of an image's dimensions in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFormat {
    /// Batch, channels, rows, columns.
    Contiguous,
    /// Batch, rows, columns, channels.
    ChannelsLast,
}

/// Dimensions from the innermost outwards, channels last.
const CHANNELS_LAST: [usize; 4] = [1, 3, 2, 0];

/// The format that a tensor's strides look like (`suggest_memory_format`, `is_channels_last_strides_2d_s4`).
pub fn suggested(x: &TensorData) -> MemoryFormat {
    if x.sizes.len() != 4 || x.strides[1] == 0 {
        return MemoryFormat::Contiguous;
    }
    let mut least = 0;
    for dim in CHANNELS_LAST {
        let (size, stride) = (x.sizes[dim], x.strides[dim]);
        let ambiguous = dim == 0 && least == x.strides[1];
        if size == 0 || stride < least || ambiguous {
            return MemoryFormat::Contiguous;
        }
        least = stride * size;
    }
    MemoryFormat::ChannelsLast
}

/// The strides of a tensor without gaps in that format.
pub fn strides(sizes: &[u64], format: MemoryFormat) -> Dims {
    let mut strides = contiguous_strides(sizes);
    if format == MemoryFormat::ChannelsLast && sizes.len() == 4 {
        let mut next = 1;
        for dim in CHANNELS_LAST {
            strides[dim] = next;
            next *= sizes[dim].max(1);
        }
    }
    strides
}

/// Whether a tensor lies in that format without gaps (`compute_channels_last_contiguous_2d`).
pub fn lies_in(x: &TensorData, format: MemoryFormat) -> bool {
    if format == MemoryFormat::Contiguous || x.sizes.len() != 4 {
        return x.is_contiguous();
    }
    let mut expected = 1;
    for dim in CHANNELS_LAST {
        if x.sizes[dim] != 1 {
            if x.strides[dim] != expected {
                return false;
            }
            expected *= x.sizes[dim];
        }
    }
    true
}

/// A new tensor in that format.
pub fn empty(
    context: &mut Context,
    op: &'static str,
    sizes: &[u64],
    dtype: crate::dtype::Dtype,
    format: MemoryFormat,
) -> Tensor {
    context.empty_strided(op, sizes.into(), strides(sizes, format), dtype)
}

/// `x.contiguous(memory_format)` outside autograd.
pub fn laid_out(context: &mut Context, x: &Tensor, format: MemoryFormat) -> Tensor {
    if lies_in(x, format) { x.clone() } else { empty(context, "clone", &x.sizes, x.dtype, format) }
}
