//! Strides: the order in which PyTorch visits dimensions, and the layout of a copy that keeps it.
//!
//! Read from aten/src/ATen/TensorIterator.cpp (reorder_dimensions), aten/src/ATen/ExpandUtils.cpp (infer_dense_strides)
//! and c10/core/TensorImpl.h (is_non_overlapping_and_dense).

use std::cmp::Ordering;

/// Where a tensor's elements lie, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Elements along each dimension.
    pub shape: Vec<u64>,
    /// Distance between neighbours along each dimension.
    pub strides: Vec<i64>,
    /// Distance of the first element from the start of its storage.
    pub offset: u64,
}

impl Layout {
    /// Rows one after another from the start of the storage, the last dimension fastest.
    pub fn contiguous(shape: &[u64]) -> Layout {
        let mut strides = vec![1; shape.len()];
        for at in (1..shape.len()).rev() {
            strides[at - 1] = strides[at] * shape[at].max(1) as i64;
        }
        Layout { shape: shape.to_vec(), strides, offset: 0 }
    }

    /// How many elements there are.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Whether elements follow one another in row-major order; dimensions of one element do not count.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().filter(|(size, _)| **size != 1).all(|(&size, &stride)| {
            let fits = stride == expected;
            expected *= size as i64;
            fits
        })
    }

    /// The layout of `tensor.to(another dtype)`: the order of the dimensions stays, gaps and repeats go.
    pub fn of_copy(&self) -> Layout {
        if self.is_dense() {
            return Layout { offset: 0, ..self.clone() };
        }
        let order = fastest_first(self.shape.len(), |a, b| {
            compare_strides(self.strides[a], self.strides[b]).then_sizes(self.shape[a], self.shape[b])
        });
        let mut strides = vec![0; self.shape.len()];
        let mut next = 1;
        for dim in order {
            strides[dim] = next;
            next *= self.shape[dim].max(1) as i64;
        }
        Layout { shape: self.shape.clone(), strides, offset: 0 }
    }

    fn is_dense(&self) -> bool {
        let mut dims: Vec<(i64, u64)> =
            self.strides.iter().copied().zip(self.shape.iter().copied()).filter(|&(_, size)| size != 1).collect();
        dims.sort_unstable();
        let mut expected = 1;
        dims.into_iter().all(|(stride, size)| {
            let fits = stride == expected;
            expected *= size as i64;
            fits
        })
    }
}

/// What comparing two dimensions by one tensor's strides says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// One of them is repeated (stride 0): this tensor cannot tell.
    Ambiguous,
    /// The strides are equal.
    Equal,
    /// The order is known.
    Known(Ordering),
}

impl Comparison {
    /// Equal strides: the smaller dimension goes first. `None` when it remains open.
    pub fn then_sizes(self, a: u64, b: u64) -> Option<Ordering> {
        match self {
            Comparison::Known(order) => Some(order),
            Comparison::Equal if a > b => Some(Ordering::Greater),
            _ => None,
        }
    }
}

/// Compares two dimensions by one tensor's strides.
pub fn compare_strides(a: i64, b: i64) -> Comparison {
    match (a, b) {
        (0, _) | (_, 0) => Comparison::Ambiguous,
        _ if a == b => Comparison::Equal,
        _ => Comparison::Known(a.cmp(&b)),
    }
}

/// The dimensions from the fastest to the slowest: an insertion sort that starts from the last dimension and in which a
/// dimension passes those that it cannot be compared with (`None`).
pub fn fastest_first(dims: usize, compare: impl Fn(usize, usize) -> Option<Ordering>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dims).rev().collect();
    for start in 1..dims {
        let mut at = start;
        for before in (0..start).rev() {
            match compare(order[before], order[at]) {
                Some(Ordering::Greater) => {
                    order.swap(before, at);
                    at = before;
                }
                Some(_) => break,
                None => {}
            }
        }
    }
    order
}
