//! `einsum`: products and sums by letters, made of views, products of batches of matrices and sums.
//!
//! aten/src/ATen/native/Linear.cpp of torch 2.15, `einsum` and `sumproduct_pair`: operands are brought to one order of letters, those of the result
//! first, and multiplied from left to right; a letter is summed over with the last operand that has it.

use super::machine::{Machine, Outcome};
use super::value::Value;
use crate::interpret::{Given, Semantics};

/// `einsum("bld,dn->bln", a, b)`
pub(super) fn einsum(machine: &mut Machine, given: Given<Value>) -> Outcome<Value> {
    let mut arguments = given.positional.into_iter();
    let Some(Value::Text(equation)) = arguments.next() else {
        return machine.error("einsum takes an equation");
    };
    let mut tensors: Vec<Value> = arguments.collect();
    if let [Value::Sequence(list)] = &tensors[..] {
        tensors = list.to_vec();
    }
    // autocast casts the operands, and holds them until it is done (aten/src/ATen/autocast_mode.h, AT_FORALL_LOWER_PRECISION_FP)
    if machine.autocasts {
        for tensor in &mut tensors {
            *tensor = machine.emit_named("cast_to_multiply", vec![tensor.clone()])?;
        }
    }
    let _held = machine.autocasts.then(|| tensors.clone());
    let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_owned(), right.to_owned()),
        None => (equation.clone(), implied(&equation)),
    };
    let parts: Vec<Vec<char>> = left.split(',').map(|part| part.chars().collect()).collect();
    let plain = parts
        .iter()
        .flatten()
        .chain(right.chars().collect::<Vec<_>>().iter())
        .all(|letter| letter.is_ascii_alphabetic());
    let once = parts.iter().all(|part| part.iter().enumerate().all(|(place, letter)| !part[..place].contains(letter)));
    if !plain || !once || parts.len() != tensors.len() || tensors.is_empty() {
        return machine.error("einsum is known for plain letters, each once in an operand");
    }
    let mut letters: Vec<char> = right.chars().collect();
    let results = letters.len();
    let mut summed: Vec<char> = parts.iter().flatten().copied().filter(|letter| !letters.contains(letter)).collect();
    summed.sort_unstable();
    summed.dedup();
    letters.extend(summed);
    let mut operands = Vec::new();
    for (tensor, part) in tensors.into_iter().zip(&parts) {
        operands.push(ordered(machine, tensor, part, &letters)?);
    }
    let mut left: Vec<usize> =
        letters.iter().map(|letter| parts.iter().filter(|part| part.contains(letter)).count()).collect();
    let several = operands.len() > 1;
    let mut operands = operands.into_iter();
    let Some(mut result) = operands.next() else { return machine.error("einsum takes tensors") };
    for other in operands {
        let (a, b) = (sizes(machine, &result)?, sizes(machine, &other)?);
        let (mut together, mut of_a, mut of_b) = (Vec::new(), Vec::new(), Vec::new());
        for dim in results..letters.len() {
            if a[dim] != 1 && b[dim] != 1 {
                left[dim] = left[dim].saturating_sub(1);
                if left[dim] == 1 {
                    together.push(dim);
                    left[dim] = 0;
                }
            } else if left[dim] == 1 && a[dim] != 1 {
                of_a.push(dim);
                left[dim] = 0;
            } else if left[dim] == 1 && b[dim] != 1 {
                of_b.push(dim);
                left[dim] = 0;
            }
        }
        let result_of_a = summed_over(machine, result, &of_a)?;
        let other = summed_over(machine, other, &of_b)?;
        result = pair(machine, result_of_a, other, &together)?;
    }
    if several {
        for dim in (results..letters.len()).rev() {
            result = machine.emit_named("squeeze", vec![result, Value::Int(dim as i64)])?;
        }
    } else if letters.len() > results {
        let dims = (results..letters.len()).map(|dim| Value::Int(dim as i64)).collect();
        result = machine.emit_named("sum", vec![result, Value::sequence(dims)])?;
    }
    Ok(result)
}

/// Without `->`: the letters that stand once, by the alphabet.
fn implied(equation: &str) -> String {
    let letters = equation.chars().filter(char::is_ascii_alphabetic);
    let mut once: Vec<char> = letters.filter(|letter| equation.matches(*letter).count() == 1).collect();
    once.sort_unstable();
    once.into_iter().collect()
}

fn sizes(machine: &Machine, tensor: &Value) -> Outcome<Vec<u64>> {
    match tensor {
        Value::Tensor(reference) => Ok(machine.shape(reference.tensor.get()).to_vec()),
        other => machine.error(format!("einsum takes tensors, not {}", other.kind())),
    }
}

