//! The one table of operators: what each gives, allocates, saves for backward, and what its backward allocates.
//!
//! One row an operator, in the file of its kind; `row.rs` has what it says. A row's `shapes` says which tensors come
//! out (the graph asks); its `lower` does on storages what PyTorch's dispatcher, autograd and kernels do (the lowering
//! asks). The tables of ATen's overloads and of the operators that can be saved are built from the rows.

mod activation;
pub mod aten;
mod attention;
mod batch_norm;
mod call;
mod complex;
mod convolution;
mod create;
mod elementwise;
mod embedding;
mod grouped;
mod in_place;
mod indexing;
mod loss;
mod masked;
mod matrix;
mod normalize;
mod opaque;
mod operands;
mod pages;
mod pooling;
mod quantized;
mod reduce;
mod routing;
mod row;
mod run;
mod savable;
mod stored;
#[cfg(test)]
mod tests;
mod transposed;
mod upsample;
mod views;
mod weight_norm;
mod windows;
mod work;

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

pub use attention::{FLASH_ATTENTION, SCALED_DOT_PRODUCT_ATTENTION};
pub use call::Call;
pub use convolution::convolution_workspace;
pub use grouped::GROUPED_MM;
pub use indexing::INDEX;
pub use normalize::SOFTMAX;
pub use opaque::{OPAQUE, Unknown, unknown};
pub use operands::{Operand, Operands};
pub use pages::PAGES_KERNEL;
pub use routing::NONZERO;
pub use row::{Autocast, Lower, Lowered, Returns, Shapes};
pub use run::{BACKWARD, LOAD, MAKE_OPTIMIZER, MARK, SET_GRAD_ENABLED, changes_optimizer};
pub use savable::{Savable, matrix_products, savable, savable_named};
pub use stored::{KERNEL, other_kernels};
pub use work::{Class, Known, Multiplied, Works, works};

use row::{Lines, Names, Row};

pub(crate) use call::dimension;
pub(crate) use elementwise::{add, cast, common_type, elementwise, to};
pub(crate) use matrix::{addmm, matmul};
pub(crate) use reduce::{reduce, sum_to};

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
    /// How its work follows from its tensors.
    pub class: Class,
    /// What autocast does with its arguments.
    pub autocast: Autocast,
    /// The shapes that come out.
    pub shapes: fn(&Call) -> Shapes,
    /// What it does on storages.
    pub lower: Lower,
}

impl Operator {
    /// The place of the parameter of that name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.name == name)
    }
}

const TABLE: [&[Row]; 28] = [
    activation::ROWS,
    attention::ROWS,
    batch_norm::ROWS,
    complex::ROWS,
    convolution::ROWS,
    create::ROWS,
    elementwise::ROWS,
    embedding::ROWS,
    grouped::ROWS,
    in_place::ROWS,
    indexing::ROWS,
    masked::ROWS,
    loss::ROWS,
    matrix::ROWS,
    normalize::ROWS,
    opaque::ROWS,
    pages::ROWS,
    pooling::ROWS,
    windows::ROWS,
    quantized::ROWS,
    stored::ROWS,
    reduce::ROWS,
    routing::ROWS,
    run::ROWS,
    transposed::ROWS,
    upsample::ROWS,
    views::ROWS,
    weight_norm::ROWS,
];

/// All operators, by name.
pub fn all() -> &'static FxHashMap<&'static str, Operator> {
    static ALL: OnceLock<FxHashMap<&'static str, Operator>> = OnceLock::new();
    ALL.get_or_init(|| TABLE.iter().copied().flatten().map(|row| (row.name, operator(row))).collect())
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
    let Row { name, returns, source, class, autocast, shapes, lower, .. } = *row;
    Operator { name, parameters, variadic, returns, source, class, autocast, shapes, lower }
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
