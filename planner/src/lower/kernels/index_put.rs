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

/// The same, where the places were counted on the host, whose indices went to the device for the operator alone.
pub fn accumulate_from_host(architecture: Architecture, indices: u64, places: (u64, &[u64]), copied: u64) -> Vec<Step> {
    let mut steps = Steps::default();
    if indices > 0 {
        steps.hold(indices * INDEX);
        sorted(&mut steps, architecture, indices, places, copied);
    }
    steps.finish()
}

/// Adds `indices` slices to places along dimensions of these sizes of a contiguous tensor, behind `before` slices; `copied` bytes are
/// those of the values where they are not contiguous, else 0.
pub fn accumulate(architecture: Architecture, indices: u64, (before, sizes): (u64, &[u64]), copied: u64) -> Vec<Step> {
    let mut steps = Steps::default();
    if indices == 0 {
        return steps.finish();
    }
    let bytes = indices * INDEX;
    let wrapped = steps.keep(bytes);
    steps.hold(bytes);
    steps.free(wrapped);
    for _ in sizes.iter().skip(1) {
        // the place along a further dimension is added to the first
        let wrapped = steps.keep(bytes);
        let place = steps.keep(bytes);
        steps.free(wrapped);
        steps.free(place);
    }
    sorted(&mut steps, architecture, indices, (before, sizes), copied);
    steps.finish()
}

/// What follows once the places are counted and held by the caller.
pub fn sorted_and_added(architecture: Architecture, indices: u64, places: (u64, &[u64]), copied: u64) -> Vec<Step> {
    let mut steps = Steps::default();
    if indices > 0 {
        sorted(&mut steps, architecture, indices, places, copied);
    }
    steps.finish()
}

fn sorted(steps: &mut Steps, architecture: Architecture, indices: u64, (before, sizes): (u64, &[u64]), copied: u64) {
    let bytes = indices * INDEX;
    steps.hold(copied);
    steps.hold(bytes); // sorted
    steps.hold(bytes); // where they came from
    steps.hold(bytes); // 0, 1, 2, ...
    steps.hold(cub::sort_by_digits(architecture, digits(before * sizes.iter().product::<u64>()), indices));
}

/// The digits of the largest place, which the sort takes (`largestIndex(self) / sliceSize`).
fn digits(rows: u64) -> u64 {
    let bits = u64::BITS - rows.saturating_sub(1).max(1).leading_zeros();
    u64::from(bits.div_ceil(DIGIT))
}
