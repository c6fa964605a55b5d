//! TensorIterator: the layout of an elementwise operator's output (aten/src/ATen/TensorIterator.cpp).

use super::tensor::contiguous_strides;
use crate::graph::Dims;

/// The strides of an output of these sizes over operands of these sizes and strides.
///
/// All operands contiguous gives a contiguous output; equal dense layouts are kept; otherwise the output's dimensions
/// are ordered by the operands' strides (`reorder_dimensions`).
pub fn output_strides(sizes: &[u64], operands: &[(&Dims, &Dims)]) -> Dims {
    let default = contiguous_strides(sizes);
    let same_shape = operands.iter().all(|(shape, _)| shape[..] == *sizes);
    if same_shape && operands.iter().all(|(shape, strides)| contiguous(shape, strides)) {
        return default;
    }
    let broadcast: Vec<Dims> = operands.iter().map(|(shape, strides)| broadcast(sizes, shape, strides)).collect();
    let order = reorder(sizes, &broadcast);
    let mut strides = default;
    let mut next = 1;
    for dim in order {
        strides[dim] = next;
        next *= sizes[dim].max(1);
    }
    strides
}

fn contiguous(sizes: &[u64], strides: &[u64]) -> bool {
    let mut expected = 1;
    for (size, stride) in sizes.iter().zip(strides).rev() {
        if *size != 1 {
            if *stride != expected {
                return false;
            }
            expected *= size;
        }
    }
    true
}

/// An operand's strides over the output's dimensions: 0 where it is broadcast.
fn broadcast(sizes: &[u64], shape: &[u64], strides: &[u64]) -> Dims {
    let missing = sizes.len() - shape.len();
    (0..sizes.len())
        .map(|dim| match dim.checked_sub(missing) {
            Some(place) if shape[place] != 1 || sizes[dim] == 1 => strides[place],
            _ => 0,
        })
        .collect()
}

/// The output's dimensions, innermost in memory first: an insertion sort that leaves ambiguous pairs alone.
fn reorder(sizes: &[u64], operands: &[Dims]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).rev().collect();
    for start in 1..order.len() {
        let mut moving = start;
        for other in (0..start).rev() {
            match compare(sizes, operands, order[other], order[moving]) {
                std::cmp::Ordering::Greater => {
                    order.swap(other, moving);
                    moving = other;
                }
                std::cmp::Ordering::Less => break,
                std::cmp::Ordering::Equal => {}
            }
        }
    }
    order
}

fn compare(sizes: &[u64], operands: &[Dims], a: usize, b: usize) -> std::cmp::Ordering {
    for strides in operands {
        let (first, second) = (strides[a], strides[b]);
        if first == 0 || second == 0 {
            continue;
        }
        if first != second {
            return first.cmp(&second);
        }
        if sizes[a] > sizes[b] {
            return std::cmp::Ordering::Greater;
        }
    }
    std::cmp::Ordering::Equal
}
