//! The arguments of a call, as an overload's line asks for them.

use super::code::{Code, at_nowhere, attribute, int, list, literal};
use super::flatten::{Given, ValueId};
use super::sizes;
use crate::dtype::Dtype;
use crate::ops::aten::{Argument, Form, Overload};
use crate::read::spec::syntax::{Expression, ExpressionKind, Literal};

/// What is known where arguments are written.
pub struct Place<'p> {
    /// The type of the model's weights.
    pub weights: Dtype,
    /// Whether the export was made of a model in training mode.
    pub exported_training: bool,
    /// Whether the line of Python names float32 itself, so that the type is not that of the weights.
    pub names_float32: bool,
    /// Gives a tensor.
    pub tensor: &'p mut dyn FnMut(ValueId, &mut Code) -> Expression,
}

/// The type of a number of PyTorch's (torch/_export/serde/schema.py, `ScalarType`).
pub fn dtype(number: i64) -> Option<Dtype> {
    Some(match number {
        1 => Dtype::U8,
        2 => Dtype::I8,
        3 | 28 => Dtype::I16, // uint16 too, which has as many bytes
        4 => Dtype::I32,
        5 => Dtype::I64,
        6 => Dtype::F16,
        7 => Dtype::F32,
        8 => Dtype::F64,
        12 => Dtype::Bool,
        13 => Dtype::BF16,
        29..=32 => Dtype::F8,
        _ => return None,
    })
}

/// The callee's arguments in its order; None where the call does not fit the line.
pub fn arguments(
    overload: &Overload,
    given: &[(&str, Given<'_>)],
    place: &mut Place<'_>,
    code: &mut Code,
) -> Option<Vec<Expression>> {
    let known = |name: &str| overload.arguments.iter().any(|argument| argument.name == name);
    for (name, value) in given.iter().filter(|(name, _)| !known(name)) {
        let (_, wanted) = overload.passed.iter().find(|(passed, _)| passed == name)?;
        if wanted.is_some_and(|wanted| !is(value, wanted)) {
            return None;
        }
    }
    let find = |argument: &Argument| given.iter().find(|(name, _)| *name == argument.name).map(|(_, value)| value);
    overload.arguments.iter().map(|argument| one(argument, find(argument), place, code)).collect()
}

fn one(argument: &Argument, given: Option<&Given<'_>>, place: &mut Place<'_>, code: &mut Code) -> Option<Expression> {
    let Some(value) = given else { return written(argument.default?) };
    match (argument.form, value) {
        (Form::One, Given::List(items)) => {
            let (first, rest) = items.split_first()?;
            let Given::Int(number) = first else { return None };
            rest.iter().all(|item| matches!(item, Given::Int(other) if other == number)).then(|| int(*number))
        }
        (Form::Needed, Given::None) => None,
        (Form::Needed, Given::List(items)) if items.iter().any(|item| matches!(item, Given::None)) => None,
        (Form::Training, Given::Bool(flag)) => Some(mode(*flag, place, code)),
        (Form::Rate, Given::Float(rate)) if *rate > 0.0 && place.exported_training => {
            let [training, none, rate] = [in_training(code), float(0.0), float(*rate)];
            Some(at_nowhere(ExpressionKind::Choice(Box::new([training, rate, none]))))
        }
        _ => plain(value, place, code),
    }
}

/// A flag that follows the model's mode where it was as the export's.
fn mode(flag: bool, place: &Place<'_>, code: &mut Code) -> Expression {
    if flag == place.exported_training { in_training(code) } else { literal(Literal::Bool(flag)) }
}

fn in_training(code: &mut Code) -> Expression {
    attribute(code.name("self"), "training")
}

fn float(number: f64) -> Expression {
    literal(Literal::Float(number))
}

/// A value as it is; None where it cannot be written.
pub fn plain(value: &Given<'_>, place: &mut Place<'_>, code: &mut Code) -> Option<Expression> {
    Some(match value {
        Given::None => literal(Literal::None),
        Given::Tensor(value) => (place.tensor)(*value, code),
        Given::List(items) => list(items.iter().map(|item| plain(item, place, code)).collect::<Option<_>>()?),
        Given::Int(number) => int(*number),
        Given::Size(text) => sizes::expression(text, code).ok()?,
        Given::Float(number) => float(*number),
        Given::Bool(flag) => literal(Literal::Bool(*flag)),
        Given::Text(text) => super::code::text(text),
        Given::Dtype(number) => type_of(dtype(*number)?, place, code),
        Given::Passed | Given::Strange => return None,
    })
}

/// A type: that of the weights follows the run's precision, unless the line of Python names it.
fn type_of(dtype: Dtype, place: &Place<'_>, code: &mut Code) -> Expression {
    let fixed = place.names_float32 && dtype == Dtype::F32;
    let name = if dtype == place.weights && !fixed { "weights_dtype" } else { dtype.name() };
    code.name(name)
}

/// A default of a line.
fn written(default: &str) -> Option<Expression> {
    Some(literal(match default {
        "None" => Literal::None,
        "True" => Literal::Bool(true),
        "False" => Literal::Bool(false),
        number => match (number.parse(), number.parse()) {
            (Ok(int), _) => Literal::Int(int),
            (_, Ok(float)) => Literal::Float(float),
            _ => return None,
        },
    }))
}

/// Whether a value is the one that a line asks for; a list is where each of its elements is.
fn is(value: &Given<'_>, wanted: &str) -> bool {
    match value {
        Given::None => wanted == "None",
        Given::Bool(flag) => wanted == if *flag { "True" } else { "False" },
        Given::Int(number) => wanted.parse() == Ok(*number),
        Given::Dtype(number) => wanted.parse() == Ok(*number),
        Given::Float(number) => wanted.parse() == Ok(*number),
        Given::Text(text) => *text == wanted,
        Given::List(items) => items.iter().all(|item| is(item, wanted)),
        _ => false,
    }
}
