//! Functions that spec code finds ready: arithmetic over numbers, lists, and the questions that Python code asks.

use std::rc::Rc;

use super::DtypeArgument;
use super::call::Given;
use super::decisions::Kind;
use super::machine::{Machine, Outcome};
use super::value::{Builtin, Value};
use crate::dtype::Dtype;
use crate::interpret::{Interpreter, Semantics};
use crate::read::spec::changes::is_since;
use crate::read::spec::syntax::Binary;

/// The function of that name, of these or of Python's own.
pub(super) fn named(name: &str) -> Option<Builtin> {
    let mut all = FUNCTIONS.iter().chain(super::python::FUNCTIONS).chain(super::containers::FUNCTIONS);
    all.find(|(known, _)| *known == name).map(|(_, function)| *function)
}

/// The names of all that code can call and no file of the library defines.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let all = FUNCTIONS.iter().chain(super::python::FUNCTIONS).chain(super::containers::FUNCTIONS);
    all.map(|(name, _)| *name)
}

/// The functions by name.
pub(super) const FUNCTIONS: &[(&str, Builtin)] = &[
    ("range", range),
    ("len", length),
    ("enumerate", enumerate),
    ("zip", zip),
    ("int", int),
    ("float", float),
    ("min", |machine, given| extreme(machine, given, Binary::Less)),
    ("max", |machine, given| extreme(machine, given, Binary::Greater)),
    ("getattr", get_attribute),
    ("hasattr", has_attribute),
    ("class_name", class_name),
    ("is_tensor", |_, given| Ok(Value::Bool(matches!(given.positional.first(), Some(Value::Tensor(_)))))),
    ("Output", output),
    ("Parameter", super::host::parameter),
    ("Buffer", super::host::buffer),
    ("on_host", super::host::on_host),
    ("captured", super::captures::captured),
    ("without_hidden_states", super::captures::without_hidden_states),
    ("remembered", remembered),
    ("autograd_function", super::function::autograd_function),
    ("on_device", super::host::on_device),
    ("moved_to", super::host::moved_to),
    ("default_type", |machine, _| Ok(Value::Dtype(machine.default_type()))),
    ("freeze", super::host::freeze),
    ("require", require),
    ("since", since),
];

/// `since("transformers 5.19")`: whether the run's release is that one or a later one.
fn since(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [text] = given.exactly(machine)?;
    let Value::Text(text) = text else {
        return machine.error("a library and its release are expected: since(\"transformers 5.19\")");
    };
    is_since(machine.rules, &text).map(Value::Bool).or_else(|message| machine.error(message))
}

/// `require(condition, message)`: ends the run with the message where the condition does not hold.
fn require(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [condition, message] = given.exactly(machine)?;
    if machine.truth(&condition)? {
        return Ok(Value::None);
    }
    let mut text = String::new();
    for part in machine.elements(&Value::sequence(vec![message]))?.iter() {
        text.push_str(&show(part));
    }
    machine.error(text)
}

/// `remembered(name, arguments, make)`: what a function gave for these arguments, which Python's `functools.lru_cache` keeps; made the first
/// time.
fn remembered(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [name, arguments, make] = given.exactly(machine)?;
    let mut key = show(&name);
    for argument in machine.elements(&arguments)?.iter() {
        key += &match argument {
            Value::Object(object) if object.module.is_some() => format!(", {:?}", object.module),
            Value::Object(_) | Value::Tensor(_) | Value::Dictionary(_) => {
                return machine.error("a function that remembers what it gave for tensors or configs is not known");
            }
            plain => format!(", {plain:?}"),
        };
        machine.spend(key.len())?;
    }
    let key: Rc<str> = key.into();
    if let Some(known) = machine.remembered.get(&key) {
        return Ok(known.clone());
    }
    let made = machine.call(make, Given { positional: Vec::new(), named: Vec::new() })?;
    machine.remembered.insert(key, made.clone());
    Ok(made)
}

pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Sequence(parts) => parts.iter().map(show).collect::<Vec<_>>().join(""),
        other => other.kind().to_owned(),
    }
}

/// `Output(a=..., b=...)`: an object with those attributes, as transformers' model outputs are.
fn output(_: &mut Machine, given: Given) -> Outcome<Value> {
    Ok(Value::bag(given.named.into_iter().collect()))
}

