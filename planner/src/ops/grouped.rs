//! Products of groups of rows, each with a matrix of its own: the experts of a mixture.

use smallvec::smallvec;

use super::call::one as one_shape;
use super::operands::one;
use super::views::transposed;
use super::{Autocast, Class, Lowered, Multiplied, Operands, Returns, Row};
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::context::{Context, detach};
use crate::lower::kernels::grouped::{is_fused, scratch};
use crate::lower::tensor::Tensor;
use crate::versions::Change;

/// Strides of operands and results are multiples of so many bytes.
const ALIGNMENT: u64 = 16;

/// From here on transformers calls PyTorch's operator (`_can_use_grouped_mm`).
const FIRST_CAPABILITY: (u32, u32) = (8, 0);

/// The product of groups of rows.
pub const GROUPED_MM: &str = "grouped_mm";

pub(super) const ROWS: &[Row] = &[Row {
    name: GROUPED_MM,
    signature: "input, weight, offs",
    returns: Returns::One,
    source: "aten/src/ATen/native/cuda/GroupedBlas.cpp; FunctionsManual.cpp, _grouped_mm_mat1_backward",
    class: Class::Product { left: 0, right: Some(1), of: Multiplied::Groups },
    autocast: Autocast::Keeps,
    savable: &["_grouped_mm.default"],
    aten: &[],
    shapes: |call| {
        let (input, weight) = (call.shape(0)?, call.shape(1)?);
        match (&input[..], &weight[..]) {
            ([rows, inner], [_, width, outputs]) if inner == width => one_shape(smallvec![*rows, *outputs]),
            _ => Err(format!("an input of shape {input:?} does not fit weights of shape {weight:?}")),
        }
    },
    lower: grouped_mm,
}];

/// The product outside autograd: rows by groups of matrices, or columns by rows, which gives a matrix a group.
fn plain(context: &mut Context, a: &Tensor, b: &Tensor, groups: u64) -> Tensor {
    let (rows, columns) = (a.sizes[a.sizes.len() - 2], b.sizes[b.sizes.len() - 1]);
    let sizes: Dims = if b.sizes.len() == 2 { smallvec![groups, rows, columns] } else { smallvec![rows, columns] };
    let output = context.empty("_grouped_mm", &sizes, a.dtype);
    if is_fused(&context.device, a.dtype) {
        let steps = scratch(&context.device, groups);
        context.scratch("_grouped_mm", &steps);
    } else {
        multiply_groups(context);
    }
    output
}

/// A product a group that has tokens. Where the numbers of tokens read as zero none is called; before 2.15 the handle's workspace
/// is made all the same.
fn multiply_groups(context: &mut Context) {
    if !context.settings.reads_zeros || !context.device.rules.has(Change::WorkspacePerCall) {
        context.use_blas();
    }
}

/// transformers' own operator (`_grouped_mm_fallback`): products into zeros; backward makes both gradients, needed or not, that
/// of the input first.
fn custom(context: &mut Context, input: &Tensor, weight: &Tensor, offsets: &Tensor) -> Lowered {
    let output = context.empty("grouped_mm_fallback", &[input.sizes[0], weight.sizes[2]], input.dtype);
    multiply_groups(context);
    if context.records(&[input, weight]) {
        let (kept_input, kept_weight) = (context.save(input), context.save(weight));
        context.record(
            "GroupedMmFallbackBackward",
            &[Some(input), Some(weight)],
            &[&output],
            Box::new(move |context, g| {
                if g[0].is_none() {
                    return Gradients::new();
                }
                let (input, weight) = (kept_input.get(context), kept_weight.get(context));
                let of_input = context.empty_like("zeros_like", &input);
                let of_weight = context.empty_like("zeros_like", &weight);
                multiply_groups(context);
                smallvec![Some(of_input), Some(of_weight)]
            }),
        );
        context.keep_with_node(&output, detach(offsets));
    }
    one(output)
}

fn is_column_major(x: &Tensor) -> bool {
    let last = x.sizes.len() - 1;
    x.strides[last - 1] == 1 && x.strides[last] == x.sizes[last - 1]
}

fn flipped(x: &Tensor) -> Tensor {
    let last = x.sizes.len() - 1;
    transposed(x, last - 1, last)
}

/// Backward makes the gradient of the weights first, in their layout.
fn grouped_mm(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, weight, offsets) = (operands.tensor(0)?, operands.tensor(1)?, operands.tensor(2)?);
    let [groups, inner, outputs] = weight.sizes[..] else { return Err("a matrix a group was expected".to_owned()) };
    if context.device.compute_capability < FIRST_CAPABILITY {
        return custom(context, input, weight, offsets);
    }
    let size = input.dtype.size();
    if !(inner * size).is_multiple_of(ALIGNMENT) || !(outputs * size).is_multiple_of(ALIGNMENT) {
        return Err(format!(
            "grouped_mm takes rows of a multiple of {ALIGNMENT} bytes alone, not of {inner} and {outputs} elements of {}",
            input.dtype
        ));
    }
    if !input.is_contiguous() {
        return Err("grouped_mm of rows that are not contiguous is not known".to_owned());
    }
    let saved = context.records(&[input, weight]).then(|| {
        let kept_input = weight.requires_grad().then(|| context.save(input));
        let kept_weight = input.requires_grad().then(|| context.save(weight));
        (kept_input, kept_weight, context.save(offsets))
    });
    let output = context.aten("_grouped_mm", |context| plain(context, input, weight, groups));
    if let Some((kept_input, kept_weight, kept_offsets)) = saved {
        let weight_turned = is_column_major(weight);
        context.record(
            "GroupedMmBackward0",
            &[Some(input), Some(weight)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let input = kept_input.as_ref().map(|saved| saved.get(context));
                let weight = kept_weight.as_ref().map(|saved| saved.get(context));
                let _offsets = kept_offsets.get(context);
                let of_weight = input.as_ref().map(|input| {
                    if weight_turned {
                        flipped(&plain(context, &flipped(g), input, groups))
                    } else {
                        plain(context, &flipped(input), g, groups)
                    }
                });
                smallvec![weight.as_ref().map(|weight| plain(context, g, &flipped(weight), groups)), of_weight]
            }),
        );
    }
    one(output)
}
