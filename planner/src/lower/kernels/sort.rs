//! Order along the last dimension: `sort`, `topk` and `cumsum` of contiguous tensors on CUDA.
//!
//! All allocate their results first: values, then indices (int64); `cumsum` only values. `argsort` is `sort` whose values
//! are freed last. Rows are the slices along the last dimension. The steps hold nothing at the end.
//!
//! - `sort` of at most 4096 elements a row sorts in place of the result beside a range of indices; of more it calls CUB,
//!   for fewer than 128 rows with one sort by value and one by row; a single row, or each very long one, on its own.
//!   (Tensors of more than 2^31 elements are sorted in several portions, which is not modelled.)
//! - `topk` of few short rows needs nothing; of many or long ones it spreads each over several blocks.
//! - `cumsum` of a tensor that is a single row calls CUB; of several rows it needs nothing.
//! - An input that is not contiguous, or another dimension, is copied first in `topk` and in `sort` of long rows.
//!
//! Read from aten/src/ATen/native/cuda/{Sort.cpp,SortStable.cu,TensorTopK.cu,ScanUtils.cuh} and measured with PyTorch 2.11.

use super::cub::{self, Architecture, Width};
use super::step::{Step, Steps};
use crate::dtype::Dtype;
use crate::lower::device::Device;
use crate::versions::Rules;

const LONGEST_SORTED_IN_PLACE: u64 = 4096;
/// Rows of so many elements are sorted one after another.
const LONG_ENOUGH_ALONE: u64 = 1_000_000;
const FEWEST_SEGMENTS: u64 = 128;
const INDEX: u64 = Dtype::I64.size();

const DIGITS: u64 = 256;
const TOPK_THREADS: u64 = 256;
/// Blocks of top-k's kernel on a multiprocessor: 65536 registers, 40 a thread.
const TOPK_BLOCKS_PER_MULTIPROCESSOR: u64 = 6;
/// (At most so many rows, the fewest elements a row for which top-k uses several blocks.)
const TOPK_LONG_ROWS: [(u64, u64); 7] =
    [(20, 20000), (40, 10000), (80, 8000), (199, 5000), (799, 3000), (4000, 800), (u64::MAX, 400)];

/// `sort` of `rows` rows of `length` elements. `None` where no formula is known (see `cub::sort_with_indices`).
pub fn sort(device: &Device, dtype: Dtype, rows: u64, length: u64) -> Option<Vec<Step>> {
    sort_on(Architecture::of(device), dtype, rows, length)
}

/// As `sort`, with CUB's tile sizes of another architecture than the device's.
pub fn sort_on(architecture: Architecture, dtype: Dtype, rows: u64, length: u64) -> Option<Vec<Step>> {
    let (n, key) = (rows * length, dtype.size());
    let mut steps = Steps::default();
    if length <= LONGEST_SORTED_IN_PLACE {
        steps.hold(length * INDEX);
    } else if rows == 1 || length >= LONG_ENOUGH_ALONE {
        let sorted = cub::sort_with_indices(architecture, key, length)?;
        steps.hold(length * INDEX);
        (0..rows).for_each(|_| steps.pass(sorted));
    } else if rows < FEWEST_SEGMENTS {
        steps.hold(n * INDEX);
        steps.hold(n * INDEX);
        steps.hold(n * key);
        steps.hold(cub::sort_with_indices(architecture, key, n)?);
        steps.release(2);
        steps.pass(cub::sort_by_one_digit(architecture, n));
    } else {
        steps.hold(n * INDEX);
        steps.pass(cub::sort_segments(key, n));
    }
    Some(steps.finish())
}

/// `topk` of `rows` rows of `length` elements, for k up to 4096 (above, a sort of the result follows).
pub fn topk(device: &Device, dtype: Dtype, rows: u64, length: u64) -> Vec<Step> {
    let mut steps = Steps::default();
    if TOPK_LONG_ROWS.iter().find(|(most, _)| rows <= *most).is_none_or(|(_, long)| length < *long) {
        return steps.finish();
    }
    let blocks = rows * length.div_ceil(topk_items_per_thread(device, rows * length) * TOPK_THREADS);
    let key_bits = dtype.size().max(4);
    steps.hold(rows * dtype.size()); // the k-th values
    steps.hold(rows * 8);
    steps.hold(rows * 2 * key_bits);
    steps.hold(blocks * DIGITS * 2);
    steps.hold(rows * DIGITS * 4);
    steps.hold(blocks * 4);
    steps.hold(blocks * 4);
    let scan = cub::scan_by_key(Architecture::of(device), Width::Four, blocks);
    steps.pass(scan);
    steps.pass(scan);
    steps.finish()
}

fn topk_items_per_thread(device: &Device, elements: u64) -> u64 {
    let threads = device.multiprocessors * TOPK_BLOCKS_PER_MULTIPROCESSOR * TOPK_THREADS;
    elements.div_ceil(threads.max(1)).clamp(4, 64)
}

/// `cumsum` of `rows` rows of `length` elements into `output`; other dtypes are converted first.
pub fn cumsum(rules: Rules, dtype: Dtype, output: Dtype, rows: u64, length: u64) -> Vec<Step> {
    let mut steps = Steps::default();
    if dtype != output {
        steps.hold(rows * length * output.size());
    }
    if rows == 1 && length > 0 {
        steps.pass(match output.size() {
            8 => cub::scan(rules, Width::Eight, length),
            4 => cub::scan(rules, Width::Four, length),
            _ => cub::scan_halves(length),
        });
    }
    steps.finish()
}