/// `type(module).__name__`
fn class_name(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    match &value {
        Value::Object(object) => {
            Ok(Value::Text(object.class.as_ref().map_or("object".into(), |class| class.name.clone())))
        }
        other => Ok(Value::Text(other.kind().into())),
    }
}

fn integer(machine: &Machine, value: &Value) -> Outcome<i64> {
    match value {
        Value::Bool(flag) => Ok(i64::from(*flag)),
        number if let Some(number) = machine.index_number(number) => Ok(number),
        other => machine.error(format!("an integer was expected, not {}", other.kind())),
    }
}

fn range(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let numbers = given.positional.iter().map(|value| integer(machine, value)).collect::<Outcome<Vec<_>>>()?;
    numbers.iter().for_each(|number| machine.decisions.exact(*number));
    let (start, end, step) = match numbers[..] {
        [end] => (0, end, 1),
        [start, end] => (start, end, 1),
        [start, end, step] if step != 0 => (start, end, step),
        _ => return machine.error("range takes one to three integers, the step not 0"),
    };
    let span = if step > 0 { end.saturating_sub(start) } else { start.saturating_sub(end) };
    let length = span.max(0) / step.saturating_abs() + i64::from(span.max(0) % step.saturating_abs() != 0);
    if length > 1_000_000 {
        return machine.error(format!("a range of {length} elements is longer than any model's"));
    }
    machine.spend_elements(length.max(0) as usize)?;
    Ok(Value::sequence((0..length).map(|place| Value::Int(start + place * step)).collect()))
}

fn length(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    match &value {
        Value::Dictionary(entries) => return Ok(Value::Int(entries.len() as i64)),
        Value::Object(object) if object.module.is_some() => {
            return Ok(Value::Int(super::containers::children(machine, &value)?.len() as i64));
        }
        Value::Tensor(tensor) => match machine.shape(tensor.tensor.get()).first() {
            Some(size) => return Ok(Value::Int(*size as i64)),
            None => return machine.error("a tensor without dimensions has no length"),
        },
        _ => {}
    }
    Ok(Value::Int(machine.elements(&value)?.len() as i64))
}

fn enumerate(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let named = given.named.iter().find(|(name, _)| &**name == "start").map(|(_, value)| value);
    let first = match given.positional.get(1).or(named) {
        None => 0,
        Some(Value::Int(first)) => *first,
        Some(other) => return machine.error(format!("{} is no number to count from", other.kind())),
    };
    let Some(value) = given.positional.first() else { return machine.error("enumerate goes through a list") };
    let elements = machine.elements(value)?;
    machine.spend_elements(3 * elements.len())?;
    let pairs = elements.iter().zip(first..);
    Ok(Value::sequence(pairs.map(|(v, i)| Value::sequence(vec![Value::Int(i), v.clone()])).collect()))
}

fn zip(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let lists = given.positional.iter().map(|list| machine.elements(list)).collect::<Outcome<Vec<_>>>()?;
    let shortest = lists.iter().map(|list| list.len()).min().unwrap_or(0);
    machine.spend_elements(shortest.saturating_mul(lists.len() + 1))?;
    let row = |place: usize| Value::sequence(lists.iter().map(|list| list[place].clone()).collect());
    Ok(Value::sequence((0..shortest).map(row).collect()))
}

fn int(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    match value {
        Value::Float(number) => Ok(Value::Int(number as i64)),
        Value::Text(text) => match text.parse() {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => machine.error("a text that is no integer"),
        },
        other => integer(machine, &other).map(Value::Int),
    }
}

fn float(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    match value {
        Value::Float(_) => Ok(value),
        Value::Text(text) => match text.parse() {
            Ok(number) => Ok(Value::Float(number)),
            Err(_) => machine.error("a text that is no number"),
        },
        other => {
            let number = integer(machine, &other)?;
            machine.decisions.exact(number);
            Ok(Value::Float(number as f64))
        }
    }
}

fn extreme(machine: &mut Machine, given: Given, wanted: Binary) -> Outcome<Value> {
    let mut given = given.positional;
    if let [Value::Sequence(list)] = &given[..] {
        machine.spend(list.len())?;
        given = list.to_vec();
    }
    let mut values = given.into_iter();
    let Some(mut best) = values.next() else { return machine.error("min and max take at least one number") };
    for value in values {
        let better = machine.binary(wanted, value.clone(), best.clone())?;
        if machine.truth(&better)? {
            best = value;
        }
    }
    Ok(best)
}

