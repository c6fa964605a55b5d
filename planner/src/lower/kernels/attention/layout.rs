//! Shapes and strides of tensors, with the rules by which PyTorch derives one layout from another.

/// A tensor's shape and strides, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// As many as `shape` has.
    pub strides: Vec<u64>,
}

impl Layout {
    /// The row-major layout of a shape.
    pub fn contiguous(shape: &[u64]) -> Layout {
        let mut strides = vec![1; shape.len()];
        for at in (1..shape.len()).rev() {
            strides[at - 1] = strides[at] * shape[at].max(1);
        }
        Layout { shape: shape.to_vec(), strides }
    }

    /// How many elements it has.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |elements, &size| elements.saturating_mul(size))
    }

    /// `is_contiguous()`: dimensions of one element may have any stride.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 && stride != expected {
                return false;
            }
            expected *= size;
        }
        true
    }

    /// `transpose(first, second)`.
    pub fn transposed(&self, first: usize, second: usize) -> Layout {
        let mut swapped = self.clone();
        swapped.shape.swap(first, second);
        swapped.strides.swap(first, second);
        swapped
    }

    /// With the last dimension cut to `size`.
    pub fn cut_last(&self, size: u64) -> Layout {
        let mut cut = self.clone();
        if let Some(last) = cut.shape.last_mut() {
            *last = size;
        }
        cut
    }

    /// The shape with another last dimension.
    pub fn shape_with_last(&self, size: u64) -> Vec<u64> {
        self.cut_last(size).shape
    }

    /// `stride(-1)`.
    pub fn last_stride(&self) -> u64 {
        self.strides.last().copied().unwrap_or(1)
    }

    /// `expand(shape)`, which must be possible.
    pub fn expanded(&self, shape: &[u64]) -> Layout {
        let added = shape.len() - self.shape.len();
        let stride = |at: usize| match at.checked_sub(added) {
            Some(own) if self.shape[own] == shape[at] => self.strides[own],
            _ => 0,
        };
        Layout { shape: shape.to_vec(), strides: (0..shape.len()).map(stride).collect() }
    }

    /// Whether `expand(shape)` is possible.
    pub fn broadcasts_to(&self, shape: &[u64]) -> bool {
        self.shape.len() <= shape.len()
            && self.shape.iter().rev().zip(shape.iter().rev()).all(|(&own, &wanted)| own == wanted || own == 1)
    }

    /// `is_non_overlapping_and_dense()`: a permutation of a contiguous tensor.
    pub fn is_dense(&self) -> bool {
        let mut dims: Vec<usize> = (0..self.shape.len()).filter(|&dim| self.shape[dim] > 1).collect();
        dims.sort_by_key(|&dim| self.strides[dim]);
        let mut expected = 1;
        dims.into_iter().all(|dim| {
            let fits = self.strides[dim] == expected;
            expected *= self.shape[dim];
            fits
        })
    }

    /// The layout of `empty_like`, and of what an elementwise op or a cast of this one tensor returns: the same strides
    /// where it is dense, else dense in the same order of dimensions (`at::infer_dense_strides`, ExpandUtils.cpp).
    pub fn like(&self) -> Layout {
        if self.is_dense() { self.clone() } else { self.packed() }
    }

    /// `at::infer_dense_strides`: dimensions of stride 0 compare as equal to every other. So are the results of elementwise
    /// ops of several tensors laid out, of which this one decides.
    pub fn packed(&self) -> Layout {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let compare = |first: usize, second: usize| {
            let (a, b) = (self.strides[first], self.strides[second]);
            match a.cmp(&b) {
                _ if a == 0 || b == 0 => Equal,
                Equal if self.shape[first] > self.shape[second] => Greater,
                order => order,
            }
        };
        let mut order: Vec<usize> = (0..self.shape.len()).rev().collect();
        for start in 1..order.len() {
            let mut moving = start;
            for other in (0..start).rev() {
                match compare(order[other], order[moving]) {
                    Greater => {
                        order.swap(other, moving);
                        moving = other;
                    }
                    Less => break,
                    Equal => {}
                }
            }
        }
        self.filled(&self.shape, &order)
    }

    /// `shape` laid out densely, the dimensions of `order` from the innermost on.
    fn filled(&self, shape: &[u64], order: &[usize]) -> Layout {
        let mut strides = vec![1; shape.len()];
        let mut stride = 1;
        for &dim in order {
            strides[dim] = stride;
            stride *= shape[dim].max(1);
        }
        Layout { shape: shape.to_vec(), strides }
    }

    /// `shape` laid out densely in the order of this layout's strides, earlier dimensions first where they are equal.
    pub fn matching(&self, shape: &[u64]) -> Layout {
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.sort_by_key(|&dim| self.strides[dim]);
        self.filled(shape, &order)
    }

    /// What a new tensor of `shape` takes from this one where PyTorch asks for its `suggest_memory_format()`: contiguous, or
    /// channels last where the strides of four dimensions allow it, which takes a last dimension of one element.
    pub fn suggested(&self, shape: &[u64]) -> Layout {
        let mut least = 0;
        for dim in [1, 3, 2, 0] {
            let fits = shape.len() == 4 && self.strides[dim] >= least;
            if !fits || dim == 0 && least == self.strides[1] {
                return Layout::contiguous(shape);
            }
            least = self.strides[dim] * self.shape[dim].max(1);
        }
        self.filled(shape, &[1, 3, 2, 0])
    }

    /// `view(shape)`, where it needs no copy (`at::detail::computeStride`, TensorUtils.cpp).
    pub fn viewed(&self, shape: &[u64]) -> Option<Layout> {
        let mut strides = vec![0; shape.len()];
        let mut left = shape.len();
        let (mut base, mut elements, mut covered) = (self.last_stride(), 1, 1);
        for dim in (0..self.shape.len()).rev() {
            elements *= self.shape[dim];
            let goes_on = dim > 0 && (self.shape[dim - 1] == 1 || self.strides[dim - 1] == elements * base);
            if goes_on {
                continue;
            }
            while left > 0 && (covered < elements || shape[left - 1] == 1) {
                left -= 1;
                strides[left] = covered * base;
                covered *= shape[left];
            }
            if covered != elements {
                return None;
            }
            if dim > 0 {
                (base, elements, covered) = (self.strides[dim - 1], 1, 1);
            }
        }
        (left == 0).then_some(Layout { shape: shape.to_vec(), strides })
    }
}
