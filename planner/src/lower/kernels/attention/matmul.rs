//! `matmul` of four dimensions and its backward, as far as attention needs them.

use super::layout::Layout;
use super::tape::{Held, Reference, Tape, Value};
use crate::versions::Change;

/// The operands of a `bmm`: their layouts, and references to those that its backward needs.
#[derive(Debug)]
pub struct Product {
    pub left: Layout,
    pub right: Layout,
    pub saved_left: Option<Reference>,
    pub saved_right: Option<Reference>,
}

/// A product, and what its backward needs.
pub struct Multiplied {
    pub output: Value,
    pub product: Product,
}

/// `matmul` of `[batch, heads, n, k]` and `[batch, heads, k, m]`: both reshaped to three dimensions, copied where a view
/// will not do. `needs` says which operand's gradient is wanted; `caller` names the right one if it is an input.
pub fn matmul(
    tape: &mut Tape,
    what: &'static str,
    operands: [&Value; 2],
    needs: [bool; 2],
    caller: Option<Held>,
    element: u64,
) -> Multiplied {
    let left = reshaped(tape, "left operand, contiguous", operands[0], element);
    let right = reshaped(tape, "right operand, contiguous", operands[1], element);
    let product = bmm(tape, what, &left.layout, &right.layout, element);
    let mut saved = |value: &Value, held: Option<Held>| match (value.buffer, held) {
        (None, Some(held)) => Reference::Held(held),
        _ => Reference::Own(tape.keep(value)),
    };
    let saved_left = needs[1].then(|| saved(&left, None));
    let saved_right = needs[0].then(|| saved(&right, caller));
    for (reshaped, operand) in [(&right, operands[1]), (&left, operands[0])] {
        if reshaped.buffer != operand.buffer {
            tape.drop(reshaped);
        }
    }
    let outer = &operands[0].layout.shape;
    let layout = Layout::contiguous(&[outer[0], outer[1], product.layout.shape[1], product.layout.shape[2]]);
    let product_of = Product { left: left.layout, right: right.layout, saved_left, saved_right };
    Multiplied { output: product.seen(layout), product: product_of }
}

/// `reshape` to `[batch * heads, rows, columns]`.
pub fn reshaped(tape: &mut Tape, what: &'static str, value: &Value, element: u64) -> Value {
    let shape = &value.layout.shape;
    let flat = [shape[0] * shape[1], shape[2], shape[3]];
    match value.layout.viewed(&flat) {
        Some(layout) => value.seen(layout),
        None => tape.tensor(what, Layout::contiguous(&flat), element),
    }
}

/// `bmm`, which copies operands whose rows or columns cuBLAS cannot step over (`prepare_batch_matrix_for_cublas`,
/// `aten/src/ATen/native/cuda/Blas.cpp`). Over an inner size of 1 it is a kernel of Triton's.
fn bmm(tape: &mut Tape, what: &'static str, left: &Layout, right: &Layout, element: u64) -> Value {
    let (rows, inner, columns) = (left.shape[1], left.shape[2], right.shape[2]);
    let output = tape.tensor(what, Layout::contiguous(&[left.shape[0], rows, columns]), element);
    if inner == 1 && tape.rules.has(Change::OuterProductsWithoutBlas) {
        return output;
    }
    let copies = if columns == 1 {
        [steps(left, (1, 2), (rows, inner)), steps(right, (1, 2), (inner, columns))].map(|fits| !fits)
    } else {
        [steps(right, (2, 1), (columns, inner)), steps(left, (2, 1), (inner, rows))].map(|fits| !fits)
    };
    let sizes = if columns == 1 { [left.elements(), right.elements()] } else { [right.elements(), left.elements()] };
    let made: Vec<Value> = (0..2)
        .filter(|&at| copies[at])
        .map(|at| tape.tensor("operand for cuBLAS", Layout::contiguous(&[sizes[at]]), element))
        .collect();
    tape.blas();
    made.iter().rev().for_each(|copy| tape.drop(copy));
    output
}

/// Whether cuBLAS can read the matrices in place.
fn steps(layout: &Layout, (fast, leading): (usize, usize), (m, n): (u64, u64)) -> bool {
    let stride = |dim: usize| layout.strides[dim];
    stride(fast) == 1 && stride(leading) >= m.max(1)
        || stride(leading) == 1 && stride(fast) >= n.max(1)
        || layout.is_contiguous() && stride(1) != 0 && stride(2) != 0
}

/// `BmmBackward0`: the right operand's gradient, then the left one's. Takes over the gradient.
pub fn product_backward(
    tape: &mut Tape,
    what: [&'static str; 2],
    gradient: Value,
    product: Product,
    needs: [bool; 2],
    element: u64,
) -> [Option<Value>; 2] {
    let shape = &gradient.layout.shape;
    let flat = match shape.len() {
        4 => Layout::contiguous(&[shape[0] * shape[1], shape[2], shape[3]]),
        _ => gradient.layout.clone(),
    };
    let right = needs[1].then(|| bmm(tape, what[1], &product.left.transposed(1, 2), &flat, element));
    let left = needs[0].then(|| bmm(tape, what[0], &flat, &product.right.transposed(1, 2), element));
    tape.drop(&gradient);
    [product.saved_right, product.saved_left].iter().flatten().for_each(|reference| tape.release(reference));
    [left, right]
}
