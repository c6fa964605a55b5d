//! Scratch memory of reductions: sum, mean, max, norm, any and their relatives on CUDA.
//!
//! A reduction gives each output a group of threads. Where that leaves the GPU idle and each thread much to do, several
//! blocks share an output: they write partial results to a staging buffer and count themselves off in semaphores.
//!
//! ```text
//! sum of [2048, 768] float32 over dim 0 on an H200:    +12582912 (staging)  +24 (semaphores)  -24  -12582912
//! ```
//!
//! The launch (`Launch`) is chosen as in aten/src/ATen/native/cuda/Reduce.cuh, setReduceConfig; what each operator passes to
//! it is read from aten/src/ATen/native/cuda/Reduce*Kernel.cu and native/ReduceOps.cpp, and measured with PyTorch 2.11.
//! An operator first allocates its outputs, then these steps, and holds none of them when it returns.

use super::layout::Layout;
use super::reduction_space::Space;
use super::step::{Step, Steps};
use crate::dtype::Dtype;
use crate::lower::device::Device;
use crate::versions::{Change, Rules};

const THREADS_PER_BLOCK: i64 = 512;
const WARP: i64 = 32;
const FEWEST_VALUES_PER_THREAD: i64 = 16;
const MOST_VALUES_PER_THREAD: i64 = 256;
const SEMAPHORE: u64 = 4;

/// What a reduction computes, as far as its scratch memory depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// `sum`, `nansum`.
    Sum,
    /// `prod`.
    Product,
    /// `mean`.
    Mean,
    /// `amax`, `amin`, over any dimensions.
    Extreme,
    /// `max()`, `min()` of a whole tensor.
    ExtremeOfAll,
    /// `max(dim)`, `min(dim)`: values and indices.
    ExtremeWithIndex,
    /// `argmax`, `argmin`.
    Argument,
    /// `any`, `all`.
    Logical,
    /// `linalg.vector_norm`, `norm`.
    Norm,
    /// `var`, `std`, `var_mean`, `std_mean`.
    Variance,
}

/// The temporaries of a reduction of `input` over the dimensions marked in `reduced`, beside its outputs.
pub fn scratch(
    device: &Device,
    reduction: Reduction,
    input: &Layout,
    dtype: Dtype,
    reduced: &[bool],
    output: Dtype,
) -> Vec<Step> {
    let mut steps = Steps::default();
    if input.elements() == 0 {
        return steps.finish();
    }
    if is_one_to_one(input, reduced) && needs_no_kernel(reduction, input) {
        convert_alone(reduction, input, dtype, output, &mut steps);
        return steps.finish();
    }
    let prepared = prepare(reduction, input, dtype, output, &mut steps);
    let kernel = Kernel::new(device.rules, reduction, prepared.dtype, output);
    let second = if reduction == Reduction::ExtremeWithIndex { Dtype::I64.size() } else { 0 };
    let space = Space::new(&prepared.layout, reduced, prepared.dtype.size(), output.size(), second);
    if !space.fits_32_bits() && !kernel.accumulates_in_output && output.size() < kernel.accumulator {
        steps.hold(space.output_extent() as u64 * kernel.accumulator);
    }
    for part in space.parts() {
        let launch = Launch::new(device, &kernel, &part);
        if launch.blocks_per_output > 1 {
            steps.hold(launch.staging_bytes());
            steps.hold(launch.semaphore_bytes());
            steps.release(2);
        }
    }
    steps.finish()
}

/// Whether every output has a single input.
fn is_one_to_one(input: &Layout, reduced: &[bool]) -> bool {
    input.shape.iter().zip(reduced).all(|(&size, &on)| size == 1 || !on)
}

/// Operators that do something simpler where every output has a single input.
fn needs_no_kernel(reduction: Reduction, input: &Layout) -> bool {
    match reduction {
        Reduction::Norm | Reduction::Argument => true,
        Reduction::Logical => input.elements() == 1,
        _ => false,
    }
}

