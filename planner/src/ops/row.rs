//! What a row of the table says of an operator: everything that the planner knows of it, in one place.
//!
//! ```text
//! name, signature, returns    how specs call it                          (graph/call.rs)
//! source                      the PyTorch source that it was read from   (memplan ops)
//! class                       what its kernels compute and move          (work.rs)
//! autocast                    what autocast does with its arguments      (lower/autocast.rs)
//! savable                     what selective checkpointing can save      (savable.rs)
//! aten                        the overloads of ATen that it is           (aten.rs)
//! shapes, lower               what comes out, and what it does on storages
//! ```
//!
//! A row that leaves one of them out does not compile. Functions for rows of one kind (`unary`, `binary`, a file's
//! `row`) say what is the same for all of the kind and take the rest.

use smallvec::SmallVec;

use super::aten::Line;
use super::{Call, Class, Operands};
use crate::graph::Dims;
use crate::lower::context::Context;
use crate::lower::tensor::Tensor;

/// A row of the table, as its file writes it.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// The name that specs call it by.
    pub name: &'static str,
    /// Parameters as Python writes them; `*sizes` takes the further positional ones as a list.
    pub signature: &'static str,
    /// Whether it gives one tensor or a tuple.
    pub returns: Returns,
    /// The PyTorch source that it was read from.
    pub source: &'static str,
    /// How its work follows from its tensors.
    pub class: Class,
    /// What autocast does with its arguments.
    pub autocast: Autocast,
    /// The operators of ATen that it runs and whose results selective checkpointing can save, each with the overload
    /// that is called: `mm.default`. One that several rows run stands in the row that is nearest to it.
    pub savable: Names,
    /// The overloads of ATen that it is in an exported program.
    pub aten: Lines,
    /// The shapes that come out.
    pub shapes: fn(&Call) -> Shapes,
    /// What it does on storages.
    pub lower: Lower,
}

/// Names of ATen's operators with their overloads.
pub(crate) type Names = &'static [&'static str];

/// Overloads of ATen with their arguments.
pub(crate) type Lines = &'static [Line];

/// What an operator gives back to the code that calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// One tensor, or nothing.
    One,
    /// A tuple of tensors.
    Tuple,
}

/// What autocast does with an operator's arguments: the list of aten/src/ATen/autocast_mode.h that it stands on, in
/// PyTorch 2.11; from 2.9 to 2.15 the lists differ in `rms_norm` and in overloads with names of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autocast {
    /// Leaves them: it is on no list. No row is on that of operators that promote (`AT_FORALL_PROMOTE`).
    Keeps,
    /// Casts float32 to the lower type (`AT_FORALL_LOWER_PRECISION_FP`).
    Lower,
    /// Casts the lower type to float32 (`AT_FORALL_FP32`).
    Full,
    /// Asks for a float32 result where the argument `dtype` is not given (`AT_FORALL_FP32_SET_OPT_DTYPE`).
    FullResult,
}

/// The shapes of an operator's outputs, or what is wrong with its arguments.
pub type Shapes = Result<SmallVec<[Dims; 2]>, String>;

/// What an operator gives on storages.
pub type Lowered = Result<SmallVec<[Tensor; 2]>, String>;

/// What an operator does on storages: the dispatcher, autograd and the kernels.
pub type Lower = fn(&mut Context, &Operands) -> Lowered;
