//! The space that a reduction runs over: its dimensions as TensorIterator leaves them for the kernel.
//!
//! Reduced dimensions come first, fast ones before slow ones, neighbours that can be walked as one are merged, and a space
//! whose byte offsets do not fit in 32 bits is halved until they do. Read from aten/src/ATen/TensorIterator.cpp.
//!
//! ```text
//! [batch, seq, width] summed over batch and seq   ->   [batch * seq (reduced), width]
//! ```

use super::layout::{Layout, compare_strides, fastest_first};
use std::cmp::Ordering;

/// The largest byte offset of a kernel that indexes with 32 bits.
const LARGEST_OFFSET: i64 = i32::MAX as i64;

/// One dimension of the space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// Elements along it.
    pub size: i64,
    /// Bytes between neighbours in the output; 0 where it is reduced.
    pub output: i64,
    /// Bytes between neighbours in the input.
    pub input: i64,
}

/// The dimensions of a reduction and where in memory its part begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Reduced dimensions first.
    pub dims: Vec<Dimension>,
    /// Bytes from the start of the input's storage.
    pub start: i64,
    /// Bytes of an element of a second output (`max(dim)`'s indices); 0 without one.
    pub second_output: i64,
    /// Bytes of an element of the output.
    pub output_element: i64,
}

impl Space {
    /// The space of a reduction of `input` over the dimensions marked in `reduced`, with a dense output.
    pub fn new(input: &Layout, reduced: &[bool], element: u64, output_element: u64, second_output: u64) -> Space {
        let outputs = output_strides(&input.shape, reduced, output_element as i64);
        let dims: Vec<Dimension> = (0..input.shape.len())
            .map(|d| Dimension {
                size: input.shape[d] as i64,
                output: outputs[d],
                input: input.strides[d] * element as i64,
            })
            .collect();
        let order = fastest_first(dims.len(), |a, b| compare(dims[a], dims[b]));
        let dims = merge(order.into_iter().map(|d| dims[d]).collect());
        let start = (input.offset * element) as i64;
        Space { dims, start, second_output: second_output as i64, output_element: output_element as i64 }
    }

    /// How many of the first dimensions are reduced.
    pub fn reduced(&self) -> usize {
        self.dims.iter().filter(|d| d.output == 0).count()
    }

    /// Elements of the input.
    pub fn inputs(&self) -> i64 {
        self.dims.iter().map(|d| d.size).product()
    }

    /// Elements of the output.
    pub fn outputs(&self) -> i64 {
        self.dims.iter().filter(|d| d.output != 0).map(|d| d.size).product()
    }

    /// Elements between the first and the last of the output, and one.
    pub fn output_extent(&self) -> i64 {
        let bytes = self.dims.iter().map(|d| d.size * d.output).max().unwrap_or(0);
        bytes.max(self.output_element) / self.output_element
    }

    /// Whether every byte offset fits in 32 bits.
    pub fn fits_32_bits(&self) -> bool {
        let extent =
            |stride: &dyn Fn(&Dimension) -> i64| 1 + self.dims.iter().map(|d| (d.size - 1) * stride(d)).sum::<i64>();
        self.inputs() <= LARGEST_OFFSET
            && extent(&|d| d.input) <= LARGEST_OFFSET
            && extent(&|d| d.output) <= LARGEST_OFFSET
            && extent(&|d| self.second(d)) <= LARGEST_OFFSET
    }

    /// The parts, in the order in which kernels run over them, each of which fits.
    pub fn parts(self) -> Vec<Space> {
        let mut open = vec![self];
        let mut parts = Vec::new();
        while let Some(mut space) = open.pop() {
            if space.fits_32_bits() {
                parts.push(space);
                continue;
            }
            let first = space.split_off_half();
            open.push(space);
            open.push(first);
        }
        parts
    }

    fn second(&self, dim: &Dimension) -> i64 {
        dim.output / self.output_element * self.second_output
    }

    /// Takes the first half of the dimension that reaches farthest away.
    fn split_off_half(&mut self) -> Space {
        let reach = |d: &Dimension| (d.size - 1) * d.input.abs().max(d.output).max(self.second(d));
        let mut widest = self.dims.len() - 1;
        for at in (0..widest).rev() {
            if reach(&self.dims[at]) > reach(&self.dims[widest]) {
                widest = at;
            }
        }
        let mut first = self.clone();
        let half = self.dims[widest].size / 2;
        first.dims[widest].size = half;
        self.dims[widest].size -= half;
        self.start += half * self.dims[widest].input;
        first
    }
}

/// Byte strides of the dense output, spread over the input's dimensions: 0 where reduced.
fn output_strides(shape: &[u64], reduced: &[bool], element: i64) -> Vec<i64> {
    let mut strides = vec![0; shape.len()];
    let mut next = element;
    for at in (0..shape.len()).rev().filter(|&at| !reduced.get(at).copied().unwrap_or(false)) {
        strides[at] = next;
        next *= shape[at].max(1) as i64;
    }
    strides
}

/// Reduced dimensions first, then by the output's strides, then by the input's.
fn compare(a: Dimension, b: Dimension) -> Option<Ordering> {
    if (a.output == 0) != (b.output == 0) {
        return Some(if a.output == 0 { Ordering::Less } else { Ordering::Greater });
    }
    let (size_a, size_b) = (a.size as u64, b.size as u64);
    compare_strides(a.output, b.output)
        .then_sizes(size_a, size_b)
        .or_else(|| compare_strides(a.input, b.input).then_sizes(size_a, size_b))
}

/// Merges each dimension into the one before it where both are one walk in the input and in the output.
fn merge(dims: Vec<Dimension>) -> Vec<Dimension> {
    let mut merged: Vec<Dimension> = Vec::with_capacity(dims.len());
    for dim in dims {
        match merged.last_mut() {
            Some(last) if last.size == 1 => *last = dim,
            Some(last)
                if dim.size == 1 || (last.size * last.output == dim.output && last.size * last.input == dim.input) =>
            {
                last.size *= dim.size
            }
            _ => merged.push(dim),
        }
    }
    merged
}
