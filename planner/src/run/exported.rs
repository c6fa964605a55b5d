//! What a run says of an exported program.

use crate::choices::choices;

/// What a loss is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// The program's own.
    Output,
    /// Cross entropy of its first output over the last dimension, with a label a row.
    CrossEntropy,
    /// The sum of its first output.
    Sum,
}

choices!(LossKind, "loss", "output" => LossKind::Output, "cross-entropy" => LossKind::CrossEntropy, "sum" => LossKind::Sum);

/// Values of symbols of sizes: `s72=8`.
pub type NamedSizes = indexmap::IndexMap<String, u64>;
