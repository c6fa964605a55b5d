//! Products with quantised weights, as bitsandbytes makes them: in 4 bits and as LLM.int8().
//!
//! ```text
//! 4 bits   few rows: one kernel over the codes     more: the weight is made whole, then a linear layer
//!          backward: the weight is made whole again, the gradient times it
//! int8     rows quantised (i8, a scale each), product in i32, made f16 (and the run's type)
//! ```

use smallvec::smallvec;

use super::call::one as one_shape;
use super::elementwise::cast;
use super::matrix::{linear_of, matmul, mm};
use super::operands::one;
use super::reduce::{reduce, whole};
use super::views::transposed;
use super::{Autocast, Call, Class, Lowered, Multiplied, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::Quantized;
use crate::lower::autocast::cast_argument;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::four_bit::uses_fused_kernel;
use crate::lower::kernels::reduce::Reduction;
use crate::lower::tensor::{Tensor, TensorData, contiguous_strides};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "matmul_4bit",
        signature: "input, weight, bias, out_features, nested, stored_dtype=None",
        returns: Returns::One,
        source: "bitsandbytes 0.50.2, autograd/_functions.py, matmul_4bit and MatMul4Bit; backends/cuda/ops.py, gemm_4bit",
        class: Class::Product { left: 0, right: None, of: Multiplied::Matrices },
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| {
            let outputs = u64::try_from(call.int(3)?).map_err(|_| "a size is negative".to_owned())?;
            product_shape(call, outputs)
        },
        lower: matmul_4bit,
    },
    Row {
        name: "matmul_8bit",
        signature: "input, weight, bias, threshold=False",
        returns: Returns::One,
        source: "bitsandbytes 0.50.2, autograd/_functions.py, MatMul8bitLt; backends/cuda/ops.py, int8_vectorwise_quant",
        class: Class::Product { left: 0, right: None, of: Multiplied::Stored(Dtype::I8) },
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| product_shape(call, call.shape(1)?.first().copied().unwrap_or(1)),
        lower: matmul_8bit,
    },
];

/// The shape of a product with a weight that makes so many outputs.
pub(super) fn product_shape(call: &Call, outputs: u64) -> Shapes {
    match call.shape(0)?.split_last() {
        Some((_, leading)) => one_shape(leading.iter().copied().chain([outputs]).collect()),
        None => Err("a scalar has no product with a matrix".to_owned()),
    }
}

fn rows_and_columns(x: &Tensor) -> Result<(u64, u64), String> {
    let (columns, leading) = x.sizes.split_last().ok_or("a scalar has no product with a matrix")?;
    Ok((leading.iter().product(), *columns))
}

/// What bitsandbytes' functions call below autograd is not told apart.
fn refuse_selection(context: &Context) -> Result<(), String> {
    if context.dispatches() {
        return Err("checkpoint-save with quantised layers in the checkpointed region is not planned".to_owned());
    }
    Ok(())
}

// ---- 4 bits -----------------------------------------------------------------------------------------------------------

/// A weight in 4 bits: what its codes stand for.
#[derive(Clone, Copy)]
struct FourBit {
    outputs: u64,
    inputs: u64,
    nested: bool,
    /// The type that it had before it was quantised (functional.py, `QuantState.dtype`).
    dtype: Dtype,
}

impl FourBit {
    /// The scales as float32, where they are quantised themselves (functional.py, `dequantize_blockwise`).
    fn scales(self, context: &mut Context) -> Option<Tensor> {
        self.nested.then(|| {
            context.empty("dequantize_blockwise", &[Quantized::scales(self.outputs * self.inputs)], Dtype::F32)
        })
    }

    fn whole(self, context: &mut Context, dtype: Dtype) -> Tensor {
        context.empty("dequantize_4bit", &[self.outputs, self.inputs], dtype)
    }
}

