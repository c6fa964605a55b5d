//! Floating-point operations of operators: what recomputing them costs.
//!
//! Products and attention count as torch/utils/flop_counter.py counts them, two for a multiplication with its addition; all
//! other arithmetic counts one for each element of its results, and what only moves data nothing.

use super::{Row, create, embedding, indexing, run, views};
use crate::graph::{Argument, Dims, Op, TensorId};

/// Tables of operators that move data.
const MOVING: [&[Row]; 5] = [create::ROWS, embedding::ROWS, indexing::ROWS, run::ROWS, views::ROWS];
/// Operators elsewhere that do.
const CASTS: [&str; 4] = ["as_input", "clone", "float", "to"];

/// What an operator's call costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flops {
    /// Its forward.
    pub forward: u64,
    /// Its backward.
    pub backward: u64,
}

/// The operations of a call, forward and backward, where these tensors need gradients.
pub fn flops(op: &Op, shapes: &[Dims], needs_gradient: impl Fn(TensorId) -> bool) -> Flops {
    let factors: Vec<TensorId> = op.arguments.iter().filter_map(tensor).collect();
    let size = |id: TensorId| -> u64 { shapes[id.index()].iter().product() };
    let results: u64 = op.outputs.iter().map(|id| size(*id)).sum();
    let followed = factors.iter().filter(|id| needs_gradient(**id)).count() as u64;
    let name = op.operator.name;
    let last = |id: &TensorId| shapes[id.index()].last().copied().unwrap_or(1);
    if let Some((left, right)) = factors_of(name, &factors) {
        let forward = 2u64.saturating_mul(results).saturating_mul(last(&left));
        let products = u64::from(needs_gradient(left)) + u64::from(right.is_some_and(needs_gradient));
        return Flops { forward, backward: forward.saturating_mul(products) };
    }
    if name == "scaled_dot_product_attention" {
        let [query, key, value] = [0, 1, 2].map(|place| factors.get(place));
        let rows = query.map_or(0, |id| size(*id) / last(id).max(1));
        let keys = key.map_or(0, |id| shapes[id.index()].iter().rev().nth(1).copied().unwrap_or(1));
        let product = |id: Option<&TensorId>| 2 * rows.saturating_mul(keys).saturating_mul(id.map_or(0, last));
        // forward: queries by keys, weights by values; backward: the first again, then two products for each
        let (scores, sum) = (product(query), product(value));
        let backward = if followed > 0 { 3 * scores + 2 * sum } else { 0 };
        return Flops { forward: scores + sum, backward };
    }
    if CASTS.contains(&name) || MOVING.iter().any(|rows| rows.iter().any(|row| row.name == name)) {
        return Flops::default();
    }
    Flops { forward: results, backward: if followed > 0 { results } else { 0 } }
}

/// The factors of a product of matrices: the left one, whose last dimension is summed over, and the right one where it can
/// have a gradient.
fn factors_of(name: &str, tensors: &[TensorId]) -> Option<(TensorId, Option<TensorId>)> {
    let at = |place: usize| tensors.get(place).copied();
    match name {
        "linear" | "matmul" => Some((at(0)?, at(1))),
        "addmm" | "baddbmm" => Some((at(1)?, at(2))),
        "fp8_linear" | "matmul_4bit" | "matmul_8bit" | "packed_linear" => Some((at(0)?, None)),
        _ => None,
    }
}

fn tensor(argument: &Argument) -> Option<TensorId> {
    match argument {
        Argument::Tensor(id) => Some(*id),
        _ => None,
    }
}
