//! Subscripts: of lists and dictionaries, and of tensors, which become `select`, `slice` and `unsqueeze`
//! as in torch/csrc/autograd/python_variable_indexing.cpp.

use super::machine::{Frame, Machine, Outcome};
use super::value::Value;
use crate::read::spec::syntax::{Function, Subscript};

/// A subscript's value.
enum Item {
    At(i64),
    NewDimension,
    Range(Option<i64>, Option<i64>),
    Ellipsis,
    Tensor(Value),
    Key(std::rc::Rc<str>),
}

impl Machine {
    pub(super) fn index(
        &mut self,
        function: &Function,
        frame: &mut Frame,
        owner: Value,
        subscripts: &[Subscript],
    ) -> Outcome<Value> {
        let mut items = Vec::with_capacity(subscripts.len());
        for subscript in subscripts {
            items.push(self.item(function, frame, subscript)?);
        }
        match &owner {
            Value::Tensor(_) => self.index_tensor(owner, items),
            Value::Sequence(values) => match items[..] {
                [Item::At(place)] => {
                    let place = if place < 0 { place + values.len() as i64 } else { place };
                    match usize::try_from(place).ok().and_then(|place| values.get(place)) {
                        Some(value) => Ok(value.clone()),
                        None => self.error(format!("a list of {} has no element {place}", values.len())),
                    }
                }
                [Item::Range(start, end)] => {
                    let (start, end) = clamp(start, end, values.len() as i64);
                    Ok(Value::sequence(values[start as usize..end as usize].to_vec()))
                }
                _ => self.error("a list is asked for one element or one range"),
            },
            Value::Dictionary(entries) => match &items[..] {
                [Item::Key(key)] => match entries.get(key) {
                    Some(value) => Ok(value.clone()),
                    None => self.error(format!("there is no entry `{key}`")),
                },
                _ => self.error("a dictionary is asked for a text"),
            },
            other => self.error(format!("{} has no elements", other.kind())),
        }
    }

    fn item(&mut self, function: &Function, frame: &mut Frame, subscript: &Subscript) -> Outcome<Item> {
        let mut bound = |machine: &mut Machine, bound: &Option<_>| match bound {
            None => Ok(None),
            Some(expression) => match machine.evaluate(function, frame, expression)? {
                Value::Int(number) => Ok(Some(number)),
                Value::None => Ok(None),
                other => machine.error(format!("{} is no bound of a range", other.kind())),
            },
        };
        Ok(match subscript {
            Subscript::Ellipsis => Item::Ellipsis,
            Subscript::Range(start, end) => {
                let start = bound(self, start)?;
                Item::Range(start, bound(self, end)?)
            }
            Subscript::At(expression) => match self.evaluate(function, frame, expression)? {
                Value::Int(place) => Item::At(place),
                Value::None => Item::NewDimension,
                Value::Text(key) => Item::Key(key),
                value @ Value::Tensor(_) => Item::Tensor(value),
                other => return self.error(format!("{} is no subscript", other.kind())),
            },
        })
    }

    fn index_tensor(&mut self, tensor: Value, items: Vec<Item>) -> Outcome<Value> {
        if !items.is_empty() && items.iter().all(|item| matches!(item, Item::Tensor(_))) {
            let indices =
                items.into_iter().filter_map(|item| if let Item::Tensor(value) = item { Some(value) } else { None });
            return self.emit_named("index", vec![tensor, Value::sequence(indices.collect())]);
        }
        let mut result = tensor;
        let mut dim = 0i64;
        let named = items.iter().filter(|item| !matches!(item, Item::NewDimension | Item::Ellipsis)).count() as i64;
        for item in items {
            let Value::Tensor(reference) = &result else { return self.error("not a tensor") };
            let shape = self.shape(reference.tensor).clone();
            match item {
                Item::At(place) => {
                    result = self.emit_named("select", vec![result, Value::Int(dim), Value::Int(place)])?;
                }
                Item::NewDimension => {
                    result = self.emit_named("unsqueeze", vec![result, Value::Int(dim)])?;
                    dim += 1;
                }
                Item::Range(start, end) => {
                    let Some(size) = shape.get(dim as usize) else {
                        return self.error(format!("a tensor of {} dimensions has no dimension {dim}", shape.len()));
                    };
                    let (from, to) = clamp(start, end, *size as i64);
                    if (from, to) != (0, *size as i64) {
                        let bounds = vec![result, Value::Int(dim), Value::Int(from), Value::Int(to)];
                        result = self.emit_named("slice", bounds)?;
                    }
                    dim += 1;
                }
                Item::Ellipsis => dim += (shape.len() as i64 - named).max(0),
                Item::Tensor(_) => return self.error("tensors of indices go together, and alone"),
                Item::Key(_) => return self.error("a tensor has no entries with names"),
            }
        }
        Ok(result)
    }
}

/// Python's bounds of a range over `size` elements.
fn clamp(start: Option<i64>, end: Option<i64>, size: i64) -> (i64, i64) {
    let place = |bound: i64| if bound < 0 { (bound + size).max(0) } else { bound.min(size) };
    let start = start.map_or(0, place);
    (start, end.map_or(size, place).max(start))
}