fn get_attribute(machine: &mut Machine, given: Given) -> Outcome<Value> {
    if let [owner, Value::Text(name)] = &given.positional[..] {
        return machine.attribute(owner, name);
    }
    let [owner, name, default] = given.exactly(machine)?;
    Ok(find_attribute(machine, &owner, &name)?.unwrap_or(default))
}

fn has_attribute(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [owner, name] = given.exactly(machine)?;
    Ok(Value::Bool(find_attribute(machine, &owner, &name)?.is_some()))
}

fn find_attribute(machine: &mut Machine, owner: &Value, name: &Value) -> Outcome<Option<Value>> {
    let Value::Text(name) = name else { return machine.error("an attribute's name is a text") };
    Ok(match owner {
        Value::Object(object) if object.method(name).is_some() => Some(machine.attribute(owner, name)?),
        Value::Object(object) => object.attributes.borrow().get(name).cloned(),
        Value::Dictionary(entries) => entries.get(name).cloned(),
        _ => None,
    })
}

// ---- operators ----------------------------------------------------------------------------------------------------

impl Machine {
    pub(super) fn apply_binary(&mut self, operator: Binary, left: Value, right: Value) -> Outcome<Value> {
        match operator {
            Binary::Is | Binary::IsNot => {
                self.spend(left.extent().count.min(right.extent().count))?;
                self.note_equal(&left, &right);
                return Ok(Value::Bool(same(&left, &right) == (operator == Binary::Is)));
            }
            Binary::In | Binary::NotIn => {
                self.spend(right.extent().count)?;
                let found = self.contains(&right, &left)?;
                return Ok(Value::Bool(found == (operator == Binary::In)));
            }
            _ => {}
        }
        if matches!(left, Value::Tensor(_)) || matches!(right, Value::Tensor(_)) {
            return self.tensor_binary(operator, left, right);
        }
        if let (Value::Dtype(a), Value::Dtype(b)) = (&left, &right) {
            let is_same = self.is_same_type(*a, *b)?;
            return Ok(Value::Bool(is_same == (operator == Binary::Equal)));
        }
        match operator {
            Binary::Equal | Binary::NotEqual => {
                self.spend(left.extent().count.min(right.extent().count))?;
                self.note_equal(&left, &right);
                return Ok(Value::Bool(equal(&left, &right) == (operator == Binary::Equal)));
            }
            _ => {}
        }
        match (&left, &right) {
            (Value::Bool(a), Value::Bool(b)) if operator == Binary::BitAnd => Ok(Value::Bool(*a && *b)),
            (Value::Bool(a), Value::Bool(b)) if operator == Binary::BitOr => Ok(Value::Bool(*a || *b)),
            (Value::Bool(a), Value::Bool(b)) if operator == Binary::BitXor => Ok(Value::Bool(a != b)),
            (Value::Int(a), Value::Int(b)) => self.integers(operator, *a, *b),
            (Value::Sequence(a), Value::Sequence(b)) if operator == Binary::Add => {
                self.spend_elements(a.len() + b.len())?;
                Ok(Value::sequence(a.iter().chain(b.iter()).cloned().collect()))
            }
            // nn.Sequential.append and extend: another object of the same module
            (Value::Object(object), Value::Sequence(more)) if operator == Binary::Add && object.module.is_some() => {
                super::containers::longer(self, object, more)
            }
            // lists have no difference in Python, so these are sets
            (Value::Sequence(a), Value::Sequence(b)) if operator == Binary::Subtract => {
                self.spend(a.len().saturating_mul(b.len()))?;
                let is_left = |value: &&Value| !b.iter().any(|other| equal(value, other));
                Ok(Value::sequence(a.iter().filter(is_left).cloned().collect()))
            }
            (Value::Sequence(values), Value::Int(times)) | (Value::Int(times), Value::Sequence(values))
                if operator == Binary::Multiply =>
            {
                let times = usize::try_from(*times).unwrap_or(0);
                self.spend_elements(times.saturating_mul(values.len()))?;
                let repeated = std::iter::repeat_n(values.iter().cloned(), times).flatten();
                Ok(Value::sequence(repeated.collect()))
            }
            (Value::Dictionary(a), Value::Dictionary(b)) if operator == Binary::BitOr => {
                self.spend_elements(a.len() + b.len())?;
                let entries = a.iter().chain(b.iter()).map(|(key, value)| (key.clone(), value.clone()));
                Ok(Value::dictionary(entries.collect()))
            }
            // `"%s of %d" % values`
            (Value::Text(text), values) if operator == Binary::Remainder => {
                let values = match values {
                    Value::Sequence(values) => values.to_vec(),
                    one => vec![one.clone()],
                };
                self.spend(text.len())?;
                let mut filled = text.to_string();
                for value in &values {
                    let place = ["%s", "%d"].iter().filter_map(|sign| filled.find(sign)).min();
                    let Some(place) = place else { return self.error("a text has fewer places than there are values") };
                    filled.replace_range(place..place + 2, &show(value));
                }
                Ok(Value::Text(filled.into()))
            }
            (Value::Text(a), Value::Text(b)) if operator == Binary::Less => Ok(Value::Bool(a < b)),
            (Value::Text(a), Value::Text(b)) if operator == Binary::Add => {
                self.spend(a.len() + b.len())?;
                Ok(Value::Text(format!("{a}{b}").into()))
            }
            _ => match (number(&left), number(&right)) {
                (Some(a), Some(b)) => {
                    self.exact([&left, &right]);
                    self.numbers(operator, a, b)
                }
                _ => self.error(format!("{} and {} do not go together in arithmetic", left.kind(), right.kind())),
            },
        }
    }

