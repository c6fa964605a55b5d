//! Subscripts: of lists and dictionaries, and of tensors, which become `select`, `slice`, `unsqueeze` and, where they leave
//! everything, `alias` as in torch/csrc/autograd/python_variable_indexing.cpp.

use super::DtypeArgument;
use super::call::Given;
use super::decisions::Kind;
use super::machine::{Machine, Outcome};
use super::value::Value;
use crate::dtype::Dtype;
use crate::interpret::{Interpreter, Semantics};
use crate::read::spec::syntax::Subscript;

fn is_int(value: &Value) -> bool {
    matches!(value, Value::Int(_))
}

/// `x[slice(a, b)]` is `x[a:b]`.
fn range_of(subscript: Subscript<Value>) -> Subscript<Value> {
    let Subscript::At(Value::Object(bag)) = &subscript else { return subscript };
    let part = |name: &str| bag.attributes.borrow().get(name).cloned();
    match (part("start"), part("stop"), part("step")) {
        (Some(start), Some(stop), Some(step)) => Subscript::Range(Some(start), Some(stop), Some(step)),
        _ => subscript,
    }
}

impl Machine {
    pub(super) fn subscript(&mut self, owner: Value, subscripts: Vec<Subscript<Value>>) -> Outcome<Value> {
        match &owner {
            Value::Tensor(_) => {
                let subscripts = match <[Subscript<Value>; 1]>::try_from(subscripts) {
                    Ok([Subscript::At(Value::Sequence(items))]) if !items.iter().all(is_int) => {
                        items.iter().cloned().map(Subscript::At).collect()
                    }
                    Ok(one) => one.into(),
                    Err(several) => several,
                };
                let subscripts = subscripts.into_iter().map(range_of).collect();
                self.index_tensor(owner, subscripts)
            }
            Value::Sequence(values) => match &subscripts[..] {
                [Subscript::At(Value::Int(place))] => {
                    self.decisions.exact(*place);
                    let place = if *place < 0 { place + values.len() as i64 } else { *place };
                    match usize::try_from(place).ok().and_then(|place| values.get(place)) {
                        Some(value) => Ok(value.clone()),
                        None => self.error(format!("a list of {} has no element {place}", values.len())),
                    }
                }
                [Subscript::Range(start, end, None)] => {
                    let (start, end) = self.bounds(start, end, values.len() as u64)?;
                    [start, end].into_iter().for_each(|bound| self.decisions.exact(bound));
                    Ok(Value::sequence(values[start as usize..end as usize].to_vec()))
                }
                [Subscript::Range(start, end, Some(Value::Int(step)))] if *step != 0 => {
                    self.decisions.exact(*step);
                    let taken: Vec<Value> = if *step > 0 {
                        let (start, end) = self.bounds(start, end, values.len() as u64)?;
                        [start, end].into_iter().for_each(|bound| self.decisions.exact(bound));
                        values[start as usize..end as usize].iter().step_by(*step as usize).cloned().collect()
                    } else if matches!((start, end), (None, None)) {
                        values.iter().rev().step_by(step.unsigned_abs() as usize).cloned().collect()
                    } else {
                        return self.error("a range that goes back is known of a whole list alone");
                    };
                    Ok(Value::sequence(taken))
                }
                _ => self.error("a list is asked for one element or one range"),
            },
            Value::Text(text) => {
                let letters: Vec<char> = text.chars().collect();
                self.spend_elements(letters.len())?;
                match &subscripts[..] {
                    [Subscript::At(Value::Int(place))] => {
                        let place = if *place < 0 { place + letters.len() as i64 } else { *place };
                        match usize::try_from(place).ok().and_then(|place| letters.get(place)) {
                            Some(letter) => Ok(Value::Text(letter.to_string().into())),
                            None => self.error(format!("a text of {} letters has no letter {place}", letters.len())),
                        }
                    }
                    [Subscript::Range(start, end, None)] => {
                        let (start, end) = self.bounds(start, end, letters.len() as u64)?;
                        let part: String = letters[start as usize..end as usize].iter().collect();
                        Ok(Value::Text(part.into()))
                    }
                    _ => self.error("a text is asked for one letter or one range"),
                }
            }
            // transformers 5.24, utils/generic.py, ModelOutput.__getitem__: fields that are None do not count
            Value::Object(bag) if bag.class.is_none() => match &subscripts[..] {
                [Subscript::At(Value::Int(place))] => {
                    let attributes = bag.attributes.borrow();
                    let mut given = attributes.values().filter(|value| !matches!(value, Value::None));
                    match usize::try_from(*place).ok().and_then(|place| given.nth(place)) {
                        Some(value) => Ok(value.clone()),
                        None => self.error(format!("an output has no element {place}")),
                    }
                }
                [Subscript::At(Value::Text(key))] => self.attribute(&owner, key),
                _ => self.error("an output is asked for one field"),
            },
            Value::Object(object) if object.method("__getitem__").is_some() => match <[_; 1]>::try_from(subscripts) {
                Ok([Subscript::At(key)]) => self.call_named(object, "__getitem__", vec![key]),
                _ => self.error("an object is asked for one element"),
            },
            Value::Object(module) if module.module.is_some() => match &subscripts[..] {
                [Subscript::At(place)] => self.child_at(module, place),
                [Subscript::Range(start, end, None)] => {
                    let children = self.elements(&owner)?;
                    let Some(class) = module.class.clone() else { return self.error("a module has no elements") };
                    let (start, end) = self.bounds(start, end, children.len() as u64)?;
                    let taken = children[start as usize..end as usize].to_vec();
                    self.call(Value::Class(class), Given { positional: taken, named: Vec::new() })
                }
                _ => self.error("a module is asked for one child or one range"),
            },
            Value::Dictionary(entries) => match &subscripts[..] {
                [Subscript::At(Value::Text(key))] => match entries.get(key) {
                    Some(value) => Ok(value.clone()),
                    None => self.error(format!("there is no entry `{key}`")),
                },
                [Subscript::At(number @ (Value::Int(_) | Value::Float(_) | Value::Sequence(_)))] => {
                    let key = number.key().unwrap_or_default();
                    match entries.get(&key) {
                        Some(value) => Ok(value.clone()),
                        None => self.error(format!("there is no entry {key}")),
                    }
                }
                _ => self.error("a dictionary is asked for a text or an integer"),
            },
            other => self.error(format!("{} has no elements", other.kind())),
        }
    }