fn matmul_4bit(context: &mut Context, operands: &Operands) -> Lowered {
    refuse_selection(context)?;
    let (input, weight, bias) = (operands.tensor(0)?, operands.tensor(1)?, operands.optional(2));
    let (_, inputs) = rows_and_columns(input)?;
    let dtype = operands.dtype(5).unwrap_or(context.settings.weights);
    let weight_of = FourBit { outputs: operands.int(3)?.max(0) as u64, inputs, nested: operands.flag(4), dtype };
    let tracked: smallvec::SmallVec<[&Tensor; 2]> = std::iter::once(input).chain(bias).collect();
    let records = context.records(&tracked);
    let enabled = context.grad_enabled() && !records;
    let output = context.with_gradients(enabled, |context| gemm_4bit(context, input, bias, weight_of))?;
    if records {
        let output =
            TensorData::new(output.storage.clone(), output.dtype, output.sizes.clone(), output.strides.clone());
        let weight = weight.clone();
        let (needs_input, bias_dtype) = (input.requires_grad(), trained(bias));
        context.record(
            "MatMul4BitBackward",
            &[Some(input), None, bias],
            &[&output],
            Box::new(move |context, g| {
                let _weight = &weight;
                let Some(g) = &g[0] else { return Gradients::new() };
                let bias = bias_dtype.map(|dtype| bias_gradient(context, g, dtype));
                smallvec![needs_input.then(|| input_gradient(context, g, weight_of)), None, bias]
            }),
        );
        return one(output);
    }
    one(output)
}

/// The type of a bias that needs a gradient.
fn trained(bias: Option<&Tensor>) -> Option<Dtype> {
    bias.filter(|bias| bias.requires_grad()).map(|bias| bias.dtype)
}

/// `grad_output.sum(0, dtype=ctx.dtype_bias)`, in 4 bits as in 8: autograd sums what is left of the other dimensions.
fn bias_gradient(context: &mut Context, g: &Tensor, dtype: Dtype) -> Tensor {
    let marks: Vec<bool> = (0..g.sizes.len()).map(|dim| dim == 0).collect();
    reduce(context, "sum", Reduction::Sum, g, &marks, false, dtype)
}

/// `MatMul4Bit.backward`: the weight is made whole in the type it had, the gradient times it.
fn input_gradient(context: &mut Context, g: &Tensor, weight: FourBit) -> Tensor {
    let scales = weight.scales(context);
    let whole = weight.whole(context, weight.dtype);
    drop(scales);
    let casted = if whole.dtype == g.dtype { whole.clone() } else { cast(context, &whole, g.dtype) };
    drop(whole);
    matmul(context, g, &casted).unwrap_or_else(|message| context.fail(&message))
}

/// backends/cuda/ops.py, `gemm_4bit`: one kernel over the codes, or a linear layer over the whole weight.
fn gemm_4bit(context: &mut Context, x: &Tensor, bias: Option<&Tensor>, weight: FourBit) -> Result<Tensor, String> {
    let (rows, inputs) = rows_and_columns(x)?;
    let sizes: Vec<u64> = x.sizes[..x.sizes.len() - 1].iter().copied().chain([weight.outputs]).collect();
    if rows == 0 {
        return Ok(context.empty("gemm_4bit", &sizes, x.dtype));
    }
    if uses_fused_kernel(&context.device, x.dtype, rows, weight.outputs, inputs) {
        let _copy = (!x.is_contiguous()).then(|| context.empty("clone", &x.sizes, x.dtype));
        return Ok(context.empty("gemm_4bit", &sizes, x.dtype));
    }
    let dequantized = weight.scales(context);
    let shifted = dequantized.as_ref().map(|scales| context.empty_like("add", scales));
    let whole = weight.whole(context, x.dtype);
    // The custom operator has no rule of autocast; the linear layer within has.
    let mut casted = |tensor: &Tensor| cast_argument(context, Autocast::Lower, tensor);
    let bias = bias.map(&mut casted);
    let (matrix, input) = (casted(&whole), casted(x));
    let output = linear_of(context, &input, &matrix, bias.as_ref());
    drop((shifted, dequantized));
    output
}

// ---- int8 -------------------------------------------------------------------------------------------------------------