    /// Whether two types are one. Those of tensors that operators give are known when memory is planned, and not before.
    fn is_same_type(&self, a: DtypeArgument, b: DtypeArgument) -> Outcome<bool> {
        match (self.known_type(a), self.known_type(b)) {
            (a, b) if a == b => Ok(true),
            (DtypeArgument::Fixed(_), DtypeArgument::Fixed(_)) => Ok(false),
            // the parameters that a module declares are of floating-point numbers
            (DtypeArgument::Fixed(dtype), DtypeArgument::Of(tensor))
            | (DtypeArgument::Of(tensor), DtypeArgument::Fixed(dtype))
                if !dtype.is_floating() && self.listed.contains(&tensor) =>
            {
                Ok(false)
            }
            (DtypeArgument::Fixed(dtype), DtypeArgument::Weights)
            | (DtypeArgument::Weights, DtypeArgument::Fixed(dtype))
                if !dtype.is_floating() =>
            {
                Ok(false)
            }
            (DtypeArgument::Fixed(Dtype::F16), _) | (_, DtypeArgument::Fixed(Dtype::F16)) if !self.has_half => {
                Ok(false)
            }
            _ => self.error("whether a tensor has a certain type is not known here"),
        }
    }

    fn tensor_binary(&mut self, operator: Binary, left: Value, right: Value) -> Outcome<Value> {
        // torch/_tensor.py, __rdiv__
        if operator == Binary::Divide && number(&left).is_some() {
            // `right` lives as long as the product is made
            let inverse = self.emit_named("reciprocal", vec![right.clone()])?;
            return self.emit_named("mul", vec![inverse, left]);
        }
        let name = match operator {
            Binary::Add => "add",
            Binary::Subtract => "sub",
            Binary::Multiply => "mul",
            Binary::Divide => "div",
            Binary::Power => "pow",
            Binary::MatrixMultiply => "matmul",
            Binary::BitAnd => "bitwise_and",
            Binary::BitOr => "bitwise_or",
            Binary::BitXor => "bitwise_xor",
            Binary::Equal => "eq",
            Binary::NotEqual => "ne",
            Binary::Less => "lt",
            Binary::LessEqual => "le",
            Binary::Greater => "gt",
            Binary::GreaterEqual => "ge",
            Binary::FloorDivide => "floor_divide",
            Binary::Remainder => "remainder",
            Binary::Is | Binary::IsNot | Binary::In | Binary::NotIn => return self.error("not an operator of tensors"),
        };
        self.emit_named(name, vec![left, right])
    }

    pub(super) fn emit_named(&mut self, name: &str, arguments: Vec<Value>) -> Outcome<Value> {
        match crate::ops::named(name) {
            Some(operator) => self.call_operator(operator, Given { positional: arguments, named: Vec::new() }),
            None => self.error(format!("no operator is called `{name}`")),
        }
    }