    fn index_tensor(&mut self, tensor: Value, items: Vec<Subscript<Value>>) -> Outcome<Value> {
        let mut result = tensor;
        let mut dim = 0i64;
        let mut is_all = true;
        // tensors of indices, and the dimensions that they stand for once all else is done
        let mut indices: Vec<(i64, Value)> = Vec::new();
        let is_new = |item: &Subscript<Value>| matches!(item, Subscript::At(Value::None) | Subscript::Ellipsis);
        let named = items.iter().filter(|item| !is_new(item)).count() as i64;
        for item in items {
            let Value::Tensor(reference) = &result else { return self.error("not a tensor") };
            let shape = self.shape(reference.tensor.get());
            match item {
                Subscript::At(Value::Int(place)) => {
                    result = self.emit_named("select", vec![result, Value::Int(dim), Value::Int(place)])?;
                    is_all = false;
                }
                Subscript::At(Value::None) => {
                    result = self.emit_named("unsqueeze", vec![result, Value::Int(dim)])?;
                    is_all = false;
                    dim += 1;
                }
                Subscript::Range(start, end, step) => {
                    let Some(size) = shape.get(dim as usize).copied() else {
                        return self.error(format!("a tensor of {} dimensions has no dimension {dim}", shape.len()));
                    };
                    let (from, to) = self.bounds(&start, &end, size)?;
                    let step = self.step(step)?;
                    // python_variable_indexing.cpp, applySlice: what begins at 0 as it is written, and leaves all, is no slice
                    let from_start = matches!(start, None | Some(Value::None | Value::Int(0)));
                    self.decisions.note(Kind::Equal, from, 0);
                    self.decisions.note(Kind::Equal, to, size as i64);
                    self.decisions.note(Kind::Equal, step, 1);
                    if (from, to, step) != (0, size as i64, 1) || !from_start {
                        let bounds = [dim, from, to, step].map(Value::Int);
                        let bounds = std::iter::once(result).chain(bounds).collect();
                        result = self.emit_named("slice", bounds)?;
                        is_all = false;
                    }
                    dim += 1;
                }
                Subscript::Ellipsis => dim += (shape.len() as i64 - named).max(0),
                // applySlicing: an index without dimensions is read, and selects
                Subscript::At(Value::Tensor(index)) if self.shape(index.tensor.get()).is_empty() => {
                    result = self.emit_named("select", vec![result, Value::Int(dim), Value::Int(0)])?;
                    is_all = false;
                }
                // IndexingUtils.h, expandTensors: a mask stands for the places where it is true
                Subscript::At(mask @ Value::Tensor(_))
                    if dim == 0 && self.on_the_device(&mask) && self.is_mask(&mask) =>
                {
                    let (_, count) = self.counted_mask(&mask)?;
                    result = self.emit_named("masked_index", vec![result, mask, Value::Int(count)])?;
                    is_all = false;
                    dim += 1;
                }
                Subscript::At(mask @ Value::Tensor(_)) if self.is_mask(&mask) => {
                    let places = self.places_of(mask)?;
                    dim += places.len() as i64;
                    indices.extend((dim - places.len() as i64..).zip(places));
                    is_all = false;
                }
                Subscript::At(index @ Value::Tensor(_)) => {
                    indices.push((dim, index));
                    dim += 1;
                }
                // python_variable_indexing.cpp, sequenceToVariable: a tensor of them on the device
                Subscript::At(Value::Sequence(list)) if list.iter().all(is_int) => {
                    let sizes = Value::sequence(vec![Value::Int(list.len() as i64)]);
                    let dtype = Value::Dtype(DtypeArgument::Fixed(Dtype::I64));
                    indices.push((dim, self.emit_named("zeros", vec![sizes, dtype])?));
                    dim += 1;
                }
                Subscript::At(other) => return self.error(format!("{} is no subscript", other.kind())),
            }
        }
        if let Some((first, _)) = indices.first() {
            let first = *first;
            if indices.iter().zip(first..).any(|((dim, _), wanted)| *dim != wanted) {
                return self.error("tensors of indices that stand apart are not known");
            }
            let indices = Value::sequence(indices.into_iter().map(|(_, index)| index).collect());
            return self.emit_named("index", vec![result, indices, Value::Int(first)]);
        }
        if is_all { self.emit_named("alias", vec![result]) } else { Ok(result) }
    }