fn whole_numbers(numbers: impl IntoIterator<Item = u64>) -> Value {
    Value::sequence(numbers.into_iter().map(|number| Value::Int(number as i64)).collect())
}

/// A tensor with a dimension for each letter, in that order.
fn ordered(machine: &mut Machine, tensor: Value, part: &[char], letters: &[char]) -> Outcome<Value> {
    let mut tensor = tensor;
    if sizes(machine, &tensor)?.len() != part.len() {
        return machine.error("einsum: an operand has another number of dimensions than letters");
    }
    let mut order = Vec::new();
    let mut added = part.len();
    for letter in letters {
        order.push(match part.iter().position(|own| own == letter) {
            Some(place) => place as u64,
            None => {
                tensor = machine.emit_named("unsqueeze", vec![tensor, Value::Int(-1)])?;
                added += 1;
                added as u64 - 1
            }
        });
    }
    machine.emit_named("permute", vec![tensor, whole_numbers(order)])
}

fn summed_over(machine: &mut Machine, tensor: Value, dims: &[usize]) -> Outcome<Value> {
    match dims {
        [] => Ok(tensor),
        dims => {
            let dims = whole_numbers(dims.iter().map(|dim| *dim as u64));
            machine.emit_named("sum", vec![tensor, dims, Value::Bool(true)])
        }
    }
}

/// The product of two tensors of as many dimensions, summed over some, which stay with size 1 (`sumproduct_pair`).
fn pair(machine: &mut Machine, mut left: Value, mut right: Value, summed: &[usize]) -> Outcome<Value> {
    if summed.is_empty() {
        return machine.emit_named("mul", vec![left, right]);
    }
    let (a, b) = (sizes(machine, &left)?, sizes(machine, &right)?);
    let (mut both, mut of_left, mut of_right) = (Vec::new(), Vec::new(), Vec::new());
    for dim in 0..a.len() {
        match (summed.contains(&dim), a[dim] != 1, b[dim] != 1) {
            (true, true, true) => {}
            (true, true, false) => left = summed_over(machine, left, &[dim])?,
            (true, false, true) => right = summed_over(machine, right, &[dim])?,
            (true, false, false) => {}
            (false, true, true) => both.push(dim),
            (false, true, false) => of_left.push(dim),
            (false, false, _) => of_right.push(dim),
        }
    }
    // when all letters of the right stand before those of the left in the result, the operands change places, so that it is contiguous:
    // `swap_lo_ro` (Linear.cpp of torch 2.13; measured the same in 2.15)
    let swapped = matches!((of_right.last(), of_left.first()), (Some(right), Some(left)) if right < left);
    let (mut a, mut b) = (a, b);
    if swapped {
        std::mem::swap(&mut left, &mut right);
        std::mem::swap(&mut of_left, &mut of_right);
        std::mem::swap(&mut a, &mut b);
    }
    let product = |dims: &[usize], sizes: &[u64]| dims.iter().map(|dim| sizes[*dim]).product::<u64>();
    let depth: u64 = summed.iter().filter(|dim| a[**dim] != 1 && b[**dim] != 1).map(|dim| a[*dim]).product();
    let (batch, rows, columns) = (product(&both, &a), product(&of_left, &a), product(&of_right, &b));
    let order = |parts: [&[usize]; 4]| whole_numbers(parts.into_iter().flatten().map(|dim| *dim as u64));
    left = machine.emit_named("permute", vec![left, order([&both, &of_left, summed, &of_right])])?;
    left = machine.emit_named("reshape", vec![left, whole_numbers([batch, rows, depth])])?;
    right = machine.emit_named("permute", vec![right, order([&both, summed, &of_right, &of_left])])?;
    right = machine.emit_named("reshape", vec![right, whole_numbers([batch, depth, columns])])?;
    let product = machine.emit_named("matmul", vec![left, right])?;
    let given: Vec<usize> = both.iter().chain(&of_left).chain(summed).chain(&of_right).copied().collect();
    let size = |dim: &usize| match () {
        () if summed.contains(dim) => 1,
        () if of_right.contains(dim) => b[*dim],
        () => a[*dim],
    };
    let sized = machine.emit_named("view", vec![product, whole_numbers(given.iter().map(size))])?;
    let back = (0..given.len()).filter_map(|dim| given.iter().position(|other| *other == dim));
    let back = whole_numbers(back.map(|place| place as u64));
    machine.emit_named("permute", vec![sized, back])
}
