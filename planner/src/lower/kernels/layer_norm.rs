//! Layer and RMS normalization on CUDA: `native_layer_norm`, `_fused_rms_norm` and their backward passes.
//!
//! Forward allocates [a contiguous copy of the input, if it is not contiguous], the output, then mean and rstd (rms_norm:
//! rstd alone), one value a row in the accumulation type (float32 for half precision), and frees the copy. Without autograd
//! the statistics are freed as soon as the module's operator returns. Input and weight of different dtypes (rms_norm in
//! bfloat16 with a float32 weight) take the composite path instead: float32 copies and pointwise operators.
//!
//! Backward (`backward`) has no temporaries but where many rows meet a small width: there blocks of 32 rows or
//! more give partial gradients of weight and bias, which `sum(0)` then adds up into results of its own.
//!
//! ```text
//! 100000 rows of 128 float32:   dX dgamma dbeta   +partials +partials   [sum(0)] -dgamma  [sum(0)] -dbeta   -partials -partials
//! ```
//!
//! Read from aten/src/ATen/native/cuda/layer_norm_kernel.cu, and measured with PyTorch 2.11.

use super::layout::Layout;
use super::reduce::{self, Reduction};
use super::step::{Step, Steps};
use crate::dtype::Dtype;
use crate::lower::device::Device;
use crate::versions::Change;

/// Partial gradients are worth it above so many rows.
const MANY_ROWS: u64 = 64 * 1024;
const ROWS_OF_A_PART: u64 = 32;
const COLUMNS_OF_A_BLOCK: u64 = 32;
const MOST_BLOCKS: u64 = 32 * 1024;

/// One call of `native_layer_norm_backward` or `_fused_rms_norm_backward` (which never wants a bias gradient).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backward {
    /// Rows that are normalized: batch * seq.
    pub rows: u64,
    /// Elements of a row.
    pub width: u64,
    /// The type of the input, the gradients and the weight.
    pub dtype: Dtype,
    /// Whether gradients of the input, the weight and the bias are wanted.
    pub wanted: [bool; 3],
    /// Whether the incoming gradient is contiguous.
    pub gradient_is_contiguous: bool,
    /// Whether the saved input is contiguous.
    pub input_is_contiguous: bool,
}

impl Backward {
    /// The usual call: all contiguous.
    pub fn new(rows: u64, width: u64, dtype: Dtype, wanted: [bool; 3]) -> Backward {
        Backward { rows, width, dtype, wanted, gradient_is_contiguous: true, input_is_contiguous: true }
    }

    fn bytes(&self) -> u64 {
        self.rows * self.width * self.dtype.size()
    }
}

/// All that the call allocates, its results included.
pub fn backward(device: &Device, call: &Backward) -> Vec<Step> {
    let parameters = call.wanted[1..].iter().filter(|&&wanted| wanted).count();
    let in_parts = call.rows > MANY_ROWS && call.width / COLUMNS_OF_A_BLOCK < device.multiprocessors / 2;
    let mut steps = Steps::default();
    if !call.input_is_contiguous {
        steps.hold(call.bytes());
    }
    if call.wanted[0] {
        steps.output(call.bytes());
    }
    let replaced: Vec<usize> = (0..parameters).map(|_| parameter(call, in_parts, &mut steps)).collect();
    if !call.gradient_is_contiguous {
        steps.hold(call.bytes());
    }
    if in_parts {
        sum_parts(device, call, &replaced, &mut steps);
    }
    steps.finish()
}

/// A gradient of weight or bias: replaced, and so freed, where partial gradients are summed. Gives its number.
fn parameter(call: &Backward, is_replaced: bool, steps: &mut Steps) -> usize {
    let bytes = call.width * call.dtype.size();
    if is_replaced {
        return steps.keep(bytes);
    }
    steps.output(bytes);
    0
}

/// Partial gradients of each parameter, and their sums in the place of the first results. A bias alone gets none before 2.15:
/// PyTorch then drops its result and returns no gradient.
fn sum_parts(device: &Device, call: &Backward, replaced: &[usize], steps: &mut Steps) {
    if !call.wanted[1] && !device.rules.has(Change::BiasAloneIsSummed) {
        replaced.iter().for_each(|&number| steps.free(number));
        return;
    }
    let parts = parts(call);
    for _ in replaced {
        steps.hold(parts * call.width * call.dtype.size());
    }
    let layout = Layout::contiguous(&[parts, call.width]);
    for &number in replaced {
        steps.output(call.width * call.dtype.size());
        steps.append(&reduce::scratch(device, Reduction::Sum, &layout, call.dtype, &[true, false], call.dtype));
        steps.free(number);
    }
}

/// How many partial gradients there are: one every 32 rows, within the limit of blocks.
fn parts(call: &Backward) -> u64 {
    let blocks_across = call.width.div_ceil(COLUMNS_OF_A_BLOCK).max(1);
    call.rows.div_ceil(ROWS_OF_A_PART).min(MOST_BLOCKS / blocks_across)
}