    /// What Python's `__index__` gives: an integer, also of a tensor whose number is known.
    pub(super) fn index_number(&self, value: &Value) -> Option<i64> {
        match value {
            Value::Int(number) => Some(*number),
            Value::Tensor(reference) => {
                let number = self.known_number(reference.tensor.get())?;
                self.decisions.exact(number);
                Some(number)
            }
            _ => None,
        }
    }

    pub(super) fn is_mask(&self, value: &Value) -> bool {
        let Value::Tensor(reference) = value else { return false };
        let tensor = reference.tensor.get();
        let known = self.types.get(&tensor).copied().or_else(|| self.host_type_of(tensor));
        known == Some(Dtype::Bool)
    }

    /// How many dimensions a mask has, and how many of its elements are true, which must be known.
    pub(super) fn counted_mask(&mut self, mask: &Value) -> Outcome<(usize, i64)> {
        let Value::Tensor(reference) = mask else { return self.error("not a tensor") };
        let tensor = reference.tensor.get();
        let Some(count) = self.known_count(tensor) else {
            return self.error("a mask's values are not known, so it chooses no elements");
        };
        self.decisions.exact(count);
        Ok((self.shape(tensor).len(), count))
    }

    fn on_the_device(&self, value: &Value) -> bool {
        matches!(value, Value::Tensor(reference) if !self.host.contains_key(&reference.tensor.get()))
    }

    /// The places where a mask is true, a tensor for each of its dimensions; how many there are must be known.
    fn places_of(&mut self, mask: Value) -> Outcome<Vec<Value>> {
        let (rank, count) = self.counted_mask(&mask)?;
        let places = self.emit_named("nonzero", vec![mask, Value::Int(count)])?;
        (0..rank as i64)
            .map(|dim| self.emit_named("select", vec![places.clone(), Value::Int(1), Value::Int(dim)]))
            .collect()
    }

    fn step(&self, step: Option<Value>) -> Outcome<i64> {
        match step {
            None | Some(Value::None) => Ok(1),
            Some(Value::Int(step)) if step > 0 => Ok(step),
            Some(other) => self.error(format!("{} is no step of a range: a positive integer is", other.kind())),
        }
    }

    /// Python's bounds of a range over `size` elements.
    fn bounds(&self, start: &Option<Value>, end: &Option<Value>, size: u64) -> Outcome<(i64, i64)> {
        let size = size as i64;
        let place = |bound: &Option<Value>, open: i64| match bound {
            None | Some(Value::None) => Ok(open),
            Some(bound) if let Some(bound) = &self.index_number(bound) => {
                let (kind, place, edge) =
                    if *bound < 0 { (Kind::Max, bound + size, 0) } else { (Kind::Min, *bound, size) };
                self.decisions.note(Kind::Less, *bound, 0);
                self.decisions.note(kind, place, edge);
                Ok(if *bound < 0 { place.max(edge) } else { place.min(edge) })
            }
            Some(other) => self.error(format!("{} is no bound of a range", other.kind())),
        };
        let start = place(start, 0)?;
        let end = place(end, size)?;
        self.decisions.note(Kind::Max, end, start);
        Ok((start, end.max(start)))
    }
}
