//! The gradient of an embedding table: `embedding_dense_backward` on CUDA.
//!
//! Up to 3072 indices one kernel adds rows straight into the result. With more, the indices are sorted so that equal ones
//! form segments, segments are cut into parts of 10 rows, each part is summed on its own, then the parts of a segment:
//!
//! ```text
//! sorted  3 3 3 ... 3 | 7 7 | 9          segments: at most min(indices, rows of the table)
//!         part part     part  part       parts: at most indices / 10 + segments
//! ```
//!
//! How many segments and parts there are is known only on the GPU, which is why PyTorch 2.11 allocates for the most
//! there can be: no size depends on the values of the indices. Nor does any depend on `padding_idx`.
//!
//! Read from aten/src/ATen/native/cuda/Embedding.cu and EmbeddingBackwardKernel.cu, and measured with PyTorch 2.11 and 2.15. With
//! `torch.use_deterministic_algorithms(True)` the parts are never summed with atomics; that is not modelled.

use super::cub::{self, Architecture, Width};
use super::step::{Step, Steps};
use crate::dtype::Dtype;
use crate::lower::device::Device;
use crate::versions::Change;

const MOST_INDICES_OF_ONE_KERNEL: u64 = 3072;
const ROWS_OF_A_PART: u64 = 10;
const WARP: u64 = 32;
const THREADS_PER_BLOCK: u64 = 1024;
/// Above so many blocks a multiprocessor, summing a segment's parts keeps the GPU busy without atomics.
const FULL_BLOCKS_PER_MULTIPROCESSOR: u64 = 4;
/// Atomics pay from so many parts a block.
const PARTS_PER_BLOCK: u64 = 4;

/// One call of `embedding_dense_backward`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// How many indices were looked up: batch * seq.
    pub indices: u64,
    /// The indices' type.
    pub index_width: Width,
    /// Elements of a row.
    pub width: u64,
    /// Rows of the table.
    pub rows: u64,
    /// The type of the incoming gradient, and of the result.
    pub dtype: Dtype,
    /// Whether rows are divided by how often they were looked up.
    pub scale_by_frequency: bool,
    /// Whether the incoming gradient is contiguous.
    pub gradient_is_contiguous: bool,
    /// Whether the indices are contiguous.
    pub indices_are_contiguous: bool,
}

impl Gradient {
    /// The usual call: 64-bit indices, all contiguous, not scaled.
    pub fn new(indices: u64, width: u64, rows: u64, dtype: Dtype) -> Gradient {
        Gradient {
            indices,
            index_width: Width::Eight,
            width,
            rows,
            dtype,
            scale_by_frequency: false,
            gradient_is_contiguous: true,
            indices_are_contiguous: true,
        }
    }

    fn index_bytes(&self) -> u64 {
        self.indices * self.index_width.bytes()
    }

    fn segments(&self) -> u64 {
        self.indices.min(self.rows)
    }

    fn parts(&self) -> u64 {
        self.indices / ROWS_OF_A_PART + self.segments()
    }

    /// The bits that the number of rows has.
    fn bits_of_rows(&self) -> u64 {
        u64::from(u64::BITS - self.rows.leading_zeros()).max(1)
    }

    fn accumulator(&self) -> u64 {
        self.dtype.size().max(4)
    }
}

/// All that the call allocates, its result included.
pub fn backward(device: &Device, call: &Gradient) -> Vec<Step> {
    backward_on(Architecture::of(device), device, call)
}

/// As `backward`, with CUB's tile sizes of another architecture than the device's.
pub fn backward_on(architecture: Architecture, device: &Device, call: &Gradient) -> Vec<Step> {
    let mut steps = Steps::default();
    if !call.indices_are_contiguous {
        steps.hold(call.index_bytes());
    }
    if !call.gradient_is_contiguous {
        steps.hold(call.indices * call.width * call.dtype.size());
    }
    if call.indices <= MOST_INDICES_OF_ONE_KERNEL && !call.scale_by_frequency {
        steps.output(call.rows * call.width * call.dtype.size());
        return steps.finish();
    }
    sort(architecture, device, call, &mut steps);
    if call.scale_by_frequency {
        count(architecture, call, &mut steps);
    }
    steps.output(call.rows * call.width * call.dtype.size());
    find_segments(architecture, device, call, &mut steps);
    sum_parts(device, call, &mut steps);
    steps.finish()
}

/// Holds the sorted indices and where each came from. They are sorted by all their bits, or by as many digits of 8 bits as the number
/// of rows has.
fn sort(architecture: Architecture, device: &Device, call: &Gradient, steps: &mut Steps) {
    steps.hold(call.index_bytes());
    steps.hold(call.index_bytes());
    steps.hold(call.index_bytes()); // 0, 1, 2, ...
    let width = call.index_width;
    let all = 8 * width.bytes();
    let bits = if device.rules.has(Change::EmbeddingSortsByDigits) { call.bits_of_rows().min(all) } else { all };
    steps.hold(cub::sort_pairs(architecture, width, bits.div_ceil(8), call.indices));
    steps.release(2);
}

/// Holds how often each index occurs.
fn count(architecture: Architecture, call: &Gradient, steps: &mut Steps) {
    let scan = cub::scan_by_key(architecture, call.index_width, call.indices);
    steps.hold(call.index_bytes());
    steps.pass(scan);
    steps.pass(scan);
}

/// Holds where segments start, how many there are, how many parts each has, and where its parts start.
fn find_segments(architecture: Architecture, device: &Device, call: &Gradient, steps: &mut Steps) {
    let index = call.index_width.bytes();
    steps.hold(call.index_bytes());
    steps.hold(8);
    steps.hold(call.index_bytes()); // the unique keys, which nobody reads
    steps.hold(cub::unique_by_key(device.rules, architecture, call.index_width, call.indices));
    steps.release(2);
    steps.hold(call.segments() * index);
    steps.hold(call.segments() * index);
    steps.pass(cub::scan(device.rules, call.index_width, call.segments()));
    steps.hold(8); // how many parts there are
    steps.hold(call.parts() * index);
}

/// Holds the sums: a row a part, or with atomics each part's segment and, for half precision, the result in float32.
fn sum_parts(device: &Device, call: &Gradient, steps: &mut Steps) {
    if !uses_atomics(device, call) {
        steps.hold(call.parts() * call.width * call.accumulator());
        return;
    }
    steps.hold(call.parts() * call.index_width.bytes());
    if call.accumulator() != call.dtype.size() {
        steps.hold(call.rows * call.width * call.accumulator());
    }
}

fn uses_atomics(device: &Device, call: &Gradient) -> bool {
    if !device.rules.has(Change::EmbeddingSumsWithAtomics) {
        return false;
    }
    let lanes = call.width.next_multiple_of(WARP);
    let blocks = (call.segments() * lanes).div_ceil(lanes.clamp(1, THREADS_PER_BLOCK));
    blocks < device.multiprocessors * FULL_BLOCKS_PER_MULTIPROCESSOR && call.parts() > blocks * PARTS_PER_BLOCK
}
