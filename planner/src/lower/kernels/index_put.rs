//! `index_put_(accumulate=True)` on CUDA, which is the backward of indexing by a tensor of integers: rows that go to the
//! same place are sorted next to each other, so that one thread adds them.
//!
//! ```text
//! index (wrapped) -> linear index -> sorted, with where each came from (one CUB sort over 0, 1, 2, ...)
//! ```
//!
//! No size depends on the values of the index. Read from aten/src/ATen/native/cuda/Indexing.cu, index_put_with_sort_kernel and
//! computeLinearIndex, and measured with PyTorch 2.11.

use super::cub::{self, Architecture};
use super::step::{Step, Steps};
use crate::dtype::Dtype;

const INDEX: u64 = Dtype::I64.size();
/// Bits of a digit of CUB's sort.
const DIGIT: u32 = 8;

/// Sorts the places of `indices` slices, which the caller holds, and adds the slices to them, along dimensions of these sizes of a contiguous tensor,
/// behind `before` slices; `copied` bytes are those of the values where they are not contiguous, else 0.
pub fn sort_and_add(
    architecture: Architecture,
    indices: u64,
    (before, sizes): (u64, &[u64]),
    copied: u64,
) -> Vec<Step> {
    let mut steps = Steps::default();
    if indices > 0 {
        let bytes = indices * INDEX;
        steps.hold(copied);
        steps.hold(bytes); // sorted
        steps.hold(bytes); // where they came from
        steps.hold(bytes); // 0, 1, 2, ...
        steps.hold(cub::sort_by_digits(architecture, digits(before * sizes.iter().product::<u64>()), indices));
    }
    steps.finish()
}

/// The digits of the largest place, which the sort takes (`largestIndex(self) / sliceSize`).
fn digits(rows: u64) -> u64 {
    let bits = u64::BITS - rows.saturating_sub(1).max(1).leading_zeros();
    u64::from(bits.div_ceil(DIGIT))
}
