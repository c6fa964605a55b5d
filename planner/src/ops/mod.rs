//! The one table of operators: what each gives, allocates, saves for backward, and what its backward allocates.
//!
//! One row an operator, in the file of its kind. A row's `shapes` says which tensors come out (the graph asks); its
//! `lower` does on storages what PyTorch's dispatcher, autograd and kernels do (the lowering asks). Next to each stands
//! the PyTorch source that it was read from.

mod activation;
pub mod aten;
mod attention;
mod batch_norm;
mod call;
mod convolution;
mod create;
mod elementwise;
mod embedding;
mod grouped;
mod in_place;
mod indexing;
mod loss;
mod matrix;
mod normalize;
mod opaque;
mod operands;
mod pages;
mod pooling;
mod quantized;
mod reduce;
mod routing;
mod run;
mod stored;
mod views;
mod work;

use std::sync::OnceLock;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub use call::Call;
pub use convolution::convolution_workspace;
pub use opaque::{OPAQUE, Unknown, unknown};
pub use operands::{Operand, Operands};
pub use pages::PAGES_KERNEL;
pub use stored::{KERNEL, other_kernels};
pub use work::{Class, Known, Works, works};

pub(crate) use elementwise::{add, cast, common_type, elementwise, to};
pub(crate) use matrix::{addmm, matmul};
pub(crate) use reduce::{reduce, sum_to};

use crate::graph::Dims;
use crate::lower::context::Context;
use crate::lower::tensor::Tensor;

/// The shapes of an operator's outputs, or what is wrong with its arguments.
pub type Shapes = Result<SmallVec<[Dims; 2]>, String>;

/// What an operator gives back to the code that calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// One tensor, or nothing.
    One,
    /// A tuple of tensors.
    Tuple,
}

/// The value of an argument that a call leaves out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
}

/// A parameter of an operator.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value where a call leaves it out; None where a call must give it.
    pub default: Option<Default>,
}

/// A row of the table, as its file writes it.
pub(crate) struct Row {
    /// The name that specs call it by.
    pub name: &'static str,
    /// Parameters as Python writes them; `*sizes` takes the further positional ones as a list.
    pub signature: &'static str,
    /// Whether it gives one tensor or a tuple.
    pub returns: Returns,
    /// The PyTorch source that it was read from.
    pub source: &'static str,
    /// The shapes that come out.
    pub shapes: fn(&Call) -> Shapes,
    /// What it does on storages.
    pub lower: Lower,
}

/// What an operator gives on storages.
pub type Lowered = Result<SmallVec<[Tensor; 2]>, String>;

/// What an operator does on storages: the dispatcher, autograd and the kernels.
pub type Lower = fn(&mut Context, &Operands) -> Lowered;

/// An operator.
#[derive(Debug)]
pub struct Operator {
    /// The name that specs call it by.
    pub name: &'static str,
    /// What it takes.
    pub parameters: Vec<Parameter>,
    /// The position from which further arguments form a list.
    pub variadic: Option<usize>,
    /// Whether it gives one tensor or a tuple.
    pub returns: Returns,
    /// The PyTorch source that it was read from.
    pub source: &'static str,
    /// The shapes that come out.
    pub shapes: fn(&Call) -> Shapes,
    /// What it does on storages.
    pub lower: Lower,
    /// How its work follows from its tensors.
    pub class: Class,
}

const TABLE: [&[Row]; 22] = [
    activation::ROWS,
    attention::ROWS,
    batch_norm::ROWS,
    convolution::ROWS,
    create::ROWS,
    elementwise::ROWS,
    embedding::ROWS,
    grouped::ROWS,
    in_place::ROWS,
    indexing::ROWS,
    loss::ROWS,
    matrix::ROWS,
    normalize::ROWS,
    opaque::ROWS,
    pages::ROWS,
    pooling::ROWS,
    quantized::ROWS,
    stored::ROWS,
    reduce::ROWS,
    routing::ROWS,
    run::ROWS,
    views::ROWS,
];

/// All operators, by name.
pub fn all() -> &'static FxHashMap<&'static str, Operator> {
    static ALL: OnceLock<FxHashMap<&'static str, Operator>> = OnceLock::new();
    ALL.get_or_init(|| TABLE.iter().flat_map(|rows| rows.iter()).map(|row| (row.name, operator(row))).collect())
}

/// The operator of that name.
pub fn named(name: &str) -> Option<&'static Operator> {
    all().get(name)
}

fn operator(row: &Row) -> Operator {
    let mut variadic = None;
    let mut parameters = Vec::new();
    for (position, text) in row.signature.split(", ").filter(|text| !text.is_empty()).enumerate() {
        let (name, default) = match text.split_once('=') {
            None => (text, None),
            Some((name, default)) => (name, Some(parse_default(default))),
        };
        let name = match name.strip_prefix('*') {
            Some(name) => {
                variadic = Some(position);
                name
            }
            None => name,
        };
        parameters.push(Parameter { name, default });
    }
    let Row { name, returns, source, shapes, lower, .. } = *row;
    Operator { name, parameters, variadic, returns, source, shapes, lower, class: Class::of(name) }
}

fn parse_default(text: &str) -> Default {
    match text {
        "True" => Default::Bool(true),
        "False" => Default::Bool(false),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Default::Int(number),
            (_, Ok(number)) => Default::Float(number),
            _ => Default::None,
        },
    }
}