    fn integers(&self, operator: Binary, a: i64, b: i64) -> Outcome<Value> {
        let checked = |result: Option<i64>| match result {
            Some(number) => Ok(Value::Int(number)),
            None => self.error(format!("the product of sizes {a} and {b} is larger than any memory")),
        };
        match operator {
            Binary::Add => checked(a.checked_add(b)),
            Binary::Subtract => checked(a.checked_sub(b)),
            Binary::Multiply => {
                self.decisions.note(Kind::Multiply, a, b);
                checked(a.checked_mul(b))
            }
            Binary::Power if b >= 0 => {
                [a, b].into_iter().for_each(|number| self.decisions.exact(number));
                checked(u32::try_from(b).ok().and_then(|b| a.checked_pow(b)))
            }
            Binary::FloorDivide | Binary::Remainder if b == 0 => self.error("a division by zero"),
            Binary::FloorDivide => {
                self.decisions.note(Kind::FloorDivide, a, b);
                checked(a.checked_div_euclid(b))
            }
            Binary::Remainder => {
                self.decisions.note(Kind::Remainder, a, b);
                checked(a.checked_rem_euclid(b))
            }
            _ => {
                match operator {
                    Binary::Less => self.decisions.note(Kind::Less, a, b),
                    Binary::LessEqual => self.decisions.note(Kind::LessEqual, a, b),
                    Binary::Greater => self.decisions.note(Kind::Less, b, a),
                    Binary::GreaterEqual => self.decisions.note(Kind::LessEqual, b, a),
                    _ => [a, b].into_iter().for_each(|number| self.decisions.exact(number)),
                }
                self.numbers(operator, a as f64, b as f64)
            }
        }
    }

    fn numbers(&self, operator: Binary, a: f64, b: f64) -> Outcome<Value> {
        Ok(match operator {
            Binary::Add => Value::Float(a + b),
            Binary::Subtract => Value::Float(a - b),
            Binary::Multiply => Value::Float(a * b),
            Binary::Divide | Binary::FloorDivide if b == 0.0 => return self.error("a division by zero"),
            Binary::Divide => Value::Float(a / b),
            Binary::FloorDivide => Value::Float((a / b).floor()),
            Binary::Power => Value::Float(a.powf(b)),
            Binary::Remainder if b == 0.0 => return self.error("a division by zero"),
            Binary::Remainder => Value::Float(a - b * (a / b).floor()),
            Binary::Less => Value::Bool(a < b),
            Binary::LessEqual => Value::Bool(a <= b),
            Binary::Greater => Value::Bool(a > b),
            Binary::GreaterEqual => Value::Bool(a >= b),
            _ => return self.error("not an operator of numbers"),
        })
    }

    /// Notes what it takes for two values to be equal, or not to be.
    fn note_equal(&self, left: &Value, right: &Value) {
        match (left, right) {
            (Value::Int(a), Value::Int(b)) => self.decisions.note(Kind::Equal, *a, *b),
            (Value::Sequence(a), Value::Sequence(b)) => {
                a.iter().zip(b.iter()).for_each(|(a, b)| self.note_equal(a, b));
            }
            _ => self.exact([left, right]),
        }
    }

    /// Notes that integers among these can be no others.
    fn exact(&self, values: [&Value; 2]) {
        for value in values {
            if let Value::Int(number) = value {
                self.decisions.exact(*number);
            }
        }
    }

    fn contains(&self, container: &Value, wanted: &Value) -> Outcome<bool> {
        if let (Value::Sequence(values), Value::Dtype(wanted)) = (container, wanted) {
            for value in values.iter() {
                if let Value::Dtype(dtype) = value
                    && self.is_same_type(*dtype, *wanted)?
                {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        if let Value::Sequence(values) = container {
            values.iter().for_each(|value| self.note_equal(value, wanted));
        }
        match (container, wanted) {
            (Value::Sequence(values), wanted) => Ok(values.iter().any(|value| equal(value, wanted))),
            (Value::Dictionary(entries), key) => Ok(key.key().is_some_and(|key| entries.contains_key(&key))),
            (Value::Object(bag), Value::Text(key)) if bag.class.is_none() => {
                Ok(bag.attributes.borrow().contains_key(key))
            }
            (Value::Text(text), Value::Text(part)) => Ok(text.contains(&**part)),
            (other, _) => self.error(format!("{} contains nothing", other.kind())),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
        (Value::Tensor(a), Value::Tensor(b)) => Rc::ptr_eq(a, b),
        _ => equal(left, right),
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Sequence(a), Value::Sequence(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b))
        }
        (Value::Dtype(a), Value::Dtype(b)) => a == b,
        (Value::Class(a), Value::Class(b)) => std::sync::Arc::ptr_eq(a, b),
        (Value::Function(a), Value::Function(b)) => std::sync::Arc::ptr_eq(a, b),
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
    }
}