/// Their temporary: the input in the output's dtype (`any` and `all`: as bool).
fn convert_alone(reduction: Reduction, input: &Layout, dtype: Dtype, output: Dtype, steps: &mut Steps) {
    let wanted = match reduction {
        Reduction::Argument => dtype,
        Reduction::Logical => Dtype::Bool,
        _ => output,
    };
    if wanted != dtype {
        steps.hold(input.elements() * wanted.size());
    }
}

/// The tensor that the kernel reads.
struct Prepared {
    layout: Layout,
    dtype: Dtype,
}

/// Copies the input first where the operator does.
fn prepare(reduction: Reduction, input: &Layout, dtype: Dtype, output: Dtype, steps: &mut Steps) -> Prepared {
    let wanted = kernel_dtype(reduction, dtype, output);
    if wanted != dtype {
        steps.hold(input.elements() * wanted.size());
        return Prepared { layout: input.of_copy(), dtype: wanted };
    }
    if reduction == Reduction::ExtremeOfAll && !input.is_contiguous() {
        steps.hold(input.elements() * dtype.size());
        return Prepared { layout: Layout::contiguous(&input.shape), dtype };
    }
    Prepared { layout: input.clone(), dtype }
}

/// The element type that the kernel reads: sums and the like convert first, except from half precision to float32.
fn kernel_dtype(reduction: Reduction, input: Dtype, output: Dtype) -> Dtype {
    let converts = matches!(reduction, Reduction::Sum | Reduction::Product | Reduction::Mean | Reduction::Norm);
    let fused = is_half(input) && output == Dtype::F32;
    if converts && !fused { output } else { input }
}

fn is_half(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F16 | Dtype::BF16)
}

/// What the launch depends on of the kernel.
struct Kernel {
    /// Bytes of an input element.
    element: i64,
    /// Bytes of a partial result.
    accumulator: u64,
    /// Elements loaded at once along a contiguous reduced dimension.
    vector: i64,
    /// Whether partial results can wait in the output.
    accumulates_in_output: bool,
}

impl Kernel {
    fn new(rules: Rules, reduction: Reduction, input: Dtype, output: Dtype) -> Kernel {
        let wide = if is_half(input) { 4 } else { input.size() };
        let accumulator = match reduction {
            Reduction::Sum | Reduction::Product | Reduction::Mean | Reduction::Norm => wide,
            Reduction::Logical if rules.has(Change::LogicalInBooleans) => Dtype::Bool.size(),
            Reduction::Extreme | Reduction::ExtremeOfAll | Reduction::Logical => input.size(),
            Reduction::ExtremeWithIndex => pair(input.size(), 8),
            Reduction::Argument => pair(wide, 8),
            Reduction::Variance => 4 * wide,
        };
        let is_pair = matches!(reduction, Reduction::ExtremeWithIndex | Reduction::Argument | Reduction::Variance);
        let vector = if is_half(input) && matches!(reduction, Reduction::Sum | Reduction::Mean) { 8 } else { 4 };
        let loses_precision = reduction != Reduction::Product && is_half(input) && input == output;
        let accumulates_in_output = !is_pair && !loses_precision;
        Kernel { element: input.size() as i64, accumulator, vector, accumulates_in_output }
    }
}

/// Bytes of a C++ pair of a `first` bytes wide member and a `second` bytes wide one.
fn pair(first: u64, second: u64) -> u64 {
    first.next_multiple_of(second) + second
}

/// The part of a launch that decides its scratch memory.
struct Launch {
    outputs: i64,
    accumulator: u64,
    output_vector: i64,
    block_width: i64,
    reduces_across_lanes: bool,
    outputs_per_block: i64,
    blocks_per_output: i64,
}