/// `MatMul8bitLt.forward`: its input stays with the node, outside what checkpointing knows of.
fn matmul_8bit(context: &mut Context, operands: &Operands) -> Lowered {
    refuse_selection(context)?;
    let (input, weight, bias) = (operands.tensor(0)?, operands.tensor(1)?, operands.optional(2));
    let (rows, columns) = rows_and_columns(input)?;
    let outputs = weight.sizes.first().copied().unwrap_or(1);
    let sizes: Vec<u64> = input.sizes[..input.sizes.len() - 1].iter().copied().chain([outputs]).collect();
    let flat =
        (input.sizes.len() == 3 && !input.is_contiguous()).then(|| context.empty("clone", &input.sizes, input.dtype));
    let half = (input.dtype != Dtype::F16).then(|| context.empty("_to_copy", &input.sizes, Dtype::F16));
    let statistics = context.empty("int8_vectorwise_quant", &[rows], Dtype::F32);
    let quantized = context.empty("int8_vectorwise_quant", &[rows, columns], Dtype::I8);
    if operands.flag(3) {
        look_for_outliers(context, rows, columns);
    }
    drop(half);
    let product = context.empty("int8_linear_matmul", &[rows, outputs], Dtype::I32);
    if !columns.is_multiple_of(4) {
        product_of_floats(context, (rows, columns, outputs));
    }
    let floats = context.empty("int8_mm_dequant", &[rows, outputs], Dtype::F16);
    let result = if input.dtype == Dtype::F16 { floats } else { cast(context, &floats, input.dtype) };
    drop((product, quantized, statistics));
    let output = TensorData::new(result.storage.clone(), result.dtype, sizes[..].into(), contiguous_strides(&sizes));
    drop(result);
    let tracked: smallvec::SmallVec<[&Tensor; 2]> = std::iter::once(input).chain(bias).collect();
    if context.records(&tracked) {
        let kept = flat.unwrap_or_else(|| input.clone());
        let (dtype, input_sizes, weight_sizes) = (input.dtype, input.sizes.clone(), weight.sizes.clone());
        let (needs_input, bias_dtype) = (input.requires_grad(), trained(bias));
        context.record(
            "MatMul8bitLtBackward",
            &[Some(input), None, bias],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let (sizes, bias) = (&input_sizes, bias_dtype.map(|dtype| bias_gradient(context, g, dtype)));
                smallvec![needs_input.then(|| int8_gradient(context, g, dtype, &weight_sizes, sizes)), None, bias]
            }),
        );
        if needs_input {
            context.keep_with_node(&output, crate::lower::context::detach(&kept));
        }
    }
    one(output)
}

/// What looking for columns of outliers takes, where there are none: whether an input has any is not known before it runs
/// (backends/cuda/ops.py, `int8_vectorwise_quant`; the last one is the zero that its codes are overwritten with).
fn look_for_outliers(context: &mut Context, rows: u64, columns: u64) {
    let absolute = context.empty("abs", &[rows, columns], Dtype::F16);
    let outliers = context.empty("ge", &[rows, columns], Dtype::Bool);
    drop(absolute);
    drop(whole(context, "any", Reduction::Logical, &outliers, Dtype::Bool));
    if rows > 1 {
        drop(context.empty("index_put_", &[], Dtype::I8));
    }
}

/// cuBLASLt multiplies int8 only where the inner size is a multiple of 4; else it is done in float32
/// (backends/cuda/ops.py, `_int8_linear_matmul_impl`).
fn product_of_floats(context: &mut Context, (rows, columns, outputs): (u64, u64, u64)) {
    let input = context.empty("_to_copy", &[rows, columns], Dtype::F32);
    let weight = context.empty("_to_copy", &[outputs, columns], Dtype::F32);
    let product = mm(context, &input, &transposed(&weight, 0, 1));
    drop((input, weight));
    let whole = cast(context, &product, Dtype::I32);
    drop(product);
    drop(whole);
}

/// `MatMul8bitLt.backward`: the codes as numbers, times the scales over 127, in place; the gradient times them.
fn int8_gradient(context: &mut Context, g: &Tensor, dtype: Dtype, weight: &[u64], sizes: &[u64]) -> Tensor {
    let columns = g.sizes.last().copied().unwrap_or(1);
    let flat = context_flat(context, g, columns);
    let whole = context.empty("_to_copy", weight, dtype);
    let scales = context.empty("mul", &[weight.first().copied().unwrap_or(1), 1], Dtype::F32);
    drop(scales);
    let g = if flat.dtype == dtype { flat } else { cast(context, &flat, dtype) };
    let product = matmul(context, &g, &whole).unwrap_or_else(|message| context.fail(&message));
    TensorData::view(&product, sizes.into(), contiguous_strides(sizes))
}

/// `grad_output.reshape(-1, columns).contiguous()`
fn context_flat(context: &mut Context, g: &Tensor, columns: u64) -> Tensor {
    let sizes = [g.count() / columns.max(1), columns];
    if g.is_contiguous() {
        return TensorData::view(g, sizes[..].into(), contiguous_strides(&sizes));
    }
    context.empty("clone", &sizes, g.dtype)
}
