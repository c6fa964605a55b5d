//! What a row's `shapes` sees: the arguments of a call and the shapes of its tensors.

use smallvec::{SmallVec, smallvec};

use super::Shapes;
use crate::graph::{Argument, Dims, TensorId};

/// A call whose output shapes are asked for.
pub struct Call<'a> {
    shapes: &'a [Dims],
    arguments: &'a [Argument],
}

impl<'a> Call<'a> {
    /// The call with these arguments, over tensors of these shapes.
    pub fn new(shapes: &'a [Dims], arguments: &'a [Argument]) -> Call<'a> {
        Call { shapes, arguments }
    }

    /// The argument at a position.
    pub fn argument(&self, position: usize) -> &'a Argument {
        self.arguments.get(position).unwrap_or(&Argument::None)
    }

    /// The shape of the tensor at a position.
    pub fn shape(&self, position: usize) -> Result<&'a Dims, String> {
        match self.argument(position) {
            Argument::Tensor(tensor) => Ok(self.shape_of(*tensor)),
            _ => Err(format!("argument {} must be a tensor", position + 1)),
        }
    }

    /// The shape of the argument at a position; a number counts as a tensor without dimensions.
    pub fn shape_or_scalar(&self, position: usize) -> Result<Dims, String> {
        match self.argument(position) {
            Argument::Int(_) | Argument::Float(_) | Argument::Bool(_) => Ok(Dims::new()),
            _ => self.shape(position).cloned(),
        }
    }

    fn shape_of(&self, tensor: TensorId) -> &'a Dims {
        &self.shapes[tensor.index()]
    }

    /// The shapes of a list of tensors.
    pub fn shape_list(&self, position: usize) -> Result<Vec<&'a Dims>, String> {
        let Argument::List(items) = self.argument(position) else {
            return Err(format!("argument {} must be a list of tensors", position + 1));
        };
        items
            .iter()
            .map(|item| match item {
                Argument::Tensor(tensor) => Ok(self.shape_of(*tensor)),
                _ => Err(format!("argument {} must be a list of tensors", position + 1)),
            })
            .collect()
    }

    /// The integer at a position.
    pub fn int(&self, position: usize) -> Result<i64, String> {
        match self.argument(position) {
            Argument::Int(number) => Ok(*number),
            _ => Err(format!("argument {} must be an integer", position + 1)),
        }
    }

    /// The switch at a position.
    pub fn flag(&self, position: usize) -> bool {
        *self.argument(position) == Argument::Bool(true)
    }

    /// The list of integers at a position; a single integer counts as a list of one.
    pub fn ints(&self, position: usize) -> Result<Vec<i64>, String> {
        let wrong = || format!("argument {} must be a list of integers", position + 1);
        match self.argument(position) {
            Argument::Int(number) => Ok(vec![*number]),
            Argument::List(items) => items
                .iter()
                .map(|item| match item {
                    Argument::Int(number) => Ok(*number),
                    _ => Err(wrong()),
                })
                .collect(),
            _ => Err(wrong()),
        }
    }
}

/// The dimension that a possibly negative number means.
pub(crate) fn dimension(dim: i64, count: usize) -> Result<usize, String> {
    let place = if dim < 0 { dim + count as i64 } else { dim };
    usize::try_from(place)
        .ok()
        .filter(|place| *place < count)
        .ok_or_else(|| format!("there is no dimension {dim} among {count}"))
}

/// One output of that shape.
pub(crate) fn one(shape: Dims) -> Shapes {
    Ok(smallvec![shape])
}

/// The shape to which both broadcast.
pub(crate) fn broadcast(left: &[u64], right: &[u64]) -> Result<Dims, String> {
    let count = left.len().max(right.len());
    let size = |shape: &[u64], dim: usize| match (dim + shape.len()).checked_sub(count) {
        Some(place) => shape[place],
        None => 1,
    };
    (0..count)
        .map(|dim| match (size(left, dim), size(right, dim)) {
            (1, other) | (other, 1) => Ok(other),
            (same, other) if same == other => Ok(same),
            _ => Err(format!("shapes {left:?} and {right:?} do not go together")),
        })
        .collect()
}

/// The shape that `view` and `reshape` are asked for: one size may be -1.
pub(crate) fn resolve_sizes(elements: u64, sizes: &[i64]) -> Result<Dims, String> {
    let disagree = || format!("{elements} elements do not fit the shape {sizes:?}");
    let mut known = 1u64;
    for size in sizes.iter().filter(|size| **size != -1) {
        let size = u64::try_from(*size).map_err(|_| format!("{size} is no size"))?;
        known = known.checked_mul(size).ok_or_else(disagree)?;
    }
    let open = sizes.iter().filter(|size| **size == -1).count();
    let fits = match open {
        0 => known == elements,
        1 => known != 0 && elements.is_multiple_of(known),
        _ => return Err("only one size can be -1".to_owned()),
    };
    if !fits {
        return Err(disagree());
    }
    Ok(sizes.iter().map(|size| if *size == -1 { elements / known } else { *size as u64 }).collect())
}

/// How many elements a shape has.
pub(crate) fn count(shape: &[u64]) -> u64 {
    shape.iter().product()
}

/// Several outputs.
pub(crate) fn several(shapes: impl IntoIterator<Item = Dims>) -> Shapes {
    Ok(SmallVec::from_iter(shapes))
}
