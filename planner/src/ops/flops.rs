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
        let summed = match (name, right) {
            ("conv2d", Some(weight)) => shapes[weight.index()].iter().skip(1).product(),
            _ => last(&left),
        };
        let forward = 2u64.saturating_mul(results).saturating_mul(summed);
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

/// The factors of a product: the left one, whose last dimension is summed over (a convolution sums over its weight's), and
/// the right one where it can have a gradient.
fn factors_of(name: &str, tensors: &[TensorId]) -> Option<(TensorId, Option<TensorId>)> {
    let at = |place: usize| tensors.get(place).copied();
    match name {
        "conv2d" | "grouped_mm" | "linear" | "matmul" => Some((at(0)?, at(1))),
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

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::graph::ModuleId;

    fn op(name: &str, tensors: u32) -> Op {
        let arguments = (0..tensors).map(|number| Argument::Tensor(TensorId(number))).collect();
        let operator = crate::ops::named(name).expect("an operator");
        Op { operator, arguments, outputs: smallvec![TensorId(tensors)], module: ModuleId(0) }
    }

    /// As torch.utils.flop_counter counts them: linear 2*m*n*k forward and twice that backward; a convolution by its weight;
    /// attention two products forward and five backward.
    #[test]
    fn products_count_as_pytorch_counts_them() {
        let all = |_: TensorId| true;
        let linear: [Dims; 3] = [smallvec![3, 5, 7], smallvec![11, 7], smallvec![3, 5, 11]];
        let once = 2 * 15 * 7 * 11;
        assert_eq!(flops(&op("linear", 2), &linear, all), Flops { forward: once, backward: 2 * once });
        let frozen = |id: TensorId| id == TensorId(0);
        assert_eq!(flops(&op("linear", 2), &linear, frozen), Flops { forward: once, backward: once });
        let convolution: [Dims; 3] = [smallvec![2, 8, 9, 9], smallvec![16, 8, 3, 3], smallvec![2, 16, 7, 7]];
        let once = 2 * 2 * 16 * 49 * 8 * 9;
        assert_eq!(flops(&op("conv2d", 2), &convolution, all), Flops { forward: once, backward: 2 * once });
        let attention: [Dims; 4] = [0, 1, 2, 3].map(|_| smallvec![2, 4, 6, 8]);
        let product = 2 * 2 * 4 * 6 * 6 * 8;
        let counted = flops(&op("scaled_dot_product_attention", 3), &attention, all);
        assert_eq!(counted, Flops { forward: 2 * product, backward: 5 * product });
    }

    #[test]
    fn moving_data_costs_nothing() {
        let shapes: [Dims; 2] = [smallvec![4, 6], smallvec![6, 4]];
        assert_eq!(flops(&op("transpose", 1), &shapes, |_| true), Flops::default());
        assert_eq!(flops(&op("gelu", 1), &shapes, |_| true), Flops { forward: 24, backward: 24 });
    }
}
