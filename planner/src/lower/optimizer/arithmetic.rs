//! Arithmetic and comparisons in an optimizer's code, over numbers and tensors.

use super::machine::{Machine, Outcome};
use super::value::{Handle, Value};
use crate::dtype::Dtype;
use crate::ops;
use crate::read::spec::syntax::Binary;

impl Machine<'_> {
    /// torch/_tensor.py: a number divided by a tensor is the number times its reciprocal. aten/src/ATen/native/Pow.cpp:
    /// the number that is raised to a tensor becomes a float64 tensor on the device, after the result is made.
    pub(super) fn tensor_binary(&mut self, operator: Binary, left: Value, right: Value) -> Outcome<Value> {
        let from_number = !matches!(left, Value::Tensor(_));
        match operator {
            Binary::Add => self.elementwise("add", &[left, right]),
            Binary::Subtract => self.elementwise("sub", &[left, right]),
            Binary::Multiply => self.elementwise("mul", &[left, right]),
            Binary::Divide if from_number => {
                let reciprocal = self.elementwise("reciprocal", std::slice::from_ref(&right))?;
                self.elementwise("mul", &[reciprocal, left])
            }
            Binary::Divide => self.elementwise("div", &[left, right]),
            Binary::Power => {
                let operands = [left, right];
                let result = self.elementwise("pow", &operands)?;
                if from_number {
                    let base = self.context.allocate("scalar_tensor", Dtype::F64.size());
                    drop(base);
                }
                Ok(result)
            }
            Binary::MatrixMultiply => {
                let (a, b) = (left.tensor()?, right.tensor()?);
                let tensor = self.on_behalf(a.owner, |context| ops::matmul(context, &a.tensor, &b.tensor))?;
                Ok(Value::Tensor(Handle { tensor, owner: a.owner }))
            }
            _ => Err("tensors are not compared in an optimizer".to_owned()),
        }
    }
}

pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Dtype(a), Value::Dtype(b)) => a == b,
        (Value::Bool(_) | Value::Number(_), Value::Bool(_) | Value::Number(_)) => left.number() == right.number(),
        _ => false,
    }
}

pub(super) fn numbers(operator: Binary, a: f64, b: f64) -> Outcome<Value> {
    Ok(match operator {
        Binary::Add => Value::Number(a + b),
        Binary::Subtract => Value::Number(a - b),
        Binary::Multiply => Value::Number(a * b),
        Binary::Divide => Value::Number(a / b),
        Binary::FloorDivide => Value::Number((a / b).floor()),
        Binary::Remainder => Value::Number(a.rem_euclid(b)),
        Binary::Power => Value::Number(a.powf(b)),
        Binary::Less => Value::Bool(a < b),
        Binary::LessEqual => Value::Bool(a <= b),
        Binary::Greater => Value::Bool(a > b),
        Binary::GreaterEqual => Value::Bool(a >= b),
        _ => return Err("not an operator of numbers".to_owned()),
    })
}
