//! Weights that bitsandbytes quantises on their way to the device, and what it keeps beside them.
//!
//! ```text
//! 4 bits   weight [n], then scales [n / 64] f32 and codes [n / 2] u8; a table of 16; with nested scales their mean, and
//!          the scales as bytes with scales [n / 64 / 256] of their own and a table of 256; then the weight goes
//! int8     weight [rows, columns] f16, then scales [rows] f32 and codes [rows, columns] i8; then the weight goes
//! ```
//!
//! Read from bitsandbytes 0.50.2, nn/modules.py (`Params4bit._quantize`, `Int8Params._quantize`) and functional.py
//! (`quantize_4bit`, `get_4bit_type`, `quantize_blockwise`).

use std::rc::Rc;

use super::context::Context;
use super::kernels::layout::Layout;
use super::kernels::reduce::{Reduction, scratch};
use super::tensor::Storage;
use crate::dtype::Dtype;
use crate::graph::Quantized;

/// The bytes of a table of 16 float32, of one of 256, and of a single one.
const CODES: u64 = 64;
const DYNAMIC_CODES: u64 = 1024;
const NUMBER: u64 = 4;

/// Quantises a parameter: gives its codes; what belongs to them is kept with the run.
pub(super) fn load(context: &mut Context, number: u32, shape: &[u64], form: Quantized) -> Rc<Storage> {
    let stored: u64 = shape.iter().product();
    match form {
        Quantized::Int8 => {
            let whole = context.allocate("quantize", stored * Dtype::F16.size());
            let rows = shape.first().copied().unwrap_or(1);
            let kept = context.allocate("quantize", rows * NUMBER);
            let codes = context.allocate_for("load", stored, Some(number));
            context.libraries.quantization.push(kept);
            drop(whole);
            codes
        }
        Quantized::FourBit { nested } => four_bit(context, number, stored, nested),
    }
}

fn four_bit(context: &mut Context, number: u32, stored: u64, nested: bool) -> Rc<Storage> {
    let elements = stored * 2;
    let blocks = Quantized::scales(elements);
    let whole = context.allocate("quantize", elements * context.settings.weights.size());
    let first_scales = context.allocate("quantize", blocks * NUMBER);
    let codes = context.allocate_for("load", stored, Some(number));
    let table = context.allocate("quantize", CODES);
    // data.div_(data.abs().max())
    let absolute = context.allocate("abs", CODES);
    let largest = context.allocate("max", NUMBER);
    drop(absolute);
    drop(largest);
    if !nested {
        context.libraries.quantization.extend([first_scales, table]);
        drop(whole);
        return codes;
    }
    let offset = context.allocate("mean", NUMBER);
    let layout = Layout { shape: vec![blocks], strides: vec![1], offset: 0 };
    let steps = scratch(&context.device, Reduction::Mean, &layout, Dtype::F32, &[true], Dtype::F32);
    context.scratch("mean", &steps);
    let centred = context.allocate("sub", blocks * NUMBER);
    if context.libraries.dynamic_codes.is_none() {
        context.libraries.dynamic_codes = Some(context.allocate("quantize", DYNAMIC_CODES));
    }
    let second_scales = context.allocate("quantize", Quantized::nested_scales(blocks) * NUMBER);
    let scales = context.allocate("quantize", blocks);
    let second_table = context.allocate("quantize", DYNAMIC_CODES);
    drop(centred);
    drop(first_scales);
    drop(whole);
    context.libraries.quantization.extend([table, offset, second_scales, scales, second_table]);
    codes
}
