//! What a row's `lower` sees: the arguments of a call with tensors on storages.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::Lowered;
use crate::dtype::Dtype;
use crate::lower::tensor::Tensor;

/// An argument.
#[derive(Clone, Debug)]
pub enum Operand {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// A type.
    Dtype(Dtype),
    /// A tensor.
    Tensor(Tensor),
    /// A list.
    List(Vec<Operand>),
}

/// The arguments of a call. The accessors say what is wrong, since `shapes` may have asked for less.
pub struct Operands(pub SmallVec<[Operand; 4]>);

impl Operands {
    /// The argument at a position.
    pub fn at(&self, position: usize) -> &Operand {
        self.0.get(position).unwrap_or(&Operand::None)
    }

    /// The tensor at a position.
    pub fn tensor(&self, position: usize) -> Result<&Tensor, String> {
        self.optional(position).ok_or_else(|| format!("argument {} must be a tensor", position + 1))
    }

    /// The tensor at a position, if there is one.
    pub fn optional(&self, position: usize) -> Option<&Tensor> {
        match self.at(position) {
            Operand::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The list of tensors at a position.
    pub fn tensors(&self, position: usize) -> Result<Vec<&Tensor>, String> {
        let wrong = || format!("argument {} must be a list of tensors", position + 1);
        let Operand::List(items) = self.at(position) else { return Err(wrong()) };
        items.iter().map(|item| if let Operand::Tensor(tensor) = item { Ok(tensor) } else { Err(wrong()) }).collect()
    }

    /// The integer at a position.
    pub fn int(&self, position: usize) -> Result<i64, String> {
        match self.at(position) {
            Operand::Int(number) => Ok(*number),
            _ => Err(format!("argument {} must be an integer", position + 1)),
        }
    }

    /// The list of integers at a position; a single one counts as a list of one.
    pub fn ints(&self, position: usize) -> Result<Vec<i64>, String> {
        let wrong = || format!("argument {} must be a list of integers", position + 1);
        match self.at(position) {
            Operand::Int(number) => Ok(vec![*number]),
            Operand::List(items) => {
                items.iter().map(|item| if let Operand::Int(n) = item { Ok(*n) } else { Err(wrong()) }).collect()
            }
            _ => Err(wrong()),
        }
    }

    /// The number at a position.
    pub fn float(&self, position: usize) -> Option<f64> {
        match self.at(position) {
            Operand::Int(number) => Some(*number as f64),
            Operand::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The switch at a position.
    pub fn flag(&self, position: usize) -> bool {
        matches!(self.at(position), Operand::Bool(true))
    }

    /// The type at a position, if there is one.
    pub fn dtype(&self, position: usize) -> Option<Dtype> {
        match self.at(position) {
            Operand::Dtype(dtype) => Some(*dtype),
            _ => None,
        }
    }
}

/// One tensor comes out.
pub(super) fn one(tensor: Tensor) -> Lowered {
    Ok(smallvec![tensor])
}
