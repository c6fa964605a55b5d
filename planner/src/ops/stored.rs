//! Products with weights that a checkpoint stores quantised and that kernels outside PyTorch multiply with. What such a
//! kernel takes beside its output is planned as one allocation by `kernel`, which is a bound; the report says so.
//!
//! ```text
//! fp8      output; Triton's tuning of a new shape, or DeepGEMM's quantised input
//! packed   output; the whole weight, or Marlin's sums
//! ```

use super::operands::one;
use super::quantized::product_shape;
use super::{Autocast, Class, Lowered, Multiplied, Operands, Returns, Row};
use crate::bytes::{Bytes, MIB};
use crate::dtype::Dtype;
use crate::graph::{Argument, Graph};
use crate::lower::context::Context;
use crate::lower::tensor::Tensor;

/// Who asks for what a kernel takes beside its output.
pub const KERNEL: &str = "kernel";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "fp8_linear",
        signature: "input, weight, weight_scale_inv, bias",
        returns: Returns::One,
        source: "transformers 5.17.0, integrations/finegrained_fp8.py and deepgemm.py, fp8_linear",
        class: Class::Product { left: 0, right: None, of: Multiplied::Stored(Dtype::F8) },
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| product_shape(call, call.shape(1)?.first().copied().unwrap_or(1)),
        lower: fp8_linear,
    },
    Row {
        name: "packed_linear",
        signature: "input, in_features, out_features, by_output",
        returns: Returns::One,
        source: "gptqmodel, nn_modules/qlinear: marlin.py, tritonv2.py, exllamav2.py, awq_gemm.py",
        class: Class::Product { left: 0, right: None, of: Multiplied::Matrices },
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| {
            let outputs = u64::try_from(call.int(2)?).map_err(|_| "a size is negative".to_owned())?;
            product_shape(call, outputs)
        },
        lower: packed_linear,
    },
];

/// The output, its rows and the inner size.
fn output_of(context: &mut Context, op: &'static str, x: &Tensor, outputs: u64) -> Result<(Tensor, u64, u64), String> {
    let (columns, leading) = x.sizes.split_last().ok_or("a scalar has no product with a matrix")?;
    let sizes: Vec<u64> = leading.iter().copied().chain([outputs]).collect();
    Ok((context.empty(op, &sizes, x.dtype), leading.iter().product(), *columns))
}

/// The bias is added in place.
fn fp8_linear(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, weight) = (operands.tensor(0)?, operands.tensor(1)?);
    let outputs = weight.sizes.first().copied().unwrap_or(1);
    let (output, rows, columns) = output_of(context, "fp8_linear", input, outputs)?;
    let bytes = tuning(context, rows, outputs, columns).max(deep_gemm(context, rows, columns));
    context.workspace(KERNEL, bytes);
    one(output)
}

/// Triton tries several configurations of a kernel on a new key, and clears the device's cache before each with a buffer of
/// 256 MiB (triton 3.6.0, testing.py, `do_bench`; the key and the block's rows are those of kernels-community's
/// finegrained-fp8, matmul.py and utils.py).
fn tuning(context: &mut Context, rows: u64, outputs: u64, columns: u64) -> u64 {
    let block = rows.checked_next_power_of_two().unwrap_or(128).clamp(16, 128);
    if context.libraries.tuned.insert((outputs, columns, block)) { 256 * MIB } else { 0 }
}

/// On compute capability 9 and 10 transformers takes DeepGEMM where the machine has a compiler for it. It quantises the input
/// with PyTorch's operators: padded, in float32, in FP8 and copied, no more than 8 bytes an element are alive at a time; the
/// scales of 128 elements come three times (DeepGEMM, utils/math.py, `per_token_cast_to_fp8`).
fn deep_gemm(context: &Context, rows: u64, columns: u64) -> u64 {
    if !matches!(context.device.compute_capability.0, 9 | 10) {
        return 0;
    }
    let blocks = columns.div_ceil(128);
    rows.saturating_mul(blocks).saturating_mul(128 * 8 + 3 * Dtype::F32.size())
}

/// gptqmodel decides which kernel runs. Marlin, its first choice, sums in a buffer of float32 and may sort its input; Triton's
/// makes the whole weight.
fn packed_linear(context: &mut Context, operands: &Operands) -> Lowered {
    let input = operands.tensor(0)?;
    let inputs = operands.int(1)?.max(0) as u64;
    let outputs = operands.int(2)?.max(0) as u64;
    let (output, rows, _) = output_of(context, "packed_linear", input, outputs)?;
    let element = input.dtype.size();
    let whole = inputs.saturating_mul(outputs).saturating_mul(element);
    let sorted = rows.saturating_mul(inputs).saturating_mul(element);
    let sums = context.device.multiprocessors * rows.div_ceil(16).saturating_mul(16).min(64) * MARLIN_COLUMNS * 4;
    context.workspace(KERNEL, whole.max(sums.saturating_add(sorted)));
    one(output)
}

/// Columns of the largest tile of Marlin's kernels (`max_thread_n`; `gptq_marlin_gemm` allocates rows up to 64 of them for
/// each multiprocessor).
const MARLIN_COLUMNS: u64 = 256;

/// The most that the other kernels for packed weights take, which plans do not count: exllama's keeps a whole weight and
/// outputs for 8 times 2048 rows of 4 bytes (exllamav2.py, `scratch_space_fixed`); AWQ's own makes its output in 8 parts
/// (quantization/awq/modules/linear/gemm.py).
pub fn other_kernels(graph: &Graph) -> Bytes {
    let packed = graph.ops.iter().filter(|op| op.operator.name == "packed_linear");
    let bytes = packed.map(|op| match &op.arguments[..] {
        [Argument::Tensor(input), Argument::Int(inputs), Argument::Int(outputs), by_output, ..] => {
            let (inputs, outputs) = (inputs.unsigned_abs(), outputs.unsigned_abs());
            let elements: u64 = graph.shapes[input.index()].iter().product();
            match by_output {
                Argument::Bool(true) => (elements / inputs.max(1)).saturating_mul(outputs).saturating_mul(8 * 2),
                _ => inputs.saturating_mul(2).saturating_add(8 * 2048 * 4).saturating_mul(outputs),
            }
        }
        _ => 0,
    });
    Bytes(bytes.max().unwrap_or(0))
}