impl Launch {
    fn new(device: &Device, kernel: &Kernel, space: &Space) -> Launch {
        let outputs = space.outputs();
        let inputs_per_output = space.inputs() / outputs;
        let reduced = space.reduced();
        let lanes_reduce = reduced == space.dims.len() || space.dims[0].input < space.dims[reduced].input;
        let fastest = if lanes_reduce { space.dims.first() } else { space.dims.get(reduced) };
        let is_dense = fastest.is_none_or(|d| d.input == kernel.element);
        let (mut across, down) = if lanes_reduce { (inputs_per_output, outputs) } else { (outputs, inputs_per_output) };
        let mut output_vector = 1;
        if is_dense && lanes_reduce && across >= 128 && reduced == 1 {
            across /= kernel.vector;
        } else if is_dense && !lanes_reduce {
            output_vector = output_vector_size(kernel, space);
            across /= output_vector;
        }
        let (block_width, block_height) = block(across, down, THREADS_PER_BLOCK / output_vector);
        let mut launch = Launch {
            outputs,
            accumulator: kernel.accumulator,
            output_vector,
            block_width,
            reduces_across_lanes: lanes_reduce,
            outputs_per_block: if lanes_reduce { 1 } else { block_width },
            blocks_per_output: 1,
        };
        launch.share_work(device, inputs_per_output, block_height);
        launch
    }

    /// Divides the inputs of an output among warps, and then among blocks.
    fn share_work(&mut self, device: &Device, inputs: i64, block_height: i64) {
        let mut inputs_at_once = if self.reduces_across_lanes { self.block_width } else { 1 };
        let threshold = (block_height * 16).min(MOST_VALUES_PER_THREAD);
        if div_up(inputs, inputs_at_once) < threshold {
            self.outputs_per_block *= block_height;
            return;
        }
        inputs_at_once *= block_height;
        let values = div_up(inputs, inputs_at_once);
        let blocks_per_multiprocessor = device.threads_per_multiprocessor as i64 / (self.block_width * block_height);
        let target = device.multiprocessors as i64 * blocks_per_multiprocessor;
        if values >= MOST_VALUES_PER_THREAD && self.grid() <= target {
            let to_fill = div_up(target, self.grid());
            let useful = div_up(values, FEWEST_VALUES_PER_THREAD);
            let needed = div_up(values, MOST_VALUES_PER_THREAD);
            self.blocks_per_output = to_fill.min(useful).max(needed);
        }
    }

    fn grid(&self) -> i64 {
        div_up(self.outputs / self.output_vector, self.outputs_per_block)
    }

    fn staging_bytes(&self) -> u64 {
        let lanes = if self.reduces_across_lanes { 1 } else { self.block_width * self.output_vector };
        self.accumulator * (self.outputs * self.blocks_per_output * lanes) as u64
    }

    fn semaphore_bytes(&self) -> u64 {
        SEMAPHORE * self.grid() as u64
    }
}

/// Width and height of a block: powers of two, at least a warp wide where there is enough to do.
fn block(across: i64, down: i64, threads: i64) -> (i64, i64) {
    let (across, down) = (power_of_two(across.min(threads)), power_of_two(down.min(threads)));
    let height = down.min(threads / across.min(WARP));
    (across.min(threads / height), height)
}

/// The largest power of two that is at most `n`, and 1 for 0.
fn power_of_two(n: i64) -> i64 {
    1 << n.max(1).ilog2()
}

/// How many neighbouring outputs a thread can load at once: 4, 2 or 1, as alignment and sizes allow.
fn output_vector_size(kernel: &Kernel, space: &Space) -> i64 {
    let at = space.reduced();
    let strides = space.dims.iter().enumerate().filter(|(d, _)| *d != at).map(|(_, dim)| dim.input / kernel.element);
    let mut size = 4;
    for n in strides.chain([space.start / kernel.element, space.dims[at].size]) {
        while n % size != 0 {
            size /= 2;
        }
    }
    size
}

fn div_up(n: i64, by: i64) -> i64 {
    (n + by - 1) / by
}
